#![doc = include_str!("README.md")]

mod alarms;

pub use alarms::ListedAlarms;

use crate::{Error, Function, Ignored, Request, Resources, Routed, audit};
use alerting::MonitorLedger;
use events::{Event, Incoming, ReceivedEvent};
use futures_util::future::{OptionFuture, join, join_all, join4};
use jiff::Timestamp;
use machine::{
    AwsError, Caller, Clock, Documents, Fetched, Kind, LoadedDocument, UpdateError, load, load_shared, update_document,
    update_shared,
};
use model_monitor::{Detail, PipelineExecutionStatusChange};
use promotion::ExperimentDocument;
use remediation::{
    CandidateStatus, ExecutionStatus, FLEET_KEY, Facts, Fleet, Input, Levels, ModelDocument, ModelEffect,
    ModelEffectOutcome, MonitorRef, Needs, PAUSE_KEY, Pause, PipelineExecution, PipelineStart, Policy, Refusal,
    RetrainingStatusReported, RiskRating, Settings, Slot, Stage, StartKind, StartRequest, StepContext, StepOutcome,
    alarm_name, parse_display_name,
};
use serde::Serialize;
use serde_json::Value;
use shell::{
    PolicyStore,
    config::{ConfigError, Vars},
    ports::{Alarms, EventBus, ModelCards, PipelineExecutionSummary, Pipelines, StateMachines},
    telemetry,
};
use std::cell::{Cell, RefCell};
use tracing::Instrument as _;

/// Detail-type of Step Functions' event (developer guide, page *eventbridge-integration*).
const STEP_FUNCTIONS_EXECUTION_STATUS_CHANGE: &str = "Step Functions Execution Status Change";

/// Maximum number of steps of one invocation: the input, the answer to a start, and changes by faster writers.
const MAX_STEPS: usize = 5;

/// Maximum number of pages of pipeline executions, of 100 each.
const MAX_EXECUTION_PAGES: usize = 10;

/// AWS APIs that the function uses.
pub trait RemediateClients: Documents + EventBus + Pipelines + StateMachines + ModelCards + Alarms + Clock {}

impl<W: Documents + EventBus + Pipelines + StateMachines + ModelCards + Alarms + Clock> RemediateClients for W {}

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
    /// The command of an operator was refused.
    Refused {
        /// Name of the model.
        model: String,
        /// Why the command was refused.
        refusal: Refusal,
    },
    /// The event does not concern remediation.
    Ignored {
        /// Why the event was ignored.
        reason: String,
    },
}

impl<C: RemediateClients> Function<C> for Remediate {
    type Response = Handled;

    async fn invoke(&self, clients: &C, request: Request<'_>) -> Result<Handled, Error> {
        self.handle(clients, request.payload, request.request_id).await
    }
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

    /// Creates the function from environment variables. Also returns the resources that its clients use.
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
    pub fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(Self, Resources), ConfigError> {
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
        let settings = Settings {
            pipeline,
            pipeline_start,
        };
        Ok((Self::new(settings), Resources::with_event_bus(vars)?))
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
    ) -> Result<Handled, Error> {
        let event = ReceivedEvent::parse(payload)?;
        let at = event.time.unwrap_or_else(|| clients.now());
        let routed = match event.incoming {
            Incoming::Own(Event::AlertStateChange(alert) | Event::LevelChange(alert)) => {
                Ok((alert.model.clone(), Input::Alert(alert)))
            }
            Incoming::Own(Event::ExperimentStateChange(change)) => {
                let status = CandidateStatus::from_change(&change);
                Ok((change.model, Input::Experiment(status)))
            }
            Incoming::Own(Event::RetrainingStatusReported(reported)) => route_reported(*reported),
            Incoming::Aws(Detail::PipelineExecution(change)) => self.route_pipeline(clients, &change, at).await?,
            Incoming::Aws(Detail::Alarm(alarm)) => {
                let policy = self.policy.load(clients).await.map_err(Error::Policy)?;
                alarms::route(&alarm, &policy)
            }
            Incoming::Aws(Detail::Other(detail)) if event.detail_type == STEP_FUNCTIONS_EXECUTION_STATUS_CHANGE => {
                route_state_machine(&detail, at)
            }
            _ => Err(Ignored(format!("`{}` does not concern remediation", event.detail_type))),
        };
        match routed {
            Ok((model, input)) => self.take(clients, model, input, request_id).await,
            Err(Ignored(reason)) => Ok(ignored(reason)),
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
    ) -> Result<Handled, Error> {
        let (schedule, correlation_id) = match &input {
            Input::Alert(alert) => (
                Some(alert.monitoring_schedule.as_str()),
                alert.correlation_id.as_deref(),
            ),
            _ => (None, None),
        };
        let span = telemetry::span_for(Some(&model), schedule, correlation_id);
        let taken = self.take_known(clients, model, None, Levels::new(), input, request_id);
        taken.instrument(span).await
    }

    /// Applies an input. `known` is the model's document, if it has just been loaded, and `levels` are the levels of its monitors
    /// that have just been determined.
    async fn take_known<W: RemediateClients>(
        &self,
        clients: &W,
        model: String,
        known: Option<LoadedDocument<ModelDocument>>,
        mut levels: Levels,
        mut input: Input,
        request_id: &str,
    ) -> Result<Handled, Error> {
        let key = model_key(&model);
        let loaded = async {
            match known {
                Some(known) => Ok(known),
                None => load::<ModelDocument>(clients, &key).await,
            }
        };
        let (policy, loaded) = join(self.policy.load(clients), loaded).await;
        let policy = policy.map_err(Error::Policy)?;
        let mut loaded = loaded?;
        let mut outcome = StepOutcome::Unchanged;
        for _ in 0..MAX_STEPS {
            let caller = Caller::new(request_id, clients.now());
            let new = ModelDocument::new(&model);
            let document = loaded.document().unwrap_or(&new);
            let needs = document.needs(&input, &caller);
            let number = document.incident.as_ref().map_or(0, |open| open.number);
            let unread = self.unread_levels(clients, &needs, &levels, &model, &policy, caller.now);
            let facts = needs
                .facts
                .then(|| self.facts(clients, &model, number, &policy, caller.now));
            let (read, mut facts) = join(unread, OptionFuture::from(facts)).await;
            match read {
                Ok(read) => levels.extend(read),
                Err(error) => facts = facts.map(|_| Err(error)),
            }
            let facts = facts.map(|facts| facts.map_err(|error: AwsError| (error.to_string(), error)));
            let context = StepContext {
                policy: &policy,
                settings: &self.settings,
                levels: &levels,
                facts: facts
                    .as_ref()
                    .map(|facts| facts.as_ref().map_err(|(message, _)| message.as_str())),
            };
            let has_open_start = Cell::new(false);
            let is_reviewed = Cell::new(false);
            let request = RefCell::new(new.start_request(caller.now));
            let (stepped, stage, lacks_facts, waits_for_fleet) = update_document(
                clients,
                &key,
                loaded,
                &caller,
                || ModelDocument::new(&model),
                |document| {
                    // Log lines belong to the incident, also if another alert joins it.
                    telemetry::record_correlation_id(document.correlation_id());
                    let wanted = document.needs(&input, &caller);
                    // Another writer was faster, and its change needs more than was read: nothing is decided on a part.
                    let is_read = needs.cover(&wanted, &levels);
                    let facts = context.facts.filter(|_| is_read);
                    let context = StepContext { facts, ..context };
                    is_reviewed.set(facts.is_some_and(|facts| facts.is_ok()));
                    let stepped = document.step(input.clone(), context, &caller);
                    telemetry::record_correlation_id(document.correlation_id());
                    request.replace(document.start_request(caller.now));
                    let lacks_facts = (wanted.facts && !is_read) || (facts.is_none() && document.is_deciding());
                    (stepped, document.stage(), lacks_facts, document.waits_for_fleet())
                },
                async |effect| {
                    // Without facts, the start was not reviewed: what it rests on may have changed.
                    let executed = if effect.is_start() && !is_reviewed.get() {
                        let unread = facts.as_ref().and_then(|facts| facts.as_ref().err());
                        Err(unread.map_or_else(|| changed_meanwhile(&key), |(_, error)| error.clone()))
                    } else {
                        let request = request.borrow().clone();
                        self.execute(clients, request, effect, &policy).await
                    };
                    let is_open = effect.is_start() && !executed.as_ref().is_ok_and(ModelEffectOutcome::is_executed);
                    has_open_start.set(has_open_start.get() || is_open);
                    executed
                },
            )
            .await?;
            if stepped != StepOutcome::Unchanged {
                outcome = stepped;
            }
            tracing::info!(model = %model, stepped = ?stepped, stage = stage.as_str(), "model handled");
            if let Some(Err((_, error))) = facts {
                // The input is stored. The retry or the sweep decides.
                return Err(UpdateError::from(error).into());
            }
            if waits_for_fleet {
                // So that many waiting models are noticed.
                let wait = |fleet: &mut Fleet| fleet.wait(&request.borrow(), &policy.fleet());
                update_shared(clients, FLEET_KEY, wait).await?;
            }
            if !(lacks_facts || has_open_start.get()) {
                break;
            }
            loaded = load(clients, &key).await?;
            // Another writer was faster, and its change requires a decision, for which no facts have been collected; or the start
            // of the retraining was answered with a refusal.
            if !(lacks_facts || loaded.document().is_some_and(ModelDocument::has_start_answer)) {
                break;
            }
            input = Input::Tick;
            levels.clear();
        }
        Ok(match outcome {
            StepOutcome::Changed => Handled::Changed { model },
            StepOutcome::Unchanged => Handled::Known { model },
            StepOutcome::Refused(refusal) => Handled::Refused { model, refusal },
        })
    }

    /// The levels of monitors and alarms that a step needs, and that are not known.
    async fn unread_levels<W: RemediateClients>(
        &self,
        clients: &W,
        needs: &Needs,
        known: &Levels,
        model: &str,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Levels, AwsError> {
        let unread = needs.levels.iter().filter(|schedule| !known.contains_key(*schedule));
        let unread = join_all(unread.map(|schedule| self.level(clients, schedule, policy, now)));
        let alarms = alarms::levels(clients, &needs.alarms, model, policy, now);
        let (read, alarms) = join(unread, alarms).await;
        let mut levels = alarms?;
        for level in read {
            levels.extend(level?);
        }
        Ok(levels)
    }

    /// The level of a monitor now. `None` if its ledger does not exist: then its last event counts. A ledger that cannot be parsed is
    /// an error, because it may contain broken data: nothing is decided and nothing is started.
    async fn level(
        &self,
        clients: &impl Documents,
        schedule: &str,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Option<(String, alerting::Level)>, AwsError> {
        let key = MonitorLedger::key(schedule);
        let loaded = load::<MonitorLedger>(clients, &key)
            .await
            .map_err(|error| match error {
                UpdateError::Aws(error) => error,
                error => AwsError {
                    operation: "s3:GetObject",
                    resource: key.clone(),
                    kind: Kind::Rejected,
                    message: machine::chain(&error),
                },
            })?;
        let Some(ledger) = loaded.document() else {
            return Ok(None);
        };
        let rules = policy.monitor(&MonitorRef::from(&ledger.monitor));
        Ok(Some((schedule.to_owned(), ledger.level(&rules.rules, now))))
    }

    /// Sweeps a model: checks the status of its pipeline execution, in case its event was lost; decides again or verifies; executes
    /// pending effects. Does nothing if the model has no document and no monitor in alert. Returns whether the model had an open
    /// incident or pending effects. `alarms` is the list of CloudWatch, if it could be read.
    ///
    /// # Errors
    /// As [`Remediate::take`].
    pub async fn sweep<W: RemediateClients>(
        &self,
        clients: &W,
        model: &str,
        levels: Levels,
        alarms: Option<&ListedAlarms>,
        request_id: &str,
    ) -> Result<bool, Error> {
        let loaded = load::<ModelDocument>(clients, &model_key(model)).await?;
        let policy = self.policy.load(clients).await.map_err(Error::Policy)?;
        let mut inputs = alarms::lost_inputs(loaded.document(), model, &policy, alarms);
        let mut is_open = false;
        if let Some(document) = loaded.document() {
            is_open = document.incident.is_some() || !document.outbox.is_empty();
            inputs.extend(self.lost_inputs(clients, document, &policy).await?);
        }
        // After an applied input, the loaded document is outdated.
        let mut known = Some(loaded).filter(|_| inputs.is_empty());
        inputs.push(Input::Tick);
        for input in inputs {
            let span = telemetry::span_for(Some(model), None, None);
            let taken = self.take_known(
                clients,
                model.to_owned(),
                known.take(),
                levels.clone(),
                input,
                request_id,
            );
            taken.instrument(span).await?;
        }
        Ok(is_open)
    }

    /// What happened to the monitors of a model, to the retraining of the open incident, and to its candidate, in case an event was
    /// lost.
    async fn lost_inputs<W: RemediateClients>(
        &self,
        clients: &W,
        document: &ModelDocument,
        policy: &Policy,
    ) -> Result<Vec<Input>, Error> {
        let mut inputs = Vec::new();
        let snapshots = document.alerts.values().filter_map(|alert| alert.snapshot.as_ref());
        // Monitors that belong to another model by now. Alarms are compared with the list of CloudWatch.
        let left = snapshots.filter(|alert| {
            let monitor = MonitorRef {
                schedule: &alert.monitoring_schedule,
                endpoint: alert.endpoint.as_deref(),
                monitor_type: alert.monitor_type.as_deref(),
            };
            alarm_name(&alert.monitoring_schedule).is_none() && policy.monitor(&monitor).model != document.model
        });
        inputs.extend(left.map(|alert| Input::Retired {
            monitoring_schedule: alert.monitoring_schedule.clone(),
        }));
        let Some(open) = &document.incident else {
            return Ok(inputs);
        };
        let stage = open.stage();
        let run = open.execution();
        // An execution that failed may have been retried.
        if let Some(run) = run.filter(|_| matches!(stage, Stage::Retraining | Stage::Escalated)) {
            let arn = &run.arn;
            let described = if arn.contains(":states:") {
                clients.describe_execution(arn).await
            } else if arn.starts_with("arn:") {
                clients.execution(arn).await
            } else {
                // An external retraining service reports it.
                Ok(None)
            };
            match described {
                Ok(Some(execution)) if execution.status != run.status => inputs.push(Input::PipelineExecution {
                    incident: open.number,
                    execution,
                    at: clients.now(),
                }),
                Ok(_) => {}
                Err(error) if error.kind == Kind::NotFound => inputs.push(Input::RunUnknown {
                    execution_arn: arn.clone(),
                }),
                Err(error) => {
                    tracing::warn!(error = %error, model = document.model, "failed to read the status of the retraining");
                }
            }
        }
        if matches!(stage, Stage::Retraining | Stage::Candidate) {
            let experiments = load::<ExperimentDocument>(clients, &ExperimentDocument::key(&document.model)).await?;
            let statuses = experiments.document().map(CandidateStatus::all_from_document);
            inputs.extend(statuses.unwrap_or_default().into_iter().map(Input::Experiment));
        }
        Ok(inputs)
    }

    /// Executes an effect. A start takes a slot of the fleet first.
    async fn execute<W: RemediateClients>(
        &self,
        clients: &W,
        request: StartRequest,
        effect: &ModelEffect,
        policy: &Policy,
    ) -> Result<ModelEffectOutcome, AwsError> {
        if let Some(incident) = effect.start_of() {
            let now = clients.now();
            let request = StartRequest { at: now, ..request };
            let within = policy.model(&request.model).retraining_within;
            let until = now.saturating_add(within).unwrap_or(Timestamp::MAX);
            let take = |fleet: &mut Fleet| fleet.take(&request, incident, until, &policy.fleet());
            let mut taken = update_shared(clients, FLEET_KEY, take).await.map_err(fleet_error)?;
            if taken.is_err() {
                let known: Fleet = load_shared(clients, FLEET_KEY).await.map_err(fleet_error)?;
                let ended = ended(clients, &known).await;
                let take = |fleet: &mut Fleet| {
                    for (slot, has_begun) in &ended {
                        fleet.free_slot(slot, *has_begun);
                    }
                    fleet.take(&request, incident, until, &policy.fleet())
                };
                taken = update_shared(clients, FLEET_KEY, take).await.map_err(fleet_error)?;
            }
            if let Err(reason) = taken {
                return Ok(ModelEffectOutcome::Held(reason));
            }
        }
        match effect {
            ModelEffect::StartPipelineExecution(start) => {
                let arn = clients.start(start).await?;
                tracing::info!(pipeline.execution = %arn, pipeline.name = %start.pipeline, "retraining pipeline started");
                return Ok(ModelEffectOutcome::Started(arn));
            }
            ModelEffect::StartStateMachine(start) => {
                let arn = clients.start_execution(start).await?;
                tracing::info!(execution = %arn, "retraining state machine started");
                return Ok(ModelEffectOutcome::Started(arn));
            }
            ModelEffect::PutIncidentClosed(closed) => {
                audit::publish(clients, &Event::IncidentClosed(closed.clone())).await?;
            }
            ModelEffect::PutRemediationDecided(decided) => {
                audit::publish(clients, &Event::RemediationDecided(decided.clone())).await?;
                tracing::info!(model = %decided.model, incident = decided.incident, verdict = decided.verdict.as_str(), "decision made");
            }
            ModelEffect::PutHealthStateChange(change) => clients.put(&Event::HealthStateChange(change.clone())).await?,
            ModelEffect::PutRetrainingStatusChange(change) => {
                audit::publish(clients, &Event::RetrainingStatusChange(change.clone())).await?;
            }
        }
        Ok(ModelEffectOutcome::Published)
    }

    /// Facts for a decision that only AWS knows.
    async fn facts<W: Documents + Pipelines + ModelCards>(
        &self,
        clients: &W,
        model: &str,
        incident: u64,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Facts, AwsError> {
        let rules = policy.model(model);
        let executions = async {
            match rules.retraining.start {
                StartKind::Pipeline => {
                    let pipeline = rules.retraining.pipeline.as_deref().unwrap_or(&self.settings.pipeline);
                    let own = rules.retraining.parameters.iter();
                    let own: Vec<&str> = own
                        .filter(|(_, template)| *template == "{model}")
                        .map(|(name, _)| name.as_str())
                        .collect();
                    let oldest = now.saturating_sub(rules.retraining_within).unwrap_or(Timestamp::MIN);
                    let listed = recent_executions(clients, pipeline, oldest).await?;
                    let is_own = |known: &&PipelineExecutionSummary| {
                        parse_display_name(&known.display_name) == Some((model, incident))
                    };
                    let own_execution = listed.iter().find(is_own).map(|known| known.execution.clone());
                    Ok((in_progress(clients, model, listed, &own).await?, own_execution))
                }
                StartKind::StateMachine | StartKind::Event => Ok((Vec::new(), None)),
            }
        };
        let risk_rating = async {
            match rules.risk_rating {
                Some(rating) => Ok(rating),
                None if rules.automation.is_some() => Ok(RiskRating::Unknown),
                None => clients.risk_rating(&rules.model_card).await,
            }
        };
        let fleet = async {
            let mut fleet: Fleet = load_shared(clients, FLEET_KEY).await.map_err(fleet_error)?;
            let check = |fleet: &Fleet| fleet.check(model, incident, &policy.fleet(), now).err();
            if check(&fleet).is_none() {
                return Ok(None);
            }
            for (slot, has_begun) in ended(clients, &fleet).await {
                fleet.free_slot(&slot, has_begun);
            }
            Ok(check(&fleet))
        };
        let (executions, risk_rating, paused, fleet) = join4(executions, risk_rating, read_pause(clients), fleet).await;
        let (in_flight, own_execution) = executions?;
        Ok(Facts {
            in_flight,
            own_execution,
            risk_rating: risk_rating?,
            paused: paused?,
            fleet: fleet?,
        })
    }

    /// Finds the incident of a pipeline execution: by the display name if this function started it, or by the parameters if a rule
    /// started it.
    async fn route_pipeline(
        &self,
        clients: &impl Pipelines,
        change: &PipelineExecutionStatusChange,
        at: Timestamp,
    ) -> Result<Routed<(String, Input)>, Error> {
        let Some(status) = ExecutionStatus::parse(&change.status) else {
            return Ok(Err(Ignored(format!("`{}` is not a known status", change.status))));
        };
        let execution = PipelineExecution {
            arn: change.execution_arn.clone(),
            status,
            start_time: change.start_time,
            end_time: change.end_time,
        };
        let by_name = change.display_name.as_deref().and_then(parse_display_name);
        if let Some((model, incident)) = by_name {
            return Ok(Ok((
                model.to_owned(),
                Input::PipelineExecution {
                    incident,
                    execution,
                    at,
                },
            )));
        }
        let foreign = || Err(Ignored(format!("Driftwarden did not start `{}`", change.execution_arn)));
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
                Some((
                    model.clone(),
                    Input::PipelineExecution {
                        incident,
                        execution,
                        at,
                    },
                ))
            })
            .map_or_else(foreign, Ok))
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

/// Why a pending start is not executed in this step.
fn changed_meanwhile(key: &str) -> AwsError {
    AwsError {
        operation: "s3:PutObject",
        resource: key.to_owned(),
        kind: Kind::Transient,
        message: "another writer changed it; the start is reviewed again".to_owned(),
    }
}

/// An error of the state over all models. A start is attempted again when it can be read.
fn fleet_error(error: UpdateError) -> AwsError {
    match error {
        UpdateError::Aws(error) => error,
        error => AwsError {
            operation: "s3:GetObject",
            resource: FLEET_KEY.to_owned(),
            kind: Kind::Transient,
            message: machine::chain(&error),
        },
    }
}

/// The slots of retrainings that have ended or never began, and whether they had begun. Their models know.
async fn ended(clients: &impl Documents, fleet: &Fleet) -> Vec<(Slot, bool)> {
    let ended = join_all(fleet.slots.iter().map(async |slot| {
        // If the document cannot be read, the retraining may be in progress.
        let loaded = load::<ModelDocument>(clients, &model_key(&slot.model)).await.ok()?;
        let Some(document) = loaded.document() else {
            return Some((slot.clone(), true));
        };
        let is_in_progress = document.retrains_for(slot.incident);
        (!is_in_progress).then(|| (slot.clone(), document.has_retrained_for(slot.incident)))
    }));
    ended.await.into_iter().flatten().collect()
}

/// Executions of a pipeline that began after a time, and some earlier ones, newest first. Other models may share the pipeline.
async fn recent_executions(
    clients: &impl Pipelines,
    pipeline: &str,
    oldest: Timestamp,
) -> Result<Vec<PipelineExecutionSummary>, AwsError> {
    let mut executions = Vec::new();
    let mut next = None;
    for _ in 0..MAX_EXECUTION_PAGES {
        let page = clients.executions_of_pipeline(pipeline, next.as_deref()).await?;
        executions.extend(page.executions);
        let last: Option<&PipelineExecutionSummary> = executions.last();
        let is_old = last.is_some_and(|last| last.execution.start_time.is_some_and(|start| start < oldest));
        next = page.next.filter(|_| !is_old);
        if next.is_none() {
            return Ok(executions);
        }
    }
    tracing::warn!(
        pipeline,
        executions = executions.len(),
        "older executions of the pipeline not listed"
    );
    Ok(executions)
}

/// Executions of a pipeline in progress that belong, or may belong, to a model: those of its incidents, and those that an operator
/// or another process started, unless their parameters name another model. `own` are the names of the parameters with the name of
/// the model.
async fn in_progress(
    clients: &impl Pipelines,
    model: &str,
    listed: Vec<PipelineExecutionSummary>,
    own: &[&str],
) -> Result<Vec<String>, AwsError> {
    let running = listed.into_iter().filter(|listed| !listed.execution.status.is_final());
    let runs = join_all(running.map(async |listed| {
        let arn = listed.execution.arn;
        let is_other = if let Some((other, _)) = parse_display_name(&listed.display_name) {
            other != model
        } else {
            let parameters = clients.parameters(&arn).await?;
            let names = own.iter().copied().chain(["DriftwardenModel"]);
            let mut values = names.filter_map(|name| parameters.get(name));
            values.next().is_some_and(|other| other != model && other != "none")
        };
        Ok((!is_other).then_some(arn))
    }))
    .await;
    runs.into_iter().filter_map(Result::transpose).collect()
}

/// The status of a retraining outside of AWS, as its service reported it.
fn route_reported(reported: RetrainingStatusReported) -> Routed<(String, Input)> {
    let (model, incident) = parse_incident_id(&reported.incident_id)?;
    let execution = PipelineExecution {
        arn: reported.execution_arn,
        status: reported.status,
        start_time: None,
        end_time: reported.status.is_final().then_some(reported.time),
    };
    let at = reported.time;
    Ok((
        model,
        Input::PipelineExecution {
            incident,
            execution,
            at,
        },
    ))
}

/// Splits an incident ID into model and number.
fn parse_incident_id(incident_id: &str) -> Routed<(String, u64)> {
    let parts = incident_id
        .rsplit_once('-')
        .and_then(|(model, number)| Some((model, number.parse().ok()?)));
    let (model, number) = parts.ok_or_else(|| Ignored(format!("`{incident_id}` is not an incident ID")))?;
    Ok((model.to_owned(), number))
}

/// Finds the incident of a Step Functions execution in its input.
fn route_state_machine(detail: &Value, at: Timestamp) -> Routed<(String, Input)> {
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
        return Err(Ignored(
            "Driftwarden did not start the Step Functions execution".to_owned(),
        ));
    };
    let execution = PipelineExecution {
        arn: arn.to_owned(),
        status,
        start_time: time("/startDate"),
        end_time: time("/stopDate"),
    };
    Ok((
        model.to_owned(),
        Input::PipelineExecution {
            incident,
            execution,
            at,
        },
    ))
}

fn ignored(reason: String) -> Handled {
    tracing::debug!(reason = %reason, "event ignored");
    Handled::Ignored { reason }
}
