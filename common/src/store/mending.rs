//! The commands of operators on dead letters, apart from replays.

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{Act, BulkChange, DeadEdit, Edited, StoreError};

/// Edits, discards, restores and purges dead letters. An act that changes a letter is an entry of the audit record, in the
/// transaction of the change; one that changes nothing is not.
#[async_trait]
pub trait Mending: Send + Sync {
    /// Changes an open letter, and keeps the version before with its editor and reason.
    ///
    /// # Errors
    /// Nothing is changed.
    async fn edit_dead(&self, edit: &DeadEdit) -> Result<Edited, StoreError>;

    /// Discards up to `most` open dead letters that match, the oldest first, and gives their number. Their due and
    /// dead deliveries are discarded with them. They are counted in the row of the operation, where they are a part of
    /// one. Repeat until it gives 0.
    ///
    /// # Errors
    /// Nothing is discarded.
    async fn discard_dead(&self, discard: &BulkChange, most: u32) -> Result<u64, StoreError>;

    /// Opens up to `most` discarded dead letters that match, and gives their number. The filter's state is ignored.
    /// Deliveries that were discarded with them are dead again. They are counted as by [`Mending::discard_dead`].
    ///
    /// # Errors
    /// Nothing is restored.
    async fn restore_dead(&self, restore: &BulkChange, most: u32) -> Result<u64, StoreError>;

    /// Removes up to `most` dead letters that were replayed, discarded or superseded before `older_than`, with
    /// their edits, and gives their number. Letters that somebody else has locked are skipped.
    ///
    /// # Errors
    /// Nothing is removed.
    async fn purge_dead(
        &self,
        older_than: OffsetDateTime,
        act: &Act,
        most: u32,
    ) -> Result<u64, StoreError>;
}
