//! The keys of a source, made of its secrets.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac};
use serde::Deserialize;
use sha2::{Sha256, Sha512};

use super::Encoding;
use crate::signature;

/// Minimum length of a key, in bytes: a shorter one can be guessed.
const MIN_KEY: usize = 8;

/// The hash function of a signature (HMAC).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacDigest {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

/// How a secret becomes a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyForm {
    /// The characters of the secret are the key.
    #[default]
    Text,
    /// The secret is hexadecimal.
    Hex,
    /// The secret is base64.
    Base64,
    /// The secret is `whsec_` and base64, as Standard Webhooks writes it.
    Whsec,
}

/// One key.
#[derive(Clone)]
pub(super) enum Key {
    Sha256(Hmac<Sha256>),
    Sha512(Hmac<Sha512>),
}

impl Key {
    /// The key that a secret stands for.
    ///
    /// # Errors
    /// The secret has another form, or is too short. The message never repeats it.
    pub(super) fn new(form: KeyForm, digest: MacDigest, secret: &str) -> Result<Self, String> {
        let bytes = bytes(form, secret)?;
        if bytes.len() < MIN_KEY {
            let found = bytes.len();
            return Err(format!(
                "expected a secret of at least {MIN_KEY} bytes, found one of {found}"
            ));
        }
        let key = match digest {
            MacDigest::Sha256 => Hmac::new_from_slice(&bytes).map(Self::Sha256),
            MacDigest::Sha512 => Hmac::new_from_slice(&bytes).map(Self::Sha512),
        };
        key.map_err(|_| "expected a secret that HMAC takes as its key, found another".to_owned())
    }

    /// Whether one of the signatures was made with this key over the parts, one behind the other. The comparison takes the
    /// same time wherever two signatures differ.
    pub(super) fn has_signed(&self, parts: &[&[u8]], signatures: &[Vec<u8>]) -> bool {
        match self {
            Self::Sha256(mac) => is_among(mac, parts, signatures),
            Self::Sha512(mac) => is_among(mac, parts, signatures),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

fn is_among<M: Mac + Clone>(mac: &M, parts: &[&[u8]], signatures: &[Vec<u8>]) -> bool {
    let mut mac = mac.clone();
    for part in parts {
        mac.update(part);
    }
    // Each is compared, so that the time does not tell which one it was.
    let is_right = |signature: &&Vec<u8>| mac.clone().verify_slice(signature).is_ok();
    signatures.iter().filter(is_right).count() > 0
}

fn bytes(form: KeyForm, secret: &str) -> Result<Vec<u8>, String> {
    let decoded = |encoding: Encoding, form| {
        let wrong = || format!("expected a secret in {form}, found another text");
        encoding.decode(secret).ok_or_else(wrong)
    };
    match form {
        KeyForm::Text => Ok(secret.as_bytes().to_vec()),
        KeyForm::Hex => decoded(Encoding::Hex, "hexadecimal"),
        KeyForm::Base64 => decoded(Encoding::Base64, "base64"),
        KeyForm::Whsec => signature::key_bytes(secret).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_in_its_form() {
        for (form, secret, expected) in [
            (KeyForm::Text, "whsec_AAEC", &b"whsec_AAEC"[..]),
            (KeyForm::Hex, "00ff", &[0, 255]),
            (KeyForm::Base64, "AP8=", &[0, 255]),
            (
                KeyForm::Whsec,
                "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
                &[
                    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                    22, 23,
                ],
            ),
        ] {
            assert_eq!(bytes(form, secret).as_deref(), Ok(expected), "{form:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        for (form, secret) in [
            (KeyForm::Text, ""),
            (KeyForm::Text, "hunter2"),
            (KeyForm::Hex, "hunter2hunter2hunter2"),
            (KeyForm::Hex, "00ff00ff"),
            (KeyForm::Base64, "hunter2hunter2?"),
            (KeyForm::Whsec, "hunter2hunter2"),
            (KeyForm::Whsec, "whsec_hunter2"),
        ] {
            let error = Key::new(form, MacDigest::Sha256, secret).map(|_| ());
            let error = error.expect_err("expected no key");
            assert!(
                error.contains("expected") && !error.contains("hunter2"),
                "{error}"
            );
        }
        let key = Key::new(KeyForm::Text, MacDigest::Sha512, "hunter2hunter2");
        assert_eq!(format!("{key:?}"), "Ok(***)");
    }
}
