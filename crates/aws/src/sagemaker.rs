//! SageMaker's processing jobs, pipelines, model cards, and Model Monitor.

use super::{
    Aws,
    json::{JsonClient, SAGEMAKER, Time, set},
};
use alerting::{AlertStatus, ExecutionWindow};
use jiff::Timestamp;
use machine::{AwsError, Kind};
use remediation::{ExecutionStatus, PipelineExecution, RiskRating, StartPipelineExecution};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use shell::ports::{
    DescribedJob, ExecutionPage, ModelCards, MonitoringAlerts, MonitoringExecution, MonitoringSchedules,
    PipelineExecutionPage, PipelineExecutionSummary, Pipelines, ProcessingJobs, Schedule,
};
use std::collections::BTreeMap;

/// A page of a list, and the token for the next one.
#[derive(Deserialize)]
pub(crate) struct Page<T> {
    #[serde(flatten)]
    page: T,
    #[serde(rename = "NextToken")]
    next_token: Option<String>,
}

impl Aws {
    /// Calls an operation of SageMaker, named with its service: `sagemaker:DescribeModel`. Members that are null are not sent.
    pub(crate) async fn sagemaker<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        resource: &str,
        input: Value,
    ) -> Result<T, AwsError> {
        let client = self.sagemaker.get_or_init(|| JsonClient::new(&SAGEMAKER, &self.config));
        client.call(operation, resource, input).await
    }

    /// All pages of a list of SageMaker.
    pub(crate) async fn sagemaker_pages<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        resource: &str,
        mut input: Value,
    ) -> Result<Vec<T>, AwsError> {
        let mut pages = Vec::new();
        loop {
            let Page { page, next_token } = self.sagemaker(operation, resource, input.clone()).await?;
            pages.push(page);
            match next_token.filter(|token| !token.is_empty()) {
                Some(token) if input.get("NextToken") != Some(&Value::from(token.as_str())) => {
                    set(&mut input, "NextToken", token);
                }
                _ => return Ok(pages),
            }
        }
    }
}

/// Response of `DescribeProcessingJob`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct JobDescription {
    processing_job_arn: Option<String>,
    processing_job_status: Option<String>,
    processing_output_config: Option<OutputConfig>,
    app_specification: Option<AppSpecification>,
    failure_reason: Option<String>,
    processing_end_time: Option<Time>,
    monitoring_schedule_arn: Option<String>,
    exit_message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct OutputConfig {
    outputs: Option<Vec<Output>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct Output {
    s3_output: Option<S3Output>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct S3Output {
    s3_uri: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct AppSpecification {
    image_uri: Option<String>,
}

impl ProcessingJobs for Aws {
    async fn describe(&self, name: &str) -> Result<DescribedJob, AwsError> {
        let input = json!({"ProcessingJobName": name});
        let job: JobDescription = self.sagemaker("sagemaker:DescribeProcessingJob", name, input).await?;
        let outputs = job.processing_output_config.and_then(|config| config.outputs);
        let uris = outputs
            .into_iter()
            .flatten()
            .filter_map(|output| output.s3_output?.s3_uri);
        Ok(DescribedJob {
            arn: job.processing_job_arn.unwrap_or_default(),
            status: job.processing_job_status.unwrap_or_default(),
            outputs: uris.collect(),
            image: job.app_specification.and_then(|app| app.image_uri),
            failure_reason: job.failure_reason,
            end_time: job.processing_end_time.map(|time| time.0),
            monitoring_schedule_arn: job.monitoring_schedule_arn,
            exit_message: job.exit_message,
        })
    }
}

/// Response of `StartPipelineExecution`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct StartedExecution {
    pipeline_execution_arn: Option<String>,
}

/// Response of `ListPipelineExecutions`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct PipelineExecutions {
    pipeline_execution_summaries: Option<Vec<ExecutionSummary>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct ExecutionSummary {
    pipeline_execution_arn: Option<String>,
    pipeline_execution_display_name: Option<String>,
    pipeline_execution_status: Option<String>,
    start_time: Option<Time>,
}

/// Response of `DescribePipelineExecution`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct DescribedExecution {
    pipeline_execution_status: Option<String>,
    creation_time: Option<Time>,
    last_modified_time: Option<Time>,
}

/// Response of `ListPipelineParametersForExecution`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct PipelineParameters {
    pipeline_parameters: Option<Vec<Parameter>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct Parameter {
    name: Option<String>,
    value: Option<String>,
}

impl Pipelines for Aws {
    async fn start(&self, start: &StartPipelineExecution) -> Result<String, AwsError> {
        let operation = "sagemaker:StartPipelineExecution";
        let parameters = start.parameters.iter();
        let parameters: Vec<_> = parameters
            .map(|(name, value)| json!({"Name": name, "Value": value}))
            .collect();
        let input = json!({
            "PipelineName": start.pipeline,
            "ClientRequestToken": start.client_request_token,
            "PipelineExecutionDisplayName": start.display_name,
            "PipelineExecutionDescription": start.description,
            "PipelineParameters": parameters,
        });
        let started = self.sagemaker(operation, &start.pipeline, input).await;
        let started: StartedExecution = started.map_err(|mut failure| {
            // SageMaker's conflict (409) means that an execution with the same token is being started. A retry finds it.
            if failure.kind == Kind::Conflict {
                failure.kind = Kind::Transient;
            }
            failure
        })?;
        started.pipeline_execution_arn.ok_or_else(|| AwsError {
            operation,
            resource: start.pipeline.clone(),
            kind: Kind::Transient,
            message: "the response contains no execution ARN".into(),
        })
    }

    async fn executions_of_pipeline(
        &self,
        pipeline: &str,
        next: Option<&str>,
    ) -> Result<PipelineExecutionPage, AwsError> {
        let input = json!({
            "PipelineName": pipeline,
            "SortBy": "CreationTime",
            "SortOrder": "Descending",
            "MaxResults": 100,
            "NextToken": next,
        });
        let listed = self
            .sagemaker("sagemaker:ListPipelineExecutions", pipeline, input)
            .await;
        let Page { page, next_token } = listed?;
        let PipelineExecutions {
            pipeline_execution_summaries: summaries,
        } = page;
        let summaries = summaries.into_iter().flatten();
        let executions = summaries.filter_map(|summary| {
            Some(PipelineExecutionSummary {
                display_name: summary.pipeline_execution_display_name.unwrap_or_default(),
                execution: PipelineExecution {
                    arn: summary.pipeline_execution_arn?,
                    status: ExecutionStatus::parse(&summary.pipeline_execution_status?)?,
                    start_time: summary.start_time.map(|time| time.0),
                    end_time: None,
                },
            })
        });
        Ok(PipelineExecutionPage {
            executions: executions.collect(),
            next: next_token.filter(|token| !token.is_empty()),
        })
    }

    async fn execution(&self, execution_arn: &str) -> Result<Option<PipelineExecution>, AwsError> {
        let operation = "sagemaker:DescribePipelineExecution";
        let input = json!({"PipelineExecutionArn": execution_arn});
        let described: DescribedExecution = self.sagemaker(operation, execution_arn, input).await?;
        let status = described.pipeline_execution_status;
        let status = status.and_then(|status| ExecutionStatus::parse(&status));
        Ok(status.map(|status| PipelineExecution {
            arn: execution_arn.to_owned(),
            status,
            start_time: described.creation_time.map(|time| time.0),
            end_time: described
                .last_modified_time
                .filter(|_| status.is_final())
                .map(|time| time.0),
        }))
    }

    async fn parameters(&self, execution_arn: &str) -> Result<BTreeMap<String, String>, AwsError> {
        let operation = "sagemaker:ListPipelineParametersForExecution";
        let input = json!({"PipelineExecutionArn": execution_arn, "MaxResults": 100});
        let response: PipelineParameters = self.sagemaker(operation, execution_arn, input).await?;
        let parameters = response.pipeline_parameters.into_iter().flatten();
        Ok(parameters
            .filter_map(|parameter| Some((parameter.name?, parameter.value?)))
            .collect())
    }
}

/// Response of `DescribeModelCard`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct ModelCard {
    content: Option<String>,
}

impl ModelCards for Aws {
    async fn risk_rating(&self, card: &str) -> Result<RiskRating, AwsError> {
        let input = json!({"ModelCardName": card});
        let described = match self.sagemaker("sagemaker:DescribeModelCard", card, input).await {
            Ok(ModelCard { content }) => content,
            Err(error) if error.kind == Kind::NotFound => return Ok(RiskRating::Unknown),
            Err(error) => return Err(error),
        };
        // The content of a card is a string with JSON (developer guide, page *model-cards*).
        let content: Value = serde_json::from_str(&described.unwrap_or_default()).unwrap_or_default();
        let rating = content.pointer("/intended_uses/risk_rating").and_then(Value::as_str);
        Ok(RiskRating::parse(rating.unwrap_or_default()))
    }
}

/// Response of `ListMonitoringAlerts`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct Alerts {
    monitoring_alert_summaries: Option<Vec<AlertSummary>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct AlertSummary {
    datapoints_to_alert: Option<u32>,
    evaluation_period: Option<u32>,
}

/// Response of `ListMonitoringAlertHistory`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct AlertHistory {
    monitoring_alert_history: Option<Vec<AlertHistoryItem>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct AlertHistoryItem {
    alert_status: Option<String>,
    creation_time: Option<Time>,
}

impl MonitoringAlerts for Aws {
    async fn monitoring_alert(&self, schedule: &str) -> Result<Option<ExecutionWindow>, AwsError> {
        let input = json!({"MonitoringScheduleName": schedule});
        let alerts: Alerts = self
            .sagemaker("sagemaker:ListMonitoringAlerts", schedule, input)
            .await?;
        let first = alerts.monitoring_alert_summaries.into_iter().flatten().next();
        Ok(first.and_then(|alert| {
            let (m, n) = (alert.datapoints_to_alert?, alert.evaluation_period?);
            ExecutionWindow::new(m.into(), n.into()).ok()
        }))
    }

    async fn monitoring_alert_history(&self, schedule: &str) -> Result<Vec<(Timestamp, AlertStatus)>, AwsError> {
        let operation = "sagemaker:ListMonitoringAlertHistory";
        let input = json!({
            "MonitoringScheduleName": schedule,
            "SortBy": "CreationTime",
            "SortOrder": "Descending",
            "MaxResults": 100,
        });
        let history: AlertHistory = self.sagemaker(operation, schedule, input).await?;
        let items = history.monitoring_alert_history.into_iter().flatten();
        let mut items: Vec<_> = items
            .filter_map(|item| {
                let status = match item.alert_status?.as_str() {
                    "InAlert" => AlertStatus::InAlert,
                    _ => AlertStatus::Ok,
                };
                Some((known(item.creation_time), status))
            })
            .collect();
        items.reverse();
        Ok(items)
    }
}

/// Response of `ListMonitoringSchedules`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct Schedules {
    pub(crate) monitoring_schedule_summaries: Option<Vec<ScheduleSummary>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct ScheduleSummary {
    pub(crate) monitoring_schedule_name: Option<String>,
    endpoint_name: Option<String>,
    monitoring_schedule_status: Option<String>,
    creation_time: Option<Time>,
    last_modified_time: Option<Time>,
}

/// Response of `ListMonitoringExecutions`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct MonitoringExecutions {
    monitoring_execution_summaries: Option<Vec<MonitoringExecutionSummary>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
struct MonitoringExecutionSummary {
    monitoring_schedule_name: Option<String>,
    scheduled_time: Option<Time>,
    monitoring_execution_status: Option<String>,
    processing_job_arn: Option<String>,
    endpoint_name: Option<String>,
    failure_reason: Option<String>,
    last_modified_time: Option<Time>,
}

impl MonitoringSchedules for Aws {
    async fn schedules(&self) -> Result<Vec<Schedule>, AwsError> {
        // The default is 10.
        let input = json!({"MaxResults": 100});
        let pages = self
            .sagemaker_pages("sagemaker:ListMonitoringSchedules", "*", input)
            .await?;
        let summaries = pages
            .into_iter()
            .flat_map(|page: Schedules| page.monitoring_schedule_summaries.into_iter().flatten());
        let schedules = summaries.filter_map(|summary| {
            Some(Schedule {
                name: summary.monitoring_schedule_name?,
                endpoint: summary.endpoint_name,
                status: summary.monitoring_schedule_status?,
                created: known(summary.creation_time),
                last_modified: known(summary.last_modified_time),
            })
        });
        Ok(schedules.collect())
    }

    async fn schedule_expression(&self, schedule: &str) -> Result<String, AwsError> {
        let described = self.describe_schedule(schedule).await?;
        let config = described.monitoring_schedule_config;
        let config = config.and_then(|config| config.schedule_config).unwrap_or_default();
        let expression = config.get("ScheduleExpression").and_then(Value::as_str);
        Ok(expression.unwrap_or_default().to_owned())
    }

    async fn executions(
        &self,
        schedule: &str,
        scheduled_after: Timestamp,
    ) -> Result<Vec<MonitoringExecution>, AwsError> {
        let input = json!({
            "MonitoringScheduleName": schedule,
            "ScheduledTimeAfter": scheduled_after.as_second(),
            "SortBy": "ScheduledTime",
            "MaxResults": 100,
        });
        let operation = "sagemaker:ListMonitoringExecutions";
        let pages = self.sagemaker_pages(operation, schedule, input).await?;
        let summaries = pages
            .into_iter()
            .flat_map(|page: MonitoringExecutions| page.monitoring_execution_summaries.into_iter().flatten());
        Ok(summaries
            .filter_map(|summary| Some(listed_execution(summary)?.1))
            .collect())
    }

    async fn executions_of_all(
        &self,
        scheduled_after: Timestamp,
        next: Option<&str>,
    ) -> Result<ExecutionPage, AwsError> {
        let input = json!({
            "ScheduledTimeAfter": scheduled_after.as_second(),
            "SortBy": "ScheduledTime",
            "SortOrder": "Descending",
            "MaxResults": 100,
            "NextToken": next,
        });
        let listed = self.sagemaker("sagemaker:ListMonitoringExecutions", "*", input).await;
        let Page { page, next_token } = listed?;
        let MonitoringExecutions {
            monitoring_execution_summaries: summaries,
        } = page;
        Ok(ExecutionPage {
            executions: summaries.into_iter().flatten().filter_map(listed_execution).collect(),
            next: next_token.filter(|token| !token.is_empty()),
        })
    }
}

/// Name of the schedule, and the execution. `None` for an execution without a scheduled time or status.
fn listed_execution(summary: MonitoringExecutionSummary) -> Option<(String, MonitoringExecution)> {
    let execution = MonitoringExecution {
        scheduled_time: summary.scheduled_time?.0,
        status: summary.monitoring_execution_status?,
        processing_job_arn: summary.processing_job_arn,
        endpoint: summary.endpoint_name,
        failure_reason: summary.failure_reason,
        last_modified: known(summary.last_modified_time),
    };
    Some((summary.monitoring_schedule_name.unwrap_or_default(), execution))
}

/// The time, or 1970 if it is missing.
pub(crate) fn known(time: Option<Time>) -> Timestamp {
    time.map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}
