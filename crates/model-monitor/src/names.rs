//! Names in SageMaker, validated where they enter.

use std::fmt;

/// SageMaker's pattern for names (API): `[a-zA-Z0-9](-*[a-zA-Z0-9])*`, at most 63.
fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(fits) && !text.starts_with('-') && !text.ends_with('-')
}

/// Name of a monitoring schedule, in its original case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MonitoringScheduleName(String);

impl MonitoringScheduleName {
    /// Validated name; `None` if SageMaker would reject it.
    pub fn new(name: &str) -> Option<Self> {
        is_name(name).then(|| Self(name.to_owned()))
    }

    /// Name at the end of a schedule's ARN, where SageMaker writes it in lower case.
    pub fn from_arn(arn: &str) -> Option<Self> {
        Self::new(arn.split_once(":monitoring-schedule/")?.1)
    }

    /// Name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Identity of the schedule: the name in lower case, because ARNs contain only this form.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Display for MonitoringScheduleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointName(String);

impl EndpointName {
    /// Validated name; `None` if SageMaker would reject it.
    pub fn new(name: &str) -> Option<Self> {
        is_name(name).then(|| Self(name.to_owned()))
    }

    /// Name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Location in S3: `s3://bucket/key`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct S3Uri {
    /// Name of the bucket.
    pub bucket: String,
    /// Key, or prefix without trailing slashes; empty for the bucket itself.
    pub key: String,
}

impl S3Uri {
    /// Parses a URI, with or without trailing slashes. Only length and alphabet of the bucket name are checked, because
    /// emulators are less strict than AWS about the rest.
    pub fn parse(uri: &str) -> Option<Self> {
        let rest = uri.strip_prefix("s3://")?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let fits = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        (!bucket.is_empty() && bucket.len() <= 63 && bucket.chars().all(fits)).then(|| Self {
            bucket: bucket.to_owned(),
            key: key.trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for S3Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_sagemaker_pattern() {
        let longest = "a".repeat(63);
        for name in ["a", "Churn-DQ", "a--b", "1", &longest] {
            assert!(MonitoringScheduleName::new(name).is_some(), "{name}");
            assert!(EndpointName::new(name).is_some(), "{name}");
        }
        let longer = "a".repeat(64);
        for name in ["", "-a", "a-", "a_b", "a/b", "ä", &longer] {
            assert_eq!(MonitoringScheduleName::new(name), None, "{name}");
            assert_eq!(EndpointName::new(name), None, "{name}");
        }
    }

    #[test]
    fn schedule_identity_ignores_case() {
        let name = MonitoringScheduleName::new("Churn-DQ").unwrap();
        let arn = "arn:aws:sagemaker:eu-west-1:123456789012:monitoring-schedule/churn-dq";
        let of_arn = MonitoringScheduleName::from_arn(arn).unwrap();
        assert_eq!((name.as_str(), of_arn.as_str()), ("Churn-DQ", "churn-dq"));
        assert_eq!(name.key(), of_arn.key());
        assert_eq!(MonitoringScheduleName::from_arn("churn-dq"), None);
    }

    #[test]
    fn s3_uris_parse_with_and_without_slash() {
        for (text, shown) in [
            ("s3://bucket/a/b", "s3://bucket/a/b"),
            ("s3://bucket/a/b//", "s3://bucket/a/b"),
            ("s3://bucket", "s3://bucket/"),
            ("s3://bucket/", "s3://bucket/"),
        ] {
            assert_eq!(S3Uri::parse(text).unwrap().to_string(), shown);
        }
        for text in ["", "s3:/bucket/a", "s3:///a", "https://bucket/a", "s3://b ucket/a"] {
            assert_eq!(S3Uri::parse(text), None, "{text}");
        }
    }
}
