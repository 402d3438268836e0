//! What the sender of a request may do.

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};

use axum::http::{Extensions, HeaderMap};
use common::event::{Publisher, SIGNUP_CONFIRMED, SIGNUP_REQUESTED};
use common::key::{ANONYMOUS, KeyId, Scope, Scopes};
use time::OffsetDateTime;

use super::client::Client;
use super::guard::Needs;
use super::keyring::{Entry, Found, Keyring};
use super::limits::{EventLimit, Left};
use super::tokens::TokenCaller;
use crate::problem::{Code, Problem};

/// What the sender of a request may do. A request without one in its extensions came through an open door.
#[derive(Clone)]
pub(crate) struct Grant(Holder);

#[derive(Clone)]
enum Holder {
    /// Everyone at an open door, and a provider whose signature is right.
    Everyone,
    /// A visitor of the public signup form.
    Form,
    /// Somebody with a link that confirms a signup.
    Confirmation,
    /// Somebody without a key or token, who may read the documents of the door and nothing else.
    Reader,
    /// A caller that has shown who it is.
    Caller {
        caller: Caller,
        /// How much of its rate is left after this request.
        left: Arc<OnceLock<Left>>,
    },
}

/// A caller that has shown who it is.
#[derive(Clone)]
enum Caller {
    /// The holder of a key.
    Key(Arc<Entry>),
    /// The holder of an issuer's token.
    Token(Arc<TokenCaller>),
}

impl Caller {
    fn name(&self) -> &str {
        match self {
            Self::Key(entry) => entry.key.name.as_str(),
            Self::Token(caller) => &caller.name,
        }
    }

    fn scopes(&self) -> &Scopes {
        match self {
            Self::Key(entry) => &entry.key.scopes,
            Self::Token(caller) => &caller.scopes,
        }
    }

    fn limit(&self) -> Option<&EventLimit> {
        match self {
            Self::Key(entry) => entry.limit.as_deref(),
            Self::Token(caller) => caller.limit.as_deref(),
        }
    }
}

impl Grant {
    /// The grant of a request.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        let grant = extensions.get::<Self>().cloned();
        grant.unwrap_or(Self(Holder::Everyone))
    }

    /// The grant of a provider whose signature is right: its configuration says what it sends.
    pub(crate) fn of_source() -> Self {
        Self(Holder::Everyone)
    }

    /// The grant of a link that confirms a signup.
    pub(crate) fn of_confirmation() -> Self {
        Self(Holder::Confirmation)
    }

    pub(super) fn of_form() -> Self {
        Self(Holder::Form)
    }

    pub(super) fn of_reader() -> Self {
        Self(Holder::Reader)
    }

    /// The grant of a key that is known and valid.
    ///
    /// # Errors
    /// It does not open this, or not now.
    pub(super) fn of_key(
        entry: &Arc<Entry>,
        client: Client,
        needs: Needs,
    ) -> Result<Self, Problem> {
        let networks = &entry.key.networks;
        let is_inside =
            client.is_some_and(|address| networks.iter().any(|network| network.contains(&address)));
        if !networks.is_empty() && !is_inside {
            let detail = "this key may not be used from this address";
            return Err(Problem::new(Code::Forbidden, detail));
        }
        needs.expect(&entry.key.scopes)?;
        entry.touch(OffsetDateTime::now_utc());
        Self::of_caller(Caller::Key(Arc::clone(entry)), needs)
    }

    /// The grant of a token that was verified.
    ///
    /// # Errors
    /// It does not open this, or not now.
    pub(super) fn of_token(caller: TokenCaller, needs: Needs) -> Result<Self, Problem> {
        needs.expect(&caller.scopes)?;
        Self::of_caller(Caller::Token(Arc::new(caller)), needs)
    }

    /// The grant as it stands now; `None` if the key or the token opens nothing any more.
    pub(super) fn renewed(&self, keyring: &Keyring, now: OffsetDateTime) -> Option<Self> {
        let Holder::Caller { caller, left } = &self.0 else {
            return Some(self.clone());
        };
        let caller = match caller {
            Caller::Key(entry) => match keyring.find(&entry.key.hash) {
                Found::Key(entry) if entry.is_valid(now) => Caller::Key(entry),
                Found::Key(_) | Found::Nothing | Found::NotRead => return None,
            },
            Caller::Token(caller) if caller.is_valid(now) => Caller::Token(Arc::clone(caller)),
            Caller::Token(_) => return None,
        };
        let left = Arc::clone(left);
        Some(Self(Holder::Caller { caller, left }))
    }

    fn of_caller(caller: Caller, needs: Needs) -> Result<Self, Problem> {
        let left = Arc::default();
        let grant = Self(Holder::Caller { caller, left });
        if needs.is_counted() {
            grant.count(NonZeroU32::MIN)?;
        }
        Ok(grant)
    }

    /// Counts events against the rate of the caller.
    ///
    /// # Errors
    /// They are too many.
    fn count(&self, events: NonZeroU32) -> Result<(), Problem> {
        if let Holder::Caller { caller, left } = &self.0
            && let Some(limit) = caller.limit()
        {
            let _ = left.set(limit.take(events)?);
        }
        Ok(())
    }

    /// Counts the events of a batch; the first of them is counted with the request.
    ///
    /// # Errors
    /// They are too many.
    pub(crate) fn count_batch(&self, events: usize) -> Result<(), Problem> {
        let more = u32::try_from(events.saturating_sub(1)).unwrap_or(u32::MAX);
        NonZeroU32::new(more).map_or(Ok(()), |more| self.count(more))
    }

    /// Expects that events of this type may be published.
    ///
    /// # Errors
    /// They may not.
    pub(crate) fn expect_write(&self, kind: &str) -> Result<(), String> {
        let may = match &self.0 {
            Holder::Everyone => true,
            Holder::Form => kind == SIGNUP_REQUESTED,
            Holder::Confirmation => kind == SIGNUP_CONFIRMED,
            Holder::Reader => false,
            Holder::Caller { caller, .. } => caller.scopes().may_write(kind),
        };
        if may {
            return Ok(());
        }
        Err(missing(&Scope::Write(kind.to_owned())))
    }

    /// Whether the status of an event of this publisher may be read.
    pub(crate) fn may_read(&self, publisher: Option<&Publisher>) -> bool {
        match &self.0 {
            Holder::Everyone => true,
            Holder::Form => publisher.is_some_and(|publisher| *publisher == Publisher::ourselves()),
            Holder::Reader | Holder::Confirmation => false,
            Holder::Caller { caller, .. } => {
                let scopes = caller.scopes();
                let is_own = publisher.and_then(Publisher::caller) == Some(caller.name());
                let is_of_source = publisher.is_some_and(Publisher::is_source);
                scopes.may_read_all()
                    || (is_own && scopes.may_read_own())
                    || (is_of_source && scopes.has(&Scope::Sources))
            }
        }
    }

    /// Whether the sender may name the moment before which nobody gets an event. The visitor of a public form would take an address
    /// for years, and nobody hear of it.
    pub(crate) fn may_schedule(&self) -> bool {
        !matches!(&self.0, Holder::Form | Holder::Confirmation)
    }

    /// Whether the sender is this publisher, as far as the door tells callers apart.
    pub(crate) fn has_published(&self, publisher: Option<&Publisher>) -> bool {
        match &self.0 {
            Holder::Everyone => true,
            Holder::Form | Holder::Reader | Holder::Confirmation => false,
            Holder::Caller { caller, .. } => {
                publisher.and_then(Publisher::caller) == Some(caller.name())
            }
        }
    }

    /// Whether the documents tell the sender of the configured event types, and not only of the built-in ones.
    pub(crate) fn may_see_configured_types(&self) -> bool {
        matches!(&self.0, Holder::Everyone | Holder::Caller { .. })
    }

    /// The caller as a publisher: part of every id that is made of the caller's own id or key.
    pub(crate) fn publisher(&self) -> Publisher {
        match &self.0 {
            Holder::Confirmation => Publisher::confirmation(),
            _ => Publisher::http(self.caller().unwrap_or(ANONYMOUS)),
        }
    }

    /// The publisher of an event that is born at this door for the caller.
    pub(crate) fn ourselves(&self) -> Publisher {
        match &self.0 {
            Holder::Confirmation => Publisher::confirmation(),
            _ => self
                .caller()
                .map_or_else(Publisher::ourselves, Publisher::ourselves_for),
        }
    }

    /// The id of the caller's key, for logs.
    pub(super) fn key(&self) -> Option<&str> {
        match &self.0 {
            Holder::Caller {
                caller: Caller::Key(entry),
                ..
            } => entry.id.as_ref().map(KeyId::as_str),
            _ => None,
        }
    }

    pub(super) fn caller(&self) -> Option<&str> {
        match &self.0 {
            Holder::Caller { caller, .. } => Some(caller.name()),
            _ => None,
        }
    }

    /// Tells the caller about its rate.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        if let Holder::Caller { caller, left } = &self.0
            && let (Some(limit), Some(left)) = (caller.limit(), left.get())
        {
            limit.tell(*left, headers);
        }
    }
}

impl Needs {
    /// Expects that scopes open this.
    fn expect(self, scopes: &Scopes) -> Result<(), Problem> {
        let (may, scope) = match self {
            Self::Signup | Self::Write => (scopes.may_write_some(), Scope::Write("#".to_owned())),
            Self::Read => (scopes.may_read_some(), Scope::Read),
            // Never asked of a key.
            Self::Confirmation => return Ok(()),
            Self::Metrics => (scopes.has(&Scope::Metrics), Scope::Metrics),
            // Whatever a key opens, its holder is known.
            Self::Contract => return Ok(()),
        };
        if may {
            return Ok(());
        }
        Err(Problem::new(Code::Forbidden, missing(&scope)))
    }
}

fn missing(scope: &Scope) -> String {
    format!("expected a key or token with the scope `{scope}`, found one without it")
}
