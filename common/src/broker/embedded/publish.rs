//! Publishing within a transaction: where each message goes, and its rows.

use std::sync::Arc;

use bytes::Bytes;
use sqlx::{Row as _, SqliteConnection};

use super::routes::{Nowhere, Place, Routes};
use super::rows::{HISTORY, MESSAGES, WAITING};
use crate::sqlite::Error;

/// Places from here on are of messages that wait for their time: behind all others, which have an id for their
/// place.
pub(super) const FAR: i64 = 1 << 62;

/// A message on its way in, written down.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    /// The exchange, or nothing for the default one.
    pub(super) exchange: String,
    pub(super) routing_key: String,
    /// How long it waits before it is given out, in microseconds.
    pub(super) delay: i64,
    /// See `properties`.
    pub(super) properties: String,
    pub(super) body: Bytes,
}

/// What came of a batch.
pub(super) struct Published {
    /// Whether each went anywhere, in their order.
    pub(super) routed: Vec<Result<(), Nowhere>>,
    /// The queues that have something new.
    pub(super) queues: Vec<i64>,
    /// The topology they were routed by.
    pub(super) routes: Arc<Routes>,
}

/// One copy of a message: the row of a queue or a stream.
struct Copy<'o> {
    id: i64,
    to: i64,
    of: &'o Outgoing,
}

/// Publishes `batch`, by `routes` or by what has become of them.
pub(super) async fn publish(
    connection: &mut SqliteConnection,
    mut routes: Arc<Routes>,
    batch: &[Outgoing],
    now: i64,
) -> Result<Published, Error> {
    let mut ways = route(&routes, batch);
    let (mut last, topology) = advance(connection, copies(&ways), now).await?;
    if topology != routes.version {
        routes = Arc::new(Routes::load(connection).await?);
        ways = route(&routes, batch);
        (last, _) = advance(connection, copies(&ways), now).await?;
    }
    let mut id = last - copies(&ways);
    let (mut queued, mut kept) = (Vec::new(), Vec::new());
    for (of, way) in batch.iter().zip(&ways) {
        for place in way.iter().flatten() {
            id += 1;
            match *place {
                Place::Queue(to) => queued.push(Copy { id, to, of }),
                Place::Stream(to) => kept.push(Copy { id, to, of }),
            }
        }
    }
    write(connection, &queued, &kept, now).await?;
    let mut queues: Vec<i64> = queued.iter().map(|copy| copy.to).collect();
    queues.sort_unstable();
    queues.dedup();
    Ok(Published {
        routed: ways.into_iter().map(|way| way.map(|_| ())).collect(),
        queues,
        routes,
    })
}

/// Writes the copies for queues and those for streams.
async fn write(
    connection: &mut SqliteConnection,
    queued: &[Copy<'_>],
    kept: &[Copy<'_>],
    now: i64,
) -> Result<(), Error> {
    MESSAGES
        .insert(connection, queued, |row, Copy { id, of, .. }| {
            row.bind(*id)
                .bind(of.routing_key.clone())
                .bind(of.properties.clone())
                .bind(of.body.to_vec())
        })
        .await?;
    WAITING
        .insert(connection, queued, |row, Copy { id, to, of }| {
            let (place, due) = match of.delay {
                0 => (*id, 0),
                delay => (FAR + id, now.saturating_add(delay)),
            };
            let row = row.bind(*to).bind(place).bind(*id).bind(0);
            row.bind(due).bind(of.delay)
        })
        .await?;
    HISTORY
        .insert(connection, kept, |row, Copy { id, to, of }| {
            row.bind(*id)
                .bind(*to)
                .bind(of.routing_key.clone())
                .bind(of.properties.clone())
                .bind(of.body.to_vec())
                .bind(now)
        })
        .await
}

type Way = Result<Vec<Place>, Nowhere>;

fn route(routes: &Routes, batch: &[Outgoing]) -> Vec<Way> {
    batch
        .iter()
        .map(|one| routes.route(&one.exchange, &one.routing_key))
        .collect()
}

fn copies(ways: &[Way]) -> i64 {
    let copies: usize = ways.iter().flatten().map(Vec::len).sum();
    i64::try_from(copies).unwrap_or(i64::MAX)
}

/// Moves the clock of the file on by `count` ids, up to and with the one returned, and looks at the version of
/// the topology.
pub(super) async fn advance(
    connection: &mut SqliteConnection,
    count: i64,
    now: i64,
) -> Result<(i64, i64), Error> {
    const ADVANCE: &str = "UPDATE state SET clock = max(clock, ?) + ? RETURNING clock, topology";
    let row = sqlx::query(ADVANCE)
        .bind(now)
        .bind(count)
        .fetch_one(connection)
        .await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
