//! What is told, to whom, in which form, and that nothing is told twice or lost.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

mod messages;
mod threads;
mod told;
