#![doc = include_str!("README.md")]

mod request;
mod sent;

pub use request::Response;

use crate::{
    Error, Function, Request, Resources, audit,
    remediate::{Remediate, RemediateClients},
};
use alerting::AlertStatus;
use base64::Engine as _;
use events::Event;
use jiff::{SignedDuration, Timestamp};
use machine::{AwsError, ErrorType as _, UpdateError, chain, load};
use promotion::ExperimentDocument;
use remediation::{
    CommandResult, CommandTarget, Incident, Input, ModelDocument, ModelState, ModelTarget, OperatorAction,
    OperatorAnswer, OperatorCommand, OperatorCommandAccepted, OperatorRefusal, Outcome, RemediationApproval,
    RemediationPause, RemediationResolution,
};
use request::UrlRequest;
use shell::config::{ConfigError, Vars};

/// Maximum number of monitors that a refusal lists.
const MAX_LISTED: usize = 20;
/// Maximum size of a command in bytes. The fields of the longest valid command are far below it.
pub const MAX_COMMAND_BYTES: usize = 16 * 1024;
/// Age from which a command is refused. A request reaches the function within seconds; an older one was kept and sent again.
const MAX_AGE: SignedDuration = SignedDuration::from_mins(15);
/// Deviation of the clocks of the function and of AWS's front end that is tolerated.
const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(1);

/// The commands that a deployment of the function accepts. IAM grants access to a function URL as a whole, so approvers get
/// a function that accepts nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptedCommands {
    /// All commands.
    All,
    /// `approve` and `deny`.
    Approvals,
}

/// The `operator` function.
#[derive(Debug)]
pub struct Operator {
    remediate: Remediate,
    accepted: AcceptedCommands,
}

/// A command that has no effect: status code and answer.
struct Refused(u16, OperatorRefusal);

impl Refused {
    fn new(status: u16, error: &str, message: impl Into<String>, hint: Option<String>) -> Self {
        Self(
            status,
            OperatorRefusal {
                error: error.to_owned(),
                message: message.into(),
                hint,
            },
        )
    }
}

impl From<AwsError> for Refused {
    fn from(error: AwsError) -> Self {
        Self::new(503, error.error_type(), chain(&error), None)
    }
}

impl From<UpdateError> for Refused {
    fn from(error: UpdateError) -> Self {
        Self::new(503, error.error_type(), chain(&error), None)
    }
}

/// A command with what AWS says about it.
struct Received<'a> {
    command: &'a OperatorCommand,
    caller: &'a str,
    /// Time of the step: when AWS received the command.
    time: Timestamp,
    /// AWS's ID of the request.
    aws_request_id: &'a str,
}

impl<C: RemediateClients> Function<C> for Operator {
    type Response = Response;

    async fn invoke(&self, clients: &C, request: Request<'_>) -> Result<Response, Error> {
        self.handle(clients, request.payload, request.request_id).await
    }
}

impl Operator {
    /// Creates the function. `remediate` takes the steps.
    pub fn new(remediate: Remediate, accepted: AcceptedCommands) -> Self {
        Self { remediate, accepted }
    }

    /// Creates the function from environment variables. Also returns the resources that its clients use.
    ///
    /// | variable | value |
    /// | --- | --- |
    /// | `ACCEPTED_COMMANDS` | `all`, or `approvals` (only `approve` and `deny`); required |
    ///
    /// In addition, the variables of [`Remediate::from_vars`].
    ///
    /// # Errors
    /// If a variable is missing or invalid.
    pub fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(Self, Resources), ConfigError> {
        let expected = "`all` or `approvals`";
        let accepted = match vars.required("ACCEPTED_COMMANDS", expected)?.as_str() {
            "all" => AcceptedCommands::All,
            "approvals" => AcceptedCommands::Approvals,
            other => {
                return Err(ConfigError::Invalid {
                    name: "ACCEPTED_COMMANDS",
                    value: other.to_owned(),
                    expected,
                });
            }
        };
        let (remediate, resources) = Remediate::from_vars(vars)?;
        Ok((Self::new(remediate, accepted), resources))
    }

    /// Handles one request of the function URL. A command that has no effect is an answer, not an error.
    ///
    /// # Errors
    /// If the payload is not a request of a function URL.
    pub async fn handle<W: RemediateClients>(
        &self,
        clients: &W,
        payload: &str,
        request_id: &str,
    ) -> Result<Response, Error> {
        let request: UrlRequest = serde_json::from_str(payload).map_err(|source| Error::Payload {
            expected: "a request of a function URL",
            source,
        })?;
        Ok(match self.answer(clients, &request, request_id).await {
            Ok(answer) => Response::json(200, &answer),
            Err(Refused(status, refusal)) => {
                let caller = request.request_context.caller().unwrap_or_default();
                let (error_type, error) = (refusal.error.as_str(), refusal.message.as_str());
                if status >= 500 {
                    tracing::error!(error_type, error, caller, "operator command failed");
                } else {
                    tracing::warn!(
                        reason = error_type,
                        message_to_caller = error,
                        caller,
                        "operator command refused"
                    );
                }
                Response::json(status, &refusal)
            }
        })
    }

    /// Checks what AWS says about a request, and the form of its command. Returns the caller, the time of receipt, and the command.
    fn admit<'a>(
        &self,
        request: &'a UrlRequest,
        now: Timestamp,
    ) -> Result<(&'a str, Timestamp, OperatorCommand), Refused> {
        let context = &request.request_context;
        let caller = context.caller().ok_or_else(|| {
            Refused::new(
                403,
                "NoCaller",
                "the request has no caller that IAM authorized",
                Some("call the function through its URL, with AuthType AWS_IAM and a signed request".to_owned()),
            )
        })?;
        let received = check_age(context.received(), now)?;
        if context.http.method != "POST" {
            let message = format!("expected a POST request, found {}", shorten(&context.http.method));
            return Err(Refused::new(405, "NotPost", message, None));
        }
        let command = read_command(request)?;
        target(&command)?;
        if self.accepted == AcceptedCommands::Approvals && !command.command.is_answer() {
            let message = format!(
                "this function accepts `approve` and `deny`, not `{}`",
                command.command.as_str()
            );
            let hint = "send the command to the URL in the stack's output OperatorUrl".to_owned();
            return Err(Refused::new(403, "CommandNotAccepted", message, Some(hint)));
        }
        Ok((caller, received, command))
    }

    async fn answer<W: RemediateClients>(
        &self,
        clients: &W,
        request: &UrlRequest,
        request_id: &str,
    ) -> Result<OperatorAnswer, Refused> {
        let (caller, time, command) = self.admit(request, clients.now())?;
        let received = Received {
            command: &command,
            caller,
            time,
            aws_request_id: &request.request_context.request_id,
        };
        match target(&command)? {
            CommandTarget::Model(target) => self.take(clients, target, received, request_id).await,
            CommandTarget::Experiment { id, model } => received.order(clients, id, model).await,
            CommandTarget::Datapoint {
                schedule,
                scheduled_time,
            } => received.drop_datapoint(clients, schedule, scheduled_time).await,
        }
    }

    /// Takes the step that a command orders on the document of its model.
    async fn take<W: RemediateClients>(
        &self,
        clients: &W,
        target: ModelTarget<'_>,
        received: Received<'_>,
        request_id: &str,
    ) -> Result<OperatorAnswer, Refused> {
        let command = received.command;
        let document = load::<ModelDocument>(clients, &ModelDocument::key(target.model())).await?;
        let document = document.document();
        let (document, known_time) = match target {
            ModelTarget::Incident { id, .. } => {
                let Some(document) = document else {
                    return Err(unknown_model(clients, target.model(), None).await?);
                };
                let incident = open_incident(document, id)?;
                check_expectations(command, document, Some(incident))?;
                check_incident(command, document, incident, received.time)?;
                (Some(document), incident.approval().map(|approval| approval.at))
            }
            ModelTarget::Pause(model) => {
                if document.is_none() && !command.new_model && !has_experiment(clients, model).await? {
                    return Err(unknown_model(clients, model, Some(command.command)).await?);
                }
                if let Some(document) = document {
                    check_expectations(command, document, document.incident.as_ref())?;
                }
                check_until(command, received.time)?;
                (
                    document,
                    document
                        .and_then(|document| document.pause.as_ref())
                        .map(|pause| pause.time),
                )
            }
        };
        let correlation_id = document.and_then(ModelDocument::correlation_id).map(str::to_owned);
        let received = Received {
            time: step_time(received.time, known_time, clients.now()),
            ..received
        };
        let input = received.input(target);
        let model = target.model().to_owned();
        let taken = self.remediate.take(clients, model, input, request_id).await;
        let document = load::<ModelDocument>(clients, &ModelDocument::key(target.model())).await;
        let document = match (&taken, document) {
            // Reports why the step failed, not why the result could not be read.
            (Err(error), Err(_)) => return Err(failed(error)),
            (_, document) => document?,
        };
        let Some(document) = document
            .document()
            .filter(|document| received.has_effect(target, document))
        else {
            return Err(match &taken {
                Err(error) => failed(error),
                Ok(_) => Refused::new(
                    409,
                    "Overtaken",
                    "something else changed first, and the command had no effect",
                    Some("check the model with `driftwarden incidents`, then decide again".to_owned()),
                ),
            });
        };
        let now = state(document);
        let stage = now.stage;
        let mut answer = received.answer(CommandResult::Done(now));
        answer.warning = taken.err().map(|error| {
            tracing::error!(error_type = error.error_type(), error = %chain(&error), "step incomplete");
            format!(
                "the command is stored, but its effects are incomplete; the sweep retries them: {}",
                chain(&error)
            )
        });
        let record = Event::CommandAccepted(Box::new(received.record(target, document, correlation_id)));
        if let Err(error) = audit::publish(clients, &record).await {
            tracing::error!(error_type = error.error_type(), error = %error, "record of the command not published");
            let lost = format!("the event `{}` was not published: {error}", record.detail_type());
            answer.warning = Some(
                answer
                    .warning
                    .map_or_else(|| lost.clone(), |warning| format!("{warning}; {lost}")),
            );
        }
        tracing::info!(
            caller = received.caller,
            command = command.command.as_str(),
            model = target.model(),
            stage = stage.as_str(),
            "operator command accepted"
        );
        Ok(answer)
    }
}

impl Received<'_> {
    /// The input of the model's state machine. `by` is the caller.
    fn input(&self, target: ModelTarget<'_>) -> Input {
        let by = self.caller.to_owned();
        let reason = self.reason();
        match target {
            ModelTarget::Incident { id, .. } if self.command.command.is_answer() => {
                Input::Approval(RemediationApproval {
                    incident_id: id.to_owned(),
                    granted: self.command.command == OperatorAction::Approve,
                    decision: self.command.decision,
                    by,
                    time: self.time,
                    valid_until: self.command.valid_until,
                    reason,
                })
            }
            ModelTarget::Incident { id, .. } => Input::Resolution(RemediationResolution {
                incident_id: id.to_owned(),
                in_alert: self.command.in_alert,
                by,
                time: self.time,
                reason,
            }),
            ModelTarget::Pause(model) => Input::Pause(RemediationPause {
                model: model.to_owned(),
                paused: self.command.command == OperatorAction::Pause,
                by,
                time: self.time,
                until: self.command.until,
                reason,
            }),
        }
    }

    /// Whether the document of the model contains the command.
    fn has_effect(&self, target: ModelTarget<'_>, document: &ModelDocument) -> bool {
        let action = self.command.command;
        match target {
            ModelTarget::Incident { id, .. } if action.is_answer() => {
                let closed = document.closed.iter().map(|closed| &closed.incident);
                let mut incidents = document
                    .incident
                    .iter()
                    .chain(closed)
                    .filter(|incident| incident.id == id);
                incidents.any(|incident| {
                    incident.approval().is_some_and(|approval| {
                        approval.at == self.time
                            && approval.by == self.caller
                            && approval.granted == (action == OperatorAction::Approve)
                    })
                })
            }
            ModelTarget::Incident { id, .. } => {
                let mut closed = document.closed.iter();
                closed.any(|closed| closed.incident.id == id && closed.outcome == Outcome::Resolved)
            }
            ModelTarget::Pause(_) => document.pause.as_ref().is_some_and(|pause| {
                pause.time == self.time
                    && pause.by == self.caller
                    && pause.paused == (action == OperatorAction::Pause)
                    && pause.until == self.command.until
            }),
        }
    }

    fn answer(&self, result: CommandResult) -> OperatorAnswer {
        OperatorAnswer {
            id: self.command.id.clone(),
            command: self.command.command,
            caller: self.caller.to_owned(),
            time: self.time,
            result,
            warning: None,
        }
    }

    /// Reason that the operator gave.
    fn reason(&self) -> Option<String> {
        self.command.reason.clone().filter(|reason| !reason.trim().is_empty())
    }

    /// The record of the command.
    fn record(
        &self,
        target: ModelTarget<'_>,
        document: &ModelDocument,
        correlation_id: Option<String>,
    ) -> OperatorCommandAccepted {
        let incident_id = match target {
            ModelTarget::Incident { id, .. } => Some(id.to_owned()),
            ModelTarget::Pause(_) => None,
        };
        let ModelState {
            stage,
            decision,
            sentence,
            model,
            ..
        } = state(document);
        OperatorCommandAccepted {
            version: "1".into(),
            id: format!("command-{}", self.aws_request_id),
            correlation_id,
            command_id: self.command.id.clone(),
            command: self.command.command,
            caller: self.caller.to_owned(),
            time: self.time,
            model,
            incident_id,
            expected_decision: self.command.decision,
            by: self.command.by.clone(),
            reason: self.command.reason.clone(),
            until: self.command.until.or(self.command.valid_until),
            stage,
            decision,
            sentence,
        }
    }
}

/// What the document of a model says.
fn state(document: &ModelDocument) -> ModelState {
    let decision = document
        .incident
        .as_ref()
        .and_then(|incident| incident.decision.as_ref());
    ModelState {
        model: document.model.clone(),
        stage: document.stage(),
        incident_id: document.incident.as_ref().map(|incident| incident.id.clone()),
        decision: decision.map(|decision| decision.number),
        sentence: decision.map(|decision| decision.sentence.clone()),
        pause: document.pause.clone(),
    }
}

/// The step failed, and the command has not taken effect.
fn failed(error: &Error) -> Refused {
    Refused::new(
        503,
        error.error_type(),
        chain(error),
        Some("nothing changed; run the command again".to_owned()),
    )
}

/// Refuses a request without a time, and one that was not received just now.
fn check_age(received: Option<Timestamp>, now: Timestamp) -> Result<Timestamp, Refused> {
    let stale = |message| Refused::new(409, "StaleCommand", message, Some("send the command again".to_owned()));
    let received = received.ok_or_else(|| stale("the request has no valid time of receipt".to_owned()))?;
    let age = now.duration_since(received);
    if age > MAX_AGE || age < -MAX_CLOCK_SKEW {
        return Err(stale(format!(
            "the command was received at {received}, and it is {now}: a command is valid for {} minutes",
            MAX_AGE.as_mins()
        )));
    }
    Ok(received)
}

/// What a command is about, if its form is valid.
fn target(command: &OperatorCommand) -> Result<CommandTarget<'_>, Refused> {
    let target = command.target();
    target.map_err(|message| Refused::new(400, "InvalidCommand", message, None))
}

/// Parses the body of a request.
fn read_command(request: &UrlRequest) -> Result<OperatorCommand, Refused> {
    let invalid = |message: String| Refused::new(400, "InvalidCommand", message, None);
    let too_large = || {
        let message = format!("the command is larger than {MAX_COMMAND_BYTES} bytes");
        Refused::new(413, "CommandTooLarge", message, None)
    };
    let body = request.body.as_deref().unwrap_or_default();
    // Base64 needs four characters for three bytes.
    if body.len() > MAX_COMMAND_BYTES / 3 * 4 + 4 {
        return Err(too_large());
    }
    let bytes = if request.is_base64_encoded {
        let decoded = base64::engine::general_purpose::STANDARD.decode(body);
        decoded.map_err(|error| invalid(format!("the body is not valid base64: {error}")))?
    } else {
        body.as_bytes().to_vec()
    };
    if bytes.len() > MAX_COMMAND_BYTES {
        return Err(too_large());
    }
    serde_json::from_slice(&bytes).map_err(|error| invalid(format!("the body is not a valid command: {error}")))
}

/// The start of a text from a request, for an answer.
fn shorten(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(16).collect()
}

/// Time of a step. Commands are ordered by the time at which AWS received them. A stored command whose time is still ahead got
/// it from the clock of a sender, in an earlier release: the command follows it.
fn step_time(received: Timestamp, known: Option<Timestamp>, now: Timestamp) -> Timestamp {
    match known {
        Some(known) if known > now && known >= received => {
            let next = known.checked_add(SignedDuration::from_millis(1));
            next.unwrap_or(received)
        }
        _ => received,
    }
}

/// The incident, if it is open.
fn open_incident<'a>(document: &'a ModelDocument, id: &str) -> Result<&'a Incident, Refused> {
    if let Some(open) = document.incident.as_ref().filter(|open| open.id == id) {
        return Ok(open);
    }
    let model = &document.model;
    let hint = match &document.incident {
        Some(open) => format!("the open incident of model `{model}` is `{}`", open.id),
        None => format!("model `{model}` has no open incident"),
    };
    let closed = document.closed.iter().find(|closed| closed.incident.id == id);
    Err(match closed {
        Some(closed) => {
            let message = format!(
                "incident `{id}` was closed at {} ({})",
                closed.closed_at,
                closed.outcome.as_str()
            );
            Refused::new(409, "IncidentClosed", message, Some(hint))
        }
        None => Refused::new(
            404,
            "UnknownIncident",
            format!("incident `{id}` does not exist"),
            Some(hint),
        ),
    })
}

/// Refuses a command that answers another decision than the current one, or expects another stage.
fn check_expectations(
    command: &OperatorCommand,
    document: &ModelDocument,
    incident: Option<&Incident>,
) -> Result<(), Refused> {
    let decision = incident.and_then(|incident| incident.decision.as_ref());
    let hint = decision.map(|decision| format!("the current decision is {}: {}", decision.number, decision.sentence));
    let current = decision.map_or(0, |decision| decision.number);
    if let Some(expected) = command.decision.filter(|expected| *expected != current) {
        let message = format!("the command answers decision {expected}, and the current decision is {current}");
        return Err(Refused::new(409, "StaleDecision", message, hint));
    }
    let stage = document.stage();
    if let Some(expected) = command.stage.filter(|expected| *expected != stage) {
        let message = format!(
            "the command expects stage {}, and model `{}` is in stage {}",
            expected.as_str(),
            document.model,
            stage.as_str()
        );
        return Err(Refused::new(409, "StaleStage", message, hint));
    }
    Ok(())
}

/// Refuses a command that has no effect in the stage of the incident.
fn check_incident(
    command: &OperatorCommand,
    document: &ModelDocument,
    incident: &Incident,
    received: Timestamp,
) -> Result<(), Refused> {
    let id = &incident.id;
    let stage = incident.stage().as_str();
    if command.command.is_answer() {
        if !incident.stage().is_undecided() {
            let message = format!("incident `{id}` is in stage {stage}: it does not wait for an approval");
            let hint = "`driftwarden incidents MODEL` shows the decision of the open incident".to_owned();
            return Err(Refused::new(409, "NotAwaitingApproval", message, Some(hint)));
        }
        if incident.decision.is_none() {
            let message =
                format!("incident `{id}` is in stage {stage}: there is no decision yet that an answer could count for");
            let hint = "wait for the decision; `driftwarden incidents MODEL` shows it".to_owned();
            return Err(Refused::new(409, "NotAwaitingApproval", message, Some(hint)));
        }
        if let Some(expired) = incident
            .approval_expires_at()
            .filter(|expires_at| *expires_at <= received)
        {
            let message = format!("the approval request of incident `{id}` expired at {expired}");
            let hint = format!(
                "`driftwarden resolve {id} --reopen` closes it, and opens a new incident for monitors in alert"
            );
            return Err(Refused::new(409, "ApprovalExpired", message, Some(hint)));
        }
        return check_until(command, received);
    }
    let in_alert = document
        .alerts
        .iter()
        .filter(|(_, alert)| alert.status == AlertStatus::InAlert);
    let in_alert: Vec<&String> = in_alert.map(|(schedule, _)| schedule).take(MAX_LISTED).collect();
    if !in_alert.is_empty() && command.in_alert.is_none() {
        let message = format!("monitors of incident `{id}` are in alert: {}", text::list(in_alert));
        let hint = "pass --accept to accept their alerts until they have been OK once, for 7 days at most; or --reopen to open a \
                    new incident for them, under the usual cooldown and budget";
        return Err(Refused::new(409, "MonitorsInAlert", message, Some(hint.to_owned())));
    }
    Ok(())
}

/// Refuses an approval or a pause that has ended when it begins.
fn check_until(command: &OperatorCommand, received: Timestamp) -> Result<(), Refused> {
    let until = command.until.or(command.valid_until);
    match until.filter(|until| *until <= received) {
        None => Ok(()),
        Some(until) => {
            let message = format!("the end {until} is in the past: the command was received at {received}");
            Err(Refused::new(400, "EndInThePast", message, None))
        }
    }
}

/// Whether a model without a document has had an experiment.
async fn has_experiment(clients: &impl RemediateClients, model: &str) -> Result<bool, AwsError> {
    let key = ExperimentDocument::key(model);
    Ok(clients.keys(&key).await?.contains(&key))
}

/// The refusal of a model that does not exist, with the most similar one that does.
async fn unknown_model(
    clients: &impl RemediateClients,
    model: &str,
    action: Option<OperatorAction>,
) -> Result<Refused, AwsError> {
    let message = format!("model `{model}` does not exist");
    let mut refused = unknown_name(clients, "models/", model, "UnknownModel", message).await?;
    if action == Some(OperatorAction::Pause) {
        let new = "to pause a model that has had no alert yet, pass --new (field `newModel`)";
        let hint = &mut refused.1.hint;
        *hint = Some(match hint.take() {
            Some(nearest) => format!("{nearest} {new}"),
            None => new.to_owned(),
        });
    }
    Ok(refused)
}

/// The refusal of a name that has no document in a folder, with the most similar one that has.
async fn unknown_name(
    clients: &impl RemediateClients,
    folder: &str,
    name: &str,
    error: &str,
    message: String,
) -> Result<Refused, AwsError> {
    let keys = clients.keys(folder).await?;
    let names = keys
        .iter()
        .filter_map(|key| key.strip_prefix(folder)?.strip_suffix(".json"));
    let nearest = text::nearest_name(names, name).map(|nearest| format!("did you mean `{nearest}`?"));
    Ok(Refused::new(404, error, message, nearest))
}
