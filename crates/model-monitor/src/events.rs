//! EventBridge events about executions, pipelines, and alarms.
//!
//! Sources: EventBridge events reference (`aws.s3`, `aws.sagemaker`, `aws.cloudwatch`); SageMaker developer guide, page
//! `automating-sagemaker-with-eventbridge`. Other fields are ignored. An unknown detail-type is [`Detail::Other`]; a
//! known one must have its shape. If a name occurs twice in an object, the last value is used, because a sample of the
//! guide contains such an object.

use crate::{
    GROUND_TRUTH_MERGE_FOLDER, Limits, MonitoringScheduleName, ParseError, ReportFolder, S3Uri,
    json::{self, text},
    layout::hour_of,
};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Maximum size of an event in bytes. `PutEvents` accepts entries of up to 1 MB.
const MAX_EVENT_BYTES: usize = 2 << 20;

/// An EventBridge event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// ID of the event. Duplicates have the same ID.
    pub id: String,
    /// Source of the event.
    pub source: String,
    /// Detail-type.
    pub detail_type: String,
    /// Account of the event.
    pub account: Option<String>,
    /// Region of the event.
    pub region: Option<String>,
    /// Time of the event, if it is valid.
    pub time: Option<Timestamp>,
    /// Detail.
    pub detail: Detail,
}

/// Detail of an event.
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
    /// Any other detail-type.
    Other(Value),
}

/// An S3 object was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectCreated {
    /// Name of the bucket.
    pub bucket: String,
    /// Key, decoded.
    pub key: String,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Entity tag (`ETag`) of this version of the object, without quotes.
    pub etag: Option<String>,
    /// Order of the events about this key: of two events, the one with the larger hexadecimal number is later, after
    /// padding on the right with zeros.
    pub sequencer: Option<String>,
}

/// A processing job changed its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessingJobStateChange {
    /// Name of the job.
    pub name: String,
    /// ARN of the job.
    pub arn: String,
    /// `InProgress`, `Completed`, `Failed`, `Stopping`, or `Stopped`.
    pub status: String,
    /// S3 URIs of the outputs.
    pub outputs: Vec<String>,
    /// Image of the container.
    pub image: Option<String>,
    /// Content of `/opt/ml/output/message`, if the event contains it.
    pub exit_message: Option<String>,
    /// Reason for a failure.
    pub failure_reason: Option<String>,
    /// Schedule that started the job, if the event contains it.
    pub monitoring_schedule_arn: Option<String>,
    /// End of the job.
    pub end_time: Option<Timestamp>,
    /// Time of the last change.
    pub last_modified_time: Option<Timestamp>,
}

impl ProcessingJobStateChange {
    /// Whether this job merges captured data with ground truth before a model quality or bias analysis.
    pub fn is_ground_truth_merge(&self) -> bool {
        let merger = |image: &String| image.contains("groundtruth-merger");
        self.outputs.iter().any(|uri| is_merge_output(uri))
            || self.image.as_ref().is_some_and(merger)
            || self.name.starts_with("groundtruth-merge-")
    }

    /// Schedule that started the job, if the event contains it. The name is in lower case, as in ARNs.
    pub fn schedule(&self) -> Option<MonitoringScheduleName> {
        MonitoringScheduleName::from_arn(self.monitoring_schedule_arn.as_deref()?)
    }

    /// Hour for which the execution was scheduled: from the folder of its report, otherwise from its name
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

    /// End of the job, if known.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.end_time.or(self.last_modified_time)
    }
}

/// Whether this is the output of a ground truth merge job: a URI that ends with `/merge`.
pub(crate) fn is_merge_output(uri: &str) -> bool {
    S3Uri::parse(uri).is_some_and(|uri| uri.key.rsplit('/').next() == Some(GROUND_TRUTH_MERGE_FOLDER))
}

/// A pipeline execution changed its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineExecutionStatusChange {
    /// ARN of the pipeline.
    pub pipeline_arn: Option<String>,
    /// ARN of the execution.
    pub execution_arn: String,
    /// Display name of the execution.
    pub display_name: Option<String>,
    /// `Executing`, `Stopping`, `Succeeded`, `Failed`, or `Stopped`.
    pub status: String,
    /// Start of the execution.
    pub start_time: Option<Timestamp>,
    /// End of the execution.
    pub end_time: Option<Timestamp>,
}

/// A step of a pipeline execution changed its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineExecutionStepStatusChange {
    /// ARN of the pipeline.
    pub pipeline_arn: Option<String>,
    /// ARN of the execution.
    pub execution_arn: String,
    /// Name of the step.
    pub step: String,
    /// Type of the step (`Processing`, `Training`, …).
    pub step_type: Option<String>,
    /// `Starting`, `Executing`, `Succeeded`, `Failed`, `Stopping`, or `Stopped`.
    pub status: String,
    /// Reason for a failure.
    pub failure_reason: Option<String>,
    /// Processing job of the step, if it has one.
    pub processing_job_arn: Option<String>,
}

/// A model package changed its status or its approval status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPackageStateChange {
    /// Model package group.
    pub group: Option<String>,
    /// Version in the group.
    pub version: Option<u64>,
    /// ARN of the model package.
    pub arn: String,
    /// `Pending`, `InProgress`, `Completed`, `Failed`, or `Deleting`.
    pub status: Option<String>,
    /// `Approved`, `Rejected`, or `PendingManualApproval`.
    pub approval_status: Option<String>,
    /// Creator: the ARN of a pipeline execution.
    pub generated_by: Option<String>,
}

/// An endpoint changed its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointStateChange {
    /// Name of the endpoint.
    pub name: String,
    /// ARN of the endpoint.
    pub arn: Option<String>,
    /// Endpoint configuration.
    pub config: Option<String>,
    /// `InService`, `Updating`, `Failed`, … as in the API.
    pub status: String,
}

/// A CloudWatch alarm changed its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmStateChange {
    /// Name of the alarm.
    pub alarm_name: String,
    /// `OK`, `ALARM`, or `INSUFFICIENT_DATA`.
    pub state: String,
    /// Reason for the state.
    pub reason: Option<String>,
    /// Previous state, if the event contains it.
    pub previous_state: Option<String>,
    /// Time of the change.
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
    /// Parses an event. `object` is its name in errors.
    ///
    /// # Errors
    /// Fails if the input is not an EventBridge event, or its detail does not have the shape of its detail-type.
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
                    etag: raw.object.etag,
                    sequencer: raw.object.sequencer,
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
                    failure_reason: non_empty(raw.failure_reason),
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
    #[serde(default)]
    etag: Option<String>,
    #[serde(default)]
    sequencer: Option<String>,
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
            exit_message: non_empty(self.exit_message),
            failure_reason: non_empty(self.failure_reason),
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

/// String that is present and not empty.
fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

/// Status as in the API. Events write some as `IN_SERVICE` where the API has `InService`.
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

/// Time in any encoding that SageMaker and CloudWatch use: an ISO string (also with `+0000`), or milliseconds since
/// 1970 as an integer, a floating-point number, or a string. A number below 10^11 means seconds, as in the API's own
/// JSON; as milliseconds it would be 1973 or earlier. Any other encoding is `None`, so that no event is lost because of
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

/// Key as in S3. EventBridge delivers it unencoded; some emulators percent-encode it. A monitor's key never contains a
/// percent sign followed by two hexadecimal digits, so decoding is safe. A plus sign stays a plus sign: no encoding of
/// EventBridge uses it for a space.
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
    fn keys_are_decoded_if_encoded() {
        assert_eq!(decoded("a/b-c/2026/x.json"), "a/b-c/2026/x.json");
        assert_eq!(decoded("a%2Fb%20c/%C3%A4.json"), "a/b c/ä.json");
        assert_eq!(decoded("a+b/100%/%zz/%"), "a+b/100%/%zz/%");
        assert_eq!(decoded("%FF"), "%FF", "not UTF-8: unchanged");
    }

    #[test]
    fn times_parse_in_every_encoding() {
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
    fn status_matches_api_spelling() {
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
    fn merge_job_is_detected_by_output_image_or_name() {
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
    fn scheduled_time_comes_from_folder_or_name() {
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
