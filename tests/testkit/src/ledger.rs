//! The tables, read as any outside reader may, and whether they balance.

use std::{fmt, str::FromStr, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use uuid::Uuid;

use crate::wait::eventually;

/// A reader of one namespace's tables.
#[derive(Clone, Debug)]
pub struct Ledger {
    pool: PgPool,
}

/// Where an accepted event is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Completed,
    Rejected,
    Dead,
    /// Not at rest, or nowhere; with the known facts.
    Pending(String),
    /// In two terminal states at once, or twice in one.
    Double(String),
}

/// How many accepted events are at rest in which state, and which are not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Stored, not waiting for its moment, and every delivery done or discarded.
    pub completed: usize,
    /// Turned away with a code.
    pub rejected: usize,
    /// With an open dead letter.
    pub dead: usize,
    /// Not at rest, with the known facts of each.
    pub pending: Vec<(Uuid, String)>,
    /// In more than one state, with the known facts of each.
    pub double: Vec<(Uuid, String)>,
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            completed,
            rejected,
            dead,
            pending,
            double,
        } = self;
        write!(f, "{completed} completed, {rejected} rejected, {dead} dead")?;
        for (name, list) in [("missing", pending), ("double", double)] {
            write!(f, ", {} {name}", list.len())?;
            for (id, known) in list.iter().take(10) {
                write!(f, "\n  {name} {id}: {known}")?;
            }
        }
        Ok(())
    }
}

/// A recorded attempt at a delivery.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct Attempt {
    /// Where to.
    pub destination: String,
    /// Which replay; 0 is the first life.
    pub generation: i64,
    /// Counted from 1.
    pub attempt: i64,
    /// The receiver's answer, if any.
    pub status_code: Option<i64>,
}

/// A recorded dead letter.
#[derive(Clone, Debug, sqlx_macros::FromRow)]
pub struct DeadLetter {
    /// Its own id.
    pub dead_letter_id: String,
    /// The event it is of, if that could be read.
    pub event_id: Option<Uuid>,
    /// The queue it died in.
    pub queue: String,
    /// The reason code.
    pub reason: String,
    /// `open`, `replayed` or `discarded`.
    pub state: String,
}

#[derive(sqlx_macros::FromRow)]
struct Counts {
    id: Uuid,
    stored: bool,
    due: i64,
    done: i64,
    failed: i64,
    rejections: i64,
    dead_open: i64,
    dead_queues: i64,
}

impl Counts {
    fn place(&self) -> Place {
        let known = format!(
            "stored: {}, deliveries due/done/dead: {}/{}/{}, rejections: {}, open dead letters: {}",
            self.stored, self.due, self.done, self.failed, self.rejections, self.dead_open
        );
        let rejected = self.rejections > 0;
        let dead = self.dead_open > 0;
        if self.rejections > 1
            || self.dead_open > self.dead_queues
            || (rejected && (self.stored || dead))
        {
            return Place::Double(known);
        }
        match (self.stored, rejected, dead) {
            (_, _, true) if self.due == 0 => Place::Dead,
            (_, true, _) => Place::Rejected,
            (true, _, false) if self.due == 0 && self.failed == 0 => Place::Completed,
            _ => Place::Pending(known),
        }
    }
}

impl Ledger {
    /// Opens the tables of a namespace.
    ///
    /// # Errors
    /// If the database cannot be reached.
    pub async fn open(url: &str, namespace: &str) -> Result<Self> {
        let options = PgConnectOptions::from_str(url)
            .context("reading the database URL")?
            .options([("search_path", namespace)]);
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(options)
            .await
            .context("connecting to the database; `scripts/services up` starts one")?;
        Ok(Self { pool })
    }

    /// The connection pool, whose search path is the namespace's schema.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Where the accepted events are at this moment.
    ///
    /// # Errors
    /// If the tables cannot be read.
    pub async fn balance(&self, accepted: &[Uuid]) -> Result<Balance> {
        let rows: Vec<Counts> = sqlx::query_as(PLACES)
            .bind(accepted)
            .fetch_all(&self.pool)
            .await
            .context("reading where the events are")?;
        let mut balance = Balance::default();
        for row in rows {
            match row.place() {
                Place::Completed => balance.completed += 1,
                Place::Rejected => balance.rejected += 1,
                Place::Dead => balance.dead += 1,
                Place::Pending(known) => balance.pending.push((row.id, known)),
                Place::Double(known) => balance.double.push((row.id, known)),
            }
        }
        Ok(balance)
    }

    /// Waits until every accepted event is at rest in exactly one terminal state.
    ///
    /// # Errors
    /// If they are not within the time; lists the missing and the double ones.
    pub async fn settled(&self, accepted: &[Uuid], within: Duration) -> Result<Balance> {
        let mut ids = accepted.to_vec();
        ids.sort_unstable();
        ids.dedup();
        ensure!(
            ids.len() == accepted.len(),
            "the producer gave the same id to two events"
        );
        eventually(
            within,
            format!("{} events to be at rest", ids.len()),
            || async {
                let balance = self.balance(&ids).await?;
                if balance.pending.is_empty() && balance.double.is_empty() {
                    return Ok(balance);
                }
                bail!("{balance}")
            },
        )
        .await
    }

    /// As [`settled`](Self::settled), and all are completed.
    ///
    /// # Errors
    /// If one is not within the time.
    pub async fn all_completed(&self, accepted: &[Uuid], within: Duration) -> Result<()> {
        let balance = self.settled(accepted, within).await?;
        ensure!(
            balance.completed == accepted.len(),
            "not all are completed: {balance}"
        );
        Ok(())
    }

    /// How many events are stored.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub async fn events(&self) -> Result<i64> {
        sqlx::query_scalar("select count(*) from events")
            .fetch_one(&self.pool)
            .await
            .context("counting events")
    }

    /// Waits until `count` events are stored.
    ///
    /// # Errors
    /// If they are not within the time, or more are.
    pub async fn await_events(&self, count: i64, within: Duration) -> Result<()> {
        let stored = eventually(within, format!("{count} stored events"), || async {
            let stored = self.events().await?;
            if stored >= count {
                Ok(stored)
            } else {
                bail!("{stored}")
            }
        })
        .await?;
        ensure!(
            stored == count,
            "{stored} events are stored instead of {count}"
        );
        Ok(())
    }

    /// The recorded attempts at the deliveries of an event, in order.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub async fn attempts(&self, event: Uuid) -> Result<Vec<Attempt>> {
        sqlx::query_as(
            "select destination, generation::bigint as generation, attempt::bigint as attempt,
                    status_code::bigint as status_code
             from delivery_attempts where event_id = $1
             order by destination, generation, attempt",
        )
        .bind(event)
        .fetch_all(&self.pool)
        .await
        .context("reading delivery attempts")
    }

    /// Deliveries that have more than one recorded success in the same generation. Without a
    /// fault there is none.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub async fn double_deliveries(&self) -> Result<Vec<Uuid>> {
        sqlx::query_scalar(
            "select event_id from delivery_attempts where status_code between 200 and 299
             group by event_id, destination, generation having count(*) > 1",
        )
        .fetch_all(&self.pool)
        .await
        .context("looking for double deliveries")
    }

    /// All dead letters, open or not.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>> {
        sqlx::query_as(
            "select dead_letter_id::text as dead_letter_id, event_id, queue, reason,
                    state::text as state
             from dead_letters order by dead_letter_id",
        )
        .fetch_all(&self.pool)
        .await
        .context("reading dead letters")
    }

    /// How many dead letters there are, and how many of them were replayed.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub async fn count_dead_letters(&self) -> Result<(usize, usize)> {
        let (all, replayed): (i64, i64) = sqlx::query_as(
            "select count(*), count(*) filter (where state::text = 'replayed') from dead_letters",
        )
        .fetch_one(&self.pool)
        .await
        .context("counting dead letters")?;
        Ok((usize::try_from(all)?, usize::try_from(replayed)?))
    }

    /// Waits until there are at least `count` dead letters and gives all.
    ///
    /// # Errors
    /// If there are fewer within the time.
    pub async fn await_dead_letters(
        &self,
        count: usize,
        within: Duration,
    ) -> Result<Vec<DeadLetter>> {
        eventually(within, format!("{count} dead letters"), || async {
            let (found, _) = self.count_dead_letters().await?;
            ensure!(found >= count, "{found} are there");
            Ok(())
        })
        .await?;
        self.dead_letters().await
    }

    /// Waits until there are at least `count` rejections and gives id and code of all.
    ///
    /// # Errors
    /// If there are fewer within the time.
    pub async fn await_rejections(
        &self,
        count: usize,
        within: Duration,
    ) -> Result<Vec<(Uuid, String)>> {
        eventually(within, format!("{count} rejections"), || async {
            let all: Vec<(Uuid, String)> =
                sqlx::query_as("select event_id, reason::text from rejections order by event_id")
                    .fetch_all(&self.pool)
                    .await
                    .context("reading rejections")?;
            if all.len() >= count {
                Ok(all)
            } else {
                bail!("{all:?}")
            }
        })
        .await
    }

    /// The codes an event was rejected with.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub async fn rejections(&self, event: Uuid) -> Result<Vec<String>> {
        sqlx::query_scalar(
            "select reason::text from rejections where event_id = $1 order by reason",
        )
        .bind(event)
        .fetch_all(&self.pool)
        .await
        .context("reading rejections")
    }
}

/// Counts, for every accepted id, its rows in the tables.
///
/// A replay of a delivery is a new generation; only the newest of each destination says how it is.
/// `idempotency_conflict` is left out: it turns the later body away and leaves the first event.
const PLACES: &str = "
with latest as (
    select distinct on (event_id, destination) event_id, destination, status::text as status
    from deliveries where event_id = any($1)
    order by event_id, destination, generation desc
), delivery as (
    select event_id,
           count(*) filter (where status = 'due') as due,
           count(*) filter (where status in ('delivered', 'discarded')) as done,
           count(*) filter (where status = 'dead') as failed
    from latest group by event_id
), rejection as (
    select event_id, count(*) as rejections
    from rejections where event_id = any($1) and reason::text <> 'idempotency_conflict'
    group by event_id
), letter as (
    select event_id, count(*) as dead_open, count(distinct queue) as dead_queues
    from dead_letters where event_id = any($1) and state::text = 'open'
    group by event_id
)
select accepted.id,
       event.event_id is not null and not exists (
           select from scheduled_events as waiting
           where waiting.event_id = accepted.id and released_at is null and cancelled_at is null
       ) as stored,
       coalesce(due, 0) as due, coalesce(done, 0) as done, coalesce(failed, 0) as failed,
       coalesce(rejections, 0) as rejections,
       coalesce(dead_open, 0) as dead_open, coalesce(dead_queues, 0) as dead_queues
from unnest($1::uuid[]) as accepted (id)
left join events event on event.event_id = accepted.id
left join delivery on delivery.event_id = accepted.id
left join rejection on rejection.event_id = accepted.id
left join letter on letter.event_id = accepted.id";
