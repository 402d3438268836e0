//! Webhook signatures by the Standard Webhooks scheme (version 1.0.0, symmetric `v1`).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// How a secret is read: as the public verifiers do, which ask for no padding and overlook stray last bits. The
/// URL-safe alphabet is refused: one of them does so as well, and the other silently reads another key.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The key that one receiver's deliveries are signed with.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

/// A secret that is not a Standard Webhooks key. The message never repeats it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a signing secret: \"whsec_\" and 24 to 64 bytes in base64, found {0}")]
pub struct InvalidSigningKey(&'static str);

impl SigningKey {
    /// Reads a key in the form `whsec_BASE64`.
    ///
    /// # Errors
    /// The prefix, the base64 or the length is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidSigningKey> {
        let key = key_bytes(text)?;
        let mac = Hmac::new_from_slice(&key).map_err(|_| InvalidSigningKey("another length"))?;
        Ok(Self(mac))
    }

    /// The value of `webhook-signature` for one delivery: over `ID.TIMESTAMP.BODY`.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(timestamp.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// The bytes of a key in the form `whsec_BASE64`.
///
/// # Errors
/// The prefix, the base64 or the length is wrong.
pub(crate) fn key_bytes(text: &str) -> Result<Vec<u8>, InvalidSigningKey> {
    let encoded = text
        .strip_prefix("whsec_")
        .ok_or(InvalidSigningKey("no such prefix"))?;
    let key = LENIENT
        .decode(encoded)
        .map_err(|_| InvalidSigningKey("no base64 after it"))?;
    if !(24..=64).contains(&key.len()) {
        return Err(InvalidSigningKey("another length"));
    }
    Ok(key)
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_one_of_the_specification() {
        // The example of the Standard Webhooks specification, "Symmetric" signing.
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
            .unwrap_or_else(|error| panic!("{error}"));
        let signature = key.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_read_with_and_without_its_padding() {
        let sign = |secret: &str| {
            let key = SigningKey::parse(secret).unwrap_or_else(|error| panic!("{secret}: {error}"));
            key.sign("msg_1", 1_614_265_330, b"{}")
        };
        for (padded, bare) in [
            (
                "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGA==",
                "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGA",
            ),
            (
                "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk=",
                "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk",
            ),
        ] {
            assert_eq!(sign(padded), sign(bare));
        }
        // Computed with both public verifiers.
        assert_eq!(
            sign("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGA"),
            "v1,y+QuBas1E9778c6BYziKckwPNn/KHkrARB9IZFdHTJ4="
        );
        // Stray bits in the last letter: both read the same key.
        assert_eq!(
            sign("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGB"),
            sign("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGA")
        );
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        for bad in [
            "hunter2hunter2",
            "whsec_?hunter2?",
            "whsec_aHVudGVyMg==",
            "whsec_hunter2-_-_-_-_-_-_-_-_-_-_-_-_-_",
        ] {
            let error = SigningKey::parse(bad)
                .map(|_| ())
                .map_err(|error| error.to_string());
            let repeated = |text: &String| text.contains("hunter2") || text.contains("aHVu");
            assert!(error.is_err_and(|text| !repeated(&text)), "{bad}");
        }
    }
}
