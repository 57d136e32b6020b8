//! Links into the AWS console.

use std::fmt::Write as _;

/// Creates links into the AWS console of a region. Without a region there are no links.
#[derive(Debug, Clone, Default)]
pub struct Console {
    base: Option<(String, &'static str)>,
}

impl Console {
    /// The console of `region`, or no console.
    pub fn new(region: Option<&str>) -> Self {
        let base = |region: &str| {
            let domain = if region.starts_with("cn-") {
                "amazonaws.cn"
            } else if region.starts_with("us-gov-") {
                "amazonaws-us-gov.com"
            } else {
                "aws.amazon.com"
            };
            (region.to_owned(), domain)
        };
        Self { base: region.map(base) }
    }

    fn service(&self, rest: &str) -> Option<String> {
        let (region, domain) = self.base.as_ref()?;
        let host = match *domain {
            "aws.amazon.com" => format!("{region}.console.{domain}"),
            _ => format!("console.{domain}"),
        };
        Some(format!("https://{host}/{}", rest.replace("{region}", region)))
    }

    /// Link to the S3 object or folder with this `s3://` URI.
    pub fn object(&self, uri: &str) -> Option<String> {
        let (bucket, key) = uri.strip_prefix("s3://")?.split_once('/')?;
        let key = encoded(key);
        let kind = if key.ends_with('/') || key.is_empty() {
            "buckets"
        } else {
            "object"
        };
        self.service(&format!("s3/{kind}/{bucket}?region={{region}}&prefix={key}"))
    }

    /// Link to an endpoint.
    pub fn endpoint(&self, name: &str) -> Option<String> {
        self.service(&format!(
            "sagemaker/home?region={{region}}#/endpoints/{}",
            encoded(name)
        ))
    }

    /// Link to a batch transform job.
    pub fn transform_job(&self, name: &str) -> Option<String> {
        self.service(&format!(
            "sagemaker/home?region={{region}}#/transform-jobs/{}",
            encoded(name)
        ))
    }

    /// Link to the resource with this ARN (SageMaker or Step Functions). `None` if the console has no separate page for it.
    pub fn arn(&self, arn: &str) -> Option<String> {
        let (service, resource) = {
            let mut parts = arn.splitn(6, ':').skip(2);
            (parts.next()?, parts.nth(2)?)
        };
        match (service, resource.split_once('/')) {
            ("states", _) => self.service(&format!(
                "states/home?region={{region}}#/v2/executions/details/{}",
                encoded(arn)
            )),
            ("sagemaker", Some(("training-job", name))) => {
                self.service(&format!("sagemaker/home?region={{region}}#/jobs/{}", encoded(name)))
            }
            ("sagemaker", Some(("processing-job", name))) => self.service(&format!(
                "sagemaker/home?region={{region}}#/processing-jobs/{}",
                encoded(name)
            )),
            ("sagemaker", Some(("endpoint", name))) => self.endpoint(name),
            ("sagemaker", Some(("model", name))) => {
                self.service(&format!("sagemaker/home?region={{region}}#/models/{}", encoded(name)))
            }
            ("sagemaker", Some(("transform-job", name))) => self.transform_job(name),
            _ => None,
        }
    }

    /// Link to a log group.
    pub fn log_group(&self, name: &str) -> Option<String> {
        self.service(&format!(
            "cloudwatch/home?region={{region}}#logsV2:log-groups/log-group/{}",
            name.replace('/', "$252F")
        ))
    }
}

/// Percent-encodes all characters except letters, digits, and `-_.~/:`.
fn encoded(text: &str) -> String {
    let mut url = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' | b':' => {
                url.push(char::from(byte));
            }
            _ => {
                // Writing to a `String` never fails.
                let _written = write!(url, "%{byte:02X}");
            }
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_use_console_of_region() {
        let console = Console::new(Some("eu-west-1"));
        assert_eq!(
            console.object("s3://reports/a b/c&d.json").unwrap(),
            "https://eu-west-1.console.aws.amazon.com/s3/object/reports?region=eu-west-1&prefix=a%20b/c%26d.json"
        );
        assert_eq!(
            console
                .arn("arn:aws:sagemaker:eu-west-1:123456789012:training-job/churn-7")
                .unwrap(),
            "https://eu-west-1.console.aws.amazon.com/sagemaker/home?region=eu-west-1#/jobs/churn-7"
        );
        assert_eq!(
            console.arn("arn:aws:sagemaker:eu-west-1:123456789012:pipeline/p/execution/x"),
            None
        );
        assert_eq!(console.arn("nonsense"), None);
        assert_eq!(Console::default().endpoint("churn"), None);
    }
}
