//! Tokens (JWT) of issuers that the configuration names.
//!
//! ```text
//! text ─> read ─> issuer (by `iss`) ─> key set ─> public key ─> claims ─> caller
//!                    └─ follow: fetch the key set at the start, now and then, and when a key is unknown
//! ```
//!
//! The issuer's keys decide: which key a token may name, and which algorithm goes with it. Nothing that a token says of
//! itself leads anywhere but to a key of that set.

mod claims;
mod fetch;
mod issuer;
mod key_set;
mod public_key;
mod read;
mod refused;

use std::sync::Arc;

use common::config::TokenIssuer;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use self::issuer::Issuer;
use self::read::UnverifiedToken;

pub(super) use self::issuer::TokenCaller;
pub(super) use self::refused::{NotVerified, Refused};

/// The issuers of this door.
pub(super) struct Tokens {
    issuers: Vec<Arc<Issuer>>,
}

impl Tokens {
    /// These issuers. The keys of one that `before` has as well stay known.
    pub(super) fn new(issuers: &[TokenIssuer], before: Option<&Self>) -> Self {
        let known = |settings: &TokenIssuer| {
            let mut before = before.iter().flat_map(|before| &before.issuers);
            before.find(|issuer| issuer.is_set_as(settings)).cloned()
        };
        let issuer = |settings| known(settings).unwrap_or_else(|| Arc::new(Issuer::new(settings)));
        Self {
            issuers: issuers.iter().map(issuer).collect(),
        }
    }

    /// The caller that a token names.
    ///
    /// # Errors
    /// The token is wrong, or nobody can tell yet.
    pub(super) async fn verify(&self, token: &str) -> Result<TokenCaller, NotVerified> {
        let token = UnverifiedToken::read(token)?;
        let issuer = token
            .issuer()
            .and_then(|name| self.issuers.iter().find(|issuer| issuer.is_called(name)))
            .ok_or(Refused::Issuer)?;
        issuer.verify(&token).await
    }

    /// Keeps the keys of all issuers until `stop`.
    pub(super) async fn follow(&self, stop: &CancellationToken) {
        join_all(self.issuers.iter().map(|issuer| issuer.follow(stop))).await;
    }

    /// Forgets the rates of callers that have been quiet.
    pub(super) fn forget(&self) {
        self.issuers.iter().for_each(|issuer| issuer.forget());
    }
}
