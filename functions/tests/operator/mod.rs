//! Tests of operator.

mod commands;
