//! Configuration of a deployment: its `CloudFormation` stack and the settings of the stack's resources. Read-only, except that
//! one object can be deleted.

use machine::AwsError;
use std::collections::BTreeMap;

/// A `CloudFormation` stack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stack {
    /// ARN of the stack. It contains account and region.
    pub arn: String,
    /// `CREATE_COMPLETE`, `UPDATE_ROLLBACK_FAILED`, …
    pub status: String,
    /// `StackStatusReason`.
    pub status_reason: Option<String>,
    /// Outputs by key.
    pub outputs: BTreeMap<String, String>,
    /// Parameters by key. Values of `NoEcho` parameters are asterisks.
    pub parameters: BTreeMap<String, String>,
}

/// A resource of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StackResource {
    /// Logical ID, as in the template.
    pub logical_id: String,
    /// Physical ID: a name, an ARN, or a URL.
    pub physical_id: String,
    /// `AWS::Events::Rule`, …
    pub resource_type: String,
    /// `CREATE_COMPLETE`, …
    pub status: String,
}

/// Settings of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BucketSettings {
    /// Whether versioning is enabled.
    pub versioned: bool,
    /// Bucket policy as JSON. `None` if the bucket has none.
    pub policy: Option<String>,
}

/// An EventBridge rule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// Whether the rule is enabled.
    pub enabled: bool,
    /// Targets of the rule.
    pub targets: Vec<RuleTarget>,
}

/// Target of an EventBridge rule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleTarget {
    /// ARN of the target.
    pub arn: String,
    /// ARN of the queue for events that cannot be delivered.
    pub dead_letter_queue: Option<String>,
}

/// Configuration of a Lambda function.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FunctionConfiguration {
    /// `Active`, `Pending`, `Inactive` or `Failed`.
    pub state: String,
    /// `StateReason`.
    pub state_reason: Option<String>,
    /// `Successful`, `InProgress` or `Failed`.
    pub last_update_status: String,
    /// `LastUpdateStatusReason`.
    pub last_update_status_reason: Option<String>,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
}

/// Subscription to an SNS topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subscription {
    /// `email`, `sqs`, …
    pub protocol: String,
    /// Destination of the messages.
    pub endpoint: String,
    /// Whether the subscription is confirmed.
    pub confirmed: bool,
}

/// A CloudWatch alarm.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Alarm {
    /// Name of the alarm.
    pub name: String,
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    pub state: String,
    /// `StateReason`.
    pub reason: String,
}

/// `CloudFormation` stacks.
pub trait Stacks {
    /// Describes a stack. `None` if it does not exist.
    fn stack(&self, name: &str) -> impl Future<Output = Result<Option<Stack>, AwsError>>;

    /// Lists the resources of a stack.
    fn stack_resources(&self, name: &str) -> impl Future<Output = Result<Vec<StackResource>, AwsError>>;
}

/// Settings of a deployment's resources. `None` means that the resource does not exist.
pub trait Deployment {
    /// Description of the credentials in use and their region.
    fn whoami(&self) -> impl Future<Output = Result<String, AwsError>>;

    /// Settings of a bucket.
    fn bucket(&self, name: &str) -> impl Future<Output = Result<Option<BucketSettings>, AwsError>>;

    /// Whether a bucket sends its events to EventBridge.
    fn sends_events(&self, bucket: &str) -> impl Future<Output = Result<bool, AwsError>>;

    /// A rule of an event bus, with its targets.
    fn rule(&self, bus: &str, name: &str) -> impl Future<Output = Result<Option<Rule>, AwsError>>;

    /// Configuration of a function.
    fn function(&self, name: &str) -> impl Future<Output = Result<Option<FunctionConfiguration>, AwsError>>;

    /// Subscriptions to a topic.
    fn subscriptions(&self, topic_arn: &str) -> impl Future<Output = Result<Vec<Subscription>, AwsError>>;

    /// Approximate number of messages in a queue, including those in flight.
    fn message_count(&self, queue_url: &str) -> impl Future<Output = Result<u64, AwsError>>;

    /// The alarms with these names, if they exist.
    fn alarms(&self, names: &[String]) -> impl Future<Output = Result<Vec<Alarm>, AwsError>>;

    /// Names of the parameters of a SageMaker pipeline.
    fn pipeline_parameters(&self, pipeline: &str) -> impl Future<Output = Result<Option<Vec<String>>, AwsError>>;

    /// Deletes an object, if it exists.
    fn remove(&self, bucket: &str, key: &str) -> impl Future<Output = Result<(), AwsError>>;
}
