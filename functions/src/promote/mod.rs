#![doc = include_str!("README.md")]

mod effects;
mod evidence;

use crate::{Error, Function, Incomplete, Request, Resources};
use events::{Event, Incoming, ReceivedEvent};
use futures_util::future::join;
use jiff::{SignedDuration, Timestamp};
use machine::{Caller, Clock, Documents, Fetched, load, parse_document, update_document};
use model_monitor::{Detail, EndpointName, ModelPackageStateChange, S3Uri};
use promotion::{
    BaselineDocument, Candidate, ExperimentDocument, ExperimentStage, Input, Mode, ModelPackage, MonitorBaseline,
    PromotionPolicy, StepContext, StepOutcome,
};
use remediation::{ModelDocument, MonitorRef, Policy};
use serde::Serialize;
use serde_json::Value;
use shell::{
    PolicyStore,
    config::{ConfigError, Vars},
    ports::{
        Datasets, DescribedModelPackage, EventBus, FetchedObject, Hosting, MetricData, ModelPackages,
        MonitoringBaselines, Reports,
    },
    telemetry,
};
use std::collections::BTreeSet;
use tracing::Instrument as _;

/// Time before the function's deadline in which no further model is started.
const DEADLINE_RESERVE: SignedDuration = SignedDuration::from_secs(20);
/// Interval of the search for candidates whose events were lost, in minutes.
const SEARCH_INTERVAL_MINUTES: u64 = 10;
/// Maximum size of a model quality report.
const MAX_REPORT_BYTES: u64 = 16 << 20;

/// AWS clients that the function uses.
pub trait PromoteClients:
    Documents + EventBus + Hosting + ModelPackages + MetricData + MonitoringBaselines + Datasets + Reports + Clock
{
}

impl<W> PromoteClients for W where
    W: Documents + EventBus + Hosting + ModelPackages + MetricData + MonitoringBaselines + Datasets + Reports + Clock
{
}

/// The `promote` function.
#[derive(Debug, Default)]
pub struct Promote {
    policy: PolicyStore,
}

/// Result of handling an event: the function's response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Handled {
    /// The experiment document of the model changed.
    Changed {
        /// Name of the model.
        model: String,
    },
    /// The event was already applied, or has no effect.
    Known {
        /// Name of the model.
        model: String,
    },
    /// The experiments of the models were processed.
    Ticked {
        /// Number of processed models.
        models: usize,
        /// Number of models left for the next tick for lack of time.
        left: usize,
    },
    /// The event does not concern promotion.
    Ignored {
        /// Reason.
        reason: String,
    },
}

impl<C: PromoteClients> Function<C> for Promote {
    type Response = Handled;

    async fn invoke(&self, clients: &C, request: Request<'_>) -> Result<Handled, Error> {
        self.handle(clients, request.payload, request.request_id, request.deadline)
            .await
    }
}

impl Promote {
    /// Creates the function from environment variables. Also returns the resources that its clients use.
    ///
    /// # Errors
    /// If a variable is missing or invalid.
    pub fn from_vars(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<(Self, Resources), ConfigError> {
        Ok((Self::default(), Resources::with_event_bus(vars)?))
    }

    /// Handles one event.
    ///
    /// # Errors
    /// If the event is malformed, or if AWS fails. Lambda retries the event, then sends it to the dead-letter queue.
    pub async fn handle<W: PromoteClients>(
        &self,
        aws: &W,
        payload: &str,
        request_id: &str,
        deadline: Timestamp,
    ) -> Result<Handled, Error> {
        let event = ReceivedEvent::parse(payload)?;
        let policy = self.policy.load(aws).await.map_err(Error::Policy)?;
        let (model, input) = match event.incoming {
            Incoming::Tick => return self.tick(aws, &policy, request_id, deadline).await,
            Incoming::Aws(Detail::ModelPackage(change)) => {
                return self.on_model_package(aws, &policy, &change, request_id).await;
            }
            Incoming::Aws(Detail::Endpoint(change)) => {
                let promoted = policy.promoted_models().into_iter();
                let mut models = promoted.filter(|(_, promotion)| promotion.endpoint == change.name);
                match models.next() {
                    Some((model, _)) => (model, Input::Tick),
                    None => {
                        return Ok(ignored(format!(
                            "promotion is not configured for endpoint `{}`",
                            change.name
                        )));
                    }
                }
            }
            Incoming::Own(Event::ExperimentCommand(command)) => (command.model.clone(), Input::Command(*command)),
            Incoming::Own(Event::OutcomesReported(reported)) => (reported.model.clone(), Input::Outcomes(*reported)),
            Incoming::Own(Event::BaselinesCreated(created)) => (created.model.clone(), Input::Baselines(created)),
            _ => return Ok(ignored(format!("promotion does not handle `{}`", event.detail_type))),
        };
        self.apply(aws, &policy, model, input, request_id).await
    }

    /// Handles a state change of a model package. A complete version of a model's group is a candidate.
    async fn on_model_package<W: PromoteClients>(
        &self,
        aws: &W,
        policy: &Policy,
        change: &ModelPackageStateChange,
        request_id: &str,
    ) -> Result<Handled, Error> {
        let group = change.group.as_deref().unwrap_or_default();
        let Some((model, promotion)) = model_for_group(policy, group) else {
            return Ok(ignored(format!(
                "promotion is not configured for model package group `{group}`"
            )));
        };
        let Some(described) = aws.model_package(&change.arn).await? else {
            return Ok(ignored(format!("model package {} no longer exists", change.arn)));
        };
        if described.status != "Completed" {
            return Ok(ignored(format!(
                "the status of model package {} is {}",
                change.arn, described.status
            )));
        }
        let candidate = build_candidate(aws, &model, &promotion, described).await?;
        self.apply(aws, policy, model, Input::Candidate(Box::new(candidate)), request_id)
            .await
    }

    /// Applies one input to a model's experiments: observes AWS, updates the document, and executes its effects.
    ///
    /// # Errors
    /// If AWS fails.
    pub async fn apply<W: PromoteClients>(
        &self,
        aws: &W,
        policy: &Policy,
        model: String,
        input: Input,
        request_id: &str,
    ) -> Result<Handled, Error> {
        let about = telemetry::span_for(Some(&model), None, None);
        let applied = self.apply_in_span(aws, policy, model, input, request_id);
        applied.instrument(about).await
    }

    async fn apply_in_span<W: PromoteClients>(
        &self,
        aws: &W,
        policy: &Policy,
        model: String,
        input: Input,
        request_id: &str,
    ) -> Result<Handled, Error> {
        let promotion = policy.promotion(&model);
        let key = ExperimentDocument::key(&model);
        let loaded = load::<ExperimentDocument>(aws, &key).await?;
        telemetry::record_correlation_id(loaded.document().and_then(ExperimentDocument::correlation_id));
        let known = loaded.document().and_then(|document| document.experiment.as_ref());
        let needs_endpoint = known.is_some() || matches!(input, Input::Candidate(_) | Input::Baselines(_));
        // An experiment stays on the endpoint on which it was opened.
        let name = known.map_or(promotion.endpoint.as_str(), |open| open.endpoint.as_str());
        let endpoint = async {
            if needs_endpoint {
                aws.endpoint(name).await
            } else {
                Ok(None)
            }
        };
        let evidence = async {
            match known {
                Some(open) => evidence::collect(aws, &promotion, open).await,
                None => Ok(None),
            }
        };
        let (endpoint, evidence) = join(endpoint, evidence).await;
        let (endpoint, evidence) = (endpoint?, evidence?);
        let monitors = match known.filter(|open| open.needs_monitors(&promotion)) {
            Some(open) => list_monitors(aws, policy, &model, &open.endpoint).await?,
            None => None,
        };
        let given = StepContext {
            policy: &promotion,
            endpoint: endpoint.as_ref(),
            evidence: evidence.as_ref(),
            monitors: monitors.as_deref(),
        };
        let caller = Caller::new(request_id, aws.now());
        let (stepped, stage) = update_document(
            aws,
            &key,
            loaded,
            &caller,
            || ExperimentDocument::new(&model),
            |document| {
                let stepped = document.step(&input, given, &caller);
                telemetry::record_correlation_id(document.correlation_id());
                (stepped, document.experiment.as_ref().map(|open| open.stage))
            },
            async |effect| effects::execute(aws, effect).await,
        )
        .await?;
        let stage = stage.map_or("none", ExperimentStage::as_str);
        tracing::info!(model = %model, stepped = ?stepped, stage, "experiment handled");
        Ok(match stepped {
            StepOutcome::Changed => Handled::Changed { model },
            StepOutcome::Unchanged => Handled::Known { model },
        })
    }

    /// Processes every model that has experiments or promotion settings.
    async fn tick<W: PromoteClients>(
        &self,
        aws: &W,
        policy: &Policy,
        request_id: &str,
        deadline: Timestamp,
    ) -> Result<Handled, Error> {
        let documents = aws.keys("experiments/").await?;
        let known = documents
            .iter()
            .filter_map(|key| key.strip_prefix("experiments/")?.strip_suffix(".json"));
        let mut models: BTreeSet<String> = known.map(str::to_owned).collect();
        models.extend(policy.promoted_models().into_iter().map(|(model, _)| model));
        let last_start = deadline.checked_sub(DEADLINE_RESERVE).unwrap_or(deadline);
        let (mut left, mut failures) = (0, Vec::new());
        for model in &models {
            if aws.now() > last_start {
                left += 1;
                continue;
            }
            if let Err(error) = self.process_model(aws, policy, model, request_id).await {
                tracing::error!(model = %model, error = %error, "experiments of the model not processed");
                failures.push(format!("model {model}: {}", machine::chain(&error)));
            }
        }
        let failed = failures.len();
        match failures.into_iter().next() {
            None => Ok(Handled::Ticked {
                models: models.len() - left,
                left,
            }),
            Some(first) => Err(Error::Incomplete {
                what: Incomplete::Promotion,
                failed,
                all: models.len(),
                first,
            }),
        }
    }

    /// Continues a model's experiment, finds a candidate whose event was lost, and starts with the next waiting candidate.
    async fn process_model<W: PromoteClients>(
        &self,
        aws: &W,
        policy: &Policy,
        model: &str,
        request_id: &str,
    ) -> Result<(), Error> {
        let loaded = load::<ExperimentDocument>(aws, &ExperimentDocument::key(model)).await?;
        let document = loaded.document();
        let open = document.and_then(|document| document.experiment.as_ref());
        let has_effects = document.is_some_and(|document| !document.outbox.is_empty());
        if open.is_some() || has_effects {
            self.apply(aws, policy, model.to_owned(), Input::Tick, request_id)
                .await?;
        }
        let is_pending = open.is_some_and(|open| open.stage == ExperimentStage::AwaitingApproval);
        let next = document
            .and_then(|document| document.next.as_ref())
            .filter(|_| open.is_none());
        let promotion = policy.promotion(model);
        if promotion.mode == Mode::Off {
            return Ok(());
        }
        let arn = match (next, open) {
            (Some(next), _) => Some(next.arn.clone()),
            (None, Some(open)) if is_pending && is_search_due(model, aws.now()) => Some(open.package.arn.clone()),
            (None, None) if is_search_due(model, aws.now()) => self.newest_candidate(aws, &promotion).await?,
            _ => None,
        };
        let described = match &arn {
            Some(arn) => aws.model_package(arn).await?,
            None => None,
        };
        if let Some(described) = described.filter(|described| described.status == "Completed") {
            let candidate = build_candidate(aws, model, &promotion, described).await?;
            self.apply(
                aws,
                policy,
                model.to_owned(),
                Input::Candidate(Box::new(candidate)),
                request_id,
            )
            .await?;
        }
        Ok(())
    }

    /// Newest model package of the group, if it was registered within `candidate_within`. An older one is not a candidate.
    async fn newest_candidate<W: PromoteClients>(
        &self,
        aws: &W,
        promotion: &PromotionPolicy,
    ) -> Result<Option<String>, Error> {
        let oldest = aws
            .now()
            .checked_sub(promotion.candidate_within)
            .unwrap_or(Timestamp::MIN);
        let packages = aws.newest_packages(&promotion.model_package_group).await?;
        let newest = packages.into_iter().next().filter(|(_, created)| *created >= oldest);
        Ok(newest.map(|(arn, _)| arn))
    }
}

/// Whether the search for lost events of this model is due in this minute. The minute depends on the model, which spreads
/// requests to SageMaker.
fn is_search_due(model: &str, now: Timestamp) -> bool {
    let name = model
        .bytes()
        .fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let minute = now.as_second().div_euclid(60).unsigned_abs();
    minute.wrapping_add(name).is_multiple_of(SEARCH_INTERVAL_MINUTES)
}

/// Model whose candidates are the versions of a model package group.
fn model_for_group(policy: &Policy, group: &str) -> Option<(String, PromotionPolicy)> {
    let mut promoted = policy.promoted_models().into_iter();
    let named = promoted.find(|(_, promotion)| promotion.model_package_group == group);
    named.or_else(|| {
        // A model without a table in the policy has the name of its group.
        let promotion = policy.promotion(group);
        (promotion.mode != Mode::Off && promotion.model_package_group == group).then(|| (group.to_owned(), promotion))
    })
}

/// Builds the candidate from its model package and the champion's, each with the metric of the offline gate.
async fn build_candidate<W: PromoteClients>(
    aws: &W,
    model: &str,
    promotion: &PromotionPolicy,
    described: DescribedModelPackage,
) -> Result<Candidate, Error> {
    let champion = match aws.endpoint(&promotion.endpoint).await? {
        Some(endpoint) => {
            let heaviest = endpoint.variants.iter().max_by(|a, b| a.weight.total_cmp(&b.weight));
            let variant = heaviest.map_or("", |variant| variant.name.as_str());
            aws.served_package(&endpoint.config, variant).await?
        }
        None => None,
    };
    let champion = match champion {
        Some(arn) if arn == described.package.arn => Some(described.clone()),
        Some(arn) => aws.model_package(&arn).await?,
        None => None,
    };
    let package = with_gate_metric(aws, promotion, described).await?;
    let champion = match champion {
        Some(champion) => Some(with_gate_metric(aws, promotion, champion).await?),
        None => None,
    };
    let correlation_id = correlation_id(aws, model, &package).await?;
    Ok(Candidate {
        package,
        champion,
        correlation_id,
    })
}

/// Correlation ID of the incident whose retraining created a model package. `None` if there is no such incident, or if the
/// state document of the model is malformed: the `remediate` function reports that.
async fn correlation_id<W: PromoteClients>(
    aws: &W,
    model: &str,
    package: &ModelPackage,
) -> Result<Option<String>, Error> {
    let Fetched::Found(body, _) = aws.read(&ModelDocument::key(model), None).await? else {
        return Ok(None);
    };
    let document: Option<ModelDocument> = serde_json::from_slice(&body).ok();
    let id = document
        .as_ref()
        .and_then(|document| document.candidate_correlation_id(package.generated_by.as_deref()));
    Ok(id.map(str::to_owned))
}

/// Adds the metric of the offline gate from the model quality report of the package.
async fn with_gate_metric<W: PromoteClients>(
    aws: &W,
    promotion: &PromotionPolicy,
    described: DescribedModelPackage,
) -> Result<ModelPackage, Error> {
    let mut package = described.package;
    let uri = described.model_quality.as_deref().and_then(S3Uri::parse);
    if let (Some(gate), Some(uri)) = (&promotion.gate, uri) {
        let report = match aws.report(&uri.bucket, &uri.key, MAX_REPORT_BYTES).await? {
            FetchedObject::Found(found) => serde_json::from_slice::<Value>(&found.body).ok(),
            FetchedObject::Absent | FetchedObject::TooLarge(_) => None,
        };
        package.metric = report.and_then(|report| report.pointer(&gate.metric)?.as_f64());
        if package.metric.is_none() {
            tracing::warn!(report = %uri, metric = %gate.metric, "no number in the model quality report at the gate's JSON pointer");
        }
    }
    Ok(package)
}

/// Monitors of a model with their current baselines: native analyses, and Model Monitor's schedules on the endpoint. `None` if
/// the document of a baseline is unreadable: a rollback could not restore it.
async fn list_monitors<W: PromoteClients>(
    aws: &W,
    policy: &Policy,
    model: &str,
    endpoint: &str,
) -> Result<Option<Vec<MonitorBaseline>>, Error> {
    let analyses = policy.analyses().into_iter();
    let own = analyses.filter_map(|analysis| {
        let watched = policy.monitor(&MonitorRef {
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
    for monitor in aws.monitors_for(endpoint).await? {
        let known = monitors.iter().map(|known| known.monitoring_schedule.to_lowercase());
        if !known
            .into_iter()
            .any(|known| known == monitor.monitoring_schedule.to_lowercase())
        {
            monitors.push(monitor);
        }
    }
    // The baseline of an earlier promotion takes precedence over the policy's.
    for monitor in &mut monitors {
        let key = BaselineDocument::key(&monitor.monitoring_schedule);
        if let Fetched::Found(body, _) = aws.read(&key, None).await? {
            match parse_document::<BaselineDocument>(&key, &body, BaselineDocument::VERSION) {
                Ok(document) => monitor.baseline_uri = Some(document.change.baseline_uri),
                Err(error) => {
                    let error = machine::chain(&error);
                    tracing::error!(error = %error, "baselines not requested: the baseline of a monitor is unknown");
                    return Ok(None);
                }
            }
        }
    }
    Ok(Some(monitors))
}

fn ignored(reason: String) -> Handled {
    tracing::debug!(reason = %reason, "event ignored");
    Handled::Ignored { reason }
}
