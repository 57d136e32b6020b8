//! Notifications: content, recipients, and forms. No notification is sent twice or lost.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

mod destinations;
pub(crate) mod harness;
mod messages;
mod threads;
