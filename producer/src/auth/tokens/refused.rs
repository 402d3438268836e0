//! Why a token opens nothing.

/// Maximum length of a token, in bytes.
pub(super) const MAX_BYTES: usize = 8 * 1024;

/// No caller is known by a token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotVerified {
    /// The token itself is to blame.
    Refused(Refused),
    /// The door has never had the keys of its issuer.
    NoKeySet,
}

/// What is wrong with a token. No part of the token is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("expected a token of at most {MAX_BYTES} bytes, found a longer one")]
    TooLong,
    #[error(
        "expected a token (JWT) whose header and claims are JSON objects in base64url, no name in them twice, found \
         another text"
    )]
    Malformed,
    #[error("expected a token with `alg` RS256, ES256 or EdDSA, found another algorithm")]
    Algorithm,
    #[error("expected a token whose `typ` is JWT or at+jwt, or missing, found another")]
    Type,
    #[error("expected a token without `crit`, found one that demands an extension")]
    Critical,
    #[error("expected a token of an issuer that this door knows, found one of another")]
    Issuer,
    #[error("expected `alg` and `kid` of a key of the issuer, found those of none")]
    UnknownKey,
    #[error(
        "expected a `kid` that tells the keys of the issuer apart, found several keys that fit"
    )]
    AmbiguousKey,
    #[error("expected the signature of the issuer, found another")]
    Signature,
    #[error("expected a token for an audience of this door, found one for others")]
    Audience,
    #[error("expected a token that has not expired, found one that has")]
    Expired,
    #[error("expected a token that is valid already, found one for later; compare the clocks")]
    NotYet,
    #[error(
        "expected the claim `exp` as a number, and `nbf` and `iat` as numbers or missing, found another value"
    )]
    Time,
    #[error(
        "expected a claim that names the caller, 1 to 200 printable ASCII characters without spaces, found none or \
         another value"
    )]
    Caller,
}

impl From<Refused> for NotVerified {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}
