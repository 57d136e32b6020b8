#![doc = include_str!("../README.md")]

pub mod config;
pub mod memory;
pub mod operator;
pub mod pace;
mod policy;
pub mod ports;
pub mod stream;
pub mod telemetry;

pub use policy::{LoadPolicyError, POLICY_IN_FORCE_KEY, POLICY_KEY, PolicyStore};
