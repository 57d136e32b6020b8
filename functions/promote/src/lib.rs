#![doc = include_str!("../README.md")]

mod effects;
mod error;
mod evidence;

pub use error::PromoteError;

use futures_util::future::join;
use jiff::{SignedDuration, Timestamp};
use model_monitor::{Detail, EndpointName, Event, ModelPackageStateChange, S3Uri};
use outbox::Caller;
use promotion::{
    BaselineDocument, BaselinesCreated, Candidate, EXPERIMENT_COMMAND, EXPERIMENT_OUTCOMES_REPORTED, ExperimentCommand,
    ExperimentDocument, ExperimentStage, Given, Input, MODEL_BASELINES_CREATED, Mode, ModelPackage, MonitorBaseline,
    OutcomesReported, PromotionPolicy, Stepped,
};
use remediation::{ModelDocument, MonitorOf, Policy};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use shell::{
    LEASE, PolicyStore,
    config::{ConfigError, Vars},
    load,
    ports::{
        Clock, Datasets, DescribedModelPackage, Documents, EventBus, Fetched, FetchedObject, Hosting, MetricData,
        ModelPackages, MonitoringBaselines, Reports,
    },
    telemetry, turn,
};
use std::collections::BTreeSet;
use tracing::Instrument as _;

/// So long before the function's deadline no other model is begun with.
const RESERVE: SignedDuration = SignedDuration::from_secs(20);
/// A candidate that no event told of is looked for so often, in minutes: each model at a minute of its own.
const LOOKS_EVERY: u64 = 10;
/// A report of a model package is at most this large.
const MAX_REPORT: u64 = 16 << 20;

/// What promotion touches of AWS.
pub trait World:
    Documents + EventBus + Hosting + ModelPackages + MetricData + MonitoringBaselines + Datasets + Reports + Clock
{
}

impl<W> World for W where
    W: Documents + EventBus + Hosting + ModelPackages + MetricData + MonitoringBaselines + Datasets + Reports + Clock
{
}

/// The function.
#[derive(Debug, Default)]
pub struct Promote {
    policy: PolicyStore,
}

/// What became of an event: the function's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Handled {
    /// The document of the model's experiments took it.
    Changed {
        /// The model.
        model: String,
    },
    /// The document knew it already, or it changes nothing.
    Known {
        /// The model.
        model: String,
    },
    /// Every model was looked after.
    Ticked {
        /// How many.
        models: usize,
        /// How many were left for the next tick, for want of time.
        left: usize,
    },
    /// It does not concern us.
    Ignored {
        /// Why.
        reason: String,
    },
}

impl Promote {
    /// The function as the environment configures it, with the state bucket and the event bus.
    ///
    /// # Errors
    /// If a variable is missing or wrong.
    pub fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(Self, String, String), ConfigError> {
        let state_bucket = vars.bucket("STATE_BUCKET")?;
        let event_bus = vars.required("EVENT_BUS_NAME", "the name of the EventBridge bus")?;
        Ok((Self::default(), state_bucket, event_bus))
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
        deadline: Timestamp,
    ) -> Result<Handled, PromoteError> {
        let event = Event::parse("event", payload.as_bytes()).map_err(PromoteError::Event)?;
        let detail_type = event.detail_type.as_str();
        let policy = self.policy.load(world).await.map_err(PromoteError::Policy)?;
        let (model, input) = match event.detail {
            Detail::ModelPackage(change) => return self.of_package(world, &policy, &change, request_id).await,
            Detail::Endpoint(change) => {
                let promoted = policy.promoted_models().into_iter();
                let mut models = promoted.filter(|(_, promotion)| promotion.endpoint == change.name);
                match models.next() {
                    Some((model, _)) => (model, Input::Tick),
                    None => return Ok(ignored(format!("no candidate is tested on endpoint `{}`", change.name))),
                }
            }
            Detail::Other(detail) => match detail_type {
                EXPERIMENT_COMMAND => {
                    let command: ExperimentCommand = read(detail, detail_type)?;
                    (command.model.clone(), Input::Command(command))
                }
                EXPERIMENT_OUTCOMES_REPORTED => {
                    let reported: OutcomesReported = read(detail, detail_type)?;
                    (reported.model.clone(), Input::Outcomes(reported))
                }
                MODEL_BASELINES_CREATED => {
                    let created: BaselinesCreated = read(detail, detail_type)?;
                    (created.model.clone(), Input::Baselines(Box::new(created)))
                }
                "Scheduled Event" => return self.tick(world, &policy, request_id, deadline).await,
                _ => return Ok(ignored(format!("`{detail_type}` does not concern promotion"))),
            },
            _ => return Ok(ignored(format!("`{detail_type}` does not concern promotion"))),
        };
        self.take(world, &policy, model, input, request_id).await
    }

    /// A version of a model's group: a candidate, if it is complete.
    async fn of_package<W: World>(
        &self,
        world: &W,
        policy: &Policy,
        change: &ModelPackageStateChange,
        request_id: &str,
    ) -> Result<Handled, PromoteError> {
        let group = change.group.as_deref().unwrap_or_default();
        let Some((model, promotion)) = of_group(policy, group) else {
            return Ok(ignored(format!("no model's candidates are of the group `{group}`")));
        };
        let Some(described) = world.model_package(&change.arn).await? else {
            return Ok(ignored(format!("model package {} does not exist any more", change.arn)));
        };
        if described.status != "Completed" {
            return Ok(ignored(format!("model package {} is {}", change.arn, described.status)));
        }
        let candidate = candidate(world, &model, &promotion, described).await?;
        self.take(world, policy, model, Input::Candidate(Box::new(candidate)), request_id)
            .await
    }

    /// Takes one input for a model: asks what is to be known, changes the document, carries out what it owes.
    ///
    /// # Errors
    /// If AWS fails.
    pub async fn take<W: World>(
        &self,
        world: &W,
        policy: &Policy,
        model: String,
        input: Input,
        request_id: &str,
    ) -> Result<Handled, PromoteError> {
        let about = telemetry::about(Some(&model), None, None);
        let taken = self.take_about(world, policy, model, input, request_id);
        taken.instrument(about).await
    }

    async fn take_about<W: World>(
        &self,
        world: &W,
        policy: &Policy,
        model: String,
        input: Input,
        request_id: &str,
    ) -> Result<Handled, PromoteError> {
        let promotion = policy.promotion(&model);
        let key = ExperimentDocument::key(&model);
        let loaded = load::<ExperimentDocument>(world, &key).await?;
        telemetry::correlated(loaded.document().and_then(ExperimentDocument::correlation_id));
        let known = loaded.document().and_then(|document| document.experiment.as_ref());
        let concerns = known.is_some() || matches!(input, Input::Candidate(_) | Input::Baselines(_));
        // An experiment stays on the endpoint that it began on.
        let name = known.map_or(promotion.endpoint.as_str(), |open| open.endpoint.as_str());
        let endpoint = async { if concerns { world.endpoint(name).await } else { Ok(None) } };
        let evidence = async {
            match known {
                Some(open) => evidence::evidence(world, &promotion, open).await,
                None => Ok(None),
            }
        };
        let (endpoint, evidence) = join(endpoint, evidence).await;
        let (endpoint, evidence) = (endpoint?, evidence?);
        let monitors = match known.filter(|open| open.needs_monitors(&promotion)) {
            Some(open) => Some(monitors(world, policy, &model, &open.endpoint).await?),
            None => None,
        };
        let given = Given {
            policy: &promotion,
            endpoint: endpoint.as_ref(),
            evidence: evidence.as_ref(),
            monitors: monitors.as_deref(),
        };
        let caller = Caller {
            id: request_id.to_owned(),
            now: world.now(),
            lease: LEASE,
        };
        let (stepped, stage) = turn(
            world,
            &key,
            loaded,
            &caller,
            || ExperimentDocument::new(&model),
            |document| {
                let stepped = document.step(&input, given, &caller);
                telemetry::correlated(document.correlation_id());
                (stepped, document.experiment.as_ref().map(|open| open.stage))
            },
            async |effect| effects::carry_out(world, effect).await,
        )
        .await?;
        let stage = stage.map_or("none", ExperimentStage::as_str);
        tracing::info!(model = %model, stepped = ?stepped, stage, "experiment handled");
        Ok(match stepped {
            Stepped::Changed => Handled::Changed { model },
            Stepped::Nothing => Handled::Known { model },
        })
    }

    /// Looks after every model that has experiments, or could have.
    async fn tick<W: World>(
        &self,
        world: &W,
        policy: &Policy,
        request_id: &str,
        deadline: Timestamp,
    ) -> Result<Handled, PromoteError> {
        let documents = world.list("experiments/").await?;
        let known = documents
            .iter()
            .filter_map(|key| key.strip_prefix("experiments/")?.strip_suffix(".json"));
        let mut models: BTreeSet<String> = known.map(str::to_owned).collect();
        models.extend(policy.promoted_models().into_iter().map(|(model, _)| model));
        let until = deadline.checked_sub(RESERVE).unwrap_or(deadline);
        let (mut left, mut failures) = (0, Vec::new());
        for model in &models {
            if world.now() > until {
                left += 1;
                continue;
            }
            if let Err(error) = self.look_after(world, policy, model, request_id).await {
                tracing::error!(model = %model, error = %error, "model not looked after");
                failures.push(format!("model {model}: {}", shell::chain(&error)));
            }
        }
        let failed = failures.len();
        match failures.into_iter().next() {
            None => Ok(Handled::Ticked {
                models: models.len() - left,
                left,
            }),
            Some(first) => Err(PromoteError::Some {
                failed,
                all: models.len(),
                first,
            }),
        }
    }

    /// Lets a model's experiment go on; finds the candidate that no event told of, and takes the one that waited.
    async fn look_after<W: World>(
        &self,
        world: &W,
        policy: &Policy,
        model: &str,
        request_id: &str,
    ) -> Result<(), PromoteError> {
        let loaded = load::<ExperimentDocument>(world, &ExperimentDocument::key(model)).await?;
        let document = loaded.document();
        let open = document.and_then(|document| document.experiment.as_ref());
        let owes = document.is_some_and(|document| !document.outbox.is_empty());
        if open.is_some() || owes {
            self.take(world, policy, model.to_owned(), Input::Tick, request_id)
                .await?;
        }
        let waits = open.is_some_and(|open| open.stage == ExperimentStage::AwaitingApproval);
        let next = document
            .and_then(|document| document.next.as_ref())
            .filter(|_| open.is_none());
        let promotion = policy.promotion(model);
        if promotion.mode == Mode::Off {
            return Ok(());
        }
        let arn = match (next, open) {
            (Some(next), _) => Some(next.arn.clone()),
            (None, Some(open)) if waits && is_turn_of(model, world.now()) => Some(open.package.arn.clone()),
            (None, None) if is_turn_of(model, world.now()) => self.untold(world, &promotion).await?,
            _ => None,
        };
        let described = match &arn {
            Some(arn) => world.model_package(arn).await?,
            None => None,
        };
        if let Some(described) = described.filter(|described| described.status == "Completed") {
            let candidate = candidate(world, model, &promotion, described).await?;
            self.take(
                world,
                policy,
                model.to_owned(),
                Input::Candidate(Box::new(candidate)),
                request_id,
            )
            .await?;
        }
        Ok(())
    }

    /// The newest package of the group, if it was registered not long ago: an older one was never meant as a candidate.
    async fn untold<W: World>(&self, world: &W, promotion: &PromotionPolicy) -> Result<Option<String>, PromoteError> {
        let oldest = world
            .now()
            .checked_sub(promotion.candidate_within)
            .unwrap_or(Timestamp::MIN);
        let packages = world.newest_packages(&promotion.model_package_group).await?;
        let newest = packages.into_iter().next().filter(|(_, created)| *created >= oldest);
        Ok(newest.map(|(arn, _)| arn))
    }
}

/// Whether it is a model's turn in this minute to be looked after thoroughly: another minute for each, so that SageMaker is
/// asked evenly.
fn is_turn_of(model: &str, now: Timestamp) -> bool {
    let name = model
        .bytes()
        .fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let minute = now.as_second().div_euclid(60).unsigned_abs();
    minute.wrapping_add(name).is_multiple_of(LOOKS_EVERY)
}

/// The model whose candidates are the versions of a group.
fn of_group(policy: &Policy, group: &str) -> Option<(String, PromotionPolicy)> {
    let mut promoted = policy.promoted_models().into_iter();
    let named = promoted.find(|(_, promotion)| promotion.model_package_group == group);
    named.or_else(|| {
        // A model that the policy does not name is called as its group is.
        let promotion = policy.promotion(group);
        (promotion.mode != Mode::Off && promotion.model_package_group == group).then(|| (group.to_owned(), promotion))
    })
}

/// A package beside the champion's, each with the metric of the gate, if there is a gate.
async fn candidate<W: World>(
    world: &W,
    model: &str,
    promotion: &PromotionPolicy,
    described: DescribedModelPackage,
) -> Result<Candidate, PromoteError> {
    let champion = match world.endpoint(&promotion.endpoint).await? {
        Some(endpoint) => {
            let heaviest = endpoint.variants.iter().max_by(|a, b| a.weight.total_cmp(&b.weight));
            let variant = heaviest.map_or("", |variant| variant.name.as_str());
            world.served_package(&endpoint.config, variant).await?
        }
        None => None,
    };
    let champion = match champion {
        Some(arn) if arn == described.package.arn => Some(described.clone()),
        Some(arn) => world.model_package(&arn).await?,
        None => None,
    };
    let package = measured(world, promotion, described).await?;
    let champion = match champion {
        Some(champion) => Some(measured(world, promotion, champion).await?),
        None => None,
    };
    let correlation_id = correlation_id(world, model, &package).await?;
    Ok(Candidate {
        package,
        champion,
        correlation_id,
    })
}

/// The correlation id of the incident whose retraining made a package, if one did. It is not worth a failure: of a document that
/// cannot be read remediation tells.
async fn correlation_id<W: World>(
    world: &W,
    model: &str,
    package: &ModelPackage,
) -> Result<Option<String>, PromoteError> {
    let Fetched::Found(body, _) = world.read(&ModelDocument::key(model), None).await? else {
        return Ok(None);
    };
    let document: Option<ModelDocument> = serde_json::from_slice(&body).ok();
    let id = document
        .as_ref()
        .and_then(|document| document.correlation_id_of_candidate(package.generated_by.as_deref()));
    Ok(id.map(str::to_owned))
}

/// A package with the metric of the gate, as its own report has it.
async fn measured<W: World>(
    world: &W,
    promotion: &PromotionPolicy,
    described: DescribedModelPackage,
) -> Result<ModelPackage, PromoteError> {
    let mut package = described.package;
    let uri = described.model_quality.as_deref().and_then(S3Uri::parse);
    if let (Some(gate), Some(uri)) = (&promotion.gate, uri) {
        let report = match world.report(&uri.bucket, &uri.key, MAX_REPORT).await? {
            FetchedObject::Found(found) => serde_json::from_slice::<Value>(&found.body).ok(),
            FetchedObject::Absent | FetchedObject::TooLarge(_) => None,
        };
        package.metric = report.and_then(|report| report.pointer(&gate.metric)?.as_f64());
        if package.metric.is_none() {
            tracing::warn!(report = %uri, metric = %gate.metric, "the report has no number there");
        }
    }
    Ok(package)
}

/// The monitors of a model with what each is held against now: those of our own, and Model Monitor's on the endpoint.
async fn monitors<W: World>(
    world: &W,
    policy: &Policy,
    model: &str,
    endpoint: &str,
) -> Result<Vec<MonitorBaseline>, PromoteError> {
    let analyses = policy.analyses().into_iter();
    let own = analyses.filter_map(|analysis| {
        let watched = policy.monitor(&MonitorOf {
            schedule: analysis.schedule.as_str(),
            endpoint: analysis.endpoint.as_ref().map(EndpointName::as_str),
            monitor_type: Some(analysis.monitor_type.as_str()),
        });
        (watched.model == model).then(|| MonitorBaseline {
            monitoring_schedule: analysis.schedule.to_string(),
            monitor_type: analysis.monitor_type.to_string(),
            own: true,
            baseline_uri: Some(analysis.baseline.to_string()),
        })
    });
    let mut monitors: Vec<MonitorBaseline> = own.collect();
    for monitor in world.monitors_of(endpoint).await? {
        let known = monitors.iter().map(|known| known.monitoring_schedule.to_lowercase());
        if !known
            .into_iter()
            .any(|known| known == monitor.monitoring_schedule.to_lowercase())
        {
            monitors.push(monitor);
        }
    }
    // An earlier promotion may have changed what the policy says.
    for monitor in &mut monitors {
        if let Fetched::Found(body, _) = world
            .read(&BaselineDocument::key(&monitor.monitoring_schedule), None)
            .await?
        {
            let document: Result<BaselineDocument, _> = serde_json::from_slice(&body);
            match document {
                Ok(document) => monitor.baseline_uri = Some(document.change.baseline_uri),
                Err(error) => tracing::warn!(error = %error, "the document of a monitor's baseline cannot be read"),
            }
        }
    }
    Ok(monitors)
}

fn read<T: DeserializeOwned>(detail: Value, detail_type: &str) -> Result<T, PromoteError> {
    serde_json::from_value(detail).map_err(|source| PromoteError::Detail {
        detail_type: detail_type.to_owned(),
        source,
    })
}

fn ignored(reason: String) -> Handled {
    tracing::debug!(reason = %reason, "event ignored");
    Handled::Ignored { reason }
}
