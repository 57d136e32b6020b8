#![doc = include_str!("../README.md")]

mod error;

pub use error::RemediateError;

use alerting::{AlertStateChange, AlertStatus, MODEL_MONITOR_ALERT_STATE_CHANGE};
use futures_util::future::{join, join3};
use jiff::Timestamp;
use model_monitor::{AlarmStateChange, Detail, Event, PipelineExecutionStatusChange};
use outbox::{Caller, correlation_id};
use promotion::{EXPERIMENT_STATE_CHANGE, ExperimentDocument, ExperimentStateChange};
use remediation::{
    CandidateStatus, ExecutionStatus, Facts, Input, ModelDocument, ModelEffect, MonitorLevel, PAUSE_KEY, Pause,
    PipelineExecution, PipelineStart, Policy, REMEDIATION_APPROVAL, REMEDIATION_DECIDED, REMEDIATION_INCIDENT_CLOSED,
    REMEDIATION_PAUSE, REMEDIATION_RESOLUTION, RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE, RETRAINING_STATUS_REPORTED,
    RemediationApproval, RemediationPause, RemediationResolution, RetrainingStatusReported, RiskRating, Settings,
    Stage, StartKind, StepContext, StepOutcome, parse_display_name,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use shell::{
    AwsError, Kind, LEASE, LoadedDocument, PolicyStore, UpdateError,
    config::{ConfigError, Vars},
    load,
    ports::{Clock, Documents, EventBus, Fetched, ModelCards, Pipelines, StateMachines},
    telemetry, update_document,
};
use std::collections::BTreeMap;
use tracing::Instrument as _;

/// Detail-type of Step Functions' event (developer guide, page *eventbridge-integration*).
const STEP_FUNCTIONS_EXECUTION_STATUS_CHANGE: &str = "Step Functions Execution Status Change";

/// AWS APIs that the function uses.
pub trait RemediateClients: Documents + EventBus + Pipelines + StateMachines + ModelCards + Clock {}

impl<W: Documents + EventBus + Pipelines + StateMachines + ModelCards + Clock> RemediateClients for W {}

/// An event as the input of a model, or the reason why it concerns no model.
type RoutedEvent = Result<(String, Input), String>;

/// The `remediate` function.
#[derive(Debug)]
pub struct Remediate {
    settings: Settings,
    policy: PolicyStore,
}

/// Outcome of an event: the response of the function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Handled {
    /// The event changed the model's document.
    Changed {
        /// Name of the model.
        model: String,
    },
    /// The model's document already contains the event, or a later one.
    Known {
        /// Name of the model.
        model: String,
    },
    /// The event does not concern remediation.
    Ignored {
        /// Why the event was ignored.
        reason: String,
    },
}

impl Remediate {
    /// Creates the function from its settings.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            policy: PolicyStore::recording(),
        }
    }

    /// Shares a policy cache with other functions of this process.
    #[must_use]
    pub fn with_policy(self, policy: PolicyStore) -> Self {
        Self { policy, ..self }
    }

    /// Creates the function from environment variables. Also returns the names of the state bucket and the event bus.
    ///
    /// | variable | value |
    /// | --- | --- |
    /// | `STATE_BUCKET` | name of the state bucket; required |
    /// | `EVENT_BUS_NAME` | name of Driftwarden's event bus; required |
    /// | `RETRAINING_PIPELINE` | name or ARN of the SageMaker pipeline; required |
    /// | `PIPELINE_START` | `remediate` (default): this function starts the pipeline; `rule`: an EventBridge rule starts it |
    ///
    /// # Errors
    /// If a variable is missing or invalid.
    pub fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(Self, String, String), ConfigError> {
        let pipeline_start = match vars.optional("PIPELINE_START").as_deref() {
            None | Some("remediate") => PipelineStart::Remediate,
            Some("rule") => PipelineStart::Rule,
            Some(other) => {
                return Err(ConfigError::Invalid {
                    name: "PIPELINE_START",
                    value: other.to_owned(),
                    expected: "`remediate` (this function starts the pipeline) or `rule` (an EventBridge rule starts it)",
                });
            }
        };
        let pipeline = vars.required("RETRAINING_PIPELINE", "the name or ARN of a SageMaker pipeline")?;
        let event_bus = vars.required("EVENT_BUS_NAME", "the name of an EventBridge event bus")?;
        Ok((
            Self::new(Settings {
                pipeline,
                pipeline_start,
            }),
            vars.bucket("STATE_BUCKET")?,
            event_bus,
        ))
    }

    /// Handles one event.
    ///
    /// # Errors
    /// If the event cannot be parsed, or a call to AWS fails. Lambda retries the event, then sends it to the dead-letter queue.
    pub async fn handle<W: RemediateClients>(
        &self,
        clients: &W,
        payload: &str,
        request_id: &str,
    ) -> Result<Handled, RemediateError> {
        let event = Event::parse("event", payload.as_bytes()).map_err(RemediateError::Event)?;
        let detail_type = event.detail_type.as_str();
        let routed = match event.detail {
            Detail::PipelineExecution(change) => self.route_pipeline(clients, &change).await?,
            Detail::Alarm(alarm) => self.route_alarm(clients, &alarm).await?,
            Detail::Other(detail) => match detail_type {
                MODEL_MONITOR_ALERT_STATE_CHANGE => {
                    let alert: AlertStateChange = parse_detail(detail, detail_type)?;
                    Ok((alert.model.clone(), Input::Alert(Box::new(alert))))
                }
                EXPERIMENT_STATE_CHANGE => {
                    let change: ExperimentStateChange = parse_detail(detail, detail_type)?;
                    let status = CandidateStatus::from_change(&change);
                    Ok((change.model, Input::Experiment(status)))
                }
                REMEDIATION_APPROVAL => {
                    let approval: RemediationApproval = parse_detail(detail, detail_type)?;
                    parse_incident_id(&approval.incident_id).map(|(model, _)| (model, Input::Approval(approval)))
                }
                REMEDIATION_RESOLUTION => {
                    let resolution: RemediationResolution = parse_detail(detail, detail_type)?;
                    parse_incident_id(&resolution.incident_id).map(|(model, _)| (model, Input::Resolution(resolution)))
                }
                REMEDIATION_PAUSE => {
                    let pause: RemediationPause = parse_detail(detail, detail_type)?;
                    Ok((pause.model.clone(), Input::Pause(pause)))
                }
                RETRAINING_STATUS_REPORTED => {
                    let reported: RetrainingStatusReported = parse_detail(detail, detail_type)?;
                    parse_incident_id(&reported.incident_id).map(|(model, incident)| {
                        let ended = reported.status.is_final().then_some(reported.time);
                        let execution = PipelineExecution {
                            arn: reported.execution_arn,
                            status: reported.status,
                            start_time: None,
                            end_time: ended,
                        };
                        (model, Input::PipelineExecution { incident, execution })
                    })
                }
                STEP_FUNCTIONS_EXECUTION_STATUS_CHANGE => route_state_machine(&detail),
                _ => Err(format!("`{detail_type}` does not concern remediation")),
            },
            _ => Err(format!("`{detail_type}` does not concern remediation")),
        };
        match routed {
            Ok((model, input)) => self.take(clients, model, input, request_id).await,
            Err(reason) => Ok(ignored(reason)),
        }
    }

    /// Applies one input to a model: collects the facts for the decision, updates the document, and executes its effects.
    ///
    /// # Errors
    /// If a call to AWS fails, or no valid policy is available. An alert without a decision is kept: the retry or the sweep
    /// decides.
    pub async fn take<W: RemediateClients>(
        &self,
        clients: &W,
        model: String,
        input: Input,
        request_id: &str,
    ) -> Result<Handled, RemediateError> {
        let (schedule, correlation_id) = match &input {
            Input::Alert(alert) => (
                Some(alert.monitoring_schedule.as_str()),
                alert.correlation_id.as_deref(),
            ),
            _ => (None, None),
        };
        let span = telemetry::span_for(Some(&model), schedule, correlation_id);
        let taken = self.take_known(clients, model, None, input, request_id);
        taken.instrument(span).await
    }

    /// Applies an input. `known` is the model's document, if it has just been loaded.
    async fn take_known<W: RemediateClients>(
        &self,
        clients: &W,
        model: String,
        known: Option<LoadedDocument<ModelDocument>>,
        input: Input,
        request_id: &str,
    ) -> Result<Handled, RemediateError> {
        let key = model_key(&model);
        let caller = Caller {
            id: request_id.to_owned(),
            now: clients.now(),
            lease: LEASE,
        };
        let loaded = async {
            match known {
                Some(known) => Ok(known),
                None => load::<ModelDocument>(clients, &key).await,
            }
        };
        let (policy, loaded) = join(self.policy.load(clients), loaded).await;
        let (policy, loaded) = (policy.map_err(RemediateError::Policy)?, loaded?);
        let needs_facts = match loaded.document() {
            Some(document) => document.needs_facts(&input),
            None => ModelDocument::new(&model).needs_facts(&input),
        };
        let mut facts = if needs_facts {
            Some(self.facts(clients, &model, &policy).await)
        } else {
            None
        };
        let mut loaded = Some(loaded);
        let mut input = input;
        let mut changed = false;
        loop {
            let context = StepContext {
                policy: &policy,
                settings: &self.settings,
                facts: facts.as_ref().and_then(|facts| facts.as_ref().ok()),
            };
            let loaded = match loaded.take() {
                Some(loaded) => loaded,
                None => load(clients, &key).await?,
            };
            let (stepped, stage, is_deciding) = update_document(
                clients,
                &key,
                loaded,
                &caller,
                || ModelDocument::new(&model),
                |document| {
                    // Log lines belong to the incident, also if another alert joins it.
                    telemetry::record_correlation_id(document.correlation_id());
                    let stepped = document.step(input.clone(), context, &caller);
                    telemetry::record_correlation_id(document.correlation_id());
                    (stepped, document.stage(), document.is_deciding())
                },
                async |effect| execute(clients, effect).await,
            )
            .await?;
            changed |= stepped == StepOutcome::Changed;
            tracing::info!(model = %model, stepped = ?stepped, stage = stage.as_str(), "model handled");
            match facts {
                // The input is stored. The retry or the sweep decides.
                Some(Err(error)) => return Err(UpdateError::from(error).into()),
                // Another writer was faster: its change requires a decision, for which no facts have been collected.
                None if is_deciding => {
                    facts = Some(self.facts(clients, &model, &policy).await);
                    input = Input::Tick(BTreeMap::new());
                }
                _ => break,
            }
        }
        Ok(if changed {
            Handled::Changed { model }
        } else {
            Handled::Known { model }
        })
    }

    /// Sweeps a model: checks the status of its pipeline execution, in case its event was lost; decides again or verifies; executes
    /// pending effects. Does nothing if the model has no document. Returns whether the model had an open incident or pending effects.
    ///
    /// # Errors
    /// As [`Remediate::take`].
    pub async fn sweep<W: RemediateClients>(
        &self,
        clients: &W,
        model: &str,
        levels: BTreeMap<String, MonitorLevel>,
        request_id: &str,
    ) -> Result<bool, RemediateError> {
        let loaded = load::<ModelDocument>(clients, &model_key(model)).await?;
        let Some(document) = loaded.document() else {
            return Ok(false);
        };
        let is_open = document.incident.is_some() || !document.outbox.is_empty();
        let mut taken = false;
        let running = document
            .incident
            .as_ref()
            .filter(|incident| incident.stage == Stage::Retraining)
            .and_then(|incident| Some((incident.number, incident.execution.as_ref()?)));
        if let Some((incident, execution)) = running {
            let arn = &execution.arn;
            let now = if arn.contains(":states:") {
                clients.describe_execution(arn).await
            } else {
                clients.execution(arn).await
            };
            match now {
                Ok(Some(execution)) if execution.status.is_final() => {
                    let input = Input::PipelineExecution { incident, execution };
                    self.take(clients, model.to_owned(), input, request_id).await?;
                    taken = true;
                }
                Ok(_) => {}
                // The execution was deleted, or does not run on AWS.
                Err(error) => tracing::warn!(error = %error, model, "failed to read the status of the retraining"),
            }
        }
        if document.stage() == Stage::Candidate || running.is_some() {
            // State of its experiment, in case an event was lost.
            let experiments = load::<ExperimentDocument>(clients, &ExperimentDocument::key(model)).await?;
            for status in experiments
                .document()
                .map(CandidateStatus::all_from_document)
                .unwrap_or_default()
            {
                self.take(clients, model.to_owned(), Input::Experiment(status), request_id)
                    .await?;
                taken = true;
            }
        }
        // After an applied input, the loaded document is outdated.
        let known = Some(loaded).filter(|_| !taken);
        let span = telemetry::span_for(Some(model), None, None);
        let ticked = self.take_known(clients, model.to_owned(), known, Input::Tick(levels), request_id);
        ticked.instrument(span).await?;
        Ok(is_open)
    }

    /// Facts for a decision that only AWS knows.
    async fn facts<W: Documents + Pipelines + ModelCards>(
        &self,
        clients: &W,
        model: &str,
        policy: &Policy,
    ) -> Result<Facts, AwsError> {
        let rules = policy.model(model);
        let in_flight = async {
            match rules.retraining.start {
                StartKind::Pipeline => {
                    let pipeline = rules.retraining.pipeline.as_deref().unwrap_or(&self.settings.pipeline);
                    executions_in_progress(clients, model, pipeline).await
                }
                StartKind::StateMachine | StartKind::Event => Ok(Vec::new()),
            }
        };
        let risk_rating = async {
            match rules.risk_rating {
                Some(rating) => Ok(rating),
                None if rules.automation.is_some() => Ok(RiskRating::Unknown),
                None => clients.risk_rating(&rules.model_card).await,
            }
        };
        let (in_flight, risk_rating, paused) = join3(in_flight, risk_rating, read_pause(clients)).await;
        Ok(Facts {
            in_flight: in_flight?,
            risk_rating: risk_rating?,
            paused: paused?,
        })
    }

    /// Finds the incident of a pipeline execution: by the display name if this function started it, or by the parameters if a rule
    /// started it.
    async fn route_pipeline(
        &self,
        clients: &impl Pipelines,
        change: &PipelineExecutionStatusChange,
    ) -> Result<RoutedEvent, RemediateError> {
        let Some(status) = ExecutionStatus::parse(&change.status) else {
            return Ok(Err(format!("`{}` is not a known status", change.status)));
        };
        let execution = PipelineExecution {
            arn: change.execution_arn.clone(),
            status,
            start_time: change.start_time,
            end_time: change.end_time,
        };
        let by_name = change.display_name.as_deref().and_then(parse_display_name);
        if let Some((model, incident)) = by_name {
            return Ok(Ok((model.to_owned(), Input::PipelineExecution { incident, execution })));
        }
        let foreign = || Err(format!("Driftwarden did not start `{}`", change.execution_arn));
        if self.settings.pipeline_start == PipelineStart::Remediate {
            return Ok(foreign());
        }
        let parameters = match clients.parameters(&change.execution_arn).await {
            Ok(parameters) => parameters,
            Err(AwsError {
                kind: Kind::NotFound, ..
            }) => return Ok(foreign()),
            Err(error) => return Err(UpdateError::from(error).into()),
        };
        Ok(parameters
            .get("DriftwardenModel")
            .zip(parameters.get("DriftwardenIncident"))
            .and_then(|(model, incident)| {
                let incident = incident.strip_prefix(model.as_str())?.strip_prefix('-')?.parse().ok()?;
                Some((model.clone(), Input::PipelineExecution { incident, execution }))
            })
            .map_or_else(foreign, Ok))
    }

    /// Treats a CloudWatch alarm that the policy names as the alert of a monitor.
    async fn route_alarm(
        &self,
        clients: &impl Documents,
        alarm: &AlarmStateChange,
    ) -> Result<RoutedEvent, RemediateError> {
        let policy = self.policy.load(clients).await.map_err(RemediateError::Policy)?;
        let name = &alarm.alarm_name;
        let Some(rules) = policy.alarm(name) else {
            return Ok(Err(format!("the policy has no [[alarm]] for `{name}`")));
        };
        let status = |state: &str| match state {
            "OK" => Some(AlertStatus::Ok),
            "ALARM" => Some(AlertStatus::InAlert),
            "INSUFFICIENT_DATA" => Some(AlertStatus::InsufficientData),
            _ => None,
        };
        let (Some(alert_status), Some(time)) = (status(&alarm.state), alarm.timestamp) else {
            return Ok(Err(format!(
                "the event of alarm `{name}` has no known state or no time"
            )));
        };
        let previous = alarm.previous_state.as_deref().and_then(status);
        let in_alert = alert_status == AlertStatus::InAlert;
        // The time orders the events of an alarm.
        let transition = u64::try_from(time.as_millisecond()).unwrap_or_default();
        let change = AlertStateChange {
            version: "1".into(),
            id: format!("alarm-{name}-{transition}"),
            correlation_id: Some(correlation_id("alarm", &format!("{name}/{time}"))),
            model: rules.model.clone(),
            endpoint: None,
            monitoring_schedule: format!("alarm:{name}"),
            monitor_type: None,
            transition,
            alert_status,
            previous_alert_status: previous.unwrap_or_default(),
            severity: in_alert.then_some(rules.severity),
            datapoints_to_alert: 1,
            evaluation_period: 1,
            period: None,
            breaching: usize::from(in_alert),
            datapoints: Vec::new(),
            violations: Vec::new(),
            check_types: Vec::new(),
            report_uri: None,
            reason: alarm
                .reason
                .clone()
                .unwrap_or_else(|| format!("the alarm is {}", alarm.state)),
            policy_version: policy.version().to_owned(),
            time,
        };
        Ok(Ok((rules.model, Input::Alert(Box::new(change)))))
    }
}

/// Reads the pause of all models. If it cannot be read, there is no decision: an unreadable kill switch does not count as off.
async fn read_pause(clients: &impl Documents) -> Result<Option<Pause>, AwsError> {
    match clients.read(PAUSE_KEY, None).await? {
        Fetched::Absent | Fetched::Unchanged => Ok(None),
        Fetched::Found(body, _) => serde_json::from_slice(&body).map(Some).map_err(|error| AwsError {
            operation: "s3:GetObject",
            resource: PAUSE_KEY.to_owned(),
            kind: Kind::Rejected,
            message: format!(
                "failed to parse it: {error}; run `driftwarden pause` or `driftwarden resume` to rewrite it"
            ),
        }),
    }
}

/// Key of a model's document in the state bucket.
pub fn model_key(model: &str) -> String {
    ModelDocument::key(model)
}

/// Executions of a pipeline in progress that belong, or may belong, to a model: those of its incidents, and those that an operator
/// or another process started, unless their parameters name another model.
async fn executions_in_progress(
    clients: &impl Pipelines,
    model: &str,
    pipeline: &str,
) -> Result<Vec<String>, AwsError> {
    let mut executions = Vec::new();
    for execution in clients.executions_in_progress(pipeline).await? {
        let is_for_model = if let Some((other, _)) = parse_display_name(&execution.display_name) {
            other == model
        } else {
            let parameters = clients.parameters(&execution.arn).await?;
            parameters
                .get("DriftwardenModel")
                .is_none_or(|other| other == model || other == "none")
        };
        if is_for_model {
            executions.push(execution.arn);
        }
    }
    Ok(executions)
}

/// Splits an incident ID into model and number.
fn parse_incident_id(incident_id: &str) -> Result<(String, u64), String> {
    let parts = incident_id
        .rsplit_once('-')
        .and_then(|(model, number)| Some((model, number.parse().ok()?)));
    let (model, number) = parts.ok_or_else(|| format!("`{incident_id}` is not an incident ID"))?;
    Ok((model.to_owned(), number))
}

/// Finds the incident of a Step Functions execution in its input.
fn route_state_machine(detail: &Value) -> RoutedEvent {
    let text = |pointer: &str| detail.pointer(pointer).and_then(Value::as_str);
    let time = |pointer: &str| {
        let millisecond = detail.pointer(pointer).and_then(Value::as_i64)?;
        Timestamp::from_millisecond(millisecond).ok()
    };
    let input: Option<Value> = text("/input").and_then(|input| serde_json::from_str(input).ok());
    let ids = input.as_ref().and_then(|input| input.get("driftwarden"));
    let ids = ids.and_then(|ids| Some((ids.get("model")?.as_str()?, ids.get("incident")?.as_u64()?)));
    let status = text("/status").and_then(ExecutionStatus::from_state_machine);
    let (Some((model, incident)), Some(arn), Some(status)) = (ids, text("/executionArn"), status) else {
        return Err("Driftwarden did not start the Step Functions execution".to_owned());
    };
    let execution = PipelineExecution {
        arn: arn.to_owned(),
        status,
        start_time: time("/startDate"),
        end_time: time("/stopDate"),
    };
    Ok((model.to_owned(), Input::PipelineExecution { incident, execution }))
}

fn parse_detail<T: DeserializeOwned>(detail: Value, detail_type: &str) -> Result<T, RemediateError> {
    serde_json::from_value(detail).map_err(|source| RemediateError::Detail {
        detail_type: detail_type.to_owned(),
        source,
    })
}

fn ignored(reason: String) -> Handled {
    tracing::debug!(reason = %reason, "event ignored");
    Handled::Ignored { reason }
}

async fn execute(
    clients: &(impl EventBus + Pipelines + StateMachines),
    effect: &ModelEffect,
) -> Result<Option<String>, AwsError> {
    match effect {
        ModelEffect::StartPipelineExecution(start) => {
            let arn = clients.start(start).await?;
            tracing::info!(pipeline.execution = %arn, pipeline.name = %start.pipeline, "retraining pipeline started");
            Ok(Some(arn))
        }
        ModelEffect::StartStateMachine(start) => {
            let arn = clients.start_execution(start).await?;
            tracing::info!(execution = %arn, "retraining state machine started");
            Ok(Some(arn))
        }
        ModelEffect::PutIncidentClosed(closed) => {
            clients.put(REMEDIATION_INCIDENT_CLOSED, json(closed)?).await?;
            Ok(None)
        }
        ModelEffect::PutRemediationDecided(decided) => {
            clients.put(REMEDIATION_DECIDED, json(decided)?).await?;
            tracing::info!(model = %decided.model, incident = decided.incident, verdict = decided.verdict.as_str(), "decision made");
            Ok(None)
        }
        ModelEffect::PutRetrainingStatusChange(change) => {
            clients
                .put(RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE, json(change)?)
                .await?;
            Ok(None)
        }
    }
}

fn json(detail: &impl Serialize) -> Result<String, AwsError> {
    serde_json::to_string(detail).map_err(|error| AwsError {
        operation: "events:PutEvents",
        resource: "detail".into(),
        kind: Kind::Rejected,
        message: error.to_string(),
    })
}
