//! Starting, steering and watching operations: replays, and discards and restores in bulk.

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    Act, Operation, OperationPage, OperationState, Progress, ReplayOutcome, Runs, StoreError,
};

/// Operations, for operators. Each is a row that holds its order and its progress. An act that changes a row is an entry of
/// the audit record, in the transaction of the change; one that changes nothing is not.
#[async_trait]
pub trait Operations: Runs {
    /// Begins an operation: a row of its own, handed over to the workers. A program that wants to run it takes its
    /// lease before that.
    ///
    /// # Errors
    /// The operation could not be written down.
    async fn begin_operation(&self, operation: &Operation) -> Result<(), StoreError>;

    /// Hands over to the workers an operation that a program of before began to run itself.
    ///
    /// # Errors
    /// The operation stands as before.
    async fn hand_over_operation(&self, id: Uuid, act: &Act) -> Result<(), StoreError>;

    /// Sets the maximum rate of an operation, in messages a second. A run goes by the rate that it began with.
    ///
    /// # Errors
    /// The operation stands as before.
    async fn set_operation_rate(&self, id: Uuid, rate: u32, act: &Act) -> Result<(), StoreError>;

    /// An operation as it stands.
    ///
    /// # Errors
    /// The database cannot say.
    async fn operation(&self, id: Uuid) -> Result<Option<Progress>, StoreError>;

    /// One page of operations, newest first.
    ///
    /// # Errors
    /// The database cannot say.
    async fn operations_page(&self, page: OperationPage) -> Result<Vec<Progress>, StoreError>;

    /// Lets a stopped replay of the history run again, and hands it over to the workers. It keeps its beginning,
    /// and goes on behind its position.
    ///
    /// # Errors
    /// The operation stands as before.
    async fn reopen_operation(&self, id: Uuid, act: &Act) -> Result<(), StoreError>;

    /// Pauses a running operation, lets a paused one run again, or stops either, and returns its new state; `None`
    /// if there is no such operation. An ended one stays ended. A stopped replay gives back the letters it had
    /// claimed, as [`Runs::end_operation`].
    ///
    /// # Errors
    /// The operation stands as before.
    async fn steer_operation(
        &self,
        id: Uuid,
        to: OperationState,
        act: &Act,
    ) -> Result<Option<OperationState>, StoreError>;

    /// The outcome of all letters or events that a replay has sent. It looks at every letter of the replay: some
    /// microseconds for each.
    ///
    /// # Errors
    /// The database cannot say, or there is no such replay.
    async fn replay_outcome(&self, id: Uuid) -> Result<ReplayOutcome, StoreError>;

    /// The outcome of `most` of the letters that a replay has sent: those with the lowest ids. Ids are independent
    /// of the times of death and sending. It takes as long however many were sent.
    ///
    /// # Errors
    /// There is no such replay, or the database cannot say.
    async fn replay_sample(&self, id: Uuid, most: u32) -> Result<ReplayOutcome, StoreError>;
}
