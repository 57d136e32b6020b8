#![doc = include_str!("../README.md")]

pub mod analyze;
mod audit;
pub mod dashboard;
mod error;
mod function;
pub mod ingest;
pub mod notify;
pub mod operator;
pub mod promote;
pub mod remediate;
pub mod sweep;

pub use error::{Error, Incomplete};
pub use function::{Function, Request, Resources};
use function::{Ignored, Routed};
