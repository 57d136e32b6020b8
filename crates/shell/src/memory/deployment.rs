//! A deployment in memory. Tests configure its stack and resources.

use super::Memory;
use crate::operator::{
    Alarm, BucketSettings, Deployment, FunctionConfiguration, Rule, Stack, StackResource, Stacks, Subscription,
};
use machine::{AwsError, Kind};
use std::collections::{BTreeMap, BTreeSet};

/// State of the deployment.
#[derive(Debug, Default)]
pub(super) struct DeploymentState {
    stacks: BTreeMap<String, (Stack, Vec<StackResource>)>,
    buckets: BTreeMap<String, BucketSettings>,
    sending: BTreeSet<String>,
    rules: BTreeMap<(String, String), Rule>,
    functions: BTreeMap<String, FunctionConfiguration>,
    subscriptions: BTreeMap<String, Vec<Subscription>>,
    alarms: Vec<Alarm>,
    pipelines: BTreeMap<String, Vec<String>>,
}

impl Memory {
    /// Adds a stack with its resources, or replaces the stack with the same name.
    pub fn put_stack(&self, name: &str, stack: Stack, resources: Vec<StackResource>) {
        let stacks = &mut self.inner().deployed.stacks;
        stacks.insert(name.to_owned(), (stack, resources));
    }

    /// Sets the settings of a bucket, and whether it sends its events to EventBridge.
    pub fn put_bucket(&self, name: &str, settings: BucketSettings, sends_events: bool) {
        let deployed = &mut self.inner().deployed;
        deployed.buckets.insert(name.to_owned(), settings);
        deployed.sending.remove(name);
        if sends_events {
            deployed.sending.insert(name.to_owned());
        }
    }

    /// Adds a rule of an event bus.
    pub fn put_rule(&self, bus: &str, name: &str, rule: Rule) {
        let rules = &mut self.inner().deployed.rules;
        rules.insert((bus.to_owned(), name.to_owned()), rule);
    }

    /// Adds a function.
    pub fn put_function(&self, name: &str, function: FunctionConfiguration) {
        self.inner().deployed.functions.insert(name.to_owned(), function);
    }

    /// Sets the subscriptions to a topic.
    pub fn put_subscriptions(&self, topic_arn: &str, subscriptions: Vec<Subscription>) {
        let subscriptions_by_topic = &mut self.inner().deployed.subscriptions;
        subscriptions_by_topic.insert(topic_arn.to_owned(), subscriptions);
    }

    /// Adds an alarm, or replaces the alarm with the same name.
    pub fn put_alarm(&self, alarm: Alarm) {
        let alarms = &mut self.inner().deployed.alarms;
        alarms.retain(|known| known.name != alarm.name);
        alarms.push(alarm);
    }

    /// Adds a SageMaker pipeline with parameters of these names.
    pub fn put_pipeline(&self, name: &str, parameters: &[&str]) {
        let parameters = parameters.iter().map(|name| (*name).to_owned()).collect();
        self.inner().deployed.pipelines.insert(name.to_owned(), parameters);
    }

    /// Adds a document when the next object is stored, as a function does after the event of the object.
    pub fn put_document_after_store(&self, key: &str, body: impl Into<Vec<u8>>) {
        self.inner().put_document_after_store = Some((key.to_owned(), body.into()));
    }
}

impl Stacks for Memory {
    async fn stack(&self, name: &str) -> Result<Option<Stack>, AwsError> {
        self.call("cloudformation:DescribeStacks", name, |inner| {
            Ok(inner.deployed.stacks.get(name).map(|(stack, _)| stack.clone()))
        })
        .await
    }

    async fn stack_resources(&self, name: &str) -> Result<Vec<StackResource>, AwsError> {
        self.call("cloudformation:ListStackResources", name, |inner| {
            let found = inner.deployed.stacks.get(name);
            Ok(found.map(|(_, resources)| resources.clone()).unwrap_or_default())
        })
        .await
    }
}

impl Deployment for Memory {
    async fn whoami(&self) -> Result<String, AwsError> {
        self.call("credentials", "AWS", |_| {
            Ok("access key AKIAMEMORY in eu-west-1".to_owned())
        })
        .await
    }

    async fn bucket(&self, name: &str) -> Result<Option<BucketSettings>, AwsError> {
        self.call("s3:GetBucketVersioning", name, |inner| {
            Ok(inner.deployed.buckets.get(name).cloned())
        })
        .await
    }

    async fn sends_events(&self, bucket: &str) -> Result<bool, AwsError> {
        self.call("s3:GetBucketNotification", bucket, |inner| {
            if inner.deployed.buckets.contains_key(bucket) {
                return Ok(inner.deployed.sending.contains(bucket));
            }
            Err(AwsError {
                operation: "s3:GetBucketNotification",
                resource: bucket.to_owned(),
                kind: Kind::NotFound,
                message: "NoSuchBucket".to_owned(),
            })
        })
        .await
    }

    async fn rule(&self, bus: &str, name: &str) -> Result<Option<Rule>, AwsError> {
        self.call("events:DescribeRule", name, |inner| {
            let key = (bus.to_owned(), name.to_owned());
            Ok(inner.deployed.rules.get(&key).cloned())
        })
        .await
    }

    async fn function(&self, name: &str) -> Result<Option<FunctionConfiguration>, AwsError> {
        self.call("lambda:GetFunctionConfiguration", name, |inner| {
            Ok(inner.deployed.functions.get(name).cloned())
        })
        .await
    }

    async fn subscriptions(&self, topic_arn: &str) -> Result<Vec<Subscription>, AwsError> {
        self.call("sns:ListSubscriptionsByTopic", topic_arn, |inner| {
            let found = inner.deployed.subscriptions.get(topic_arn);
            Ok(found.cloned().unwrap_or_default())
        })
        .await
    }

    async fn message_count(&self, queue_url: &str) -> Result<u64, AwsError> {
        self.call("sqs:GetQueueAttributes", queue_url, |inner| {
            Ok(inner.dead_letters.len() as u64)
        })
        .await
    }

    async fn alarms(&self, names: &[String]) -> Result<Vec<Alarm>, AwsError> {
        self.call("cloudwatch:DescribeAlarms", "*", |inner| {
            let alarms = inner.deployed.alarms.iter();
            Ok(alarms.filter(|alarm| names.contains(&alarm.name)).cloned().collect())
        })
        .await
    }

    async fn pipeline_parameters(&self, pipeline: &str) -> Result<Option<Vec<String>>, AwsError> {
        self.call("sagemaker:DescribePipeline", pipeline, |inner| {
            Ok(inner.deployed.pipelines.get(pipeline).cloned())
        })
        .await
    }

    async fn remove(&self, bucket: &str, key: &str) -> Result<(), AwsError> {
        let uri = format!("s3://{bucket}/{key}");
        self.call("s3:DeleteObject", &uri, |inner| {
            inner.objects.remove(&uri);
            Ok(())
        })
        .await
    }
}
