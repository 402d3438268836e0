//! What operators do about dead letters, apart from replaying them.

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{DeadEdit, DeadFilter, Discard, Edited, StoreError};

/// Edits, discards, restores and purges dead letters.
#[async_trait]
pub trait Mending: Send + Sync {
    /// Changes an open letter, and keeps what was before with who and why.
    ///
    /// # Errors
    /// Nothing is changed.
    async fn edit_dead(&self, edit: &DeadEdit) -> Result<Edited, StoreError>;

    /// Discards up to `most` open dead letters that match, the oldest first, and says how many. What is
    /// due or dead because of them is discarded with them. Done again until it says 0, it has discarded
    /// all.
    ///
    /// # Errors
    /// Nothing is discarded.
    async fn discard_dead(&self, discard: &Discard, most: u32) -> Result<u64, StoreError>;

    /// Opens up to `most` discarded dead letters that match, whatever the filter says of the state, and
    /// says how many. Deliveries that were discarded with them are dead again.
    ///
    /// # Errors
    /// Nothing is restored.
    async fn restore_dead(&self, filter: &DeadFilter, most: u32) -> Result<u64, StoreError>;

    /// Removes up to `most` dead letters that were replayed, discarded or superseded before `older_than`, with
    /// their edits, and says how many. What is in anybody's hands is left for another time.
    ///
    /// # Errors
    /// Nothing is removed.
    async fn purge_dead(&self, older_than: OffsetDateTime, most: u32) -> Result<u64, StoreError>;
}
