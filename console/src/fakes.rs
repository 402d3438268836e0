//! A broker and a store in memory, as far as the tests of this package need them.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use common::broker::{
    Broker, BrokerError, Depth, Difference, Publication, PublishError, Subscription,
};
use common::event::{EventId, now};
use common::message::{Headers, Message};
use common::reason::ReasonCode;
use common::store::{
    Attempt, DeadFilter, DeadLetter, DeadPage, DeadState, DeadSummary, DeliveryKey, DeliveryState,
    EventRecord, EventStatus, Moment, NewEvent, NewRejection, Progress, RejectionRecord, Replay,
    ReplayState, Store, StoreError, Stored,
};
use common::topology::Topology;
use uuid::Uuid;

/// A dead letter that died in `queue`.
pub(crate) fn letter(queue: &str) -> DeadLetter {
    DeadLetter {
        id: Uuid::now_v7(),
        event: Some(EventId::born()),
        kind: Some("signup.requested".to_owned()),
        source: Some("/shop".to_owned()),
        queue: queue.to_owned(),
        stage: "integrate".to_owned(),
        destination: Some("crm".to_owned()),
        reason: ReasonCode::ReceiverFailing,
        error: "expected a 2xx, found 500".to_owned(),
        attempts: 4,
        generation: 0,
        first_failed_at: now(),
        last_failed_at: now(),
        routing_key: "signup.requested".to_owned(),
        message: Message {
            body: bytes::Bytes::from_static(br#"{"data":{"password_hash":"hunter2"}}"#),
            kind: Some("signup.requested".to_owned()),
            headers: Headers::default(),
            ..Message::default()
        },
        state: DeadState::Open,
        replay: None,
    }
}

/// What the broker says to a publish.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    Nack,
    Return,
    Disconnect,
}

#[derive(Default)]
pub(crate) struct FakeBroker {
    queues: Mutex<HashSet<String>>,
    published: Mutex<Vec<Publication>>,
    answers: Mutex<HashMap<usize, Answer>>,
}

impl FakeBroker {
    pub(crate) fn declare(&self, queue: &str) {
        lock(&self.queues).insert(queue.to_owned());
    }

    pub(crate) fn delete_queue(&self, queue: &str) {
        lock(&self.queues).remove(queue);
    }

    /// The answer to publish number `nth`, counted from 0.
    pub(crate) fn answer(&self, nth: usize, answer: Answer) {
        lock(&self.answers).insert(nth, answer);
    }

    pub(crate) fn published(&self) -> Vec<Publication> {
        lock(&self.published).clone()
    }
}

#[async_trait]
impl Broker for FakeBroker {
    async fn apply(&self, topology: &Topology) -> Result<(), BrokerError> {
        for queue in &topology.queues {
            self.declare(&queue.name);
        }
        Ok(())
    }

    async fn verify(&self, _: &Topology) -> Result<Vec<Difference>, BrokerError> {
        Ok(Vec::new())
    }

    async fn delete(&self, topology: &Topology) -> Result<(), BrokerError> {
        for queue in &topology.queues {
            self.delete_queue(&queue.name);
        }
        Ok(())
    }

    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        let nth = {
            let mut published = lock(&self.published);
            published.push(publication);
            published.len() - 1
        };
        // The answer comes later, as it does on a network.
        tokio::task::yield_now().await;
        match lock(&self.answers).remove(&nth) {
            None => Ok(()),
            Some(Answer::Nack) => Err(PublishError::Nacked),
            Some(Answer::Disconnect) => Err(PublishError::Disconnected("cut".to_owned())),
            Some(Answer::Return) => Err(PublishError::Unroutable {
                exchange: String::new(),
                routing_key: "q".to_owned(),
                reason: "NO_ROUTE".to_owned(),
            }),
        }
    }

    async fn subscribe(&self, queue: &str, _: u16) -> Result<Subscription, BrokerError> {
        Err(BrokerError::NoSuchQueue(queue.to_owned()))
    }

    async fn depth(&self, queue: &str) -> Result<Option<Depth>, BrokerError> {
        let there = lock(&self.queues).contains(queue);
        Ok(there.then_some(Depth {
            messages: 0,
            consumers: 1,
        }))
    }

    async fn ready(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    fn user(&self) -> Option<&str> {
        Some("guest")
    }

    async fn close(&self) {}
}

#[derive(Default)]
pub(crate) struct FakeStore {
    letters: Mutex<Vec<DeadLetter>>,
    replays: Mutex<HashMap<Uuid, Progress>>,
    fail_mark: Mutex<bool>,
}

impl FakeStore {
    pub(crate) fn add(&self, letter: DeadLetter) {
        lock(&self.letters).push(letter);
    }

    pub(crate) fn count(&self, state: DeadState) -> usize {
        lock(&self.letters)
            .iter()
            .filter(|letter| letter.state == state)
            .count()
    }

    /// The next `mark_replayed` fails, as when the program is killed before it.
    pub(crate) fn fail_next_mark(&self) {
        *lock(&self.fail_mark) = true;
    }
}

#[async_trait]
impl Store for FakeStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn store(&self, _: &[NewEvent]) -> Result<Vec<Stored>, StoreError> {
        Err(not_here())
    }

    async fn deliveries(
        &self,
        _: &[DeliveryKey],
    ) -> Result<Vec<Option<DeliveryState>>, StoreError> {
        Err(not_here())
    }

    async fn record_attempts(&self, _: &[Attempt]) -> Result<(), StoreError> {
        Err(not_here())
    }

    async fn keep_dead(&self, _: &[DeadLetter]) -> Result<(), StoreError> {
        Err(not_here())
    }

    async fn keep_rejections(&self, _: &[NewRejection]) -> Result<(), StoreError> {
        Err(not_here())
    }

    async fn status(&self, _: EventId) -> Result<Option<EventStatus>, StoreError> {
        Ok(None)
    }

    async fn rejections(&self, _: EventId) -> Result<Vec<RejectionRecord>, StoreError> {
        Ok(Vec::new())
    }

    async fn event(&self, _: EventId) -> Result<Option<EventRecord>, StoreError> {
        Ok(None)
    }

    async fn dead_page(
        &self,
        _: &DeadFilter,
        page: DeadPage,
    ) -> Result<Vec<DeadSummary>, StoreError> {
        let letters = lock(&self.letters);
        let mut found: Vec<_> = letters.iter().map(summary).collect();
        found.sort_by_key(|row| std::cmp::Reverse((row.last_failed_at, row.id)));
        if let Some((at, id)) = page.after {
            found.retain(|row| (row.last_failed_at, row.id) < (Moment(at), id));
        }
        found.truncate(page.limit as usize);
        Ok(found)
    }

    async fn dead_count(&self, _: &DeadFilter) -> Result<u64, StoreError> {
        Ok(lock(&self.letters).len() as u64)
    }

    async fn dead_letter(&self, id: Uuid) -> Result<Option<DeadLetter>, StoreError> {
        Ok(lock(&self.letters)
            .iter()
            .find(|letter| letter.id == id)
            .cloned())
    }

    async fn begin_replay(&self, replay: &Replay) -> Result<(), StoreError> {
        let progress = Progress {
            id: replay.id,
            filter: replay.filter.clone(),
            to_queue: replay.to_queue.clone(),
            who: replay.who.clone(),
            why: replay.why.clone(),
            state: ReplayState::Running,
            replayed: 0,
            started_at: Moment(now()),
            ended_at: None,
        };
        lock(&self.replays).insert(replay.id, progress);
        Ok(())
    }

    async fn replay(&self, id: Uuid) -> Result<Option<Progress>, StoreError> {
        Ok(lock(&self.replays).get(&id).cloned())
    }

    async fn claim_dead(
        &self,
        replay: Uuid,
        most: u32,
        resume: bool,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let running = lock(&self.replays)
            .get(&replay)
            .is_some_and(|replay| replay.state == ReplayState::Running);
        if !running {
            return Ok(Vec::new());
        }
        let mut claimed = Vec::new();
        for letter in lock(&self.letters).iter_mut() {
            let again =
                resume && letter.state == DeadState::Replaying && letter.replay == Some(replay);
            if claimed.len() < most as usize && (again || letter.state == DeadState::Open) {
                letter.state = DeadState::Replaying;
                letter.replay = Some(replay);
                claimed.push(letter.clone());
            }
        }
        Ok(claimed)
    }

    async fn mark_replayed(&self, replay: Uuid, ids: &[Uuid]) -> Result<(), StoreError> {
        if std::mem::take(&mut *lock(&self.fail_mark)) {
            return Err(StoreError::Unavailable("killed".to_owned()));
        }
        for letter in lock(&self.letters).iter_mut() {
            if ids.contains(&letter.id) && letter.replay == Some(replay) {
                letter.state = DeadState::Replayed;
            }
        }
        Ok(())
    }

    async fn end_replay(&self, replay: Uuid, state: ReplayState) -> Result<(), StoreError> {
        for letter in lock(&self.letters).iter_mut() {
            if letter.state == DeadState::Replaying && letter.replay == Some(replay) {
                letter.state = DeadState::Open;
            }
        }
        if let Some(progress) = lock(&self.replays).get_mut(&replay) {
            progress.state = state;
        }
        Ok(())
    }

    async fn close(&self) {}
}

fn summary(letter: &DeadLetter) -> DeadSummary {
    DeadSummary {
        id: letter.id,
        event: letter.event,
        kind: letter.kind.clone(),
        queue: letter.queue.clone(),
        reason: letter.reason,
        error: letter.error.clone(),
        attempts: letter.attempts,
        generation: letter.generation,
        last_failed_at: Moment(letter.last_failed_at),
        state: letter.state,
    }
}

fn not_here() -> StoreError {
    StoreError::Fault("the fake does not do this".to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
