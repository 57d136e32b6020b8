//! A deployment as it stands: its `CloudFormation` stack, and what the stack's resources are set to. Only looked at, but for
//! one object that is removed again.

use crate::AwsError;
use std::collections::BTreeMap;

/// A `CloudFormation` stack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stack {
    /// Its ARN, which tells account and region.
    pub arn: String,
    /// `CREATE_COMPLETE`, `UPDATE_ROLLBACK_FAILED`, …
    pub status: String,
    /// Why it has that status, if it was told.
    pub status_reason: Option<String>,
    /// The outputs by their keys.
    pub outputs: BTreeMap<String, String>,
    /// The parameters by their keys; those with `NoEcho` as asterisks.
    pub parameters: BTreeMap<String, String>,
}

/// A resource of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StackResource {
    /// Its logical id, as the template names it.
    pub logical_id: String,
    /// Its physical id: a name, an ARN, a URL.
    pub physical_id: String,
    /// `AWS::Events::Rule`, …
    pub resource_type: String,
    /// `CREATE_COMPLETE`, …
    pub status: String,
}

/// A bucket's settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BucketSettings {
    /// Whether its versioning is enabled.
    pub versioned: bool,
    /// Its policy, JSON; `None` if it has none.
    pub policy: Option<String>,
}

/// A rule of EventBridge.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// Whether it is enabled.
    pub enabled: bool,
    /// Its targets.
    pub targets: Vec<RuleTarget>,
}

/// What a rule sends its events to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleTarget {
    /// Its ARN.
    pub arn: String,
    /// ARN of the queue that gets what cannot be delivered.
    pub dead_letter_queue: Option<String>,
}

/// A Lambda function's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FunctionConfiguration {
    /// `Active`, `Pending`, `Inactive` or `Failed`.
    pub state: String,
    /// Why it has that state.
    pub state_reason: Option<String>,
    /// `Successful`, `InProgress` or `Failed`.
    pub last_update_status: String,
    /// Why the last update went so.
    pub last_update_status_reason: Option<String>,
    /// Its environment's variables.
    pub environment: BTreeMap<String, String>,
}

/// A subscription of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subscription {
    /// `email`, `sqs`, …
    pub protocol: String,
    /// Where the messages go.
    pub endpoint: String,
    /// Whether it was confirmed.
    pub confirmed: bool,
}

/// A CloudWatch alarm.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Alarm {
    /// Its name.
    pub name: String,
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    pub state: String,
    /// Why.
    pub reason: String,
}

/// `CloudFormation`'s stacks.
pub trait Stacks {
    /// A stack; `None` if there is none.
    fn stack(&self, name: &str) -> impl Future<Output = Result<Option<Stack>, AwsError>>;

    /// The resources of a stack.
    fn stack_resources(&self, name: &str) -> impl Future<Output = Result<Vec<StackResource>, AwsError>>;
}

/// What a deployment's resources are set to. `None` stands for one that does not exist.
pub trait Deployment {
    /// Whose credentials are used, and in which region, in words.
    fn whoami(&self) -> impl Future<Output = Result<String, AwsError>>;

    /// A bucket's settings.
    fn bucket(&self, name: &str) -> impl Future<Output = Result<Option<BucketSettings>, AwsError>>;

    /// Whether a bucket sends its events to EventBridge.
    fn sends_events(&self, bucket: &str) -> impl Future<Output = Result<bool, AwsError>>;

    /// A rule of a bus, with its targets.
    fn rule(&self, bus: &str, name: &str) -> impl Future<Output = Result<Option<Rule>, AwsError>>;

    /// A function.
    fn function(&self, name: &str) -> impl Future<Output = Result<Option<FunctionConfiguration>, AwsError>>;

    /// The subscriptions of a topic.
    fn subscriptions(&self, topic_arn: &str) -> impl Future<Output = Result<Vec<Subscription>, AwsError>>;

    /// About how many messages of a queue wait, those that somebody is looking at among them.
    fn waiting(&self, queue_url: &str) -> impl Future<Output = Result<u64, AwsError>>;

    /// The alarms of those names, as far as they exist.
    fn alarms(&self, names: &[String]) -> impl Future<Output = Result<Vec<Alarm>, AwsError>>;

    /// The names of the parameters that a SageMaker pipeline declares.
    fn pipeline_parameters(&self, pipeline: &str) -> impl Future<Output = Result<Option<Vec<String>>, AwsError>>;

    /// Deletes an object; nothing if there is none.
    fn remove(&self, bucket: &str, key: &str) -> impl Future<Output = Result<(), AwsError>>;
}
