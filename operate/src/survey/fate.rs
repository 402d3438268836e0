//! The judgement on an event that is at rest nowhere.

use std::collections::HashMap;

use common::bootstrap::Failure;
use common::event::EventId;
use common::store::Standing;
use common::topology::Names;
use serde::Serialize;
use uuid::Uuid;

use super::batches::Batches;
use super::census;
use super::room::Seat;
use super::scene::{Ready, Scene, unseen};
use super::spill::Line;
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
    // First how many there are of each kind: a queue has room for a limited number.
    let mut before = Vec::new();
    let mut altered = Altered(scene.look.entries());
    let mut at: HashMap<String, Vec<u64>> = HashMap::new();
    let mut is_due = false;
    let mut batches = Batches::of(&mut open.lines)?;
    while let Some(batch) = batches.next(surveyor).await? {
        for (line, due) in batch {
            if due.is_empty() {
                if scene.look.has(&line) {
                    // It is one of these itself.
                    altered.take(&line);
                } else {
                    // Each time that it was received it became a message.
                    before.extend(std::iter::repeat_n(line.offset, line.copies as usize));
                }
            }
            is_due |= !due.is_empty();
            for destination in due {
                if !was_seen_at(scene, &line, &destination) {
                    at.entry(destination).or_default().push(line.offset);
                }
            }
        }
    }
    let census = &mut open.census;
    let before = census.before(surveyor, scene, before, open.passed).await?;
    let former = Former::look(surveyor, scene, at.keys()).await?;
    let mut queues = scene.destinations.clone();
    queues.extend(former.queues);
    let at = census::at_destinations(surveyor, scene, &queues, at).await?;
    let mut fate = |line: &Line, due: &[String]| {
        if due.is_empty() {
            let is_consumed = scene.before.is_consumed;
            let fate = || not_stored(before.seat(line.offset), is_consumed, scene.hidden(None));
            return match scene.look.has(line) {
                true => Fate::UnderWay,
                false => fate().or_under_way(|| altered.take(line)),
            };
        }
        let fates = due.iter().map(|destination| {
            if was_seen_at(scene, line, destination) {
                return Fate::UnderWay;
            }
            let seat = at.get(destination).map(|room| room.seat(line.offset));
            let is_consumed = queues.get(destination).is_some_and(|it| it.is_consumed);
            let hidden = scene.hidden(Some(destination));
            let hidden = hidden.or_else(|| former.hidden.get(destination).cloned());
            not_delivered(destination, seat.unwrap_or(Seat::None), is_consumed, hidden)
        });
        fates.max_by_key(Fate::rank).unwrap_or(Fate::UnderWay)
    };
    let mut batches = Batches::of(&mut open.lines)?.due_somewhere(is_due);
    while let Some(batch) = batches.next(surveyor).await? {
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
