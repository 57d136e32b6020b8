//! One monitoring execution: from the data of its window to its report, its metrics and its event.

use crate::{
    AnalyzeError, World,
    datasets::{Failed, config, content, listed, read_objects, with_objects},
};
use alerting::{MONITORING_EXECUTION_STATE_CHANGE, MonitoringExecutionStateChange, execution_correlation_id};
use analysis::Profile;
use analyzer::{
    CaptureColumns, Dataset, GroundTruth, Outcome, OutputColumns, ReadOptions, Report, Table,
    job::{BASELINE_FILES, Baseline, DataQualityJob, DataQualityOptions, ModelRequest, PredictionJob},
};
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use model_monitor::{MonitorType, S3Uri};
use promotion::BaselineDocument;
use remediation::AnalysisSchedule;
use serde::{Deserialize, Serialize, de::Error as _};
use shell::{
    ports::{Fetched, FetchedObject, ListedObject, ModelEndpoint},
    stream::asking,
    telemetry,
};
use std::{cell::RefCell, sync::Arc};
use tracing::{Instrument as _, Span};

/// What the service says of an execution without data.
const NO_DATA: &str = "Job inputs had no data";
/// Labels that came later than this after the data are not looked for.
const LATEST_LABELS: SignedDuration = SignedDuration::from_hours(7 * 24);
/// A failure reason is at most this long (API, `FailureReason`).
const LONGEST_REASON: usize = 1024;

/// An execution that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Executed {
    /// The monitoring schedule.
    pub monitoring_schedule: String,
    /// The hour that it was due.
    pub scheduled_time: Timestamp,
    /// `Completed`, `CompletedWithViolations` or `Failed`.
    pub monitoring_execution_status: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// How many rows were analysed.
    pub item_count: u64,
    /// How many constraints are violated.
    pub violations: u64,
    /// The folder of its report.
    pub report_uri: String,
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

    /// Carries the execution out: its report is written, its event is on the bus.
    pub(crate) async fn carry_out(&self, world: &impl World) -> Result<Executed, AnalyzeError> {
        let work = async {
            let baseline_uri = self.baseline_uri(world).await?;
            let report = self.report(world, &baseline_uri).await;
            self.conclude(world, report).await
        };
        work.instrument(self.about()).await
    }

    /// The span of what is logged about it.
    pub(crate) fn about(&self) -> Span {
        telemetry::about(
            None,
            Some(self.analysis.schedule.as_str()),
            Some(&self.correlation_id()),
        )
    }

    fn correlation_id(&self) -> String {
        execution_correlation_id(self.analysis.schedule.as_str(), self.scheduled_time)
    }

    /// Writes what came of the execution, and tells of it.
    pub(crate) async fn conclude(
        &self,
        world: &impl World,
        report: Result<Option<Report>, Failed>,
    ) -> Result<Executed, AnalyzeError> {
        let analysis = self.analysis;
        let prefix = analysis.report_prefix(self.scheduled_time);
        let (status, failure_reason, report) = match report {
            Err(Failed::Aws(error)) => return Err(error.into()),
            Err(Failed::ForGood(mut reason)) => {
                let end = (0..=LONGEST_REASON).rev().find(|at| reason.is_char_boundary(*at));
                reason.truncate(end.unwrap_or(0));
                ("Failed", Some(reason), None)
            }
            Ok(None) => ("Failed", Some(NO_DATA.to_owned()), None),
            Ok(Some(report)) => match report.outcome() {
                Outcome::NoData => ("Failed", Some(NO_DATA.to_owned()), Some(report)),
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
                // Of an execution that is repeated, the first may have left violations that are none any more.
                let none = report.violations_file();
                let key = format!("{prefix}{}", none.name);
                if world.report(&analysis.output.bucket, &key, 0).await? != FetchedObject::Absent {
                    files.push(none);
                }
            }
            // The violations last: what reads them finds the rest.
            for file in files {
                let key = format!("{prefix}{}", file.name);
                world.store(&analysis.output.bucket, &key, file.content).await?;
            }
            let (namespace, dimensions) = self.metrics();
            if !report.metrics.is_empty() {
                world
                    .publish_monitor(&namespace, &dimensions, self.scheduled_time, &report.metrics)
                    .await?;
            }
        }
        let executed = Executed {
            monitoring_schedule: analysis.schedule.to_string(),
            scheduled_time: self.scheduled_time,
            monitoring_execution_status: status.to_owned(),
            failure_reason,
            item_count: report.as_ref().map_or(0, |report| report.item_count),
            violations: report.as_ref().map_or(0, |report| report.violations.len() as u64),
            report_uri: format!("s3://{}/{}", analysis.output.bucket, prefix.trim_end_matches('/')),
        };
        self.tell(world, &executed).await?;
        tracing::info!(
            monitoring_schedule = %executed.monitoring_schedule,
            scheduled_time = %executed.scheduled_time,
            status,
            reason = executed.failure_reason,
            item_count = executed.item_count,
            violations = executed.violations,
            "execution carried out"
        );
        Ok(executed)
    }

    async fn tell(&self, world: &impl World, executed: &Executed) -> Result<(), AnalyzeError> {
        let change = MonitoringExecutionStateChange {
            version: "1".to_owned(),
            id: format!(
                "{}-{}",
                self.analysis.schedule.key(),
                self.scheduled_time.strftime("%Y%m%dT%H")
            ),
            correlation_id: Some(self.correlation_id()),
            monitoring_schedule: executed.monitoring_schedule.clone(),
            endpoint: self.analysis.endpoint.as_ref().map(ToString::to_string),
            monitor_type: self.analysis.monitor_type.to_string(),
            scheduled_time: self.scheduled_time,
            monitoring_execution_status: executed.monitoring_execution_status.clone(),
            failure_reason: executed.failure_reason.clone(),
            report_uri: executed.report_uri.clone(),
            item_count: executed.item_count,
            violations: executed.violations,
            time: world.now(),
        };
        let detail = serde_json::to_string(&change).map_err(AnalyzeError::Event)?;
        world.put(MONITORING_EXECUTION_STATE_CHANGE, detail).await?;
        Ok(())
    }

    /// Namespace and dimensions of the execution's metrics, as Model Monitor has them.
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
        let of = if analysis.endpoint.is_some() {
            "Endpoints"
        } else {
            "ModelMonitoring"
        };
        (format!("aws/sagemaker/{of}/{kind}"), dimensions)
    }

    /// The report; `None` if there is nothing to analyse.
    async fn report(&self, world: &impl World, baseline_uri: &S3Uri) -> Result<Option<Report>, Failed> {
        let baseline = baseline(world, baseline_uri).await?;
        let objects = listed(world, &self.analysis.data, self.analysis.hours(self.scheduled_time)).await?;
        if objects.is_empty() {
            return Ok(None);
        }
        match self.analysis.monitor_type {
            MonitorType::DataQuality | MonitorType::Custom => {
                let options = self.options(baseline.columns());
                let bucket = &self.analysis.data.bucket;
                let dataset: Dataset<Profile> =
                    read_objects(world, bucket, &objects, options, Profile::default).await?;
                Ok(Some(self.data_quality().analyze(&dataset, &baseline)?.0))
            }
            kind => self.predictions(kind, world, &objects, baseline).await.map(Some),
        }
    }

    /// The report of an analysis of predictions.
    async fn predictions(
        &self,
        kind: MonitorType,
        world: &impl World,
        objects: &[ListedObject],
        baseline: Baseline,
    ) -> Result<Report, Failed> {
        let config = match &self.analysis.config {
            Some(uri) => Some(config(world, uri).await?),
            None => baseline.config.clone(),
        };
        let job = PredictionJob::new(kind, config)?;
        let truth = if job.uses_ground_truth() {
            self.truth(world).await?
        } else {
            None
        };
        let mut options = self.options(Vec::new());
        options.capture.ground_truth.clone_from(&truth);
        job.prepare(&mut options);
        let dataset = read_objects(world, &self.analysis.data.bucket, objects, options, job.tables()).await?;
        match self.model(&job) {
            Some(model) => asked(world, job, dataset, truth, baseline, &model).await,
            None => Ok(job.analyze(&dataset, truth.as_deref(), &baseline, None)?),
        }
    }

    /// The model that is asked, if one is: that of the configuration, or the endpoint that is monitored.
    fn model(&self, job: &PredictionJob) -> Option<ModelEndpoint> {
        let config = job.config();
        if job.monitor_type() != MonitorType::ModelExplainability || !config.asks_model() {
            return None;
        }
        let monitored = self.analysis.endpoint.as_ref().map(ToString::to_string);
        let name = config.predictor.endpoint_name.clone().or(monitored);
        name.map(ModelEndpoint::Name)
    }

    /// The labels that have come since the data were captured.
    async fn truth(&self, world: &impl World) -> Result<Option<Arc<GroundTruth>>, Failed> {
        let Some(uri) = &self.analysis.ground_truth else {
            return Ok(None);
        };
        let captured = self.analysis.hours(self.scheduled_time);
        let until = captured.last().and_then(|last| last.checked_add(LATEST_LABELS).ok());
        let until = until.map_or(world.now(), |until| until.min(world.now()));
        let Some(first) = captured.first() else { return Ok(None) };
        let hours = first.series(1.hour()).take_while(|hour| *hour <= until);
        let found = listed(world, uri, hours.collect()).await?;
        let truth = with_objects(world, &uri.bucket, &found, GroundTruth::read).await?;
        Ok(Some(Arc::new(truth)))
    }

    /// Why the analysis cannot be made of partial profiles, if it cannot.
    pub(crate) fn not_in_parts(&self) -> Option<String> {
        let AnalysisSchedule {
            schedule, monitor_type, ..
        } = self.analysis;
        let of_cells = matches!(monitor_type, MonitorType::DataQuality | MonitorType::Custom);
        (!of_cells).then(|| {
            format!(
                "`{schedule}` is of {monitor_type}, which looks at whole rows: only data quality is made in parts; ask for \
                 this one by {{\"schedule\": \"{schedule}\"}}"
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

    /// The folder of the baseline: that of the model that was promoted last, else the policy's. Not to know which is no
    /// failed execution: held against the wrong one, good data drift.
    pub(crate) async fn baseline_uri(&self, world: &impl World) -> Result<S3Uri, AnalyzeError> {
        let key = BaselineDocument::key(self.analysis.schedule.as_str());
        let Fetched::Found(body, _) = world.read(&key, None).await? else {
            return Ok(self.analysis.baseline.clone());
        };
        let document = serde_json::from_slice::<BaselineDocument>(&body);
        let unreadable = |source| AnalyzeError::Document {
            key: key.clone(),
            source,
        };
        let uri = document.map_err(unreadable)?.change.baseline_uri;
        S3Uri::parse(&uri).ok_or_else(|| unreadable(serde_json::Error::custom(format_args!("`{uri}` is no s3:// URI"))))
    }
}

/// The files of a baseline.
pub(crate) async fn baseline(world: &impl World, folder: &S3Uri) -> Result<Baseline, Failed> {
    let mut baseline = Baseline::default();
    for name in BASELINE_FILES {
        let uri = file_in(folder, name);
        if let Some(body) = content(world, &uri).await? {
            baseline.add(name, &uri.to_string(), &body)?;
        }
    }
    Ok(baseline)
}

/// A file, or a folder, in a folder.
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

/// Carries an analysis out with a model that is asked.
async fn asked(
    world: &impl World,
    job: PredictionJob,
    dataset: Dataset<Table>,
    truth: Option<Arc<GroundTruth>>,
    baseline: Baseline,
    model: &ModelEndpoint,
) -> Result<Report, Failed> {
    // The analysis knows no AWS: it is told in words that a call failed, and what failed is kept here.
    let failed = RefCell::new(None);
    let report = asking(
        move |ask| {
            let mut invoke = |request: &ModelRequest| {
                let answer: Option<Result<Vec<u8>, String>> = ask(request.clone());
                answer.unwrap_or_else(|| Err("nobody answers any more".to_owned()))
            };
            job.analyze(&dataset, truth.as_deref(), &baseline, Some(&mut invoke))
        },
        async |request: ModelRequest| {
            let ModelRequest {
                content_type,
                accept,
                body,
            } = request;
            let answer = world.invoke_endpoint(model, &content_type, &accept, body).await;
            answer.map_err(|error| {
                let said = error.to_string();
                *failed.borrow_mut() = Some(error);
                said
            })
        },
    );
    match (report.await, failed.into_inner()) {
        (Some(Ok(report)), _) => Ok(report),
        (_, Some(error)) => Err(error.into()),
        (Some(Err(error)), None) => Err(error.into()),
        (None, None) => Err(Failed::ForGood("the analysis was given up".to_owned())),
    }
}
