//! What an AWS operation can answer instead of the wanted.

use std::fmt;

/// How a failed operation is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Throttling, a 5xx, a time-out, a lost connection: the same call may succeed later. The SDK has retried already.
    Transient,
    /// Not permitted: the function's role or the bucket's policy has to be mended.
    Denied,
    /// What is asked for does not exist.
    NotFound,
    /// A conditional write lost against another writer (S3's 412 and 409).
    Conflict,
    /// AWS will never take this request.
    Rejected,
}

/// An AWS operation that failed: which, on what, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsError {
    /// As the API names it, with its service: `s3:GetObject`.
    pub operation: &'static str,
    /// What it was called on.
    pub resource: String,
    /// How to take it.
    pub kind: Kind,
    /// What AWS, or the connection, said.
    pub message: String,
}

/// An error with a stable name for alarms and runbooks.
pub trait ErrorType: std::error::Error + 'static {
    /// The `errorType` of the failed invocation.
    fn error_type(&self) -> &'static str;
}

/// The message of an error followed by those of its sources, separated by colons. `Display` of Driftwarden's errors never
/// repeats its source.
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
                write!(f, " (the function's role needs `{operation}` on it")?;
                if service == "s3" {
                    write!(
                        f,
                        ", and `s3:ListBucket` on the bucket, without which S3 denies what is only missing"
                    )?;
                }
                write!(f, ")")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for AwsError {}
