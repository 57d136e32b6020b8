//! Commands of operators, as the function `operator` receives them, its answers, and the event that records a command.
//!
//! A command does not contain who sent it or when: the function takes both from AWS. It names what the operator saw
//! (the number of the decision, or the stage), so a command that arrives after something changed has no effect.

use crate::{InAlertChoice, Pause, Stage};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Detail-type of [`OperatorCommandAccepted`].
pub const OPERATOR_COMMAND_ACCEPTED: &str = "Operator Command Accepted";
/// Source of the events that retraining pipelines and external services publish.
pub const PIPELINE_SOURCE: &str = "driftwarden.pipeline";

/// Maximum number of characters in the ID of a command.
const MAX_ID_CHARS: usize = 64;
/// Maximum number of characters in the name that an operator gives.
const MAX_NAME_CHARS: usize = 128;
/// Maximum number of characters in the reason that an operator gives.
const MAX_REASON_CHARS: usize = 1024;

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum OperatorAction {
    /// Approves the retraining of an incident.
    Approve,
    /// Denies the retraining of an incident.
    Deny,
    /// Closes an incident, without a retraining.
    Resolve,
    /// Pauses the retraining of a model.
    Pause,
    /// Resumes the retraining of a model, or a paused experiment.
    Resume,
    /// Stops an experiment; the champion stays.
    Stop,
    /// Promotes the candidate of an experiment, regardless of the comparison.
    Promote,
    /// Restores the champion of an experiment.
    Rollback,
    /// Removes a datapoint of a monitor.
    Drop,
}

impl OperatorAction {
    /// Name in commands and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::Resolve => "resolve",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Stop => "stop",
            Self::Promote => "promote",
            Self::Rollback => "rollback",
            Self::Drop => "drop",
        }
    }

    /// Whether the command answers an approval request.
    pub fn is_answer(self) -> bool {
        matches!(self, Self::Approve | Self::Deny)
    }
}

/// A command of an operator: the body of a request to the function `operator`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OperatorCommand {
    /// ID of the command, chosen by its sender: 1 to 64 letters, digits, and hyphens.
    pub id: String,
    /// What the command does.
    pub command: OperatorAction,
    /// ID of the incident, `MODEL-NUMBER`. Required for `approve`, `deny`, and `resolve`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident_id: Option<String>,
    /// Name of the model. Required for `pause` and for the `resume` of a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// ID of the experiment, `MODEL-ab-NUMBER`. Required for `stop`, `promote`, `rollback`, and for the `resume` of an experiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment_id: Option<String>,
    /// Name of the monitoring schedule. Required for `drop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring_schedule: Option<String>,
    /// Scheduled time of the execution whose datapoint is dropped. Required for `drop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_time: Option<Timestamp>,
    /// Number of the decision that the operator saw; 0 before the first one. Required for `approve` and `deny`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<u64>,
    /// Stage that the operator saw. `resolve` requires it or `decision`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Time at which the approval expires. Default: `approval_valid_for` of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// Time at which the pause ends. Absent: the pause lasts until the next resume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// What becomes of the alerts that last when an incident is closed. Required for `resolve` if a monitor is in alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_alert: Option<InAlertChoice>,
    /// True to accept a model that has had no alert and no experiment yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub new_model: bool,
    /// Name that the operator gives. A note: the caller is what AWS says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Reason that the operator gives. Required for `pause` and `drop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandTarget<'a> {
    /// The retraining of a model.
    Model(ModelTarget<'a>),
    /// An experiment.
    Experiment {
        /// ID of the experiment.
        id: &'a str,
        /// Name of its model.
        model: &'a str,
    },
    /// A datapoint.
    Datapoint {
        /// Name of the monitoring schedule.
        schedule: &'a str,
        /// Scheduled time of the execution.
        scheduled_time: Timestamp,
    },
}

/// What a command on the retraining of a model is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelTarget<'a> {
    /// An incident.
    Incident {
        /// ID of the incident.
        id: &'a str,
        /// Name of its model.
        model: &'a str,
    },
    /// The pause of a model.
    Pause(&'a str),
}

impl<'a> ModelTarget<'a> {
    /// Name of the model.
    pub fn model(self) -> &'a str {
        match self {
            Self::Incident { model, .. } | Self::Pause(model) => model,
        }
    }
}

impl OperatorCommand {
    /// Checks the form of the command, and returns what it is about.
    ///
    /// # Errors
    /// The field that is missing, not allowed, or invalid, and what was expected.
    pub fn target(&self) -> Result<CommandTarget<'_>, String> {
        use OperatorAction::{Approve, Deny, Drop, Pause, Promote, Resolve, Resume, Rollback, Stop};
        let name = self.command.as_str();
        if !is_id(&self.id) {
            return Err(format!(
                "`id`: expected 1 to {MAX_ID_CHARS} letters, digits, and hyphens"
            ));
        }
        for (field, text, limit) in [
            ("by", &self.by, MAX_NAME_CHARS),
            ("reason", &self.reason, MAX_REASON_CHARS),
        ] {
            if text.as_ref().is_some_and(|text| text.chars().count() > limit) {
                return Err(format!("`{field}`: expected at most {limit} characters"));
            }
        }
        let allowed: [(&str, bool, &[OperatorAction]); 9] = [
            ("incidentId", self.incident_id.is_some(), &[Approve, Deny, Resolve]),
            ("model", self.model.is_some(), &[Pause, Resume]),
            (
                "experimentId",
                self.experiment_id.is_some(),
                &[Stop, Promote, Rollback, Resume],
            ),
            ("monitoringSchedule", self.monitoring_schedule.is_some(), &[Drop]),
            ("scheduledTime", self.scheduled_time.is_some(), &[Drop]),
            ("validUntil", self.valid_until.is_some(), &[Approve]),
            ("until", self.until.is_some(), &[Pause]),
            ("newModel", self.new_model, &[Pause]),
            ("inAlert", self.in_alert.is_some(), &[Resolve]),
        ];
        for (field, is_set, actions) in allowed {
            if is_set && !actions.contains(&self.command) {
                return Err(format!("`{field}`: not allowed for `{name}`"));
            }
        }
        let has_reason = self.reason.as_ref().is_some_and(|reason| !reason.trim().is_empty());
        match self.command {
            Pause if !has_reason => {
                let use_of_it = "Driftwarden reports it with every retraining that it holds";
                Err(format!("`reason`: required for `pause`; {use_of_it}"))
            }
            Drop if !has_reason => {
                Err("`reason`: required for `drop`; the ledger of the monitor records it".to_owned())
            }
            Approve | Deny | Resolve => self.incident(),
            Resume if self.experiment_id.is_some() => self.experiment(),
            Pause | Resume => {
                let model = self.model.as_deref().unwrap_or_default();
                if !is_name(model) {
                    return Err(format!(
                        "`model`: expected the name of a model for `{name}`, found `{}`",
                        shorten(model)
                    ));
                }
                Ok(CommandTarget::Model(ModelTarget::Pause(model)))
            }
            Stop | Promote | Rollback => self.experiment(),
            Drop => {
                let schedule = self.monitoring_schedule.as_deref().unwrap_or_default();
                if !is_name(schedule) {
                    return Err(format!(
                        "`monitoringSchedule`: expected the name of a monitoring schedule for `drop`, found `{}`",
                        shorten(schedule)
                    ));
                }
                let scheduled_time = self.scheduled_time.ok_or("`scheduledTime`: required for `drop`")?;
                Ok(CommandTarget::Datapoint {
                    schedule,
                    scheduled_time,
                })
            }
        }
    }

    fn incident(&self) -> Result<CommandTarget<'_>, String> {
        let name = self.command.as_str();
        let id = self.incident_id.as_deref().unwrap_or_default();
        let model = incident_model(id).ok_or_else(|| {
            format!(
                "`incidentId`: expected MODEL-NUMBER for `{name}`, found `{}`",
                shorten(id)
            )
        })?;
        if self.command.is_answer() && self.decision.is_none() {
            return Err(format!(
                "`decision`: required for `{name}`: the number of the decision that it answers"
            ));
        }
        if self.decision.is_none() && self.stage.is_none() {
            return Err(format!("`stage`: required for `{name}`, unless `decision` is given"));
        }
        Ok(CommandTarget::Model(ModelTarget::Incident { id, model }))
    }

    fn experiment(&self) -> Result<CommandTarget<'_>, String> {
        if self.model.is_some() {
            return Err("`model`: not allowed beside `experimentId`".to_owned());
        }
        let id = self.experiment_id.as_deref().unwrap_or_default();
        let model = experiment_model(id).ok_or_else(|| {
            format!(
                "`experimentId`: expected MODEL-ab-NUMBER for `{}`, found `{}`",
                self.command.as_str(),
                shorten(id)
            )
        })?;
        Ok(CommandTarget::Experiment { id, model })
    }
}

/// The start of a text, for an error.
fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_ID_CHARS).collect()
}

fn is_id(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=MAX_ID_CHARS).contains(&text.len()) && text.chars().all(fits)
}

/// Whether a text is the name of a model: as SageMaker's names, at most 63 letters, digits, and hyphens.
fn is_name(text: &str) -> bool {
    is_id(text) && text.len() < MAX_ID_CHARS && !text.starts_with('-') && !text.ends_with('-')
}

/// The model in an incident ID. `None` if the text is not an incident ID.
pub fn incident_model(incident_id: &str) -> Option<&str> {
    let (model, number) = incident_id.rsplit_once('-')?;
    (is_name(model) && number.parse::<u64>().is_ok()).then_some(model)
}

/// The model in an experiment ID. `None` if the text is not an experiment ID.
pub fn experiment_model(experiment_id: &str) -> Option<&str> {
    let (model, number) = experiment_id.rsplit_once("-ab-")?;
    (is_name(model) && number.parse::<u64>().is_ok()).then_some(model)
}

/// Answer to an accepted command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorAnswer {
    /// ID of the command.
    pub id: String,
    /// What the command does.
    pub command: OperatorAction,
    /// ARN of the caller, as AWS authenticated it.
    pub caller: String,
    /// Time at which AWS received the command.
    pub time: Timestamp,
    /// What the command did.
    #[serde(flatten)]
    pub result: CommandResult,
    /// What did not work although the command has taken effect, and who retries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// What an accepted command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CommandResult {
    /// It has taken effect.
    Done(ModelState),
    /// Another function executes it.
    Sent {
        /// Detail-type of the event that orders it.
        event: String,
    },
}

/// What the document of a model says after a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelState {
    /// Name of the model.
    pub model: String,
    /// Stage of the model.
    pub stage: Stage,
    /// ID of the open incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident_id: Option<String>,
    /// Number of the latest decision on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<u64>,
    /// Description of the latest decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentence: Option<String>,
    /// Latest pause or resume of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
}

/// Answer to a command that changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorRefusal {
    /// Why, as a name: `UnknownModel`, `StaleDecision`, …
    pub error: String,
    /// Why, in a sentence.
    pub message: String,
    /// What to do instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Detail of `Operator Command Accepted`, version 1: a command of an operator took effect. A record: it causes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct OperatorCommandAccepted {
    /// Version of the event format. A version may get new fields; ignore fields that you do not know.
    pub version: String,
    /// ID of the event: `command-` and AWS's ID of the request.
    pub id: String,
    /// Correlation ID of the incident. Absent if the command is about a model without an open incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// ID of the command, chosen by its sender.
    pub command_id: String,
    /// What the command did.
    pub command: OperatorAction,
    /// ARN of the caller, as AWS authenticated it. For an assumed role, it ends with the session name.
    pub caller: String,
    /// Time at which AWS received the command.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub time: Timestamp,
    /// Name of the model.
    pub model: String,
    /// ID of the incident that the command was about. Absent for `pause` and `resume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident_id: Option<String>,
    /// Number of the decision that the operator saw. Absent if the command names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_decision: Option<u64>,
    /// Name that the operator gave. Not checked by AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Reason that the operator gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Time at which the approval or the pause ends, if the command names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub until: Option<Timestamp>,
    /// Stage of the model after the command.
    pub stage: Stage,
    /// Number of the latest decision after the command. Absent without an open incident, and before the first decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<u64>,
    /// Description of that decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentence: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(json: &str) -> Result<OperatorCommand, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn invalid_commands_are_refused_by_field() {
        for (json, field) in [
            (r#"{"id":"","command":"resume","model":"churn"}"#, "`id`"),
            (r#"{"id":"1","command":"resume","model":"../churn"}"#, "`model`"),
            (
                r#"{"id":"1","command":"resume","incidentId":"churn-1"}"#,
                "`incidentId`",
            ),
            (r#"{"id":"1","command":"pause","model":"churn"}"#, "`reason`"),
            (
                r#"{"id":"1","command":"resume","model":"churn","newModel":true}"#,
                "`newModel`",
            ),
            (r#"{"id":"1","command":"approve","incidentId":"churn-1"}"#, "`decision`"),
            (
                r#"{"id":"1","command":"approve","incidentId":"churn","decision":1}"#,
                "`incidentId`",
            ),
            (
                r#"{"id":"1","command":"approve","incidentId":"-1","decision":1}"#,
                "`incidentId`",
            ),
            (r#"{"id":"1","command":"resolve","incidentId":"churn-1"}"#, "`stage`"),
            (
                r#"{"id":"1","command":"deny","incidentId":"churn-1","decision":1,"until":"2026-12-01T00:00:00Z"}"#,
                "`until`",
            ),
        ] {
            let command = command(json).unwrap();
            let error = command.target().unwrap_err();
            assert!(error.starts_with(field), "{json}: {error}");
        }
        let long = OperatorCommand {
            reason: Some("x".repeat(MAX_REASON_CHARS + 1)),
            ..command(r#"{"id":"1","command":"resume","model":"churn"}"#).unwrap()
        };
        assert!(long.target().unwrap_err().starts_with("`reason`"));
    }

    #[test]
    fn unknown_fields_are_refused() {
        let error =
            command(r#"{"id":"1","command":"pause","model":"churn","reason":"x","ends":"2026-12-01T00:00:00Z"}"#);
        assert!(error.unwrap_err().to_string().contains("ends"));
        assert!(command(r#"{"id":"1","command":"restart"}"#).is_err());
    }

    #[test]
    fn targets_name_what_a_command_is_about() {
        let approve = command(r#"{"id":"1","command":"approve","incidentId":"churn-eu-3","decision":2}"#).unwrap();
        let target = ModelTarget::Incident {
            id: "churn-eu-3",
            model: "churn-eu",
        };
        assert_eq!(approve.target(), Ok(CommandTarget::Model(target)));
        assert_eq!(target.model(), "churn-eu");
        let resume = command(r#"{"id":"1","command":"resume","model":"churn"}"#).unwrap();
        assert_eq!(resume.target(), Ok(CommandTarget::Model(ModelTarget::Pause("churn"))));
        assert_eq!(ModelTarget::Pause("churn").model(), "churn");
        let target = CommandTarget::Experiment {
            id: "churn-eu-ab-3",
            model: "churn-eu",
        };
        for action in ["stop", "promote", "rollback", "resume"] {
            let json = format!(r#"{{"id":"1","command":"{action}","experimentId":"churn-eu-ab-3"}}"#);
            assert_eq!(command(&json).unwrap().target(), Ok(target));
        }
        let drop = r#"{"id":"1","command":"drop","reason":"x","monitoringSchedule":"churn-dq","scheduledTime":"2026-11-23T03:00:00Z"}"#;
        let target = CommandTarget::Datapoint {
            schedule: "churn-dq",
            scheduled_time: "2026-11-23T03:00:00Z".parse().unwrap(),
        };
        assert_eq!(command(drop).unwrap().target(), Ok(target));
    }

    fn target(json: &str) -> Result<(), String> {
        command(json).unwrap().target().map(|_| ())
    }

    #[test]
    fn settings_belong_to_their_commands() {
        let required = |action: &str| match action {
            "pause" => r#""model":"churn","reason":"labels are late""#,
            "resume" => r#""model":"churn""#,
            "stop" | "promote" | "rollback" => r#""experimentId":"churn-ab-1""#,
            "drop" => {
                r#""monitoringSchedule":"churn-dq","scheduledTime":"2026-11-23T03:00:00Z","reason":"wrong report""#
            }
            _ => r#""incidentId":"churn-1","decision":1"#,
        };
        let actions = [
            "approve", "deny", "resolve", "pause", "resume", "stop", "promote", "rollback", "drop",
        ];
        let fields = [
            (r#""validUntil":"2026-12-01T00:00:00Z""#, vec!["approve"]),
            (r#""until":"2026-12-01T00:00:00Z""#, vec!["pause"]),
            (r#""newModel":true"#, vec!["pause"]),
            (r#""inAlert":"accept""#, vec!["resolve"]),
            (r#""stage":"Holding""#, actions.to_vec()),
            (r#""by":"ada""#, actions.to_vec()),
        ];
        for action in actions {
            let json = format!(r#"{{"id":"1","command":"{action}",{}}}"#, required(action));
            assert_eq!(target(&json), Ok(()), "{json}");
            for (field, allowed) in &fields {
                let json = format!(r#"{{"id":"1","command":"{action}",{},{field}}}"#, required(action));
                let result = target(&json);
                assert_eq!(result.is_ok(), allowed.contains(&action), "{json}: {result:?}");
                let name = field.split('"').nth(1).unwrap();
                assert!(
                    result.is_ok() || result.unwrap_err().starts_with(&format!("`{name}`")),
                    "{json}"
                );
            }
        }
    }

    #[test]
    fn command_is_about_one_thing() {
        for (json, error) in [
            (
                r#"{"id":"1","command":"approve","incidentId":"churn-1","model":"churn","decision":1}"#,
                "`model`: not allowed for `approve`",
            ),
            (
                r#"{"id":"1","command":"pause","reason":"x","incidentId":"churn-1","model":"churn"}"#,
                "`incidentId`: not allowed for `pause`",
            ),
            (
                r#"{"id":"1","command":"resume"}"#,
                "`model`: expected the name of a model for `resume`, found ``",
            ),
            (
                r#"{"id":"1","command":"resolve","stage":"Holding"}"#,
                "`incidentId`: expected MODEL-NUMBER for `resolve`, found ``",
            ),
            (
                r#"{"id":"1","command":"resolve","stage":"Holding","incidentId":"a\nb"}"#,
                "`incidentId`: expected MODEL-NUMBER for `resolve`, found `ab`",
            ),
            (
                r#"{"id":"1","command":"pause","model":"churn","reason":" "}"#,
                "`reason`: required for `pause`; Driftwarden reports it with every retraining that it holds",
            ),
            (
                r#"{"id":"1","command":"deny","incidentId":"churn-1","stage":"Holding"}"#,
                "`decision`: required for `deny`: the number of the decision that it answers",
            ),
            (
                r#"{"id":"1","command":"resume","model":"churn","experimentId":"churn-ab-1"}"#,
                "`model`: not allowed beside `experimentId`",
            ),
            (
                r#"{"id":"1","command":"promote","model":"churn"}"#,
                "`model`: not allowed for `promote`",
            ),
            (
                r#"{"id":"1","command":"promote","experimentId":"churn-3"}"#,
                "`experimentId`: expected MODEL-ab-NUMBER for `promote`, found `churn-3`",
            ),
            (
                r#"{"id":"1","command":"drop","monitoringSchedule":"churn-dq","scheduledTime":"2026-11-23T03:00:00Z"}"#,
                "`reason`: required for `drop`; the ledger of the monitor records it",
            ),
            (
                r#"{"id":"1","command":"drop","reason":"x","monitoringSchedule":"a/b","scheduledTime":"2026-11-23T03:00:00Z"}"#,
                "`monitoringSchedule`: expected the name of a monitoring schedule for `drop`, found `a/b`",
            ),
            (
                r#"{"id":"1","command":"drop","reason":"x","monitoringSchedule":"churn-dq"}"#,
                "`scheduledTime`: required for `drop`",
            ),
        ] {
            assert_eq!(target(json).unwrap_err(), error);
        }
        // A resolution names the decision or the stage.
        for known in [r#""decision":0"#, r#""stage":"Escalated""#] {
            let json = format!(r#"{{"id":"1","command":"resolve","incidentId":"churn-1",{known}}}"#);
            assert_eq!(target(&json), Ok(()), "{json}");
        }
    }

    #[test]
    fn ids_and_names_have_a_maximum_length() {
        let resume =
            |id: &str, model: &str| target(&format!(r#"{{"id":"{id}","command":"resume","model":"{model}"}}"#));
        let is_refused = |result: Result<(), String>, field: &str| result.unwrap_err().starts_with(field);
        assert_eq!(resume(&"x".repeat(64), &"m".repeat(63)), Ok(()));
        assert!(is_refused(resume(&"x".repeat(65), "churn"), "`id`"));
        assert!(is_refused(resume("a b", "churn"), "`id`"));
        assert_eq!(resume("-", "churn"), Ok(()));
        assert!(is_refused(resume("1", &"m".repeat(64)), "`model`"));
        for name in ["-churn", "churn-", "-", "", "churn_1", "größe"] {
            assert!(is_refused(resume("1", name), "`model`"), "{name}");
        }
        let with = |by: usize, reason: usize| {
            let command = OperatorCommand {
                by: Some("ä".repeat(by)),
                reason: Some("ä".repeat(reason)),
                ..command(r#"{"id":"1","command":"resume","model":"churn"}"#).unwrap()
            };
            command.target().map(|_| ())
        };
        assert_eq!(with(128, 1024), Ok(()));
        assert!(is_refused(with(129, 1024), "`by`"));
        assert!(is_refused(with(128, 1025), "`reason`"));
        // An error shows the start of a long text.
        let error = resume("1", &"m".repeat(100)).unwrap_err();
        assert!(error.ends_with(&format!("found `{}`", "m".repeat(64))), "{error}");
    }

    #[test]
    fn incident_id_is_model_and_number() {
        for (id, model) in [
            ("churn-1", Some("churn")),
            ("churn-eu-18446744073709551615", Some("churn-eu")),
            ("churn-eu-18446744073709551616", None),
            ("churn", None),
            ("churn-", None),
            ("churn-x", None),
            ("churn--1", None),
            ("a_b-1", None),
        ] {
            assert_eq!(incident_model(id), model, "{id}");
        }
    }

    #[test]
    fn experiment_id_is_model_and_number() {
        for (id, model) in [
            ("churn-ab-1", Some("churn")),
            ("churn-ab-ab-2", Some("churn-ab")),
            ("churn-1", None),
            ("-ab-1", None),
            ("churn-ab-x", None),
        ] {
            assert_eq!(experiment_model(id), model, "{id}");
        }
    }

    #[test]
    fn answers_say_what_the_command_did() {
        let answer = |result| OperatorAnswer {
            id: "1".to_owned(),
            command: OperatorAction::Promote,
            caller: "arn:aws:iam::111122223333:user/ada".to_owned(),
            time: Timestamp::UNIX_EPOCH,
            result,
            warning: None,
        };
        for result in [
            CommandResult::Sent {
                event: "Experiment Command".to_owned(),
            },
            CommandResult::Done(ModelState {
                model: "churn".to_owned(),
                stage: Stage::Holding,
                incident_id: None,
                decision: Some(2),
                sentence: None,
                pause: None,
            }),
        ] {
            let answer = answer(result);
            let json = serde_json::to_string(&answer).unwrap();
            assert_eq!(serde_json::from_str::<OperatorAnswer>(&json).unwrap(), answer);
        }
    }

    #[test]
    fn actions_are_named_as_in_commands() {
        use OperatorAction::{Approve, Deny, Drop, Pause, Promote, Resolve, Resume, Rollback, Stop};
        for action in [Approve, Deny, Resolve, Pause, Resume, Stop, Promote, Rollback, Drop] {
            assert_eq!(serde_json::to_value(action).unwrap(), action.as_str());
            assert_eq!(action.is_answer(), matches!(action, Approve | Deny), "{action:?}");
        }
    }
}
