//! What the files of monitoring executions say beyond their violations: values of clean executions as well, and the
//! distributions of the latest one.

use crate::{Known, read::document};
use alerting::{Datapoint, DatapointState, MonitorLedger};
use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use model_dashboard::{Comparison, Measured};
use model_monitor::{Analysis, Limits, MonitorType, S3Uri, Statistics};
use promotion::BaselineDocument;
use remediation::Policy;
use serde::Deserialize;
use shell::{
    AwsError, Kind,
    ports::{Documents, FetchedObject, MonitoringBaselines, Reports},
};
use std::collections::BTreeMap;

/// Of so many of its latest executions a monitor's files are read.
const EXECUTIONS: usize = 48;
/// So many files are read at the same time.
const AT_ONCE: usize = 16;
/// A larger file is left alone.
const MAX_FILE: u64 = 32 << 20;

/// What is read for a dashboard.
pub trait Files: Documents + Reports + MonitoringBaselines {}

impl<W: Documents + Reports + MonitoringBaselines> Files for W {}

/// The folder of an execution: that of its report; of one without, as those of its schedule's others lie.
fn folder(ledger: &MonitorLedger, datapoint: &Datapoint, policy: &Policy) -> Option<S3Uri> {
    let of_report = |datapoint: &Datapoint| {
        let uri = &datapoint.evidence.report.as_ref()?.uri;
        S3Uri::parse(uri.rsplit_once('/')?.0)
    };
    if let Some(folder) = of_report(datapoint) {
        return Some(folder);
    }
    let hours = datapoint.scheduled_time.strftime("%Y/%m/%d/%H").to_string();
    if let Some(other) = ledger.datapoints.iter().rev().find_map(of_report) {
        let mut parts: Vec<&str> = other.key.rsplitn(5, '/').collect();
        let root = parts.pop()?;
        return Some(S3Uri {
            bucket: other.bucket.clone(),
            key: format!("{root}/{hours}"),
        });
    }
    let schedule = &ledger.monitor.schedule;
    let mut own = policy.analyses().into_iter();
    let analysis = own.find(|analysis| analysis.schedule.as_str() == schedule)?;
    Some(S3Uri {
        bucket: analysis.output.bucket.clone(),
        key: analysis
            .report_prefix(datapoint.scheduled_time)
            .trim_end_matches('/')
            .to_owned(),
    })
}

/// A file of a folder; `None` if there is none, or it is too large, or not to be read.
async fn file(world: &impl Reports, folder: &S3Uri, name: &str) -> Result<Option<(String, Vec<u8>)>, AwsError> {
    let key = format!("{}/{name}", folder.key);
    match world.report(&folder.bucket, &key, MAX_FILE).await {
        Ok(FetchedObject::Found(object)) => Ok(Some((format!("s3://{}/{key}", folder.bucket), object.body))),
        Ok(FetchedObject::Absent | FetchedObject::TooLarge(_)) => Ok(None),
        Err(error) if error.kind == Kind::Denied => {
            tracing::warn!(error = %error, "a file of a report is left out of the dashboard");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The file that says what a monitor measured.
fn measured_in(monitor_type: Option<MonitorType>) -> Option<&'static str> {
    match monitor_type? {
        MonitorType::DataQuality => Some("drift.json"),
        MonitorType::ModelQuality => Some("statistics.json"),
        MonitorType::ModelBias => Some("analysis.json"),
        MonitorType::ModelExplainability => Some("attribution_drift.json"),
        MonitorType::Custom => None,
    }
}

/// Values, and what they are held against.
type Values = (BTreeMap<String, f64>, BTreeMap<String, f64>);

/// What such a file says. One that cannot be read says nothing: the execution's report is what counts.
fn values(monitor_type: MonitorType, body: &[u8]) -> Values {
    /// `drift.json`.
    #[derive(Deserialize)]
    struct Drift {
        features: Vec<Column>,
    }
    #[derive(Deserialize)]
    struct Column {
        name: String,
        distance: f64,
        threshold: f64,
    }
    /// `attribution_drift.json`.
    #[derive(Deserialize)]
    struct Attribution {
        labels: BTreeMap<String, Judged>,
    }
    #[derive(Deserialize)]
    struct Judged {
        ndcg: f64,
        threshold: f64,
    }

    let limits = Limits::default();
    match monitor_type {
        MonitorType::DataQuality => {
            let drift: Option<Drift> = serde_json::from_slice(body).ok();
            let mut columns: Vec<Column> = drift.map(|drift| drift.features).unwrap_or_default();
            columns.retain(|column| column.distance.is_finite());
            columns.sort_by(|a, b| b.distance.total_cmp(&a.distance));
            columns.truncate(COLUMNS);
            let held = columns.into_iter();
            held.map(|of| ((of.name.clone(), of.distance), (of.name, of.threshold)))
                .unzip()
        }
        MonitorType::ModelQuality => {
            let statistics = Statistics::parse("statistics.json", body, &limits);
            let values = statistics.map(|statistics| Measured::of_statistics(&statistics));
            (values.unwrap_or_default(), BTreeMap::new())
        }
        MonitorType::ModelBias => {
            let analysis = Analysis::parse("analysis.json", body, &limits);
            let values = analysis.map(|analysis| Measured::of_analysis(&analysis));
            (values.unwrap_or_default(), BTreeMap::new())
        }
        MonitorType::ModelExplainability => {
            let drift: Option<Attribution> = serde_json::from_slice(body).ok();
            let labels = drift.map(|drift| drift.labels).unwrap_or_default();
            // As violations name it.
            let held = labels
                .into_iter()
                .map(|(label, judged)| (format!("{label} shap"), judged));
            held.map(|(label, of)| ((label.clone(), of.ndcg), (label, of.threshold)))
                .unzip()
        }
        MonitorType::Custom => Values::default(),
    }
}

/// So many columns of a data quality execution are kept, those that drifted most.
const COLUMNS: usize = 100;

/// What the latest executions measured. What was read before is not read again.
///
/// # Errors
/// If AWS fails.
pub async fn measured(
    world: &impl Reports,
    known: &Known,
    policy: &Policy,
    mut kept: Vec<Measured>,
) -> Result<Vec<Measured>, AwsError> {
    let mut wanted = Vec::new();
    let mut oldest: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for ledger in &known.ledgers {
        let schedule = ledger.monitor.schedule.as_str();
        let (Some(monitor_type), Some(name)) = (ledger.monitor.monitor_type, measured_in(ledger.monitor.monitor_type))
        else {
            continue;
        };
        for datapoint in ledger.datapoints.iter().rev().take(EXECUTIONS) {
            oldest.insert(schedule, datapoint.scheduled_time);
            let says = matches!(datapoint.state(), DatapointState::Clean | DatapointState::Violations);
            let mut before = kept.iter();
            let read = before.any(|of| of.schedule == schedule && of.scheduled_time == datapoint.scheduled_time);
            if let (true, false, Some(folder)) = (says, read, folder(ledger, datapoint, policy)) {
                wanted.push((
                    schedule.to_owned(),
                    datapoint.scheduled_time,
                    monitor_type,
                    folder,
                    name,
                ));
            }
        }
    }
    kept.retain(|of| {
        let since = oldest.get(of.schedule.as_str());
        since.is_some_and(|since| of.scheduled_time >= *since)
    });
    let read = wanted
        .into_iter()
        .map(|(schedule, scheduled_time, monitor_type, folder, name)| async move {
            let body = file(world, &folder, name).await?;
            let (values, thresholds) = body.map(|(_, body)| values(monitor_type, &body)).unwrap_or_default();
            Ok::<_, AwsError>(Measured {
                schedule,
                scheduled_time,
                values,
                thresholds,
            })
        });
    let mut read = stream::iter(read).buffer_unordered(AT_ONCE);
    while let Some(measured) = read.next().await {
        kept.push(measured?);
    }
    kept.sort_by(|a, b| (&a.schedule, a.scheduled_time).cmp(&(&b.schedule, b.scheduled_time)));
    let mut later: Option<&Measured> = None;
    for of in kept.iter_mut().rev() {
        if later.is_some_and(|later| later.schedule == of.schedule) {
            of.thresholds.clear();
        }
        later = Some(of);
    }
    Ok(kept)
}

/// The distributions that the data quality monitors saw last, beside those of their baselines.
///
/// # Errors
/// If AWS fails.
pub async fn comparisons(
    world: &impl Files,
    known: &Known,
    policy: &Policy,
    notes: &mut Vec<String>,
) -> Result<Vec<Comparison>, AwsError> {
    let mut comparisons = Vec::new();
    let limits = Limits::default();
    for ledger in &known.ledgers {
        if ledger.monitor.monitor_type != Some(MonitorType::DataQuality) {
            continue;
        }
        let says =
            |datapoint: &&Datapoint| matches!(datapoint.state(), DatapointState::Clean | DatapointState::Violations);
        let Some(datapoint) = ledger.datapoints.iter().rev().find(says) else {
            continue;
        };
        let Some(folder) = folder(ledger, datapoint, policy) else {
            continue;
        };
        let Some((statistics_uri, body)) = file(world, &folder, "statistics.json").await? else {
            continue;
        };
        let current = match Statistics::parse(&statistics_uri, &body, &limits) {
            Ok(current) => current,
            Err(error) => {
                notes.push(error.to_string());
                continue;
            }
        };
        let baseline_uri = baseline_of(world, ledger, policy, notes).await?;
        let mut baseline = None;
        if let Some(folder) = baseline_uri.as_deref().and_then(S3Uri::parse)
            && let Some((uri, body)) = file(world, &folder, "statistics.json").await?
        {
            match Statistics::parse(&uri, &body, &limits) {
                Ok(statistics) => baseline = Some(statistics),
                Err(error) => notes.push(error.to_string()),
            }
        }
        comparisons.push(Comparison {
            schedule: ledger.monitor.schedule.clone(),
            scheduled_time: datapoint.scheduled_time,
            statistics_uri,
            baseline_uri,
            baseline,
            current,
        });
    }
    Ok(comparisons)
}

/// The folder of the baseline that a monitor is held against: what a promotion set, the policy's, or Model Monitor's own.
async fn baseline_of(
    world: &impl Files,
    ledger: &MonitorLedger,
    policy: &Policy,
    notes: &mut Vec<String>,
) -> Result<Option<String>, AwsError> {
    let schedule = &ledger.monitor.schedule;
    let set: Option<BaselineDocument> = document(world, &BaselineDocument::key(schedule), notes).await?;
    if let Some(set) = set {
        return Ok(Some(set.change.baseline_uri));
    }
    let own = policy.analyses();
    if let Some(analysis) = own.iter().find(|analysis| analysis.schedule.as_str() == schedule) {
        return Ok(Some(analysis.baseline.to_string()));
    }
    let Some(endpoint) = &ledger.monitor.endpoint else {
        return Ok(None);
    };
    let monitors = match world.monitors_of(endpoint).await {
        Ok(monitors) => monitors,
        Err(error) => {
            notes.push(error.to_string());
            return Ok(None);
        }
    };
    let mut monitors = monitors.into_iter();
    let monitor = monitors.find(|monitor| monitor.monitoring_schedule.eq_ignore_ascii_case(schedule));
    Ok(monitor.and_then(|monitor| monitor.baseline_uri))
}
