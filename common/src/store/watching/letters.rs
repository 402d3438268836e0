//! Dead letters, for the standing watch and the surveys.

use std::collections::HashMap;

use async_trait::async_trait;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::event::EventId;
use crate::store::{DeadState, DeliveryKey, StoreError};

/// How many messages the dead letters of one entry key stand for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deaths {
    /// Given up: nothing was done about them, or they were discarded.
    pub dead: u64,
    /// Sent again since.
    pub mended: u64,
}

impl Deaths {
    /// All of them.
    pub fn all(self) -> u64 {
        self.dead.saturating_add(self.mended)
    }
}

/// Compares dead letters with messages that are missing elsewhere.
#[async_trait]
pub trait WatchedLetters: Send + Sync {
    /// The state of each dead letter, in the order asked; `None` if there is none.
    ///
    /// # Errors
    /// The database cannot say.
    async fn letter_states(&self, letters: &[Uuid]) -> Result<Vec<Option<DeadState>>, StoreError>;

    /// How many messages the dead letters of each entry key stand for (their `copies`), in the order asked,
    /// without these letters. A letter that died before `since` stands for one less: its first message came
    /// before.
    ///
    /// # Errors
    /// The database cannot say.
    async fn deaths_by_entry(
        &self,
        keys: &[Uuid],
        without: &[Uuid],
        since: OffsetDateTime,
    ) -> Result<Vec<Deaths>, StoreError>;

    /// How many dead letters that are not events were sent again at that moment or later.
    ///
    /// # Errors
    /// The database cannot say.
    async fn count_mended(&self, since: OffsetDateTime) -> Result<u64, StoreError>;

    /// Of the deliveries of these events that came of replaying a dead letter under another `webhook-id` than the
    /// event's: the generation that names it.
    ///
    /// # Errors
    /// The database cannot say.
    async fn new_ids(&self, events: &[EventId]) -> Result<HashMap<DeliveryKey, u32>, StoreError>;
}
