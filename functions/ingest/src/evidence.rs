//! From an event to what it tells of an execution: which execution, and the evidence, read from where it lies.

use crate::{Config, IngestError};
use alerting::{
    DOCTOR_SCHEDULE, Evidence, ExecutionEvidence, ExecutionStatus, JobEvidence, JobStatus,
    MonitoringExecutionStateChange, ReportEvidence,
};
use futures_util::future::{OptionFuture, join};
use jiff::Timestamp;
use model_monitor::{
    ExitMessage, Limits, MonitorType, ObjectCreated, ProcessingJobStateChange, ReportFolder, ViolationReport,
};
use shell::ports::{DescribedJob, FetchedObject, ProcessingJobs, Reports};

/// What an event points at.
#[derive(Debug)]
pub(crate) enum Source {
    /// A violation report has been written.
    Report { bucket: String, key: String },
    /// An analysis job has ended.
    Job {
        job: ProcessingJobStateChange,
        status: JobStatus,
    },
    /// An execution of our own has ended.
    Execution(MonitoringExecutionStateChange),
}

/// What is known after looking.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) evidence: Evidence,
    /// What the monitor monitors, as the report's entries tell.
    pub(crate) monitor_type: Option<MonitorType>,
}

impl Source {
    /// The execution that an object is of, or why it is none.
    pub(crate) fn of_object(object: ObjectCreated, config: &Config) -> Result<(ReportFolder, Self), String> {
        let ObjectCreated { bucket, key, .. } = object;
        match ReportFolder::from_key(&bucket, &key, &config.report_prefixes)
            .filter(|folder| config.is_report_bucket(&folder.bucket))
        {
            Some(folder) => Ok((folder, Self::Report { bucket, key })),
            None => Err(format!("s3://{bucket}/{key} is not a violation report of a monitor")),
        }
    }

    /// The execution of our own, or why it is none of this deployment's.
    pub(crate) fn of_execution(
        execution: MonitoringExecutionStateChange,
        config: &Config,
    ) -> Result<(ReportFolder, Self), String> {
        let uri = &execution.report_uri;
        let folder = ReportFolder::from_uri(uri, &config.report_prefixes);
        match folder.filter(|folder| config.is_report_bucket(&folder.bucket)) {
            Some(folder) => Ok((folder, Self::Execution(execution))),
            None => Err(format!(
                "`{uri}` is no monitor's report folder in the bucket and prefix of this deployment"
            )),
        }
    }

    /// The execution that a job is of, or why it is none.
    pub(crate) fn of_job(job: ProcessingJobStateChange, config: &Config) -> Result<(ReportFolder, Self), String> {
        let name = &job.name;
        let status = match job.status.as_str() {
            "Completed" => JobStatus::Completed,
            "Stopped" => JobStatus::Stopped,
            "Failed" => JobStatus::Failed,
            other => return Err(format!("processing job `{name}` is `{other}`: only its end tells")),
        };
        if job.is_ground_truth_merge() {
            return Err(format!(
                "processing job `{name}` merges ground truth: the analysis job comes after it"
            ));
        }
        let mut folders = job
            .outputs
            .iter()
            .filter_map(|uri| ReportFolder::from_uri(uri, &config.report_prefixes));
        match folders.find(|folder| config.is_report_bucket(&folder.bucket)) {
            Some(folder) => Ok((folder, Self::Job { job, status })),
            None => Err(format!("processing job `{name}` writes no monitor's report folder")),
        }
    }
}

/// Looks at what an event points at; a reason if it turns out not to be a monitoring execution.
pub(crate) async fn gather(
    world: &(impl Reports + ProcessingJobs),
    folder: &ReportFolder,
    source: Source,
    config: &Config,
) -> Result<Result<Found, String>, IngestError> {
    match source {
        Source::Report { bucket, key } => match read(world, &bucket, &key, config).await? {
            Some((report, monitor_type)) => Ok(Ok(Found {
                evidence: Evidence {
                    report: Some(report),
                    ..Evidence::default()
                },
                monitor_type,
            })),
            // `driftwarden doctor` removes its report once it has seen the datapoint; S3's event may come twice.
            None if folder.schedule.as_str() == DOCTOR_SCHEDULE => {
                Ok(Err(format!("s3://{bucket}/{key} has been removed by who wrote it")))
            }
            None => Err(IngestError::ReportGone {
                uri: format!("s3://{bucket}/{key}"),
            }),
        },
        Source::Execution(execution) => {
            let Some(status) = ExecutionStatus::parse(&execution.monitoring_execution_status) else {
                let status = execution.monitoring_execution_status;
                return Ok(Err(format!("an execution that is `{status}` has not ended")));
            };
            let reported = match status {
                ExecutionStatus::CompletedWithViolations => find(world, folder, config).await?,
                _ => None,
            };
            Ok(Ok(Found {
                evidence: Evidence {
                    report: reported.map(|(report, _)| report),
                    execution: Some(ExecutionEvidence {
                        status,
                        reason: execution.failure_reason,
                        last_modified: execution.time,
                    }),
                    ..Evidence::default()
                },
                monitor_type: MonitorType::parse(&execution.monitor_type),
            }))
        }
        Source::Job { job, status } => {
            // The event may leave out what the description always has.
            let told = job.exit_message.is_some() && job.monitoring_schedule_arn.is_some();
            let described = OptionFuture::from((!told).then(|| world.describe(&job.name)));
            let reported = OptionFuture::from((status == JobStatus::Completed).then(|| find(world, folder, config)));
            let (described, reported) = join(described, reported).await;
            let described = described.transpose()?.unwrap_or_else(|| DescribedJob {
                monitoring_schedule_arn: job.monitoring_schedule_arn.clone(),
                exit_message: job.exit_message.clone(),
                ..DescribedJob::default()
            });
            if job.monitoring_schedule_arn.is_none() && described.monitoring_schedule_arn.is_none() {
                return Ok(Err(format!(
                    "processing job `{}` was not started by a monitoring schedule",
                    job.name
                )));
            }
            let exit_message = job.exit_message.clone().or(described.exit_message);
            let (report, monitor_type) = match reported.transpose()?.flatten() {
                Some((report, monitor_type)) => (Some(report), monitor_type),
                None => (None, None),
            };
            let job = JobEvidence {
                violations: exit_message.as_deref().and_then(counted),
                reason: job.failure_reason.clone().or(exit_message),
                ended_at: job.ended_at().unwrap_or(Timestamp::UNIX_EPOCH),
                processing_job_arn: job.arn,
                status,
            };
            Ok(Ok(Found {
                evidence: Evidence {
                    report,
                    job: Some(job),
                    ..Evidence::default()
                },
                monitor_type,
            }))
        }
    }
}

/// How many violations an exit message tells of. One that speaks of violations without a number tells of one at least.
fn counted(exit_message: &str) -> Option<u64> {
    match ExitMessage::parse(exit_message) {
        ExitMessage::CompletedWithViolations { count } => Some(count.unwrap_or(1).max(1)),
        ExitMessage::Completed => Some(0),
        ExitMessage::Other => None,
    }
}

type Read = Option<(ReportEvidence, Option<MonitorType>)>;

/// The report in a folder, under either of its names; `None` if there is none, as after a run without violations.
async fn find(world: &impl Reports, folder: &ReportFolder, config: &Config) -> Result<Read, IngestError> {
    let [usual, other] = folder.violation_keys();
    let (usual, other) = join(
        read(world, &folder.bucket, &usual, config),
        read(world, &folder.bucket, &other, config),
    )
    .await;
    Ok(match usual? {
        Some(read) => Some(read),
        None => other?,
    })
}

async fn read(world: &impl Reports, bucket: &str, key: &str, config: &Config) -> Result<Read, IngestError> {
    let uri = format!("s3://{bucket}/{key}");
    let limit = config.max_report_bytes;
    match world.report(bucket, key, limit).await? {
        FetchedObject::Absent => Ok(None),
        FetchedObject::TooLarge(bytes) => Err(IngestError::ReportTooLarge { uri, bytes, limit }),
        FetchedObject::Found(object) => {
            let limits = Limits {
                max_bytes: usize::try_from(limit).unwrap_or(usize::MAX),
                ..Limits::default()
            };
            let report = ViolationReport::parse(&uri, &object.body, &limits).map_err(IngestError::Report)?;
            let evidence = ReportEvidence::new(uri, object.etag.0, object.last_modified, &report, config.top_features);
            Ok(Some((evidence, report.monitor_type)))
        }
    }
}
