//! The order of deliveries at ordered destinations.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgConnection;
use uuid::Uuid;

use super::PostgresStore;
use super::columns::column;
use crate::event::{EventId, OrderKey};
use crate::store::tables::order::{
    OrderedRow, PlaceRow, RankRow, first_of, in_order, keys_of, without_place,
};
use crate::store::{DeliveryOrder, OrderedDelivery, Rank, RankQuestion, StoreError};

/// A newer generation of a delivery has the place of the older one.
const TAKE: &str = "INSERT INTO ordered_deliveries AS known
        (destination, event_id, generation, order_key, received_at)
    SELECT destination, event_id, generation, order_key, received_at
    FROM UNNEST($1::text[], $2::uuid[], $3::bigint[], $4::uuid[], $5::timestamptz[])
         AS given (destination, event_id, generation, order_key, received_at)
    ORDER BY destination, event_id
    ON CONFLICT (destination, event_id) DO UPDATE SET generation = excluded.generation
        WHERE known.generation < excluded.generation";

/// Only what is stored gets a place: nobody could send anything else when its turn comes. A replay of the history has no row yet.
const DUE: &str = "INSERT INTO deliveries (event_id, destination, generation)
    SELECT event_id, destination, generation
    FROM UNNEST($1::text[], $2::uuid[], $3::bigint[]) AS given (destination, event_id, generation)
    JOIN events USING (event_id)
    ORDER BY event_id, destination, generation
    ON CONFLICT (event_id, destination, generation) DO NOTHING";

const ENTER: &str = "INSERT INTO ordered_deliveries AS known
        (destination, event_id, generation, order_key, received_at)
    SELECT destination, event_id, generation, order_key, events.received_at
    FROM UNNEST($1::text[], $2::uuid[], $3::bigint[], $4::uuid[])
         AS given (destination, event_id, generation, order_key)
    JOIN events USING (event_id)
    JOIN deliveries AS due USING (event_id, destination, generation)
    WHERE due.status = 'due'
    ORDER BY destination, event_id
    ON CONFLICT (destination, event_id) DO UPDATE SET generation = excluded.generation
        WHERE known.generation < excluded.generation";

const LOOK: &str = "
    SELECT event_id, entered_at, held_by, held_until, clock_timestamp() AS at,
        EXISTS (SELECT FROM ordered_deliveries AS earlier
            WHERE earlier.destination = mine.destination AND earlier.order_key = mine.order_key
                AND (earlier.received_at, earlier.event_id) < (mine.received_at, mine.event_id)) AS is_behind
    FROM ordered_deliveries AS mine
    WHERE destination = $1 AND event_id = ANY($2)";

/// As `tables::order` ranks them: the first of their key, settled, and held by nobody else.
const HOLD: &str = "UPDATE ordered_deliveries AS mine
    SET held_by = $3, held_until = clock_timestamp() + $4 * interval '1 millisecond'
    WHERE destination = $1 AND event_id = ANY($2)
        AND NOT EXISTS (SELECT FROM ordered_deliveries AS earlier
            WHERE earlier.destination = mine.destination AND earlier.order_key = mine.order_key
                AND (earlier.received_at, earlier.event_id) < (mine.received_at, mine.event_id))
        AND (entered_at <= clock_timestamp() - $5 * interval '1 millisecond' OR entered_at > clock_timestamp())
        AND (held_by IS NULL OR held_by = $3 OR held_until <= clock_timestamp()
             OR held_until > clock_timestamp() + interval '1 hour')
    RETURNING event_id";

const LET_GO: &str = "UPDATE ordered_deliveries SET held_by = NULL, held_until = NULL
    WHERE destination = $1 AND held_by = $2 AND event_id = ANY($3)";

/// In one order, so that two that take the same rows away never wait for each other in a circle.
const LEAVE: &str = "DELETE FROM ordered_deliveries AS known USING (
        SELECT event_id FROM ordered_deliveries JOIN UNNEST($2::uuid[], $3::bigint[]) AS given (event_id, generation)
            USING (event_id)
        WHERE destination = $1 AND ordered_deliveries.generation <= given.generation
        ORDER BY event_id FOR UPDATE OF ordered_deliveries
    ) AS gone
    WHERE known.destination = $1 AND known.event_id = gone.event_id
    RETURNING known.event_id, known.order_key";

const FIRST_OF: &str = "WITH first AS (
        SELECT keys.order_key, first.event_id
        FROM UNNEST($2::uuid[]) AS keys (order_key)
        CROSS JOIN LATERAL (
            SELECT event_id FROM ordered_deliveries AS known
            WHERE known.destination = $1 AND known.order_key = keys.order_key AND known.event_id <> ALL($3)
            ORDER BY received_at, event_id LIMIT 1
        ) AS first
    ),
    told AS (
        UPDATE ordered_deliveries AS known SET first_at = clock_timestamp() FROM first
        WHERE known.destination = $1 AND known.event_id = first.event_id
    )
    SELECT order_key, event_id FROM first";

const ENDED_FIRST: &str = "WITH first AS (
        SELECT DISTINCT ON (order_key) event_id, generation, order_key, received_at, held_until
        FROM ordered_deliveries WHERE destination = $1
        ORDER BY order_key, received_at, event_id
    )
    SELECT first.event_id, first.generation, first.order_key, first.received_at
    FROM first CROSS JOIN LATERAL (
        SELECT status FROM deliveries AS known
        WHERE known.event_id = first.event_id AND known.destination = $1
        ORDER BY generation DESC LIMIT 1
    ) AS newest
    WHERE (held_until IS NULL OR held_until <= clock_timestamp())
        AND (status IN ('delivered', 'discarded') OR ($2 AND status = 'dead'))
    ORDER BY received_at, event_id LIMIT $3";

const UNORDERED: &str = "SELECT destination FROM ordered_deliveries WHERE destination <> ALL($1)
    GROUP BY destination HAVING max(entered_at) < clock_timestamp() - $2 * interval '1 millisecond'";

const PLACES: &str = "SELECT event_id, generation, order_key, received_at FROM ordered_deliveries
    WHERE destination = $1 ORDER BY received_at, event_id LIMIT $2";

/// Gives stored events their places.
pub(super) async fn take_places(
    connection: &mut PgConnection,
    places: Vec<PlaceRow>,
) -> Result<(), sqlx::Error> {
    if places.is_empty() {
        return Ok(());
    }
    sqlx::query(TAKE)
        .bind(column(&places, |row| row.destination.as_str()))
        .bind(column(&places, |row| row.event))
        .bind(column(&places, |row| row.generation))
        .bind(column(&places, |row| row.key))
        .bind(column(&places, |row| row.received_at))
        .execute(connection)
        .await?;
    Ok(())
}

/// Gives deliveries their places that have none yet.
async fn enter(connection: &mut PgConnection, places: &[PlaceRow]) -> Result<(), sqlx::Error> {
    sqlx::query(DUE)
        .bind(column(places, |row| row.destination.as_str()))
        .bind(column(places, |row| row.event))
        .bind(column(places, |row| row.generation))
        .execute(&mut *connection)
        .await?;
    sqlx::query(ENTER)
        .bind(column(places, |row| row.destination.as_str()))
        .bind(column(places, |row| row.event))
        .bind(column(places, |row| row.generation))
        .bind(column(places, |row| row.key))
        .execute(connection)
        .await?;
    Ok(())
}

impl PostgresStore {
    /// Gives deliveries their places that have none yet and have not ended.
    async fn enter<'d>(
        &self,
        destination: &str,
        deliveries: impl Iterator<Item = &'d OrderedDelivery>,
    ) -> Result<(), StoreError> {
        let places = deliveries.map(|it| PlaceRow::of(destination, it));
        let places: Arc<[PlaceRow]> = places.collect();
        if places.is_empty() {
            return Ok(());
        }
        self.link
            .transaction(move |connection| {
                let places = Arc::clone(&places);
                Box::pin(async move { enter(connection, &places).await })
            })
            .await
    }

    async fn look(
        &self,
        question: &RankQuestion,
        events: &[Uuid],
    ) -> Result<Vec<RankRow>, StoreError> {
        let (destination, events) = (question.destination.clone(), events.to_vec());
        self.link
            .rows(LOOK, move |query| query.bind(&destination).bind(&events))
            .await
    }
}

#[async_trait]
impl DeliveryOrder for PostgresStore {
    async fn ranks(
        &self,
        question: &RankQuestion,
        asked: &[OrderedDelivery],
    ) -> Result<Vec<Rank>, StoreError> {
        let replayed = asked.iter().filter(|it| it.generation > 0);
        self.enter(&question.destination, replayed).await?;
        let events = uuids(asked);
        let mut held = HashSet::new();
        if let Some(hold) = question.hold {
            let (question, events) = (question.clone(), events.clone());
            let rows: Vec<(Uuid,)> = self
                .link
                .rows(HOLD, move |query| {
                    query
                        .bind(&question.destination)
                        .bind(&events)
                        .bind(question.worker)
                        .bind(milliseconds(hold))
                        .bind(milliseconds(question.within))
                })
                .await?;
            held.extend(rows.into_iter().map(|(event,)| event));
            if held.len() == asked.len() {
                return Ok(vec![Rank::First; asked.len()]);
            }
        }
        let mut rows = self.look(question, &events).await?;
        let mut late = without_place(&rows, asked).peekable();
        if late.peek().is_some() {
            self.enter(&question.destination, late).await?;
            rows = self.look(question, &events).await?;
        }
        let ranks = asked.iter().zip(in_order(&rows, question, asked));
        let ranks = ranks.map(|(delivery, rank)| match rank {
            _ if held.contains(&delivery.event.uuid()) => Rank::First,
            // It became so since: not held, so not ours yet.
            Rank::First if question.hold.is_some() => Rank::Held(Duration::ZERO),
            rank => rank,
        });
        Ok(ranks.collect())
    }

    async fn let_go(
        &self,
        destination: &str,
        worker: Uuid,
        events: &[EventId],
    ) -> Result<(), StoreError> {
        let destination = destination.to_owned();
        let events: Vec<Uuid> = events.iter().map(|event| event.uuid()).collect();
        self.link
            .execute(LET_GO, move |query| {
                query.bind(&destination).bind(worker).bind(&events)
            })
            .await
    }

    async fn leave_order(
        &self,
        destination: &str,
        ended: &[OrderedDelivery],
    ) -> Result<Vec<OrderKey>, StoreError> {
        let (destination, given) = (destination.to_owned(), ended.to_vec());
        let rows: Vec<(Uuid, Uuid)> = self
            .link
            .rows(LEAVE, move |query| {
                query
                    .bind(&destination)
                    .bind(column(&given, |it| it.event.uuid()))
                    .bind(column(&given, |it| i64::from(it.generation)))
            })
            .await?;
        Ok(keys_of(rows, ended))
    }

    async fn first_of(
        &self,
        destination: &str,
        keys: &[OrderKey],
        ended: &[OrderedDelivery],
    ) -> Result<Vec<Option<EventId>>, StoreError> {
        let destination = destination.to_owned();
        let distinct: BTreeSet<Uuid> = keys.iter().map(|key| key.0).collect();
        let (distinct, ended): (Vec<Uuid>, _) = (distinct.into_iter().collect(), uuids(ended));
        let rows: Vec<(Uuid, Uuid)> = self
            .link
            .rows(FIRST_OF, move |query| {
                query.bind(&destination).bind(&distinct).bind(&ended)
            })
            .await?;
        Ok(first_of(rows, keys))
    }

    async fn ended_first(
        &self,
        destination: &str,
        skips_dead: bool,
        most: u32,
    ) -> Result<Vec<OrderedDelivery>, StoreError> {
        let (destination, most) = (destination.to_owned(), i64::from(most));
        let rows: Vec<OrderedRow> = self
            .link
            .rows(ENDED_FIRST, move |query| {
                query.bind(&destination).bind(skips_dead).bind(most)
            })
            .await?;
        rows.into_iter().map(OrderedDelivery::try_from).collect()
    }

    async fn unordered(
        &self,
        ordered: &[String],
        quiet: Duration,
    ) -> Result<Vec<String>, StoreError> {
        let ordered = ordered.to_vec();
        let rows: Vec<(String,)> = self
            .link
            .rows(UNORDERED, move |query| {
                query.bind(&ordered).bind(milliseconds(quiet))
            })
            .await?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }

    async fn places(
        &self,
        destination: &str,
        most: u32,
    ) -> Result<Vec<OrderedDelivery>, StoreError> {
        let (destination, most) = (destination.to_owned(), i64::from(most));
        let rows: Vec<OrderedRow> = self
            .link
            .rows(PLACES, move |query| query.bind(&destination).bind(most))
            .await?;
        rows.into_iter().map(OrderedDelivery::try_from).collect()
    }
}

fn uuids(asked: &[OrderedDelivery]) -> Vec<Uuid> {
    asked.iter().map(|it| it.event.uuid()).collect()
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
