//! Tests of ingest.

mod executions;
