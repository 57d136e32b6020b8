//! The remediation policy: one `policy.toml`, read from the state bucket. Without one the defaults hold.
//!
//! ```toml
//! [alert]                            # of every monitor that has none of its own
//! datapoints_to_alert = 1
//! evaluation_period = 1
//!
//! [retraining]
//! # The pipeline parameters that a run is given: those of these that the pipeline declares. All of them where an
//! # EventBridge rule starts the pipeline.
//! parameters = ["DriftwardenModel", "DriftwardenIncident", "MonitoringSchedule", "ReportUri", "DriftedFeatures"]
//!
//! [[monitor]]
//! schedule = "churn-data-quality"
//! model = "churn"                    # by default the endpoint, else the schedule
//! datapoints_to_alert = 2
//! evaluation_period = 3
//! ```

use alerting::{ExecutionWindow, WindowError};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// A policy file larger than this is refused.
const MAX_BYTES: usize = 1 << 20;

/// The pipeline parameters that a run can be given, and is by default.
pub(crate) const PIPELINE_PARAMETERS: [&str; 5] = [
    "DriftwardenModel",
    "DriftwardenIncident",
    "MonitoringSchedule",
    "ReportUri",
    "DriftedFeatures",
];

/// What holds, by default and by monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    version: String,
    alert: ExecutionWindow,
    retraining: RetrainingPolicy,
    /// By [`schedule_key`].
    monitors: BTreeMap<String, MonitorPolicy>,
}

/// How a retraining is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrainingPolicy {
    /// The pipeline parameters that a run is given.
    pub parameters: Vec<String>,
}

/// What holds for one monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitorPolicy {
    /// The model that it watches, if the policy names one.
    pub model: Option<String>,
    /// Its alert window.
    pub window: ExecutionWindow,
}

/// A policy that cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Too large to be a policy.
    #[error("the policy is {bytes} bytes: at most {MAX_BYTES} are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not UTF-8.
    #[error("the policy is not UTF-8 text")]
    NotUtf8,
    /// Not TOML, or a key or value that the policy does not know; the message shows the line.
    #[error("the policy cannot be read: {message}")]
    Malformed {
        /// What, where, and what would be right.
        message: String,
    },
    /// An alert window that cannot be.
    #[error("{of}")]
    Window {
        /// The table that holds it.
        of: String,
        /// What is wrong with it.
        source: WindowError,
    },
    /// The same monitor twice.
    #[error("monitor `{schedule}` is listed twice")]
    Twice {
        /// Its schedule.
        schedule: String,
    },
    /// A name that SageMaker would not take.
    #[error(
        "model `{model}` of monitor `{schedule}` must be 1 to 63 letters, digits and hyphens, with no hyphen at either end"
    )]
    ModelName {
        /// What was given.
        model: String,
        /// For which monitor.
        schedule: String,
    },
    /// A pipeline parameter that Driftwarden does not have.
    #[error("retraining.parameters: `{name}` is none of {}", PIPELINE_PARAMETERS.join(", "))]
    Parameter {
        /// What was given.
        name: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    #[serde(default)]
    alert: AlertTable,
    #[serde(default)]
    retraining: RetrainingTable,
    #[serde(default)]
    monitor: Vec<MonitorTable>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct AlertTable {
    datapoints_to_alert: Option<i64>,
    evaluation_period: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RetrainingTable {
    parameters: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MonitorTable {
    schedule: String,
    model: Option<String>,
    datapoints_to_alert: Option<i64>,
    evaluation_period: Option<i64>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            version: "default".into(),
            alert: ExecutionWindow::default(),
            retraining: RetrainingPolicy {
                parameters: PIPELINE_PARAMETERS.map(String::from).to_vec(),
            },
            monitors: BTreeMap::new(),
        }
    }
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// If it is too large, not TOML, has an unknown key, or holds what cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > MAX_BYTES {
            return Err(PolicyError::TooLarge { bytes: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| PolicyError::NotUtf8)?;
        let file: PolicyFile = toml::from_str(text).map_err(|error| PolicyError::Malformed {
            message: error.to_string(),
        })?;
        let alert = window(
            "[alert]",
            file.alert.datapoints_to_alert,
            file.alert.evaluation_period,
            ExecutionWindow::default(),
        )?;
        let parameters = file
            .retraining
            .parameters
            .unwrap_or_else(|| PIPELINE_PARAMETERS.map(String::from).to_vec());
        if let Some(name) = parameters
            .iter()
            .find(|name| !PIPELINE_PARAMETERS.contains(&name.as_str()))
        {
            return Err(PolicyError::Parameter { name: name.clone() });
        }
        let mut monitors = BTreeMap::new();
        for MonitorTable {
            schedule,
            model,
            datapoints_to_alert,
            evaluation_period,
        } in file.monitor
        {
            if let Some(model) = model.as_ref().filter(|model| !is_name(model)) {
                return Err(PolicyError::ModelName {
                    model: model.clone(),
                    schedule,
                });
            }
            let of = format!("[[monitor]] `{schedule}`");
            let window = window(&of, datapoints_to_alert, evaluation_period, alert)?;
            if monitors
                .insert(schedule_key(&schedule), MonitorPolicy { model, window })
                .is_some()
            {
                return Err(PolicyError::Twice { schedule });
            }
        }
        let mut version = hex::encode(Sha256::digest(bytes));
        version.truncate(12);
        Ok(Self {
            version,
            alert,
            retraining: RetrainingPolicy { parameters },
            monitors,
        })
    }

    /// The first twelve hexadecimal digits of the file's SHA-256, or `default` where there is no file.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What holds for the monitor of a schedule.
    pub fn monitor(&self, schedule: &str) -> MonitorPolicy {
        self.monitors
            .get(&schedule_key(schedule))
            .cloned()
            .unwrap_or(MonitorPolicy {
                model: None,
                window: self.alert,
            })
    }

    /// How a retraining is started.
    pub fn retraining(&self) -> &RetrainingPolicy {
        &self.retraining
    }
}

/// SageMaker lower-cases schedule names in ARNs: names that differ in case only are the same schedule.
fn schedule_key(schedule: &str) -> String {
    schedule.to_lowercase()
}

/// SageMaker's pattern for endpoint, schedule and model names: `[a-zA-Z0-9](-*[a-zA-Z0-9])*`, at most 63.
fn is_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=63).contains(&name.len()) && name.chars().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

fn window(of: &str, m: Option<i64>, n: Option<i64>, default: ExecutionWindow) -> Result<ExecutionWindow, PolicyError> {
    let m = m.unwrap_or_else(|| default.datapoints_to_alert().into());
    let n = n.unwrap_or_else(|| default.evaluation_period().into());
    ExecutionWindow::new(m, n).map_err(|source| PolicyError::Window { of: of.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(text: &str) -> String {
        let error = Policy::parse(text.as_bytes()).unwrap_err();
        let source = std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
        format!("{error}{source}")
    }

    #[test]
    fn an_empty_file_is_the_default_with_a_version_of_its_own() {
        let policy = Policy::parse(b"").unwrap();
        assert_eq!(policy.monitor("any"), Policy::default().monitor("any"));
        assert_eq!(policy.version(), "e3b0c44298fc");
        assert_eq!(Policy::default().version(), "default");
    }

    #[test]
    fn a_monitor_overrides_what_it_names_and_inherits_the_rest() {
        let policy = Policy::parse(
            b"[alert]\ndatapoints_to_alert = 2\nevaluation_period = 4\n\
              [[monitor]]\nschedule = 'Churn-DQ'\nmodel = 'churn'\ndatapoints_to_alert = 3\n",
        )
        .unwrap();
        let monitor = policy.monitor("churn-dq");
        assert_eq!(monitor.model.as_deref(), Some("churn"));
        assert_eq!(
            (monitor.window.datapoints_to_alert(), monitor.window.evaluation_period()),
            (3, 4)
        );
        assert_eq!(policy.monitor("other").window, ExecutionWindow::new(2, 4).unwrap());
    }

    #[test]
    fn what_cannot_hold_is_rejected_with_its_place() {
        insta::assert_snapshot!(rejected("[alert]\ndatapoint_to_alert = 2"), @r"
        the policy cannot be read: TOML parse error at line 2, column 1
          |
        2 | datapoint_to_alert = 2
          | ^^^^^^^^^^^^^^^^^^
        unknown field `datapoint_to_alert`, expected `datapoints_to_alert` or `evaluation_period`
        ");
        insta::assert_snapshot!(
            rejected("[[monitor]]\nschedule = 'a'\ndatapoints_to_alert = 2"),
            @"[[monitor]] `a`: datapoints_to_alert (2) is more than evaluation_period (1): such a monitor would never alert"
        );
        insta::assert_snapshot!(
            rejected("[[monitor]]\nschedule = 'a'\n[[monitor]]\nschedule = 'A'"),
            @"monitor `A` is listed twice"
        );
        insta::assert_snapshot!(
            rejected("[[monitor]]\nschedule = 'a'\nmodel = 'my model'"),
            @"model `my model` of monitor `a` must be 1 to 63 letters, digits and hyphens, with no hyphen at either end"
        );
        insta::assert_snapshot!(
            rejected("[retraining]\nparameters = ['Epochs']"),
            @"retraining.parameters: `Epochs` is none of DriftwardenModel, DriftwardenIncident, MonitoringSchedule, ReportUri, DriftedFeatures"
        );
        insta::assert_snapshot!(rejected("[alert"), @r"
        the policy cannot be read: TOML parse error at line 1, column 7
          |
        1 | [alert
          |       ^
        unclosed table, expected `]`
        ");
    }
}
