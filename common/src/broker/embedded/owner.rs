//! Who has a file open: each instance holds the lock on a small file of its own beside the database.
//!
//! The operating system lets go of a lock when its process ends, however it ends. So whoever can take
//! another's lock knows that the other is gone, and gives back at once what it held. A process that is
//! there but stands still keeps its lock; it is known by a count that does not grow.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::{Row as _, SqliteConnection};
use tokio::time::Instant;
use uuid::Uuid;

use crate::sqlite::{Error, Location, PRIVATE_FILE};

/// How often a live instance says that it lives.
pub(super) const BEAT: Duration = Duration::from_secs(10);

/// How long an instance may stand still before others take over what it holds.
const LEASE: Duration = Duration::from_secs(60);

/// The lock of this instance.
#[derive(Debug)]
pub(super) struct OwnLock {
    path: PathBuf,
    /// Open as long as we live.
    _file: File,
}

impl OwnLock {
    /// Makes and locks a file beside the database; there is none beside one in memory.
    pub(super) fn new(location: &Location) -> Result<Option<Self>, Error> {
        let Location::File(database) = location else {
            return Ok(None);
        };
        let path = beside(database, &Uuid::now_v7().simple().to_string());
        let lock = || -> io::Result<File> {
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(PRIVATE_FILE)
                .open(&path)?;
            file.try_lock()?;
            Ok(file)
        };
        let file = lock().map_err(|error| {
            Error::Unavailable(format!(
                "expected to make and lock the file {}, but could not: {error}",
                path.display()
            ))
        })?;
        Ok(Some(Self { path, _file: file }))
    }

    /// What tells it from others.
    pub(super) fn name(&self) -> String {
        let name = self.path.extension().map(OsString::from);
        name.unwrap_or_default().to_string_lossy().into_owned()
    }
}

impl Drop for OwnLock {
    fn drop(&mut self) {
        // What is left is unlocked, and whoever finds it removes it.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn beside(database: &Path, name: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-owner.");
    path.push(name);
    path.into()
}

/// An instance, as it stands in the file.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) lock: Option<String>,
    pub(super) beat: i64,
    /// Whether it consumes anything. Only then does it say that it lives.
    pub(super) consumes: bool,
}

impl Owner {
    /// Whether it has ended: nobody holds its lock.
    pub(super) fn is_gone(&self, location: &Location) -> bool {
        let (Location::File(database), Some(name)) = (location, &self.lock) else {
            return false;
        };
        let path = beside(database, name);
        match OpenOptions::new().write(true).open(&path) {
            Ok(file) => {
                let free = file.try_lock().is_ok();
                if free {
                    // Somebody else may have been quicker.
                    let _ = std::fs::remove_file(&path);
                }
                free
            }
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }
}

/// Everybody who has the file open, or had.
pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Owner>, Error> {
    const ALL: &str = "
        SELECT id, name, lock, beat, EXISTS (SELECT 1 FROM consumers WHERE owner = owners.id)
        FROM owners";
    let rows = sqlx::query(ALL).fetch_all(connection).await?;
    let owner = |row: &sqlx::sqlite::SqliteRow| {
        Ok(Owner {
            id: row.try_get(0)?,
            name: row.try_get(1)?,
            lock: row.try_get(2)?,
            beat: row.try_get(3)?,
            consumes: row.try_get(4)?,
        })
    };
    rows.iter().map(owner).collect()
}

/// Writes a new instance down.
pub(super) async fn register(
    connection: &mut SqliteConnection,
    name: String,
    lock: Option<String>,
) -> Result<Owner, Error> {
    const REGISTER: &str = "INSERT INTO owners (name, lock, beat) VALUES (?, ?, 0) RETURNING id";
    let id = sqlx::query_scalar(REGISTER)
        .bind(name.clone())
        .bind(lock.clone())
        .fetch_one(connection)
        .await?;
    Ok(Owner {
        id,
        name,
        lock,
        beat: 0,
        consumes: false,
    })
}

/// Writes an instance down again, if others have given it up.
pub(super) async fn restore(connection: &mut SqliteConnection, owner: &Owner) -> Result<(), Error> {
    const RESTORE: &str = "
        INSERT INTO owners (id, name, lock, beat) VALUES (?, ?, ?, 0) ON CONFLICT DO NOTHING";
    sqlx::query(RESTORE)
        .bind(owner.id)
        .bind(owner.name.clone())
        .bind(owner.lock.clone())
        .execute(connection)
        .await?;
    Ok(())
}

/// Says that an instance lives.
pub(super) async fn beat(connection: &mut SqliteConnection, owner: i64) -> Result<(), Error> {
    sqlx::query("UPDATE owners SET beat = beat + 1 WHERE id = ?")
        .bind(owner)
        .execute(connection)
        .await?;
    Ok(())
}

/// Since when each of the others has not said that it lives, by our own clock: no two clocks are ever
/// compared.
#[derive(Debug, Default)]
pub(super) struct Watch(HashMap<i64, (i64, Instant)>);

impl Watch {
    /// Looks at the others `now`; returns those that consume and have stood still for a whole lease.
    pub(super) fn still(&mut self, others: &[Owner], now: Instant) -> Vec<Owner> {
        self.0
            .retain(|id, _| others.iter().any(|other| other.id == *id));
        let mut still = Vec::new();
        for other in others {
            let (beat, since) = self.0.entry(other.id).or_insert((other.beat, now));
            if *beat != other.beat || !other.consumes {
                (*beat, *since) = (other.beat, now);
            } else if now.duration_since(*since) >= LEASE {
                still.push(other.clone());
            }
        }
        still
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_gone_when_its_lock_is_free() {
        let folder = tempfile::tempdir().expect("a folder");
        let location = Location::file(folder.path().join("x.db"));
        let lock = OwnLock::new(&location).expect("locked").expect("a file");
        let owner = |lock: &OwnLock| Owner {
            id: 1,
            name: "other".to_owned(),
            lock: Some(lock.name()),
            beat: 0,
            consumes: true,
        };
        let owner = owner(&lock);
        assert!(!owner.is_gone(&location));
        drop(lock);
        assert!(owner.is_gone(&location));
        let left = std::fs::read_dir(folder.path()).expect("readable").count();
        assert_eq!(left, 0);
    }

    #[test]
    fn an_owner_stands_still_when_its_count_does_not_grow() {
        let owner = |beat| Owner {
            id: 1,
            name: "other".to_owned(),
            lock: None,
            beat,
            consumes: true,
        };
        let mut watch = Watch::default();
        let began = Instant::now();
        assert!(watch.still(&[owner(1)], began).is_empty());
        let beaten = began + LEASE;
        assert!(watch.still(&[owner(2)], beaten).is_empty());
        assert!(watch.still(&[owner(2)], beaten + LEASE - BEAT).is_empty());
        let idle = Owner {
            consumes: false,
            ..owner(2)
        };
        assert_eq!(watch.still(&[owner(2)], beaten + LEASE).len(), 1);
        assert!(watch.still(&[idle], beaten + LEASE).is_empty());
    }
}
