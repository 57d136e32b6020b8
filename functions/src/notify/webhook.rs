//! Signature of webhook requests: it proves to the receiver who sent a request, and when.
//!
//! `Driftwarden-Signature: t=1795404000,v1=5257a8…`: `t` is the time of sending in seconds since 1970. `v1` is the
//! HMAC-SHA256, in hexadecimal digits, of `t`, a full stop, and the body, with the signing key. The receiver computes
//! it from the bytes of the request, compares both in constant time, and rejects requests that are older than five
//! minutes. So an intercepted request cannot be replayed later. `Driftwarden-Id` is the ID of the notification. A
//! request that is repeated because its response was lost has the same ID.

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;
use shell::ports::Secret;

/// Name of the signature header.
pub const SIGNATURE: &str = "driftwarden-signature";
/// Name of the header with the ID of the notification.
pub const ID: &str = "driftwarden-id";

/// Value of the signature header for a body that is sent at `time`.
pub fn signature(key: &Secret, time: Timestamp, body: &[u8]) -> String {
    let time = time.as_second();
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes()) else {
        return String::new();
    };
    mac.update(format!("{time}.").as_bytes());
    mac.update(body);
    format!("t={time},v1={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_matches_openssl() {
        // printf '1795404000.{"a":1}' | openssl dgst -sha256 -hmac key
        let time = Timestamp::from_second(1_795_404_000).unwrap();
        let signed = signature(&Secret::new("key"), time, b"{\"a\":1}");
        assert_eq!(signed, EXPECTED);
        assert_ne!(signature(&Secret::new("other"), time, b"{\"a\":1}"), EXPECTED);
    }

    const EXPECTED: &str = "t=1795404000,v1=9ab0475ffd7727aa6357264eafb35d5761b39d13e1207d04ed025a249192aeb4";
}
