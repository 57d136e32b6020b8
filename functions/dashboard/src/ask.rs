//! What AWS says of a model. What it does not say is a note on the page, and stops nothing.

use crate::Known;
use jiff::{SignedDuration, Timestamp};
use model_dashboard::{EndpointFacts, Facts, VariantFacts};
use promotion::EndpointStatus;
use remediation::Policy;
use shell::{
    AwsError,
    ports::{Hosting, Lineage, MetricData, MetricQuery, ModelCards, TransformJobs},
};
use std::time::Duration;

/// How far back the numbers of an endpoint go.
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// What is asked of each variant: namespace, metric, statistic.
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

/// What is asked of AWS for a dashboard.
pub trait Asked: Hosting + MetricData + ModelCards + TransformJobs + Lineage {}

impl<W: Hosting + MetricData + ModelCards + TransformJobs + Lineage> Asked for W {}

/// What AWS says of a model now. `before` is what it said last: a lineage that is known is not asked for again.
pub async fn facts(
    world: &impl Asked,
    known: &Known,
    policy: &Policy,
    before: Option<&Facts>,
    now: Timestamp,
) -> Facts {
    let mut facts = Facts {
        at: Some(now),
        ..Facts::default()
    };
    let mut missing = Vec::new();
    let mut note = |error: AwsError| missing.push(error.to_string());
    let watched = known.ledgers.iter().find_map(|ledger| ledger.monitor.endpoint.clone());
    let tested = known.experiments.as_ref().and_then(|document| {
        let open = document.experiment.as_ref();
        let ended = document.ended.last().map(|ended| &ended.experiment);
        open.or(ended).map(|experiment| experiment.endpoint.clone())
    });
    if let Some(name) = watched.or(tested) {
        match endpoint(world, &name, now).await {
            Ok(endpoint) => facts.endpoint = endpoint,
            Err(error) => note(error),
        }
    }
    let settings = policy.model(&known.model);
    if settings.risk_rating.is_none() {
        match world.risk_rating(&settings.model_card).await {
            Ok(rating) => facts.risk_rating = Some(rating),
            Err(error) => note(error),
        }
    }
    match world.latest_transform_job(&known.model).await {
        Ok(job) => facts.transform_job = job,
        Err(error) => note(error),
    }
    let variants = facts.endpoint.iter().flat_map(|endpoint| &endpoint.variants);
    let serving = variants.filter(|variant| variant.model_package_arn.is_some());
    let champion = serving.max_by(|a, b| a.share.total_cmp(&b.share));
    if let Some(arn) = champion.and_then(|variant| variant.model_package_arn.clone()) {
        let same = before.filter(|before| before.lineage_of.as_ref() == Some(&arn) && !before.artifacts.is_empty());
        match same {
            Some(before) => {
                facts.artifacts.clone_from(&before.artifacts);
                facts.associations.clone_from(&before.associations);
            }
            None => match world.lineage(&arn).await {
                Ok((artifacts, associations)) => (facts.artifacts, facts.associations) = (artifacts, associations),
                Err(error) => note(error),
            },
        }
        facts.lineage_of = Some(arn);
    }
    facts.missing = missing;
    facts
}

/// An endpoint with the numbers of its latest hour; `None` if there is none.
async fn endpoint(
    world: &(impl Hosting + MetricData),
    name: &str,
    now: Timestamp,
) -> Result<Option<EndpointFacts>, AwsError> {
    let Some(found) = world.endpoint(name).await? else {
        return Ok(None);
    };
    let all: f64 = found.variants.iter().map(|variant| variant.weight).sum();
    let mut variants = Vec::new();
    let mut queries = Vec::new();
    for variant in &found.variants {
        let share = if all > 0.0 { variant.weight / all * 100.0 } else { 0.0 };
        variants.push(VariantFacts {
            name: variant.name.clone(),
            share,
            model_package_arn: world.served_package(&found.config, &variant.name).await?,
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
    let from = now.checked_sub(HOUR).unwrap_or(Timestamp::MIN);
    let answers = world.metric_data(&queries, from, now, Duration::from_hours(1)).await?;
    for (variant, values) in variants.iter_mut().zip(answers.chunks(METRICS.len())) {
        // An hour that begins between two of CloudWatch's has values of both.
        let most = |at: usize| values.get(at)?.iter().map(|(_, value)| *value).reduce(f64::max);
        let sum = |at: usize| values.get(at)?.iter().map(|(_, value)| *value).reduce(|a, b| a + b);
        variant.cpu = most(0);
        variant.memory = most(1);
        variant.disk = most(2);
        variant.gpu = most(3);
        variant.invocations = sum(4);
        // CloudWatch has microseconds.
        variant.latency = most(5).map(|latency| latency / 1000.0);
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
