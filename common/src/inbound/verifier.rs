//! Whether a request is from the provider that it claims to be from.

use std::time::Duration;

use time::OffsetDateTime;

use super::key::Key;
use super::signed::Parts;
use super::verified::moment;
use super::{Scheme, Verified, WebhookRequest};

/// How far a signed time may be from ours, unless the configuration says otherwise.
pub const DEFAULT_TOLERANCE: Duration = Duration::from_secs(300);

/// Maximum of a tolerance: beyond it, a signed time would hardly limit repetition.
const MAX_TOLERANCE: Duration = Duration::from_secs(24 * 3600);

/// Maximum number of signatures in one request that are compared. A provider sends one for each of its secrets.
const MAX_SIGNATURES: usize = 32;

/// A scheme with the keys of one source.
#[derive(Debug, Clone)]
pub struct Verifier {
    scheme: Scheme,
    keys: Vec<Key>,
    tolerance: Duration,
}

/// Why a source cannot be verified: the key of the configuration, and the expected and the found value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct InvalidVerifier {
    /// The key.
    pub key: &'static str,
    /// The expected and the found value. It repeats no secret.
    pub problem: String,
}

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// No signature in it was made over this request with a secret of the source.
    #[error("expected a signature of this request by a secret of this source, found none")]
    Signature,
    /// It is signed, but its time is not within the tolerance.
    #[error("expected a signed time near ours, found one too far in the past or in the future")]
    Time,
}

impl Verifier {
    /// A verifier that believes each of the secrets. Without any, it believes nothing.
    ///
    /// # Errors
    /// The scheme, a secret or the tolerance cannot be used.
    pub fn new<'s>(
        scheme: Scheme,
        secrets: impl IntoIterator<Item = &'s str>,
        tolerance: Option<Duration>,
    ) -> Result<Self, InvalidVerifier> {
        let invalid = |key: &'static str, problem: String| InvalidVerifier { key, problem };
        if let Some((key, problem)) = scheme.problem() {
            return Err(invalid("scheme", format!("{key}: {problem}")));
        }
        let key = |secret| Key::new(scheme.key, scheme.digest, secret);
        let keys: Result<Vec<_>, _> = secrets.into_iter().map(key).collect();
        let keys = keys.map_err(|problem| invalid("secret", problem))?;
        if let Some(given) = tolerance {
            if scheme.timestamp.is_none() {
                let problem = "expected none, as this scheme signs no time";
                return Err(invalid("tolerance", problem.to_owned()));
            }
            if given.is_zero() || given > MAX_TOLERANCE {
                let problem = "expected a time above 0s and of at most a day";
                return Err(invalid("tolerance", problem.to_owned()));
            }
        }
        Ok(Self {
            scheme,
            keys,
            tolerance: tolerance.unwrap_or(DEFAULT_TOLERANCE),
        })
    }

    /// Whether there is no secret, so that no request is believed.
    pub fn is_without_secret(&self) -> bool {
        self.keys.is_empty()
    }

    /// The header that has the signature.
    pub fn header(&self) -> &str {
        &self.scheme.header
    }

    /// How far a signed time may be from ours.
    pub fn tolerance(&self) -> Duration {
        self.tolerance
    }

    /// Verifies a request at the moment `now`.
    ///
    /// # Errors
    /// It is not believed. The time counts only behind a right signature, so nothing is told to others.
    pub fn verify<'r>(
        &'r self,
        request: WebhookRequest<'r>,
        now: OffsetDateTime,
    ) -> Result<Verified<'r>, Unverified> {
        let scheme = &self.scheme;
        let timestamp = match &scheme.timestamp {
            Some(place) => place
                .in_head(scheme, &request)
                .ok_or(Unverified::Signature)?,
            None => "",
        };
        let id = match scheme.id.first() {
            Some(place) if scheme.signed.has_id() => place
                .in_head(scheme, &request)
                .ok_or(Unverified::Signature)?,
            _ => "",
        };
        let parts = scheme.signed.fill(Parts {
            id,
            timestamp,
            body: request.body,
        });
        let signatures = self.signatures(&request);
        // Each key is asked, so that the time does not tell which one it was.
        let keys = self.keys.iter();
        let signed_by = keys.filter(|key| key.has_signed(&parts, &signatures));
        if signed_by.count() == 0 {
            return Err(Unverified::Signature);
        }
        if scheme.timestamp.is_some() && !self.is_near(timestamp, now) {
            return Err(Unverified::Time);
        }
        Ok(Verified::new(scheme, request))
    }

    /// The signatures in a request. Entries of another version or form do not count.
    fn signatures(&self, request: &WebhookRequest<'_>) -> Vec<Vec<u8>> {
        let scheme = &self.scheme;
        let header = request.header(&scheme.header).unwrap_or_default();
        let texts = scheme
            .entries(header)
            .filter_map(|entry| entry.strip_prefix(scheme.prefix.as_str()));
        let decoded = texts.filter_map(|text| scheme.encoding.decode(text));
        decoded.take(MAX_SIGNATURES).collect()
    }

    fn is_near(&self, timestamp: &str, now: OffsetDateTime) -> bool {
        moment(timestamp).is_some_and(|signed| (now - signed).unsigned_abs() <= self.tolerance)
    }
}
