use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderName, HeaderValue};
use sha2::Sha256;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Signs POSTs as Standard Webhooks does: HMAC-SHA256 over `id.timestamp.body`.
pub(super) struct Signer {
    /// The key, already worked into the state that every signature starts from.
    keyed: Hmac<Sha256>,
}

impl Signer {
    /// A signer with a random key: the receiver of a measurement does not check.
    pub(super) fn new() -> Self {
        Self::with_key(rand::random())
    }

    fn with_key(key: [u8; 32]) -> Self {
        let mut block = [0; 64];
        block[..32].copy_from_slice(&key);
        Self {
            keyed: Hmac::new(&block.into()),
        }
    }

    /// The three headers of a POST of `body`, signed now.
    pub(super) fn headers(&self, id: &str, body: &[u8]) -> Result<[(HeaderName, HeaderValue); 3]> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .context("the clock is before 1970")?;
        let timestamp = now.as_secs().to_string();
        Ok([
            (WEBHOOK_ID, HeaderValue::from_str(id)?),
            (
                WEBHOOK_SIGNATURE,
                HeaderValue::from_str(&self.sign(id, &timestamp, body))?,
            ),
            (WEBHOOK_TIMESTAMP, HeaderValue::from_str(&timestamp)?),
        ])
    }

    fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let mut mac = self.keyed.clone();
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        let mut signature = String::from("v1,");
        STANDARD.encode_string(mac.finalize().into_bytes(), &mut signature);
        signature
    }
}

#[cfg(test)]
mod tests {
    use super::Signer;

    #[test]
    fn a_signature_is_the_hmac_of_id_timestamp_and_body() {
        let key = *b"0123456789abcdef0123456789abcdef";
        // printf 'msg_1.1700000000.{}' | openssl dgst -sha256 -hmac KEY -binary | base64
        assert_eq!(
            Signer::with_key(key).sign("msg_1", "1700000000", b"{}"),
            "v1,2c4VI0bO4Wd5svqP2unEA9pCk0dTAXr/elrHCJ+/efk="
        );
    }
}
