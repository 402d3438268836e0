//! What to make of an event that is at rest nowhere.

use std::collections::HashMap;

use common::bootstrap::Failure;
use common::event::EventId;
use common::store::Standing;
use common::topology::Names;
use serde::Serialize;
use uuid::Uuid;

use super::scene::{Ready as Queue, Scene, unseen};
use super::spill::{Line, Spill};
use super::{BATCH, MAX_NAMED, Surveyor, no_room};

/// What is wrong with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// It may be somewhere that could not be looked into, or have been.
    Unknown,
    /// It is nowhere.
    Stuck,
    /// It is stored or was delivered, and nobody received it.
    Forged,
}

/// What to make of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It waits in a queue.
    UnderWay,
    /// It is nowhere, and how that shows.
    Stuck(String),
    /// Nobody can say, and why.
    Unknown(String),
}

impl Fate {
    /// The same, unless it is found out that it waits after all.
    fn or_under_way(self, waits: impl FnOnce() -> bool) -> Self {
        if self == Self::UnderWay || waits() {
            return Self::UnderWay;
        }
        self
    }

    fn rank(&self) -> u8 {
        match self {
            Self::UnderWay => 0,
            Self::Unknown(_) => 1,
            Self::Stuck(_) => 2,
        }
    }
}

/// What was made of all of them.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    pub(super) under_way: u64,
    pub(super) stuck: u64,
    pub(super) unknown: u64,
    /// What is stuck or unknown, the first of it.
    pub(super) named: Vec<(Line, Option<Standing>, Fate)>,
}

/// Where an event that no message of was seen can be, by its place in the order of things. A queue holds the
/// newest of what has not passed it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Order {
    /// The oldest entry that the queue has room for; `None` where it is empty.
    oldest: Option<u64>,
    /// The newest that has passed it, where that is known.
    passed: Option<u64>,
}

impl Order {
    /// For a queue with so many messages, and these events that may be in it.
    fn new(queue: Queue, mut offsets: Vec<u64>, passed: Option<u64>) -> Self {
        let ready = usize::try_from(queue.ready).unwrap_or(usize::MAX);
        offsets.sort_unstable_by(|one, other| other.cmp(one));
        offsets.truncate(ready);
        Self {
            oldest: offsets.last().copied(),
            passed,
        }
    }

    fn is_overtaken(self, offset: u64) -> bool {
        self.passed.is_some_and(|passed| offset < passed)
    }

    fn has(self, offset: u64) -> bool {
        !self.is_overtaken(offset) && self.oldest.is_some_and(|oldest| offset >= oldest)
    }
}

/// An event that is not stored, and of which no message was seen.
fn not_stored(offset: u64, order: Order, queue: Queue, hidden: Option<String>) -> Fate {
    if order.has(offset) {
        return Fate::UnderWay;
    }
    if let Some(hidden) = hidden {
        return Fate::Unknown(format!("in no table; {hidden}"));
    }
    if order.is_overtaken(offset) {
        return Fate::Stuck("in no table and in no queue; later ones have passed it".to_owned());
    }
    if queue.is_consumed {
        return Fate::Unknown(
            "in no table; fewer messages wait than events are on the way: a worker has it in hand, or it is gone"
                .to_owned(),
        );
    }
    Fate::Stuck("in no table and in no queue".to_owned())
}

/// A stored event that is due at a destination, and of which no message was seen there.
fn not_delivered(
    offset: u64,
    destination: &str,
    order: Order,
    queue: Queue,
    hidden: Option<String>,
) -> Fate {
    if order.has(offset) {
        return Fate::UnderWay;
    }
    if let Some(hidden) = hidden {
        return Fate::Unknown(format!("due at {destination}; {hidden}"));
    }
    if queue.is_consumed {
        return Fate::Unknown(format!(
            "due at {destination}, and not found waiting: its worker has it in hand, or it is gone"
        ));
    }
    Fate::Stuck(format!("due at {destination} and in no queue"))
}

/// The lines that are open, in batches, each with where it is due.
struct Batches<L> {
    lines: L,
}

impl<L: Iterator<Item = std::io::Result<Line>>> Batches<L> {
    async fn next(&mut self, surveyor: &Surveyor<'_>) -> Result<Vec<(Line, Vec<String>)>, Failure> {
        let lines: Result<Vec<Line>, _> = self.lines.by_ref().take(BATCH).collect();
        let lines = lines.map_err(no_room)?;
        let events: Vec<EventId> = lines.iter().filter_map(Line::event).collect();
        let mut due: HashMap<EventId, Vec<String>> = HashMap::new();
        if !events.is_empty() {
            for delivery in surveyor.store.watching().due_of(&events).await? {
                let key = delivery.key;
                due.entry(key.event).or_default().push(key.destination);
            }
        }
        let with_due = lines.into_iter().map(|line| {
            let due = line.event().and_then(|event| due.remove(&event));
            (line, due.unwrap_or_default())
        });
        Ok(with_due.collect())
    }
}

fn was_seen(scene: &Scene, line: &Line) -> bool {
    scene.look.has_event(Uuid::from_u128(line.key)) || scene.look.has_event(line.letter())
}

fn was_seen_at(scene: &Scene, line: &Line, destination: &str) -> bool {
    scene
        .look
        .has_delivery(Uuid::from_u128(line.key), destination)
}

/// Destinations that are configured no more. Their queues may hold what was due there.
#[derive(Default)]
struct Former {
    queues: HashMap<String, Queue>,
    /// Why something may be where nobody looked.
    hidden: HashMap<String, String>,
}

impl Former {
    /// Asks how full the queues are of those among these that are not configured.
    async fn look(
        surveyor: &Surveyor<'_>,
        scene: &Scene,
        destinations: impl Iterator<Item = &String>,
    ) -> Result<Self, Failure> {
        let mut former = Self::default();
        for name in destinations.filter(|it| !scene.destinations.contains_key(*it)) {
            let queue = surveyor.names.integrate(name);
            if let Some(depth) = surveyor.broker.depth(&queue).await? {
                let queue = Queue {
                    ready: depth.messages,
                    is_consumed: depth.consumers > 0,
                };
                former.queues.insert(name.clone(), queue);
            }
            let aside = Names::suspect(&queue);
            let depth = surveyor.broker.depth(&aside).await?;
            if depth.is_some_and(|depth| depth.messages > 0) {
                let hidden = unseen(&[&aside]);
                former.hidden.insert(name.clone(), hidden);
            }
        }
        Ok(former)
    }
}

/// Messages that wait and that no line is seen by: as many lines of their entry keys are under way.
struct Altered(HashMap<Uuid, u64>);

impl Altered {
    fn take(&mut self, line: &Line) -> bool {
        let waiting = self.0.get_mut(&Uuid::from_u128(line.entry));
        waiting.is_some_and(|waiting| {
            let is_there = *waiting > 0;
            *waiting = waiting.saturating_sub(1);
            is_there
        })
    }
}

/// Judges every line that is open. `passed` is the newest entry that has come as far as a table.
pub(super) async fn judge(
    surveyor: &Surveyor<'_>,
    open: &mut Spill,
    scene: &Scene,
    passed: Option<u64>,
) -> Result<Verdicts, Failure> {
    let mut verdicts = Verdicts::default();
    if open.len() == 0 {
        return Ok(verdicts);
    }
    // First how many there are of each kind: only so many have room in a queue.
    let mut before = Vec::new();
    let mut altered = Altered(scene.look.entries());
    let mut at: HashMap<String, Vec<u64>> = HashMap::new();
    let mut batches = Batches {
        lines: open.lines().map_err(no_room)?,
    };
    loop {
        let batch = batches.next(surveyor).await?;
        if batch.is_empty() {
            break;
        }
        for (line, due) in batch {
            if due.is_empty() {
                if was_seen(scene, &line) {
                    // It is one of these itself.
                    altered.take(&line);
                } else {
                    // Each time that it was received it became a message.
                    before.extend(std::iter::repeat_n(line.offset, line.copies as usize));
                }
            }
            for destination in due {
                if !was_seen_at(scene, &line, &destination) {
                    at.entry(destination).or_default().push(line.offset);
                }
            }
        }
    }
    before.retain(|offset| passed.is_none_or(|passed| *offset > passed));
    let before = Order::new(scene.before, before, passed);
    let former = Former::look(surveyor, scene, at.keys()).await?;
    let queue_of = |name: &str| {
        let known = scene.destinations.get(name).or(former.queues.get(name));
        known.copied().unwrap_or_default()
    };
    let at: HashMap<String, Order> = at
        .into_iter()
        .map(|(name, offsets)| {
            let order = Order::new(queue_of(&name), offsets, None);
            (name, order)
        })
        .collect();
    let mut fate = |line: &Line, due: &[String]| {
        if due.is_empty() {
            let fate = || not_stored(line.offset, before, scene.before, scene.hidden(None));
            return match was_seen(scene, line) {
                true => Fate::UnderWay,
                false => fate().or_under_way(|| altered.take(line)),
            };
        }
        let fates = due.iter().map(|destination| {
            if was_seen_at(scene, line, destination) {
                return Fate::UnderWay;
            }
            let order = at.get(destination).copied().unwrap_or_default();
            let hidden = scene.hidden(Some(destination));
            let hidden = hidden.or_else(|| former.hidden.get(destination).cloned());
            not_delivered(
                line.offset,
                destination,
                order,
                queue_of(destination),
                hidden,
            )
        });
        fates.max_by_key(Fate::rank).unwrap_or(Fate::UnderWay)
    };
    let mut batches = Batches {
        lines: open.lines().map_err(no_room)?,
    };
    loop {
        let batch = batches.next(surveyor).await?;
        if batch.is_empty() {
            break;
        }
        for (line, due) in batch {
            let fate = fate(&line, &due);
            match &fate {
                Fate::UnderWay => verdicts.under_way += 1,
                Fate::Stuck(_) => verdicts.stuck += 1,
                Fate::Unknown(_) => verdicts.unknown += 1,
            }
            if fate != Fate::UnderWay && verdicts.named.len() < MAX_NAMED {
                verdicts.named.push((line, None, fate));
            }
        }
    }
    verdicts.named.sort_by_key(|(line, ..)| line.offset);
    let named = verdicts.named.iter().filter_map(|(line, ..)| line.event());
    let events: Vec<EventId> = named.collect();
    let mut standings = surveyor.store.at_rest(&events).await?.into_iter();
    for (line, standing, _) in &mut verdicts.named {
        if line.event().is_some() {
            *standing = standings.next().flatten();
        }
    }
    Ok(verdicts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Queue = Queue {
        ready: 0,
        is_consumed: false,
    };
    const CONSUMED: Queue = Queue {
        ready: 2,
        is_consumed: true,
    };

    #[test]
    fn a_queue_holds_the_newest_that_have_not_passed() {
        let order = Order::new(CONSUMED, vec![5, 9, 7, 8], Some(6));
        assert_eq!(order.oldest, Some(8));
        for (offset, has) in [(5, false), (7, false), (8, true), (9, true), (10, true)] {
            assert_eq!(order.has(offset), has, "{offset}");
        }
        assert!(!Order::new(IDLE, vec![1, 2], None).has(2), "it is empty");
    }

    #[test]
    fn what_is_overtaken_is_stuck_and_what_may_be_hidden_is_unknown() {
        let order = Order::new(CONSUMED, vec![7, 8, 9], Some(6));
        let of = |offset, queue, hidden: Option<&str>| {
            not_stored(offset, order, queue, hidden.map(str::to_owned)).rank()
        };
        assert_eq!(of(9, CONSUMED, None), 0);
        assert_eq!(of(9, CONSUMED, Some("suspects")), 0, "it has its place");
        assert_eq!(of(5, CONSUMED, None), 2, "overtaken");
        assert_eq!(of(5, CONSUMED, Some("suspects")), 1);
        assert_eq!(of(7, CONSUMED, None), 1, "in hand, or gone");
        assert_eq!(of(7, IDLE, None), 2, "in nobody's hand");
    }

    #[test]
    fn a_delivery_in_hand_cannot_be_told_from_one_that_is_gone() {
        let order = Order::new(CONSUMED, vec![7, 8, 9], None);
        let of = |offset, queue, hidden: Option<&str>| {
            not_delivered(offset, "crm", order, queue, hidden.map(str::to_owned)).rank()
        };
        assert_eq!((of(8, CONSUMED, None), of(7, CONSUMED, None)), (0, 1));
        assert_eq!((of(7, IDLE, None), of(7, IDLE, Some("x"))), (2, 1));
    }
}
