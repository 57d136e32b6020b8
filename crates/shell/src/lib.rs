#![doc = include_str!("../README.md")]

pub mod config;
mod error;
pub mod invocation;
pub mod memory;
pub mod operator;
pub mod pace;
mod policy;
pub mod ports;
pub mod stream;
pub mod telemetry;
mod update;

pub use error::{AwsError, ErrorType, Kind, chain};
pub use policy::{LoadPolicyError, POLICY_IN_FORCE_KEY, POLICY_KEY, PolicyStore};
pub use update::{
    LEASE, LoadedDocument, OutboxDocument, UpdateError, load, load_shared, parse_document, update_document,
    update_shared,
};
