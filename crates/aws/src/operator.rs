//! Ports for operators: the dead-letter queue, functions, and the resources of a deployment.

mod deployment;
#[cfg(test)]
pub(crate) use deployment::DescribedPipeline;

use crate::{Aws, failed};
use aws_sdk_lambda::{primitives::Blob, types::InvocationType};
use aws_sdk_sqs::{
    operation::change_message_visibility::ChangeMessageVisibilityError,
    types::{Message, MessageSystemAttributeName},
};
use jiff::Timestamp;
use machine::AwsError;
use shell::operator::{DeadLetter, DeadLetters, Functions};
use std::time::Duration;

/// Maximum number of messages that SQS returns per request (API, `ReceiveMessage`).
const MAX_MESSAGES_PER_REQUEST: i32 = 10;

// Clients are created on demand. They share the connections and the credentials of the configuration.
impl Aws {
    fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(self.config())
    }

    fn lambda(&self) -> aws_sdk_lambda::Client {
        aws_sdk_lambda::Client::new(self.config())
    }
}

impl DeadLetters for Aws {
    async fn receive(&self, queue_url: &str, hidden: Duration) -> Result<Vec<DeadLetter>, AwsError> {
        // With a wait time SQS queries all its servers. Otherwise an empty response would not mean an empty queue.
        let received = self
            .sqs()
            .receive_message()
            .queue_url(queue_url)
            .max_number_of_messages(MAX_MESSAGES_PER_REQUEST)
            .visibility_timeout(i32::try_from(hidden.as_secs()).unwrap_or(i32::MAX))
            .wait_time_seconds(2)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .send()
            .await
            .map_err(|error| failed("sqs:ReceiveMessage", queue_url, &error))?;
        Ok(received.messages.into_iter().flatten().map(letter).collect())
    }

    async fn delete(&self, queue_url: &str, letter: &DeadLetter) -> Result<(), AwsError> {
        let deleted = self
            .sqs()
            .delete_message()
            .queue_url(queue_url)
            .receipt_handle(&letter.receipt)
            .send()
            .await;
        let failure = |error| failed("sqs:DeleteMessage", queue_url, &error);
        deleted.map(drop).map_err(failure)
    }

    async fn restore(&self, queue_url: &str, letter: &DeadLetter) -> Result<(), AwsError> {
        let restored = self
            .sqs()
            .change_message_visibility()
            .queue_url(queue_url)
            .receipt_handle(&letter.receipt)
            .visibility_timeout(0)
            .send()
            .await;
        match restored {
            Ok(_) => Ok(()),
            // The visibility timeout has expired: the message is already visible.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(ChangeMessageVisibilityError::is_message_not_inflight) =>
            {
                Ok(())
            }
            Err(error) => Err(failed("sqs:ChangeMessageVisibility", queue_url, &error)),
        }
    }
}

fn letter(message: Message) -> DeadLetter {
    let sent = message.attributes.as_ref().and_then(|attributes| {
        let sent = attributes.get(&MessageSystemAttributeName::SentTimestamp)?;
        Timestamp::from_millisecond(sent.parse().ok()?).ok()
    });
    let attributes = message.message_attributes.into_iter().flatten();
    DeadLetter {
        id: message.message_id.unwrap_or_default(),
        receipt: message.receipt_handle.unwrap_or_default(),
        body: message.body.unwrap_or_default(),
        attributes: attributes
            .filter_map(|(name, value)| Some((name, value.string_value?)))
            .collect(),
        sent,
    }
}

impl Functions for Aws {
    async fn invoke_async(&self, function_arn: &str, payload: String) -> Result<(), AwsError> {
        let invoked = self
            .lambda()
            .invoke()
            .function_name(function_arn)
            .invocation_type(InvocationType::Event)
            .payload(Blob::new(payload))
            .send()
            .await;
        let failure = |error| failed("lambda:InvokeFunction", function_arn, &error);
        invoked.map(drop).map_err(failure)
    }
}
