//! The Rust of docs/receiving.md, word for word.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Whether a request is signed with `secret` ("whsec_…"), now. `header` gives the value of a header.
pub fn verify<'r>(secret: &str, header: impl Fn(&str) -> Option<&'r str>, body: &[u8]) -> bool {
    let header = |name| header(name).unwrap_or_default();
    let (id, sent_at) = (header("webhook-id"), header("webhook-timestamp"));
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    if !sent_at
        .parse()
        .is_ok_and(|sent: u64| now.abs_diff(sent) <= 300)
    {
        return false;
    }
    let Ok(key) = STANDARD.decode(secret.trim_start_matches("whsec_")) else {
        return false;
    };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else {
        return false;
    };
    for part in [id.as_bytes(), b".", sent_at.as_bytes(), b".", body] {
        mac.update(part);
    }
    header("webhook-signature").split(' ').any(|part| {
        let signature = part
            .strip_prefix("v1,")
            .and_then(|text| STANDARD.decode(text).ok());
        signature.is_some_and(|signature| mac.clone().verify_slice(&signature).is_ok())
    })
}
