//! The EventBridge events about executions, pipelines and alarms, as far as they are read here.
//!
//! Sources: EventBridge events reference (`aws.s3`, `aws.sagemaker`, `aws.cloudwatch`); SageMaker developer guide, page
//! `automating-sagemaker-with-eventbridge`. Fields that are not read pass; a detail-type that is not known is
//! [`Detail::Other`]; one that is known must be in its shape.

use crate::{GROUND_TRUTH_MERGE_FOLDER, Limits, MonitoringScheduleName, ParseError, json};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
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
        let into_merge = |uri: &String| uri.trim_end_matches('/').rsplit('/').next() == Some(GROUND_TRUTH_MERGE_FOLDER);
        let of_merger = |image: &String| image.contains("groundtruth-merger");
        self.outputs.iter().any(into_merge) || self.image.as_ref().is_some_and(of_merger)
    }

    /// The schedule that started it, if the event tells: in lower case, as ARNs have it.
    pub fn schedule(&self) -> Option<MonitoringScheduleName> {
        MonitoringScheduleName::from_arn(self.monitoring_schedule_arn.as_deref()?)
    }

    /// When it ended, as far as the event tells.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.end_time.or(self.last_modified_time)
    }
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
#[serde(expecting = "an EventBridge event")]
struct Envelope {
    #[serde(default)]
    id: Option<String>,
    source: String,
    #[serde(rename = "detail-type")]
    detail_type: String,
    #[serde(default)]
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
            region,
            time,
            detail,
        } = json::parse(object, bytes, &limits)?;
        let detail = match (source.as_str(), detail_type.as_str()) {
            ("aws.s3", "Object Created") => {
                let raw: RawObjectCreated = of_detail(object, detail)?;
                Detail::ObjectCreated(ObjectCreated {
                    bucket: raw.bucket.name,
                    key: decoded(&raw.object.key),
                    size: raw.object.size,
                })
            }
            ("aws.sagemaker", "SageMaker Processing Job State Change") => {
                let raw: RawProcessingJob = of_detail(object, detail)?;
                Detail::ProcessingJob(Box::new(raw.typed()))
            }
            ("aws.sagemaker", "SageMaker Model Building Pipeline Execution Status Change") => {
                let raw: RawPipelineExecution = of_detail(object, detail)?;
                Detail::PipelineExecution(PipelineExecutionStatusChange {
                    pipeline_arn: raw.pipeline_arn,
                    execution_arn: raw.pipeline_execution_arn,
                    display_name: raw.pipeline_execution_display_name,
                    status: raw.current_pipeline_execution_status,
                    start_time: raw.execution_start_time,
                    end_time: raw.execution_end_time,
                })
            }
            ("aws.cloudwatch", "CloudWatch Alarm State Change") => {
                let raw: RawAlarm = of_detail(object, detail)?;
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
            region,
            time,
            detail,
        })
    }
}

fn of_detail<T: DeserializeOwned>(object: &str, detail: Value) -> Result<T, ParseError> {
    serde_path_to_error::deserialize(detail)
        .map_err(|error| json::unexpected(object, format!("detail.{}", error.path()), error.inner().to_string()))
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct RawObjectCreated {
    bucket: RawBucket,
    object: RawObject,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct RawBucket {
    name: String,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct RawObject {
    key: String,
    #[serde(default)]
    size: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[serde(expecting = "an object")]
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
            status: self.processing_job_status,
            outputs: outputs
                .into_iter()
                .filter_map(|output| output.s3_output.map(|s3| s3.s3_uri))
                .collect(),
            image: self.app_specification.and_then(|specification| specification.image_uri),
            exit_message: self.exit_message.filter(|text| !text.trim().is_empty()),
            failure_reason: self.failure_reason.filter(|text| !text.trim().is_empty()),
            monitoring_schedule_arn: self.monitoring_schedule_arn,
            end_time: self.processing_end_time,
            last_modified_time: self.last_modified_time,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[serde(expecting = "an object")]
struct RawOutputConfig {
    #[serde(default)]
    outputs: Vec<RawOutput>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct RawOutput {
    #[serde(default, rename = "S3Output")]
    s3_output: Option<RawS3Output>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct RawS3Output {
    #[serde(rename = "S3Uri")]
    s3_uri: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[serde(expecting = "an object")]
struct RawAppSpecification {
    #[serde(default)]
    image_uri: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[serde(expecting = "an object")]
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
#[serde(expecting = "an object")]
struct RawAlarm {
    alarm_name: String,
    state: RawAlarmState,
    #[serde(default)]
    previous_state: Option<RawAlarmState>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct RawAlarmState {
    value: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default, deserialize_with = "time")]
    timestamp: Option<Timestamp>,
}

/// A time in any of the encodings that SageMaker and CloudWatch use: ISO text (also with `+0000`), and milliseconds
/// since 1970 as integer, as floating point number, and as text. One in another encoding is `None`: no event is lost
/// for its time.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the cast saturates, and what is out of range is None"
    )]
    let of_milliseconds = |milliseconds: f64| Timestamp::from_millisecond(milliseconds as i64).ok();
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_f64().and_then(of_milliseconds),
        Value::String(text) => match text.parse::<f64>() {
            Ok(milliseconds) => of_milliseconds(milliseconds),
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
        for json in ["null", "\"soon\"", "[]", "1e300"] {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
