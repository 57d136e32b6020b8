//! Reads the report files of monitoring executions: metric values, also of clean executions, and the distributions of the
//! latest execution.

use crate::dashboard::{ModelState, read::document};
use alerting::{Datapoint, DatapointState, MonitorLedger};
use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use machine::{AwsError, Documents, Kind};
use model_dashboard::{Comparison, ExecutionMetrics};
use model_monitor::{Analysis, Limits, MonitorType, S3Uri, Statistics};
use promotion::BaselineDocument;
use remediation::Policy;
use serde::Deserialize;
use shell::ports::{FetchedObject, MonitoringBaselines, Reports};
use std::collections::BTreeMap;

/// Number of latest executions whose files are read, per monitor.
const MAX_EXECUTIONS: usize = 48;
/// Number of files that are read concurrently.
const AT_ONCE: usize = 16;
/// Larger files are not read.
const MAX_FILE_BYTES: u64 = 32 << 20;

/// AWS APIs that are used to read files for the dashboard.
pub trait Files: Documents + Reports + MonitoringBaselines {}

impl<W: Documents + Reports + MonitoringBaselines> Files for W {}

/// Folder of an execution's files: that of its report, or else derived from the reports of other executions of the schedule.
fn folder(ledger: &MonitorLedger, datapoint: &Datapoint, policy: &Policy) -> Option<S3Uri> {
    let report_folder = |datapoint: &Datapoint| {
        let uri = &datapoint.evidence.report.as_ref()?.uri;
        S3Uri::parse(uri.rsplit_once('/')?.0)
    };
    if let Some(folder) = report_folder(datapoint) {
        return Some(folder);
    }
    let hours = datapoint.scheduled_time.strftime("%Y/%m/%d/%H").to_string();
    if let Some(other) = ledger.datapoints.iter().rev().find_map(report_folder) {
        let mut parts: Vec<&str> = other.key.rsplitn(5, '/').collect();
        let root = parts.pop()?;
        return Some(S3Uri {
            bucket: other.bucket.clone(),
            key: format!("{root}/{hours}"),
        });
    }
    let schedule = &ledger.monitor.schedule;
    let analysis = policy
        .analyses()
        .into_iter()
        .find(|analysis| analysis.schedule.as_str() == schedule)?;
    Some(S3Uri {
        bucket: analysis.output.bucket.clone(),
        key: analysis
            .report_prefix(datapoint.scheduled_time)
            .trim_end_matches('/')
            .to_owned(),
    })
}

/// Reads a file of a folder. `None` if it does not exist, is too large, or the role may not read it.
async fn file(clients: &impl Reports, folder: &S3Uri, name: &str) -> Result<Option<(String, Vec<u8>)>, AwsError> {
    let key = format!("{}/{name}", folder.key);
    match clients.report(&folder.bucket, &key, MAX_FILE_BYTES).await {
        Ok(FetchedObject::Found(object)) => Ok(Some((format!("s3://{}/{key}", folder.bucket), object.body))),
        Ok(FetchedObject::Absent | FetchedObject::TooLarge(_)) => Ok(None),
        Err(error) if error.kind == Kind::Denied => {
            tracing::warn!(error = %error, "report file skipped: access denied");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Name of the file with the metric values of a monitor type.
fn metric_file(monitor_type: Option<MonitorType>) -> Option<&'static str> {
    match monitor_type? {
        MonitorType::DataQuality => Some("drift.json"),
        MonitorType::ModelQuality => Some("statistics.json"),
        MonitorType::ModelBias => Some("analysis.json"),
        MonitorType::ModelExplainability => Some("attribution_drift.json"),
        MonitorType::Custom => None,
    }
}

/// Values and thresholds by subject.
type Values = (BTreeMap<String, f64>, BTreeMap<String, f64>);

/// Parses a file with metric values. A file that cannot be parsed has no values: the dashboard shows the report anyway.
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
        labels: BTreeMap<String, LabelDrift>,
    }
    #[derive(Deserialize)]
    struct LabelDrift {
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
            columns.truncate(MAX_COLUMNS);
            let columns = columns.into_iter();
            columns
                .map(|column| ((column.name.clone(), column.distance), (column.name, column.threshold)))
                .unzip()
        }
        MonitorType::ModelQuality => {
            let statistics = Statistics::parse("statistics.json", body, &limits);
            let values = statistics.map(|statistics| ExecutionMetrics::values_from_statistics(&statistics));
            (values.unwrap_or_default(), BTreeMap::new())
        }
        MonitorType::ModelBias => {
            let analysis = Analysis::parse("analysis.json", body, &limits);
            let values = analysis.map(|analysis| ExecutionMetrics::values_from_analysis(&analysis));
            (values.unwrap_or_default(), BTreeMap::new())
        }
        MonitorType::ModelExplainability => {
            let drift: Option<Attribution> = serde_json::from_slice(body).ok();
            let labels = drift.map(|drift| drift.labels).unwrap_or_default();
            // Subjects are named as in violations.
            let subjects = labels
                .into_iter()
                .map(|(label, drift)| (format!("{label} shap"), drift));
            subjects
                .map(|(subject, drift)| ((subject.clone(), drift.ndcg), (subject, drift.threshold)))
                .unzip()
        }
        MonitorType::Custom => Values::default(),
    }
}

/// Maximum number of columns kept per data quality execution, most drifted columns first.
const MAX_COLUMNS: usize = 100;

/// Reads the metric values of the latest executions. Files of executions in `kept` are not read again.
///
/// # Errors
/// If a call to AWS fails.
pub async fn metrics(
    clients: &impl Reports,
    known: &ModelState,
    policy: &Policy,
    mut kept: Vec<ExecutionMetrics>,
) -> Result<Vec<ExecutionMetrics>, AwsError> {
    let mut wanted = Vec::new();
    let mut oldest: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for ledger in &known.ledgers {
        let schedule = ledger.monitor.schedule.as_str();
        let (Some(monitor_type), Some(name)) = (ledger.monitor.monitor_type, metric_file(ledger.monitor.monitor_type))
        else {
            continue;
        };
        for datapoint in ledger.datapoints.iter().rev().take(MAX_EXECUTIONS) {
            oldest.insert(schedule, datapoint.scheduled_time);
            let has_result = matches!(datapoint.state(), DatapointState::Clean | DatapointState::Violations);
            let mut kept = kept.iter();
            let is_kept = kept.any(|execution| {
                execution.schedule == schedule && execution.scheduled_time == datapoint.scheduled_time
            });
            if let (true, false, Some(folder)) = (has_result, is_kept, folder(ledger, datapoint, policy)) {
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
    kept.retain(|execution| {
        let since = oldest.get(execution.schedule.as_str());
        since.is_some_and(|since| execution.scheduled_time >= *since)
    });
    let read = wanted
        .into_iter()
        .map(|(schedule, scheduled_time, monitor_type, folder, name)| async move {
            let body = file(clients, &folder, name).await?;
            let (values, thresholds) = body.map(|(_, body)| values(monitor_type, &body)).unwrap_or_default();
            Ok::<_, AwsError>(ExecutionMetrics {
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
    let mut later: Option<&ExecutionMetrics> = None;
    for execution in kept.iter_mut().rev() {
        if later.is_some_and(|later| later.schedule == execution.schedule) {
            execution.thresholds.clear();
        }
        later = Some(execution);
    }
    Ok(kept)
}

/// Reads the distributions of the latest data quality executions, and those of their baselines.
///
/// # Errors
/// If a call to AWS fails.
pub async fn comparisons(
    clients: &impl Files,
    known: &ModelState,
    policy: &Policy,
    notes: &mut Vec<String>,
) -> Result<Vec<Comparison>, AwsError> {
    let mut comparisons = Vec::new();
    let limits = Limits::default();
    for ledger in &known.ledgers {
        if ledger.monitor.monitor_type != Some(MonitorType::DataQuality) {
            continue;
        }
        let has_result =
            |datapoint: &&Datapoint| matches!(datapoint.state(), DatapointState::Clean | DatapointState::Violations);
        let Some(datapoint) = ledger.datapoints.iter().rev().find(has_result) else {
            continue;
        };
        let Some(folder) = folder(ledger, datapoint, policy) else {
            continue;
        };
        let Some((statistics_uri, body)) = file(clients, &folder, "statistics.json").await? else {
            continue;
        };
        let current = match Statistics::parse(&statistics_uri, &body, &limits) {
            Ok(current) => current,
            Err(error) => {
                notes.push(error.to_string());
                continue;
            }
        };
        let baseline_uri = baseline_uri(clients, ledger, policy, notes).await?;
        let mut baseline = None;
        if let Some(folder) = baseline_uri.as_deref().and_then(S3Uri::parse)
            && let Some((uri, body)) = file(clients, &folder, "statistics.json").await?
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

/// Folder of a monitor's baseline: set by a promotion, or by the policy, or by the monitoring schedule in SageMaker.
async fn baseline_uri(
    clients: &impl Files,
    ledger: &MonitorLedger,
    policy: &Policy,
    notes: &mut Vec<String>,
) -> Result<Option<String>, AwsError> {
    let schedule = &ledger.monitor.schedule;
    let promoted: Option<BaselineDocument> = document(clients, &BaselineDocument::key(schedule), notes).await?;
    if let Some(promoted) = promoted {
        return Ok(Some(promoted.change.baseline_uri));
    }
    let analyses = policy.analyses();
    if let Some(analysis) = analyses.iter().find(|analysis| analysis.schedule.as_str() == schedule) {
        return Ok(Some(analysis.baseline.to_string()));
    }
    let Some(endpoint) = &ledger.monitor.endpoint else {
        return Ok(None);
    };
    let monitors = match clients.monitors_for(endpoint).await {
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
