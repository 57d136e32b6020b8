//! One monitoring execution: from the data of its window to its report, its metrics, and its event.

use crate::Error;
use crate::analyze::{
    AnalyzeClients,
    datasets::{Failed, config, content, listed, read_objects, with_objects},
};
use alerting::{MonitoringExecutionStateChange, execution_correlation_id};
use analysis::Profile;
use analyzer::{
    CaptureColumns, Dataset, GroundTruth, NO_DATA, Outcome, OutputColumns, ReadOptions, Report, Table,
    job::{BASELINE_FILES, Baseline, DataQualityJob, DataQualityOptions, ModelRequest, PredictionJob},
};
use events::Event;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use machine::{Fetched, UpdateError, parse_document};
use model_monitor::{MonitorType, S3Uri};
use promotion::BaselineDocument;
use remediation::AnalysisSchedule;
use serde::{Deserialize, Serialize, de::Error as _};
use serde_json::{Map, Value};
use shell::{
    ports::{FetchedObject, ListedObject, ModelEndpoint},
    stream::run_blocking,
    telemetry,
};
use std::{cell::RefCell, sync::Arc};
use tracing::{Instrument as _, Span};

/// Labels are searched up to this time after the data.
const MAX_LABEL_DELAY: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Maximum length of a failure reason (API, `FailureReason`).
const MAX_REASON_BYTES: usize = 1024;

/// Record of an execution that has run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionRecord {
    /// Name of the monitoring schedule.
    pub monitoring_schedule: String,
    /// Scheduled time of the execution.
    pub scheduled_time: Timestamp,
    /// `Completed`, `CompletedWithViolations`, or `Failed`.
    pub monitoring_execution_status: String,
    /// `FailureReason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// Number of analyzed rows.
    pub item_count: u64,
    /// Number of violations.
    pub violations: u64,
    /// `s3://` URI of the report's folder.
    pub report_uri: String,
    /// Fields of a newer release.
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// An execution of a schedule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Execution<'a> {
    analysis: &'a AnalysisSchedule,
    scheduled_time: Timestamp,
}

impl<'a> Execution<'a> {
    pub(crate) fn new(analysis: &'a AnalysisSchedule, scheduled_time: Timestamp) -> Self {
        Self {
            analysis,
            scheduled_time,
        }
    }

    /// Runs the execution: writes its report and publishes its event.
    pub(crate) async fn run(&self, clients: &impl AnalyzeClients) -> Result<ExecutionRecord, Error> {
        let work = async {
            let baseline_uri = self.baseline_uri(clients).await?;
            let report = self.report(clients, &baseline_uri).await;
            self.conclude(clients, report).await
        };
        work.instrument(self.span()).await
    }

    /// Span for log lines about the execution.
    pub(crate) fn span(&self) -> Span {
        telemetry::span_for(
            None,
            Some(self.analysis.schedule.as_str()),
            Some(&self.correlation_id()),
        )
    }

    fn correlation_id(&self) -> String {
        execution_correlation_id(self.analysis.schedule.as_str(), self.scheduled_time)
    }

    /// Writes the report, and publishes metrics and event.
    pub(crate) async fn conclude(
        &self,
        clients: &impl AnalyzeClients,
        report: Result<Option<Report>, Failed>,
    ) -> Result<ExecutionRecord, Error> {
        let analysis = self.analysis;
        let prefix = analysis.report_prefix(self.scheduled_time);
        let (status, failure_reason, report) = match report {
            Err(Failed::Aws(error)) => return Err(error.into()),
            Err(Failed::ForGood(mut reason)) => {
                let end = (0..=MAX_REASON_BYTES).rev().find(|at| reason.is_char_boundary(*at));
                reason.truncate(end.unwrap_or(0));
                ("Failed", Some(reason), None)
            }
            Ok(None) => ("Failed", Some(NO_DATA.to_owned()), None),
            Ok(Some(report)) => match report.outcome() {
                Outcome::NoData | Outcome::NotJudged => ("Failed", report.failure_reason(), Some(report)),
                Outcome::Clean => ("Completed", None, Some(report)),
                Outcome::Violations(_) => ("CompletedWithViolations", None, Some(report)),
            },
        };
        if let Some(report) = &report {
            for note in &report.notes {
                tracing::warn!(monitoring_schedule = %analysis.schedule, "{note}");
            }
            let mut files = report.all_files();
            if report.outcome() == Outcome::Clean {
                // The first run of a repeated execution may have written violations that no longer exist.
                let empty = report.violations_file();
                let key = format!("{prefix}{}", empty.name);
                if clients.report(&analysis.output.bucket, &key, 0).await? != FetchedObject::Absent {
                    files.push(empty);
                }
            }
            // The violations come last: their readers find the other files.
            for file in files {
                let key = format!("{prefix}{}", file.name);
                clients.store(&analysis.output.bucket, &key, file.content).await?;
            }
            let (namespace, dimensions) = self.metrics();
            if !report.metrics.is_empty() {
                clients
                    .publish_monitor(&namespace, &dimensions, self.scheduled_time, &report.metrics)
                    .await?;
            }
        }
        let record = ExecutionRecord {
            monitoring_schedule: analysis.schedule.to_string(),
            scheduled_time: self.scheduled_time,
            monitoring_execution_status: status.to_owned(),
            failure_reason,
            item_count: report.as_ref().map_or(0, |report| report.item_count),
            violations: report.as_ref().map_or(0, |report| report.violations.len() as u64),
            report_uri: format!("s3://{}/{}", analysis.output.bucket, prefix.trim_end_matches('/')),
            rest: Map::new(),
        };
        self.publish(clients, &record).await?;
        tracing::info!(
            monitoring_schedule = %record.monitoring_schedule,
            scheduled_time = %record.scheduled_time,
            status,
            reason = record.failure_reason,
            item_count = record.item_count,
            violations = record.violations,
            "execution completed"
        );
        Ok(record)
    }

    async fn publish(&self, clients: &impl AnalyzeClients, record: &ExecutionRecord) -> Result<(), Error> {
        let change = MonitoringExecutionStateChange {
            version: "1".to_owned(),
            id: format!(
                "{}-{}",
                self.analysis.schedule.key(),
                self.scheduled_time.strftime("%Y%m%dT%H")
            ),
            correlation_id: Some(self.correlation_id()),
            monitoring_schedule: record.monitoring_schedule.clone(),
            endpoint: self.analysis.endpoint.as_ref().map(ToString::to_string),
            monitor_type: self.analysis.monitor_type.to_string(),
            scheduled_time: self.scheduled_time,
            monitoring_execution_status: record.monitoring_execution_status.clone(),
            failure_reason: record.failure_reason.clone(),
            report_uri: record.report_uri.clone(),
            item_count: record.item_count,
            violations: record.violations,
            time: clients.now(),
        };
        clients.put(&Event::ExecutionStateChange(Box::new(change))).await?;
        Ok(())
    }

    /// Namespace and dimensions of the execution's metrics, as in Model Monitor.
    fn metrics(&self) -> (String, Vec<(String, String)>) {
        let analysis = self.analysis;
        let kind = match analysis.monitor_type {
            MonitorType::ModelQuality => "model-metrics",
            MonitorType::ModelBias => "bias-metrics",
            MonitorType::ModelExplainability => "explainability-metrics",
            MonitorType::DataQuality | MonitorType::Custom => "data-metrics",
        };
        let mut dimensions = Vec::with_capacity(2);
        if let Some(endpoint) = &analysis.endpoint {
            dimensions.push(("Endpoint".to_owned(), endpoint.to_string()));
        }
        dimensions.push(("MonitoringSchedule".to_owned(), analysis.schedule.to_string()));
        let scope = if analysis.endpoint.is_some() {
            "Endpoints"
        } else {
            "ModelMonitoring"
        };
        (format!("aws/sagemaker/{scope}/{kind}"), dimensions)
    }

    /// Analyzes the data. `None` if there is no data.
    async fn report(&self, clients: &impl AnalyzeClients, baseline_uri: &S3Uri) -> Result<Option<Report>, Failed> {
        let baseline = baseline(clients, baseline_uri).await?;
        let objects = listed(clients, &self.analysis.data, self.analysis.hours(self.scheduled_time)).await?;
        if objects.is_empty() {
            return Ok(None);
        }
        match self.analysis.monitor_type {
            MonitorType::DataQuality | MonitorType::Custom => {
                let options = self.options(baseline.columns());
                let bucket = &self.analysis.data.bucket;
                let dataset: Dataset<Profile> =
                    read_objects(clients, bucket, &objects, options, Profile::default).await?;
                Ok(Some(self.data_quality().analyze(&dataset, &baseline)?.0))
            }
            kind => self.predictions(kind, clients, &objects, baseline).await.map(Some),
        }
    }

    /// Runs an analysis of predictions: model quality, bias, or attributions.
    async fn predictions(
        &self,
        kind: MonitorType,
        clients: &impl AnalyzeClients,
        objects: &[ListedObject],
        baseline: Baseline,
    ) -> Result<Report, Failed> {
        let config = match &self.analysis.config {
            Some(uri) => Some(config(clients, uri).await?),
            None => baseline.config.clone(),
        };
        let job = PredictionJob::new(kind, config)?;
        let truth = if job.uses_ground_truth() {
            self.truth(clients).await?
        } else {
            None
        };
        let mut options = self.options(Vec::new());
        options.capture.ground_truth.clone_from(&truth);
        job.prepare(&mut options);
        let dataset = read_objects(clients, &self.analysis.data.bucket, objects, options, job.tables()).await?;
        match self.model(&job) {
            Some(model) => analyze_with_model(clients, job, dataset, truth, baseline, &model).await,
            None => Ok(job.analyze(&dataset, truth.as_deref(), &baseline, None)?),
        }
    }

    /// The model to query for attributions: that of the configuration, or else the monitored endpoint. `None` if the analysis needs no
    /// model.
    fn model(&self, job: &PredictionJob) -> Option<ModelEndpoint> {
        let config = job.config();
        if job.monitor_type() != MonitorType::ModelExplainability || !config.calls_model() {
            return None;
        }
        let monitored = self.analysis.endpoint.as_ref().map(ToString::to_string);
        let name = config.predictor.endpoint_name.clone().or(monitored);
        name.map(ModelEndpoint::Name)
    }

    /// Reads the labels that have arrived since the data was captured.
    async fn truth(&self, clients: &impl AnalyzeClients) -> Result<Option<Arc<GroundTruth>>, Failed> {
        let Some(uri) = &self.analysis.ground_truth else {
            return Ok(None);
        };
        let captured = self.analysis.hours(self.scheduled_time);
        let until = captured.last().and_then(|last| last.checked_add(MAX_LABEL_DELAY).ok());
        let until = until.map_or(clients.now(), |until| until.min(clients.now()));
        let Some(first) = captured.first() else { return Ok(None) };
        let hours = first.series(1.hour()).take_while(|hour| *hour <= until);
        let found = listed(clients, uri, hours.collect()).await?;
        let truth = with_objects(clients, &uri.bucket, &found, GroundTruth::read).await?;
        Ok(Some(Arc::new(truth)))
    }

    /// Why the analysis does not support partial profiles. `None` if it does.
    pub(crate) fn partial_profile_error(&self) -> Option<String> {
        let AnalysisSchedule {
            schedule, monitor_type, ..
        } = self.analysis;
        let is_supported = matches!(monitor_type, MonitorType::DataQuality | MonitorType::Custom);
        (!is_supported).then(|| {
            format!(
                "partial profiles are supported for data quality only, and `{schedule}` is of type {monitor_type}; request \
                 this analysis with {{\"schedule\": \"{schedule}\"}}"
            )
        })
    }

    pub(crate) fn data_quality(&self) -> DataQualityJob {
        DataQualityJob {
            options: DataQualityOptions {
                lenient_types: self.analysis.lenient_types,
                false_discovery_rate: self.analysis.false_discovery_rate,
                ..DataQualityOptions::default()
            },
            ..DataQualityJob::default()
        }
    }

    pub(crate) fn options(&self, expected: Vec<String>) -> ReadOptions {
        ReadOptions {
            expected,
            capture: CaptureColumns {
                output: if self.analysis.output_columns_first {
                    OutputColumns::Start
                } else {
                    OutputColumns::End
                },
                ..CaptureColumns::default()
            },
            ..ReadOptions::default()
        }
    }

    /// Folder of the baseline: that of the latest promoted model, or else that of the policy. If it is unknown, this is an error and
    /// not a failed execution: compared with the wrong baseline, good data would drift.
    pub(crate) async fn baseline_uri(&self, clients: &impl AnalyzeClients) -> Result<S3Uri, Error> {
        let key = BaselineDocument::key(self.analysis.schedule.as_str());
        let Fetched::Found(body, _) = clients.read(&key, None).await? else {
            return Ok(self.analysis.baseline.clone());
        };
        let document: BaselineDocument = parse_document(&key, &body, BaselineDocument::VERSION)?;
        let uri = document.change.baseline_uri;
        let invalid = || UpdateError::Unreadable {
            source: serde_json::Error::custom(format_args!("`{uri}` is not an s3:// URI")),
            key,
        };
        Ok(S3Uri::parse(&uri).ok_or_else(invalid)?)
    }
}

/// Reads the files of a baseline.
pub(crate) async fn baseline(clients: &impl AnalyzeClients, folder: &S3Uri) -> Result<Baseline, Failed> {
    let mut baseline = Baseline::default();
    for name in BASELINE_FILES {
        let uri = file_in(folder, name);
        if let Some(body) = content(clients, &uri).await? {
            baseline.add(name, &uri.to_string(), &body)?;
        }
    }
    Ok(baseline)
}

/// URI of a file or a folder in a folder.
pub(crate) fn file_in(folder: &S3Uri, name: &str) -> S3Uri {
    let S3Uri { bucket, key } = folder;
    S3Uri {
        bucket: bucket.clone(),
        key: if key.is_empty() {
            name.to_owned()
        } else {
            format!("{key}/{name}")
        },
    }
}

/// Runs an analysis that queries a model.
async fn analyze_with_model(
    clients: &impl AnalyzeClients,
    job: PredictionJob,
    dataset: Dataset<Table>,
    truth: Option<Arc<GroundTruth>>,
    baseline: Baseline,
    model: &ModelEndpoint,
) -> Result<Report, Failed> {
    // The analysis does not know AWS errors: it gets only the message, and the error is kept here.
    let failure = RefCell::new(None);
    let report = run_blocking(
        move |query| {
            let mut invoke = |request: &ModelRequest| {
                let answer: Option<Result<Vec<u8>, String>> = query(request.clone());
                answer.unwrap_or_else(|| Err("the endpoint stopped responding".to_owned()))
            };
            job.analyze(&dataset, truth.as_deref(), &baseline, Some(&mut invoke))
        },
        async |request: ModelRequest| {
            let ModelRequest {
                content_type,
                accept,
                body,
            } = request;
            let answer = clients.invoke_endpoint(model, &content_type, &accept, body).await;
            answer.map_err(|error| {
                let message = error.to_string();
                *failure.borrow_mut() = Some(error);
                message
            })
        },
    );
    match (report.await, failure.into_inner()) {
        (Some(Ok(report)), _) => Ok(report),
        (_, Some(error)) => Err(error.into()),
        (Some(Err(error)), None) => Err(error.into()),
        (None, None) => Err(Failed::ForGood("the analysis was canceled".to_owned())),
    }
}
