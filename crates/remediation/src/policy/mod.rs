//! The policy: one `policy.toml`, read from the state bucket. Without a file, the defaults are effective.
//!
//! `infra/policy.toml` shows every setting with its default; `infra/policy.schema.json` is the JSON Schema. A setting
//! comes from the most specific table that has it: `[[monitor]]` or `[[model]]`, then the table for all, then the
//! default. [`Policy::explain`] shows which one.

mod analysis;
mod explain;
mod file;
mod monitors;
mod notification;
mod promotion;
mod values;
mod warnings;

pub use analysis::{AnalysisSchedule, HourlyUri};
pub use explain::{Explanation, Setting};
pub use file::{Automation, NotificationKind, NotificationSeverity, RiskRating, StartKind};
pub use notification::{DailyAt, Destination, NotificationRoute, QuietHours, SecretReference};
pub use warnings::PolicyWarning;

use alerting::{MaintenanceWindow, MonitorRules, Pattern, Severity, WindowError};
use file::{FleetTable, ModelTable, PolicyFile, RemediationTable, RetrainingTable};
use jiff::SignedDuration;
use monitors::Windows;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use values::{Count, Deadline, Length, Number, Parameters, TypeName};

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

/// Default of `decide_after`.
const DECIDE_AFTER_MINUTES: i64 = 10;

/// Check types that indicate broken input data.
const FIX_DATA_CHECK_TYPES: [&str; 4] = [
    "data_type_check",
    "completeness_check",
    "missing_column_check",
    "extra_column_check",
];

/// A valid policy. It gives the effective settings of models and monitors.
///
/// Everything that can be wrong with a policy is found by [`Policy::parse`]. The tables then have values of their final
/// types, so that a look-up cannot fail and never has to fall back to other settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    version: String,
    text: String,
    file: PolicyFile,
    windows: Windows,
    /// Maintenance windows with their descriptions, by table.
    maintenance: Vec<(MaintenanceWindow, String)>,
    analyses: Vec<AnalysisSchedule>,
    notifications: Vec<NotificationRoute>,
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

impl<'a> From<&'a alerting::Monitor> for MonitorRef<'a> {
    fn from(monitor: &'a alerting::Monitor) -> Self {
        Self {
            schedule: &monitor.schedule,
            endpoint: monitor.endpoint.as_deref(),
            monitor_type: monitor.monitor_type.map(model_monitor::MonitorType::as_str),
        }
    }
}

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
    /// Maximum time for the executions that verify a retrained model. `None`: 3 times the time that they take, at least two
    /// days.
    pub verify_within: Option<SignedDuration>,
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
        Self::from_file("default".to_owned(), String::new(), PolicyFile::default())
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
        let file: PolicyFile = toml::from_str(text).map_err(|error| explain::malformed(text, &error))?;
        let mut version = hex::encode(Sha256::digest(bytes));
        version.truncate(12);
        let mut policy = Self::from_file(version, text.to_owned(), file);
        policy.validate()?;
        Ok(policy)
    }

    /// The policy before [`Policy::validate`] has read the tables that have a special form.
    fn from_file(version: String, text: String, file: PolicyFile) -> Self {
        Self {
            version,
            text,
            file,
            windows: Windows::default(),
            maintenance: Vec::new(),
            analyses: Vec::new(),
            notifications: Vec::new(),
        }
    }

    /// Policy version: the first 12 hexadecimal digits of the file's SHA-256, or `default` without a file.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Effective settings of a model.
    pub fn model(&self, name: &str) -> ModelPolicy {
        self.model_settings(name).0
    }

    /// Limits of retrainings over all models together.
    pub fn fleet(&self) -> FleetPolicy {
        self.fleet_settings().0
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

    /// Names of the CloudWatch alarms in the policy, in which `*` stands for any characters.
    pub fn alarm_names(&self) -> impl Iterator<Item = &str> {
        self.file.alarm.iter().map(|table| table.name.as_str())
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

    /// The `[[model]]` table of a model, with its position.
    fn model_table(&self, name: &str) -> Option<(usize, &ModelTable)> {
        self.file.model.iter().enumerate().find(|(_, table)| table.name == name)
    }

    #[expect(clippy::too_many_lines, reason = "one line for each setting")]
    fn model_settings(&self, name: &str) -> (ModelPolicy, Vec<Setting>) {
        let found = self.model_table(name);
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

        let mut layers = Layers::new(vec![("remediation".to_owned(), &self.file.remediation)]);
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
        let cooldown = layers.length("cooldown", 24, |t| t.cooldown.clone());
        let retrainings_per_day = layers.count("retrainings_per_day", 1, |t| t.retrainings_per_day);
        let retrainings_per_month = layers.count("retrainings_per_month", 8, |t| t.retrainings_per_month);
        let approval_expires_after =
            layers.length("approval_expires_after", 3 * 24, |t| t.approval_expires_after.clone());
        let approval_valid_for = layers.length("approval_valid_for", 24, |t| t.approval_valid_for.clone());
        let verify_executions = layers.setting(
            "verify_executions",
            Number(0),
            |t| t.verify_executions,
            |executions| executions.0.to_string(),
        );
        let decide_within = layers.deadline("decide_within", 1, |t| t.decide_within.clone());
        let decide_after = match DECIDE_AFTER_MINUTES {
            minutes if decide_within > SignedDuration::from_mins(minutes) => minutes,
            _ => 0,
        };
        let decide_after = layers.setting(
            "decide_after",
            Length::from_minutes(decide_after),
            |t| t.decide_after.clone(),
            |length| length.text.clone(),
        );
        let decide_after = decide_after.duration;
        let start_within = layers.deadline("start_within", 1, |t| t.start_within.clone());
        let retraining_within = layers.deadline("retraining_within", 48, |t| t.retraining_within.clone());
        let verify_within = layers.setting(
            "verify_within",
            None,
            |t| t.verify_within.clone().map(Some),
            |within: &Option<Deadline>| match within {
                Some(within) => within.0.text.clone(),
                None => "3 times the time of the executions, at least 2d".to_owned(),
            },
        );
        let data_within = layers.deadline("data_within", 7 * 24, |t| t.data_within.clone());
        let reopen_within = layers.length("reopen_within", 24, |t| t.reopen_within.clone());
        let close_after = layers.setting("close_after", Number(0), |t| t.close_after, |after| after.0.to_string());
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

        let mut layers = Layers::new(vec![("retraining".to_owned(), &self.file.retraining)]);
        if let Some(table) = table {
            layers.tables.push((format!("{path}.retraining"), &table.retraining));
        }
        let retraining = retraining(&mut layers);
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
            verify_executions: verify_executions.0,
            decide_after,
            decide_within,
            start_within,
            retraining_within,
            verify_within: verify_within.map(|within| within.0.duration),
            data_within,
            reopen_within,
            close_after: close_after.0,
            minimum_severity,
            fix_data_check_types: fix_data_check_types.into_iter().collect(),
            retraining,
        };
        (policy, settings)
    }

    pub(super) fn fleet_settings(&self) -> (FleetPolicy, Vec<Setting>) {
        let default = FleetPolicy::default();
        let mut layers = Layers::new(vec![("fleet".to_owned(), &self.file.fleet)]);
        let at_once = layers.setting(
            "retrainings_at_once",
            Number(default.retrainings_at_once),
            |t: &FleetTable| t.retrainings_at_once,
            |number| number.0.to_string(),
        );
        let per_day = layers.setting(
            "retrainings_per_day",
            Number(default.retrainings_per_day),
            |t| t.retrainings_per_day,
            |number| number.0.to_string(),
        );
        let common_cause = layers.setting(
            "common_cause",
            default.common_cause,
            |t| t.common_cause,
            bool::to_string,
        );
        let mut settings = layers.settings;
        for setting in &mut settings {
            setting.name.insert_str(0, "fleet.");
        }
        let fleet = FleetPolicy {
            retrainings_at_once: at_once.0,
            retrainings_per_day: per_day.0,
            common_cause,
        };
        (fleet, settings)
    }

    /// Validates what several settings say together, and reads the tables that have a special form. The values of single
    /// settings are valid already.
    fn validate(&mut self) -> Result<(), PolicyError> {
        let mut schedules = BTreeSet::new();
        for (at, table) in self.file.monitor.iter().enumerate() {
            let schedule = table.schedule.as_deref().unwrap_or("*");
            let key = (schedule.to_lowercase(), table.monitor_type);
            if !schedules.insert(key) {
                return Err(PolicyError::Duplicate {
                    place: self.place(&format!("monitor.{at}")),
                    name: schedule.to_owned(),
                });
            }
            if let Some(model) = table.model.as_ref().filter(|model| !is_name(model)) {
                return Err(self.invalid_name(&format!("monitor.{at}.model"), model));
            }
        }
        self.windows = self.resolve_windows()?;
        let maintenance = self.file.maintenance.iter().enumerate();
        self.maintenance = maintenance
            .map(|(at, table)| self.maintenance_window(at, table))
            .collect::<Result<_, _>>()?;
        self.check_model("")?;
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
            self.check_model(&table.name)?;
        }
        for (at, table) in self.file.alarm.iter().enumerate() {
            if !is_name(&table.model) {
                return Err(self.invalid_name(&format!("alarm.{at}.model"), &table.model));
            }
        }
        let mut analyses = Vec::new();
        let mut analyzed = BTreeSet::new();
        for (at, table) in self.file.analysis.iter().enumerate() {
            let schedule = self.analysis(at, table)?;
            if !analyzed.insert(schedule.schedule.key()) {
                return Err(PolicyError::Duplicate {
                    place: self.place(&format!("analysis.{at}")),
                    name: table.schedule.clone(),
                });
            }
            analyses.push(schedule);
        }
        self.analyses = analyses;
        let notifications = self.file.notification.iter().enumerate();
        self.notifications = notifications
            .map(|(at, table)| self.notification(at, table))
            .collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Checks the settings of a model that depend on each other. Without a name, those of all other models.
    fn check_model(&self, name: &str) -> Result<(), PolicyError> {
        let (model, settings) = self.model_settings(name);
        if model.decide_after >= model.decide_within {
            return Err(PolicyError::Conflict {
                place: self.place_of(&settings, "decide_after"),
                message: "`decide_after` must be less than `decide_within`; otherwise no decision is made in time"
                    .into(),
            });
        }
        let RetrainingPolicy {
            start, state_machine, ..
        } = model.retraining;
        let is_arn = state_machine.as_ref().is_some_and(|arn| arn.starts_with("arn:"));
        if start == StartKind::StateMachine && !is_arn {
            return Err(PolicyError::Value {
                place: self.place_of(&settings, "state_machine"),
                value: state_machine.unwrap_or_default(),
                expected: "the ARN of a state machine, because `start` is `state-machine`".into(),
            });
        }
        self.check_promotion(name)
    }

    fn invalid_name(&self, path: &str, value: &str) -> PolicyError {
        PolicyError::Value {
            place: self.place(path),
            value: value.to_owned(),
            expected: NAME_RULE.into(),
        }
    }
}

fn retraining(layers: &mut Layers<'_, RetrainingTable>) -> RetrainingPolicy {
    let start = layers.setting(
        "start",
        StartKind::Pipeline,
        |t| t.start,
        |start| start.as_str().to_owned(),
    );
    let pipeline = layers.optional(
        "pipeline",
        "the pipeline of the stack",
        |t| t.pipeline.clone(),
        String::clone,
    );
    let state_machine = layers.optional("state_machine", "none", |t| t.state_machine.clone(), String::clone);
    let parameters = layers.setting(
        "parameters",
        Parameters::all(),
        |t| t.parameters.clone(),
        Parameters::to_string,
    );
    let cost = layers.optional("cost", "none", |t| t.cost, |cost| cost.0.to_string());
    RetrainingPolicy {
        start,
        pipeline,
        state_machine,
        parameters: parameters.into_templates(),
        cost: cost.map(|cost| cost.0),
    }
}

/// Tables of one type that apply, most general first, and the settings that were looked up.
struct Layers<'a, T> {
    tables: Vec<(String, &'a T)>,
    settings: Vec<Setting>,
}

impl<'a, T> Layers<'a, T> {
    fn new(tables: Vec<(String, &'a T)>) -> Self {
        Self {
            tables,
            settings: Vec::new(),
        }
    }

    /// Value of a setting in the most specific table that has it, or the default.
    fn setting<V>(&mut self, name: &str, default: V, get: impl Fn(&T) -> Option<V>, show: impl Fn(&V) -> String) -> V {
        let found = self.optional_value(&get);
        let (place, value) = match found {
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

    /// Value of a setting without a default, which is shown as `none`.
    fn optional<V>(
        &mut self,
        name: &str,
        none: &str,
        get: impl Fn(&T) -> Option<V>,
        show: impl Fn(&V) -> String,
    ) -> Option<V> {
        let show = |value: &Option<V>| value.as_ref().map_or_else(|| none.to_owned(), &show);
        self.setting(name, None, |table| get(table).map(Some), show)
    }

    fn optional_value<V>(&self, get: impl Fn(&T) -> Option<V>) -> Option<(&str, V)> {
        let mut tables = self.tables.iter().rev();
        tables.find_map(|(path, table)| Some((path.as_str(), get(table)?)))
    }

    fn length(&mut self, name: &str, default_hours: i64, get: impl Fn(&T) -> Option<Length>) -> SignedDuration {
        let default = Length::from_hours(default_hours);
        self.setting(name, default, get, |length| length.text.clone()).duration
    }

    fn deadline(&mut self, name: &str, default_hours: i64, get: impl Fn(&T) -> Option<Deadline>) -> SignedDuration {
        let get = |table: &T| get(table).map(|deadline| deadline.0);
        self.length(name, default_hours, get)
    }

    fn count(&mut self, name: &str, default: u32, get: impl Fn(&T) -> Option<Count>) -> u32 {
        self.setting(name, Number(default), get, |count| count.0.to_string()).0
    }
}

/// SageMaker lowercases schedule names in ARNs, so names that differ only in case are the same schedule.
fn same_schedule(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

fn fits(pattern: Option<&String>, name: Option<&str>) -> bool {
    pattern.is_none_or(|pattern| name.is_some_and(|name| Pattern::new(pattern.as_str()).matches(name)))
}

fn matches_monitor(schedule: Option<&String>, monitor_type: Option<TypeName>, monitor: &MonitorRef<'_>) -> bool {
    let lower = schedule.map(|schedule| schedule.to_lowercase());
    fits(lower.as_ref(), Some(&monitor.schedule.to_lowercase()))
        && monitor_type.is_none_or(|kind| monitor.monitor_type == Some(kind.0.as_str()))
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

#[cfg(test)]
mod tests;
