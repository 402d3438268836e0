//! Places in the order of an ordered destination, as rows.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::text::{moment, number};
use crate::event::{EventId, OrderKey};
use crate::store::{NewEvent, OrderedDelivery, Rank, RankQuestion, StoreError};

/// No hold lasts longer, and nobody waits so long for an earlier event: a moment that lies further away is by a clock that was set.
const FARTHEST: time::Duration = time::Duration::HOUR;

/// A new row.
#[derive(Serialize)]
pub(in crate::store) struct PlaceRow {
    pub destination: String,
    pub event: Uuid,
    pub generation: i64,
    pub key: Uuid,
    #[serde(serialize_with = "moment")]
    pub received_at: OffsetDateTime,
}

impl PlaceRow {
    /// The place of a delivery at a destination.
    pub(in crate::store) fn of(destination: &str, delivery: &OrderedDelivery) -> Self {
        Self {
            destination: destination.to_owned(),
            event: delivery.event.uuid(),
            generation: delivery.generation.into(),
            key: delivery.key.0,
            received_at: delivery.received_at,
        }
    }
}

/// The places of stored events; none of one that waits for its moment.
pub(in crate::store) fn places(events: &[&NewEvent]) -> Vec<PlaceRow> {
    let of_event = |event: &&NewEvent| {
        let delivery = event.ordered.as_ref().map(|ordered| OrderedDelivery {
            event: event.id,
            generation: event.generation,
            key: ordered.key,
            received_at: event.received_at,
        });
        let destinations = event.ordered.iter().flat_map(|it| &it.destinations);
        let places = destinations.zip(std::iter::repeat(delivery));
        let places = places.filter_map(|(name, delivery)| Some(PlaceRow::of(name, &delivery?)));
        places.collect::<Vec<_>>()
    };
    let due = events.iter().filter(|event| !event.waits());
    due.flat_map(of_event).collect()
}

/// A row, and whether another one is before it.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct RankRow {
    event_id: Uuid,
    is_behind: bool,
    entered_at: OffsetDateTime,
    held_by: Option<Uuid>,
    held_until: Option<OffsetDateTime>,
    /// Now, by the clock that wrote the other moments.
    at: OffsetDateTime,
}

impl RankRow {
    pub(in crate::store) fn event(&self) -> Uuid {
        self.event_id
    }

    /// Where it stands.
    pub(in crate::store) fn rank(&self, question: &RankQuestion) -> Rank {
        if self.is_behind {
            return Rank::Behind;
        }
        let remaining = |until: OffsetDateTime, longest: time::Duration| {
            let remaining = until - self.at;
            let is_due = remaining <= time::Duration::ZERO || remaining > longest;
            (!is_due).then(|| Duration::try_from(remaining).unwrap_or_default())
        };
        let within = time::Duration::try_from(question.within).unwrap_or(FARTHEST);
        if let Some(wait) = remaining(self.entered_at + within, within) {
            return Rank::Unsettled(wait);
        }
        match (self.held_by, self.held_until) {
            (Some(by), Some(until)) if by != question.worker => {
                remaining(until, FARTHEST).map_or(Rank::First, Rank::Held)
            }
            _ => Rank::First,
        }
    }
}

/// The ranks in the order asked, out of rows in any order.
pub(in crate::store) fn in_order(
    rows: &[RankRow],
    question: &RankQuestion,
    asked: &[OrderedDelivery],
) -> Vec<Rank> {
    let ranks: HashMap<Uuid, Rank> = rows
        .iter()
        .map(|row| (row.event_id, row.rank(question)))
        .collect();
    let rank = |delivery: &OrderedDelivery| ranks.get(&delivery.event.uuid()).copied();
    asked
        .iter()
        .map(|delivery| rank(delivery).unwrap_or(Rank::Unordered))
        .collect()
}

/// Those without a place.
pub(in crate::store) fn without_place<'a>(
    rows: &'a [RankRow],
    asked: &'a [OrderedDelivery],
) -> impl Iterator<Item = &'a OrderedDelivery> {
    let has_place: HashSet<Uuid> = rows.iter().map(|row| row.event_id).collect();
    asked
        .iter()
        .filter(move |delivery| !has_place.contains(&delivery.event.uuid()))
}

/// A delivery that has a place.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct OrderedRow {
    event_id: Uuid,
    generation: i64,
    order_key: Uuid,
    received_at: OffsetDateTime,
}

impl TryFrom<OrderedRow> for OrderedDelivery {
    type Error = StoreError;

    fn try_from(row: OrderedRow) -> Result<Self, StoreError> {
        Ok(Self {
            event: EventId(row.event_id),
            generation: number("ordered_deliveries.generation", row.generation)?,
            key: OrderKey(row.order_key),
            received_at: row.received_at,
        })
    }
}

/// The keys of places that were given up, out of rows of event and key; the known key where there was none.
pub(in crate::store) fn keys_of(
    rows: Vec<(Uuid, Uuid)>,
    ended: &[OrderedDelivery],
) -> Vec<OrderKey> {
    let keys: HashMap<Uuid, Uuid> = rows.into_iter().collect();
    let key = |it: &OrderedDelivery| keys.get(&it.event.uuid()).copied().map(OrderKey);
    ended.iter().map(|it| key(it).unwrap_or(it.key)).collect()
}

/// The first event of each key, out of rows of key and event.
pub(in crate::store) fn first_of(
    rows: Vec<(Uuid, Uuid)>,
    keys: &[OrderKey],
) -> Vec<Option<EventId>> {
    let first: HashMap<Uuid, Uuid> = rows.into_iter().collect();
    let of_key = |key: &OrderKey| first.get(&key.0).copied().map(EventId);
    keys.iter().map(of_key).collect()
}
