//! Errors of AWS operations.

use std::fmt;

/// Category of a failed operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Throttling, 5xx, time-out, or lost connection: the same call may succeed later. The SDK has already retried.
    Transient,
    /// Access denied: the role or the bucket policy lacks a permission.
    Denied,
    /// The resource does not exist.
    NotFound,
    /// A conditional write lost against another writer (S3's 412 and 409).
    Conflict,
    /// AWS rejected the request. A retry does not help.
    Rejected,
}

/// A failed AWS operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsError {
    /// Name of the operation with its service: `s3:GetObject`.
    pub operation: &'static str,
    /// Resource that the operation was called on.
    pub resource: String,
    /// Category of the error.
    pub kind: Kind,
    /// Message from AWS or from the connection.
    pub message: String,
}

/// An error with a stable name for alarms and runbooks.
pub trait ErrorType: std::error::Error + 'static {
    /// `errorType` of the failed invocation.
    fn error_type(&self) -> &'static str;
}

/// Message of an error and of all its sources, separated by colons. Driftwarden's errors do not repeat their source in
/// `Display`.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl ErrorType for AwsError {
    fn error_type(&self) -> &'static str {
        match self.kind {
            Kind::Transient => "AwsTransient",
            Kind::Denied => "AwsAccessDenied",
            Kind::NotFound => "AwsNotFound",
            Kind::Conflict => "AwsConflict",
            Kind::Rejected => "AwsRejected",
        }
    }
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            operation,
            resource,
            kind,
            message,
        } = self;
        write!(f, "{operation} on `{resource}` failed: {message}")?;
        match kind {
            Kind::Denied => {
                let (service, _) = operation.split_once(':').unwrap_or(("the", ""));
                write!(f, " (requires permission `{operation}` on the resource")?;
                if service == "s3" {
                    write!(
                        f,
                        ", and `s3:ListBucket` on the bucket: without it, S3 denies access to missing objects too"
                    )?;
                }
                write!(f, ")")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for AwsError {}
