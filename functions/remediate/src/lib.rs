//! `remediate`: alerts and pipeline executions in, one decision and one retraining an incident out.
//!
//! | event | what it does |
//! | --- | --- |
//! | `Model Monitor Alert State Change` (our bus) | opens, joins or closes the model's incident |
//! | `SageMaker Model Building Pipeline Execution Status Change` | follows the incident's execution to its end |
//!
//! The decision itself is the pure crate `remediation`; here its document is loaded, written, and its effects carried
//! out.

mod error;

pub use error::RemediateError;

use alerting::{AlertStateChange, MODEL_MONITOR_ALERT_STATE_CHANGE};
use model_monitor::{Detail, Event, PipelineExecutionStatusChange};
use outbox::Caller;
use remediation::{
    ExecutionStatus, Input, ModelDocument, ModelEffect, PipelineExecution, PipelineStart, REMEDIATION_DECIDED,
    RETRAINING_PIPELINE_EXECUTION_STATUS_CHANGE, Settings, Stepped, model_of_display_name,
};
use serde::Serialize;
use shell::{
    AwsError, Kind, LEASE, PolicyStore, TurnError,
    config::{ConfigError, Vars},
    load,
    ports::{Clock, Documents, EventBus, Pipelines},
    turn,
};

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
    pub async fn handle<W: Documents + EventBus + Pipelines + Clock>(
        &self,
        world: &W,
        payload: &str,
        request_id: &str,
    ) -> Result<Handled, RemediateError> {
        let event = Event::parse("event", payload.as_bytes()).map_err(RemediateError::Event)?;
        let (model, input) = match event.detail {
            Detail::PipelineExecution(change) => match self.incident_of(world, &change).await? {
                Some((model, incident)) => match execution(&change) {
                    Some(execution) => (model, Input::PipelineExecution { incident, execution }),
                    None => return Ok(ignored(format!("status `{}` says nothing", change.status))),
                },
                None => {
                    return Ok(ignored(format!(
                        "`{}` is not an execution of ours",
                        change.execution_arn
                    )));
                }
            },
            Detail::Other(detail) if event.detail_type == MODEL_MONITOR_ALERT_STATE_CHANGE => {
                let alert: AlertStateChange = serde_json::from_value(detail).map_err(RemediateError::Alert)?;
                (alert.model.clone(), Input::Alert(Box::new(alert)))
            }
            _ => return Ok(ignored(format!("`{}` does not concern remediation", event.detail_type))),
        };

        let key = format!("models/{model}.json");
        let caller = Caller {
            id: request_id.to_owned(),
            now: world.now(),
            lease: LEASE,
        };
        let (policy, loaded) = futures_util::future::join(self.policy.load(world), load(world, &key)).await;
        let policy = policy.map_err(RemediateError::Policy)?;
        let stepped = turn(
            world,
            &key,
            loaded?,
            &caller,
            || ModelDocument::new(&model),
            |document| document.step(input.clone(), &policy, &self.settings, &caller),
            async |effect| carry_out(world, effect).await,
        )
        .await?;
        tracing::info!(model = %model, stepped = ?stepped, detail_type = %event.detail_type, "event handled");
        Ok(match stepped {
            Stepped::Changed => Handled::Changed { model },
            Stepped::Nothing => Handled::Known { model },
        })
    }

    /// The model and the number of the incident that an execution is for. An execution that this function started says
    /// so in its display name; of one that a rule started only its parameters can tell.
    async fn incident_of(
        &self,
        world: &impl Pipelines,
        change: &PipelineExecutionStatusChange,
    ) -> Result<Option<(String, u64)>, RemediateError> {
        let by_name = change.display_name.as_deref().and_then(model_of_display_name);
        if let Some((model, number)) = by_name {
            return Ok(Some((model.to_owned(), number)));
        }
        if self.settings.pipeline_start == PipelineStart::Remediate {
            return Ok(None);
        }
        let parameters = match world.parameters(&change.execution_arn).await {
            Ok(parameters) => parameters,
            Err(AwsError {
                kind: Kind::NotFound, ..
            }) => return Ok(None),
            Err(error) => return Err(TurnError::from(error).into()),
        };
        Ok(parameters
            .get("DriftwardenModel")
            .zip(parameters.get("DriftwardenIncident"))
            .and_then(|(model, incident)| {
                let number = incident.strip_prefix(model.as_str())?.strip_prefix('-')?.parse().ok()?;
                Some((model.clone(), number))
            }))
    }
}

fn ignored(reason: String) -> Handled {
    tracing::debug!(reason = %reason, "event ignored");
    Handled::Ignored { reason }
}

fn execution(change: &PipelineExecutionStatusChange) -> Option<PipelineExecution> {
    Some(PipelineExecution {
        arn: change.execution_arn.clone(),
        status: ExecutionStatus::parse(&change.status)?,
        start_time: change.start_time,
        end_time: change.end_time,
    })
}

async fn carry_out(world: &(impl EventBus + Pipelines), effect: &ModelEffect) -> Result<Option<String>, AwsError> {
    match effect {
        ModelEffect::StartPipelineExecution(start) => {
            let arn = world.start(start).await?;
            tracing::info!(pipeline.execution = %arn, pipeline.name = %start.pipeline, "retraining pipeline started");
            Ok(Some(arn))
        }
        ModelEffect::PutRemediationDecided(decided) => {
            world.put(REMEDIATION_DECIDED, json(decided)?).await?;
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
