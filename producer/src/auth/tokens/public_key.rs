//! One public key of an issuer: read from a JWK (RFC 7517), and used by ring.
//!
//! ring verifies directly, without a library for JWT. `jsonwebtoken` brings aws-lc or a second implementation of RSA
//! (RUSTSEC-2023-0071), or wants a provider of ours on ring, which would be most of this file. The rules that matter stay
//! here in any case: which key goes with which algorithm.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde_json::{Map, Value};

/// An algorithm that tokens may be signed with. There is no other: not `none`, and none with a shared secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// RSA with SHA-256 (PKCS #1 version 1.5).
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// A public key. Its kind decides the algorithm, and the token has no say in it.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum PublicKey {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// The point, uncompressed.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// Why a key of a set is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("expected an object, found another value")]
    NotAnObject,
    #[error("expected a public key, found a private one, which the issuer should withdraw at once")]
    Private,
    #[error("expected a public key, found a shared secret")]
    Symmetric,
    #[error("expected a key for signatures (`use`, `key_ops`), found one for another purpose")]
    Purpose,
    #[error("expected a key of RSA, P-256 or Ed25519, found one of another kind")]
    Kind,
    #[error("expected `alg` to be that of the key's kind, or missing, found another")]
    Algorithm,
    #[error("expected the members of its kind in base64url, in full length, found others")]
    Members,
    #[error("expected an RSA key of 2048 to 8192 bits, found another length")]
    RsaLength,
}

/// Members that only private keys have.
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

/// The length of a coordinate on P-256, and of a key of Ed25519.
const POINT: usize = 32;

/// The bits that an RSA key may have.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

impl Unusable {
    /// Whether issuers have such keys with good reason, for others than us.
    pub(super) fn is_ordinary(self) -> bool {
        matches!(self, Self::Purpose | Self::Kind | Self::Algorithm)
    }
}

impl Algorithm {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

impl PublicKey {
    /// Reads a JWK.
    ///
    /// # Errors
    /// No token may be verified with it.
    pub(super) fn read(jwk: &Map<String, Value>) -> Result<Self, Unusable> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if text("kty") == Some("oct") || jwk.contains_key("k") {
            return Err(Unusable::Symmetric);
        }
        if PRIVATE.iter().any(|name| jwk.contains_key(*name)) {
            return Err(Unusable::Private);
        }
        if !is_for_signatures(jwk) {
            return Err(Unusable::Purpose);
        }
        let bytes = |name| {
            let bytes = text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
            bytes.ok_or(Unusable::Members)
        };
        let point = |name| bytes(name).and_then(expect_point);
        let key = match (text("kty"), text("crv")) {
            (Some("RSA"), _) => rsa(bytes("n")?, bytes("e")?)?,
            (Some("EC"), Some("P-256")) => Self::P256([vec![4], point("x")?, point("y")?].concat()),
            (Some("OKP"), Some("Ed25519")) => Self::Ed25519(point("x")?),
            _ => return Err(Unusable::Kind),
        };
        let is_of_kind =
            |name: &Value| name.as_str().and_then(Algorithm::named) == Some(key.algorithm());
        if !jwk.get("alg").is_none_or(is_of_kind) {
            return Err(Unusable::Algorithm);
        }
        Ok(key)
    }

    /// The only algorithm that it is used with.
    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa { .. } => Algorithm::Rs256,
            Self::P256(_) => Algorithm::Es256,
            Self::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// Whether it has signed these bytes.
    pub(super) fn has_signed(&self, bytes: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Rsa { modulus, exponent } => {
                let (n, e) = (modulus, exponent);
                RsaPublicKeyComponents { n, e }.verify(
                    &RSA_PKCS1_2048_8192_SHA256,
                    bytes,
                    signature,
                )
            }
            Self::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(bytes, signature)
            }
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(bytes, signature),
        };
        verified.is_ok()
    }
}

/// Whether its issuer signs with it, as far as it says so.
fn is_for_signatures(jwk: &Map<String, Value>) -> bool {
    let verifies = |operations: &Value| {
        let mut operations = operations.as_array().into_iter().flatten();
        operations.any(|operation| operation == "verify")
    };
    jwk.get("use").is_none_or(|purpose| purpose == "sig") && jwk.get("key_ops").is_none_or(verifies)
}

fn rsa(modulus: Vec<u8>, exponent: Vec<u8>) -> Result<PublicKey, Unusable> {
    // Some issuers write the zero byte before a number that DER would demand.
    let [modulus, exponent] = [modulus, exponent].map(without_zeros);
    let unused = modulus
        .first()
        .map_or(0, |first| first.leading_zeros() as usize);
    if !RSA_BITS.contains(&(modulus.len() * 8 - unused)) {
        return Err(Unusable::RsaLength);
    }
    Ok(PublicKey::Rsa { modulus, exponent })
}

fn without_zeros(number: Vec<u8>) -> Vec<u8> {
    number.into_iter().skip_while(|&byte| byte == 0).collect()
}

fn expect_point(bytes: Vec<u8>) -> Result<Vec<u8>, Unusable> {
    if bytes.len() == POINT {
        return Ok(bytes);
    }
    Err(Unusable::Members)
}

#[cfg(test)]
mod tests;
