//! Evidence of an experiment: CloudWatch metrics of each variant, and outcomes from captured data and ground truth. Each count
//! starts at the beginning of the step, so repeated counts do not add up.

use crate::analyze::datasets::{Failed, config, listed, read_objects, with_objects};
use crate::promote::PromoteClients;
use analyzer::{
    GroundTruth, ReadOptions,
    job::{ModelQualityJob, PredictionJob},
};
use experiment::Sample;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use machine::AwsError;
use model_monitor::{MonitorType, S3Uri};
use promotion::{Capture, CloudWatchMetric, Evidence, Experiment, GuardrailMetric, Metric, PromotionPolicy};
use remediation::HourlyUri;
use shell::ports::MetricQuery;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Namespace of SageMaker's variant metrics (*Monitoring SageMaker with CloudWatch* in the developer guide).
const SAGEMAKER_NAMESPACE: &str = "AWS/SageMaker";
/// Maximum age of captured data that is read, even if a step lasts longer.
const MAX_CAPTURE_AGE: SignedDuration = SignedDuration::from_hours(31 * 24);

/// Collects the evidence of an experiment. `None` if its stage needs none.
///
/// # Errors
/// If CloudWatch fails: a look needs its guardrails. If reading outcomes fails, the evidence contains the error instead.
pub(crate) async fn collect(
    aws: &impl PromoteClients,
    policy: &PromotionPolicy,
    open: &Experiment,
) -> Result<Option<Evidence>, AwsError> {
    let (Some(since), Some((champion, candidate))) = (open.count_start(), open.compared_variants()) else {
        return Ok(None);
    };
    let now = aws.now();
    let query = EvidenceQuery::new(policy, open, &champion, &candidate);
    let period = Duration::from_secs(policy.metrics_period.as_secs().unsigned_abs().max(1));
    // Start at the first period that lies entirely within the step.
    let from = next_period(since, period);
    let values = if from < now {
        aws.metric_data(&query.queries, from, now, period).await?
    } else {
        vec![Vec::new(); query.queries.len()]
    };
    let mut evidence = query.parse_values(policy, &values);
    evidence.since = Some(since);
    if policy.cloudwatch.is_some() {
        return Ok(Some(evidence));
    }
    if let Some(capture) = policy.capture.as_ref().filter(|_| open.is_recount_due(now)) {
        match outcomes(aws, capture, &policy.metric, [&champion, &candidate], since).await {
            Ok(counted) => evidence.outcomes = Some(counted),
            Err(failed) => {
                let why = match failed {
                    Failed::ForGood(why) => why,
                    Failed::Aws(error) => error.to_string(),
                };
                tracing::warn!(experiment.id = %open.id, why = %why, "failed to count outcomes");
                evidence.outcome_error = Some(why);
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

/// CloudWatch queries of an experiment.
struct EvidenceQuery {
    /// Variants whose traffic share is checked, including the compared ones.
    variants: Vec<String>,
    /// Champion and candidate.
    compared: [String; 2],
    queries: Vec<MetricQuery>,
}

impl EvidenceQuery {
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
            .map(|variant| query(variant, SAGEMAKER_NAMESPACE, "Invocations", "Sum"));
        let mut queries: Vec<MetricQuery> = traffic.collect();
        for guardrail in &policy.guardrails {
            let (metric_name, statistic) = guardrail.metric.cloudwatch();
            queries.extend(
                compared
                    .iter()
                    .map(|variant| query(variant, SAGEMAKER_NAMESPACE, metric_name, statistic)),
            );
        }
        if let Some(metric) = &policy.cloudwatch {
            let statistics = statistics(metric);
            for variant in &compared {
                let custom = |statistic: &&str| query(variant, &metric.namespace, &metric.metric_name, statistic);
                queries.extend(statistics.iter().map(custom));
            }
        }
        Self {
            variants,
            compared,
            queries,
        }
    }

    /// Builds the evidence from CloudWatch's values, which are in the order of the queries.
    fn parse_values(&self, policy: &PromotionPolicy, values: &[Vec<(Timestamp, f64)>]) -> Evidence {
        let mut values = values.iter();
        let mut next = || values.next().map_or(&[][..], Vec::as_slice);
        let traffic: BTreeMap<String, u64> = self
            .variants
            .iter()
            .map(|variant| (variant.clone(), count(next())))
            .collect();
        let guardrails = policy.guardrails.iter().map(|guardrail| {
            let samples = self.compared.iter().map(|variant| {
                let requests = traffic.get(variant).copied().unwrap_or_default();
                (variant.clone(), guardrail_sample(guardrail.metric, next(), requests))
            });
            samples.collect()
        });
        let guardrails = guardrails.collect();
        let outcomes = policy.cloudwatch.as_ref().map(|metric| {
            let samples = self.compared.iter().map(|variant| {
                let sample = if metric.proportion {
                    let (successes, trials) = (count(next()), count(next()));
                    Sample::proportion(successes, trials)
                } else {
                    sample(next().iter().map(|(_, value)| *value))
                };
                (variant.clone(), sample)
            });
            samples.collect()
        });
        Evidence {
            traffic,
            guardrails,
            outcomes,
            ..Evidence::default()
        }
    }
}

/// Statistics to query for a custom metric.
fn statistics(metric: &CloudWatchMetric) -> &'static [&'static str] {
    if metric.proportion {
        &["Sum", "SampleCount"]
    } else {
        &["Average"]
    }
}

/// Sum of the counts.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a nonnegative integer"
)]
fn count(values: &[(Timestamp, f64)]) -> u64 {
    let sum: f64 = values.iter().map(|(_, value)| value).sum();
    sum.max(0.0).round() as u64
}

/// Values of a guardrail. Latencies: the logarithm of each period, so that margins are relative. Errors: one value per request.
fn guardrail_sample(metric: GuardrailMetric, values: &[(Timestamp, f64)], requests: u64) -> Sample {
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

/// Outcomes of each variant since a time, for requests whose labels have arrived.
async fn outcomes(
    aws: &impl PromoteClients,
    capture: &Capture,
    metric: &Metric,
    variants: [&str; 2],
    since: Timestamp,
) -> Result<BTreeMap<String, Sample>, Failed> {
    let now = aws.now();
    let uri = |text: &str| {
        let why = || Failed::ForGood(format!("`{text}` in `capture` of the policy is not an s3:// URI"));
        HourlyUri::parse(text).ok_or_else(why)
    };
    let config_uri = S3Uri::parse(&capture.config).ok_or_else(|| {
        Failed::ForGood(format!(
            "`{}` in `capture` of the policy is not an s3:// URI",
            capture.config
        ))
    })?;
    let config = config(aws, &config_uri).await?;
    let job = ModelQualityJob::new(config.clone()).map_err(|error| Failed::ForGood(error.to_string()))?;
    let first = since.max(now.checked_sub(MAX_CAPTURE_AGE).unwrap_or(since));
    let hours = hours(first, now);
    let labels = uri(&capture.ground_truth)?;
    let found = listed(aws, &labels, hours.clone()).await?;
    let truth = with_objects(aws, &labels.bucket, &found, GroundTruth::read).await?;
    let truth = Arc::new(truth);
    let mut counted = BTreeMap::new();
    for variant in variants {
        let captured = uri(&format!("{}/{variant}", capture.data.trim_end_matches('/')))?;
        let objects = listed(aws, &captured, hours.clone()).await?;
        let prediction = PredictionJob::new(MonitorType::ModelQuality, Some(config.clone()))?;
        let mut options = ReadOptions::default();
        options.capture.ground_truth = Some(Arc::clone(&truth));
        options.capture.since = Some(since);
        prediction.prepare(&mut options);
        let dataset = read_objects(aws, &captured.bucket, &objects, options, prediction.tables()).await?;
        let outcomes = job.outcomes(&dataset)?.into_iter().map(|outcome| match metric {
            Metric::AbsoluteError => outcome.abs(),
            Metric::SquaredError => outcome * outcome,
            Metric::Accuracy | Metric::Custom { .. } => outcome,
        });
        counted.insert(variant.to_owned(), sample(outcomes));
    }
    Ok(counted)
}

/// Starts of all hours from one time to another, including the hour of the first.
fn hours(from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let second = from.as_second().div_euclid(3600) * 3600;
    let first = Timestamp::from_second(second).unwrap_or(from);
    first.series(1.hour()).take_while(|hour| *hour <= until).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_starts_at_next_full_period() {
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
    fn hours_include_first_and_last() {
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let found = hours(at("2026-11-23T10:59:00Z"), at("2026-11-23T12:00:00Z"));
        assert_eq!(found.len(), 3);
        assert_eq!(found.first(), Some(&at("2026-11-23T10:00:00Z")));
    }
}
