#![doc = include_str!("../README.md")]

pub use aws_sdk_sagemaker::*;
