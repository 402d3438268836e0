//! Reads a token (JWS in compact form, RFC 7515). Its claims are told only to who verifies its signature.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::event::json;
use serde_json::{Map, Value};

use super::public_key::{Algorithm, PublicKey};
use super::refused::{MAX_BYTES, Refused};

/// The claims of a token.
pub(super) type Claims = Map<String, Value>;

/// A token that anybody may have written.
pub(super) struct UnverifiedToken<'t> {
    pub(super) algorithm: Algorithm,
    /// Its `kid`.
    pub(super) key_id: Option<String>,
    claims: Claims,
    /// The bytes that are signed.
    signed: &'t str,
    signature: Vec<u8>,
}

impl<'t> UnverifiedToken<'t> {
    /// Reads a token.
    ///
    /// A header may name keys (`jwk`, `x5c`) and places of keys (`jku`, `x5u`). They are the word of the token's writer
    /// about itself, and are not looked at.
    ///
    /// # Errors
    /// It is not a token, or not one that this door takes.
    pub(super) fn read(text: &'t str) -> Result<Self, Refused> {
        if text.len() > MAX_BYTES {
            return Err(Refused::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Refused::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Refused::Malformed)?;
        let header = object(header)?;
        let algorithm = header.get("alg").and_then(Value::as_str);
        let algorithm = algorithm.and_then(Algorithm::named);
        if header.contains_key("crit") {
            return Err(Refused::Critical);
        }
        if !header.get("typ").is_none_or(is_token_type) {
            return Err(Refused::Type);
        }
        let key_id = match header.get("kid") {
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err(Refused::Malformed),
            None => None,
        };
        Ok(Self {
            algorithm: algorithm.ok_or(Refused::Algorithm)?,
            key_id,
            claims: object(claims)?,
            signed,
            signature: bytes(signature)?,
        })
    }

    /// The issuer that it says it is of.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// Its claims, if this key has signed them.
    ///
    /// # Errors
    /// It has not.
    pub(super) fn verify(&self, key: &PublicKey) -> Result<&Claims, Refused> {
        let is_right = key.algorithm() == self.algorithm
            && key.has_signed(self.signed.as_bytes(), &self.signature);
        is_right.then_some(&self.claims).ok_or(Refused::Signature)
    }
}

/// Whether it is the type of a token: in any case, and with or without `application/` (RFC 7515, 4.1.9).
fn is_token_type(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default().to_ascii_lowercase();
    let essence = text.strip_prefix("application/").unwrap_or(&text);
    matches!(essence, "jwt" | "at+jwt")
}

fn object(part: &str) -> Result<Claims, Refused> {
    match json::value(&bytes(part)?) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(Refused::Malformed),
    }
}

fn bytes(part: &str) -> Result<Vec<u8>, Refused> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Malformed)
}

#[cfg(test)]
mod tests;
