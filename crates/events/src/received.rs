//! Events as a function receives them.

use crate::Event;
use jiff::Timestamp;
use model_monitor::{Detail, ParseError};

/// An EventBridge event that a function received.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedEvent {
    /// ID of the event. Duplicates have the same ID.
    pub id: String,
    /// Source of the event.
    pub source: String,
    /// Detail-type.
    pub detail_type: String,
    /// Region of the event.
    pub region: Option<String>,
    /// Time of the event, if it is valid.
    pub time: Option<Timestamp>,
    /// What the event says.
    pub incoming: Incoming,
}

/// What a received event says.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// An event of Driftwarden.
    Own(Event),
    /// A tick: `Scheduled Event` of an EventBridge rule. Its content is not used.
    Tick,
    /// An event of AWS, or one that this release does not know.
    Aws(Detail),
}

/// Why an event was not understood.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The payload is not a valid event of its detail-type.
    #[error("failed to parse the event")]
    Event(#[source] ParseError),
    /// The detail of one of Driftwarden's events is invalid.
    #[error("failed to parse the detail of the event `{detail_type}`")]
    Detail {
        /// Detail-type of the event.
        detail_type: String,
        /// The parse error.
        source: serde_json::Error,
    },
}

impl ReceivedEvent {
    /// Parses the payload of an invocation.
    ///
    /// # Errors
    /// If the payload is not an EventBridge event, or its detail does not have the layout of its detail-type.
    pub fn parse(payload: &str) -> Result<Self, ReceiveError> {
        let event = model_monitor::Event::parse("event", payload.as_bytes()).map_err(ReceiveError::Event)?;
        let incoming = match event.detail {
            Detail::Other(_) if event.detail_type == "Scheduled Event" => Incoming::Tick,
            Detail::Other(detail) if event.source.starts_with("driftwarden") => {
                let own = Event::parse(&event.source, &event.detail_type, &detail);
                let own = own.map_err(|source| ReceiveError::Detail {
                    detail_type: event.detail_type.clone(),
                    source,
                })?;
                own.map_or(Incoming::Aws(Detail::Other(detail)), Incoming::Own)
            }
            detail => Incoming::Aws(detail),
        };
        Ok(Self {
            id: event.id,
            source: event.source,
            detail_type: event.detail_type,
            region: event.region,
            time: event.time,
            incoming,
        })
    }
}
