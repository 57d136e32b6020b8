#![doc = include_str!("../README.md")]

mod correlation;
mod document;
mod error;
pub mod invocation;
mod outbox;
mod ports;
mod shared;
mod update;

pub use correlation::correlation_id;
pub use document::{LoadedDocument, OutboxDocument, UpdateError, load, parse_document};
pub use error::{AwsError, ErrorType, Kind, chain};
pub use outbox::{CLAIM, Caller, Claim, Entry, Failures, GivenUp, Outbox};
pub use ports::{Clock, Documents, ETag, Fetched, ListedDocument, Precondition};
pub use shared::{load_shared, update_shared};
pub use update::update_document;
