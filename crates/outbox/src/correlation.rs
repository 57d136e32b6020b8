//! What ties together all that follows from one cause.

use sha2::{Digest, Sha256};

/// The correlation id of all that follows from one thing: 32 lower-case hexadecimal digits, which is also a trace id of W3C
/// Trace Context. No chance is in it: whoever knows the thing knows the id, so that a retry, a sweep or a reader of the
/// report folder comes to the same one without being told. It is the first half of the SHA-256 of
/// `driftwarden/{kind}/{identity}`.
pub fn correlation_id(kind: &str, identity: &str) -> String {
    let mut id = hex::encode(Sha256::digest(format!("driftwarden/{kind}/{identity}")));
    id.truncate(32);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_what_a_shell_computes() {
        // printf driftwarden/execution/churn-data-quality/2026-11-23T02 | sha256sum | cut -c1-32
        let id = correlation_id("execution", "churn-data-quality/2026-11-23T02");
        assert_eq!(id, "a38726096f576e2b5f51ac524d609cab");
        assert_ne!(id, correlation_id("alarm", "churn-data-quality/2026-11-23T02"));
    }
}
