//! Tests of dashboard.

mod bursts;
mod pages;
