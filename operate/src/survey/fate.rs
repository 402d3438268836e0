//! The judgement on an event that is at rest nowhere.

use std::collections::HashMap;

use common::bootstrap::Failure;
use common::event::EventId;
use common::store::Standing;
use common::topology::Names;
use serde::Serialize;
use uuid::Uuid;

use super::batches::{Batches, DueAt};
use super::census;
use super::room::{Room, Seat};
use super::scene::{Ready, Scene, unseen};
use super::spill::{Line, Spill};
use super::{MAX_NAMED, Open, Surveyor};

/// The problem of an event.
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

/// The judgement on an event.
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

/// The judgements on all of them.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    pub(super) under_way: u64,
    pub(super) stuck: u64,
    pub(super) unknown: u64,
    /// The first stuck or unknown events.
    pub(super) named: Vec<(Line, Option<Standing>, Fate)>,
}

/// An event that is not stored, and of which no message was seen.
fn not_stored(seat: Seat, is_consumed: bool, hidden: Option<String>) -> Fate {
    if seat == Seat::Sure {
        return Fate::UnderWay;
    }
    if let Some(hidden) = hidden {
        return Fate::Unknown(format!("in no table; {hidden}"));
    }
    match seat {
        Seat::Perhaps(why) => Fate::Unknown(format!("in no table; {why}")),
        Seat::Overtaken => {
            Fate::Stuck("in no table and in no queue; later ones have passed it".to_owned())
        }
        _ if is_consumed => Fate::Unknown(
            "in no table; fewer messages wait than events are on the way: a worker has it in hand, or it is gone"
                .to_owned(),
        ),
        _ => Fate::Stuck("in no table and in no queue".to_owned()),
    }
}

/// A stored event that is due at a destination, and of which no message was seen there.
fn not_delivered(destination: &str, seat: Seat, is_consumed: bool, hidden: Option<String>) -> Fate {
    if seat == Seat::Sure {
        return Fate::UnderWay;
    }
    if let Some(hidden) = hidden {
        return Fate::Unknown(format!("due at {destination}; {hidden}"));
    }
    match seat {
        Seat::Perhaps(why) => Fate::Unknown(format!("due at {destination}; {why}")),
        _ if is_consumed => Fate::Unknown(format!(
            "due at {destination}, and not found waiting: its worker has it in hand, or it is gone"
        )),
        _ => Fate::Stuck(format!("due at {destination} and in no queue")),
    }
}

fn was_seen_at(scene: &Scene, line: &Line, destination: &str) -> bool {
    let event = Uuid::from_u128(line.key);
    scene.look.has_delivery(event, destination)
}

/// Destinations that are no longer configured. Their queues may hold deliveries that were due
/// there.
#[derive(Default)]
struct Former {
    queues: HashMap<String, Ready>,
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
                let queue = Ready {
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

/// What is open, by the queue that it may wait in: only as many as that holds have room there.
struct Claims {
    /// The places of those that are not stored, each as often as it was received.
    before: Vec<u64>,
    /// The places of those that are due at a destination.
    at: HashMap<String, Vec<u64>>,
    altered: Altered,
    is_due: bool,
}

impl Claims {
    async fn count(
        surveyor: &Surveyor<'_>,
        lines: &mut Spill,
        scene: &Scene,
    ) -> Result<Self, Failure> {
        let mut claims = Self {
            before: Vec::new(),
            at: HashMap::new(),
            altered: Altered(scene.look.entries()),
            is_due: false,
        };
        let mut batches = Batches::of(lines)?;
        while let Some(batch) = batches.next(surveyor).await? {
            for (line, due) in batch {
                claims.add(scene, &line, due);
            }
        }
        Ok(claims)
    }

    fn add(&mut self, scene: &Scene, line: &Line, due: DueAt) {
        self.is_due |= !due.is_empty();
        if due.is_empty() {
            if scene.look.has(line) {
                // It is one of these itself.
                self.altered.take(line);
            } else {
                // Each time that it was received it became a message.
                let each = std::iter::repeat_n(line.offset, line.copies as usize);
                self.before.extend(each);
            }
        }
        for destination in due.destinations {
            if !was_seen_at(scene, line, &destination) {
                self.at.entry(destination).or_default().push(line.offset);
            }
        }
    }
}

/// The room that the queues have for what is open.
struct Rooms<'a> {
    scene: &'a Scene,
    before: Room,
    at: HashMap<String, Room>,
    queues: HashMap<String, Ready>,
    /// Why something may be at a former destination, where nobody looked.
    hidden: HashMap<String, String>,
    altered: Altered,
}

impl Rooms<'_> {
    fn fate(&mut self, line: &Line, due: &DueAt) -> Fate {
        if !due.is_empty() {
            let fates = due
                .destinations
                .iter()
                .map(|destination| self.fate_at(line, destination));
            return fates.max_by_key(Fate::rank).unwrap_or(Fate::UnderWay);
        }
        if self.scene.look.has(line) {
            return Fate::UnderWay;
        }
        let seat = self.before.seat(line.offset);
        let is_consumed = self.scene.before.is_consumed;
        let fate = not_stored(seat, is_consumed, self.scene.hidden(None));
        fate.or_under_way(|| self.altered.take(line))
    }

    fn fate_at(&self, line: &Line, destination: &str) -> Fate {
        if was_seen_at(self.scene, line, destination) {
            return Fate::UnderWay;
        }
        let seat = self.at.get(destination).map(|room| room.seat(line.offset));
        let queue = self.queues.get(destination);
        let hidden = self.scene.hidden(Some(destination));
        let hidden = hidden.or_else(|| self.hidden.get(destination).cloned());
        not_delivered(
            destination,
            seat.unwrap_or(Seat::None),
            queue.is_some_and(|it| it.is_consumed),
            hidden,
        )
    }
}

impl Verdicts {
    fn add(&mut self, line: Line, fate: Fate) {
        match &fate {
            Fate::UnderWay => self.under_way += 1,
            Fate::Stuck(_) => self.stuck += 1,
            Fate::Unknown(_) => self.unknown += 1,
        }
        if fate != Fate::UnderWay && self.named.len() < MAX_NAMED {
            self.named.push((line, None, fate));
        }
    }

    /// Looks up where those stand that are named, in the order in which they were received.
    async fn look_up(&mut self, surveyor: &Surveyor<'_>) -> Result<(), Failure> {
        self.named.sort_by_key(|(line, ..)| line.offset);
        let named = self.named.iter().filter_map(|(line, ..)| line.event());
        let events: Vec<EventId> = named.collect();
        let mut standings = surveyor.store.standings(&events).await?.into_iter();
        for (line, standing, _) in &mut self.named {
            if line.event().is_some() {
                *standing = standings.next().flatten();
            }
        }
        Ok(())
    }
}

/// Judges every line that is open.
pub(super) async fn judge(
    surveyor: &Surveyor<'_>,
    open: &mut Open,
    scene: &Scene,
) -> Result<Verdicts, Failure> {
    let mut verdicts = Verdicts::default();
    if open.lines.len() == 0 {
        return Ok(verdicts);
    }
    let claims = Claims::count(surveyor, &mut open.lines, scene).await?;
    let census = &mut open.census;
    let before = census
        .before(surveyor, scene, claims.before, open.passed)
        .await?;
    let former = Former::look(surveyor, scene, claims.at.keys()).await?;
    let mut queues = scene.destinations.clone();
    queues.extend(former.queues);
    let mut rooms = Rooms {
        scene,
        before,
        at: census::at_destinations(surveyor, scene, &queues, claims.at).await?,
        queues,
        hidden: former.hidden,
        altered: claims.altered,
    };
    let mut batches = Batches::of(&mut open.lines)?.due_somewhere(claims.is_due);
    while let Some(batch) = batches.next(surveyor).await? {
        for (line, due) in batch {
            let fate = rooms.fate(&line, &due);
            verdicts.add(line, fate);
        }
    }
    verdicts.look_up(surveyor).await?;
    Ok(verdicts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_overtaken_is_stuck_and_what_may_be_hidden_is_unknown() {
        let of = |seat, is_consumed, hidden: Option<&str>| {
            not_stored(seat, is_consumed, hidden.map(str::to_owned)).rank()
        };
        let perhaps = || Seat::Perhaps("others wait as well".to_owned());
        assert_eq!(of(Seat::Sure, true, None), 0);
        assert_eq!(
            of(Seat::Sure, true, Some("suspects")),
            0,
            "it has its place"
        );
        assert_eq!(of(Seat::Overtaken, true, None), 2);
        assert_eq!(of(Seat::Overtaken, true, Some("suspects")), 1);
        assert_eq!(of(perhaps(), false, None), 1);
        assert_eq!(of(Seat::None, true, None), 1, "in hand, or gone");
        assert_eq!(of(Seat::None, false, None), 2, "in nobody's hand");
    }

    #[test]
    fn a_delivery_in_hand_cannot_be_told_from_one_that_is_gone() {
        let of = |seat, is_consumed, hidden: Option<&str>| {
            not_delivered("crm", seat, is_consumed, hidden.map(str::to_owned)).rank()
        };
        assert_eq!(
            (of(Seat::Sure, true, None), of(Seat::None, true, None)),
            (0, 1)
        );
        let hidden = of(Seat::None, false, Some("suspects"));
        assert_eq!((of(Seat::None, false, None), hidden), (2, 1));
        assert_eq!(of(Seat::Perhaps(String::new()), false, None), 1);
    }
}
