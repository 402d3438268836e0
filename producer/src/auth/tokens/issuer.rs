//! One issuer: its keys as the door has them, and how they come here.
//!
//! One task looks for the keys, so two looks are never under way at once. A request whose token names a key that the door
//! does not have asks that task, and waits for the end of its look. Requests with known keys wait for nobody.

use std::sync::Arc;
use std::time::Duration;

use common::config::TokenIssuer;
use common::event::now;
use common::key::Scopes;
use common::retry::Waits;
use time::OffsetDateTime;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::claims;
use super::fetch::{DEADLINE, FetchError, fetch};
use super::key_set::{Found, KeySet};
use super::read::{Claims, UnverifiedToken};
use super::refused::{NotVerified, Refused};
use crate::auth::caller_limits::CallerLimits;
use crate::auth::limits::EventLimit;

/// How often keys are looked for while all is well, plus or minus half.
const REFRESH: Duration = Duration::from_secs(600);

/// The first wait and the maximum wait after a look that failed, plus or minus half.
const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// How long after a look no token brings about another.
const COOL_DOWN: Duration = Duration::from_secs(5);

/// Maximum of requests that wait for a look.
const MAX_WAITING: usize = 64;

/// A caller with a token that was verified.
pub(crate) struct TokenCaller {
    /// The name of its issuer, `/`, and its name there.
    pub(crate) name: String,
    pub(crate) scopes: Scopes,
    pub(crate) limit: Option<Arc<EventLimit>>,
    /// The Unix time from which the token does not count.
    expires: i64,
}

impl TokenCaller {
    /// Whether its token still counts.
    pub(crate) fn is_valid(&self, now: OffsetDateTime) -> bool {
        now.unix_timestamp() < self.expires
    }
}

/// An issuer.
pub(super) struct Issuer {
    settings: TokenIssuer,
    known: watch::Sender<Known>,
    /// Asks for a look.
    wanted: Notify,
    /// Requests that may still wait for a look.
    waiting: Semaphore,
    limits: Option<CallerLimits>,
}

/// What the door knows of the keys.
#[derive(Default)]
struct Known {
    /// The last set that could be had.
    keys: Option<KeySet>,
    /// When the last look ended, whatever it found.
    looked_at: Option<Instant>,
    /// The last look found no set.
    is_failing: bool,
}

impl Issuer {
    pub(super) fn new(settings: &TokenIssuer) -> Self {
        let limits = settings.rate;
        let limits = limits.and_then(|rate| CallerLimits::new(rate, settings.burst));
        Self {
            settings: settings.clone(),
            known: watch::Sender::default(),
            wanted: Notify::new(),
            waiting: Semaphore::new(MAX_WAITING),
            limits,
        }
    }

    /// Whether these are its settings.
    pub(super) fn is_set_as(&self, settings: &TokenIssuer) -> bool {
        self.settings == *settings
    }

    /// Whether it calls itself so.
    pub(super) fn is_called(&self, issuer: &str) -> bool {
        self.settings.issuer == issuer
    }

    /// The caller that a token of this issuer names.
    ///
    /// # Errors
    /// The token is wrong, or nobody can tell yet.
    pub(super) async fn verify(
        &self,
        token: &UnverifiedToken<'_>,
    ) -> Result<TokenCaller, NotVerified> {
        let mut claims = self.claims(token);
        if claims == Err(Refused::UnknownKey.into()) {
            self.look_again().await;
            claims = self.claims(token);
        }
        let claims = claims?;
        let expires = claims::expect_valid(&self.settings, claims, now())?;
        let name = claims::caller(&self.settings, claims)?;
        Ok(TokenCaller {
            limit: self.limits.as_ref().map(|limits| limits.of(&name)),
            scopes: claims::scopes(&self.settings, claims),
            name,
            expires,
        })
    }

    /// The claims of a token, if a key that the door has now has signed them.
    fn claims<'t>(&self, token: &'t UnverifiedToken<'_>) -> Result<&'t Claims, NotVerified> {
        let known = self.known.borrow();
        let keys = known.keys.as_ref().ok_or(NotVerified::NoKeySet)?;
        match keys.find(token.algorithm, token.key_id.as_deref()) {
            Found::Key(key) => Ok(token.verify(key)?),
            Found::Nothing => Err(Refused::UnknownKey.into()),
            Found::Several => Err(Refused::AmbiguousKey.into()),
        }
    }

    /// Waits for a look at the keys that is under way or may begin now. Otherwise it does nothing: tokens that somebody
    /// makes up send the door to its issuer rarely, and hold few requests.
    async fn look_again(&self) {
        let Ok(_place) = self.waiting.try_acquire() else {
            return;
        };
        let mut known = self.known.subscribe();
        let looked_at = known.borrow_and_update().looked_at;
        if looked_at.is_some_and(|at| at.elapsed() < COOL_DOWN) {
            return;
        }
        self.wanted.notify_one();
        // The look ends within its deadline. This bound is for a door that stops.
        let _ = timeout(DEADLINE * 2, known.changed()).await;
    }

    /// Keeps the keys as the issuer has them, until `stop`.
    pub(super) async fn follow(&self, stop: &CancellationToken) {
        let mut failing = Waits::between(RETRY[0], RETRY[1]);
        let mut regular = Waits::between(REFRESH, REFRESH);
        loop {
            let found = tokio::select! {
                () = stop.cancelled() => return,
                found = fetch(&self.settings) => found,
            };
            let wait = if found.is_ok() {
                failing.reset();
                regular.next_wait()
            } else {
                failing.next_wait()
            };
            self.take_over(found);
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(wait) => {}
                () = self.is_asked() => {}
            }
        }
    }

    /// Waits until a request asks for a look, and may.
    async fn is_asked(&self) {
        sleep(COOL_DOWN).await;
        self.wanted.notified().await;
    }

    /// Takes over the keys of a look. Without any, those of an earlier look still count.
    fn take_over(&self, found: Result<KeySet, FetchError>) {
        self.tell_of(&found);
        self.known.send_modify(|known| {
            known.looked_at = Some(Instant::now());
            known.is_failing = found.is_err();
            if let Ok(keys) = found {
                known.keys = Some(keys);
            }
        });
    }

    /// Logs what is new about the keys.
    fn tell_of(&self, found: &Result<KeySet, FetchError>) {
        let known = self.known.borrow();
        let issuer = &*self.settings.name;
        match found {
            Ok(keys) if known.keys.as_ref() != Some(keys) => tell_of_keys(issuer, keys),
            Ok(_) if known.is_failing => {
                tracing::info!(
                    issuer.name = issuer,
                    "the keys of the issuer can be read again"
                );
            }
            Err(error) if !known.is_failing => self.warn_of(error, known.keys.is_some()),
            _ => {}
        }
    }

    fn warn_of(&self, error: &FetchError, has_keys: bool) {
        let (issuer, jwks) = (&*self.settings.name, &self.settings.jwks);
        let effect = if has_keys {
            "the door goes by those it knows"
        } else {
            "its tokens are answered with 503 until then"
        };
        tracing::warn!(issuer.name = issuer, %jwks, %error, "the keys of the issuer cannot be read; {effect}");
    }

    /// Forgets the rates of callers that have been quiet.
    pub(super) fn forget(&self) {
        if let Some(limits) = &self.limits {
            limits.forget();
        }
    }
}

fn tell_of_keys(issuer: &str, keys: &KeySet) {
    for (number, unusable) in &keys.left_out {
        if unusable.is_ordinary() {
            tracing::debug!(
                issuer.name = issuer,
                key = number,
                "a key of the issuer is left out: {unusable}"
            );
        } else {
            tracing::warn!(
                issuer.name = issuer,
                key = number,
                "a key of the issuer is left out: {unusable}"
            );
        }
    }
    match keys.usable() {
        0 => tracing::warn!(
            issuer.name = issuer,
            "the issuer has no key that can be used: its tokens open nothing"
        ),
        usable => tracing::info!(
            issuer.name = issuer,
            usable,
            "the keys of the issuer were read"
        ),
    }
}
