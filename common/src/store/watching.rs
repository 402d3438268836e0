//! What the standing watch and the surveys ask of the tables, and what the watch writes down.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{DeadState, DeliveryKey, Moment, StoreError};
use crate::event::EventId;

/// A duty that one program of all has at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// How far the duty is done.
    pub position: Option<u64>,
}

/// A duty as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseState {
    /// Whether a program has it now.
    pub is_held: bool,
    /// How far it is done.
    pub position: Option<u64>,
    /// When its holder last said that it goes on.
    pub renewed_at: Moment,
}

/// A delivery that is due, of the newest generation at its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueDelivery {
    /// Which.
    pub key: DeliveryKey,
    /// How many attempts there were.
    pub attempts: u32,
    /// Since when it is due.
    pub due_at: OffsetDateTime,
    /// When the last attempt began.
    pub last_attempt_at: Option<OffsetDateTime>,
}

/// An event as it was stored, to be sent once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBody {
    /// The event.
    pub event: EventId,
    /// Its type.
    pub kind: String,
    /// Its source.
    pub source: String,
    /// Who published it.
    pub publisher: String,
    /// When it came through a door.
    pub received_at: OffsetDateTime,
    /// When it was accepted.
    pub accepted_at: OffsetDateTime,
    /// The canonical event, byte for byte.
    pub body: String,
}

/// What a table says was stored, or delivered without ever having been stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFact {
    /// The event.
    pub event: EventId,
    /// The key that the history makes of it, where that is another.
    pub stream_id: Option<EventId>,
    /// Its type; `None` where only a delivery of it is known.
    pub kind: Option<String>,
    /// When it came through a door, as it said itself.
    pub received_at: Option<OffsetDateTime>,
    /// When it was stored, or first delivered.
    pub at: OffsetDateTime,
}

/// Takes facts one by one, however many there are.
pub type FactVisitor = Arc<dyn Fn(StoredFact) + Send + Sync>;

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

/// Something the watch sent again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RepairKey {
    /// The event; of a message that is none, the dead letter that it would become.
    pub subject: Uuid,
    /// The destination it was due at; `None` where it went to validation.
    pub destination: Option<String>,
    /// The generation of the delivery.
    pub generation: u32,
}

/// How often, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// What.
    pub key: RepairKey,
    /// How often it was sent.
    pub sent: u32,
    /// When it was sent last.
    pub last_at: OffsetDateTime,
}

/// Something that is wrong at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WatchFinding {
    /// What, in one word.
    pub finding: String,
    /// What it is about, such as a queue.
    pub subject: String,
    /// How many there are.
    pub number: u64,
    /// For people.
    pub detail: String,
}

/// What keeps the watch's own records and answers its questions.
#[async_trait]
pub trait Watching: Send + Sync {
    /// Takes a duty, or goes on with it, for `keep`; `None` while another holder has it. A position that is
    /// given is written down; the one that comes back is the last one written down by anybody.
    ///
    /// # Errors
    /// The database cannot say.
    async fn hold_lease(
        &self,
        name: &str,
        holder: Uuid,
        keep: Duration,
        position: Option<u64>,
    ) -> Result<Option<Lease>, StoreError>;

    /// Gives a duty up, so that the next one need not wait for its end.
    ///
    /// # Errors
    /// It ends by itself.
    async fn give_up_lease(&self, name: &str, holder: Uuid) -> Result<(), StoreError>;

    /// How a duty stands; `None` where nobody has ever had it.
    ///
    /// # Errors
    /// The database cannot say.
    async fn lease(&self, name: &str) -> Result<Option<LeaseState>, StoreError>;

    /// Of each event, in the order asked, whether it is stored and every delivery of it is made or discarded.
    /// Of those, [`Standing::Completed`](super::Standing) is all there is to say.
    ///
    /// # Errors
    /// The database cannot say.
    async fn are_completed(&self, events: &[EventId]) -> Result<Vec<bool>, StoreError>;

    /// Of each dead letter, in the order asked, how it stands; `None` where there is none.
    ///
    /// # Errors
    /// The database cannot say.
    async fn letter_states(&self, letters: &[Uuid]) -> Result<Vec<Option<DeadState>>, StoreError>;

    /// Of each entry key, in the order asked, how many messages its dead letters stand for (their `copies`), without
    /// these letters. A letter that died before `since` stands for one less: what came first came before.
    ///
    /// # Errors
    /// The database cannot say.
    async fn deaths_by_entry(
        &self,
        keys: &[Uuid],
        without: &[Uuid],
        since: OffsetDateTime,
    ) -> Result<Vec<Deaths>, StoreError>;

    /// Of each id that the history made of an event whose own id is another, in the order asked, the event that
    /// was stored or rejected under its own; the newest where there are several.
    ///
    /// # Errors
    /// The database cannot say.
    async fn events_of_stream(
        &self,
        stream_ids: &[EventId],
    ) -> Result<Vec<Option<EventId>>, StoreError>;

    /// Up to `most` deliveries that became due at `since` or later, before `before`, and are due still; the
    /// oldest first. Without those that a replay has claimed and not sent yet.
    ///
    /// # Errors
    /// The database cannot say.
    async fn due_deliveries(
        &self,
        since: OffsetDateTime,
        before: OffsetDateTime,
        most: u32,
    ) -> Result<Vec<DueDelivery>, StoreError>;

    /// The deliveries of these events that are due.
    ///
    /// # Errors
    /// The database cannot say.
    async fn due_of(&self, events: &[EventId]) -> Result<Vec<DueDelivery>, StoreError>;

    /// How many deliveries are due at each of these destinations, whatever their age; reads the whole table.
    ///
    /// # Errors
    /// The database cannot say, or not in time.
    async fn count_due(&self, destinations: &[String]) -> Result<HashMap<String, u64>, StoreError>;

    /// How many dead letters that are no events were sent again at that moment or later.
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

    /// Of each destination when the last attempt began, among deliveries that became due at `since` or later.
    ///
    /// # Errors
    /// The database cannot say.
    async fn last_attempts(
        &self,
        since: OffsetDateTime,
    ) -> Result<Vec<(String, OffsetDateTime)>, StoreError>;

    /// These events as they were stored, in any order, without those that are not.
    ///
    /// # Errors
    /// The database cannot say.
    async fn stored_bodies(&self, events: &[EventId]) -> Result<Vec<StoredBody>, StoreError>;

    /// Calls `visit` with each event that was stored from `from` on and before `to`, and with each that is not
    /// stored but has a delivery that became due then. It may be called with some of them twice.
    ///
    /// # Errors
    /// The database cannot say.
    async fn each_stored(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
        visit: FactVisitor,
    ) -> Result<(), StoreError>;

    /// Writes down that something is sent again, for the first time or once more.
    ///
    /// # Errors
    /// Nothing of it is written down.
    async fn record_repairs(&self, repairs: &[RepairKey]) -> Result<(), StoreError>;

    /// What was sent again of these subjects.
    ///
    /// # Errors
    /// The database cannot say.
    async fn repairs(&self, subjects: &[Uuid]) -> Result<Vec<Repair>, StoreError>;

    /// How many events and how many deliveries were last sent again at that moment or later.
    ///
    /// # Errors
    /// The database cannot say.
    async fn repairs_since(&self, since: OffsetDateTime) -> Result<(u64, u64), StoreError>;

    /// Puts these findings in the place of the ones before.
    ///
    /// # Errors
    /// The ones before stay.
    async fn keep_findings(&self, findings: &[WatchFinding]) -> Result<(), StoreError>;

    /// What is wrong at the moment, and since when.
    ///
    /// # Errors
    /// The database cannot say.
    async fn findings(&self) -> Result<Vec<(WatchFinding, Moment)>, StoreError>;
}
