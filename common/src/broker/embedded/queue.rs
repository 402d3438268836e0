//! The steps of messages in a queue, each within a transaction: taken, acked, given back, given up.

use std::sync::Arc;

use bytes::Bytes;
use sqlx::{Row as _, SqliteConnection};

use super::properties;
use super::publish::{FAR, Outgoing, advance, publish};
use super::routes::Routes;
use super::rows::list;
use crate::message::{HeaderValue, Headers, Message};
use crate::sqlite::Error;

/// A message as a consumer gets it.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) id: i64,
    pub(super) returns: u32,
    pub(super) routing_key: String,
    pub(super) properties: String,
    pub(super) body: Bytes,
}

/// Why nothing more was taken.
#[derive(Debug)]
pub(super) enum Rest {
    /// There may be more.
    More,
    /// Nothing is there now; a message is due then, by the clock on the wall.
    Until(Option<i64>),
    /// The consumer is not known any more.
    Gone,
}

/// Gives a consumer up to `most` messages that are due, in the order of their places. They are its until it settles
/// them or is gone.
pub(super) async fn take(
    connection: &mut SqliteConnection,
    consumer: i64,
    most: usize,
    now: i64,
) -> Result<(Vec<Taken>, Rest), Error> {
    // Joined crosswise, for SQLite to read the one in its order and look the other up.
    const DUE: &str = "
        SELECT w.message, w.returns, m.routing_key, m.properties, m.body, w.place, w.queue
        FROM waiting w CROSS JOIN messages m ON m.id = w.message
        WHERE w.queue = (SELECT queue FROM consumers WHERE id = ?)
            AND w.place < ?
        ORDER BY w.place, w.message LIMIT ?";
    // The oldest that are due are exactly those up to the last.
    const HOLD: &str = "
        INSERT INTO held (message, queue, place, returns, consumer)
        SELECT message, queue, place, returns, ?4 FROM waiting
        WHERE queue = ?1 AND (place, message) <= (?2, ?3);
        DELETE FROM waiting WHERE queue = ?1 AND (place, message) <= (?2, ?3)";
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    ripen(connection, consumer, limit, now).await?;
    let rows = sqlx::query(DUE)
        .bind(consumer)
        .bind(FAR)
        .bind(limit)
        .fetch_all(&mut *connection)
        .await?;
    let mut taken = Vec::with_capacity(rows.len());
    for row in &rows {
        taken.push(Taken {
            id: row.try_get(0)?,
            returns: row.try_get(1)?,
            routing_key: row.try_get(2)?,
            properties: row.try_get(3)?,
            body: row.try_get::<Vec<u8>, _>(4)?.into(),
        });
    }
    if let Some(last) = rows.last() {
        let (place, queue): (i64, i64) = (last.try_get(5)?, last.try_get(6)?);
        sqlx::query(HOLD)
            .bind(queue)
            .bind(place)
            .bind(last.try_get::<i64, _>(0)?)
            .bind(consumer)
            .execute(&mut *connection)
            .await?;
    }
    let rest = if rows.len() < most {
        next_due(connection, consumer).await?
    } else {
        Rest::More
    };
    Ok((taken, rest))
}

/// Gives messages whose time has come their places, up to `most`, those that are due longest first.
async fn ripen(
    connection: &mut SqliteConnection,
    consumer: i64,
    most: i64,
    now: i64,
) -> Result<(), Error> {
    // A wait that begins at a future moment was written while a clock was ahead that has been set back since: it begins
    // now.
    const SET_BACK: &str = "
        UPDATE waiting SET due = ?2 + delay
        WHERE queue = (SELECT queue FROM consumers WHERE id = ?1) AND due > 0 AND due - delay > ?2";
    const RIPE: &str = "
        SELECT message, place FROM waiting
        WHERE queue = (SELECT queue FROM consumers WHERE id = ?1) AND due > 0 AND due <= ?2
        ORDER BY due LIMIT ?3";
    const RIPEN: &str = "
        UPDATE waiting SET place = ?1, due = 0
        WHERE queue = (SELECT queue FROM consumers WHERE id = ?2) AND place >= ?3
            AND (place, message) IN (
                SELECT value ->> 0, value ->> 1 FROM json_each(?4))";
    sqlx::query(SET_BACK)
        .bind(consumer)
        .bind(now)
        .execute(&mut *connection)
        .await?;
    let ripe: Vec<(i64, i64)> = sqlx::query_as(RIPE)
        .bind(consumer)
        .bind(now)
        .bind(most)
        .fetch_all(&mut *connection)
        .await?;
    if ripe.is_empty() {
        return Ok(());
    }
    let (last, _) = advance(connection, 1, now).await?;
    let ripe: Vec<String> = ripe
        .iter()
        .map(|(message, place)| format!("[{place},{message}]"))
        .collect();
    sqlx::query(RIPEN)
        .bind(last)
        .bind(consumer)
        .bind(FAR)
        .bind(format!("[{}]", ripe.join(",")))
        .execute(connection)
        .await?;
    Ok(())
}

async fn next_due(connection: &mut SqliteConnection, consumer: i64) -> Result<Rest, Error> {
    const NEXT: &str = "
        SELECT (SELECT min(due) FROM waiting WHERE queue = c.queue AND due > 0)
        FROM consumers c WHERE c.id = ?";
    let row = sqlx::query(NEXT)
        .bind(consumer)
        .fetch_optional(connection)
        .await?;
    row.map_or(Ok(Rest::Gone), |row| Ok(Rest::Until(row.try_get(0)?)))
}

/// Forgets messages that a consumer holds. Returns whether it held all of them.
pub(super) async fn ack(
    connection: &mut SqliteConnection,
    consumer: i64,
    messages: &[i64],
) -> Result<bool, Error> {
    const ACK: &str = "
        DELETE FROM messages WHERE id IN (
            SELECT h.message FROM json_each(?2) j CROSS JOIN held h ON h.message = j.value
            WHERE h.consumer = ?1);
        DELETE FROM held
        WHERE message IN (SELECT value FROM json_each(?2)) AND consumer = ?1";
    let done = sqlx::query(ACK)
        .bind(consumer)
        .bind(list(messages))
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 2 * messages.len() as u64)
}

/// Gives back messages that a consumer holds. Returns whether it held all of them.
pub(super) async fn give_back(
    connection: &mut SqliteConnection,
    consumer: i64,
    messages: &[i64],
    now: i64,
) -> Result<bool, Error> {
    const HELD: &str = "
        SELECT message FROM held
        WHERE message IN (SELECT value FROM json_each(?2)) AND consumer = ?1";
    let held: Vec<i64> = sqlx::query_scalar(HELD)
        .bind(consumer)
        .bind(list(messages))
        .fetch_all(&mut *connection)
        .await?;
    release(connection, &held, now).await?;
    Ok(held.len() == messages.len())
}

/// Whether a consumer is known: then its messages are its own.
pub(super) async fn is_consumer(
    connection: &mut SqliteConnection,
    consumer: i64,
) -> Result<bool, Error> {
    const KNOWN: &str = "SELECT EXISTS (SELECT 1 FROM consumers WHERE id = ?)";
    Ok(sqlx::query_scalar(KNOWN)
        .bind(consumer)
        .fetch_one(connection)
        .await?)
}

/// Ends a consumer; its messages go back.
pub(super) async fn end_consumer(
    connection: &mut SqliteConnection,
    consumer: i64,
    now: i64,
) -> Result<(), Error> {
    let held: Vec<i64> = sqlx::query_scalar("SELECT message FROM held WHERE consumer = ?")
        .bind(consumer)
        .fetch_all(&mut *connection)
        .await?;
    release(connection, &held, now).await?;
    sqlx::query("DELETE FROM consumers WHERE id = ?")
        .bind(consumer)
        .execute(connection)
        .await?;
    Ok(())
}

/// Ends an owner with all its consumers; their messages go back. With `beat`, only if it has not
/// shown a sign of life since.
pub(super) async fn end_owner(
    connection: &mut SqliteConnection,
    owner: i64,
    beat: Option<i64>,
    now: i64,
) -> Result<bool, Error> {
    let ended = sqlx::query("DELETE FROM owners WHERE id = ?1 AND beat = coalesce(?2, beat)")
        .bind(owner)
        .bind(beat)
        .execute(&mut *connection)
        .await?;
    if ended.rows_affected() == 0 {
        return Ok(false);
    }
    let consumers: Vec<i64> = sqlx::query_scalar("SELECT id FROM consumers WHERE owner = ?")
        .bind(owner)
        .fetch_all(&mut *connection)
        .await?;
    for consumer in consumers {
        end_consumer(connection, consumer, now).await?;
    }
    Ok(true)
}

/// Puts messages back in their places, as returned once more. Messages that have come back too often are given up.
async fn release(
    connection: &mut SqliteConnection,
    messages: &[i64],
    now: i64,
) -> Result<(), Error> {
    const TOO_OFTEN: &str = "
        SELECT h.message FROM json_each(?) j CROSS JOIN held h ON h.message = j.value
        JOIN queues q ON q.id = h.queue WHERE h.returns >= q.delivery_limit";
    const RELEASE: &str = "
        INSERT INTO waiting (queue, place, message, returns)
        SELECT queue, place, message, returns + 1 FROM held
        WHERE message IN (SELECT value FROM json_each(?1));
        DELETE FROM held WHERE message IN (SELECT value FROM json_each(?1))";
    if messages.is_empty() {
        return Ok(());
    }
    let all = list(messages);
    let hopeless: Vec<i64> = sqlx::query_scalar(TOO_OFTEN)
        .bind(all.clone())
        .fetch_all(&mut *connection)
        .await?;
    if !hopeless.is_empty() {
        let routes = Arc::new(Routes::load(connection).await?);
        for message in hopeless {
            dead_letter(connection, &routes, message, now).await?;
        }
    }
    sqlx::query(RELEASE)
        .bind(all)
        .execute(&mut *connection)
        .await?;
    // Other programs look at the clock to learn that there is something new.
    advance(connection, 1, now).await?;
    Ok(())
}

/// Moves a message to where its queue's dead letters go. If that is nowhere, it stays: nothing is
/// dropped.
async fn dead_letter(
    connection: &mut SqliteConnection,
    routes: &Arc<Routes>,
    message: i64,
    now: i64,
) -> Result<(), Error> {
    const WHOLE: &str = "
        SELECT h.queue, m.routing_key, m.properties, m.body
        FROM held h JOIN messages m ON m.id = h.message WHERE h.message = ?";
    const FORGET: &str = "DELETE FROM messages WHERE id = ?1; DELETE FROM held WHERE message = ?1";
    let row = sqlx::query(WHOLE)
        .bind(message)
        .fetch_one(&mut *connection)
        .await?;
    let Some((name, queue)) = routes.queue_of(row.try_get(0)?) else {
        return Ok(());
    };
    let Some((exchange, key)) = queue.dead_letters() else {
        return Ok(());
    };
    let routing_key: String = row.try_get(1)?;
    let body: Bytes = row.try_get::<Vec<u8>, _>(3)?.into();
    let mut dead = properties::read(row.try_get(2)?, body.clone()).map_err(Error::Fault)?;
    tell_of_death(&mut dead, name, &routing_key, now);
    let letter = Outgoing {
        exchange: exchange.to_owned(),
        routing_key: key.map_or(routing_key, str::to_owned),
        delay: 0,
        properties: properties::whole(&dead).map_err(Error::Fault)?,
        body,
    };
    let published = publish(connection, Arc::clone(routes), &[letter], now).await?;
    if published.routed.iter().all(Result::is_ok) {
        sqlx::query(FORGET)
            .bind(message)
            .execute(connection)
            .await?;
    } else {
        tracing::warn!(
            queue.name = name,
            "a message came back too often, but nothing takes the dead letters of this queue: it \
             stays; `longshore topology apply` declares the missing parts"
        );
    }
    Ok(())
}

/// Writes RabbitMQ's header of a death: the newest death first.
fn tell_of_death(message: &mut Message, queue: &str, routing_key: &str, now: i64) {
    const DEATHS: &str = "x-death";
    let seconds = u64::try_from(now / 1_000_000).unwrap_or_default();
    let keys = vec![HeaderValue::from(routing_key)];
    let death: Headers = [
        ("count", HeaderValue::Int(1)),
        ("reason", HeaderValue::from("delivery_limit")),
        ("queue", HeaderValue::from(queue)),
        ("time", HeaderValue::Time(seconds)),
        ("routing-keys", HeaderValue::List(keys)),
    ]
    .into_iter()
    .collect();
    let mut deaths = vec![HeaderValue::Table(death)];
    if let Some(HeaderValue::List(before)) = message.headers.get(DEATHS) {
        deaths.extend(before.iter().cloned());
    }
    message.headers.set(DEATHS, HeaderValue::List(deaths));
}

/// How many messages wait in a queue and how many programs consume it; `None` if it does not exist.
pub(super) async fn depth(
    connection: &mut SqliteConnection,
    routes: &Routes,
    name: &str,
    now: i64,
) -> Result<Option<(i64, i64)>, Error> {
    const WAITING: &str = "
        SELECT (SELECT count(*) FROM waiting WHERE queue = ?1 AND place < ?2)
            + (SELECT count(*) FROM waiting WHERE queue = ?1 AND due > 0 AND due <= ?3)";
    const DELAYED: &str = "
        SELECT count(*) FROM queues q CROSS JOIN waiting w ON w.queue = q.id
        WHERE substr(q.name, 1, length(?1)) = ?1
            AND w.due > 0 AND w.due > ?2 + ?3 AND w.due <= ?2 + ?4";
    let Some(queue) = routes.queue(name) else {
        return Ok(None);
    };
    let messages = if queue.is_stream() {
        sqlx::query_scalar("SELECT count(*) FROM history WHERE queue = ?").bind(queue.id)
    } else if let Some(level) = routes.level(name) {
        sqlx::query_scalar(DELAYED)
            .bind(level.namespace)
            .bind(now)
            .bind(level.longer_than)
            .bind(level.at_most)
    } else {
        sqlx::query_scalar(WAITING)
            .bind(queue.id)
            .bind(FAR)
            .bind(now)
    };
    let messages = messages.fetch_one(&mut *connection).await?;
    let consumers = sqlx::query_scalar("SELECT count(*) FROM consumers WHERE queue = ?")
        .bind(queue.id)
        .fetch_one(connection)
        .await?;
    Ok(Some((messages, consumers)))
}
