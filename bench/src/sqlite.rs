//! A bare SQLite insert loop: the rate of one file on this disk, with nothing around it.

use std::{path::Path, time::Instant};

use anyhow::{Context, Result, ensure};
use sqlx::{
    Connection, QueryBuilder, Sqlite, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use crate::Events;

/// The rows to write.
#[derive(Clone, Debug)]
pub struct Inserts {
    /// Where the events come from.
    pub events: Events,
    /// How many of them.
    pub count: u64,
    /// How many of them one transaction holds; at most 16,000.
    pub batch: u64,
}

/// Inserts the events into a table of a new database at `path`, and removes it again; rows a second.
///
/// One connection, one row for each event: its id as the primary key and its body; one statement with all of its rows
/// for each transaction. Nothing is read, parsed or checked. Each transaction is on the disk before the next begins:
/// write-ahead log and `synchronous=FULL`, as the embedded engine commits. The engine writes an event several times, in
/// two files: onto each queue and off it again, into the history, and into the tables. The loop writes it once.
///
/// # Errors
/// When the file is there already or cannot be written.
pub async fn inserts(path: &Path, load: &Inserts) -> Result<f64> {
    ensure!(
        load.batch > 0,
        "transactions of 0 events write nothing: expected 1 or more"
    );
    ensure!(!path.exists(), "{} is there already", path.display());
    let written = insert_all(path, load)
        .await
        .with_context(|| format!("writing {}", path.display()));
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        // Closing a database removes two of them; a leftover file does no harm.
        let _ = std::fs::remove_file(file);
    }
    written
}

async fn insert_all(path: &Path, load: &Inserts) -> Result<f64> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let table = "create table events (event_id blob primary key, body blob not null) without rowid";
    sqlx::query(table).execute(&mut connection).await?;
    let started = Instant::now();
    let mut from = 0;
    while from < load.count {
        let to = (from + load.batch).min(load.count);
        let rows = (from..to).map(|seq| load.events.event(seq));
        let mut insert = QueryBuilder::<Sqlite>::new("insert into events ");
        insert.push_values(rows, |mut row, event| {
            row.push_bind(event.id).push_bind(event.body);
        });
        // A statement by itself is a transaction.
        insert.build().execute(&mut connection).await?;
        from = to;
    }
    let seconds = started.elapsed().as_secs_f64();
    connection.close().await?;
    Ok(load.count as f64 / seconds.max(f64::EPSILON))
}

#[cfg(test)]
mod tests {
    use super::{Inserts, inserts};
    use crate::Events;

    #[tokio::test]
    async fn the_loop_writes_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bare.db");
        let load = |batch| Inserts {
            events: Events::new(500),
            count: 10,
            batch,
        };
        assert!(inserts(&path, &load(4)).await.unwrap() > 0.0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(inserts(&path, &load(0)).await.is_err());
        std::fs::write(&path, "mine").unwrap();
        let refused = inserts(&path, &load(1)).await.unwrap_err();
        assert!(refused.to_string().contains("there already"), "{refused}");
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }
}
