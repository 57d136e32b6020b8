//! Names of monitors, and links to the console, in notifications.

/// Links into the AWS console.
pub(crate) struct Links<'a> {
    pub(crate) region: Option<&'a str>,
}

impl Links<'_> {
    fn console(&self) -> Option<(&str, &'static str)> {
        let region = self.region?;
        Some((
            region,
            if region.starts_with("cn-") {
                "amazonaws.cn"
            } else {
                "aws.amazon.com"
            },
        ))
    }

    pub(crate) fn object(&self, uri: &str) -> Option<String> {
        let (region, domain) = self.console()?;
        let (bucket, key) = uri.strip_prefix("s3://")?.split_once('/')?;
        let prefix = key
            .replace('%', "%25")
            .replace(' ', "%20")
            .replace('&', "%26")
            .replace('#', "%23")
            .replace('+', "%2B");
        Some(format!(
            "https://{region}.console.{domain}/s3/object/{bucket}?region={region}&prefix={prefix}"
        ))
    }

    pub(crate) fn endpoint(&self, name: &str) -> Option<String> {
        let (region, domain) = self.console()?;
        Some(format!(
            "https://{region}.console.{domain}/sagemaker/home?region={region}#/endpoints/{name}"
        ))
    }
}

/// A monitor type in prose.
pub(crate) fn monitor_name(monitor_type: Option<&str>) -> String {
    match monitor_type {
        Some("DataQuality") => "data quality monitor".to_owned(),
        Some("ModelQuality") => "model quality monitor".to_owned(),
        Some("ModelBias") => "bias monitor".to_owned(),
        Some("ModelExplainability") => "explainability monitor".to_owned(),
        Some("Custom") => "custom monitor".to_owned(),
        Some(other) => format!("{other} monitor"),
        None => "monitor".to_owned(),
    }
}
