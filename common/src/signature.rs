//! Webhook signatures by Standard Webhooks 1.0.0: `v1` by a shared secret, `v1a` by a private key.

use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::signature::Ed25519KeyPair;
use sha2::Sha256;

/// How a secret is read: as the public verifiers do, which ask for no padding and overlook stray last bits. The
/// URL-safe alphabet is refused: one of them does so as well, and the other silently reads another key.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Maximum of keys that sign one delivery.
pub const MAX_KEYS: usize = 8;

/// Length of the seed of an ed25519 key, and of its public key, in bytes.
const ED25519: usize = 32;

/// The keys that one receiver's deliveries are signed with, all at once: so it can change from one to another.
#[derive(Debug, Clone)]
pub struct SigningKeys {
    first: SigningKey,
    others: Vec<SigningKey>,
}

/// A key that deliveries are signed with.
#[derive(Clone)]
pub struct SigningKey(Form);

#[derive(Clone)]
enum Form {
    /// `v1`: HMAC-SHA256 with a secret that the receiver has, too.
    Shared(Hmac<Sha256>),
    /// `v1a`: ed25519, whose public key the receiver has.
    Private(Arc<Ed25519KeyPair>),
}

/// A secret that is not a Standard Webhooks key. The message never repeats it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSigningKey {
    /// It is not a shared secret.
    #[error("expected a signing secret: \"whsec_\" and 24 to 64 bytes in base64, found {0}")]
    Shared(&'static str),
    /// It is not a private key.
    #[error(
        "expected a private key: \"whsk_\" and an ed25519 key pair of 64 bytes (or its seed of 32) in base64, \
         found {0}"
    )]
    Private(&'static str),
    /// It is neither.
    #[error(
        "expected a signing secret (\"whsec_\" and 24 to 64 bytes in base64) or a private key (\"whsk_\" and an \
         ed25519 key pair in base64), found {0}"
    )]
    Form(&'static str),
    /// There are too many.
    #[error("expected up to {MAX_KEYS} signing secrets, found {0}")]
    Count(usize),
}

impl SigningKeys {
    /// Reads keys in the form `whsec_BASE64` or `whsk_BASE64`; `None` for none.
    ///
    /// # Errors
    /// One of them is not a key, or there are too many.
    pub fn parse<'t>(
        texts: impl ExactSizeIterator<Item = &'t str>,
    ) -> Result<Option<Self>, InvalidSigningKey> {
        if texts.len() > MAX_KEYS {
            return Err(InvalidSigningKey::Count(texts.len()));
        }
        let mut keys = texts.map(SigningKey::parse);
        let Some(first) = keys.next().transpose()? else {
            return Ok(None);
        };
        let others = keys.collect::<Result<_, _>>()?;
        Ok(Some(Self { first, others }))
    }

    /// The value of `webhook-signature` for one delivery: the signatures of all keys, in their order.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut signatures = self.first.sign(id, timestamp, body);
        for key in &self.others {
            signatures.push(' ');
            signatures.push_str(&key.sign(id, timestamp, body));
        }
        signatures
    }
}

impl SigningKey {
    /// Reads a key in the form `whsec_BASE64` or `whsk_BASE64`.
    ///
    /// # Errors
    /// The prefix, the base64 or the length is wrong, or the halves of a key pair do not belong together.
    pub fn parse(text: &str) -> Result<Self, InvalidSigningKey> {
        if let Some(encoded) = text.strip_prefix("whsk_") {
            return Ok(Self(Form::Private(Arc::new(key_pair(encoded)?))));
        }
        if text.starts_with("whpk_") {
            return Err(InvalidSigningKey::Form(
                "a public key: it belongs to the receiver",
            ));
        }
        if !text.starts_with("whsec_") {
            return Err(InvalidSigningKey::Form("no such prefix"));
        }
        let mac = Hmac::new_from_slice(&key_bytes(text)?)
            .map_err(|_| InvalidSigningKey::Shared("another length"))?;
        Ok(Self(Form::Shared(mac)))
    }

    /// The signature of one delivery: over `ID.TIMESTAMP.BODY`.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let timestamp = timestamp.to_string();
        let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        match &self.0 {
            Form::Shared(mac) => {
                let mut mac = mac.clone();
                for part in parts {
                    mac.update(part);
                }
                format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
            }
            // It reads the message twice, and so needs it in one piece.
            Form::Private(pair) => format!("v1a,{}", STANDARD.encode(pair.sign(&parts.concat()))),
        }
    }
}

/// The bytes of a key in the form `whsec_BASE64`.
///
/// # Errors
/// The prefix, the base64 or the length is wrong.
pub(crate) fn key_bytes(text: &str) -> Result<Vec<u8>, InvalidSigningKey> {
    let encoded = text
        .strip_prefix("whsec_")
        .ok_or(InvalidSigningKey::Shared("no such prefix"))?;
    let key = LENIENT
        .decode(encoded)
        .map_err(|_| InvalidSigningKey::Shared("no base64 after it"))?;
    if !(24..=64).contains(&key.len()) {
        return Err(InvalidSigningKey::Shared("another length"));
    }
    Ok(key)
}

/// An ed25519 key: its seed, with or without the public key behind it.
fn key_pair(encoded: &str) -> Result<Ed25519KeyPair, InvalidSigningKey> {
    let key = LENIENT
        .decode(encoded)
        .map_err(|_| InvalidSigningKey::Private("no base64 after it"))?;
    let (seed, public) = key.split_at_checked(ED25519).unwrap_or((&key, &[]));
    let pair = match (seed.len(), public.len()) {
        (ED25519, 0) => Ed25519KeyPair::from_seed_unchecked(seed),
        (ED25519, ED25519) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
        _ => return Err(InvalidSigningKey::Private("another length")),
    };
    pair.map_err(|_| InvalidSigningKey::Private("a public key of another seed"))
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key pair of the Standard Webhooks libraries' own tests, and its public key.
    const PAIR: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    const SEED: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=";
    const PUBLIC: &str = "1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
    const SHARED: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const MESSAGE: (&str, i64, &[u8]) = (
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        br#"{"test": 2432232314}"#,
    );
    /// Computed with Node's own ed25519.
    const BY_PAIR: &str = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";
    const BY_SHARED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn sign(secrets: &[&str]) -> Option<String> {
        let keys = SigningKeys::parse(secrets.iter().copied()).unwrap();
        let (id, timestamp, body) = MESSAGE;
        keys.map(|keys| keys.sign(id, timestamp, body))
    }

    #[test]
    fn a_private_key_signs_as_the_public_libraries_do() {
        for form in [PAIR, PAIR.trim_end_matches('='), SEED] {
            assert_eq!(sign(&[form]).as_deref(), Some(BY_PAIR), "{form}");
        }
        let (id, timestamp, body) = MESSAGE;
        let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
        let (public, signature) = (
            STANDARD.decode(PUBLIC).unwrap(),
            STANDARD.decode(&BY_PAIR[4..]).unwrap(),
        );
        ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public)
            .verify(&signed, &signature)
            .unwrap();
    }

    #[test]
    fn several_secrets_sign_in_their_order() {
        assert_eq!(sign(&[]), None);
        assert_eq!(sign(&[SHARED]).as_deref(), Some(BY_SHARED));
        let both = format!("{BY_SHARED} {BY_PAIR}");
        assert_eq!(sign(&[SHARED, PAIR]), Some(both));
        let turned = format!("{BY_PAIR} {BY_SHARED} {BY_SHARED}");
        assert_eq!(sign(&[PAIR, SHARED, SHARED]), Some(turned));
        let most = [SHARED; MAX_KEYS + 1];
        assert!(SigningKeys::parse(most[1..].iter().copied()).is_ok());
        let many = SigningKeys::parse(most.iter().copied()).map(|_| ());
        assert_eq!(many, Err(InvalidSigningKey::Count(9)));
    }

    #[test]
    fn a_private_key_that_does_not_fit_is_told_from_other_secrets() {
        let swapped = format!("whsk_{}", STANDARD.encode([7; 64]));
        for (bad, words) in [
            (format!("whpk_{PUBLIC}"), "a public key"),
            (swapped, "another seed"),
            (
                format!("whsk_{}", STANDARD.encode([7; 33])),
                "another length",
            ),
            (
                format!("whsk_{}", STANDARD.encode([7; 31])),
                "another length",
            ),
            ("whsk_".to_owned(), "another length"),
            ("whsk_?".to_owned(), "no base64"),
            (
                PAIR.replace("whsk", "whsec").replace("_6", "_A?"),
                "no base64",
            ),
        ] {
            let error = SigningKey::parse(&bad).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(words), "{bad}: {error}");
            let repeated = bad
                .get(8..)
                .is_some_and(|part| !part.is_empty() && error.contains(part));
            assert!(!repeated, "{error}");
        }
        let shown = format!("{:?}", SigningKeys::parse([PAIR].into_iter()));
        assert!(!shown.contains("6Xb"), "{shown}");
    }

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
