//! The content of streams: read again, and forgotten when it is old.

use std::ops::RangeInclusive;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use sqlx::{Row as _, SqliteConnection};

use super::engine::Engine;
use super::routes::Routes;
use super::{clock, properties};
use crate::broker::{BrokerError, HistoryEntry, HistoryStart};
use crate::sqlite::Error;

/// How many entries are read, or forgotten, at once.
const PAGE: i64 = 256;

/// The entries of `stream` from `from` to its present end.
pub(super) async fn read(
    engine: Arc<Engine>,
    name: String,
    from: HistoryStart,
) -> Result<BoxStream<'static, Result<HistoryEntry, BrokerError>>, BrokerError> {
    let routes = engine.current_routes().await?;
    let Some(queue) = routes.queue(&name).map(|queue| queue.id) else {
        return Err(BrokerError::NoSuchQueue(name));
    };
    // Ids are never behind the clock on the wall, so that nothing of this moment or later is left out.
    let (start, since) = match from {
        HistoryStart::First => (i64::MIN, i64::MIN),
        HistoryStart::Offset(offset) => (i64::try_from(offset).unwrap_or(i64::MAX), i64::MIN),
        HistoryStart::Time(moment) => (clock::micros_at(moment), clock::micros_at(moment)),
    };
    const LAST: &str = "SELECT max(id) FROM history WHERE queue = ?";
    let end: Option<i64> = engine
        .read(move |connection| {
            Box::pin(async move {
                Ok(sqlx::query_scalar(LAST)
                    .bind(queue)
                    .fetch_one(connection)
                    .await?)
            })
        })
        .await?;
    let pages = stream::unfold(end.map(|end| (start, end)), move |range| {
        let engine = Arc::clone(&engine);
        async move {
            let (start, end) = range?;
            let read = engine
                .read(move |connection| Box::pin(page(connection, queue, since, start..=end)));
            match read.await {
                Ok(entries) => {
                    let full = i64::try_from(entries.len()) == Ok(PAGE);
                    let next = entries.last().map(|(id, _)| (id.saturating_add(1), end));
                    Some((Ok(entries), next.filter(|_| full)))
                }
                Err(error) => Some((Err(error), None)),
            }
        }
    });
    Ok(pages
        .flat_map(|page| {
            stream::iter(match page {
                Ok(entries) => entries.into_iter().map(|(_, entry)| Ok(entry)).collect(),
                Err(error) => vec![Err(error)],
            })
        })
        .boxed())
}

async fn page(
    connection: &mut SqliteConnection,
    queue: i64,
    since: i64,
    ids: RangeInclusive<i64>,
) -> Result<Vec<(i64, HistoryEntry)>, Error> {
    const READ: &str = "
        SELECT id, routing_key, properties, body, coalesce(at, id) AS at FROM history
        WHERE queue = ? AND id >= ? AND id <= ? AND coalesce(at, id) >= ? ORDER BY id LIMIT ?";
    let rows = sqlx::query(READ)
        .bind(queue)
        .bind(*ids.start())
        .bind(*ids.end())
        .bind(since)
        .bind(PAGE)
        .fetch_all(connection)
        .await?;
    let entry = |row: &sqlx::sqlite::SqliteRow| {
        let id: i64 = row.try_get(0)?;
        let body = row.try_get::<Vec<u8>, _>(3)?.into();
        let entry = HistoryEntry {
            offset: u64::try_from(id).unwrap_or_default(),
            time: clock::moment_of(row.try_get(4)?),
            routing_key: row.try_get(1)?,
            message: properties::message(row.try_get(2)?, body),
        };
        Ok((id, entry))
    };
    rows.iter().map(entry).collect()
}

/// Whether a stream holds entries beyond their time.
pub(super) async fn is_overdue(
    connection: &mut SqliteConnection,
    routes: &Routes,
    now: i64,
) -> Result<bool, Error> {
    const OLDEST: &str = "SELECT min(id) FROM history WHERE queue = ?";
    for (queue, oldest_kept) in bounds(routes, now) {
        let oldest: Option<i64> = sqlx::query_scalar(OLDEST)
            .bind(queue)
            .fetch_one(&mut *connection)
            .await?;
        if oldest.is_some_and(|oldest| oldest < oldest_kept) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Forgets some of the entries beyond their time.
pub(super) async fn trim(
    connection: &mut SqliteConnection,
    routes: &Routes,
    now: i64,
) -> Result<(), Error> {
    const TRIM: &str = "
        DELETE FROM history WHERE id IN (
            SELECT id FROM history WHERE queue = ? AND id < ? ORDER BY id LIMIT ?)";
    for (queue, oldest_kept) in bounds(routes, now) {
        sqlx::query(TRIM)
            .bind(queue)
            .bind(oldest_kept)
            .bind(PAGE)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Each stream, and the oldest id it keeps.
fn bounds(routes: &Routes, now: i64) -> Vec<(i64, i64)> {
    let bound = |queue: &super::routes::Queue| {
        let age = queue.max_age()?.saturating_mul(1_000_000);
        Some((queue.id, now.saturating_sub(age)))
    };
    routes.streams().filter_map(bound).collect()
}
