//! The resources of a deployment: its `CloudFormation` stack, buckets, rules, functions, topics, queues, and alarms.

use crate::{Aws, chain, failed};
use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sdk_cloudwatch::types::AlarmType;
use aws_sdk_eventbridge::types::RuleState;
use aws_sdk_s3::types::BucketVersioningStatus;
use aws_sdk_sqs::types::QueueAttributeName;
use machine::{AwsError, Kind};
use serde::Deserialize;
use shell::operator::{
    Alarm, BucketSettings, Deployment, FunctionConfiguration, Rule, RuleTarget, Stack, StackResource, Stacks,
    Subscription,
};

/// Maximum number of alarm names per request (API, `DescribeAlarms`).
const MAX_ALARMS_PER_REQUEST: usize = 100;

/// Turns a missing resource into `None`.
fn optional<T>(result: Result<T, AwsError>) -> Result<Option<T>, AwsError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(AwsError {
            kind: Kind::NotFound, ..
        }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Aws {
    fn cloudformation(&self) -> aws_sdk_cloudformation::Client {
        aws_sdk_cloudformation::Client::new(self.config())
    }
}

impl Stacks for Aws {
    async fn stack(&self, name: &str) -> Result<Option<Stack>, AwsError> {
        let described = self.cloudformation().describe_stacks().stack_name(name).send().await;
        let described = match described {
            Ok(described) => described,
            // CloudFormation reports a missing stack only in the message, not with status 404.
            Err(error)
                if error
                    .as_service_error()
                    .and_then(|error| error.meta().message())
                    .is_some_and(|message| message.contains("does not exist")) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(failed("cloudformation:DescribeStacks", name, &error)),
        };
        let stack = described.stacks.into_iter().flatten().next();
        Ok(stack.map(|stack| Stack {
            arn: stack.stack_id.unwrap_or_default(),
            status: stack
                .stack_status
                .map(|status| status.as_str().to_owned())
                .unwrap_or_default(),
            status_reason: stack.stack_status_reason,
            outputs: stack
                .outputs
                .into_iter()
                .flatten()
                .filter_map(|output| Some((output.output_key?, output.output_value?)))
                .collect(),
            parameters: stack
                .parameters
                .into_iter()
                .flatten()
                .filter_map(|parameter| Some((parameter.parameter_key?, parameter.parameter_value?)))
                .collect(),
        }))
    }

    async fn stack_resources(&self, name: &str) -> Result<Vec<StackResource>, AwsError> {
        let request = self.cloudformation().list_stack_resources().stack_name(name);
        let mut pages = request.into_paginator().send();
        let mut resources = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failed("cloudformation:ListStackResources", name, &error))?;
            let summaries = page.stack_resource_summaries.into_iter().flatten();
            resources.extend(summaries.map(|summary| {
                StackResource {
                    logical_id: summary.logical_resource_id.unwrap_or_default(),
                    physical_id: summary.physical_resource_id.unwrap_or_default(),
                    resource_type: summary.resource_type.unwrap_or_default(),
                    status: summary
                        .resource_status
                        .map(|status| status.as_str().to_owned())
                        .unwrap_or_default(),
                }
            }));
        }
        Ok(resources)
    }
}

/// Response of `DescribePipeline`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[cfg_attr(test, derive(serde::Serialize))]
pub(crate) struct DescribedPipeline {
    pipeline_definition: Option<String>,
}

/// The part of a pipeline definition with its parameters.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PipelineDefinition {
    #[serde(default)]
    parameters: Vec<PipelineParameter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PipelineParameter {
    name: String,
}

async fn credentials(config: &SdkConfig) -> Result<String, String> {
    let region = config
        .region()
        .ok_or("no region is set; set AWS_REGION, or `region` in the AWS profile")?;
    let provider = config.credentials_provider().ok_or("no credentials found")?;
    let credentials = provider.provide_credentials().await;
    let credentials = credentials.map_err(|error| chain(&error))?;
    Ok(format!("access key {} in {region}", credentials.access_key_id()))
}

impl Deployment for Aws {
    async fn whoami(&self) -> Result<String, AwsError> {
        credentials(self.config()).await.map_err(|message| AwsError {
            operation: "credentials",
            resource: "AWS".to_owned(),
            kind: Kind::Rejected,
            message,
        })
    }

    async fn bucket(&self, name: &str) -> Result<Option<BucketSettings>, AwsError> {
        let s3 = self.s3();
        let versioning = s3.get_bucket_versioning().bucket(name).send().await;
        let versioning = versioning.map_err(|error| failed("s3:GetBucketVersioning", name, &error));
        let Some(versioning) = optional(versioning)? else {
            return Ok(None);
        };
        let policy = s3.get_bucket_policy().bucket(name).send().await;
        // S3 returns 404 for a bucket without a policy.
        let policy = policy.map_err(|error| failed("s3:GetBucketPolicy", name, &error));
        Ok(Some(BucketSettings {
            versioned: versioning.status == Some(BucketVersioningStatus::Enabled),
            policy: optional(policy)?.and_then(|answer| answer.policy),
        }))
    }

    async fn sends_events(&self, bucket: &str) -> Result<bool, AwsError> {
        let request = self.s3().get_bucket_notification_configuration().bucket(bucket);
        let answer = request.send().await;
        let answer = answer.map_err(|error| failed("s3:GetBucketNotification", bucket, &error))?;
        Ok(answer.event_bridge_configuration.is_some())
    }

    async fn rule(&self, bus: &str, name: &str) -> Result<Option<Rule>, AwsError> {
        let events = self.eventbridge();
        let resource = || format!("{bus}/{name}");
        let described = events.describe_rule().event_bus_name(bus).name(name).send().await;
        let described = described.map_err(|error| failed("events:DescribeRule", resource(), &error));
        let Some(described) = optional(described)? else {
            return Ok(None);
        };
        let request = events.list_targets_by_rule().event_bus_name(bus).rule(name);
        let listed = request.send().await;
        let listed = listed.map_err(|error| failed("events:ListTargetsByRule", resource(), &error))?;
        let targets = listed.targets.into_iter().flatten().map(|target| RuleTarget {
            arn: target.arn,
            dead_letter_queue: target.dead_letter_config.and_then(|config| config.arn),
        });
        Ok(Some(Rule {
            enabled: described.state != Some(RuleState::Disabled),
            targets: targets.collect(),
        }))
    }

    async fn function(&self, name: &str) -> Result<Option<FunctionConfiguration>, AwsError> {
        let request = self.lambda().get_function_configuration().function_name(name);
        let answer = request.send().await;
        let answer = answer.map_err(|error| failed("lambda:GetFunctionConfiguration", name, &error));
        Ok(optional(answer)?.map(|function| {
            let environment = function.environment.and_then(|environment| environment.variables);
            FunctionConfiguration {
                state: function
                    .state
                    .map(|state| state.as_str().to_owned())
                    .unwrap_or_default(),
                state_reason: function.state_reason,
                last_update_status: function
                    .last_update_status
                    .map(|status| status.as_str().to_owned())
                    .unwrap_or_default(),
                last_update_status_reason: function.last_update_status_reason,
                environment: environment.into_iter().flatten().collect(),
            }
        }))
    }

    async fn subscriptions(&self, topic_arn: &str) -> Result<Vec<Subscription>, AwsError> {
        let request = self.sns().list_subscriptions_by_topic().topic_arn(topic_arn);
        let mut pages = request.into_paginator().send();
        let mut subscriptions = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failed("sns:ListSubscriptionsByTopic", topic_arn, &error))?;
            let listed = page.subscriptions.into_iter().flatten();
            subscriptions.extend(listed.map(|subscription| Subscription {
                protocol: subscription.protocol.unwrap_or_default(),
                endpoint: subscription.endpoint.unwrap_or_default(),
                // `PendingConfirmation` replaces the ARN until the subscription is confirmed.
                confirmed: subscription.subscription_arn.is_some_and(|arn| arn.starts_with("arn:")),
            }));
        }
        Ok(subscriptions)
    }

    async fn message_count(&self, queue_url: &str) -> Result<u64, AwsError> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let mut request = self.sqs().get_queue_attributes().queue_url(queue_url);
        for name in &names {
            request = request.attribute_names(name.clone());
        }
        let answer = request.send().await;
        let answer = answer.map_err(|error| failed("sqs:GetQueueAttributes", queue_url, &error))?;
        let attributes = answer.attributes.unwrap_or_default();
        let counts = names
            .iter()
            .filter_map(|name| attributes.get(name)?.parse::<u64>().ok());
        Ok(counts.sum())
    }

    async fn alarms(&self, names: &[String]) -> Result<Vec<Alarm>, AwsError> {
        let mut alarms = Vec::new();
        for some in names.chunks(MAX_ALARMS_PER_REQUEST) {
            let request = self.cloudwatch().describe_alarms();
            let request = request.alarm_types(AlarmType::MetricAlarm);
            let answer = request
                .set_alarm_names(Some(some.to_vec()))
                .max_records(100)
                .send()
                .await;
            let answer = answer.map_err(|error| failed("cloudwatch:DescribeAlarms", "*", &error))?;
            let found = answer.metric_alarms.into_iter().flatten();
            alarms.extend(found.map(|alarm| {
                Alarm {
                    name: alarm.alarm_name.unwrap_or_default(),
                    state: alarm
                        .state_value
                        .map(|state| state.as_str().to_owned())
                        .unwrap_or_default(),
                    reason: alarm.state_reason.unwrap_or_default(),
                }
            }));
        }
        Ok(alarms)
    }

    async fn pipeline_parameters(&self, pipeline: &str) -> Result<Option<Vec<String>>, AwsError> {
        let operation = "sagemaker:DescribePipeline";
        let input = serde_json::json!({"PipelineName": pipeline});
        let Some(answer) = optional(self.sagemaker::<DescribedPipeline>(operation, pipeline, input).await)? else {
            return Ok(None);
        };
        let definition = answer.pipeline_definition.unwrap_or_default();
        let definition: PipelineDefinition = serde_json::from_str(&definition).map_err(|error| AwsError {
            operation,
            resource: pipeline.to_owned(),
            kind: Kind::Rejected,
            message: format!("failed to parse the definition of the pipeline: {error}"),
        })?;
        let names = definition.parameters.into_iter().map(|parameter| parameter.name);
        Ok(Some(names.collect()))
    }

    async fn remove(&self, bucket: &str, key: &str) -> Result<(), AwsError> {
        let removed = self.s3().delete_object().bucket(bucket).key(key).send().await;
        let failure = |error| failed("s3:DeleteObject", format!("s3://{bucket}/{key}"), &error);
        removed.map(drop).map_err(failure)
    }
}
