//! The correlation ID of all that follows from one cause.

use sha2::{Digest, Sha256};

/// Correlation ID of all that follows from one cause: 32 lowercase hexadecimal digits, the form of a trace ID in W3C
/// Trace Context. It is derived, not random, so that a retry, a sweep, or a reader of the report folder gets the same
/// ID. It is the first half of the SHA-256 of `driftwarden/{kind}/{identity}`.
pub fn correlation_id(kind: &str, identity: &str) -> String {
    let mut id = hex::encode(Sha256::digest(format!("driftwarden/{kind}/{identity}")));
    id.truncate(32);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_matches_sha256sum() {
        // printf driftwarden/execution/churn-data-quality/2026-11-23T02 | sha256sum | cut -c1-32
        let id = correlation_id("execution", "churn-data-quality/2026-11-23T02");
        assert_eq!(id, "a38726096f576e2b5f51ac524d609cab");
        assert_ne!(id, correlation_id("alarm", "churn-data-quality/2026-11-23T02"));
    }
}
