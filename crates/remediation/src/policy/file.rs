//! Tables and settings of `policy.toml`. The JSON Schema `policy.schema.json` is generated from these types: their doc
//! comments are its descriptions.

use super::values::{
    CloudWatchName, Count, Deadline, Guardrails, JsonPointer, Length, MetricName, MetricsPeriod, Name, NonNegative,
    Number, Parameters, Period, Positive, Probability, S3Text, Traffic, TypeName,
};
use alerting::{Severity, TreatAs, TreatMissingData};
use promotion::{AllocationPolicy, Assignment, Inconclusive, Mode};
use serde::{Deserialize, Serialize};

/// Policy of Driftwarden. All settings are optional. The defaults never start a retraining without a low risk rating or
/// an approval.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyFile {
    /// Pauses retraining for all models (kill switch). Default: false.
    pub(crate) paused: Option<bool>,
    /// Alert settings for monitors without a `[[monitor]]` table.
    #[serde(default)]
    pub(crate) alert: AlertTable,
    /// Remediation settings for models without a `[[model]]` table.
    #[serde(default)]
    pub(crate) remediation: RemediationTable,
    /// Retraining settings for models without a `[[model]]` table.
    #[serde(default)]
    pub(crate) retraining: RetrainingTable,
    /// Settings of experiments and promotions for models without a `[[model]]` table.
    #[serde(default)]
    pub(crate) promotion: PromotionTable,
    /// Limits of retrainings over all models together.
    #[serde(default)]
    pub(crate) fleet: FleetTable,
    /// Settings of one model. They override the settings for all models.
    #[serde(default)]
    pub(crate) model: Vec<ModelTable>,
    /// Settings of the monitors that match. If several tables match a monitor, the last one that has a setting wins. The
    /// alert window (`window`, M, N, `period`, `treat_missing_data`, `evaluation_range`) is one setting: it comes from one
    /// table, completed by `[alert]`.
    #[serde(default)]
    pub(crate) monitor: Vec<MonitorTable>,
    /// Rules that set which violations count, and their severity. The first rule that matches a violation applies. A
    /// violation without a matching rule counts as a warning.
    #[serde(default)]
    pub(crate) violation: Vec<ViolationTable>,
    /// Maintenance windows, in which violations are ignored.
    #[serde(default)]
    pub(crate) maintenance: Vec<MaintenanceTable>,
    /// CloudWatch alarms that open an incident like a monitor's alert.
    #[serde(default)]
    pub(crate) alarm: Vec<AlarmTable>,
    /// Monitoring schedules of native analyses: the data, the baseline, and the times.
    #[serde(default)]
    pub(crate) analysis: Vec<AnalysisTable>,
    /// Destinations of notifications, with filters and times. Default: the stack's SNS topic gets all notifications as
    /// text.
    #[serde(default)]
    pub(crate) notification: Vec<NotificationTable>,
}

/// Type of an alert window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum WindowKind {
    /// Evaluates the latest executions (SageMaker's rule).
    Executions,
    /// Evaluates periods of time (CloudWatch's rule).
    Time,
}

impl WindowKind {
    /// Name in policies.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Executions => "executions",
            Self::Time => "time",
        }
    }
}

/// Alert settings of monitors.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertTable {
    /// Type of the alert window: `executions` (SageMaker's rule) or `time` (CloudWatch's rule). Default: executions.
    pub(crate) window: Option<WindowKind>,
    /// Number of breaching datapoints that raise the alert (M). 1 to 100. Default: 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100)))]
    pub(crate) datapoints_to_alert: Option<i64>,
    /// Number of latest executions, or periods, that are evaluated (N). M to 100. Default: 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100)))]
    pub(crate) evaluation_period: Option<i64>,
    /// Takes M and N from the `MonitoringAlert` of the schedule, if it has one. Default: false.
    pub(crate) follow_monitoring_alert: Option<bool>,
    /// Length of a period of a `time` window: `15m`, `1h`, `1d`, `1w`, `1mo`. Default: 1h.
    pub(crate) period: Option<Period>,
    /// Treatment of periods without a datapoint in a `time` window. Default: missing.
    pub(crate) treat_missing_data: Option<TreatMissingData>,
    /// Number of periods in which a `time` window looks for datapoints. N to 200. Default: N + 2.
    pub(crate) evaluation_range: Option<i64>,
    /// Treatment of executions without data. Default: missing.
    pub(crate) no_data: Option<TreatAs>,
    /// Treatment of executions that failed or were stopped. Default: missing.
    pub(crate) failed: Option<TreatAs>,
    /// Treatment of executions that were due and never ran. Default: missing.
    pub(crate) missing: Option<TreatAs>,
    /// Number of consecutive executions without a result that makes a monitor unhealthy. 0 to 100; 0 disables
    /// it. Default: 3.
    pub(crate) unhealthy_after: Option<Number<0, 100>>,
}

impl AlertTable {
    /// Names of the settings of the alert window that this table sets.
    pub(crate) fn window_settings(&self) -> Vec<&'static str> {
        let settings = [
            ("window", self.window.is_some()),
            ("datapoints_to_alert", self.datapoints_to_alert.is_some()),
            ("evaluation_period", self.evaluation_period.is_some()),
            ("period", self.period.is_some()),
            ("treat_missing_data", self.treat_missing_data.is_some()),
            ("evaluation_range", self.evaluation_range.is_some()),
        ];
        settings
            .into_iter()
            .filter_map(|(name, set)| set.then_some(name))
            .collect()
    }
}

/// Automation level: the extent to which Driftwarden acts without approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Automation {
    /// Driftwarden decides and records the decision, but does not ask for action.
    Observe,
    /// Driftwarden recommends a response, and starts it if an operator approves.
    Suggest,
    /// Driftwarden requests approval, and starts the retraining if it is approved in time.
    Approve,
    /// Driftwarden starts the retraining without approval.
    Auto,
}

impl Automation {
    /// Name in policies and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Suggest => "suggest",
            Self::Approve => "approve",
            Self::Auto => "auto",
        }
    }
}

/// Risk rating of a model (`intended_uses.risk_rating` of its model card).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RiskRating {
    /// The model has a low risk.
    Low,
    /// The model has a medium risk.
    Medium,
    /// The model has a high risk.
    High,
    /// The model is not rated, or has no model card.
    #[default]
    Unknown,
}

impl RiskRating {
    /// Parses SageMaker's spelling, ignoring case. Anything else is [`Self::Unknown`].
    pub fn parse(text: &str) -> Self {
        match text.trim().to_ascii_lowercase().as_str() {
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" => Self::High,
            _ => Self::Unknown,
        }
    }

    /// Name in policies and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Unknown => "unknown",
        }
    }
}

/// Remediation settings of models.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct RemediationTable {
    /// Automation level: `observe`, `suggest`, `approve`, or `auto`. Default: `auto` for a low risk rating, `approve`
    /// for medium, `suggest` for high or unknown.
    pub(crate) automation: Option<Automation>,
    /// Minimum time between the starts of two retrainings of a model. Default: 24h.
    pub(crate) cooldown: Option<Length>,
    /// Maximum number of retrainings of a model per day (UTC). Default: 1.
    pub(crate) retrainings_per_day: Option<Count>,
    /// Maximum number of retrainings of a model per calendar month (UTC). Default: 8.
    pub(crate) retrainings_per_month: Option<Count>,
    /// Time after which an approval request expires. Default: 3d.
    pub(crate) approval_expires_after: Option<Length>,
    /// Time that a granted approval stays valid while the retraining has to wait. Default: 1d.
    pub(crate) approval_valid_for: Option<Length>,
    /// Number of executions on the retrained model after which a monitor that is still in alert escalates the incident.
    /// 0 to 100; 0 takes the monitor's evaluation period. Default: 0.
    pub(crate) verify_executions: Option<Number<0, 100>>,
    /// Time to wait after the latest new alert of a model before a decision, so that alerts that arrive together lead to
    /// one decision, and drift of many models is noticed before they retrain. The next sweep then decides. 0s: decide
    /// immediately. Less than `decide_within`. Default: 10m, or 0s if `decide_within` is at most 10m.
    pub(crate) decide_after: Option<Length>,
    /// Maximum time for a decision. If a fact that it needs cannot be read in this time, the incident is escalated. At
    /// least 1m. Default: 1h.
    pub(crate) decide_within: Option<Deadline>,
    /// Maximum time from the decision to retrain until the pipeline execution exists. Then the incident is escalated. At
    /// least 1m. Does not apply to `start = "event"`: `retraining_within` does. Default: 1h.
    pub(crate) start_within: Option<Deadline>,
    /// Maximum duration of a retraining. Then the incident is escalated; the pipeline execution is not stopped. At least
    /// 1m. Default: 48h.
    pub(crate) retraining_within: Option<Deadline>,
    /// Maximum time for the executions that verify a retrained model. Then the incident is escalated. At least 1m. Default:
    /// 3 times the time that the required executions take, at least 2d.
    pub(crate) verify_within: Option<Deadline>,
    /// Maximum time that an incident waits for fixed input data (`FixData`). Then it is escalated. At least
    /// 1m. Default: 7d.
    pub(crate) data_within: Option<Deadline>,
    /// Time after the end of an incident in which a new alert reopens it instead of opening another one. 0s never
    /// reopens. Default: 24h.
    pub(crate) reopen_within: Option<Length>,
    /// Number of clean executions of each monitor after which an incident closes. 0 to 100; 0 takes the monitor's
    /// evaluation period, but at least 3. Default: 0.
    pub(crate) close_after: Option<Number<0, 100>>,
    /// Minimum severity of alerts that start a retraining. If all alerts are below it, the incident is held. Default: warning.
    pub(crate) minimum_severity: Option<Severity>,
    /// Check types that indicate broken input data. They lead to `FixData` instead of
    /// `Retrain`. Default: `data_type_check`, `completeness_check`, `missing_column_check`, `extra_column_check`.
    pub(crate) fix_data_check_types: Option<Vec<String>>,
}

/// Limits of retrainings over all models together.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct FleetTable {
    /// Maximum number of retrainings of all models at the same time. 1 to 1000. Default: 5.
    pub(crate) retrainings_at_once: Option<Number<1, 1000>>,
    /// Maximum number of retrainings of all models per day (UTC). 1 to 10000. Default: 20.
    pub(crate) retrainings_per_day: Option<Number<1, 10000>>,
    /// Whether retrainings are held if many models want to start one within an hour, because the cause is probably a common
    /// one. Default: true.
    pub(crate) common_cause: Option<bool>,
}

/// Target that a retraining starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum StartKind {
    /// Starts a SageMaker pipeline.
    Pipeline,
    /// Starts a Step Functions state machine of type STANDARD.
    StateMachine,
    /// Starts nothing. Your service retrains on the event `Remediation Decided`.
    Event,
}

impl StartKind {
    /// Name in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::StateMachine => "state-machine",
            Self::Event => "event",
        }
    }
}

/// Retraining settings of models.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct RetrainingTable {
    /// Target that a retraining starts: `pipeline`, `state-machine`, or `event`. Default: pipeline.
    pub(crate) start: Option<StartKind>,
    /// Name or ARN of the SageMaker pipeline to start. Default: the pipeline of the stack.
    pub(crate) pipeline: Option<String>,
    /// ARN of the Step Functions state machine. Required if `start` is `state-machine`. Default: none.
    pub(crate) state_machine: Option<String>,
    /// Parameters of the pipeline execution. Default: all of Driftwarden's parameters.
    pub(crate) parameters: Option<Parameters>,
    /// Cost of one retraining, in any currency. The dashboard shows the total. Default: none.
    pub(crate) cost: Option<NonNegative>,
}

/// Settings of one model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelTable {
    /// Name of the model, as in the `model` of a `[[monitor]]` table. Without such a table, it is the name of the
    /// endpoint, or else the name of the schedule.
    pub(crate) name: String,
    /// Pauses retraining for this model. Default: false.
    pub(crate) paused: Option<bool>,
    /// Name of the model card of this model. Default: the model's name.
    pub(crate) model_card: Option<String>,
    /// Risk rating of this model: `low`, `medium`, `high`, or `unknown`. Default: the rating in the model card.
    pub(crate) risk_rating: Option<RiskRating>,
    /// Remediation settings of this model.
    #[serde(default)]
    pub(crate) remediation: RemediationTable,
    /// Retraining settings of this model.
    #[serde(default)]
    pub(crate) retraining: RetrainingTable,
    /// Settings of experiments and promotions of this model.
    #[serde(default)]
    pub(crate) promotion: PromotionTable,
}

/// Settings of experiments and promotions.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct PromotionTable {
    /// How a candidate is tested: `variants` (as a second production variant, with an increasing traffic share),
    /// `shadow` (as a shadow variant), `blue-green` (with SageMaker's deployment guardrails), or `off`. Default: off.
    pub(crate) mode: Option<Mode>,
    /// Endpoint that serves the model. Default: the model's name.
    pub(crate) endpoint: Option<Name>,
    /// Model package group whose new versions are candidates. Default: the model's name.
    pub(crate) model_package_group: Option<Name>,
    /// Tests model packages with the status `PendingManualApproval`, too. Default: false.
    pub(crate) unapproved: Option<bool>,
    /// Maximum time between the end of a retraining and its model package. Default: 24h.
    pub(crate) candidate_within: Option<Length>,
    /// Traffic share of the candidate in each step, in percent. Default: 5, 10, 25, 50.
    pub(crate) traffic: Option<Traffic>,
    /// Minimum duration of a step. Default: 1h.
    pub(crate) step_lasts: Option<Length>,
    /// Bake period: the time that the old champion stays ready after a promotion. Default: 1h.
    pub(crate) bake: Option<Length>,
    /// Maximum duration of an experiment. Default: 7d.
    pub(crate) maximum_duration: Option<Length>,
    /// Action when an experiment reaches its maximum duration without a result: `pause` (an operator decides),
    /// `roll-back`, or `promote`. Default: pause.
    pub(crate) inconclusive: Option<Inconclusive>,
    /// Metric to compare the variants by: `accuracy`, `absolute_error`, `squared_error`, or the name of a custom
    /// metric, which you report with the event `Experiment Outcomes Reported` or in CloudWatch. Default: accuracy.
    pub(crate) metric: Option<MetricName>,
    /// Whether a lower value of the custom metric is better. Default: false.
    pub(crate) lower_is_better: Option<bool>,
    /// Accepted probability of a false result, over all looks of an experiment. Default: 0.05.
    pub(crate) alpha: Option<Probability>,
    /// Smallest difference that matters, in the unit of the metric. Default: 0.02.
    pub(crate) effect: Option<Positive>,
    /// Margin of non-inferiority: a candidate that is worse by less than this is promoted. Default: none; only a better
    /// candidate is promoted.
    pub(crate) margin: Option<Positive>,
    /// Minimum number of outcomes per variant before a comparison. Default: 500.
    pub(crate) minimum_sample: Option<Number<1, { u32::MAX }>>,
    /// Who assigns requests to variants: SageMaker, by `weights`, or your application, by
    /// `target-variant`. Default: weights.
    pub(crate) assignment: Option<Assignment>,
    /// How the traffic shares are set: by the `steps` in `traffic`, or by `thompson` sampling of the outcomes. Thompson
    /// sampling requires `assignment = "target-variant"`. Default: steps.
    pub(crate) allocation: Option<AllocationPolicy>,
    /// Period of the CloudWatch metrics of the guardrails: 10s, 20s, 30s, or whole minutes up to 1h. Default: 1m.
    pub(crate) metrics_period: Option<MetricsPeriod>,
    /// Names of the CloudWatch alarms that roll back a blue/green deployment. Default: none.
    pub(crate) alarms: Option<Vec<String>>,
    /// Offline check of a candidate before it is deployed to the endpoint. Default: none.
    pub(crate) gate: Option<GateTable>,
    /// Limits of endpoint metrics that stop an experiment. Default: `latency_p99` 20% slower, `errors_5xx` 1 percentage
    /// point more.
    pub(crate) guardrails: Option<Guardrails>,
    /// Source of the outcomes per variant. Required for all metrics except custom metrics. Default: none.
    pub(crate) capture: Option<CaptureTable>,
    /// CloudWatch metric with the outcomes of the custom metric, instead of events. Default: none.
    pub(crate) cloudwatch: Option<CloudWatchTable>,
    /// Baselines that the monitors get after a promotion. Default: the monitors keep their baselines.
    pub(crate) baselines: Option<BaselinesTable>,
}

/// Offline check: compares a metric in the report of the candidate's model package with that of the champion.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct GateTable {
    /// Metric to compare, as a JSON pointer into the report in `ModelMetrics.ModelQuality.Statistics`.
    pub(crate) metric: JsonPointer,
    /// Whether a lower value of the metric is better. Default: false.
    pub(crate) lower_is_better: Option<bool>,
    /// Maximum amount by which the candidate may be worse. Default: 0.
    pub(crate) worse_by: Option<NonNegative>,
}

/// Source of the outcomes per variant.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct CaptureTable {
    /// `s3://` URI of the endpoint's data capture folder. It contains a folder for each variant, with folders for each
    /// hour.
    pub(crate) data: S3Text,
    /// `s3://` URI of the ground truth, with a folder for each hour.
    pub(crate) ground_truth: S3Text,
    /// `s3://` URI of the `analysis_config.json` that names the label and prediction columns.
    pub(crate) config: S3Text,
}

/// Custom metric in CloudWatch with the dimensions `EndpointName` and `VariantName`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct CloudWatchTable {
    /// Namespace of the CloudWatch metric.
    pub(crate) namespace: CloudWatchName,
    /// Name of the CloudWatch metric.
    pub(crate) metric_name: CloudWatchName,
    /// Whether the values are zeros and ones. If false, the average of each period is one value. Default: true.
    pub(crate) proportion: Option<bool>,
}

/// Baselines that the monitors get after a promotion.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct BaselinesTable {
    /// `s3://` URI of the output folder. Each version of the model package group gets its own folder in it.
    pub(crate) output: S3Text,
    /// `s3://` URI of the training data, with `{version}` for the version of the model package. Default: the baselines
    /// in `DriftCheckBaselines` of the model package.
    pub(crate) training_data: Option<S3Text>,
}

/// Settings of the monitors that match.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct MonitorTable {
    /// Applies to monitoring schedules with this name. `*` stands for any characters. Default: every schedule.
    pub(crate) schedule: Option<String>,
    /// Applies to monitors of this type: `DataQuality`, `ModelQuality`, `ModelBias`, `ModelExplainability`, or
    /// `Custom`. Default: every type.
    pub(crate) monitor_type: Option<TypeName>,
    /// Name of the monitored model. Monitors of one model share incidents. Default: the name of the endpoint, or else
    /// of the schedule.
    pub(crate) model: Option<String>,
    /// Alert settings of these monitors.
    #[serde(default)]
    pub(crate) alert: AlertTable,
}

/// Rule for violations. A rule matches if all its patterns match.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct ViolationTable {
    /// Applies to violations of this model only. `*` stands for any characters. Default: every model.
    pub(crate) model: Option<String>,
    /// Applies to violations of this monitoring schedule only. `*` stands for any characters. Default: every schedule.
    pub(crate) schedule: Option<String>,
    /// Applies to violations found by monitors of this type only. Default: every type.
    pub(crate) monitor_type: Option<TypeName>,
    /// Applies to violations of this check type (`constraint_check_type`) only. `*` stands for any
    /// characters. Default: every check type.
    pub(crate) check_type: Option<String>,
    /// Applies to violations of this feature only. `*` stands for any characters. Default: every feature.
    pub(crate) feature: Option<String>,
    /// Applies to violations of this metric only. `*` stands for any characters. Default: every metric.
    pub(crate) metric: Option<String>,
    /// Applies to violations of this facet only. `*` stands for any characters. Default: every facet.
    pub(crate) facet: Option<String>,
    /// Minimum distance from the threshold at which a violation counts, as a fraction of the threshold. 0.1 is
    /// 10%. Default: 0.
    #[cfg_attr(feature = "schema", schemars(range(min = 0)))]
    pub(crate) minimum_exceedance: Option<NonNegative>,
    /// Severity of these violations: `warning` or `critical`. Default: warning.
    pub(crate) severity: Option<Severity>,
    /// Whether these violations count toward the alert. Default: true.
    pub(crate) counts: Option<bool>,
}

/// Maintenance window: once (`start` and `end`), or every week (`every` and `lasts`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct MaintenanceTable {
    /// Applies to monitors of this model only. `*` stands for any characters. Default: every model.
    pub(crate) model: Option<String>,
    /// Applies to this monitoring schedule only. `*` stands for any characters. Default: every schedule.
    pub(crate) schedule: Option<String>,
    /// Start of a maintenance window that occurs once: `2026-12-24T18:00:00Z`. Requires `end`. Default: none.
    pub(crate) start: Option<String>,
    /// End of a maintenance window that occurs once: `2026-12-27T06:00:00Z`. Requires `start`. Default: none.
    pub(crate) end: Option<String>,
    /// Start of a weekly maintenance window, as day and time in UTC: `Sat 22:00`. Requires `lasts`. Default: none.
    pub(crate) every: Option<String>,
    /// Duration of a weekly maintenance window, up to a week: `6h`. Requires `every`. Default: none.
    pub(crate) lasts: Option<String>,
}

/// CloudWatch alarm that opens an incident.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct AlarmTable {
    /// Name of the CloudWatch alarm. `*` stands for any characters.
    pub(crate) name: String,
    /// Name of the model that the alarm belongs to.
    pub(crate) model: String,
    /// Severity of the alarm: `warning` or `critical`. Default: warning.
    pub(crate) severity: Option<Severity>,
}

/// Monitoring schedule of a native analysis.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct AnalysisTable {
    /// Name of the monitoring schedule, used in reports and alerts.
    pub(crate) schedule: String,
    /// Type of the analysis: `DataQuality`, `ModelQuality`, `ModelBias`, or
    /// `ModelExplainability`. Default: `DataQuality`.
    pub(crate) monitor_type: Option<String>,
    /// Endpoint whose captured data is analyzed. Leave it out for batch transform. Default: none.
    pub(crate) endpoint: Option<String>,
    /// Schedule of the executions, in UTC: `cron(0 * ? * * *)`, `cron(0 H ? * * *)`, `cron(0 H/N ? * * *)`, `rate(6
    /// hours)`, `rate(1 day)`. Default: hourly.
    pub(crate) expression: Option<String>,
    /// Delay of an execution after its scheduled time, so that the captured data has arrived. Default: 10m.
    pub(crate) delay: Option<String>,
    /// `s3://` URI of the data to analyze, with a folder for each hour. `%Y`, `%m`, `%d`, and `%H` stand for year,
    /// month, day, and hour. Without a `%`, `/%Y/%m/%d/%H` is appended, the layout of data capture.
    pub(crate) data: String,
    /// `s3://` URI of the folder with the baseline files.
    pub(crate) baseline: String,
    /// `s3://` URI for the reports (`S3OutputUri`). The layout below it is that of Model Monitor.
    pub(crate) output: String,
    /// `s3://` URI of the ground truth, in the same form as `data`. Required for `ModelQuality` and `ModelBias`, unless
    /// `data` contains the labels. Default: none.
    pub(crate) ground_truth: Option<String>,
    /// Start of the data window, as a duration before the scheduled time. Default: the time of the previous execution.
    pub(crate) start_time_offset: Option<String>,
    /// End of the data window, as a duration before the scheduled time. Default: 0h.
    pub(crate) end_time_offset: Option<String>,
    /// Position of the response columns in the baseline dataset: `START` or `END`. Default: START.
    pub(crate) output_columns_position: Option<String>,
    /// Accepts integers as decimal numbers, and any value as a string, in the data type check. Default: false.
    pub(crate) lenient_types: Option<bool>,
    /// Reports only significant drift, with at most this fraction of false findings among all findings. Between 0 and
    /// 1. Default: none; significance is not tested.
    pub(crate) false_discovery_rate: Option<f64>,
    /// `s3://` URI of the `analysis_config.json` that sets the roles of the columns. Not used for data
    /// quality. Default: the file in the baseline folder.
    pub(crate) config: Option<String>,
}

/// Channel and format of notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NotificationChannel {
    /// Text to an SNS topic, for email.
    SnsText,
    /// JSON to an SNS topic (`events/schemas/notification.v1.json`), for queues and functions.
    SnsJson,
    /// Message to an SNS topic with a subscription of Amazon Q Developer in chat applications, for Slack and Microsoft
    /// Teams.
    Chat,
    /// Alert to PagerDuty through its Events API v2.
    #[serde(rename = "pagerduty")]
    PagerDuty,
    /// Signed POST request with the same JSON to your URL.
    Webhook,
}

impl NotificationChannel {
    /// Name in policies.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::SnsText => "sns-text",
            Self::SnsJson => "sns-json",
            Self::Chat => "chat",
            Self::PagerDuty => "pagerduty",
            Self::Webhook => "webhook",
        }
    }
}

/// Severity of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum NotificationSeverity {
    /// No action is required.
    Info,
    /// Check it during working hours.
    Warning,
    /// Act immediately, at any hour.
    Critical,
}

impl NotificationSeverity {
    /// Name in policies and notifications.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Subject of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum NotificationKind {
    /// The alert status of a monitor changed.
    Alert,
    /// A monitor became unhealthy, or recovered.
    Health,
    /// Driftwarden made a decision on an incident.
    Decision,
    /// The retraining of an incident ended.
    Retraining,
    /// An incident was closed.
    Incident,
    /// The stage of an experiment changed.
    Experiment,
    /// The baseline of a monitor changed.
    Baseline,
}

impl NotificationKind {
    /// Name in policies and notifications.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Health => "health",
            Self::Decision => "decision",
            Self::Retraining => "retraining",
            Self::Incident => "incident",
            Self::Experiment => "experiment",
            Self::Baseline => "baseline",
        }
    }
}

/// Destination of notifications. If several tables have the same destination, the first one that matches a notification
/// applies.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct NotificationTable {
    /// Channel and format: `sns-text`, `sns-json`, `chat`, `pagerduty`, or `webhook`.
    pub(crate) to: NotificationChannel,
    /// ARN of the SNS topic for `sns-text`, `sns-json`, and `chat`. Default: the topic of the stack.
    pub(crate) topic: Option<String>,
    /// `https://` URL for `pagerduty` or `webhook`. Required for
    /// `webhook`. Default: `https://events.pagerduty.com/v2/enqueue` for `pagerduty`.
    pub(crate) url: Option<String>,
    /// Location of the routing key for `pagerduty`, or of the signing key for `webhook`: `secretsmanager:NAME` or
    /// `ssm:/NAME`. Required for both. Default: none.
    pub(crate) secret: Option<String>,
    /// Sends notifications about these models only. `*` stands for any characters. Default: all models.
    pub(crate) models: Option<Vec<String>>,
    /// Minimum severity of notifications to send: `info`, `warning`, or `critical`. Default: info.
    pub(crate) severity: Option<NotificationSeverity>,
    /// Subjects of notifications to send: `alert`, `health`, `decision`, `retraining`, `incident`, `experiment`,
    /// `baseline`. Default: all subjects.
    pub(crate) kinds: Option<Vec<NotificationKind>>,
    /// Quiet hours, in UTC, in which notifications are held and then sent as one: `22:00-07:00`, or with the days on
    /// which they start, `Sat-Sun 00:00-24:00`. Default: none.
    pub(crate) quiet: Option<Vec<String>>,
    /// Minimum severity that bypasses quiet hours and digests: `info`, `warning`, or `critical`. Default: none.
    pub(crate) urgent: Option<NotificationSeverity>,
    /// Sends all notifications as one, once a day, at this time in UTC: `daily at 08:00`. Default: none; notifications
    /// are sent one by one.
    pub(crate) digest: Option<String>,
}
