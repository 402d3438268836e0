//! Writing: one task, one connection, one commit for all that has gathered.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::error::{Error, PATIENCE, is_busy};
use super::location::Location;
use super::open::{Role, open};
use super::turn::Turn;
use super::work::{AnyValue, AnyWork};

/// Maximum pieces of work in one commit.
const MOST: usize = 256;

/// A piece of work that waits to be written.
pub(super) struct Job {
    work: Option<AnyWork>,
    outcome: Result<AnyValue, Error>,
    answer: oneshot::Sender<Result<AnyValue, Error>>,
}

impl Job {
    /// For `work`, and where its answer will be.
    pub(super) fn new(work: AnyWork) -> (Self, oneshot::Receiver<Result<AnyValue, Error>>) {
        let (answer, receiver) = oneshot::channel();
        let job = Self {
            work: Some(work),
            outcome: Err(Error::Fault("it was never begun".to_owned())),
            answer,
        };
        (job, receiver)
    }

    /// Does the work. Its result is kept for [`Job::answer`]; the error is only to be acted on.
    async fn run(&mut self, connection: &mut SqliteConnection) -> Result<(), Error> {
        if let Some(work) = self.work.take() {
            // A panic is this one's fault, not its neighbours'.
            let ended = AssertUnwindSafe(async { work(connection).await }).catch_unwind();
            self.outcome = ended
                .await
                .unwrap_or_else(|_| Err(Error::Fault("a task panicked".to_owned())));
        }
        self.outcome.as_ref().map(|_| ()).map_err(Error::clone)
    }

    /// Gives the caller the result, or the failure of the whole commit.
    fn answer(self, committed: Result<(), Error>) {
        // Nobody may be waiting any more.
        let _ = self.answer.send(committed.and(self.outcome));
    }
}

/// Does the queued work, until no sender is left.
pub(super) async fn run(location: Location, mut queue: mpsc::Receiver<Job>) {
    let mut turn = Turn::new(&location);
    let mut idle = None;
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, MOST).await > 0 {
        let committed = together(&location, &mut turn, &mut idle, &mut batch).await;
        for job in batch.drain(..) {
            job.answer(committed.clone());
        }
    }
    if let Some(connection) = idle {
        close(connection).await;
    }
}

/// Does all of `batch` in one transaction, on the connection that is `idle` or a new one.
async fn together(
    location: &Location,
    turn: &mut Turn,
    idle: &mut Option<SqliteConnection>,
    batch: &mut [Job],
) -> Result<(), Error> {
    let mut connection = match idle.take() {
        Some(connection) => connection,
        None => open(location, Role::Writer).await?,
    };
    let ended = transaction(&mut connection, turn, batch).await;
    let clean = ended.is_ok() || execute(&mut connection, "ROLLBACK").await.is_ok();
    if clean || matches!(location, Location::Memory { .. }) {
        *idle = Some(connection);
    } else {
        // In any state: closing it ends that.
        close(connection).await;
    }
    ended
}

async fn transaction(
    connection: &mut SqliteConnection,
    turn: &mut Turn,
    batch: &mut [Job],
) -> Result<(), Error> {
    begin(connection, turn).await?;
    if let [job] = batch {
        job.run(connection).await?;
    } else {
        for job in batch {
            execute(connection, "SAVEPOINT job").await?;
            match job.run(connection).await {
                Ok(()) => {}
                Err(error) if error.is_of_the_database() => return Err(error),
                Err(_) => execute(connection, "ROLLBACK TO job").await?,
            }
            execute(connection, "RELEASE job").await?;
        }
    }
    execute(connection, "COMMIT").await
}

/// Begins to write, when no other process does.
async fn begin(connection: &mut SqliteConnection, turn: &mut Turn) -> Result<(), Error> {
    let begun = Instant::now();
    let _turn = turn.take().await;
    loop {
        // At once and not with the first statement that writes. Otherwise rows that the transaction has read could be
        // old by then, and it would have to fail.
        match sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut *connection)
            .await
        {
            Ok(_) => return Ok(()),
            Err(error) if is_busy(&error) && begun.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn execute(connection: &mut SqliteConnection, statement: &'static str) -> Result<(), Error> {
    sqlx::query(statement).execute(connection).await?;
    Ok(())
}

async fn close(connection: SqliteConnection) {
    // The connection is over either way.
    let _ = connection.close().await;
}
