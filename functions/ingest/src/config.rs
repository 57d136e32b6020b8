//! The function's configuration.

use shell::config::{ConfigError, Vars};

/// The largest report that is read by default. Real ones are kilobytes.
const MAX_REPORT_BYTES: u64 = 16 << 20;

/// The function's configuration, from its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `STATE_BUCKET`: bucket of the documents; required.
    pub state_bucket: String,
    /// `EVENT_BUS_NAME`: our bus; required.
    pub event_bus: String,
    /// `REPORT_BUCKET`: the bucket that the monitors write to; executions that report elsewhere are ignored, and cost
    /// no call. Default: none, any bucket counts.
    pub report_bucket: Option<String>,
    /// `REPORT_PREFIX`: key prefixes of the monitors' `S3OutputUri`, separated by commas; objects elsewhere are ignored.
    /// They also tell endpoints from batch transform. Default: none, any key counts and is taken to be an endpoint's.
    pub report_prefixes: Vec<String>,
    /// `METRIC_NAMESPACE`: CloudWatch namespace; default `Driftwarden`.
    pub metric_namespace: String,
    /// `MAX_REPORT_BYTES`: the largest report that is read; default 16 MiB.
    pub max_report_bytes: u64,
    /// `TOP_FEATURES`: of how many violations the values are published, the rest summed; default and most 20.
    pub top_features: usize,
}

impl Config {
    /// Whether the monitors write to that bucket.
    pub(crate) fn is_report_bucket(&self, bucket: &str) -> bool {
        self.report_bucket.as_ref().is_none_or(|ours| ours == bucket)
    }

    /// Reads the environment.
    ///
    /// # Errors
    /// If a variable is missing or wrong.
    pub fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<Self, ConfigError> {
        let namespace_rule =
            "a CloudWatch namespace: at most 255 of letters, digits and .-_/#: , not beginning with `AWS/` or `:`";
        let metric_namespace = vars
            .optional("METRIC_NAMESPACE")
            .unwrap_or_else(|| "Driftwarden".to_owned());
        let fits = |c: char| c.is_ascii_alphanumeric() || ".-_/#: ".contains(c);
        if metric_namespace.len() > 255
            || metric_namespace.starts_with("AWS/")
            || metric_namespace.starts_with(':')
            || !metric_namespace.chars().all(fits)
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
            state_bucket: vars.bucket("STATE_BUCKET")?,
            event_bus: vars.required("EVENT_BUS_NAME", "the name of the EventBridge bus")?,
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
            max_report_bytes: vars.parsed("MAX_REPORT_BYTES", MAX_REPORT_BYTES, "a number of bytes")?,
            top_features: vars.parsed("TOP_FEATURES", 20, "a number, at most 20")?,
        })
    }
}
