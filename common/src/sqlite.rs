//! One SQLite file, shared by everything that is embedded.
//!
//! All writes of a process go through one connection, owned by one task. The task commits together all work that
//! gathered during the previous commit: many small pieces of work cost one `fsync`, and none of them waits on purpose.
//! Reading has connections of its own and never waits for writing. Several processes may use the same file; they take
//! turns.
//!
//! A commit is on the disk when it is answered: write-ahead log, `synchronous=FULL`.

mod check;
mod error;
mod location;
mod open;
mod private;
mod readers;
#[cfg(test)]
mod tests;
mod turn;
mod work;
mod writer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::future::BoxFuture;
use sqlx::SqliteConnection;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use self::check::check;
pub(crate) use self::error::Error;
pub use self::location::Location;
pub(crate) use self::private::FILE as PRIVATE_FILE;
pub use self::private::{make_private, make_private_folder};
use self::readers::Readers;
use self::work::{AnyValue, AnyWork, of_any_type, of_type};
use self::writer::Job;
use crate::tasks;

/// Capacity of the write queue; a full queue makes callers wait.
const QUEUE: usize = 1024;

/// The databases that this process has open and shares, by where they are.
static SHARED: Mutex<BTreeMap<Location, Weak<Inner>>> = Mutex::new(BTreeMap::new());

/// A way to one database. Nothing is opened before it is used.
pub(crate) struct Database {
    inner: Arc<Inner>,
    closed: AtomicBool,
}

struct Inner {
    location: Location,
    writer: Mutex<Option<Writer>>,
    readers: Readers,
    /// How many [`Database`]s lead here and are not closed.
    users: AtomicUsize,
}

/// The task that writes.
struct Writer {
    jobs: mpsc::Sender<Job>,
    task: JoinHandle<()>,
}

impl Database {
    /// The database at `location`, over the connections that this process has to it already: writes through any of them
    /// are committed together. The only way to share one in memory.
    pub(crate) fn shared(location: &Location) -> Self {
        let location = location.canonical();
        let mut shared = lock(&SHARED);
        shared.retain(|_, inner| inner.strong_count() > 0);
        let known = shared.get(&location).and_then(Weak::upgrade);
        let inner = known.unwrap_or_else(|| {
            let inner = Arc::new(Inner::new(location.clone()));
            shared.insert(location, Arc::downgrade(&inner));
            inner
        });
        Self::of(inner)
    }

    /// The database at `location`, over connections of its own, as another process would have them.
    pub(crate) fn separate(location: &Location) -> Self {
        Self::of(Arc::new(Inner::new(location.canonical())))
    }

    fn of(inner: Arc<Inner>) -> Self {
        inner.users.fetch_add(1, Ordering::AcqRel);
        Self {
            inner,
            closed: AtomicBool::new(false),
        }
    }

    /// Where it is.
    pub(crate) fn location(&self) -> &Location {
        &self.inner.location
    }

    /// Does `work` in a write transaction, which it shares with others, and returns once that is committed. Failed work
    /// is rolled back alone. Begun work ends, even if the caller is dropped. `work` must neither begin nor end a
    /// transaction. Call it inside a Tokio runtime.
    ///
    /// # Errors
    /// The error of `work`, or the reason that nothing could be committed. In both cases nothing
    /// was.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Error>>
            + Send
            + 'static,
    {
        of_type(self.write_any(of_any_type(work)).await?)
    }

    async fn write_any(&self, work: AnyWork) -> Result<AnyValue, Error> {
        let (job, answer) = Job::new(work);
        let ending = |_| Error::Unavailable("the program is ending".to_owned());
        let queued = self.inner.jobs().send(job).await;
        queued.map_err(|_| ending(()))?;
        let done = answer.await.map_err(|_| ending(()))?;
        done.map_err(|error| error.at(self.location()))
    }

    /// Reads: `work` sees the rows committed before each of its statements.
    ///
    /// # Errors
    /// The error of `work`, or that the database cannot be opened.
    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Error>>
            + Send
            + 'static,
    {
        of_type(
            self.read_any(&self.inner.readers, of_any_type(work))
                .await?,
        )
    }

    async fn read_any(&self, readers: &Readers, work: AnyWork) -> Result<AnyValue, Error> {
        if let Location::Memory { .. } = self.location() {
            // It is in the memory of one connection.
            return self.write_any(work).await;
        }
        let done = readers.run(self.location(), work).await;
        done.map_err(|error| error.at(self.location()))
    }

    /// Whether it can be opened and read now, by a connection of its own, on which `work` then looks.
    ///
    /// # Errors
    /// The error of `work`, or that the database cannot be opened.
    pub(crate) async fn probe<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Error>>
            + Send
            + 'static,
    {
        of_type(self.read_any(&Readers::new(), of_any_type(work)).await?)
    }

    /// Ends the queued work and closes the connections, unless others in this process share them.
    pub(crate) async fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        if self.inner.users.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let writer = lock(&self.inner.writer).take();
        if let Some(Writer { jobs, task }) = writer {
            drop(jobs);
            // Its error has no reader left.
            let _ = task.await;
        }
        self.inner.readers.close().await;
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !*self.closed.get_mut() {
            self.inner.users.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Inner {
    fn new(location: Location) -> Self {
        Self {
            location,
            writer: Mutex::new(None),
            readers: Readers::new(),
            users: AtomicUsize::new(0),
        }
    }

    /// The way to the writing task, which is started if it is missing.
    fn jobs(&self) -> mpsc::Sender<Job> {
        let mut writer = lock(&self.writer);
        if let Some(running) = writer.as_ref().filter(|writer| !writer.jobs.is_closed()) {
            return running.jobs.clone();
        }
        let (jobs, queue) = mpsc::channel(QUEUE);
        let task = tasks::spawn("database writer", writer::run(self.location.clone(), queue));
        *writer = Some(Writer {
            jobs: jobs.clone(),
            task,
        });
        jobs
    }
}

/// The content of a lock. No holder of our locks can leave it half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
