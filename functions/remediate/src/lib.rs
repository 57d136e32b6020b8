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
    CandidateStatus, ExecutionStatus, Facts, Given, Input, ModelDocument, ModelEffect, MonitorLevel, PAUSE_KEY, Pause,
    PipelineExecution, PipelineStart, Policy, REMEDIATION_APPROVAL, REMEDIATION_DECIDED, REMEDIATION_INCIDENT_CLOSED,
    REMEDIATION_PAUSE, REMEDIATION_RESOLUTION, RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE, RETRAINING_STATUS_REPORTED,
    RemediationApproval, RemediationPause, RemediationResolution, RetrainingStatusReported, RiskRating, Settings,
    Stage, StartKind, Stepped, model_of_display_name,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use shell::{
    AwsError, Kind, LEASE, Loaded, PolicyStore, TurnError,
    config::{ConfigError, Vars},
    load,
    ports::{Clock, Documents, EventBus, Fetched, ModelCards, Pipelines, StateMachines},
    telemetry, turn,
};
use std::collections::BTreeMap;
use tracing::Instrument as _;

/// Step Functions' event (user guide, page `eventbridge-integration`).
const STEP_FUNCTIONS_EXECUTION_STATUS_CHANGE: &str = "Step Functions Execution Status Change";

/// What remediation touches of AWS.
pub trait World: Documents + EventBus + Pipelines + StateMachines + ModelCards + Clock {}

impl<W: Documents + EventBus + Pipelines + StateMachines + ModelCards + Clock> World for W {}

/// A model and what is heard about it, or why an event concerns no model.
type Heard = Result<(String, Input), String>;

/// The function, configured.
#[derive(Debug)]
pub struct Remediate {
    settings: Settings,
    policy: PolicyStore,
}

/// What became of an event: the function's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Handled {
    /// The model's document took it.
    Changed {
        /// The model.
        model: String,
    },
    /// The model's document knew it already, or something later.
    Known {
        /// The model.
        model: String,
    },
    /// It does not concern us.
    Ignored {
        /// Why.
        reason: String,
    },
}

impl Remediate {
    /// The function for a pipeline.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            policy: PolicyStore::default(),
        }
    }

    /// With a policy that is shared with other functions of this process.
    #[must_use]
    pub fn with_policy(self, policy: PolicyStore) -> Self {
        Self { policy, ..self }
    }

    /// The function as the environment configures it, with the state bucket and the event bus.
    ///
    /// | variable | what |
    /// | --- | --- |
    /// | `STATE_BUCKET` | bucket of the documents; required |
    /// | `EVENT_BUS_NAME` | our bus; required |
    /// | `RETRAINING_PIPELINE` | name or ARN of the SageMaker pipeline; required |
    /// | `PIPELINE_START` | `remediate` (default): this function starts it; `rule`: an EventBridge rule does |
    ///
    /// # Errors
    /// If a variable is missing or wrong.
    pub fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(Self, String, String), ConfigError> {
        let pipeline_start = match vars.optional("PIPELINE_START").as_deref() {
            None | Some("remediate") => PipelineStart::Remediate,
            Some("rule") => PipelineStart::Rule,
            Some(other) => {
                return Err(ConfigError::Invalid {
                    name: "PIPELINE_START",
                    value: other.to_owned(),
                    expected: "`remediate` (this function starts the pipeline) or `rule` (an EventBridge rule does)",
                });
            }
        };
        let pipeline = vars.required("RETRAINING_PIPELINE", "the name or ARN of a SageMaker pipeline")?;
        let event_bus = vars.required("EVENT_BUS_NAME", "the name of the EventBridge bus")?;
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
    /// If the event is ours and cannot be read, or AWS fails: Lambda retries it, then keeps it in the dead-letter queue.
    pub async fn handle<W: World>(
        &self,
        world: &W,
        payload: &str,
        request_id: &str,
    ) -> Result<Handled, RemediateError> {
        let event = Event::parse("event", payload.as_bytes()).map_err(RemediateError::Event)?;
        let detail_type = event.detail_type.as_str();
        let heard = match event.detail {
            Detail::PipelineExecution(change) => self.of_pipeline(world, &change).await?,
            Detail::Alarm(alarm) => self.of_alarm(world, &alarm).await?,
            Detail::Other(detail) => match detail_type {
                MODEL_MONITOR_ALERT_STATE_CHANGE => {
                    let alert: AlertStateChange = read(detail, detail_type)?;
                    Ok((alert.model.clone(), Input::Alert(Box::new(alert))))
                }
                EXPERIMENT_STATE_CHANGE => {
                    let change: ExperimentStateChange = read(detail, detail_type)?;
                    let status = CandidateStatus::of_change(&change);
                    Ok((change.model, Input::Experiment(status)))
                }
                REMEDIATION_APPROVAL => {
                    let approval: RemediationApproval = read(detail, detail_type)?;
                    of_incident(&approval.incident_id).map(|(model, _)| (model, Input::Approval(approval)))
                }
                REMEDIATION_RESOLUTION => {
                    let resolution: RemediationResolution = read(detail, detail_type)?;
                    of_incident(&resolution.incident_id).map(|(model, _)| (model, Input::Resolution(resolution)))
                }
                REMEDIATION_PAUSE => {
                    let pause: RemediationPause = read(detail, detail_type)?;
                    Ok((pause.model.clone(), Input::Pause(pause)))
                }
                RETRAINING_STATUS_REPORTED => {
                    let reported: RetrainingStatusReported = read(detail, detail_type)?;
                    of_incident(&reported.incident_id).map(|(model, incident)| {
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
                STEP_FUNCTIONS_EXECUTION_STATUS_CHANGE => of_state_machine(&detail),
                _ => Err(format!("`{detail_type}` does not concern remediation")),
            },
            _ => Err(format!("`{detail_type}` does not concern remediation")),
        };
        match heard {
            Ok((model, input)) => self.take(world, model, input, request_id).await,
            Err(reason) => Ok(ignored(reason)),
        }
    }

    /// Takes one input for a model: asks what the decision needs to know, changes the document, carries out what it owes.
    ///
    /// # Errors
    /// If AWS fails, or there is no policy. An alert whose decision could not be taken is kept: the retry, or the sweep,
    /// decides.
    pub async fn take<W: World>(
        &self,
        world: &W,
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
        let about = telemetry::about(Some(&model), schedule, correlation_id);
        let taken = self.take_known(world, model, None, input, request_id);
        taken.instrument(about).await
    }

    /// Takes an input; `known` is the model's document, if it has just been read.
    async fn take_known<W: World>(
        &self,
        world: &W,
        model: String,
        known: Option<Loaded<ModelDocument>>,
        input: Input,
        request_id: &str,
    ) -> Result<Handled, RemediateError> {
        let key = model_key(&model);
        let caller = Caller {
            id: request_id.to_owned(),
            now: world.now(),
            lease: LEASE,
        };
        let loaded = async {
            match known {
                Some(known) => Ok(known),
                None => load::<ModelDocument>(world, &key).await,
            }
        };
        let (policy, loaded) = join(self.policy.load(world), loaded).await;
        let (policy, loaded) = (policy.map_err(RemediateError::Policy)?, loaded?);
        let asks = match loaded.document() {
            Some(document) => document.needs_facts(&input),
            None => ModelDocument::new(&model).needs_facts(&input),
        };
        let mut facts = if asks {
            Some(self.facts(world, &model, &policy).await)
        } else {
            None
        };
        let mut loaded = Some(loaded);
        let mut input = input;
        let mut changed = false;
        loop {
            let given = Given {
                policy: &policy,
                settings: &self.settings,
                facts: facts.as_ref().and_then(|facts| facts.as_ref().ok()),
            };
            let loaded = match loaded.take() {
                Some(loaded) => loaded,
                None => load(world, &key).await?,
            };
            let (stepped, stage, waits) = turn(
                world,
                &key,
                loaded,
                &caller,
                || ModelDocument::new(&model),
                |document| {
                    // It is about the incident, whichever alert joins it.
                    telemetry::correlated(document.correlation_id());
                    let stepped = document.step(input.clone(), given, &caller);
                    telemetry::correlated(document.correlation_id());
                    (stepped, document.stage(), document.is_deciding())
                },
                async |effect| carry_out(world, effect).await,
            )
            .await?;
            changed |= stepped == Stepped::Changed;
            tracing::info!(model = %model, stepped = ?stepped, stage = stage.as_str(), "model handled");
            match facts {
                // The input is kept, and its decision waits.
                Some(Err(error)) => return Err(TurnError::from(error).into()),
                // Another writer was faster, and made a decision due that nobody had asked the facts for.
                None if waits => {
                    facts = Some(self.facts(world, &model, &policy).await);
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

    /// Looks after a model: hears how its run goes, if nobody said; decides again, or verifies; carries out what its
    /// document still owes. Nothing if there is no such model.
    ///
    /// # Errors
    /// As [`Remediate::take`].
    pub async fn sweep<W: World>(
        &self,
        world: &W,
        model: &str,
        levels: BTreeMap<String, MonitorLevel>,
        request_id: &str,
    ) -> Result<(), RemediateError> {
        let loaded = load::<ModelDocument>(world, &model_key(model)).await?;
        let Some(document) = loaded.document() else {
            return Ok(());
        };
        let mut taken = false;
        let running = document
            .incident
            .as_ref()
            .filter(|incident| incident.stage == Stage::Retraining)
            .and_then(|incident| Some((incident.number, incident.execution.as_ref()?)));
        if let Some((incident, execution)) = running {
            let arn = &execution.arn;
            let now = if arn.contains(":states:") {
                world.describe_execution(arn).await
            } else {
                world.execution(arn).await
            };
            match now {
                Ok(Some(execution)) if execution.status.is_final() => {
                    let input = Input::PipelineExecution { incident, execution };
                    self.take(world, model.to_owned(), input, request_id).await?;
                    taken = true;
                }
                Ok(_) => {}
                // A run that somebody deleted, or that is no run of AWS's, says nothing more.
                Err(error) => tracing::warn!(error = %error, model, "how the run goes could not be asked"),
            }
        }
        if document.stage() == Stage::Candidate || running.is_some() {
            // Whatever its experiment has come to, told or not.
            let experiments = load::<ExperimentDocument>(world, &ExperimentDocument::key(model)).await?;
            for status in experiments
                .document()
                .map(CandidateStatus::of_document)
                .unwrap_or_default()
            {
                self.take(world, model.to_owned(), Input::Experiment(status), request_id)
                    .await?;
                taken = true;
            }
        }
        // What was taken is in a newer one.
        let known = Some(loaded).filter(|_| !taken);
        let about = telemetry::about(Some(model), None, None);
        let ticked = self.take_known(world, model.to_owned(), known, Input::Tick(levels), request_id);
        ticked.instrument(about).await?;
        Ok(())
    }

    /// What a decision needs to know and only AWS can tell.
    async fn facts<W: Documents + Pipelines + ModelCards>(
        &self,
        world: &W,
        model: &str,
        policy: &Policy,
    ) -> Result<Facts, AwsError> {
        let rules = policy.model(model);
        let in_flight = async {
            match rules.retraining.start {
                StartKind::Pipeline => {
                    let pipeline = rules.retraining.pipeline.as_deref().unwrap_or(&self.settings.pipeline);
                    runs_of(world, model, pipeline).await
                }
                StartKind::StateMachine | StartKind::Event => Ok(Vec::new()),
            }
        };
        let risk_rating = async {
            match rules.risk_rating {
                Some(rating) => Ok(rating),
                None if rules.automation.is_some() => Ok(RiskRating::Unknown),
                None => world.risk_rating(&rules.model_card).await,
            }
        };
        let (in_flight, risk_rating, paused) = join3(in_flight, risk_rating, paused(world)).await;
        Ok(Facts {
            in_flight: in_flight?,
            risk_rating: risk_rating?,
            paused: paused?,
        })
    }

    /// The incident that a pipeline execution is for. One that this function started says so in its display name; of one
    /// that a rule started only its parameters can tell.
    async fn of_pipeline(
        &self,
        world: &impl Pipelines,
        change: &PipelineExecutionStatusChange,
    ) -> Result<Heard, RemediateError> {
        let Some(status) = ExecutionStatus::parse(&change.status) else {
            return Ok(Err(format!("status `{}` says nothing", change.status)));
        };
        let execution = PipelineExecution {
            arn: change.execution_arn.clone(),
            status,
            start_time: change.start_time,
            end_time: change.end_time,
        };
        let by_name = change.display_name.as_deref().and_then(model_of_display_name);
        if let Some((model, incident)) = by_name {
            return Ok(Ok((model.to_owned(), Input::PipelineExecution { incident, execution })));
        }
        let foreign = || Err(format!("`{}` is not an execution of ours", change.execution_arn));
        if self.settings.pipeline_start == PipelineStart::Remediate {
            return Ok(foreign());
        }
        let parameters = match world.parameters(&change.execution_arn).await {
            Ok(parameters) => parameters,
            Err(AwsError {
                kind: Kind::NotFound, ..
            }) => return Ok(foreign()),
            Err(error) => return Err(TurnError::from(error).into()),
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

    /// A CloudWatch alarm that the policy names is heard as the alert of a monitor.
    async fn of_alarm(&self, world: &impl Documents, alarm: &AlarmStateChange) -> Result<Heard, RemediateError> {
        let policy = self.policy.load(world).await.map_err(RemediateError::Policy)?;
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
            return Ok(Err(format!("alarm `{name}` tells no state that is known, or no time")));
        };
        let previous = alarm.previous_state.as_deref().and_then(status);
        let in_alert = alert_status == AlertStatus::InAlert;
        // Of two events of an alarm the one with the later time is the later one.
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

/// What a person last said about pausing all models. What cannot be read holds the decision back, as any fact that cannot be
/// asked: a kill switch that nobody can read is not off.
async fn paused(world: &impl Documents) -> Result<Option<Pause>, AwsError> {
    match world.read(PAUSE_KEY, None).await? {
        Fetched::Absent | Fetched::Unchanged => Ok(None),
        Fetched::Found(body, _) => serde_json::from_slice(&body).map(Some).map_err(|error| AwsError {
            operation: "s3:GetObject",
            resource: PAUSE_KEY.to_owned(),
            kind: Kind::Rejected,
            message: format!("it cannot be read: {error}; `driftwarden pause` or `resume` writes it anew"),
        }),
    }
}

/// Where the document of a model lies in the state bucket.
pub fn model_key(model: &str) -> String {
    ModelDocument::key(model)
}

/// The runs of a pipeline in flight that are, or may be, of a model: those that its incidents started, and those that
/// somebody started otherwise, unless their parameters name another model.
async fn runs_of(world: &impl Pipelines, model: &str, pipeline: &str) -> Result<Vec<String>, AwsError> {
    let mut runs = Vec::new();
    for run in world.in_flight(pipeline).await? {
        let of_model = if let Some((of, _)) = model_of_display_name(&run.display_name) {
            of == model
        } else {
            let parameters = world.parameters(&run.arn).await?;
            parameters
                .get("DriftwardenModel")
                .is_none_or(|of| of == model || of == "none")
        };
        if of_model {
            runs.push(run.arn);
        }
    }
    Ok(runs)
}

/// The model and the number of an incident's id.
fn of_incident(incident_id: &str) -> Result<(String, u64), String> {
    let parts = incident_id
        .rsplit_once('-')
        .and_then(|(model, number)| Some((model, number.parse().ok()?)));
    let (model, number) = parts.ok_or_else(|| format!("`{incident_id}` is no incident's id"))?;
    Ok((model.to_owned(), number))
}

/// The incident that a Step Functions execution is for, as its input tells.
fn of_state_machine(detail: &Value) -> Heard {
    let text = |pointer: &str| detail.pointer(pointer).and_then(Value::as_str);
    let time = |pointer: &str| {
        let millisecond = detail.pointer(pointer).and_then(Value::as_i64)?;
        Timestamp::from_millisecond(millisecond).ok()
    };
    let input: Option<Value> = text("/input").and_then(|input| serde_json::from_str(input).ok());
    let own = input.as_ref().and_then(|input| input.get("driftwarden"));
    let of = own.and_then(|own| Some((own.get("model")?.as_str()?, own.get("incident")?.as_u64()?)));
    let status = text("/status").and_then(ExecutionStatus::of_state_machine);
    let (Some((model, incident)), Some(arn), Some(status)) = (of, text("/executionArn"), status) else {
        return Err("the Step Functions execution is not of ours".to_owned());
    };
    let execution = PipelineExecution {
        arn: arn.to_owned(),
        status,
        start_time: time("/startDate"),
        end_time: time("/stopDate"),
    };
    Ok((model.to_owned(), Input::PipelineExecution { incident, execution }))
}

fn read<T: DeserializeOwned>(detail: Value, detail_type: &str) -> Result<T, RemediateError> {
    serde_json::from_value(detail).map_err(|source| RemediateError::Detail {
        detail_type: detail_type.to_owned(),
        source,
    })
}

fn ignored(reason: String) -> Handled {
    tracing::debug!(reason = %reason, "event ignored");
    Handled::Ignored { reason }
}

async fn carry_out(
    world: &(impl EventBus + Pipelines + StateMachines),
    effect: &ModelEffect,
) -> Result<Option<String>, AwsError> {
    match effect {
        ModelEffect::StartPipelineExecution(start) => {
            let arn = world.start(start).await?;
            tracing::info!(pipeline.execution = %arn, pipeline.name = %start.pipeline, "retraining pipeline started");
            Ok(Some(arn))
        }
        ModelEffect::StartStateMachine(start) => {
            let arn = world.start_execution(start).await?;
            tracing::info!(execution = %arn, "retraining state machine started");
            Ok(Some(arn))
        }
        ModelEffect::PutIncidentClosed(closed) => {
            world.put(REMEDIATION_INCIDENT_CLOSED, json(closed)?).await?;
            Ok(None)
        }
        ModelEffect::PutRemediationDecided(decided) => {
            world.put(REMEDIATION_DECIDED, json(decided)?).await?;
            tracing::info!(model = %decided.model, incident = decided.incident, verdict = decided.verdict.as_str(), "decided");
            Ok(None)
        }
        ModelEffect::PutRetrainingStatusChange(change) => {
            world
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
