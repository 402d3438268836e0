//! Starting, steering and watching operations: replays of dead letters and of the history.

use async_trait::async_trait;
use uuid::Uuid;

use super::{Progress, Replay, ReplayOutcome, ReplayPage, ReplayState, Runs, StoreError};

/// Operations, for operators. Each is a row that holds its order and its progress.
#[async_trait]
pub trait Operations: Runs {
    /// Begins a replay: a row of its own, handed over to the workers. A program that wants to run it takes its
    /// lease before that.
    ///
    /// # Errors
    /// The replay could not be written down.
    async fn begin_replay(&self, replay: &Replay) -> Result<(), StoreError>;

    /// Hands over to the workers a replay that a program of before began to run itself.
    ///
    /// # Errors
    /// The replay stands as before.
    async fn hand_over_replay(&self, id: Uuid) -> Result<(), StoreError>;

    /// A replay as it stands.
    ///
    /// # Errors
    /// The database cannot say.
    async fn replay(&self, id: Uuid) -> Result<Option<Progress>, StoreError>;

    /// One page of replays, newest first.
    ///
    /// # Errors
    /// The database cannot say.
    async fn replays(&self, page: ReplayPage) -> Result<Vec<Progress>, StoreError>;

    /// Lets a stopped replay of the history run again, and hands it over to the workers. It keeps its beginning,
    /// and goes on behind its position.
    ///
    /// # Errors
    /// The replay stands as before.
    async fn reopen_replay(&self, id: Uuid) -> Result<(), StoreError>;

    /// Pauses a running replay, lets a paused one run again, or stops either, and returns its new state; `None` if
    /// there is no such replay. An ended replay stays ended. A stopped replay gives back the letters it had
    /// claimed, as [`Runs::end_replay`].
    ///
    /// # Errors
    /// The replay stands as before.
    async fn steer_replay(
        &self,
        id: Uuid,
        to: ReplayState,
    ) -> Result<Option<ReplayState>, StoreError>;

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
