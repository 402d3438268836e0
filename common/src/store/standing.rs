//! The standing of an event, worked out from the facts about it. Every engine looks up the facts; the rules are
//! here alone.
//!
//! - An event that is stored is judged by its deliveries, the newest generation at each destination:
//!   while one is due it is `delivering` (`stored` as long as nothing was tried); else one that is
//!   dead makes it `dead`; else it is `completed`. Rejections beside it change nothing of that: they were
//!   about another content under the same id, and stand as `conflicts` beside it.
//! - An event that is not stored is `dead` while a dead letter of it is open: somebody has to do
//!   something. Else the newest thing that is known decides: a rejection makes it `rejected`, a
//!   discarded dead letter `dead`, and one that was sent again `delivering`: it is on its way, and
//!   will be known as something else soon.
//! - An event that waits for its moment is `scheduled`, or `dead` if it was given up when the moment had come; one that was cancelled
//!   meanwhile is `cancelled`, unless somebody has sent it to a destination all the same.
//! - Deliveries without a stored event are of somebody who publishes to `stored` directly; they are
//!   judged like those of a stored one.

mod facts;

use std::collections::BTreeMap;

use self::facts::{DeliveryFact, EventFact, LetterFact, RejectionFact, ScheduleFact};
use super::StoreError;
use super::rows::{
    Conflict, DeadState, DeliveryState, DeliveryStatus, EventStatus, FilteredDestination, Moment,
    RejectionRecord, Standing, Timeline,
};
use super::tables::text::json;
use crate::event::{EventId, Publisher};
use crate::reason::ReasonCode;

/// Maximum number of conflicts in a status.
const MAX_CONFLICTS: usize = 20;

/// All that is known of one event.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub event: Option<EventFact>,
    pub deliveries: Vec<DeliveryFact>,
    pub letters: Vec<LetterFact>,
    pub rejections: Vec<RejectionFact>,
}

/// All that is known of one event, as engines read it: each part a JSON document.
#[derive(sqlx_macros::FromRow)]
pub(super) struct FactRow {
    /// The place of the event among those asked for, from 0 on.
    place: i64,
    event: Option<String>,
    deliveries: String,
    letters: String,
    rejections: String,
}

impl TryFrom<&FactRow> for Facts {
    type Error = StoreError;

    fn try_from(row: &FactRow) -> Result<Self, StoreError> {
        let event = row.event.as_deref().map(|text| json("events", text));
        let mut facts = Self {
            event: event.transpose()?,
            deliveries: json("deliveries", &row.deliveries)?,
            letters: json("dead_letters", &row.letters)?,
            rejections: json("rejections", &row.rejections)?,
        };
        facts.letters.sort_by_key(|letter| letter.last_failed_at);
        facts
            .rejections
            .sort_by_key(|rejection| rejection.rejected_at);
        Ok(facts)
    }
}

impl Facts {
    /// The facts of each of `asked` events; nothing is known of those without a row.
    pub(super) fn in_order(rows: &[FactRow], asked: usize) -> Result<Vec<Self>, StoreError> {
        let mut all: Vec<Self> = std::iter::repeat_with(Self::default).take(asked).collect();
        for row in rows {
            let place = usize::try_from(row.place).ok();
            if let Some(facts) = place.and_then(|place| all.get_mut(place)) {
                *facts = Self::try_from(row)?;
            }
        }
        Ok(all)
    }

    /// The standing of the event in one word; `None` if nothing is known of it.
    pub(super) fn standing(&self) -> Option<Standing> {
        Some(self.judgement()?.0)
    }

    /// The status of the event; `None` if nothing is known of it.
    pub(super) fn judge(mut self, id: EventId) -> Option<EventStatus> {
        let (standing, reason) = self.judgement()?;
        let conflicts = self.conflicts();
        if self.is_stored() {
            self.rejections.clear();
        }
        Some(EventStatus {
            id,
            kind: self.kind(),
            publisher: self.publisher(),
            status: standing,
            not_before: self.schedule().map(|schedule| schedule.not_before),
            is_held: self
                .schedule()
                .is_some_and(|schedule| schedule.released_at.is_none()),
            timeline: self.timeline(),
            deliveries: self
                .newest_deliveries()
                .map(|it| self.delivery(it))
                .collect(),
            filtered: self.filtered(),
            reason,
            conflicts,
        })
    }

    /// The newest events that were turned away because another content is stored.
    fn conflicts(&self) -> Vec<Conflict> {
        let is_conflict = |it: &&RejectionFact| it.reason == ReasonCode::IdempotencyConflict;
        let found = self.rejections.iter().filter(is_conflict);
        let found: Vec<Conflict> = found.map(Conflict::from).collect();
        let beyond = found.len().saturating_sub(MAX_CONFLICTS);
        found.into_iter().skip(beyond).collect()
    }

    /// The destinations whose filter passed over the event, but for those where it is due all the same: by a replay, after a
    /// change of the filter.
    fn filtered(&self) -> Vec<FilteredDestination> {
        let filtered = self.event.iter().flat_map(|event| &event.filtered);
        let is_due = |name: &String| self.deliveries.iter().any(|it| it.destination == *name);
        let filtered = filtered.flatten().filter(|it| !is_due(&it.destination));
        filtered.cloned().collect()
    }

    /// A delivery, and why it was given up if it was.
    fn delivery(&self, fact: &DeliveryFact) -> DeliveryStatus {
        let given_up = fact.status == DeliveryState::Dead;
        let letter = self.letters.iter().rev().find(|letter| letter.is_of(fact));
        DeliveryStatus {
            reason: letter.filter(|_| given_up).map(|letter| letter.reason),
            ..fact.into()
        }
    }

    fn judgement(&self) -> Option<(Standing, Option<RejectionRecord>)> {
        if let Some(judgement) = self.by_schedule() {
            return Some(judgement);
        }
        if self.is_stored() {
            Some(self.by_deliveries())
        } else {
            self.by_the_newest()
        }
    }

    fn schedule(&self) -> Option<ScheduleFact> {
        self.event.as_ref()?.schedule
    }

    fn by_schedule(&self) -> Option<(Standing, Option<RejectionRecord>)> {
        let schedule = self.schedule()?;
        if schedule.released_at.is_some() {
            return None;
        }
        if schedule.cancelled_at.is_some() {
            let is_cancelled = self.deliveries.is_empty();
            return is_cancelled.then_some((Standing::Cancelled, None));
        }
        // Its release has died in the store stage. What died before has brought the event here in another way.
        let earliest = schedule.not_before.0 - time::Duration::MINUTE;
        let given_up = |letter: &&LetterFact| {
            let is_given_up = matches!(letter.state, DeadState::Open | DeadState::Discarded);
            is_given_up && letter.destination.is_none() && letter.last_failed_at.0 >= earliest
        };
        Some(match self.letters.iter().rfind(given_up) {
            Some(letter) => (Standing::Dead, Some(letter.into())),
            None => (Standing::Scheduled, None),
        })
    }

    /// Whether it is stored, or was as somebody else sees it.
    fn is_stored(&self) -> bool {
        self.event.is_some() || !self.deliveries.is_empty()
    }

    fn by_deliveries(&self) -> (Standing, Option<RejectionRecord>) {
        let in_state = |state| {
            self.newest_deliveries()
                .filter(move |delivery| delivery.status == state)
        };
        if in_state(DeliveryState::Due).next().is_some() {
            let tried = self.deliveries.iter().any(|delivery| delivery.attempts > 0);
            let standing = if tried {
                Standing::Delivering
            } else {
                Standing::Stored
            };
            return (standing, None);
        }
        if in_state(DeliveryState::Dead).next().is_none() {
            return (Standing::Completed, None);
        }
        let why =
            self.letters.iter().rev().find(|letter| {
                in_state(DeliveryState::Dead).any(|delivery| letter.is_of(delivery))
            });
        (Standing::Dead, why.map(RejectionRecord::from))
    }

    fn by_the_newest(&self) -> Option<(Standing, Option<RejectionRecord>)> {
        let open = |letter: &&LetterFact| letter.state == DeadState::Open;
        if let Some(letter) = self.letters.iter().rfind(open) {
            return Some((Standing::Dead, Some(letter.into())));
        }
        // A later generation has taken its place, whether or not it is kept still.
        let is_superseded = |letter: &&LetterFact| letter.state == DeadState::Superseded;
        let letter = self.letters.iter().rfind(|it| !is_superseded(it));
        let letter = letter.or(self.letters.last());
        let rejection = self.rejections.last();
        match (letter, rejection) {
            (None, None) => None,
            (Some(letter), rejection)
                if rejection.is_none_or(|other| other.rejected_at < letter.last_failed_at) =>
            {
                Some(match letter.state {
                    DeadState::Open | DeadState::Discarded | DeadState::Superseded => {
                        (Standing::Dead, Some(letter.into()))
                    }
                    DeadState::Replaying | DeadState::Replayed => (Standing::Delivering, None),
                })
            }
            (_, rejection) => Some((Standing::Rejected, rejection.map(RejectionRecord::from))),
        }
    }

    fn kind(&self) -> Option<String> {
        let letters = self.letters.iter().rev().map(|letter| letter.kind.as_ref());
        let rejections = self.rejections.iter().rev().map(|other| Some(&other.kind));
        std::iter::once(self.event.as_ref().map(|event| &event.kind))
            .chain(rejections)
            .chain(letters)
            .find_map(Option::<&String>::cloned)
    }

    /// Who published it: by its row, or by the newest record of it.
    fn publisher(&self) -> Option<Publisher> {
        let rejections = self
            .rejections
            .iter()
            .rev()
            .map(|other| Some(&other.publisher));
        let letters = self
            .letters
            .iter()
            .rev()
            .map(|letter| letter.publisher.as_ref());
        std::iter::once(self.event.as_ref().map(|event| &event.publisher))
            .chain(rejections)
            .chain(letters)
            .find_map(|publisher| publisher.map(|text| Publisher::trusted(text)))
    }

    /// The deliveries of the newest generation at each destination, by destination.
    fn newest_deliveries(&self) -> impl Iterator<Item = &DeliveryFact> {
        let mut newest: BTreeMap<&str, &DeliveryFact> = BTreeMap::new();
        for delivery in &self.deliveries {
            let held = newest.entry(&delivery.destination).or_insert(delivery);
            if held.generation < delivery.generation {
                *held = delivery;
            }
        }
        newest.into_values()
    }

    fn timeline(&self) -> Vec<Timeline> {
        let mut steps = Vec::new();
        let mut step = |step, at: Option<Moment>, destination: Option<&String>| {
            if let Some(at) = at {
                steps.push(Timeline {
                    step,
                    at,
                    destination: destination.cloned(),
                });
            }
        };
        if let Some(event) = &self.event {
            step("received", Some(event.received_at), None);
            step("accepted", Some(event.accepted_at), None);
            step("stored", Some(event.stored_at), None);
            let released_at = event.schedule.and_then(|it| it.released_at);
            step("released", released_at, None);
            step(
                "cancelled",
                event.schedule.and_then(|it| it.cancelled_at),
                None,
            );
            for filtered in event.filtered.iter().flatten() {
                let destination = Some(&filtered.destination);
                step(
                    "filtered",
                    Some(released_at.unwrap_or(event.stored_at)),
                    destination,
                );
            }
        }
        for rejection in &self.rejections {
            step("received", rejection.received_at, None);
            step("rejected", Some(rejection.rejected_at), None);
        }
        for delivery in &self.deliveries {
            step(
                "delivered",
                delivery.delivered_at,
                Some(&delivery.destination),
            );
        }
        for letter in &self.letters {
            let destination = letter.destination.as_ref();
            step("dead", Some(letter.last_failed_at), destination);
            step("replayed", letter.replayed_at, destination);
        }
        // Stable: at one moment, in the order of an event's life.
        steps.sort_by_key(|step| step.at);
        steps
    }
}
