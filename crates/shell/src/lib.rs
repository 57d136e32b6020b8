//! The one place that talks to AWS: documents in S3 with conditional writes, effects, clients, configuration, telemetry.
//!
//! The functions see AWS through small ports ([`ports`]): [`Aws`] is the real thing, `memory::Memory` (feature `memory`)
//! its twin for tests, with the same conditional-write semantics and with faults on demand. [`turn`] is how a document
//! changes: load, apply, write if nobody else did, carry out what is owed, settle it.

mod aws;
pub mod config;
pub mod emf;
mod error;
pub mod invocation;
pub mod lambda;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(feature = "operator")]
pub mod operator;
mod policy;
pub mod ports;
pub mod stream;
pub mod telemetry;
mod turn;

pub use aws::Aws;
pub use error::{AwsError, Kind};
pub use policy::{LoadPolicyError, POLICY_KEY, PolicyStore};
pub use turn::{LEASE, Loaded, Owing, TurnError, load, turn};
