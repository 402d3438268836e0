//! Dead letters, kept and found.

use async_trait::async_trait;
use uuid::Uuid;

use super::{DeadFilter, DeadGroup, DeadLetter, DeadPage, DeadStory, DeadSummary, StoreError};

/// Keeps dead letters and finds them.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Keeps dead letters, and marks the due delivery of each integrate letter as dead, all in one transaction.
    /// Keeping a letter again counts one copy more and changes nothing else. Only the newest generation stays open,
    /// unless it was delivered since; the others are superseded.
    ///
    /// # Errors
    /// Nothing of the batch is kept, or some superseded letters are not marked: keep the batch again.
    async fn keep_dead(&self, batch: &[DeadLetter]) -> Result<(), StoreError>;

    /// One page of dead letters, newest first, without bodies.
    ///
    /// # Errors
    /// The database cannot say.
    async fn dead_page(
        &self,
        filter: &DeadFilter,
        page: DeadPage,
    ) -> Result<Vec<DeadSummary>, StoreError>;

    /// How many dead letters match.
    ///
    /// # Errors
    /// The database cannot say.
    async fn dead_count(&self, filter: &DeadFilter) -> Result<u64, StoreError>;

    /// One dead letter, whole.
    ///
    /// # Errors
    /// The database cannot say.
    async fn dead_letter(&self, id: Uuid) -> Result<Option<DeadLetter>, StoreError>;

    /// One dead letter with its attempts, edits, replays and the other letters of its event.
    ///
    /// # Errors
    /// The database cannot say.
    async fn dead_story(&self, id: Uuid) -> Result<Option<DeadStory>, StoreError>;

    /// The `most` largest groups of dead letters with the same queue, reason, destination and error
    /// fingerprint, the largest first. A window in the filter is widened to whole hours.
    ///
    /// # Errors
    /// The database cannot say.
    async fn dead_stats(
        &self,
        filter: &DeadFilter,
        most: u32,
    ) -> Result<Vec<DeadGroup>, StoreError>;
}
