//! Who may come in: keys and tokens, and what each opens.
//!
//! ```text
//! request ─> guard ─> credentials ─┬─> keyring (configuration, database) ─┬─> grant ─> handler
//!                │                 └─> tokens (issuers) ──────────────────┘
//!                └─> limits (of a caller, of an address)
//! keeper: reads changes of keys from the database into the keyring, and writes down their last use
//! ```
//!
//! The keyring is in memory: a request with a key costs no look at the database, and the door knows its keys while the
//! database is down.

mod caller_limits;
mod client;
mod credentials;
mod grant;
mod guard;
mod keeper;
mod keyring;
mod limits;
mod tokens;

use axum::http::HeaderMap;
use common::config::{Config, DoorMode, FormMode};
use secrecy::{ExposeSecret as _, SecretString};
use time::OffsetDateTime;

use self::client::Client;
use self::credentials::Credentials;
use self::limits::AddressLimits;
use self::tokens::{NotVerified, Tokens};
use crate::problem::{Code, Problem};

pub(crate) use client::Clients;
pub(crate) use grant::Grant;
pub(crate) use guard::{Needs, guard};
pub use keeper::{KEY_POLL, NoKeys};
pub use keyring::{Entry, Found, Keyring};

/// The rules of a door that asks for keys.
pub(crate) struct Auth {
    keyring: Keyring,
    tokens: Tokens,
    /// The signup form works without a key.
    form_is_public: bool,
    /// Signups without a key, by address.
    form: AddressLimits,
    /// Opened links that confirm signups, by address.
    confirmations: AddressLimits,
    /// Wrong credentials, by address.
    refusals: AddressLimits,
    clients: Clients,
}

/// How many links that confirm signups one address may open in a second, and at once: many people may share it.
const CONFIRMATIONS: (u32, u32) = (10, 100);

/// How many wrong credentials one address may show in a second, and at once. Right ones are never counted.
const REFUSALS: (u32, u32) = (10, 100);

impl Auth {
    /// The rules of this configuration; `None` for an open door. Keys of the database and of unchanged issuers stay as they
    /// are known to `before`.
    pub(crate) fn new(mode: DoorMode, config: &Config, before: Option<&Self>) -> Option<Self> {
        let settings = &config.auth;
        (mode == DoorMode::Keys).then(|| Self {
            keyring: match before {
                Some(before) => before.keyring.with(&config.keys),
                None => Keyring::new(&config.keys),
            },
            tokens: Tokens::new(&config.issuers, before.map(|before| &before.tokens)),
            form_is_public: settings.form == FormMode::Public,
            form: AddressLimits::of(settings.form_rate),
            confirmations: AddressLimits::new(CONFIRMATIONS.0, CONFIRMATIONS.1),
            refusals: AddressLimits::new(REFUSALS.0, REFUSALS.1),
            clients: Clients::new(settings.proxies.clone()),
        })
    }

    /// Whether the signup form works without a key.
    pub(crate) fn form_is_public(&self) -> bool {
        self.form_is_public
    }

    /// What the sender of a request may do.
    ///
    /// # Errors
    /// It shows no credentials where they are needed, or some that do not open this.
    async fn admit(
        &self,
        headers: &HeaderMap,
        client: Client,
        needs: Needs,
    ) -> Result<Grant, Problem> {
        if needs == Needs::Confirmation {
            let taken = self.confirmations.take(client);
            taken.map_err(limits::too_many_confirmations)?;
            return Ok(Grant::of_confirmation());
        }
        match credentials::read(headers) {
            Ok(Credentials::None) if self.form_is_public && needs.is_of_form() => {
                if needs == Needs::Signup {
                    self.form.take(client).map_err(limits::too_many_signups)?;
                }
                Ok(Grant::of_form())
            }
            Ok(Credentials::None) if needs == Needs::Contract => Ok(Grant::of_reader()),
            Ok(Credentials::None) => Err(self.refuse(client, credentials::missing())),
            Ok(Credentials::Key(key)) => match self.keyring.find(&key.hash()) {
                Found::Key(entry) if entry.is_valid(OffsetDateTime::now_utc()) => {
                    Grant::of_key(&entry, client, needs)
                }
                Found::Key(_) | Found::Nothing => Err(self.refuse(client, credentials::unknown())),
                Found::NotRead => Err(Problem::new(
                    Code::KeysUnavailable,
                    "this door has not read its keys from the database yet, so it cannot tell whether this one is \
                     right; nothing was taken",
                )
                .retry_after(2)),
            },
            Ok(Credentials::Token(token)) => self.admit_token(&token, client, needs).await,
            Err(problem) => Err(self.refuse(client, problem)),
        }
    }

    /// What the sender of a token may do.
    async fn admit_token(
        &self,
        token: &SecretString,
        client: Client,
        needs: Needs,
    ) -> Result<Grant, Problem> {
        match self.tokens.verify(token.expose_secret()).await {
            Ok(caller) => Grant::of_token(caller, needs),
            Err(NotVerified::Refused(refused)) => {
                tracing::debug!(%refused, "a token opens nothing");
                Err(self.refuse(client, credentials::refused(refused)))
            }
            Err(NotVerified::NoKeySet) => Err(Problem::new(
                Code::KeysUnavailable,
                "this door has not got the keys of the token's issuer yet, so it cannot tell whether the token is \
                 right; nothing was taken",
            )
            .retry_after(2)),
        }
    }

    /// A grant as it stands now; `None` if the key or the token opens nothing any more.
    pub(crate) fn renew(&self, grant: &Grant) -> Option<Grant> {
        grant.renewed(&self.keyring, OffsetDateTime::now_utc())
    }

    /// The answer to wrong credentials: 429 where they come too fast from one address.
    fn refuse(&self, client: Client, problem: Problem) -> Problem {
        match self.refusals.take(client) {
            Ok(()) => problem,
            Err(wait) => limits::too_many_refusals(wait),
        }
    }
}
