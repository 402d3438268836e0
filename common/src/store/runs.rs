//! Running operations: claims, marks and counts.

use async_trait::async_trait;
use uuid::Uuid;

use super::{DeadLetter, OperationReport, OperationState, StoreError};

/// Operations, for the worker that runs them.
#[async_trait]
pub trait Runs: Send + Sync {
    /// Up to `most` operations that run and are handed over, the oldest first. Their leases tell which of them are
    /// run at the moment.
    ///
    /// # Errors
    /// The database cannot say.
    async fn running_operations(&self, most: u32) -> Result<Vec<Uuid>, StoreError>;

    /// Claims up to `most` open dead letters that match the replay's filter, for this replay alone. Writes down
    /// their deliveries of the next generation as due. Superseded letters are not claimed, but marked. A replay
    /// that does not run claims nothing. Nor does a replay without open letters left, once the last claim of
    /// another that is under way has ended.
    ///
    /// # Errors
    /// Nothing is claimed.
    async fn claim_dead(&self, replay: Uuid, most: u32) -> Result<Vec<DeadLetter>, StoreError>;

    /// Up to `most` of the letters that the replay has claimed and not marked, by their ids, behind `after`: the
    /// hand of a killed run, page by page. None of a replay that does not run.
    ///
    /// # Errors
    /// The database cannot say.
    async fn claimed_dead(
        &self,
        replay: Uuid,
        after: Option<Uuid>,
        most: u32,
    ) -> Result<Vec<DeadLetter>, StoreError>;

    /// Marks claimed dead letters as replayed: only letters that the broker has confirmed. A letter may have been
    /// opened again in between, because the replay was stopped. It is marked as well, unless another replay has
    /// claimed it since.
    ///
    /// # Errors
    /// Nothing is marked.
    async fn mark_replayed(&self, replay: Uuid, letters: &[Uuid]) -> Result<(), StoreError>;

    /// Counts the progress of a replay of the history: `sent` events more, everything up to `position`, and the
    /// report by then. A position that is not beyond the one before counts nothing, so counting twice counts once.
    ///
    /// # Errors
    /// Nothing is counted.
    async fn advance_replay(
        &self,
        id: Uuid,
        sent: u64,
        position: u64,
        report: &OperationReport,
    ) -> Result<(), StoreError>;

    /// Replaces the report of an operation.
    ///
    /// # Errors
    /// The report from before stays.
    async fn report_operation(&self, id: Uuid, report: &OperationReport) -> Result<(), StoreError>;

    /// Ends an operation; letters that it had claimed and not marked are open again.
    ///
    /// # Errors
    /// The operation still stands as running.
    async fn end_operation(&self, id: Uuid, state: OperationState) -> Result<(), StoreError>;
}
