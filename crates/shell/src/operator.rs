//! What only people do, by the command line: look after the dead-letter queue, call functions, and look a deployment over.

mod deployment;

pub use deployment::{
    Alarm, BucketSettings, Deployment, FunctionConfiguration, Rule, RuleTarget, Stack, StackResource, Stacks,
    Subscription,
};

use crate::AwsError;
use jiff::Timestamp;
use std::{collections::BTreeMap, time::Duration};

/// A message of the dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadLetter {
    /// Its id, the same however often it is received.
    pub id: String,
    /// By which it is deleted or restored; another one each time it is received.
    pub receipt: String,
    /// Its text.
    pub body: String,
    /// Its attributes, those that are texts.
    pub attributes: BTreeMap<String, String>,
    /// When it was put into the queue.
    pub sent: Option<Timestamp>,
}

/// The dead-letter queue.
pub trait DeadLetters {
    /// Receives some messages, none only if none is there. Nobody else sees them for the given time.
    fn receive(&self, queue_url: &str, hidden: Duration) -> impl Future<Output = Result<Vec<DeadLetter>, AwsError>>;

    /// Deletes a message.
    fn delete(&self, queue_url: &str, letter: &DeadLetter) -> impl Future<Output = Result<(), AwsError>>;

    /// Lets others see a message again at once.
    fn restore(&self, queue_url: &str, letter: &DeadLetter) -> impl Future<Output = Result<(), AwsError>>;
}

/// Lambda functions.
pub trait Functions {
    /// Hands a payload to a function, and does not wait for what becomes of it.
    fn invoke_async(&self, function_arn: &str, payload: String) -> impl Future<Output = Result<(), AwsError>>;
}
