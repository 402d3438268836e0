//! The ledger: the requests, the fate of each, and whether the sums add up.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use common::event::EventId;
use common::reason::ReasonCode;
use common::store::{DeliveryState, EventStatus, Standing};
use serde::Serialize;

use super::input::{Expect, Line};
use super::receiver::Seen;
use super::send::Door;
use crate::percentiles::{Percentiles, Samples};

/// The facts that are known at the end.
pub(super) struct Facts<'a> {
    /// The requests.
    pub(super) lines: &'a [Line],
    /// The answer of the door to each line.
    pub(super) doors: &'a [Door],
    /// Every event at rest, while the receivers were not mended.
    pub(super) before: &'a HashMap<EventId, EventStatus>,
    /// Every event at rest, after the replay.
    pub(super) after: &'a HashMap<EventId, EventStatus>,
    /// How often each id was refused as an `idempotency_conflict`.
    pub(super) conflicts: &'a HashMap<EventId, u64>,
    /// The posts that the receivers have seen.
    pub(super) receivers: BTreeMap<&'static str, Seen>,
    /// Dead letters that were sent again.
    pub(super) replayed: u64,
    /// Letters with this reason were left dead on purpose.
    pub(super) left_dead: Option<ReasonCode>,
}

/// The ledger. Counts of requests, unless said otherwise.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Ledger {
    /// The engines that carried the messages and kept the rows.
    pub(super) engines: String,
    /// Whether the sums add up and everything came as expected.
    pub(super) balances: bool,
    /// Requests sent.
    pub(super) sent: u64,
    /// Refused at the door, by code.
    pub(super) refused: BTreeMap<String, u64>,
    /// Answered with 202.
    pub(super) accepted: u64,
    /// Stored and delivered everywhere.
    pub(super) completed: u64,
    /// Sent again under an existing id, with the same content: counted once.
    pub(super) repeats: u64,
    /// Refused by a rule of the pipeline, by code.
    pub(super) rejected: BTreeMap<String, u64>,
    /// Dead, after the replay.
    pub(super) dead: u64,
    /// Events that died before the receivers were mended.
    pub(super) died: u64,
    /// Dead letters that were sent again.
    pub(super) replayed: u64,
    /// Deliveries made.
    pub(super) deliveries: u64,
    /// Attempts of deliveries, those of deliveries that died included.
    pub(super) attempts: u64,
    /// The posts that each receiver has seen.
    pub(super) receivers: BTreeMap<&'static str, Seen>,
    /// Time from the door to the database.
    pub(super) to_stored: Option<Percentiles>,
    /// Time from the door to each delivery, faults and waits included.
    pub(super) to_delivered: Option<Percentiles>,
    /// All differences in the sums, and all unexpected results.
    pub(super) problems: Vec<String>,
}

impl Ledger {
    /// Draws the ledger up.
    pub(super) fn draw(facts: Facts<'_>) -> Self {
        let mut ledger = Self {
            sent: facts.lines.len() as u64,
            replayed: facts.replayed,
            ..Self::default()
        };
        let mut ids = HashSet::new();
        for door in facts.doors {
            match door {
                Door::Accepted(id) => {
                    ledger.accepted += 1;
                    ids.insert(*id);
                }
                Door::Refused(code) => *ledger.refused.entry(code.clone()).or_default() += 1,
                Door::Failed(problem) => {
                    ledger.problems.push(format!("a request failed: {problem}"));
                }
            }
        }
        for &id in &ids {
            ledger.event(id, &facts);
        }
        let conflicts: u64 = facts.conflicts.values().sum();
        if conflicts > 0 {
            let code = ReasonCode::IdempotencyConflict.to_string();
            *ledger.rejected.entry(code).or_default() += conflicts;
        }
        ledger.repeats = ledger.accepted.saturating_sub(ids.len() as u64 + conflicts);
        ledger.times(&ids, facts.after);
        ledger.expectations(&facts);
        ledger.receivers = facts.receivers;
        ledger.sums();
        ledger.balances = ledger.problems.is_empty();
        ledger
    }

    /// Counts one event.
    fn event(&mut self, id: EventId, facts: &Facts<'_>) {
        let Some(after) = facts.after.get(&id) else {
            self.problems.push(format!(
                "event {id} was accepted and nothing is known of it"
            ));
            return;
        };
        match after.status {
            Standing::Completed => self.completed += 1,
            Standing::Rejected => {
                let code = code(after).map_or_else(String::new, |code| code.to_string());
                *self.rejected.entry(code).or_default() += 1;
            }
            Standing::Dead => self.dead += 1,
            other @ (Standing::Scheduled
            | Standing::Stored
            | Standing::Delivering
            | Standing::Cancelled) => self.problems.push(format!(
                "event {id} has not ended as it should: it is {other}"
            )),
        }
        let before = facts.before.get(&id);
        if before.is_some_and(|before| before.status == Standing::Dead) {
            self.died += 1;
        }
        for delivery in &after.deliveries {
            self.deliveries += u64::from(delivery.status == DeliveryState::Delivered);
            self.attempts += u64::from(delivery.attempts);
            let earlier = before
                .into_iter()
                .flat_map(|before| &before.deliveries)
                .find(|earlier| {
                    earlier.destination == delivery.destination
                        && earlier.generation < delivery.generation
                });
            self.attempts += earlier.map_or(0, |earlier| u64::from(earlier.attempts));
        }
    }

    fn times(&mut self, ids: &HashSet<EventId>, after: &HashMap<EventId, EventStatus>) {
        let since_received = |wanted: &str| -> Option<Percentiles> {
            let mut samples = Samples::default();
            for status in ids.iter().filter_map(|id| after.get(id)) {
                let steps = || status.timeline.iter();
                let Some(received) = steps().find(|step| step.step == "received") else {
                    continue;
                };
                for step in steps().filter(|step| step.step == wanted) {
                    let took = step.at.0 - received.at.0;
                    samples.push(Duration::try_from(took).unwrap_or_default());
                }
            }
            samples.percentiles()
        };
        self.to_stored = since_received("stored");
        self.to_delivered = since_received("delivered");
    }

    /// Compares each line with its expected result.
    fn expectations(&mut self, facts: &Facts<'_>) {
        for (number, (line, door)) in facts.lines.iter().zip(facts.doors).enumerate() {
            let found = found(line, door, facts);
            let expected = (line.expect, line.code.clone());
            if found != Some(expected.clone()) {
                self.problems.push(format!(
                    "line {}: expected {}, found {}",
                    number + 1,
                    said(&expected),
                    found
                        .as_ref()
                        .map_or_else(|| "something else".to_owned(), said),
                ));
            }
        }
    }

    /// The sums that have to add up.
    fn sums(&mut self) {
        let refused: u64 = self.refused.values().sum();
        let rejected: u64 = self.rejected.values().sum();
        let at_rest = self.completed + self.repeats + rejected + self.dead;
        let taken: u64 = self.receivers.values().map(|seen| seen.taken).sum();
        let duplicates: u64 = self.receivers.values().map(|seen| seen.duplicates).sum();
        let sums = [
            (
                "sent",
                self.sent,
                "refused + accepted",
                refused + self.accepted,
            ),
            (
                "accepted",
                self.accepted,
                "completed + repeats + rejected + dead",
                at_rest,
            ),
            (
                "deliveries",
                self.deliveries,
                "deliveries that receivers took",
                taken,
            ),
            ("deliveries made twice", duplicates, "none", 0),
        ];
        for (what, left, of, right) in sums {
            if left != right {
                self.problems
                    .push(format!("{what} is {left}, {of} is {right}"));
            }
        }
    }
}

fn code(status: &EventStatus) -> Option<ReasonCode> {
    status.reason.as_ref().map(|reason| reason.code)
}

/// The result of a line, in the terms of expected results.
fn found(line: &Line, door: &Door, facts: &Facts<'_>) -> Option<(Expect, Option<String>)> {
    let id = match door {
        Door::Refused(code) => return Some((Expect::Refused, Some(code.clone()))),
        Door::Failed(_) => return None,
        Door::Accepted(id) => id,
    };
    let conflict = ReasonCode::IdempotencyConflict.as_str();
    if line.code.as_deref() == Some(conflict) && facts.conflicts.get(id).is_some_and(|&it| it > 0) {
        return Some((Expect::Rejected, line.code.clone()));
    }
    let (before, after) = (facts.before.get(id)?, facts.after.get(id)?);
    let code = |status| code(status).map(|code| code.to_string());
    match (before.status, after.status) {
        // An event that died has to be completed in the end.
        (Standing::Dead, Standing::Completed) => Some((Expect::Dead, code(before))),
        (Standing::Dead, Standing::Dead)
            if facts
                .left_dead
                .is_some_and(|left| self::code(before) == Some(left)) =>
        {
            Some((Expect::Dead, code(before)))
        }
        (Standing::Completed, Standing::Completed) => Some((Expect::Completed, None)),
        (Standing::Rejected, Standing::Rejected) => Some((Expect::Rejected, code(after))),
        _ => None,
    }
}

fn said((expect, code): &(Expect, Option<String>)) -> String {
    let word = match expect {
        Expect::Completed => "completed",
        Expect::Refused => "refused at the door",
        Expect::Rejected => "rejected",
        Expect::Dead => "dead, then completed after the replay",
    };
    match code {
        Some(code) => format!("{word} ({code})"),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests;
