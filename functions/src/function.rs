//! What all functions have in common.

use crate::Error;
use jiff::Timestamp;
use serde::Serialize;
use shell::config::{ConfigError, Vars};

/// One invocation of a function.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The event as JSON.
    pub payload: &'a str,
    /// Lambda request ID. Retries of an asynchronous invocation have the same ID.
    pub request_id: &'a str,
    /// Time at which Lambda stops the function.
    pub deadline: Timestamp,
}

/// Resources of the deployment that a function uses, from its environment variables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resources {
    /// `STATE_BUCKET`: name of the state bucket.
    pub state_bucket: String,
    /// `EVENT_BUS_NAME`: name of Driftwarden's event bus. `None` for functions that publish no events.
    pub event_bus: Option<String>,
    /// `TOPIC_ARN`: ARN of the SNS topic. `None` for functions that send no notifications.
    pub topic_arn: Option<String>,
}

impl Resources {
    /// The state bucket only.
    ///
    /// # Errors
    /// If the variable is missing or invalid.
    pub fn state_bucket(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<Self, ConfigError> {
        Ok(Self {
            state_bucket: vars.bucket("STATE_BUCKET")?,
            ..Self::default()
        })
    }

    /// The state bucket and the event bus.
    ///
    /// # Errors
    /// If a variable is missing or invalid.
    pub fn with_event_bus(vars: &Vars<impl Fn(&str) -> Option<String>>) -> Result<Self, ConfigError> {
        let event_bus = vars.required("EVENT_BUS_NAME", "the name of an EventBridge event bus")?;
        Ok(Self {
            event_bus: Some(event_bus),
            ..Self::state_bucket(vars)?
        })
    }
}

/// A Lambda function. Its bounds on the clients `C` show which AWS APIs it uses.
pub trait Function<C> {
    /// Response of the function.
    type Response: Serialize;

    /// Processes one invocation.
    ///
    /// # Errors
    /// If the payload is invalid, or a call to AWS fails. Lambda retries the invocation, then moves the event to the dead-letter
    /// queue.
    fn invoke(&self, clients: &C, request: Request<'_>) -> impl Future<Output = Result<Self::Response, Error>>;
}

/// What an event means to a function, or that it does not concern the function, which is no failure.
pub(crate) type Routed<T> = Result<T, Ignored>;

/// Why an event does not concern a function.
#[derive(Debug)]
pub(crate) struct Ignored(pub(crate) String);
