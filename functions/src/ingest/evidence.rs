//! Finds the monitoring execution of an event, and reads the evidence of its result.

use crate::ingest::Config;
use crate::{Error, Ignored, Routed};
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

/// Source of the evidence, from the event.
#[derive(Debug)]
pub(crate) enum Source {
    /// A violation report has been written.
    Report(ObjectCreated),
    /// An analysis job has ended.
    Job {
        job: ProcessingJobStateChange,
        status: JobStatus,
    },
    /// A native analysis has ended.
    Execution(MonitoringExecutionStateChange),
}

/// Evidence of an execution's result.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) evidence: Evidence,
    /// Monitor type, if the evidence shows it.
    pub(crate) monitor_type: Option<MonitorType>,
}

impl Source {
    /// The execution for a report object, or the reason why the object is not a violation report.
    pub(crate) fn from_object(object: ObjectCreated, config: &Config) -> Routed<(ReportFolder, Self)> {
        let ObjectCreated { bucket, key, .. } = &object;
        match ReportFolder::from_key(bucket, key, &config.report_prefixes)
            .filter(|folder| config.is_report_bucket(&folder.bucket))
        {
            Some(folder) => Ok((folder, Self::Report(object))),
            None => Err(Ignored(format!(
                "s3://{bucket}/{key} is not a violation report of a monitor"
            ))),
        }
    }

    /// The execution for the event of a native analysis, or the reason why it does not belong to this deployment.
    pub(crate) fn from_execution(
        execution: MonitoringExecutionStateChange,
        config: &Config,
    ) -> Routed<(ReportFolder, Self)> {
        let uri = &execution.report_uri;
        let folder = ReportFolder::from_uri(uri, &config.report_prefixes);
        match folder.filter(|folder| config.is_report_bucket(&folder.bucket)) {
            Some(folder) => Ok((folder, Self::Execution(execution))),
            None => Err(Ignored(format!(
                "`{uri}` is not a report folder in the report bucket and prefixes of this deployment"
            ))),
        }
    }

    /// The execution for a processing job, or the reason why the job is not an analysis.
    pub(crate) fn from_job(job: ProcessingJobStateChange, config: &Config) -> Routed<(ReportFolder, Self)> {
        let name = &job.name;
        let status = match job.status.as_str() {
            "Completed" => JobStatus::Completed,
            "Stopped" => JobStatus::Stopped,
            "Failed" => JobStatus::Failed,
            other => {
                return Err(Ignored(format!(
                    "processing job `{name}` has the status `{other}`: it has not ended"
                )));
            }
        };
        if job.is_ground_truth_merge() {
            return Err(Ignored(format!(
                "processing job `{name}` merges ground truth: an analysis job follows it"
            )));
        }
        let mut folders = job
            .outputs
            .iter()
            .filter_map(|uri| ReportFolder::from_uri(uri, &config.report_prefixes));
        match folders.find(|folder| config.is_report_bucket(&folder.bucket)) {
            Some(folder) => Ok((folder, Self::Job { job, status })),
            None => Err(Ignored(format!(
                "processing job `{name}` does not write to a report folder"
            ))),
        }
    }
}

/// Reads the evidence. The event may not be that of a finished monitoring execution.
pub(crate) async fn gather(
    clients: &(impl Reports + ProcessingJobs),
    folder: &ReportFolder,
    source: Source,
    config: &Config,
) -> Result<Routed<Finding>, Error> {
    match source {
        Source::Report(ObjectCreated {
            bucket,
            key,
            etag,
            sequencer,
            ..
        }) => match read(clients, &bucket, &key, config).await? {
            Some((report, monitor_type)) => Ok(Ok(Finding {
                evidence: Evidence {
                    // The object that was read can be a later version than the one of the event.
                    report: Some(if etag.as_deref() == Some(report.etag.trim_matches('"')) {
                        report.with_sequencer(sequencer.as_deref())
                    } else {
                        report
                    }),
                    ..Evidence::default()
                },
                monitor_type,
            })),
            // `driftwarden doctor` deletes its report after it has seen the datapoint. S3 may deliver the event again.
            None if folder.schedule.as_str() == DOCTOR_SCHEDULE => Ok(Err(Ignored(format!(
                "`driftwarden doctor` has deleted s3://{bucket}/{key}"
            )))),
            None => Err(Error::ReportGone {
                uri: format!("s3://{bucket}/{key}"),
            }),
        },
        Source::Execution(execution) => {
            let Some(status) = ExecutionStatus::parse(&execution.monitoring_execution_status) else {
                let status = execution.monitoring_execution_status;
                return Ok(Err(Ignored(format!(
                    "the execution has the status `{status}`: it has not ended"
                ))));
            };
            let report = match status {
                ExecutionStatus::CompletedWithViolations => find(clients, folder, config).await?,
                _ => None,
            };
            Ok(Ok(Finding {
                evidence: Evidence {
                    report: report.map(|(report, _)| report),
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
            // The description always has both fields, the event may omit them.
            let is_complete = job.exit_message.is_some() && job.monitoring_schedule_arn.is_some();
            let described = OptionFuture::from((!is_complete).then(|| clients.describe(&job.name)));
            let reported = OptionFuture::from((status == JobStatus::Completed).then(|| find(clients, folder, config)));
            let (described, reported) = join(described, reported).await;
            let described = described.transpose()?.unwrap_or_else(|| DescribedJob {
                monitoring_schedule_arn: job.monitoring_schedule_arn.clone(),
                exit_message: job.exit_message.clone(),
                ..DescribedJob::default()
            });
            if job.monitoring_schedule_arn.is_none() && described.monitoring_schedule_arn.is_none() {
                return Ok(Err(Ignored(format!(
                    "processing job `{}` was not started by a monitoring schedule",
                    job.name
                ))));
            }
            let exit_message = job.exit_message.clone().or(described.exit_message);
            let (report, monitor_type) = match reported.transpose()?.flatten() {
                Some((report, monitor_type)) => (Some(report), monitor_type),
                None => (None, None),
            };
            let job = JobEvidence {
                violations: exit_message.as_deref().and_then(violation_count),
                reason: job.failure_reason.clone().or(exit_message),
                ended_at: job.ended_at().unwrap_or(Timestamp::UNIX_EPOCH),
                processing_job_arn: job.arn,
                status,
            };
            Ok(Ok(Finding {
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

/// Number of violations in an exit message. If the message mentions violations without a number, it is at least 1.
fn violation_count(exit_message: &str) -> Option<u64> {
    match ExitMessage::parse(exit_message) {
        ExitMessage::CompletedWithViolations { count } => Some(count.unwrap_or(1).max(1)),
        ExitMessage::Completed => Some(0),
        ExitMessage::Other => None,
    }
}

type Read = Option<(ReportEvidence, Option<MonitorType>)>;

/// Reads the report in a folder, under either of its names. `None` if there is none, as after an execution without violations.
async fn find(clients: &impl Reports, folder: &ReportFolder, config: &Config) -> Result<Read, Error> {
    let [first, second] = folder.violation_keys();
    let (first, second) = join(
        read(clients, &folder.bucket, &first, config),
        read(clients, &folder.bucket, &second, config),
    )
    .await;
    Ok(match first? {
        Some(read) => Some(read),
        None => second?,
    })
}

async fn read(clients: &impl Reports, bucket: &str, key: &str, config: &Config) -> Result<Read, Error> {
    let uri = format!("s3://{bucket}/{key}");
    let limit = config.max_report_bytes;
    match clients.report(bucket, key, limit).await? {
        FetchedObject::Absent => Ok(None),
        FetchedObject::TooLarge(bytes) => Err(Error::ReportTooLarge { uri, bytes, limit }),
        FetchedObject::Found(object) => {
            let limits = Limits {
                max_bytes: usize::try_from(limit).unwrap_or(usize::MAX),
                ..Limits::default()
            };
            let report = ViolationReport::parse(&uri, &object.body, &limits).map_err(Error::Report)?;
            let evidence = ReportEvidence::new(uri, object.etag.0, object.last_modified, &report, config.top_features);
            Ok(Some((evidence, report.monitor_type)))
        }
    }
}
