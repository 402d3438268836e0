//! A process tells others which configuration it runs with: a row in the table `workers`, for `longshore doctor`.

use std::sync::Arc;
use std::time::Duration;

use super::Program;
use crate::store::{Store, WorkerCard};
use crate::tasks;

/// How often a process tells. No connection of the database is kept in between.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How long after a failure it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Maximum wait for the last word of a process.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

impl Program {
    /// The card of this process, which delivers to these destinations.
    pub fn card(&self, destinations: Vec<String>) -> WorkerCard {
        WorkerCard {
            id: self.id,
            program: self.name.to_owned(),
            host: host(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            destinations,
        }
    }

    /// Tells of the configuration at once, when it is reloaded, and about once a minute, until the program ends.
    pub fn tell(&self, store: &Arc<dyn Store>) {
        let telling = self.clone().keep_telling(Arc::clone(store));
        tasks::spawn_until("teller", self.end.clone(), telling);
    }

    async fn keep_telling(self, store: Arc<dyn Store>) {
        let card = self.card(Vec::new());
        let mut hash = self.hash.subscribe();
        loop {
            let current = hash.borrow_and_update().clone();
            let told = store.workers().tell(&card, current.as_str()).await;
            let wait = if told.is_ok() {
                TELL_EVERY
            } else {
                RETRY_AFTER
            };
            if let Err(error) = told {
                tracing::debug!(%error, "others do not hear which configuration this process runs with");
            }
            tokio::select! {
                () = self.end.cancelled() => return,
                Ok(()) = hash.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Tells that this process is gone. Without this word, others find it out after some minutes.
    pub async fn leave(&self, store: &Arc<dyn Store>) {
        let left = tokio::time::timeout(LEAVE_TIMEOUT, store.workers().leave(self.id)).await;
        if !matches!(left, Ok(Ok(()))) {
            tracing::debug!("others do not hear that this process ends");
        }
    }
}

/// The machine's own name.
pub(super) fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "-" } else { name }.to_owned()
}
