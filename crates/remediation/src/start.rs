//! The start of a retraining: its target and its parameters.

use crate::{AlertSnapshot, Incident, ModelEffect, RetrainingPolicy, StartKind, policy::PIPELINE_PARAMETERS};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// SageMaker's limit for the description of an execution, which has one line (*API Reference*,
/// `StartPipelineExecution`).
const MAX_DESCRIPTION_CHARS: usize = 3072;
/// SageMaker's limit for the value of a pipeline parameter (*API Reference*, `StartPipelineExecution`).
const MAX_PARAMETER_CHARS: usize = 1024;

/// Prefix of the display name of pipeline executions; maps their events to incidents.
pub const DISPLAY_NAME_PREFIX: &str = "driftwarden-";

/// Parses a display name with [`DISPLAY_NAME_PREFIX`] as model and incident number. `None` for any other display name.
pub fn parse_display_name(display_name: &str) -> Option<(&str, u64)> {
    let (model, number) = display_name.strip_prefix(DISPLAY_NAME_PREFIX)?.rsplit_once('-')?;
    Some((model, number.parse().ok()?))
}

/// Component that starts the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PipelineStart {
    /// The function `remediate`, with a `ClientRequestToken`.
    Remediate,
    /// An EventBridge rule for `Remediation Decided`, without a token.
    Rule,
}

/// Retraining settings of the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Name or ARN of the SageMaker pipeline.
    pub pipeline: String,
    /// Component that starts the pipeline.
    pub pipeline_start: PipelineStart,
}

/// Parameters of a call to `StartPipelineExecution`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartPipelineExecution {
    /// Name or ARN of the pipeline.
    pub pipeline: String,
    /// Idempotency token. For a repeated token, SageMaker returns the execution that it already started.
    pub client_request_token: String,
    /// Display name, which maps the events of the execution to the incident.
    pub display_name: String,
    /// Reason for the start.
    pub description: String,
    /// Parameters of the pipeline execution.
    pub parameters: BTreeMap<String, String>,
    /// Sequence number of the incident.
    pub incident: u64,
    /// Time of the decision, with which the retraining counts toward cooldown and budget. `None` in starts of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Timestamp>,
}

/// Parameters of a call to `StartExecution` of Step Functions. The name is deterministic: for a repeated name and
/// input, a STANDARD state machine returns the execution that it already started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartStateMachine {
    /// ARN of the state machine.
    pub state_machine_arn: String,
    /// Name of the execution.
    pub name: String,
    /// Input of the execution, as JSON.
    pub input: String,
    /// Sequence number of the incident.
    pub incident: u64,
    /// Time of the decision, with which the retraining counts toward cooldown and budget. `None` in starts of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Timestamp>,
}

/// The target of a retraining under the policy and the settings of the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The pipeline, by a call of this function.
    Pipeline(String),
    /// The pipeline, by an EventBridge rule.
    PipelineByRule(String),
    /// The state machine.
    StateMachine(String),
    /// Another process, on the event.
    Event,
}

impl Target {
    pub(crate) fn new(policy: &RetrainingPolicy, settings: &Settings) -> Self {
        let pipeline = || policy.pipeline.clone().unwrap_or_else(|| settings.pipeline.clone());
        match (policy.start, settings.pipeline_start) {
            (StartKind::Pipeline, PipelineStart::Remediate) => Self::Pipeline(pipeline()),
            (StartKind::Pipeline, PipelineStart::Rule) => Self::PipelineByRule(pipeline()),
            (StartKind::StateMachine, _) => Self::StateMachine(policy.state_machine.clone().unwrap_or_default()),
            (StartKind::Event, _) => Self::Event,
        }
    }

    /// Name or ARN of the pipeline, or ARN of the state machine.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Pipeline(name) | Self::PipelineByRule(name) | Self::StateMachine(name) => Some(name),
            Self::Event => None,
        }
    }

    /// Whether another component starts the retraining, on the event about the decision.
    pub(crate) fn is_started_by_event(&self) -> bool {
        matches!(self, Self::PipelineByRule(_) | Self::Event)
    }

    /// The parameters for the retraining of an incident.
    pub(crate) fn parameters(
        &self,
        policy: &RetrainingPolicy,
        incident: &Incident,
        alerts: &[AlertSnapshot],
        model: &str,
    ) -> BTreeMap<String, String> {
        // The target of the rule lists these parameters in the template: an event without them would start nothing.
        let own = || PIPELINE_PARAMETERS.map(|(n, t)| (n.to_owned(), t.to_owned())).into();
        match self {
            Self::PipelineByRule(_) => fill(&own(), incident, alerts, model),
            _ => fill(&policy.parameters, incident, alerts, model),
        }
    }

    /// The effect that starts the retraining, with the sentence of its decision. `None` if another component starts it.
    pub(crate) fn start(
        &self,
        parameters: &BTreeMap<String, String>,
        incident: &Incident,
        sentence: &str,
        model: &str,
    ) -> Option<ModelEffect> {
        let token = attempt_token(incident);
        match self {
            Self::Pipeline(pipeline) => Some(ModelEffect::StartPipelineExecution(StartPipelineExecution {
                pipeline: pipeline.clone(),
                client_request_token: token,
                display_name: format!("{DISPLAY_NAME_PREFIX}{}", incident.id),
                description: one_line(sentence, MAX_DESCRIPTION_CHARS),
                parameters: parameters.clone(),
                incident: incident.number,
                decided_at: incident.retrain_decided_at(),
            })),
            Self::StateMachine(arn) => {
                let token: String = token.chars().take(32).collect();
                Some(ModelEffect::StartStateMachine(StartStateMachine {
                    state_machine_arn: arn.clone(),
                    name: format!("{DISPLAY_NAME_PREFIX}{token}"),
                    input: state_machine_input(parameters, incident, model, sentence),
                    incident: incident.number,
                    decided_at: incident.retrain_decided_at(),
                }))
            }
            Self::PipelineByRule(_) | Self::Event => None,
        }
    }
}

/// Idempotency token of the present attempt: a start that was refused uses its token up.
fn attempt_token(incident: &Incident) -> String {
    match incident.refused_starts {
        0 => incident.token.clone(),
        refused => hex::encode(Sha256::digest(format!("{}/{refused}", incident.token))),
    }
}

fn state_machine_input(parameters: &BTreeMap<String, String>, incident: &Incident, model: &str, why: &str) -> String {
    let mut input: serde_json::Map<String, serde_json::Value> = parameters
        .iter()
        .map(|(name, value)| (name.clone(), value.clone().into()))
        .collect();
    let own = serde_json::json!({"model": model, "incident": incident.number, "incidentId": incident.id, "why": why});
    input.insert("driftwarden".into(), own);
    serde_json::Value::Object(input).to_string()
}

/// Fills the templates of the parameters with the data of the incident.
fn fill(
    templates: &BTreeMap<String, String>,
    incident: &Incident,
    alerts: &[AlertSnapshot],
    model: &str,
) -> BTreeMap<String, String> {
    let mut features: Vec<&str> = Vec::new();
    for violation in alerts.iter().flat_map(|alert| &alert.violations) {
        if !features.contains(&violation.subject.as_str()) {
            features.push(&violation.subject);
        }
    }
    // SageMaker rejects empty values.
    let or_none = |text: &str| {
        if text.is_empty() {
            "none".to_owned()
        } else {
            text.to_owned()
        }
    };
    let first = alerts.first();
    let features = or_none(&join_names(&features));
    let values = [
        ("{model}", model.to_owned()),
        ("{incident}", incident.id.clone()),
        (
            "{schedule}",
            or_none(first.map_or("", |alert| &alert.monitoring_schedule)),
        ),
        (
            "{report_uri}",
            or_none(first.and_then(|alert| alert.report_uri.as_deref()).unwrap_or_default()),
        ),
        (
            "{endpoint}",
            or_none(first.and_then(|alert| alert.endpoint.as_deref()).unwrap_or_default()),
        ),
        (
            "{monitor_type}",
            or_none(
                first
                    .and_then(|alert| alert.monitor_type.as_deref())
                    .unwrap_or_default(),
            ),
        ),
        // Last, because the name of a feature may look like a placeholder.
        ("{features}", features),
    ];
    let fill = |template: &str| {
        let mut text = template.to_owned();
        for (placeholder, value) in &values {
            text = text.replace(placeholder, value);
        }
        or_none(&text.chars().take(MAX_PARAMETER_CHARS).collect::<String>())
    };
    templates
        .iter()
        .map(|(name, template)| (name.clone(), fill(template)))
        .collect()
}

/// A text as one line of limited length: the name of a feature may contain control characters.
fn one_line(text: &str, max_chars: usize) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(max_chars)
        .collect()
}

/// Joins names with commas, as many whole names as fit into the value of a parameter.
fn join_names(names: &[&str]) -> String {
    let mut text = String::new();
    for name in names {
        let separator = usize::from(!text.is_empty());
        if text.chars().count() + separator + name.chars().count() > MAX_PARAMETER_CHARS {
            break;
        }
        if separator == 1 {
            text.push(',');
        }
        text.push_str(name);
    }
    text
}
