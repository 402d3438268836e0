//! What those ask who start, watch and run operations: replays of dead letters and of the history.

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    DeadLetter, Progress, Replay, ReplayOutcome, ReplayPage, ReplayReport, ReplayState, StoreError,
};

/// What keeps operations: each is a row that says what to do and how far it is.
#[async_trait]
pub trait Operations: Send + Sync {
    /// Begins a replay: a row of its own, handed over to the workers. Whoever wants to run it takes its lease
    /// before that.
    ///
    /// # Errors
    /// It could not be written down.
    async fn begin_replay(&self, replay: &Replay) -> Result<(), StoreError>;

    /// Hands over to the workers a replay that a program of before began to run itself.
    ///
    /// # Errors
    /// It stands as before.
    async fn hand_over_replay(&self, id: Uuid) -> Result<(), StoreError>;

    /// Up to `most` replays that run and are handed over, the oldest first. Which of them somebody runs at the
    /// moment, their leases tell.
    ///
    /// # Errors
    /// The database cannot say.
    async fn running_replays(&self, most: u32) -> Result<Vec<Uuid>, StoreError>;

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

    /// Claims up to `most` open dead letters that match the replay's filter, for this replay alone,
    /// and writes down their deliveries of the next generation as due. What is superseded is not claimed, but
    /// marked. A replay that does not run claims nothing; neither does one when nothing open is left to it,
    /// which is when the last claim of another that is under way has ended.
    ///
    /// # Errors
    /// Nothing is claimed.
    async fn claim_dead(&self, replay: Uuid, most: u32) -> Result<Vec<DeadLetter>, StoreError>;

    /// Up to `most` of the letters that the replay has claimed and not marked, by their ids, behind
    /// `after`: what a killed run of it had in hand, page by page. None of a replay that does not run.
    ///
    /// # Errors
    /// The database cannot say.
    async fn claimed_dead(
        &self,
        replay: Uuid,
        after: Option<Uuid>,
        most: u32,
    ) -> Result<Vec<DeadLetter>, StoreError>;

    /// Marks claimed dead letters as replayed: only what the broker has confirmed. A letter that was
    /// opened again in between, because somebody has stopped the replay, and that nobody else has
    /// claimed since is marked as well.
    ///
    /// # Errors
    /// Nothing is marked.
    async fn mark_replayed(&self, replay: Uuid, letters: &[Uuid]) -> Result<(), StoreError>;

    /// Counts what a replay of the history has sent: `sent` events more, everything up to `position`, and what
    /// there is to report by then. A position that is not beyond the one before counts nothing, so counting twice
    /// counts once.
    ///
    /// # Errors
    /// Nothing is counted.
    async fn advance_replay(
        &self,
        id: Uuid,
        sent: u64,
        position: u64,
        report: &ReplayReport,
    ) -> Result<(), StoreError>;

    /// Puts this report in the place of the one before.
    ///
    /// # Errors
    /// The one before stays.
    async fn report_replay(&self, id: Uuid, report: &ReplayReport) -> Result<(), StoreError>;

    /// Lets a replay of the history run again that was stopped, and hands it over to the workers. It began when it
    /// did, and goes on behind its position.
    ///
    /// # Errors
    /// It stands as before.
    async fn reopen_replay(&self, id: Uuid) -> Result<(), StoreError>;

    /// Pauses a replay that runs, lets one that is paused run again, or stops either, and says how it
    /// stands then; `None` where there is no such replay. One that has ended stays ended. One that is
    /// stopped gives back what it had claimed, as [`Operations::end_replay`].
    ///
    /// # Errors
    /// It stands as before.
    async fn steer_replay(
        &self,
        id: Uuid,
        to: ReplayState,
    ) -> Result<Option<ReplayState>, StoreError>;

    /// What became of what a replay has sent. It looks at every letter of the replay: some microseconds
    /// for each.
    ///
    /// # Errors
    /// The database cannot say, or there is no such replay.
    async fn replay_outcome(&self, id: Uuid) -> Result<ReplayOutcome, StoreError>;

    /// What became of `most` of the letters that a replay has sent: of those with the lowest ids, which
    /// have nothing to do with when they died or were sent. It takes as long however many were sent.
    ///
    /// # Errors
    /// There is no such replay, or the database cannot say.
    async fn replay_sample(&self, id: Uuid, most: u32) -> Result<ReplayOutcome, StoreError>;

    /// Ends a replay; what it had claimed and not marked is open again.
    ///
    /// # Errors
    /// It still stands as running.
    async fn end_replay(&self, replay: Uuid, state: ReplayState) -> Result<(), StoreError>;
}
