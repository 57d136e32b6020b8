//! The policy: one `policy.toml`, read from the state bucket. Without a file, the defaults are effective.
//!
//! `infra/policy.toml` shows every setting with its default; `infra/policy.schema.json` is the JSON Schema. A setting
//! comes from the most specific table that has it: `[[monitor]]` or `[[model]]`, then the table for all, then the
//! default. [`Policy::explain`] shows which one.

mod analysis;
mod explain;
mod file;
mod notification;
mod promotion;

pub use analysis::{AnalysisSchedule, HourlyUri};
pub use explain::{Explanation, Setting};
pub use file::{Automation, NotificationKind, NotificationSeverity, RiskRating, StartKind};
pub use notification::{DailyAt, Destination, NotificationRoute, QuietHours, SecretReference};

use alerting::{
    AlertWindow, ExecutionWindow, MaintenanceWindow, MonitorRules, Pattern, PeriodLength, Severity, TimeWindow,
    Treatment, ViolationRule, WindowError,
};
use file::{
    AlertTable, FleetTable, MaintenanceTable, ParametersTable, PolicyFile, RemediationTable, RetrainingTable,
    WindowKind,
};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Maximum size of a policy file, in bytes.
const MAX_POLICY_BYTES: usize = 1 << 20;

/// Driftwarden's pipeline parameters with their templates. A pipeline execution gets all of them by default.
pub(crate) const PIPELINE_PARAMETERS: [(&str, &str); 5] = [
    ("DriftwardenModel", "{model}"),
    ("DriftwardenIncident", "{incident}"),
    ("MonitoringSchedule", "{schedule}"),
    ("ReportUri", "{report_uri}"),
    ("DriftedFeatures", "{features}"),
];

/// Placeholders in the template of a parameter.
const PLACEHOLDERS: [&str; 7] = [
    "model",
    "incident",
    "schedule",
    "report_uri",
    "features",
    "endpoint",
    "monitor_type",
];

/// Check types that indicate broken input data.
const FIX_DATA_CHECK_TYPES: [&str; 4] = [
    "data_type_check",
    "completeness_check",
    "missing_column_check",
    "extra_column_check",
];

/// A valid policy. It gives the effective settings of models and monitors.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    version: String,
    text: String,
    file: PolicyFile,
}

/// Identifies a monitor to look up in the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MonitorRef<'a> {
    /// Name of the monitoring schedule.
    pub schedule: &'a str,
    /// The monitored endpoint; `None` for batch transform.
    pub endpoint: Option<&'a str>,
    /// Monitor type, if known.
    pub monitor_type: Option<&'a str>,
}

/// A monitor that matches only tables without a schedule and a monitor type.
const ANY_MONITOR: MonitorRef<'static> = MonitorRef {
    schedule: "",
    endpoint: None,
    monitor_type: None,
};

/// Effective settings of one monitor.
#[derive(Debug, Clone, PartialEq)]
pub struct MonitorPolicy {
    /// Name of the monitored model.
    pub model: String,
    /// Rules for alerts.
    pub rules: MonitorRules,
}

/// Effective settings of one model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelPolicy {
    /// The table that pauses retraining, if any.
    pub paused: Option<Paused>,
    /// Name of the model card with the risk rating.
    pub model_card: String,
    /// Risk rating, if the policy sets it.
    pub risk_rating: Option<RiskRating>,
    /// Automation level, if the policy sets it. Otherwise the risk rating determines it.
    pub automation: Option<Automation>,
    /// Minimum time between the starts of two retrainings.
    pub cooldown: SignedDuration,
    /// Maximum number of retrainings per day (UTC).
    pub retrainings_per_day: u32,
    /// Maximum number of retrainings per calendar month (UTC).
    pub retrainings_per_month: u32,
    /// Time after which an approval request expires.
    pub approval_expires_after: SignedDuration,
    /// Time that a granted approval stays valid while the retraining has to wait.
    pub approval_valid_for: SignedDuration,
    /// Number of executions on the retrained model that decide whether the drift persists. 0: each monitor's evaluation
    /// period.
    pub verify_executions: u32,
    /// Time to wait after the latest new alert before a decision. 0: decisions are made immediately.
    pub decide_after: SignedDuration,
    /// Maximum time for a decision.
    pub decide_within: SignedDuration,
    /// Maximum time from the decision to retrain until the pipeline execution exists.
    pub start_within: SignedDuration,
    /// Maximum duration of a retraining.
    pub retraining_within: SignedDuration,
    /// Maximum time that an incident waits for fixed input data.
    pub data_within: SignedDuration,
    /// Time after the end of an incident in which a new alert reopens it. 0: never.
    pub reopen_within: SignedDuration,
    /// Number of clean executions after which an incident closes. 0: the monitor's evaluation period, but at least 3.
    pub close_after: u32,
    /// Minimum severity of alerts that start a response.
    pub minimum_severity: Severity,
    /// Check types that indicate broken input data.
    pub fix_data_check_types: BTreeSet<String>,
    /// Retraining settings.
    pub retraining: RetrainingPolicy,
}

impl ModelPolicy {
    /// Automation level of a model with this risk rating.
    pub fn automation(&self, risk_rating: RiskRating) -> Automation {
        self.automation.unwrap_or(match risk_rating {
            RiskRating::Low => Automation::Auto,
            RiskRating::Medium => Automation::Approve,
            RiskRating::High | RiskRating::Unknown => Automation::Suggest,
        })
    }
}

/// Limits of retrainings over all models together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FleetPolicy {
    /// Maximum number of retrainings at the same time.
    pub retrainings_at_once: u32,
    /// Maximum number of retrainings per day (UTC).
    pub retrainings_per_day: u32,
    /// Whether retrainings are held if many models get an alert within an hour.
    pub common_cause: bool,
}

impl Default for FleetPolicy {
    fn default() -> Self {
        Self {
            retrainings_at_once: 5,
            retrainings_per_day: 20,
            common_cause: true,
        }
    }
}

/// Table of the policy that pauses retraining.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paused {
    /// `paused` for all models.
    Globally,
    /// `paused` in a `[[model]]` table.
    Model,
}

/// Effective retraining settings of one model.
#[derive(Debug, Clone, PartialEq)]
pub struct RetrainingPolicy {
    /// Target that a retraining starts.
    pub start: StartKind,
    /// Name or ARN of the pipeline, if the policy sets it.
    pub pipeline: Option<String>,
    /// ARN of the state machine.
    pub state_machine: Option<String>,
    /// Templates of the parameters by name.
    pub parameters: BTreeMap<String, String>,
    /// Cost of one retraining in any currency, if the policy sets it.
    pub cost: Option<f64>,
}

/// Settings of a CloudWatch alarm that opens an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmPolicy {
    /// Name of the model that the alarm belongs to.
    pub model: String,
    /// Severity of the alarm.
    pub severity: Severity,
}

/// Reason why a policy is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The file is too large.
    #[error("the policy has {bytes} bytes; the limit is {MAX_POLICY_BYTES}")]
    TooLarge {
        /// Size of the file.
        bytes: usize,
    },
    /// The file is not UTF-8.
    #[error("the policy is not UTF-8 text")]
    NotUtf8,
    /// The file is not TOML, or has an unknown key or value.
    #[error("{message}")]
    Malformed {
        /// The message of the TOML parser with the line, and the nearest known key.
        message: String,
    },
    /// An alert window is not valid.
    #[error("{place}")]
    Window {
        /// Table and line.
        place: String,
        /// Reason why the window is not valid.
        source: WindowError,
    },
    /// A value is not valid.
    #[error("{place}: expected {expected}, found `{value}`")]
    Value {
        /// Setting and line.
        place: String,
        /// The value in the file.
        value: String,
        /// Description of a valid value.
        expected: String,
    },
    /// A setting is missing, or conflicts with another one.
    #[error("{place}: {message}")]
    Conflict {
        /// Table or setting, and line.
        place: String,
        /// The conflict, and how to resolve it.
        message: String,
    },
    /// Two tables have the same name.
    #[error("{place}: `{name}` has more than one table")]
    Duplicate {
        /// The second table and its line.
        place: String,
        /// The name.
        name: String,
    },
}

/// JSON Schema of `policy.toml`.
#[cfg(feature = "schema")]
pub fn policy_schema() -> schemars::Schema {
    schemars::schema_for!(PolicyFile)
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            version: "default".into(),
            text: String::new(),
            file: PolicyFile::default(),
        }
    }
}

impl Policy {
    /// Parses and validates a policy file.
    ///
    /// # Errors
    /// If the file is too large, is not TOML, or has an unknown key, an invalid value, or a conflict.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > MAX_POLICY_BYTES {
            return Err(PolicyError::TooLarge { bytes: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| PolicyError::NotUtf8)?;
        let file: PolicyFile = toml::from_str(text).map_err(|error| PolicyError::Malformed {
            message: with_nearest(&error.to_string()),
        })?;
        let mut version = hex::encode(Sha256::digest(bytes));
        version.truncate(12);
        let policy = Self {
            version,
            text: text.to_owned(),
            file,
        };
        policy.validate()?;
        Ok(policy)
    }

    /// Policy version: the first 12 hexadecimal digits of the file's SHA-256, or `default` without a file.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Effective settings of a monitor. If several `[[monitor]]` tables together give an invalid window that
    /// [`Policy::parse`] did not find, the settings without `[[monitor]]` tables are effective. [`Policy::explain`]
    /// shows this as a conflict.
    pub fn monitor(&self, monitor: &MonitorRef<'_>) -> MonitorPolicy {
        let model = self.model_for(monitor).0;
        let rules = self
            .rules(monitor, &model)
            .or_else(|_| self.rules(&ANY_MONITOR, &model));
        let (rules, _) = rules.unwrap_or_default();
        MonitorPolicy { model, rules }
    }

    /// Effective settings of a model.
    pub fn model(&self, name: &str) -> ModelPolicy {
        self.model_settings(name)
            .map_or_else(|_| Self::default().model(name), |(policy, _)| policy)
    }

    /// Limits of retrainings over all models together.
    pub fn fleet(&self) -> FleetPolicy {
        self.fleet_settings()
            .map_or_else(|_| FleetPolicy::default(), |(fleet, _)| fleet)
    }

    /// Settings of a CloudWatch alarm. `None` if the policy does not list it.
    pub fn alarm(&self, name: &str) -> Option<AlarmPolicy> {
        let table = self
            .file
            .alarm
            .iter()
            .find(|table| Pattern::new(table.name.as_str()).matches(name))?;
        Some(AlarmPolicy {
            model: table.model.clone(),
            severity: table.severity.unwrap_or_default(),
        })
    }

    /// Names of the models in the policy, in the order of their tables.
    pub fn models(&self) -> Vec<&str> {
        let named = self.file.model.iter().map(|table| table.name.as_str());
        let monitored = self.file.monitor.iter().filter_map(|table| table.model.as_deref());
        let mut models: Vec<&str> = Vec::new();
        for model in named.chain(monitored) {
            if !models.contains(&model) {
                models.push(model);
            }
        }
        models
    }

    /// Numbers of `[[monitor]]` and `[[alarm]]` tables.
    pub fn count_monitors_and_alarms(&self) -> (usize, usize) {
        (self.file.monitor.len(), self.file.alarm.len())
    }

    /// Whether a `[[monitor]]` table has this schedule name without `*`.
    pub fn has_schedule(&self, schedule: &str) -> bool {
        let mut named = self.file.monitor.iter().filter_map(|table| table.schedule.as_deref());
        named.any(|name| !name.contains('*') && same_schedule(name, schedule))
    }

    /// Returns the policy with a different alert window for all monitors, for a backtest.
    #[must_use]
    pub fn with_window(&self, datapoints_to_alert: u8, evaluation_period: u8) -> Self {
        let mut policy = self.clone();
        let tables = policy.file.monitor.iter_mut().map(|monitor| &mut monitor.alert);
        for table in tables.chain([&mut policy.file.alert]) {
            table.datapoints_to_alert = Some(datapoints_to_alert.into());
            table.evaluation_period = Some(evaluation_period.into());
            table.follow_monitoring_alert = Some(false);
            // It may be shorter than the new window.
            table.evaluation_range = None;
        }
        policy
    }

    /// Model of a monitor, and the path of the setting, if the policy sets it.
    fn model_for(&self, monitor: &MonitorRef<'_>) -> (String, Option<String>) {
        let named = self.file.monitor.iter().enumerate().rev().find_map(|(at, table)| {
            let model = table.model.as_ref()?;
            matches_monitor(table.schedule.as_ref(), table.monitor_type.as_ref(), monitor)
                .then(|| (model.clone(), Some(format!("monitor.{at}.model"))))
        });
        named.unwrap_or_else(|| (monitor.endpoint.unwrap_or(monitor.schedule).to_owned(), None))
    }

    fn rules(&self, monitor: &MonitorRef<'_>, model: &str) -> Result<(MonitorRules, Vec<Setting>), PolicyError> {
        let mut layers = Layers::new(vec![("alert".to_owned(), &self.file.alert)], self);
        for (at, table) in self.file.monitor.iter().enumerate() {
            if matches_monitor(table.schedule.as_ref(), table.monitor_type.as_ref(), monitor) {
                layers.tables.push((format!("monitor.{at}.alert"), &table.alert));
            }
        }
        let kind = layers.setting(
            "window",
            WindowKind::Executions,
            |t| t.window,
            |kind| {
                match kind {
                    WindowKind::Executions => "executions",
                    WindowKind::Time => "time",
                }
                .to_owned()
            },
        );
        let m = layers.setting("datapoints_to_alert", 1, |t| t.datapoints_to_alert, i64::to_string);
        let n = layers.setting("evaluation_period", 1, |t| t.evaluation_period, i64::to_string);
        let follow = layers.setting(
            "follow_monitoring_alert",
            false,
            |t| t.follow_monitoring_alert,
            bool::to_string,
        );
        let window = if kind == WindowKind::Time {
            let period = layers.setting("period", "1h".to_owned(), |t| t.period.clone(), String::clone);
            let period = PeriodLength::parse(&period)
                .ok_or_else(|| layers.invalid("period", &period, "a period such as 15m, 1h, 1d, 1w, or 1mo"))?;
            let missing = layers.setting(
                "treat_missing_data",
                alerting::TreatMissingData::default(),
                |t| t.treat_missing_data,
                |treat| treat.as_str().to_owned(),
            );
            let range = layers.setting(
                "evaluation_range",
                n.saturating_add(2),
                |t| t.evaluation_range,
                i64::to_string,
            );
            let range = usize::try_from(range)
                .ok()
                .filter(|range| (1..=200).contains(range) && i64::try_from(*range).is_ok_and(|range| range >= n))
                .ok_or_else(|| {
                    let expected = "a number of periods from evaluation_period to 200";
                    layers.invalid("evaluation_range", &range.to_string(), expected)
                })?;
            let window = TimeWindow::new(m, n, missing).map_err(|source| PolicyError::Window {
                place: layers.place_for_window(),
                source,
            })?;
            AlertWindow::Time {
                window: window.with_evaluation_range(range),
                period,
            }
        } else {
            AlertWindow::Executions(ExecutionWindow::new(m, n).map_err(|source| PolicyError::Window {
                place: layers.place_for_window(),
                source,
            })?)
        };
        let mut treat = |name, get: fn(&AlertTable) -> Option<alerting::TreatAs>| {
            layers.setting(name, alerting::TreatAs::default(), get, |treat| {
                treat.as_str().to_owned()
            })
        };
        let treatment = Treatment {
            no_data: treat("no_data", |t| t.no_data),
            failed: treat("failed", |t| t.failed),
            missing: treat("missing", |t| t.missing),
        };
        let unhealthy_after = layers.setting("unhealthy_after", 3, |t| t.unhealthy_after, i64::to_string);
        let unhealthy_after = u8::try_from(unhealthy_after)
            .ok()
            .filter(|after| *after <= 100)
            .ok_or_else(|| {
                layers.invalid(
                    "unhealthy_after",
                    &unhealthy_after.to_string(),
                    "a number from 0 to 100",
                )
            })?;
        let mut settings = layers.settings;
        let violations = self.violation_rules(monitor, model, &mut settings)?;
        let maintenance = self.maintenance(monitor, model, &mut settings)?;
        Ok((
            MonitorRules {
                window,
                follow_monitoring_alert: follow,
                treatment,
                violations,
                maintenance,
                unhealthy_after,
                policy_version: self.version.clone(),
            },
            settings,
        ))
    }

    fn violation_rules(
        &self,
        monitor: &MonitorRef<'_>,
        model: &str,
        settings: &mut Vec<Setting>,
    ) -> Result<Vec<ViolationRule>, PolicyError> {
        let mut rules = Vec::new();
        for (at, table) in self.file.violation.iter().enumerate() {
            let path = format!("violation.{at}");
            let minimum_exceedance = table.minimum_exceedance.unwrap_or(0.0);
            if !minimum_exceedance.is_finite() || minimum_exceedance < 0.0 {
                return Err(PolicyError::Value {
                    place: self.place(&format!("{path}.minimum_exceedance")),
                    value: minimum_exceedance.to_string(),
                    expected: "a fraction of the threshold, 0 or more".into(),
                });
            }
            if !fits(table.model.as_ref(), Some(model))
                || !matches_monitor(table.schedule.as_ref(), table.monitor_type.as_ref(), monitor)
            {
                continue;
            }
            let pattern = |text: &Option<String>| text.as_ref().map(Pattern::new);
            let rule = ViolationRule {
                check_type: pattern(&table.check_type),
                feature: pattern(&table.feature),
                metric: pattern(&table.metric),
                facet: pattern(&table.facet),
                minimum_exceedance,
                severity: table.severity.unwrap_or_default(),
                counts: table.counts.unwrap_or(true),
            };
            settings.push(Setting {
                name: "violation".into(),
                value: describe_rule(&rule),
                place: Some(path),
            });
            rules.push(rule);
        }
        Ok(rules)
    }

    fn maintenance(
        &self,
        monitor: &MonitorRef<'_>,
        model: &str,
        settings: &mut Vec<Setting>,
    ) -> Result<Vec<MaintenanceWindow>, PolicyError> {
        let mut windows = Vec::new();
        for (at, table) in self.file.maintenance.iter().enumerate() {
            let path = format!("maintenance.{at}");
            let (window, value) = self.maintenance_window(&path, table)?;
            if fits(table.model.as_ref(), Some(model)) && matches_monitor(table.schedule.as_ref(), None, monitor) {
                settings.push(Setting {
                    name: "maintenance".into(),
                    value,
                    place: Some(path),
                });
                windows.push(window);
            }
        }
        Ok(windows)
    }

    fn maintenance_window(
        &self,
        path: &str,
        table: &MaintenanceTable,
    ) -> Result<(MaintenanceWindow, String), PolicyError> {
        let invalid = |name: &str, value: &str, expected: &str| PolicyError::Value {
            place: self.place(&format!("{path}.{name}")),
            value: value.to_owned(),
            expected: expected.to_owned(),
        };
        match (&table.start, &table.end, &table.every, &table.lasts) {
            (Some(start), Some(end), None, None) => {
                let time = |name: &str, text: &str| {
                    let time: Result<Timestamp, _> = text.parse();
                    time.map_err(|_| invalid(name, text, "a time such as 2026-12-24T18:00:00Z"))
                };
                let window = MaintenanceWindow::Once {
                    start: time("start", start)?,
                    end: time("end", end)?,
                };
                if matches!(window, MaintenanceWindow::Once { start, end } if end <= start) {
                    return Err(invalid("end", end, "a time after `start`"));
                }
                Ok((window, format!("from {start} to {end}")))
            }
            (None, None, Some(every), Some(lasts)) => {
                let expected = "a weekday and a time, such as Sat 22:00";
                let start_minute = minute_of_week(every).ok_or_else(|| invalid("every", every, expected))?;
                let minutes = duration(lasts)
                    .map(|lasts| lasts.as_mins())
                    .filter(|minutes| (1..=7 * 24 * 60).contains(minutes))
                    .ok_or_else(|| invalid("lasts", lasts, "a duration of up to a week, such as 6h"))?;
                let window = MaintenanceWindow::Weekly { start_minute, minutes };
                Ok((window, format!("every {every} for {lasts}")))
            }
            _ => Err(PolicyError::Conflict {
                place: self.place(path),
                message: "set either `start` and `end`, or `every` and `lasts`".into(),
            }),
        }
    }

    fn model_settings(&self, name: &str) -> Result<(ModelPolicy, Vec<Setting>), PolicyError> {
        let found = self.file.model.iter().enumerate().find(|(_, table)| table.name == name);
        let path = found.map(|(at, _)| format!("model.{at}")).unwrap_or_default();
        let table = found.map(|(_, table)| table);
        let mut settings = Vec::new();
        let mut add = |setting: &str, value: String, path: Option<String>| {
            settings.push(Setting {
                name: setting.to_owned(),
                value,
                place: path,
            });
        };

        let paused = match (self.file.paused, table.and_then(|table| table.paused)) {
            (Some(true), _) => Some(Paused::Globally),
            (_, Some(true)) => Some(Paused::Model),
            _ => None,
        };
        let paused_path = match (paused, table.and_then(|table| table.paused), self.file.paused) {
            (Some(Paused::Globally), ..) | (None, None, Some(_)) => Some("paused".to_owned()),
            (_, Some(_), _) => Some(format!("{path}.paused")),
            _ => None,
        };
        add("paused", paused.is_some().to_string(), paused_path);
        let card = table.and_then(|table| table.model_card.clone());
        let card_path = card.is_some().then(|| format!("{path}.model_card"));
        let model_card = card.unwrap_or_else(|| name.to_owned());
        add("model_card", model_card.clone(), card_path);
        let risk_rating = table.and_then(|table| table.risk_rating);
        if let Some(risk_rating) = risk_rating {
            add(
                "risk_rating",
                risk_rating.as_str().to_owned(),
                Some(format!("{path}.risk_rating")),
            );
        }

        let mut layers = Layers::new(vec![("remediation".to_owned(), &self.file.remediation)], self);
        if let Some(table) = table {
            layers.tables.push((format!("{path}.remediation"), &table.remediation));
        }
        let automation = layers.setting(
            "automation",
            None,
            |t: &RemediationTable| t.automation.map(Some),
            |automation: &Option<Automation>| {
                automation
                    .map_or("set by the risk rating", Automation::as_str)
                    .to_owned()
            },
        );
        let cooldown = layers.duration("cooldown", "24h", |t| t.cooldown.clone())?;
        let retrainings_per_day = layers.count("retrainings_per_day", 1, |t| t.retrainings_per_day)?;
        let retrainings_per_month = layers.count("retrainings_per_month", 8, |t| t.retrainings_per_month)?;
        let approval_expires_after =
            layers.duration("approval_expires_after", "3d", |t| t.approval_expires_after.clone())?;
        let approval_valid_for = layers.duration("approval_valid_for", "1d", |t| t.approval_valid_for.clone())?;
        let verify_executions = layers.count("verify_executions", 0, |t| t.verify_executions)?;
        let decide_after = layers.duration("decide_after", "0s", |t| t.decide_after.clone())?;
        let decide_within = layers.deadline("decide_within", "1h", |t| t.decide_within.clone())?;
        if decide_after >= decide_within {
            let message = "`decide_after` must be less than `decide_within`; otherwise no decision is made in time";
            return Err(layers.conflict("decide_after", message.to_owned()));
        }
        let start_within = layers.deadline("start_within", "1h", |t| t.start_within.clone())?;
        let retraining_within = layers.deadline("retraining_within", "48h", |t| t.retraining_within.clone())?;
        let data_within = layers.deadline("data_within", "7d", |t| t.data_within.clone())?;
        let reopen_within = layers.duration("reopen_within", "24h", |t| t.reopen_within.clone())?;
        let close_after = layers.count("close_after", 0, |t| t.close_after)?;
        if close_after > 100 {
            return Err(layers.invalid("close_after", &close_after.to_string(), "a number from 0 to 100"));
        }
        let minimum_severity = layers.setting(
            "minimum_severity",
            Severity::Warning,
            |t| t.minimum_severity,
            |severity| severity.as_str().to_owned(),
        );
        let fix_data_check_types = layers.setting(
            "fix_data_check_types",
            FIX_DATA_CHECK_TYPES.map(String::from).to_vec(),
            |t| t.fix_data_check_types.clone(),
            |types| types.join(", "),
        );
        settings.extend(layers.settings);

        let mut layers = Layers::new(vec![("retraining".to_owned(), &self.file.retraining)], self);
        if let Some(table) = table {
            layers.tables.push((format!("{path}.retraining"), &table.retraining));
        }
        let retraining = retraining(&mut layers)?;
        settings.extend(layers.settings);
        let policy = ModelPolicy {
            paused,
            model_card,
            risk_rating,
            automation,
            cooldown,
            retrainings_per_day,
            retrainings_per_month,
            approval_expires_after,
            approval_valid_for,
            verify_executions,
            decide_after,
            decide_within,
            start_within,
            retraining_within,
            data_within,
            reopen_within,
            close_after,
            minimum_severity,
            fix_data_check_types: fix_data_check_types.into_iter().collect(),
            retraining,
        };
        Ok((policy, settings))
    }

    pub(super) fn fleet_settings(&self) -> Result<(FleetPolicy, Vec<Setting>), PolicyError> {
        let default = FleetPolicy::default();
        let mut layers = Layers::new(vec![("fleet".to_owned(), &self.file.fleet)], self);
        let mut limit = |name: &str, default: u32, maximum: u32, get: fn(&FleetTable) -> Option<i64>| {
            let value = layers.setting(name, default.into(), get, i64::to_string);
            let found = u32::try_from(value).ok().filter(|value| (1..=maximum).contains(value));
            found.ok_or_else(|| {
                let expected = format!("a number from 1 to {maximum} (`paused = true` pauses all retrainings)");
                layers.invalid(name, &value.to_string(), &expected)
            })
        };
        let fleet = FleetPolicy {
            retrainings_at_once: limit("retrainings_at_once", default.retrainings_at_once, 1_000, |t| {
                t.retrainings_at_once
            })?,
            retrainings_per_day: limit("retrainings_per_day", default.retrainings_per_day, 10_000, |t| {
                t.retrainings_per_day
            })?,
            common_cause: layers.setting(
                "common_cause",
                default.common_cause,
                |t| t.common_cause,
                bool::to_string,
            ),
        };
        for setting in &mut layers.settings {
            setting.name.insert_str(0, "fleet.");
        }
        Ok((fleet, layers.settings))
    }

    /// Validates every table, so that later lookups succeed. The one exception is a window that results from several
    /// patterns that match the same monitor; see [`Policy::monitor`].
    fn validate(&self) -> Result<(), PolicyError> {
        self.rules(&ANY_MONITOR, "")?;
        let mut schedules = BTreeSet::new();
        for (at, table) in self.file.monitor.iter().enumerate() {
            let schedule = table.schedule.as_deref().unwrap_or("*");
            let key = (schedule.to_lowercase(), table.monitor_type.clone());
            if !schedules.insert(key) {
                return Err(PolicyError::Duplicate {
                    place: self.place(&format!("monitor.{at}")),
                    name: schedule.to_owned(),
                });
            }
            if let Some(model) = table.model.as_ref().filter(|model| !is_name(model)) {
                return Err(self.invalid_name(&format!("monitor.{at}.model"), model));
            }
            let monitor_type = table.monitor_type.as_deref();
            let types = [
                "DataQuality",
                "ModelQuality",
                "ModelBias",
                "ModelExplainability",
                "Custom",
            ];
            if let Some(kind) = monitor_type.filter(|kind| !types.contains(kind)) {
                return Err(PolicyError::Value {
                    place: self.place(&format!("monitor.{at}.monitor_type")),
                    value: kind.to_owned(),
                    expected: format!("one of {}", types.join(", ")),
                });
            }
            // The example has a name that matches the pattern, so that this table applies, and each possible type, so
            // that tables for a type apply, too.
            let example = schedule.replace('*', "");
            let candidate_types = types.into_iter().map(Some).chain([None]);
            for kind in candidate_types.filter(|kind| monitor_type.is_none() || *kind == monitor_type) {
                let monitor = MonitorRef {
                    schedule: &example,
                    endpoint: None,
                    monitor_type: kind,
                };
                self.rules(&monitor, table.model.as_deref().unwrap_or_default())?;
            }
        }
        self.fleet_settings()?;
        self.model_settings("")?;
        self.promotion_settings("")?;
        let mut names = BTreeSet::new();
        for (at, table) in self.file.model.iter().enumerate() {
            if !is_name(&table.name) {
                return Err(self.invalid_name(&format!("model.{at}.name"), &table.name));
            }
            if !names.insert(&table.name) {
                return Err(PolicyError::Duplicate {
                    place: self.place(&format!("model.{at}")),
                    name: table.name.clone(),
                });
            }
            self.model_settings(&table.name)?;
            self.promotion_settings(&table.name)?;
        }
        for (at, table) in self.file.alarm.iter().enumerate() {
            if !is_name(&table.model) {
                return Err(self.invalid_name(&format!("alarm.{at}.model"), &table.model));
            }
        }
        let mut analyzed = BTreeSet::new();
        for (at, table) in self.file.analysis.iter().enumerate() {
            let analysis = self.analysis(at, table)?;
            if !analyzed.insert(analysis.schedule.key()) {
                return Err(PolicyError::Duplicate {
                    place: self.place(&format!("analysis.{at}")),
                    name: table.schedule.clone(),
                });
            }
        }
        for (at, table) in self.file.notification.iter().enumerate() {
            self.notification(at, table)?;
        }
        Ok(())
    }

    fn invalid_name(&self, path: &str, value: &str) -> PolicyError {
        PolicyError::Value {
            place: self.place(path),
            value: value.to_owned(),
            expected: NAME_RULE.into(),
        }
    }
}

fn retraining(layers: &mut Layers<'_, RetrainingTable>) -> Result<RetrainingPolicy, PolicyError> {
    let start = layers.setting(
        "start",
        StartKind::Pipeline,
        |t| t.start,
        |start| start.as_str().to_owned(),
    );
    let pipeline = layers.setting(
        "pipeline",
        None,
        |t| t.pipeline.clone().map(Some),
        |name: &Option<String>| name.clone().unwrap_or_else(|| "the pipeline of the stack".to_owned()),
    );
    let state_machine = layers.setting(
        "state_machine",
        None,
        |t| t.state_machine.clone().map(Some),
        |arn: &Option<String>| arn.clone().unwrap_or_else(|| "none".to_owned()),
    );
    let is_arn = state_machine.as_ref().is_some_and(|arn| arn.starts_with("arn:"));
    if start == StartKind::StateMachine && !is_arn {
        let value = state_machine.unwrap_or_default();
        let expected = "the ARN of a state machine, because `start` is `state-machine`";
        return Err(layers.invalid("state_machine", &value, expected));
    }
    let own = || ParametersTable::Templates(PIPELINE_PARAMETERS.map(|(n, t)| (n.to_owned(), t.to_owned())).into());
    let parameters = layers.setting(
        "parameters",
        own(),
        |t| t.parameters.clone(),
        |parameters| match parameters {
            ParametersTable::Names(names) => names.join(", "),
            ParametersTable::Templates(templates) => {
                let each = templates.iter().map(|(name, template)| format!("{name} = {template}"));
                each.collect::<Vec<_>>().join(", ")
            }
        },
    );
    let parameters = match parameters {
        ParametersTable::Names(names) => {
            let mut parameters = BTreeMap::new();
            for name in names {
                let Some((_, template)) = PIPELINE_PARAMETERS.iter().find(|(own, _)| *own == name) else {
                    let own = PIPELINE_PARAMETERS.map(|(own, _)| own).join(", ");
                    let expected = format!("one of {own}, or a table of names and values ({{ {name} = \"…\" }})");
                    return Err(layers.invalid("parameters", &name, &expected));
                };
                parameters.insert(name, (*template).to_owned());
            }
            parameters
        }
        ParametersTable::Templates(templates) => {
            for (name, template) in &templates {
                let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                if name.is_empty() || name.len() > 256 || !name.chars().all(fits) {
                    let expected = "a parameter name of up to 256 letters, digits, hyphens, and underscores";
                    return Err(layers.invalid("parameters", name, expected));
                }
                for part in template.split('{').skip(1) {
                    let placeholder = part.split_once('}').map(|(placeholder, _)| placeholder);
                    if !placeholder.is_some_and(|placeholder| PLACEHOLDERS.contains(&placeholder)) {
                        let expected = format!("a template with the placeholders {{{}}}", PLACEHOLDERS.join("}, {"));
                        return Err(layers.invalid("parameters", template, &expected));
                    }
                }
            }
            templates
        }
    };
    let cost = layers.setting(
        "cost",
        None,
        |t| t.cost.map(Some),
        |cost: &Option<f64>| cost.map_or_else(|| "none".to_owned(), |cost| cost.to_string()),
    );
    if let Some(cost) = cost.filter(|cost| !(cost.is_finite() && *cost >= 0.0)) {
        return Err(layers.invalid("cost", &cost.to_string(), "a cost of 0 or more"));
    }
    Ok(RetrainingPolicy {
        start,
        pipeline,
        state_machine,
        parameters,
        cost,
    })
}

/// Tables of one type that apply, most general first, and the settings that were looked up.
struct Layers<'a, T> {
    tables: Vec<(String, &'a T)>,
    policy: &'a Policy,
    settings: Vec<Setting>,
}

impl<'a, T> Layers<'a, T> {
    fn new(tables: Vec<(String, &'a T)>, policy: &'a Policy) -> Self {
        Self {
            tables,
            policy,
            settings: Vec::new(),
        }
    }

    /// Value of a setting in the most specific table that has it, with the path of the table.
    fn find<V>(&self, get: impl Fn(&T) -> Option<V>) -> Option<(&str, V)> {
        let mut tables = self.tables.iter().rev();
        tables.find_map(|(path, table)| Some((path.as_str(), get(table)?)))
    }

    fn setting<V>(&mut self, name: &str, default: V, get: impl Fn(&T) -> Option<V>, show: impl Fn(&V) -> String) -> V {
        let (place, value) = match self.find(get) {
            Some((path, value)) => (Some(format!("{path}.{name}")), value),
            None => (None, default),
        };
        self.settings.push(Setting {
            name: name.to_owned(),
            value: show(&value),
            place,
        });
        value
    }

    fn duration(
        &mut self,
        name: &str,
        default: &str,
        get: impl Fn(&T) -> Option<String>,
    ) -> Result<SignedDuration, PolicyError> {
        let text = self.setting(name, default.to_owned(), get, String::clone);
        duration(&text).ok_or_else(|| self.invalid(name, &text, "a duration such as 30m, 24h, 7d, or 2w"))
    }

    /// A duration of at least a minute: events and sweeps are not faster.
    fn deadline(
        &mut self,
        name: &str,
        default: &str,
        get: impl Fn(&T) -> Option<String>,
    ) -> Result<SignedDuration, PolicyError> {
        let duration = self.duration(name, default, get)?;
        if duration < SignedDuration::from_mins(1) {
            let found = format!("{}s", duration.as_secs());
            return Err(self.invalid(name, &found, "a duration of at least 1m"));
        }
        Ok(duration)
    }

    fn count(&mut self, name: &str, default: i64, get: impl Fn(&T) -> Option<i64>) -> Result<u32, PolicyError> {
        let value = self.setting(name, default, get, i64::to_string);
        u32::try_from(value).map_err(|_| self.invalid(name, &value.to_string(), "a number of 0 or more"))
    }

    /// An error about the setting that was looked up under this name.
    fn invalid(&self, name: &str, value: &str, expected: &str) -> PolicyError {
        PolicyError::Value {
            place: self.place_for(name),
            value: value.to_owned(),
            expected: expected.to_owned(),
        }
    }

    /// An error about a setting that is missing or conflicts with the one under this name.
    fn conflict(&self, name: &str, message: String) -> PolicyError {
        PolicyError::Conflict {
            place: self.place_for(name),
            message,
        }
    }

    /// Place of the setting that was looked up under this name.
    fn place_for(&self, name: &str) -> String {
        let setting = self.settings.iter().rev().find(|setting| setting.name == name);
        match setting.and_then(|setting| setting.place.as_ref()) {
            Some(path) => self.policy.place(path),
            None => name.to_owned(),
        }
    }

    /// Place of the numbers of a window: the last one that the policy sets.
    fn place_for_window(&self) -> String {
        let numbers = ["evaluation_period", "datapoints_to_alert"];
        let mut found = self
            .settings
            .iter()
            .rev()
            .filter(|setting| numbers.contains(&setting.name.as_str()));
        match found.find_map(|setting| setting.place.as_ref()) {
            Some(path) => self.policy.place(path),
            None => "[alert]".to_owned(),
        }
    }
}

/// SageMaker lowercases schedule names in ARNs, so names that differ only in case are the same schedule.
fn same_schedule(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

fn fits(pattern: Option<&String>, name: Option<&str>) -> bool {
    pattern.is_none_or(|pattern| name.is_some_and(|name| Pattern::new(pattern.as_str()).matches(name)))
}

fn matches_monitor(schedule: Option<&String>, monitor_type: Option<&String>, monitor: &MonitorRef<'_>) -> bool {
    let lower = schedule.map(|schedule| schedule.to_lowercase());
    fits(lower.as_ref(), Some(&monitor.schedule.to_lowercase()))
        && monitor_type.is_none_or(|kind| monitor.monitor_type == Some(kind))
}

/// SageMaker's rule for the names of endpoints, schedules, and models.
const NAME_RULE: &str = "1 to 63 letters, digits, and hyphens, without a hyphen at the start or end";

/// Whether a name follows [`NAME_RULE`], in SageMaker's words `[a-zA-Z0-9](-*[a-zA-Z0-9])*`, at most 63 characters.
fn is_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=63).contains(&name.len()) && name.chars().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

/// Parses `10s`, `30m`, `24h`, `7d`, or `2w`. Durations above 10 years are rejected.
pub fn duration(text: &str) -> Option<SignedDuration> {
    let text = text.trim();
    let unit = text.chars().last()?;
    let count: i64 = text
        .strip_suffix(unit)?
        .trim()
        .parse()
        .ok()
        .filter(|count| *count >= 0)?;
    let hours = match unit {
        's' => return (count <= 24 * 3600).then(|| SignedDuration::from_secs(count)),
        'm' => return (count <= 60 * 24 * 3660).then(|| SignedDuration::from_mins(count)),
        'h' => 1,
        'd' => 24,
        'w' => 7 * 24,
        _ => return None,
    };
    count
        .checked_mul(hours)
        .filter(|hours| *hours <= 24 * 3660)
        .map(SignedDuration::from_hours)
}

/// Parses `Sat 22:00` as minutes after Monday 00:00.
fn minute_of_week(text: &str) -> Option<i64> {
    let (day, time) = text.trim().split_once(' ')?;
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let day = days.iter().position(|name| day.to_lowercase().starts_with(name))?;
    let (hour, minute) = time.trim().split_once(':')?;
    let (hour, minute): (i64, i64) = (hour.parse().ok()?, minute.parse().ok()?);
    let fits = (0..24).contains(&hour) && (0..60).contains(&minute);
    fits.then_some(i64::try_from(day).ok()? * 24 * 60 + hour * 60 + minute)
}

fn describe_rule(rule: &ViolationRule) -> String {
    let parts = [
        ("check_type", &rule.check_type),
        ("feature", &rule.feature),
        ("metric", &rule.metric),
        ("facet", &rule.facet),
    ];
    let selectors: Vec<String> = parts
        .iter()
        .filter_map(|(name, pattern)| Some(format!("{name} {}", pattern.as_ref()?.as_str())))
        .collect();
    let what = if selectors.is_empty() {
        "all".to_owned()
    } else {
        selectors.join(", ")
    };
    if !rule.counts {
        return format!("{what}: ignored");
    }
    let severity = rule.severity.as_str();
    if rule.minimum_exceedance > 0.0 {
        format!(
            "{what}: {severity} if at least {} beyond the threshold, as a fraction of it",
            rule.minimum_exceedance
        )
    } else {
        format!("{what}: {severity}")
    }
}

/// Adds the nearest known key to an error about an unknown key.
fn with_nearest(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let is_unknown = message.contains("unknown field") || message.contains("unknown variant");
    let unknown = names.next().filter(|_| is_unknown);
    let nearest = unknown.and_then(|unknown| {
        let ranked = names.map(|name| (strsim::damerau_levenshtein(unknown, name), name));
        ranked
            .min()
            .filter(|(distance, name)| *distance <= name.len().max(3) / 3 + 1)
    });
    match nearest {
        Some((_, name)) => format!("{}\ndid you mean `{name}`?", message.trim_end()),
        None => message.trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests;
