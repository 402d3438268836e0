//! Opening connections.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqliteConnection};

use super::error::{Error, PATIENCE, is_busy, is_closed_to_us};
use super::location::Location;
use super::private::{make_private_database, make_private_folder};

/// The purpose of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The one that writes.
    Writer,
    /// One of those that read.
    Reader,
}

/// Opens a connection; a file that is not there is made, and so is its folder.
pub(super) async fn open(location: &Location, role: Role) -> Result<SqliteConnection, Error> {
    let options = match location {
        Location::File(path) => {
            make_folder(path)?;
            make_private_database(path);
            options(role).filename(path).create_if_missing(true)
        }
        Location::Memory { .. } => options(role).filename(":memory:"),
    };
    let begun = Instant::now();
    loop {
        match options.connect().await {
            Ok(connection) => return Ok(connection),
            // SQLite does not wait while another connection turns on the write-ahead log, which only the first one
            // does.
            Err(error) if is_busy(&error) && begun.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => return Err(explained(error, location).await),
        }
    }
}

fn options(role: Role) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new()
        .journal_mode(SqliteJournalMode::Wal)
        // A commit is answered when it is on the disk.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // 16 MB of log before it is copied into the file: pages that change often are copied once. A log
        // that grew for once, behind a long read, is cut back.
        .pragma("wal_autocheckpoint", "4000")
        .pragma("journal_size_limit", "67108864")
        .pragma("temp_store", "MEMORY")
        .row_buffer_size(512)
        .disable_statement_logging();
    match role {
        // Waits for its turn in short steps, so that a lock that is free is soon noticed: SQLite itself
        // would sleep ever longer. In KiB.
        Role::Writer => options
            .busy_timeout(Duration::from_millis(10))
            .pragma("cache_size", "-8192"),
        // Nothing makes it wait but the very beginning and end of others.
        Role::Reader => options
            .busy_timeout(PATIENCE)
            .pragma("cache_size", "-1024")
            .pragma("query_only", "ON"),
    }
}

fn make_folder(file: &Path) -> Result<(), Error> {
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => return Ok(()),
    };
    make_private_folder(folder).map_err(|error| {
        Error::Unavailable(format!(
            "the folder {} is not there and cannot be made: {error}",
            folder.display()
        ))
    })
}

/// Why a connection cannot be opened. SQLite says little more than that; the system knows.
async fn explained(error: sqlx::Error, location: &Location) -> Error {
    if let (true, Location::File(path)) = (is_closed_to_us(&error), location)
        && let Err(reason) = try_open(path.clone()).await
    {
        return Error::Unavailable(format!("it cannot be opened for writing: {reason}"));
    }
    error.into()
}

async fn try_open(path: PathBuf) -> std::io::Result<()> {
    let mut options = tokio::fs::OpenOptions::new();
    options.read(true).write(true).open(path).await?;
    Ok(())
}
