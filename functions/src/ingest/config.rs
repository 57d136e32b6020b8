//! Configuration of the `ingest` function.

use shell::config::{ConfigError, Vars};

/// Default size limit of a report. Real reports have some kilobytes.
const DEFAULT_MAX_REPORT_BYTES: u64 = 16 << 20;

/// Configuration from environment variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `REPORT_BUCKET`: bucket to which the monitors write. Executions that report to other buckets are ignored without a call to
    /// AWS. Default: all buckets are accepted.
    pub report_bucket: Option<String>,
    /// `REPORT_PREFIX`: key prefixes of the monitors' `S3OutputUri`, separated by commas. Objects with other prefixes are ignored.
    /// The prefix also distinguishes endpoints from batch transform. Default: all keys are accepted, as those of endpoints.
    pub report_prefixes: Vec<String>,
    /// `METRIC_NAMESPACE`: CloudWatch namespace. Default: `Driftwarden`.
    pub metric_namespace: String,
    /// `MAX_REPORT_BYTES`: size limit of a report. Default: 16 MiB.
    pub max_report_bytes: u64,
    /// `TOP_FEATURES`: number of violations whose values are published. The others are only counted. Default and maximum: 20.
    pub top_features: usize,
}

impl Config {
    /// Whether reports in this bucket are accepted.
    pub(crate) fn is_report_bucket(&self, bucket: &str) -> bool {
        self.report_bucket.as_ref().is_none_or(|expected| expected == bucket)
    }

    /// Reads the environment.
    ///
    /// # Errors
    /// If a variable is missing or invalid.
    pub fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<Self, ConfigError> {
        let namespace_rule = "a CloudWatch namespace: at most 255 letters, digits, and .-_/#: characters, not starting with `AWS/` or `:`";
        let metric_namespace = vars
            .optional("METRIC_NAMESPACE")
            .unwrap_or_else(|| "Driftwarden".to_owned());
        let is_valid = |c: char| c.is_ascii_alphanumeric() || ".-_/#: ".contains(c);
        if metric_namespace.len() > 255
            || metric_namespace.starts_with("AWS/")
            || metric_namespace.starts_with(':')
            || !metric_namespace.chars().all(is_valid)
        {
            let (name, value) = ("METRIC_NAMESPACE", metric_namespace);
            return Err(ConfigError::Invalid {
                name,
                value,
                expected: namespace_rule,
            });
        }
        let prefixes = vars.optional("REPORT_PREFIX").unwrap_or_default();
        Ok(Self {
            report_bucket: vars
                .optional("REPORT_BUCKET")
                .map(|_| vars.bucket("REPORT_BUCKET"))
                .transpose()?,
            report_prefixes: prefixes
                .split(',')
                .map(|prefix| prefix.trim().trim_matches('/').to_owned())
                .filter(|prefix| !prefix.is_empty())
                .collect(),
            metric_namespace,
            max_report_bytes: vars.parsed("MAX_REPORT_BYTES", DEFAULT_MAX_REPORT_BYTES, "a number of bytes")?,
            top_features: vars.parsed("TOP_FEATURES", 20, "a number of at most 20")?,
        })
    }
}
