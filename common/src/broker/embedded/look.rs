//! Looking at the messages of a queue, those that consumers have in hand among them: only read.

use std::sync::Arc;

use sqlx::{Row as _, SqliteConnection};

use super::engine::Engine;
use super::properties;
use crate::broker::{BrokerError, Waiting};
use crate::message::Message;
use crate::sqlite::Error;

/// How many messages are read at once.
const PAGE: usize = 256;

/// A page of messages behind a place in the queue. One that a consumer takes or gives back keeps its place.
const READ: &str = "
    SELECT w.place, w.message, m.routing_key, m.properties, m.body
    FROM (SELECT queue, place, message FROM waiting UNION ALL SELECT queue, place, message FROM held) w
    CROSS JOIN messages m ON m.id = w.message
    WHERE w.queue = ?1 AND (w.place, w.message) > (?2, ?3)
    ORDER BY w.place, w.message LIMIT ?4";

/// Reads up to `most` messages of `queue`, also those that wait out a delay before they are due in it. Says
/// whether there are no more.
pub(super) async fn look(
    engine: &Arc<Engine>,
    queue: &str,
    most: usize,
    seen: &mut (dyn FnMut(Waiting) + Send),
) -> Result<bool, BrokerError> {
    let routes = engine.current_routes().await?;
    let id = routes.queue(queue).map(|queue| queue.id);
    let id = id.ok_or_else(|| BrokerError::NoSuchQueue(queue.to_owned()))?;
    let mut left = most;
    let mut behind = (i64::MIN, i64::MIN);
    loop {
        // One more than wanted tells whether there is one.
        let limit = (left + 1).min(PAGE);
        let read = engine.read(move |connection| Box::pin(page(connection, id, behind, limit)));
        let messages = read.await?;
        let (full, count) = (messages.len() == limit, messages.len());
        if let Some((place, _)) = messages.last() {
            behind = *place;
        }
        for (_, waiting) in messages.into_iter().take(left) {
            let (routing_key, message) = waiting;
            seen(Waiting {
                queue: queue.to_owned(),
                routing_key,
                message,
            });
        }
        if count > left {
            return Ok(false);
        }
        left -= count;
        if !full {
            return Ok(true);
        }
    }
}

async fn page(
    connection: &mut SqliteConnection,
    queue: i64,
    behind: (i64, i64),
    limit: usize,
) -> Result<Vec<((i64, i64), (String, Message))>, Error> {
    let rows = sqlx::query(READ)
        .bind(queue)
        .bind(behind.0)
        .bind(behind.1)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await?;
    let message = |row: &sqlx::sqlite::SqliteRow| {
        let body = row.try_get::<Vec<u8>, _>(4)?.into();
        let message = properties::message(row.try_get(3)?, body);
        let place = (row.try_get(0)?, row.try_get(1)?);
        Ok((place, (row.try_get(2)?, message)))
    };
    rows.iter().map(message).collect()
}
