//! Keeps the keyring as the database has it, and writes down when keys were used.
//!
//! The door asks for changes instead of being told of them (`LISTEN`): a question is one look at one row, it is the same
//! for every engine, and works behind a pooler that gives each transaction another session.

use std::time::Duration;

use common::key::KeyId;
use common::store::{Keys, StoreError};
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Auth;

/// How often the door looks for changes of keys. A revoked key opens nothing from then on.
pub const KEY_POLL: Duration = Duration::from_millis(400);

/// How often the last use of keys is written down.
const NOTE_EVERY: Duration = Duration::from_secs(60);

/// How often addresses that were quiet for long are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(10);

/// The most changed keys of one look.
const PAGE: u32 = 10_000;

/// There is no key that could open the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a key for the door, which can be reached from other machines, found none: make one with `longshore keys \
     create NAME --scope events:write`, or open the door to everyone with LONGSHORE__AUTH__DOOR=open"
)]
pub struct NoKeys;

impl Auth {
    /// Reads all keys for the first time, if the database answers.
    ///
    /// # Errors
    /// There is no key, here or there.
    pub(crate) async fn expect_some(&self, store: &dyn Keys) -> Result<(), NoKeys> {
        let mut revision = 0;
        match self.read(store, &mut revision).await {
            Ok(()) if self.keyring.is_empty() => Err(NoKeys),
            // A door whose database is down opens for the keys that it knows.
            _ => Ok(()),
        }
    }

    /// Follows the keys of the database and those of issuers, until `stop`.
    pub(crate) async fn follow(&self, store: &dyn Keys, stop: &CancellationToken) {
        tokio::join!(self.follow_database(store, stop), self.tokens.follow(stop));
    }

    async fn follow_database(&self, store: &dyn Keys, stop: &CancellationToken) {
        let mut revision = 0;
        let (mut noted, mut forgot) = (Instant::now(), Instant::now());
        let mut is_told = false;
        loop {
            match self.read(store, &mut revision).await {
                Ok(()) => is_told = false,
                Err(error) if !std::mem::replace(&mut is_told, true) => {
                    tracing::warn!(%error, "changes of keys cannot be read; the door goes by those it knows");
                }
                Err(_) => {}
            }
            if noted.elapsed() >= NOTE_EVERY {
                noted = Instant::now();
                self.note(store).await;
            }
            if forgot.elapsed() >= FORGET_EVERY {
                forgot = Instant::now();
                self.form.forget();
                self.confirmations.forget();
                self.refusals.forget();
                self.tokens.forget();
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(KEY_POLL) => {}
            }
        }
        self.note(store).await;
    }

    /// Reads the changes after `revision`.
    async fn read(&self, store: &dyn Keys, revision: &mut u64) -> Result<(), StoreError> {
        let current = store.key_revision().await?;
        if current < *revision {
            tracing::warn!("the database was set back: its keys are read anew");
            self.keyring.forget();
            *revision = 0;
        }
        while *revision < current {
            let changed = store.changed_keys(*revision, PAGE).await?;
            let Some(last) = changed.last() else {
                break;
            };
            *revision = last.revision;
            self.keyring.change(changed);
        }
        self.keyring.set_read();
        Ok(())
    }

    /// Writes down when keys were used, to the minute.
    async fn note(&self, store: &dyn Keys) {
        let used = self.keyring.used();
        let rows: Vec<(KeyId, OffsetDateTime)> = used
            .iter()
            .filter_map(|(entry, at)| Some((entry.id.clone()?, *at)))
            .collect();
        if rows.is_empty() {
            return;
        }
        match store.note_key_use(&rows).await {
            Ok(()) => used.iter().for_each(|(entry, at)| entry.noted(*at)),
            Err(error) => tracing::debug!(%error, "the last use of keys is written down later"),
        }
    }
}
