//! What is known of the traffic of an experiment: CloudWatch's metrics of each variant, and outcomes from captured data and
//! ground truth. Everything is counted from the beginning of the step, each time: what is counted twice counts once.

use crate::World;
use analyze::datasets::{Failed, config, listed, read_objects, with_objects};
use analyzer::{
    GroundTruth, ReadOptions,
    job::{ModelQualityJob, PredictionJob},
};
use experiment::Sample;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use model_monitor::{MonitorType, S3Uri};
use promotion::{Capture, CloudWatchMetric, Evidence, Experiment, GuardrailMetric, Metric, PromotionPolicy};
use remediation::HourlyUri;
use shell::{AwsError, ports::MetricQuery};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// SageMaker's namespace of the metrics of variants (developer guide, page `monitoring-cloudwatch`).
const NAMESPACE: &str = "AWS/SageMaker";
/// Captured data are looked at for so long at most, whatever a step lasts.
const LONGEST: SignedDuration = SignedDuration::from_hours(31 * 24);

/// Counts what is known of an experiment's traffic; `None` while there is nothing to count.
///
/// # Errors
/// If CloudWatch does not answer: without its guardrails nothing is judged. Outcomes that cannot be read are told in the
/// evidence.
pub(crate) async fn evidence(
    world: &impl World,
    policy: &PromotionPolicy,
    open: &Experiment,
) -> Result<Option<Evidence>, AwsError> {
    let (Some(since), Some((champion, candidate))) = (open.counts_since(), open.compared()) else {
        return Ok(None);
    };
    let now = world.now();
    let asked = Asked::new(policy, open, &champion, &candidate);
    let period = Duration::from_secs(policy.metrics_period.as_secs().unsigned_abs().max(1));
    // The first period that holds nothing of the time before.
    let from = next_period(since, period);
    let values = if from < now {
        world.metric_data(&asked.queries, from, now, period).await?
    } else {
        vec![Vec::new(); asked.queries.len()]
    };
    let mut evidence = asked.answered(policy, &values);
    evidence.since = Some(since);
    if policy.cloudwatch.is_some() {
        return Ok(Some(evidence));
    }
    if let Some(capture) = policy.capture.as_ref().filter(|_| open.counts_outcomes(now)) {
        match outcomes(world, capture, &policy.metric, [&champion, &candidate], since).await {
            Ok(counted) => evidence.outcomes = Some(counted),
            Err(failed) => {
                let why = match failed {
                    Failed::ForGood(why) => why,
                    Failed::Aws(error) => error.to_string(),
                };
                tracing::warn!(experiment.id = %open.id, why = %why, "outcomes could not be counted");
                evidence.unread = Some(why);
            }
        }
    }
    Ok(Some(evidence))
}

fn next_period(since: Timestamp, period: Duration) -> Timestamp {
    let period = i64::try_from(period.as_secs()).unwrap_or(60);
    let second = since.as_second() + i64::from(since.subsec_nanosecond() > 0);
    let begin = second.div_euclid(period) * period;
    let next = if begin == second { begin } else { begin + period };
    Timestamp::from_second(next).unwrap_or(since)
}

/// What is asked of CloudWatch about an experiment.
struct Asked {
    /// The variants whose share of the traffic is checked, and those that are compared.
    variants: Vec<String>,
    compared: [String; 2],
    queries: Vec<MetricQuery>,
}

impl Asked {
    fn new(policy: &PromotionPolicy, open: &Experiment, champion: &str, candidate: &str) -> Self {
        let compared = [champion.to_owned(), candidate.to_owned()];
        let mut variants: Vec<String> = open.weights(policy).into_keys().collect();
        for variant in &compared {
            if !variants.contains(variant) {
                variants.push(variant.clone());
            }
        }
        let query = |variant: &str, namespace: &str, metric_name: &str, statistic: &str| MetricQuery {
            namespace: namespace.to_owned(),
            metric_name: metric_name.to_owned(),
            dimensions: vec![
                ("EndpointName".to_owned(), open.endpoint.clone()),
                ("VariantName".to_owned(), variant.to_owned()),
            ],
            statistic: statistic.to_owned(),
        };
        let traffic = variants
            .iter()
            .map(|variant| query(variant, NAMESPACE, "Invocations", "Sum"));
        let mut queries: Vec<MetricQuery> = traffic.collect();
        for guardrail in &policy.guardrails {
            let (metric_name, statistic) = guardrail.metric.cloudwatch();
            queries.extend(
                compared
                    .iter()
                    .map(|variant| query(variant, NAMESPACE, metric_name, statistic)),
            );
        }
        if let Some(metric) = &policy.cloudwatch {
            let statistics = statistics(metric);
            for variant in &compared {
                let of = |statistic: &&str| query(variant, &metric.namespace, &metric.metric_name, statistic);
                queries.extend(statistics.iter().map(of));
            }
        }
        Self {
            variants,
            compared,
            queries,
        }
    }

    /// What CloudWatch answered, in the order of the queries.
    fn answered(&self, policy: &PromotionPolicy, values: &[Vec<(Timestamp, f64)>]) -> Evidence {
        let mut values = values.iter();
        let mut next = || values.next().map_or(&[][..], Vec::as_slice);
        let traffic: BTreeMap<String, u64> = self
            .variants
            .iter()
            .map(|variant| (variant.clone(), count(next())))
            .collect();
        let guardrails = policy.guardrails.iter().map(|guardrail| {
            let of = self.compared.iter().map(|variant| {
                let requests = traffic.get(variant).copied().unwrap_or_default();
                (variant.clone(), guarded(guardrail.metric, next(), requests))
            });
            of.collect()
        });
        let guardrails = guardrails.collect();
        let outcomes = policy.cloudwatch.as_ref().map(|metric| {
            let of = self.compared.iter().map(|variant| {
                let sample = if metric.proportion {
                    let (successes, trials) = (count(next()), count(next()));
                    Sample::proportion(successes, trials)
                } else {
                    sample(next().iter().map(|(_, value)| *value))
                };
                (variant.clone(), sample)
            });
            of.collect()
        });
        Evidence {
            traffic,
            guardrails,
            outcomes,
            ..Evidence::default()
        }
    }
}

/// Which statistics say what a metric of the owner's is.
fn statistics(metric: &CloudWatchMetric) -> &'static [&'static str] {
    if metric.proportion {
        &["Sum", "SampleCount"]
    } else {
        &["Average"]
    }
}

/// The sum of counts.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a whole number, not below 0"
)]
fn count(values: &[(Timestamp, f64)]) -> u64 {
    let sum: f64 = values.iter().map(|(_, value)| value).sum();
    sum.max(0.0).round() as u64
}

/// A guardrail's values: of a latency the logarithm of each period, so that margins are shares; of errors one value a request.
fn guarded(metric: GuardrailMetric, values: &[(Timestamp, f64)], requests: u64) -> Sample {
    if metric.is_latency() {
        let positive = values.iter().map(|(_, value)| *value).filter(|value| *value > 0.0);
        return sample(positive.map(f64::ln));
    }
    Sample::proportion(count(values), requests)
}

fn sample(values: impl Iterator<Item = f64>) -> Sample {
    values.fold(Sample::default(), |mut sample, value| {
        sample.add(value);
        sample
    })
}

/// The outcomes of each variant since a time, as far as their labels have come.
async fn outcomes(
    world: &impl World,
    capture: &Capture,
    metric: &Metric,
    variants: [&str; 2],
    since: Timestamp,
) -> Result<BTreeMap<String, Sample>, Failed> {
    let now = world.now();
    let uri = |text: &str| {
        let why = || Failed::ForGood(format!("`{text}` of the policy's `capture` is no s3:// URI"));
        HourlyUri::parse(text).ok_or_else(why)
    };
    let of_config = S3Uri::parse(&capture.config).ok_or_else(|| {
        Failed::ForGood(format!(
            "`{}` of the policy's `capture` is no s3:// URI",
            capture.config
        ))
    })?;
    let config = config(world, &of_config).await?;
    let job = ModelQualityJob::new(config.clone()).map_err(|error| Failed::ForGood(error.to_string()))?;
    let first = since.max(now.checked_sub(LONGEST).unwrap_or(since));
    let hours = hours(first, now);
    let labels = uri(&capture.ground_truth)?;
    let found = listed(world, &labels, hours.clone()).await?;
    let truth = with_objects(world, &labels.bucket, &found, GroundTruth::read).await?;
    let truth = Arc::new(truth);
    let mut counted = BTreeMap::new();
    for variant in variants {
        let captured = uri(&format!("{}/{variant}", capture.data.trim_end_matches('/')))?;
        let objects = listed(world, &captured, hours.clone()).await?;
        let prediction = PredictionJob::new(MonitorType::ModelQuality, Some(config.clone()))?;
        let mut options = ReadOptions::default();
        options.capture.ground_truth = Some(Arc::clone(&truth));
        options.capture.since = Some(since);
        prediction.prepare(&mut options);
        let dataset = read_objects(world, &captured.bucket, &objects, options, prediction.tables()).await?;
        let outcomes = job.outcomes(&dataset)?.into_iter().map(|outcome| match metric {
            Metric::AbsoluteError => outcome.abs(),
            Metric::SquaredError => outcome * outcome,
            Metric::Accuracy | Metric::Custom { .. } => outcome,
        });
        counted.insert(variant.to_owned(), sample(outcomes));
    }
    Ok(counted)
}

/// The full hours from that of one time to that of another.
fn hours(from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let second = from.as_second().div_euclid(3600) * 3600;
    let first = Timestamp::from_second(second).unwrap_or(from);
    first.series(1.hour()).take_while(|hour| *hour <= until).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_periods_count() {
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let minute = Duration::from_mins(1);
        let next = |text| next_period(at(text), minute);
        assert_eq!(next("2026-11-23T10:00:00Z"), at("2026-11-23T10:00:00Z"));
        assert_eq!(next("2026-11-23T10:00:00.1Z"), at("2026-11-23T10:01:00Z"));
        assert_eq!(next("2026-11-23T10:00:59Z"), at("2026-11-23T10:01:00Z"));
        let ten = next_period(at("2026-11-23T10:00:59Z"), Duration::from_secs(10));
        assert_eq!(ten, at("2026-11-23T10:01:00Z"));
    }

    #[test]
    fn the_hours_of_a_step_are_those_that_it_touches() {
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let found = hours(at("2026-11-23T10:59:00Z"), at("2026-11-23T12:00:00Z"));
        assert_eq!(found.len(), 3);
        assert_eq!(found.first(), Some(&at("2026-11-23T10:00:00Z")));
    }
}
