//! Queries AWS for facts about a model. A failed query becomes a note on the page; the page is written anyway.

use crate::dashboard::ModelState;
use jiff::{SignedDuration, Timestamp};
use machine::AwsError;
use model_dashboard::{EndpointFacts, Facts, VariantFacts};
use promotion::EndpointStatus;
use remediation::Policy;
use shell::ports::{Hosting, Lineage, MetricData, MetricQuery, ModelCards, TransformJobs};
use std::time::Duration;

/// Period of the endpoint metrics.
const METRIC_PERIOD: SignedDuration = SignedDuration::from_hours(1);
/// Metrics queried per variant: namespace, metric, statistic.
const METRICS: [(&str, &str, &str); 8] = [
    ("/aws/sagemaker/Endpoints", "CPUUtilization", "Average"),
    ("/aws/sagemaker/Endpoints", "MemoryUtilization", "Average"),
    ("/aws/sagemaker/Endpoints", "DiskUtilization", "Average"),
    ("/aws/sagemaker/Endpoints", "GPUUtilization", "Average"),
    ("AWS/SageMaker", "Invocations", "Sum"),
    ("AWS/SageMaker", "ModelLatency", "p99"),
    ("AWS/SageMaker", "Invocation4XXErrors", "Sum"),
    ("AWS/SageMaker", "Invocation5XXErrors", "Sum"),
];

/// AWS APIs that are queried for facts.
pub trait AwsQueries: Hosting + MetricData + ModelCards + TransformJobs + Lineage {}

impl<W: Hosting + MetricData + ModelCards + TransformJobs + Lineage> AwsQueries for W {}

/// Queries the current facts about a model. The lineage is reused from the facts `before` if the model package is the same.
pub async fn facts(
    clients: &impl AwsQueries,
    known: &ModelState,
    policy: &Policy,
    before: Option<&Facts>,
    now: Timestamp,
) -> Facts {
    let mut facts = Facts {
        at: Some(now),
        ..Facts::default()
    };
    let mut missing = Vec::new();
    let mut add_note = |error: AwsError| missing.push(error.to_string());
    let monitored = known.ledgers.iter().find_map(|ledger| ledger.monitor.endpoint.clone());
    let tested = known.experiments.as_ref().and_then(|document| {
        let open = document.experiment.as_ref();
        let ended = document.ended.last().map(|ended| &ended.experiment);
        open.or(ended).map(|experiment| experiment.endpoint.clone())
    });
    if let Some(name) = monitored.or(tested) {
        match endpoint(clients, &name, now).await {
            Ok(endpoint) => facts.endpoint = endpoint,
            Err(error) => add_note(error),
        }
    }
    let settings = policy.model(&known.model);
    if settings.risk_rating.is_none() {
        match clients.risk_rating(&settings.model_card).await {
            Ok(rating) => facts.risk_rating = Some(rating),
            Err(error) => add_note(error),
        }
    }
    match clients.latest_transform_job(&known.model).await {
        Ok(job) => facts.transform_job = job,
        Err(error) => add_note(error),
    }
    let variants = facts.endpoint.iter().flat_map(|endpoint| &endpoint.variants);
    let serving = variants.filter(|variant| variant.model_package_arn.is_some());
    let champion = serving.max_by(|a, b| a.share.total_cmp(&b.share));
    if let Some(arn) = champion.and_then(|variant| variant.model_package_arn.clone()) {
        let same =
            before.filter(|before| before.lineage_package_arn.as_ref() == Some(&arn) && !before.artifacts.is_empty());
        match same {
            Some(before) => {
                facts.artifacts.clone_from(&before.artifacts);
                facts.associations.clone_from(&before.associations);
            }
            None => match clients.lineage(&arn).await {
                Ok((artifacts, associations)) => (facts.artifacts, facts.associations) = (artifacts, associations),
                Err(error) => add_note(error),
            },
        }
        facts.lineage_package_arn = Some(arn);
    }
    facts.missing = missing;
    facts
}

/// An endpoint with its metrics of the last hour. `None` if it does not exist.
async fn endpoint(
    clients: &(impl Hosting + MetricData),
    name: &str,
    now: Timestamp,
) -> Result<Option<EndpointFacts>, AwsError> {
    let Some(found) = clients.endpoint(name).await? else {
        return Ok(None);
    };
    let total: f64 = found.variants.iter().map(|variant| variant.weight).sum();
    let mut variants = Vec::new();
    let mut queries = Vec::new();
    for variant in &found.variants {
        let share = if total > 0.0 {
            variant.weight / total * 100.0
        } else {
            0.0
        };
        variants.push(VariantFacts {
            name: variant.name.clone(),
            share,
            model_package_arn: clients.served_package(&found.config, &variant.name).await?,
            ..VariantFacts::default()
        });
        queries.extend(METRICS.iter().map(|(namespace, metric, statistic)| MetricQuery {
            namespace: (*namespace).to_owned(),
            metric_name: (*metric).to_owned(),
            dimensions: vec![
                ("EndpointName".to_owned(), name.to_owned()),
                ("VariantName".to_owned(), variant.name.clone()),
            ],
            statistic: (*statistic).to_owned(),
        }));
    }
    let from = now.checked_sub(METRIC_PERIOD).unwrap_or(Timestamp::MIN);
    let results = clients
        .metric_data(&queries, from, now, Duration::from_hours(1))
        .await?;
    for (variant, values) in variants.iter_mut().zip(results.chunks(METRICS.len())) {
        // An hour that starts between two full hours has values of two CloudWatch periods.
        let maximum = |at: usize| values.get(at)?.iter().map(|(_, value)| *value).reduce(f64::max);
        let sum = |at: usize| values.get(at)?.iter().map(|(_, value)| *value).reduce(|a, b| a + b);
        variant.cpu = maximum(0);
        variant.memory = maximum(1);
        variant.disk = maximum(2);
        variant.gpu = maximum(3);
        variant.invocations = sum(4);
        // CloudWatch reports microseconds.
        variant.latency = maximum(5).map(|latency| latency / 1000.0);
        variant.errors_4xx = sum(6);
        variant.errors_5xx = sum(7);
    }
    Ok(Some(EndpointFacts {
        name: name.to_owned(),
        status: match found.status {
            EndpointStatus::InService => "InService",
            EndpointStatus::Busy => "Updating",
            EndpointStatus::Broken => "Not in service",
        }
        .to_owned(),
        config: found.config,
        variants,
    }))
}
