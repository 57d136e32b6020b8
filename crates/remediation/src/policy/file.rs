//! `policy.toml` as it is written. The JSON Schema `policy.schema.json` is generated from these types.

use alerting::{Severity, TreatAs, TreatMissingData};
use promotion::{AllocationPolicy, Assignment, GuardrailMetric, Inconclusive, Mode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The remediation policy. Everything may be left out: the defaults are safe for a first day.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyFile {
    /// The kill switch: nothing is started for any model while it is true. Default: false.
    pub(crate) paused: Option<bool>,
    /// How every monitor is judged that no `[[monitor]]` says otherwise of.
    #[serde(default)]
    pub(crate) alert: AlertTable,
    /// How is decided for every model that no `[[model]]` says otherwise of.
    #[serde(default)]
    pub(crate) remediation: RemediationTable,
    /// What a retraining is, for every model that no `[[model]]` says otherwise of.
    #[serde(default)]
    pub(crate) retraining: RetrainingTable,
    /// How a retrained model is tested on live traffic and promoted, for every model that no `[[model]]` says otherwise of.
    #[serde(default)]
    pub(crate) promotion: PromotionTable,
    /// What holds for one model.
    #[serde(default)]
    pub(crate) model: Vec<ModelTable>,
    /// What holds for monitors; of several that match one, the later holds, setting by setting.
    #[serde(default)]
    pub(crate) monitor: Vec<MonitorTable>,
    /// Which violations count, and how grave they are. The first that matches a violation decides; a violation that none
    /// matches counts, as a warning.
    #[serde(default)]
    pub(crate) violation: Vec<ViolationTable>,
    /// When violations are muted.
    #[serde(default)]
    pub(crate) maintenance: Vec<MaintenanceTable>,
    /// CloudWatch alarms that are triggers like a monitor's alert.
    #[serde(default)]
    pub(crate) alarm: Vec<AlarmTable>,
    /// Monitoring schedules of Driftwarden's own: what is analysed by itself, when, and against what.
    #[serde(default)]
    pub(crate) analysis: Vec<AnalysisTable>,
    /// Where notifications go. Default: all of them, as text, to the deployment's SNS topic.
    #[serde(default)]
    pub(crate) notification: Vec<NotificationTable>,
}

/// Over what a window goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum WindowKind {
    /// Over the latest executions: SageMaker's rule.
    Executions,
    /// Over periods of time: CloudWatch's rule.
    Time,
}

/// How monitors are judged.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertTable {
    /// `executions` (SageMaker's rule) or `time` (CloudWatch's). Default: executions.
    pub(crate) window: Option<WindowKind>,
    /// M, 1 to 100: so many breaching datapoints alert. Default: 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100)))]
    pub(crate) datapoints_to_alert: Option<i64>,
    /// N, M to 100: of so many latest executions, or periods. Default: 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100)))]
    pub(crate) evaluation_period: Option<i64>,
    /// Take M and N from the schedule's own `MonitoringAlert`, where there is one. Default: false.
    pub(crate) follow_monitoring_alert: Option<bool>,
    /// How long a period of a window over time is: `15m`, `1h`, `1d`, `1w`, `1mo`. Default: 1h.
    pub(crate) period: Option<String>,
    /// What periods without a datapoint are, in a window over time. Default: missing.
    pub(crate) treat_missing_data: Option<TreatMissingData>,
    /// How many periods a window over time looks at, N to 200. Default: N + 2.
    pub(crate) evaluation_range: Option<i64>,
    /// What an execution without data is taken for. Default: missing.
    pub(crate) no_data: Option<TreatAs>,
    /// What a failed or stopped execution is taken for. Default: missing.
    pub(crate) failed: Option<TreatAs>,
    /// What an execution that was due and never ran is taken for. Default: missing.
    pub(crate) missing: Option<TreatAs>,
    /// After so many executions in a row that failed, had no data or never ran, people are told; 0: never. Default: 3.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    pub(crate) unhealthy_after: Option<i64>,
}

/// How far Driftwarden goes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Automation {
    /// It decides and keeps the decision; people are not told to act.
    Observe,
    /// It recommends; a person may order what it recommends.
    Suggest,
    /// It asks; what is approved in time is done.
    Approve,
    /// It acts.
    Auto,
}

impl Automation {
    /// The name as written in policies and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Suggest => "suggest",
            Self::Approve => "approve",
            Self::Auto => "auto",
        }
    }
}

/// `intended_uses.risk_rating` of a model card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RiskRating {
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Not rated, or no model card.
    #[default]
    Unknown,
}

impl RiskRating {
    /// Reads SageMaker's spelling, in any case.
    pub fn parse(text: &str) -> Self {
        match text.trim().to_ascii_lowercase().as_str() {
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" => Self::High,
            _ => Self::Unknown,
        }
    }

    /// The name as written in policies and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Unknown => "unknown",
        }
    }
}

/// How is decided.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct RemediationTable {
    /// How far Driftwarden goes by itself. Default: by the risk rating of the model card: low auto, medium approve, high
    /// and unknown suggest.
    pub(crate) automation: Option<Automation>,
    /// Between the start of one retraining and the next. Default: 24h.
    pub(crate) cooldown: Option<String>,
    /// Retrainings of the model in a day (UTC). Default: 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 0)))]
    pub(crate) retrainings_per_day: Option<i64>,
    /// Retrainings of the model in a calendar month (UTC). Default: 8.
    #[cfg_attr(feature = "schema", schemars(range(min = 0)))]
    pub(crate) retrainings_per_month: Option<i64>,
    /// How long an approval is waited for. Default: 3d.
    pub(crate) approval_expires_after: Option<String>,
    /// How long an approval holds that cannot be acted on at once. Default: 1d.
    pub(crate) approval_valid_for: Option<String>,
    /// After so many executions on the retrained model that still alert, a person is called; 0: as many as the monitor's
    /// evaluation period. Default: 0.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    pub(crate) verify_executions: Option<i64>,
    /// Alerts that are less grave are not acted on. Default: warning.
    pub(crate) minimum_severity: Option<Severity>,
    /// Check types that mean that the data broke: retraining on them would make it worse. Default: `data_type_check`,
    /// `completeness_check`, `missing_column_check`, `extra_column_check`.
    pub(crate) fix_data_check_types: Option<Vec<String>>,
}

/// What is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum StartKind {
    /// A SageMaker pipeline.
    Pipeline,
    /// A STANDARD Step Functions state machine.
    StateMachine,
    /// Nothing: the event `Remediation Decided` says that it is time.
    Event,
}

impl StartKind {
    /// The name as written in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::StateMachine => "state-machine",
            Self::Event => "event",
        }
    }
}

/// The parameters of a run: names of Driftwarden's own, or names of any with templates for their values.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub(crate) enum ParametersTable {
    /// Those of `DriftwardenModel`, `DriftwardenIncident`, `MonitoringSchedule`, `ReportUri`, `DriftedFeatures` that the
    /// pipeline declares.
    Names(Vec<String>),
    /// By name a text in which `{model}`, `{incident}`, `{schedule}`, `{report_uri}`, `{features}`, `{endpoint}` and
    /// `{monitor_type}` stand for the incident's.
    Templates(BTreeMap<String, String>),
}

/// What a retraining is.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct RetrainingTable {
    /// What is started. Default: pipeline.
    pub(crate) start: Option<StartKind>,
    /// Name or ARN of the SageMaker pipeline. Default: the deployment's.
    pub(crate) pipeline: Option<String>,
    /// ARN of the state machine.
    pub(crate) state_machine: Option<String>,
    /// The parameters of the run. Default: all of Driftwarden's own.
    pub(crate) parameters: Option<ParametersTable>,
    /// What a run costs, in whatever currency: the dashboard adds it up.
    pub(crate) cost: Option<f64>,
}

/// What holds for one model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelTable {
    /// The model: as `[[monitor]]` names it, else its endpoint, else the schedule.
    pub(crate) name: String,
    /// The model's own kill switch. Default: false.
    pub(crate) paused: Option<bool>,
    /// Name of its model card. Default: the model's name.
    pub(crate) model_card: Option<String>,
    /// Its risk rating, instead of the model card's.
    pub(crate) risk_rating: Option<RiskRating>,
    /// How is decided.
    #[serde(default)]
    pub(crate) remediation: RemediationTable,
    /// What a retraining is.
    #[serde(default)]
    pub(crate) retraining: RetrainingTable,
    /// How the retrained model is tested and promoted.
    #[serde(default)]
    pub(crate) promotion: PromotionTable,
}

/// How a retrained model is tested on live traffic and promoted.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct PromotionTable {
    /// `off`, `variants` (as a second production variant, with more of the traffic step by step), `shadow` (as a shadow
    /// variant), `blue-green` (by SageMaker's deployment guardrails). Default: off.
    pub(crate) mode: Option<Mode>,
    /// The endpoint. Default: the model's name.
    pub(crate) endpoint: Option<String>,
    /// The model package group whose new versions are candidates. Default: the model's name.
    pub(crate) model_package_group: Option<String>,
    /// Whether a package is tested that is `PendingManualApproval`. Default: false.
    pub(crate) unapproved: Option<bool>,
    /// How long after a retraining its model package is waited for. Default: 24h.
    pub(crate) candidate_within: Option<String>,
    /// The candidate's share of the traffic, step by step, in per cent. Default: 5, 10, 25, 50.
    pub(crate) traffic: Option<Vec<f64>>,
    /// How long a step lasts at least. Default: 1h.
    pub(crate) step_lasts: Option<String>,
    /// How long the old champion stands by after the promotion. Default: 1h.
    pub(crate) bake: Option<String>,
    /// How long a test may last. Default: 7d.
    pub(crate) maximum_duration: Option<String>,
    /// What is done when the time is over and nothing is certain: `pause`, `roll-back` or `promote`. Default: pause.
    pub(crate) inconclusive: Option<Inconclusive>,
    /// By what the variants are compared: `accuracy`, `absolute_error`, `squared_error`, or a metric of yours, which `Experiment
    /// Outcomes Reported` brings. Default: accuracy.
    pub(crate) metric: Option<String>,
    /// Whether a lower value of a metric of yours is better. Default: false.
    pub(crate) lower_is_better: Option<bool>,
    /// The probability of a false alarm that is accepted, over all looks together. Default: 0.05.
    pub(crate) alpha: Option<f64>,
    /// The smallest difference worth finding, in the metric's own unit. Default: 0.02.
    pub(crate) effect: Option<f64>,
    /// How much worse a candidate may be and is promoted all the same. Default: none; only a better one is promoted.
    pub(crate) margin: Option<f64>,
    /// So many outcomes of each variant are waited for. Default: 500.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub(crate) minimum_sample: Option<i64>,
    /// Who assigns requests to variants: SageMaker by `weights`, or whoever asks by `target-variant`. Default: weights.
    pub(crate) assignment: Option<Assignment>,
    /// How much each variant gets: as the `steps` of `traffic` say, or as `thompson` sampling says of the outcomes so far, which
    /// needs an `assignment` by `target-variant`. Default: steps.
    pub(crate) allocation: Option<AllocationPolicy>,
    /// Over what periods the guardrails' metrics are asked of CloudWatch: 10s, 30s, 1m, 5m. Default: 1m.
    pub(crate) metrics_period: Option<String>,
    /// CloudWatch alarms that roll a blue/green deployment back. Default: none.
    pub(crate) alarms: Option<Vec<String>>,
    /// The offline gate. Default: none.
    pub(crate) gate: Option<GateTable>,
    /// What must not get worse. Default: `latency_p99` by a fifth, `errors_5xx` by one in a hundred.
    pub(crate) guardrails: Option<Vec<GuardrailTable>>,
    /// Where outcomes by variant come from. Needed for all metrics but yours.
    pub(crate) capture: Option<CaptureTable>,
    /// Where the outcomes of a metric of yours come from, if not by events. Default: none.
    pub(crate) cloudwatch: Option<CloudWatchTable>,
    /// Which baselines the monitors get after a promotion. Default: they keep theirs.
    pub(crate) baselines: Option<BaselinesTable>,
}

/// A metric of the model package's own report against the champion's.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct GateTable {
    /// JSON pointer into the report that `ModelMetrics.ModelQuality.Statistics` names.
    pub(crate) metric: String,
    /// Whether a lower value is better. Default: false.
    pub(crate) lower_is_better: Option<bool>,
    /// How much worse the candidate may be. Default: 0.
    pub(crate) worse_by: Option<f64>,
}

/// What must not get worse.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct GuardrailTable {
    /// `latency_p50`, `latency_p90`, `latency_p99`, `errors_4xx`, `errors_5xx` or `model_errors`.
    pub(crate) metric: GuardrailMetric,
    /// How much worse the candidate may be than the champion: a share of its latency (0.2 is a fifth slower), or of the
    /// requests (0.01 is one in a hundred more).
    pub(crate) margin: f64,
    /// What the candidate must never pass: microseconds, or a share of the requests. Default: none.
    pub(crate) limit: Option<f64>,
}

/// Where outcomes by variant come from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct CaptureTable {
    /// `s3://` URI of data capture up to the endpoint's folder: below it lie folders by variant and hour.
    pub(crate) data: String,
    /// `s3://` URI of ground truth, in folders by hour.
    pub(crate) ground_truth: String,
    /// `s3://` URI of `analysis_config.json`: which columns are label and prediction.
    pub(crate) config: String,
}

/// A metric of yours in CloudWatch, with the dimensions `EndpointName` and `VariantName`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct CloudWatchTable {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) metric_name: String,
    /// Whether its values are zeros and ones. Else the average of each period is one value. Default: true.
    pub(crate) proportion: Option<bool>,
}

/// Which baselines a promoted model's monitors get.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct BaselinesTable {
    /// `s3://` URI of the folder in which each version of the model package group gets one of its own.
    pub(crate) output: String,
    /// `s3://` URI of what a model was trained on, with `{version}` for the version of its model package. Default: what the
    /// model package's `DriftCheckBaselines` name is taken.
    pub(crate) training_data: Option<String>,
}

/// What holds for monitors.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct MonitorTable {
    /// Name of the monitoring schedule; `*` stands for any characters. Default: any.
    pub(crate) schedule: Option<String>,
    /// `DataQuality`, `ModelQuality`, `ModelBias`, `ModelExplainability` or `Custom`. Default: any.
    pub(crate) monitor_type: Option<String>,
    /// The model that it watches: monitors of one model share incidents. Default: the endpoint, else the schedule.
    pub(crate) model: Option<String>,
    /// How it is judged.
    #[serde(default)]
    pub(crate) alert: AlertTable,
}

/// Which violations count. What is left out matches any; `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct ViolationTable {
    /// Of which model.
    pub(crate) model: Option<String>,
    /// Of which monitoring schedule.
    pub(crate) schedule: Option<String>,
    /// Of which monitor type.
    pub(crate) monitor_type: Option<String>,
    /// `constraint_check_type` of the report.
    pub(crate) check_type: Option<String>,
    /// Of which feature.
    pub(crate) feature: Option<String>,
    /// Of which metric.
    pub(crate) metric: Option<String>,
    /// Of which facet.
    pub(crate) facet: Option<String>,
    /// Nearer to the threshold than this share of it, a violation does not count: 0.1 is ten per cent. Default: 0.
    #[cfg_attr(feature = "schema", schemars(range(min = 0)))]
    pub(crate) minimum_exceedance: Option<f64>,
    /// How grave. Default: warning.
    pub(crate) severity: Option<Severity>,
    /// Whether it counts at all. Default: true.
    pub(crate) counts: Option<bool>,
}

/// When violations are muted: once (`start` and `end`), or every week (`every` and `lasts`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct MaintenanceTable {
    /// Of which model; `*` stands for any characters. Default: any.
    pub(crate) model: Option<String>,
    /// Of which monitoring schedule; `*` stands for any characters. Default: any.
    pub(crate) schedule: Option<String>,
    /// Its start: `2026-12-24T18:00:00Z`.
    pub(crate) start: Option<String>,
    /// Its end.
    pub(crate) end: Option<String>,
    /// Day and time, UTC, of every week: `Sat 22:00`.
    pub(crate) every: Option<String>,
    /// How long: `6h`.
    pub(crate) lasts: Option<String>,
}

/// A CloudWatch alarm that triggers remediation.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct AlarmTable {
    /// Name of the alarm; `*` stands for any characters.
    pub(crate) name: String,
    /// The model that it is about.
    pub(crate) model: String,
    /// How grave it is. Default: warning.
    pub(crate) severity: Option<Severity>,
}

/// A monitoring schedule of Driftwarden's own.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct AnalysisTable {
    /// Its name, which reports and alerts are known by.
    pub(crate) schedule: String,
    /// `DataQuality`, `ModelQuality`, `ModelBias` or `ModelExplainability`. Default: `DataQuality`.
    pub(crate) monitor_type: Option<String>,
    /// The endpoint whose captured data are analysed. Default: none, as of batch transform.
    pub(crate) endpoint: Option<String>,
    /// When: `cron(0 * ? * * *)`, `cron(0 H/N ? * * *)`, `rate(6 hours)`, `rate(1 day)`, in UTC. Default: hourly.
    pub(crate) expression: Option<String>,
    /// How long after that, so that what was captured has arrived. Default: 10m.
    pub(crate) delay: Option<String>,
    /// What is analysed: an `s3://` URI of a folder for each hour, `%Y/%m/%d/%H` standing for year, month, day and hour;
    /// without `%` in it, they are added at its end, as data capture lays its files.
    pub(crate) data: String,
    /// `s3://` URI of the folder of the baseline's files.
    pub(crate) baseline: String,
    /// `S3OutputUri`: reports are written below it, where Model Monitor would.
    pub(crate) output: String,
    /// Ground truth, as `data`. Needed for `ModelQuality` and `ModelBias`, but where `data` is merged already.
    pub(crate) ground_truth: Option<String>,
    /// The data window begins so long before the scheduled time. Default: at the execution before.
    pub(crate) start_time_offset: Option<String>,
    /// The data window ends so long before the scheduled time. Default: 0h.
    pub(crate) end_time_offset: Option<String>,
    /// Where the columns of the response stand in the baseline dataset: `START` or `END`. Default: START.
    pub(crate) output_columns_position: Option<String>,
    /// Takes whole numbers for fractional ones, and any value for text, in the data type check. Default: false.
    pub(crate) lenient_types: Option<bool>,
    /// Reports drift only where it is significant, with so many false alarms among all alarms at most.
    pub(crate) false_discovery_rate: Option<f64>,
    /// `s3://` URI of `analysis_config.json`: which columns are what, for all analyses but data quality. Default: that in
    /// the baseline's folder.
    pub(crate) config: Option<String>,
}

/// In which form, and by which way, notifications go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NotificationChannel {
    /// An SNS topic, as text: e-mail.
    SnsText,
    /// An SNS topic, as JSON (`events/schemas/notification.v1.json`): queues, functions.
    SnsJson,
    /// An SNS topic that Amazon Q Developer in chat applications listens to: Slack, Microsoft Teams.
    Chat,
    /// PagerDuty, by its Events API v2.
    #[serde(rename = "pagerduty")]
    PagerDuty,
    /// A URL of yours: a signed POST request with that JSON.
    Webhook,
}

impl NotificationChannel {
    /// The name as written in policies.
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

/// How grave what a notification tells is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum NotificationSeverity {
    /// Good to know.
    Info,
    /// Worth a look.
    Warning,
    /// Worth waking somebody.
    Critical,
}

impl NotificationSeverity {
    /// The name as written in policies and notifications.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// What a notification is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum NotificationKind {
    /// The alert of a monitor changed its status.
    Alert,
    /// A monitor says nothing any more, or works again.
    Health,
    /// What was decided for an incident.
    Decision,
    /// How a retraining ended.
    Retraining,
    /// How an incident ended.
    Incident,
    /// Where an experiment stands.
    Experiment,
    /// A monitor is held against another baseline.
    Baseline,
}

impl NotificationKind {
    /// The name as written in policies and notifications.
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

/// Where notifications go. Of several tables with the same destination the first that matches a notification decides.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct NotificationTable {
    /// `sns-text`, `sns-json`, `chat`, `pagerduty` or `webhook`.
    pub(crate) to: NotificationChannel,
    /// ARN of the SNS topic of `sns-text`, `sns-json` and `chat`. Default: the deployment's.
    pub(crate) topic: Option<String>,
    /// `https://` URL of a `webhook`; of `pagerduty` by default `https://events.pagerduty.com/v2/enqueue`.
    pub(crate) url: Option<String>,
    /// Where the routing key of `pagerduty`, or the signing key of a `webhook`, is kept: `secretsmanager:NAME` or `ssm:/NAME`.
    pub(crate) secret: Option<String>,
    /// Of which models; `*` stands for any characters. Default: all.
    pub(crate) models: Option<Vec<String>>,
    /// At least how grave: `info`, `warning` or `critical`. Default: info.
    pub(crate) severity: Option<NotificationSeverity>,
    /// About what: `alert`, `health`, `decision`, `retraining`, `incident`, `experiment`, `baseline`. Default: all.
    pub(crate) kinds: Option<Vec<NotificationKind>>,
    /// Times of the day, UTC, in which notifications are held, to be told as one afterwards: `22:00-07:00`, or with the
    /// days on which they begin, `Sat-Sun 00:00-24:00`. Default: none.
    pub(crate) quiet: Option<Vec<String>>,
    /// What is at least this grave is told at once all the same. Default: nothing.
    pub(crate) urgent: Option<NotificationSeverity>,
    /// Tells everything as one, once a day, UTC: `daily at 08:00`. Default: one by one.
    pub(crate) digest: Option<String>,
}
