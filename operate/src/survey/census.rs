//! Counting the messages that may wait in queues that no look can show.

use std::collections::HashMap;

use common::bootstrap::Failure;
use common::event::EventId;
use common::store::StoreError;
use time::OffsetDateTime;

use super::altered::Foreign;
use super::batches::Batches;
use super::entries::{Entries, Extent};
use super::names::Kinds;
use super::room::{Others, Room};
use super::scene::{Ready, Scene};
use super::settle::Ledger;
use super::spill::{Spill, sorted};
use super::{BATCH, Survey, Surveyor, no_room};
use crate::history::{Reader, Window};

/// How often the messages are counted again while others arrive.
const TRIES: u32 = 20;

/// The messages that may be on their way to the tables beside the window's events.
pub(super) struct Census {
    window: Window,
    /// The entries that are the window's.
    extent: Extent,
    /// The newest entry that was counted.
    counted_to: Option<u64>,
    /// How many were received behind the window, as far as they were counted.
    later: u64,
    /// The events received before the window that are at rest nowhere, once counted.
    earlier: Option<(Spill, Foreign)>,
}

impl Census {
    /// For a window that has these entries.
    pub(super) fn new(window: Window, extent: Extent) -> Self {
        Self {
            window,
            counted_to: extent.last(),
            extent,
            later: 0,
            earlier: None,
        }
    }

    /// The places for events on their way to the tables. `offsets` are the places in the history of the events without
    /// a seen message, each as often as it was received.
    ///
    /// They and all others are counted before the messages, except for later arrivals. So messages that leave the
    /// queues during the count make fewer messages, and never more.
    pub(super) async fn before(
        &mut self,
        surveyor: &Surveyor<'_>,
        scene: &Scene,
        offsets: Vec<u64>,
        passed: Option<u64>,
    ) -> Result<Room, Failure> {
        if offsets.is_empty() || scene.before.ready == 0 {
            return Ok(Room::new(0, Others::default(), offsets, passed));
        }
        let since = self.window.from.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let mended = surveyor.store.watching().count_mended(since).await?;
        let asked = offsets.len() as u64;
        let (mut messages, mut others) = self.count(surveyor, asked, mended).await?;
        if messages >= asked + others.at_most && self.window.from.is_some() {
            // There is room for earlier events as well: their presence decides.
            let earlier = self.count_earlier(surveyor, scene).await?;
            (messages, others) = self.count(surveyor, asked, mended + earlier).await?;
        }
        Ok(Room::new(messages, others, offsets, passed))
    }

    /// Counts the messages, again if others arrived meanwhile, for the `asked` events. `known` are others that may be
    /// among them.
    async fn count(
        &mut self,
        surveyor: &Surveyor<'_>,
        asked: u64,
        known: u64,
    ) -> Result<(u64, Others), Failure> {
        let mut best: Option<(u64, Others)> = None;
        for _ in 0..TRIES {
            let at_least = self.later;
            // The later stage first: a message that moves from one to the other meanwhile is not counted twice.
            let mut messages = 0;
            for queue in [surveyor.names.store(), surveyor.names.validate()] {
                let depth = surveyor.broker.depth(&queue).await?;
                messages += depth.unwrap_or_default().messages;
            }
            self.count_later(surveyor).await?;
            let others = Others {
                at_least,
                at_most: self.later + known,
            };
            let is_best =
                best.is_none_or(|(most, best)| messages + best.at_most >= most + others.at_most);
            if is_best {
                best = Some((messages, others));
            }
            if messages >= asked + others.at_most || self.later == at_least {
                break;
            }
        }
        Ok(best.unwrap_or_default())
    }

    /// Goes on counting the events received after the window.
    async fn count_later(&mut self, surveyor: &Surveyor<'_>) -> Result<(), Failure> {
        let (broker, logins) = (surveyor.broker, surveyor.judge.logins());
        let everything = Window::default();
        let mut reader = Reader::open(broker, logins, everything, self.counted_to).await?;
        while let Some(entry) = reader.next().await? {
            self.counted_to = Some(entry.offset);
            self.later += 1;
        }
        Ok(())
    }

    /// How many messages of events received before the window may be on their way to the tables.
    async fn count_earlier(
        &mut self,
        surveyor: &Surveyor<'_>,
        scene: &Scene,
    ) -> Result<u64, Failure> {
        let mut unused = Survey::default();
        let mut ledger = Ledger::new(surveyor, &mut unused)?;
        let mut foreign = match self.earlier.take() {
            Some((mut open, foreign)) => {
                ledger.count_again(&mut open).await?;
                foreign
            }
            None => {
                let mut entries = self.read_earlier(surveyor).await?;
                for received in entries.all.iter_mut() {
                    ledger.count(sorted(received).map_err(no_room)?).await?;
                }
                entries.foreign
            }
        };
        let (mut open, _) = ledger.finish(&mut foreign).await?;
        let mut messages = 0;
        let mut batches = Batches::of(&mut open)?;
        while let Some(batch) = batches.next(surveyor).await? {
            let unseen = batch
                .iter()
                .filter(|(line, due)| due.is_empty() && !scene.look.has(line));
            messages += unseen.map(|(line, _)| u64::from(line.copies)).sum::<u64>();
        }
        self.earlier = Some((open, foreign));
        Ok(messages)
    }

    async fn read_earlier(&self, surveyor: &Surveyor<'_>) -> Result<Entries, Failure> {
        let (broker, logins) = (surveyor.broker, surveyor.judge.logins());
        let mut reader = Reader::open(broker, logins, Window::default(), None).await?;
        let mut entries = Entries::new()?;
        let mut kinds = Kinds::default();
        while let Some(entry) = reader.next().await? {
            if entry.offset >= self.extent.end_of_earlier() {
                break;
            }
            if self.extent.is_earlier(entry.offset) {
                entries.add(surveyor.judge.identify(entry), &mut kinds)?;
            }
        }
        Ok(entries)
    }
}

/// The places for deliveries. `offsets` are, by destination, the places in the history of the events that are due there
/// and have no seen message. `queues` are theirs.
///
/// In a queue without consumers, messages come from delays and from the store stage, and none goes. They were counted
/// before the look into the delays, and the due deliveries are counted last.
pub(super) async fn at_destinations(
    surveyor: &Surveyor<'_>,
    scene: &Scene,
    queues: &HashMap<String, Ready>,
    offsets: HashMap<String, Vec<u64>>,
) -> Result<HashMap<String, Room>, Failure> {
    let mut rooms = HashMap::new();
    let mut counted = Vec::new();
    for (destination, offsets) in offsets {
        let queue = queues.get(&destination).copied().unwrap_or_default();
        let room = match queue {
            Ready { ready: 0, .. } => Room::new(0, Others::default(), offsets, None),
            Ready { is_consumed, .. } if is_consumed || !scene.is_fresh => Room::uncounted(
                "messages wait there, and its worker has some in hand: whose they are cannot be seen",
            ),
            _ if surveyor.has_other_messages(&destination) => Room::uncounted(
                "messages wait there, and some may be of events that are not due there, or not yet: whose they are cannot be seen",
            ),
            queue => {
                counted.push((destination, queue.ready, offsets));
                continue;
            }
        };
        rooms.insert(destination, room);
    }
    if counted.is_empty() {
        return Ok(rooms);
    }
    let mut delayed = HashMap::new();
    for (destination, ..) in &counted {
        delayed.insert(
            destination.clone(),
            due_among(surveyor, scene.look.delayed(destination), destination).await?,
        );
    }
    let names: Vec<String> = counted.iter().map(|(name, ..)| name.clone()).collect();
    let due = match surveyor.store.watching().count_due(&names).await {
        Ok(due) => Some(due),
        // There are too many to count; or there is no database, which the next question will show.
        Err(StoreError::Unavailable(_)) => None,
        Err(error) => return Err(error.into()),
    };
    for (destination, messages, offsets) in counted {
        let room = match &due {
            None => Room::uncounted(
                "messages wait there, and the due deliveries cannot be counted in time",
            ),
            Some(due) => {
                let all = due.get(&destination).copied().unwrap_or_default();
                let found =
                    delayed.get(&destination).copied().unwrap_or_default() + offsets.len() as u64;
                let others = Others {
                    at_least: 0,
                    at_most: all.saturating_sub(found),
                };
                Room::new(messages, others, offsets, None)
            }
        };
        rooms.insert(destination, room);
    }
    Ok(rooms)
}

/// How many of these events are due at a destination.
async fn due_among(
    surveyor: &Surveyor<'_>,
    events: Vec<EventId>,
    destination: &str,
) -> Result<u64, Failure> {
    let mut all = 0;
    for events in events.chunks(BATCH) {
        let due = surveyor.store.watching().due_of(events).await?;
        let there = due.iter().filter(|it| it.key.destination == destination);
        all += there.count() as u64;
    }
    Ok(all)
}
