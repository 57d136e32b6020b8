//! The EventBridge events about executions, pipelines and alarms, as far as they are read here.
//!
//! Sources: EventBridge events reference (`aws.s3`, `aws.sagemaker`, `aws.cloudwatch`); SageMaker developer guide, page
//! `automating-sagemaker-with-eventbridge`. Fields that are not read pass; a detail-type that is not known is
//! [`Detail::Other`]; one that is known must be in its shape. Of a name that occurs twice in an object the last counts, since
//! a sample of the guide has such a one.

use crate::{
    GROUND_TRUTH_MERGE_FOLDER, Limits, MonitoringScheduleName, ParseError, ReportFolder, S3Uri,
    json::{self, text},
    layout::hour_of,
};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// No event is larger (`PutEvents` takes entries of up to 1 MB).
const MAX_EVENT_BYTES: usize = 2 << 20;

/// An EventBridge event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The event's id: duplicates have the same.
    pub id: String,
    /// Who put it.
    pub source: String,
    /// What it is.
    pub detail_type: String,
    /// Of which account.
    pub account: Option<String>,
    /// Where.
    pub region: Option<String>,
    /// When, if that can be read.
    pub time: Option<Timestamp>,
    /// What it says.
    pub detail: Detail,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq)]
pub enum Detail {
    /// `Object Created` of `aws.s3`.
    ObjectCreated(ObjectCreated),
    /// `SageMaker Processing Job State Change`.
    ProcessingJob(Box<ProcessingJobStateChange>),
    /// `SageMaker Model Building Pipeline Execution Status Change`.
    PipelineExecution(PipelineExecutionStatusChange),
    /// `SageMaker Model Building Pipeline Execution Step Status Change`.
    PipelineExecutionStep(Box<PipelineExecutionStepStatusChange>),
    /// `SageMaker Model Package State Change`.
    ModelPackage(Box<ModelPackageStateChange>),
    /// `SageMaker Endpoint State Change`.
    Endpoint(EndpointStateChange),
    /// `CloudWatch Alarm State Change`.
    Alarm(AlarmStateChange),
    /// Any other.
    Other(Value),
}

/// An object was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectCreated {
    /// The bucket.
    pub bucket: String,
    /// The key, decoded.
    pub key: String,
    /// Its size in bytes.
    pub size: Option<u64>,
}

/// A processing job changed its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessingJobStateChange {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// `InProgress`, `Completed`, `Failed`, `Stopping` or `Stopped`.
    pub status: String,
    /// The S3 URIs that it writes to.
    pub outputs: Vec<String>,
    /// The container's image.
    pub image: Option<String>,
    /// What the container wrote to `/opt/ml/output/message`, if the event tells.
    pub exit_message: Option<String>,
    /// Why it failed.
    pub failure_reason: Option<String>,
    /// The schedule that started it, if the event tells.
    pub monitoring_schedule_arn: Option<String>,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// When it last changed.
    pub last_modified_time: Option<Timestamp>,
}

impl ProcessingJobStateChange {
    /// Whether it is the job that merges captured data with ground truth, before a model quality or bias analysis.
    pub fn is_ground_truth_merge(&self) -> bool {
        let merger = |image: &String| image.contains("groundtruth-merger");
        self.outputs.iter().any(|uri| is_merge_output(uri))
            || self.image.as_ref().is_some_and(merger)
            || self.name.starts_with("groundtruth-merge-")
    }

    /// The schedule that started it, if the event tells: in lower case, as ARNs have it.
    pub fn schedule(&self) -> Option<MonitoringScheduleName> {
        MonitoringScheduleName::from_arn(self.monitoring_schedule_arn.as_deref()?)
    }

    /// The hour that the execution was scheduled for: that of the folder it writes its report to, else that of its name
    /// (`model-quality-monitoring-202611230100-…`).
    pub fn scheduled_time(&self) -> Option<Timestamp> {
        let of_folder = |uri: &String| Some(ReportFolder::from_uri(uri, &[])?.scheduled_time);
        let of_name = |part: &str| {
            let (year, rest) = part.split_at_checked(4)?;
            let (month, rest) = rest.split_at_checked(2)?;
            let (day, rest) = rest.split_at_checked(2)?;
            let (hour, minute) = rest.split_at_checked(2)?;
            (minute.len() == 2).then(|| hour_of(year, month, day, hour))?
        };
        self.outputs
            .iter()
            .find_map(of_folder)
            .or_else(|| self.name.split('-').find_map(of_name))
    }

    /// When it ended, as far as the event tells.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.end_time.or(self.last_modified_time)
    }
}

/// Whether a job's output is where a ground truth merge job writes: a URI that ends in `/merge`.
pub(crate) fn is_merge_output(uri: &str) -> bool {
    S3Uri::parse(uri).is_some_and(|uri| uri.key.rsplit('/').next() == Some(GROUND_TRUTH_MERGE_FOLDER))
}

/// A pipeline execution changed its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineExecutionStatusChange {
    /// The pipeline.
    pub pipeline_arn: Option<String>,
    /// The execution.
    pub execution_arn: String,
    /// Its display name.
    pub display_name: Option<String>,
    /// `Executing`, `Stopping`, `Succeeded`, `Failed` or `Stopped`.
    pub status: String,
    /// When it started.
    pub start_time: Option<Timestamp>,
    /// When it ended.
    pub end_time: Option<Timestamp>,
}

/// A step of a pipeline execution changed its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineExecutionStepStatusChange {
    /// The pipeline.
    pub pipeline_arn: Option<String>,
    /// The execution.
    pub execution_arn: String,
    /// The step.
    pub step: String,
    /// What the step is (`Processing`, `Training`, …).
    pub step_type: Option<String>,
    /// `Starting`, `Executing`, `Succeeded`, `Failed`, `Stopping` or `Stopped`.
    pub status: String,
    /// Why it failed.
    pub failure_reason: Option<String>,
    /// The processing job that carries it out, if it is one.
    pub processing_job_arn: Option<String>,
}

/// A model package changed its status, or its approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPackageStateChange {
    /// The model package group.
    pub group: Option<String>,
    /// Its version in the group.
    pub version: Option<u64>,
    /// The model package.
    pub arn: String,
    /// `Pending`, `InProgress`, `Completed`, `Failed` or `Deleting`.
    pub status: Option<String>,
    /// `Approved`, `Rejected` or `PendingManualApproval`.
    pub approval_status: Option<String>,
    /// What made it: the ARN of a pipeline execution.
    pub generated_by: Option<String>,
}

/// An endpoint changed its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointStateChange {
    /// The endpoint.
    pub name: String,
    /// Its ARN.
    pub arn: Option<String>,
    /// Its configuration.
    pub config: Option<String>,
    /// `InService`, `Updating`, `Failed`, … as the API spells it.
    pub status: String,
}

/// A CloudWatch alarm changed its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmStateChange {
    /// The alarm.
    pub alarm_name: String,
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    pub state: String,
    /// Why.
    pub reason: Option<String>,
    /// The state before, if the event tells.
    pub previous_state: Option<String>,
    /// When.
    pub timestamp: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default, deserialize_with = "text")]
    id: Option<String>,
    source: String,
    #[serde(rename = "detail-type")]
    detail_type: String,
    #[serde(default, deserialize_with = "text")]
    account: Option<String>,
    #[serde(default, deserialize_with = "text")]
    region: Option<String>,
    #[serde(default, deserialize_with = "time")]
    time: Option<Timestamp>,
    #[serde(default)]
    detail: Value,
}

impl Event {
    /// Reads an event. `object` is what errors call it.
    ///
    /// # Errors
    /// If it is no EventBridge event, or its detail is not in the shape of its detail-type.
    pub fn parse(object: &str, bytes: &[u8]) -> Result<Self, ParseError> {
        let limits = Limits {
            max_bytes: MAX_EVENT_BYTES,
            ..Limits::default()
        };
        let Envelope {
            id,
            source,
            detail_type,
            account,
            region,
            time,
            detail,
        } = json::typed(object, ".", json::parse(object, bytes, &limits)?)?;
        let detail = match (source.as_str(), detail_type.as_str()) {
            ("aws.s3", "Object Created") => {
                let raw: RawObjectCreated = json::typed(object, "detail", detail)?;
                Detail::ObjectCreated(ObjectCreated {
                    bucket: raw.bucket.name,
                    key: decoded(&raw.object.key),
                    size: raw.object.size,
                })
            }
            ("aws.sagemaker", "SageMaker Processing Job State Change") => {
                let raw: RawProcessingJob = json::typed(object, "detail", detail)?;
                Detail::ProcessingJob(Box::new(raw.typed()))
            }
            ("aws.sagemaker", "SageMaker Model Building Pipeline Execution Status Change") => {
                let raw: RawPipelineExecution = json::typed(object, "detail", detail)?;
                Detail::PipelineExecution(PipelineExecutionStatusChange {
                    pipeline_arn: raw.pipeline_arn,
                    execution_arn: raw.pipeline_execution_arn,
                    display_name: raw.pipeline_execution_display_name,
                    status: as_the_api_spells(raw.current_pipeline_execution_status),
                    start_time: raw.execution_start_time,
                    end_time: raw.execution_end_time,
                })
            }
            ("aws.sagemaker", "SageMaker Model Building Pipeline Execution Step Status Change") => {
                let raw: RawPipelineExecutionStep = json::typed(object, "detail", detail)?;
                Detail::PipelineExecutionStep(Box::new(PipelineExecutionStepStatusChange {
                    pipeline_arn: raw.pipeline_arn,
                    execution_arn: raw.pipeline_execution_arn,
                    step: raw.step_name,
                    step_type: raw.step_type,
                    status: as_the_api_spells(raw.current_step_status),
                    failure_reason: told(raw.failure_reason),
                    processing_job_arn: raw
                        .metadata
                        .and_then(|metadata| metadata.processing_job)
                        .and_then(|job| job.arn),
                }))
            }
            ("aws.sagemaker", "SageMaker Model Package State Change") => {
                let raw: RawModelPackage = json::typed(object, "detail", detail)?;
                Detail::ModelPackage(Box::new(ModelPackageStateChange {
                    group: raw.model_package_group_name,
                    version: raw.model_package_version,
                    arn: raw.model_package_arn,
                    status: raw.model_package_status.map(as_the_api_spells),
                    approval_status: raw.model_approval_status.map(as_the_api_spells),
                    generated_by: raw.metadata_properties.and_then(|properties| properties.generated_by),
                }))
            }
            ("aws.sagemaker", "SageMaker Endpoint State Change") => {
                let raw: RawEndpoint = json::typed(object, "detail", detail)?;
                Detail::Endpoint(EndpointStateChange {
                    name: raw.name,
                    arn: raw.arn,
                    config: raw.config,
                    status: as_the_api_spells(raw.status),
                })
            }
            ("aws.cloudwatch", "CloudWatch Alarm State Change") => {
                let raw: RawAlarm = json::typed(object, "detail", detail)?;
                Detail::Alarm(AlarmStateChange {
                    alarm_name: raw.alarm_name,
                    state: raw.state.value,
                    reason: raw.state.reason,
                    previous_state: raw.previous_state.map(|state| state.value),
                    timestamp: raw.state.timestamp,
                })
            }
            _ => Detail::Other(detail),
        };
        Ok(Self {
            id: id.unwrap_or_default(),
            source,
            detail_type,
            account,
            region,
            time,
            detail,
        })
    }
}

#[derive(Deserialize)]
struct RawObjectCreated {
    bucket: RawBucket,
    object: RawObject,
}

#[derive(Deserialize)]
struct RawBucket {
    name: String,
}

#[derive(Deserialize)]
struct RawObject {
    key: String,
    #[serde(default)]
    size: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawProcessingJob {
    processing_job_name: String,
    #[serde(default)]
    processing_job_arn: Option<String>,
    processing_job_status: String,
    #[serde(default)]
    processing_output_config: Option<RawOutputConfig>,
    #[serde(default)]
    app_specification: Option<RawAppSpecification>,
    #[serde(default)]
    exit_message: Option<String>,
    #[serde(default)]
    failure_reason: Option<String>,
    #[serde(default)]
    monitoring_schedule_arn: Option<String>,
    #[serde(default, deserialize_with = "time")]
    processing_end_time: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    last_modified_time: Option<Timestamp>,
}

impl RawProcessingJob {
    fn typed(self) -> ProcessingJobStateChange {
        let outputs = self
            .processing_output_config
            .map(|config| config.outputs)
            .unwrap_or_default();
        ProcessingJobStateChange {
            arn: self
                .processing_job_arn
                .unwrap_or_else(|| self.processing_job_name.clone()),
            name: self.processing_job_name,
            status: as_the_api_spells(self.processing_job_status),
            outputs: outputs
                .into_iter()
                .filter_map(|output| output.s3_output.map(|s3| s3.s3_uri))
                .collect(),
            image: self.app_specification.and_then(|specification| specification.image_uri),
            exit_message: told(self.exit_message),
            failure_reason: told(self.failure_reason),
            monitoring_schedule_arn: self.monitoring_schedule_arn,
            end_time: self.processing_end_time,
            last_modified_time: self.last_modified_time,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawOutputConfig {
    #[serde(default)]
    outputs: Vec<RawOutput>,
}

#[derive(Deserialize)]
struct RawOutput {
    #[serde(default, rename = "S3Output")]
    s3_output: Option<RawS3Output>,
}

#[derive(Deserialize)]
struct RawS3Output {
    #[serde(rename = "S3Uri")]
    s3_uri: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawAppSpecification {
    #[serde(default)]
    image_uri: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPipelineExecution {
    #[serde(default)]
    pipeline_arn: Option<String>,
    pipeline_execution_arn: String,
    #[serde(default)]
    pipeline_execution_display_name: Option<String>,
    current_pipeline_execution_status: String,
    #[serde(default, deserialize_with = "time")]
    execution_start_time: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    execution_end_time: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPipelineExecutionStep {
    #[serde(default)]
    pipeline_arn: Option<String>,
    pipeline_execution_arn: String,
    step_name: String,
    #[serde(default)]
    step_type: Option<String>,
    current_step_status: String,
    #[serde(default)]
    failure_reason: Option<String>,
    #[serde(default)]
    metadata: Option<RawStepMetadata>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawStepMetadata {
    #[serde(default)]
    processing_job: Option<RawStepJob>,
}

#[derive(Deserialize)]
struct RawStepJob {
    #[serde(default)]
    arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawModelPackage {
    #[serde(default)]
    model_package_group_name: Option<String>,
    #[serde(default)]
    model_package_version: Option<u64>,
    model_package_arn: String,
    #[serde(default)]
    model_package_status: Option<String>,
    #[serde(default)]
    model_approval_status: Option<String>,
    #[serde(default)]
    metadata_properties: Option<RawMetadataProperties>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawMetadataProperties {
    #[serde(default)]
    generated_by: Option<String>,
}

#[derive(Deserialize)]
struct RawEndpoint {
    #[serde(rename = "EndpointName")]
    name: String,
    #[serde(default, rename = "EndpointArn")]
    arn: Option<String>,
    #[serde(default, rename = "EndpointConfigName")]
    config: Option<String>,
    #[serde(rename = "EndpointStatus")]
    status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawAlarm {
    alarm_name: String,
    state: RawAlarmState,
    #[serde(default)]
    previous_state: Option<RawAlarmState>,
}

#[derive(Deserialize)]
struct RawAlarmState {
    value: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default, deserialize_with = "time")]
    timestamp: Option<Timestamp>,
}

/// A text that is there and says something.
fn told(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

/// A status as the API spells it: events write some as `IN_SERVICE` where the API has `InService`.
fn as_the_api_spells(status: String) -> String {
    let shouted = status.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    if !shouted {
        return status;
    }
    let word = |word: &str| {
        let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        format!("{first}{}", rest.to_ascii_lowercase())
    };
    status.split('_').map(word).collect()
}

/// A time in any of the encodings that SageMaker and CloudWatch use: ISO text (also with `+0000`), and milliseconds
/// since 1970 as integer, as floating point number, and as text. A number below 10^11 is of seconds, as the API's own
/// JSON has them: as milliseconds it would be of 1973 or before. One in another encoding is `None`: no event is lost for
/// its time.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    const SECONDS_BELOW: f64 = 1e11;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the cast saturates, and what is out of range is None"
    )]
    let of_number = |number: f64| {
        let milliseconds = if number.abs() < SECONDS_BELOW {
            number * 1e3
        } else {
            number
        };
        number
            .is_finite()
            .then(|| Timestamp::from_millisecond(milliseconds.round() as i64).ok())?
    };
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_f64().and_then(of_number),
        Value::String(text) => match text.parse::<f64>() {
            Ok(number) => of_number(number),
            Err(_) => text.parse().ok().or_else(|| {
                let seconds = text.strip_suffix("+0000")?;
                format!("{seconds}Z").parse().ok()
            }),
        },
        _ => None,
    })
}

/// A key as it is in S3. EventBridge delivers it as it is; some emulators percent-encode it. No monitor's key holds a
/// percent sign of its own before two hexadecimal digits, so that decoding does no harm. A plus sign is one: it is in
/// no encoding of EventBridge's a space.
fn decoded(key: &str) -> String {
    let bytes = key.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        rest = tail;
        let pair = (*first == b'%').then(|| tail.split_at_checked(2)).flatten();
        let byte = pair.and_then(|(digits, after)| {
            let digits = std::str::from_utf8(digits)
                .ok()
                .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
            Some((u8::from_str_radix(digits, 16).ok()?, after))
        });
        match byte {
            Some((byte, after)) => {
                plain.push(byte);
                rest = after;
            }
            None => plain.push(*first),
        }
    }
    String::from_utf8(plain).unwrap_or_else(|_| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded_whether_or_not_they_were_encoded() {
        assert_eq!(decoded("a/b-c/2026/x.json"), "a/b-c/2026/x.json");
        assert_eq!(decoded("a%2Fb%20c/%C3%A4.json"), "a/b c/ä.json");
        assert_eq!(decoded("a+b/100%/%zz/%"), "a+b/100%/%zz/%");
        assert_eq!(decoded("%FF"), "%FF", "not UTF-8: left as it was");
    }

    #[test]
    fn times_are_read_in_every_encoding() {
        let read = |json: &str| {
            #[derive(Deserialize)]
            struct Field(#[serde(deserialize_with = "time")] Option<Timestamp>);
            serde_json::from_str::<Field>(json)
                .unwrap()
                .0
                .map(|time| time.to_string())
        };
        let expected = Some("2020-03-10T09:18:09.05Z".to_owned());
        for json in [
            "1583831889050",
            "1583831889050.0",
            "\"1583831889050\"",
            "\"2020-03-10T09:18:09.050Z\"",
            "\"2020-03-10T09:18:09.050+0000\"",
        ] {
            assert_eq!(read(json), expected, "{json}");
        }
        for json in [
            "1583831889.05",
            "\"1583831889.050\"",
            "\"2020-03-10T10:18:09.050+01:00\"",
        ] {
            assert_eq!(read(json), expected, "{json}");
        }
        for json in ["null", "\"soon\"", "[]", "1e300", "\"nan\"", "\"inf\"", "-1e300"] {
            assert_eq!(read(json), None, "{json}");
        }
    }

    #[test]
    fn a_status_is_spelled_as_the_api_spells_it() {
        for (event, api) in [
            ("IN_SERVICE", "InService"),
            ("InService", "InService"),
            ("COMPLETED", "Completed"),
            ("Completed", "Completed"),
            ("completed?", "completed?"),
            ("", ""),
            ("_A__", "A"),
        ] {
            assert_eq!(as_the_api_spells(event.to_owned()), api);
        }
    }

    fn job(name: &str, outputs: &[&str], image: Option<&str>) -> ProcessingJobStateChange {
        ProcessingJobStateChange {
            name: name.to_owned(),
            arn: String::new(),
            status: "Completed".to_owned(),
            outputs: outputs.iter().map(|uri| (*uri).to_owned()).collect(),
            image: image.map(ToOwned::to_owned),
            exit_message: None,
            failure_reason: None,
            monitoring_schedule_arn: None,
            end_time: None,
            last_modified_time: None,
        }
    }

    #[test]
    fn a_merge_job_is_known_by_its_output_its_image_or_its_name() {
        let analysis = "s3://b/merge/e/s/2026/11/23/01";
        for (job, merges) in [
            (job("a", &["s3://b/merge"], None), true),
            (job("a", &["s3://b/monitor/merge/"], None), true),
            (
                job(
                    "a",
                    &[analysis],
                    Some("1.dkr.ecr/sagemaker-model-monitor-groundtruth-merger"),
                ),
                true,
            ),
            (job("groundtruth-merge-202611230100-ab", &[], None), true),
            (
                job("a", &[analysis], Some("1.dkr.ecr/sagemaker-model-monitor-analyzer")),
                false,
            ),
            (job("a", &["s3://b/emerge", "s3://merge"], None), false),
        ] {
            assert_eq!(job.is_ground_truth_merge(), merges, "{job:?}");
        }
    }

    #[test]
    fn the_scheduled_time_is_that_of_the_folder_else_of_the_name() {
        let time = |job: ProcessingJobStateChange| job.scheduled_time().map(|time| time.to_string());
        let name = "data-quality-monitoring-202611230100-0123456789abcdef01234567";
        let folder = "s3://b/r/e/s/2026/11/22/23";
        assert_eq!(
            time(job(name, &[folder], None)).as_deref(),
            Some("2026-11-22T23:00:00Z")
        );
        assert_eq!(
            time(job(name, &["s3://b/r"], None)).as_deref(),
            Some("2026-11-23T01:00:00Z")
        );
        assert_eq!(time(job("nightly-209913230100", &[], None)), None);
    }
}
