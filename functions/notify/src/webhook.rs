//! The signature of a webhook, so that its receiver knows who sent a request, and when.
//!
//! `Driftwarden-Signature: t=1795404000,v1=5257a8…`: `t` is the time of sending in seconds since 1970, `v1` the HMAC-SHA256,
//! in hexadecimal digits, of `t`, a full stop and the body, under the signing key. A receiver computes it anew over the bytes
//! that it got, compares both in constant time, and turns down what is older than five minutes: a request that somebody has
//! kept cannot be sent again later. `Driftwarden-Id` is the notification's id: what comes twice within that time, after a
//! lost answer, has the same.

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;
use shell::ports::Secret;

/// The header of the signature.
pub const SIGNATURE: &str = "driftwarden-signature";
/// The header of the notification's id.
pub const ID: &str = "driftwarden-id";

/// The signature of a body that is sent then.
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
    fn it_is_what_others_compute() {
        // printf '1795404000.{"a":1}' | openssl dgst -sha256 -hmac key
        let time = Timestamp::from_second(1_795_404_000).unwrap();
        let signed = signature(&Secret::new("key"), time, b"{\"a\":1}");
        assert_eq!(signed, EXPECTED);
        assert_ne!(signature(&Secret::new("other"), time, b"{\"a\":1}"), EXPECTED);
    }

    const EXPECTED: &str = "t=1795404000,v1=9ab0475ffd7727aa6357264eafb35d5761b39d13e1207d04ed025a249192aeb4";
}
