//! Ports for the command line only: the dead-letter queue, function invocations, and the configuration of a deployment.

mod deployment;

pub use deployment::{
    Alarm, BucketSettings, Deployment, FunctionConfiguration, Rule, RuleTarget, Stack, StackResource, Stacks,
    Subscription,
};

use crate::ports::PostResponse;
use jiff::Timestamp;
use machine::AwsError;
use std::{collections::BTreeMap, time::Duration};

/// A message of the dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadLetter {
    /// Message ID. It is the same for every receipt.
    pub id: String,
    /// Receipt handle, for deleting or restoring the message. It differs for every receipt.
    pub receipt: String,
    /// Body of the message.
    pub body: String,
    /// String attributes of the message.
    pub attributes: BTreeMap<String, String>,
    /// Time at which the message was sent to the queue.
    pub sent: Option<Timestamp>,
}

/// The dead-letter queue.
pub trait DeadLetters {
    /// Receives some messages, and hides them from other consumers for the time `hidden`. The result is empty only if the queue
    /// has no visible messages.
    fn receive(&self, queue_url: &str, hidden: Duration) -> impl Future<Output = Result<Vec<DeadLetter>, AwsError>>;

    /// Deletes a message.
    fn delete(&self, queue_url: &str, letter: &DeadLetter) -> impl Future<Output = Result<(), AwsError>>;

    /// Makes a message visible to other consumers immediately.
    fn restore(&self, queue_url: &str, letter: &DeadLetter) -> impl Future<Output = Result<(), AwsError>>;
}

/// URLs of Lambda functions with `AuthType` `AWS_IAM`.
pub trait FunctionUrls {
    /// Sends a signed POST request with a JSON body to the URL of a function. A response with any status is a result, not an
    /// error; its body is complete up to 256 KiB.
    fn invoke_url(&self, url: &str, body: String) -> impl Future<Output = Result<PostResponse, AwsError>>;
}

/// Lambda functions.
pub trait Functions {
    /// Invokes a function asynchronously: does not wait for its result.
    fn invoke_async(&self, function_arn: &str, payload: String) -> impl Future<Output = Result<(), AwsError>>;
}
