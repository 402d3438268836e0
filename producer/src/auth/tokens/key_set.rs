//! The keys of an issuer (JWKS, RFC 7517).

use common::event::json;
use serde_json::Value;

use super::public_key::{Algorithm, PublicKey, Unusable};

/// Maximum of keys in a set, usable or not.
const MAX_KEYS: usize = 100;

/// The keys of an issuer.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct KeySet {
    keys: Vec<NamedKey>,
    /// The keys that are left out, by their number in the set.
    pub(super) left_out: Vec<(usize, Unusable)>,
}

#[derive(Clone, PartialEq, Eq)]
struct NamedKey {
    /// Its `kid`.
    id: Option<String>,
    key: PublicKey,
}

/// The outcome of a look for a key.
#[derive(PartialEq, Eq)]
pub(super) enum Found<'s> {
    Key(&'s PublicKey),
    Nothing,
    /// More than one fits. None of them is tried: which key verifies a token is not a matter of luck.
    Several,
}

/// Why a text is not a set of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WrongKeySet {
    #[error("expected a key set (JWKS), found another text")]
    Text,
    #[error("expected a key set (JWKS) with the list `keys`, found JSON without it")]
    List,
    #[error("expected at most {MAX_KEYS} keys, found {0}")]
    TooMany(usize),
}

impl KeySet {
    /// Reads a set. Keys that cannot be used are left out: an issuer may have some for other purposes.
    ///
    /// # Errors
    /// It is not a set.
    pub(super) fn read(text: &[u8]) -> Result<Self, WrongKeySet> {
        let set = json::value(text).map_err(|_| WrongKeySet::Text)?;
        let keys = set.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or(WrongKeySet::List)?;
        if keys.len() > MAX_KEYS {
            return Err(WrongKeySet::TooMany(keys.len()));
        }
        let mut read = Self::default();
        for (number, jwk) in keys.iter().enumerate() {
            match NamedKey::read(jwk) {
                // Twice the same is as good as once.
                Ok(key) if read.keys.contains(&key) => {}
                Ok(key) => read.keys.push(key),
                Err(unusable) => read.left_out.push((number, unusable)),
            }
        }
        Ok(read)
    }

    /// How many keys tokens may be verified with.
    pub(super) fn usable(&self) -> usize {
        self.keys.len()
    }

    /// The key for tokens with this `alg` and `kid`.
    pub(super) fn find(&self, algorithm: Algorithm, id: Option<&str>) -> Found<'_> {
        let fits = |it: &&NamedKey| {
            it.key.algorithm() == algorithm && (id.is_none() || it.id.as_deref() == id)
        };
        let mut fitting = self.keys.iter().filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Found::Key(&only.key),
            (Some(_), Some(_)) => Found::Several,
            (None, _) => Found::Nothing,
        }
    }
}

impl NamedKey {
    fn read(jwk: &Value) -> Result<Self, Unusable> {
        let jwk = jwk.as_object().ok_or(Unusable::NotAnObject)?;
        let id = match jwk.get("kid") {
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err(Unusable::Members),
            None => None,
        };
        let key = PublicKey::read(jwk)?;
        Ok(Self { id, key })
    }
}

#[cfg(test)]
mod tests;
