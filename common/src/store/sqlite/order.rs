//! The order of deliveries at ordered destinations.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use sqlx::SqliteConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::SqliteStore;
use super::link::{Link, document, now};
use crate::event::{EventId, OrderKey};
use crate::sqlite::Error;
use crate::store::tables::order::{
    OrderedRow, PlaceRow, RankRow, first_of, in_order, keys_of, without_place,
};
use crate::store::tables::text::comparable;
use crate::store::{DeliveryOrder, OrderedDelivery, Rank, RankQuestion, StoreError};

/// A newer generation of a delivery has the place of the older one.
const TAKE: &str = r#"INSERT INTO "NAMESPACE.ordered_deliveries" AS known
    (destination, event_id, generation, order_key, received_at, entered_at)
    SELECT value ->> 'destination', unhex(value ->> 'event', '-'), value ->> 'generation',
        unhex(value ->> 'key', '-'), value ->> 'received_at', ?2
    FROM jsonb_each(?1) WHERE true
    ON CONFLICT (destination, event_id) DO UPDATE SET generation = excluded.generation
        WHERE known.generation < excluded.generation"#;

/// Only what is stored gets a place: nobody could send anything else when its turn comes. A replay of the history has no row yet.
const DUE: &str = r#"INSERT INTO "NAMESPACE.deliveries" (event_id, destination, generation, due_at)
    SELECT event_id, value ->> 'destination', value ->> 'generation', ?2
    FROM jsonb_each(?1) JOIN "NAMESPACE.events" ON event_id = unhex(value ->> 'event', '-') WHERE true
    ON CONFLICT (event_id, destination, generation) DO NOTHING"#;

const ENTER: &str = r#"INSERT INTO "NAMESPACE.ordered_deliveries" AS known
    (destination, event_id, generation, order_key, received_at, entered_at)
    SELECT destination, event_id, generation, unhex(value ->> 'key', '-'), received_at, ?2
    FROM jsonb_each(?1)
    JOIN "NAMESPACE.events" ON event_id = unhex(value ->> 'event', '-')
    JOIN "NAMESPACE.deliveries" AS due USING (event_id)
    WHERE destination = value ->> 'destination' AND generation = value ->> 'generation' AND due.status = 'due'
    ON CONFLICT (destination, event_id) DO UPDATE SET generation = excluded.generation
        WHERE known.generation < excluded.generation"#;

const LOOK: &str = r#"
    SELECT event_id, entered_at, held_by, held_until, ?3 AS at,
        EXISTS (SELECT 1 FROM "NAMESPACE.ordered_deliveries" AS earlier
            WHERE earlier.destination = mine.destination AND earlier.order_key = mine.order_key
                AND (earlier.received_at, earlier.event_id) < (mine.received_at, mine.event_id)) AS is_behind
    FROM "NAMESPACE.ordered_deliveries" AS mine
    WHERE destination = ?1 AND event_id IN (SELECT unhex(value, '-') FROM json_each(?2))"#;

const HOLD: &str = r#"UPDATE "NAMESPACE.ordered_deliveries" SET held_by = ?3, held_until = ?4
    WHERE destination = ?1 AND event_id IN (SELECT unhex(value, '-') FROM json_each(?2))"#;

const LET_GO: &str = r#"UPDATE "NAMESPACE.ordered_deliveries" SET held_by = NULL, held_until = NULL
    WHERE destination = ?1 AND held_by = ?3 AND event_id IN (SELECT unhex(value, '-') FROM json_each(?2))"#;

const LEAVE: &str = r#"DELETE FROM "NAMESPACE.ordered_deliveries" AS known
    WHERE destination = ?1 AND event_id IN (SELECT unhex(value ->> 'event', '-') FROM jsonb_each(?2))
        AND EXISTS (SELECT 1 FROM jsonb_each(?2)
            WHERE known.event_id = unhex(value ->> 'event', '-') AND known.generation <= value ->> 'generation')
    RETURNING event_id, order_key"#;

const FIRST_OF: &str = r#"SELECT event_id FROM "NAMESPACE.ordered_deliveries"
    WHERE destination = ?1 AND order_key = ?2
        AND event_id NOT IN (SELECT unhex(value ->> 'event', '-') FROM jsonb_each(?3))
    ORDER BY received_at, event_id LIMIT 1"#;

const IS_FIRST: &str = r#"UPDATE "NAMESPACE.ordered_deliveries" SET first_at = ?3
    WHERE destination = ?1 AND event_id = ?2"#;

const ENDED_FIRST: &str = r#"
    SELECT first.event_id, first.generation, first.order_key, first.received_at
    FROM "NAMESPACE.ordered_deliveries" AS first
    JOIN "NAMESPACE.deliveries" AS newest USING (event_id, destination)
    WHERE first.destination = ?1 AND (held_until IS NULL OR held_until <= ?4)
        AND (newest.status IN ('delivered', 'discarded') OR (?2 AND newest.status = 'dead'))
        AND NOT EXISTS (SELECT 1 FROM "NAMESPACE.deliveries" AS newer
            WHERE newer.event_id = newest.event_id AND newer.destination = newest.destination
                AND newer.generation > newest.generation)
        AND NOT EXISTS (SELECT 1 FROM "NAMESPACE.ordered_deliveries" AS earlier
            WHERE earlier.destination = first.destination AND earlier.order_key = first.order_key
                AND (earlier.received_at, earlier.event_id) < (first.received_at, first.event_id))
    ORDER BY first.received_at, first.event_id LIMIT ?3"#;

const UNORDERED: &str = r#"SELECT destination FROM "NAMESPACE.ordered_deliveries"
    WHERE destination NOT IN (SELECT value FROM json_each(?1))
    GROUP BY destination HAVING max(entered_at) < ?2"#;

const PLACES: &str = r#"SELECT event_id, generation, order_key, received_at FROM "NAMESPACE.ordered_deliveries"
    WHERE destination = ?1 ORDER BY received_at, event_id LIMIT ?2"#;

/// Gives stored events their places.
pub(super) async fn take_places(
    connection: &mut SqliteConnection,
    link: &Link,
    places: &[PlaceRow],
) -> Result<(), Error> {
    insert(connection, link, &[TAKE], places).await
}

/// Makes new rows of places.
async fn insert(
    connection: &mut SqliteConnection,
    link: &Link,
    statements: &[&'static str],
    places: &[PlaceRow],
) -> Result<(), Error> {
    if places.is_empty() {
        return Ok(());
    }
    for statement in statements {
        sqlx::query(link.sql(statement))
            .bind(document(places)?)
            .bind(now()?)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// A delivery that has ended.
#[derive(Serialize)]
struct Ended {
    event: Uuid,
    generation: u32,
}

impl From<&OrderedDelivery> for Ended {
    fn from(delivery: &OrderedDelivery) -> Self {
        Self {
            event: delivery.event.uuid(),
            generation: delivery.generation,
        }
    }
}

fn ended_document(ended: &[OrderedDelivery]) -> Result<String, Error> {
    document(&ended.iter().map(Ended::from).collect::<Vec<_>>())
}

async fn look(
    connection: &mut SqliteConnection,
    link: &Link,
    destination: &str,
    events: &[Uuid],
) -> Result<Vec<RankRow>, Error> {
    Ok(sqlx::query_as(link.sql(LOOK))
        .bind(destination.to_owned())
        .bind(document(events)?)
        .bind(comparable(OffsetDateTime::now_utc()))
        .fetch_all(connection)
        .await?)
}

#[async_trait]
impl DeliveryOrder for SqliteStore {
    async fn ranks(
        &self,
        question: &RankQuestion,
        asked: &[OrderedDelivery],
    ) -> Result<Vec<Rank>, StoreError> {
        let question = question.clone();
        let asked = asked.to_vec();
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    let destination = question.destination.as_str();
                    let replayed = asked.iter().filter(|it| it.generation > 0);
                    let places: Vec<PlaceRow> =
                        replayed.map(|it| PlaceRow::of(destination, it)).collect();
                    insert(connection, link, &[DUE, ENTER], &places).await?;
                    let events: Vec<Uuid> = asked.iter().map(|it| it.event.uuid()).collect();
                    let mut rows = look(connection, link, destination, &events).await?;
                    let late = without_place(&rows, &asked);
                    let late: Vec<PlaceRow> =
                        late.map(|it| PlaceRow::of(destination, it)).collect();
                    if !late.is_empty() {
                        insert(connection, link, &[DUE, ENTER], &late).await?;
                        rows = look(connection, link, destination, &events).await?;
                    }
                    if let Some(hold) = question.hold {
                        let first = rows.iter().filter(|row| row.rank(&question) == Rank::First);
                        let first: Vec<Uuid> = first.map(RankRow::event).collect();
                        sqlx::query(link.sql(HOLD))
                            .bind(destination.to_owned())
                            .bind(document(&first)?)
                            .bind(question.worker)
                            .bind(comparable(OffsetDateTime::now_utc() + hold))
                            .execute(connection)
                            .await?;
                    }
                    Ok(in_order(&rows, &question, &asked))
                })
            })
            .await
    }

    async fn let_go(
        &self,
        destination: &str,
        worker: Uuid,
        events: &[EventId],
    ) -> Result<(), StoreError> {
        let events: Vec<Uuid> = events.iter().map(|event| event.uuid()).collect();
        let (destination, events) = (destination.to_owned(), document(&events)?);
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    sqlx::query(link.sql(LET_GO))
                        .bind(destination)
                        .bind(events)
                        .bind(worker)
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    async fn leave_order(
        &self,
        destination: &str,
        ended: &[OrderedDelivery],
    ) -> Result<Vec<OrderKey>, StoreError> {
        let (destination, given) = (destination.to_owned(), ended_document(ended)?);
        let rows: Vec<(Uuid, Uuid)> = self
            .link
            .write(move |connection, link| {
                Box::pin(async move {
                    Ok(sqlx::query_as(link.sql(LEAVE))
                        .bind(destination)
                        .bind(given)
                        .fetch_all(connection)
                        .await?)
                })
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
        let (destination, ended) = (destination.to_owned(), ended_document(ended)?);
        let distinct: BTreeSet<Uuid> = keys.iter().map(|key| key.0).collect();
        let rows: Vec<(Uuid, Uuid)> = self
            .link
            .write(move |connection, link| {
                Box::pin(async move {
                    let mut rows = Vec::with_capacity(distinct.len());
                    for key in distinct {
                        let first: Option<Uuid> = sqlx::query_scalar(link.sql(FIRST_OF))
                            .bind(destination.clone())
                            .bind(key)
                            .bind(ended.clone())
                            .fetch_optional(&mut *connection)
                            .await?;
                        let Some(first) = first else { continue };
                        sqlx::query(link.sql(IS_FIRST))
                            .bind(destination.clone())
                            .bind(first)
                            .bind(now()?)
                            .execute(&mut *connection)
                            .await?;
                        rows.push((key, first));
                    }
                    Ok(rows)
                })
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
        let (destination, at) = (destination.to_owned(), now()?);
        let rows: Vec<OrderedRow> = self
            .link
            .rows(ENDED_FIRST, move |query| {
                query.bind(destination).bind(skips_dead).bind(most).bind(at)
            })
            .await?;
        rows.into_iter().map(OrderedDelivery::try_from).collect()
    }

    async fn unordered(
        &self,
        ordered: &[String],
        quiet: Duration,
    ) -> Result<Vec<String>, StoreError> {
        let ordered = document(ordered)?;
        let before = comparable(OffsetDateTime::now_utc() - quiet);
        let rows: Vec<(String,)> = self
            .link
            .rows(UNORDERED, move |query| query.bind(ordered).bind(before))
            .await?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }

    async fn places(
        &self,
        destination: &str,
        most: u32,
    ) -> Result<Vec<OrderedDelivery>, StoreError> {
        let destination = destination.to_owned();
        let rows: Vec<OrderedRow> = self
            .link
            .rows(PLACES, move |query| query.bind(destination).bind(most))
            .await?;
        rows.into_iter().map(OrderedDelivery::try_from).collect()
    }
}
