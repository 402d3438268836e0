//! Attempts are written down many at a time: whoever comes while a batch is being written is in the
//! next one.

use std::sync::Arc;

use common::store::{Attempt, Store, StoreError};
use tokio::sync::{mpsc, oneshot};

/// At most so many attempts in one transaction.
const BATCH: usize = 256;
/// So many transactions at once.
const WRITERS: usize = 2;

type Entry = (Attempt, oneshot::Sender<Result<(), StoreError>>);

/// Writes attempts down in batches.
pub(super) struct Recorder(mpsc::Sender<Entry>);

impl Recorder {
    /// Starts to write into `store`, until it is dropped.
    pub(super) fn start(store: Arc<dyn Store>) -> Self {
        let (entries, queue) = mpsc::channel(4 * BATCH);
        let queue = Arc::new(tokio::sync::Mutex::new(queue));
        for _ in 0..WRITERS {
            tokio::spawn(write(Arc::clone(&store), Arc::clone(&queue)));
        }
        Self(entries)
    }

    /// Writes one attempt down; returns when it is.
    pub(super) async fn record(&self, attempt: Attempt) -> Result<(), StoreError> {
        let (told, tell) = oneshot::channel();
        let ended = || StoreError::Unavailable("the worker is ending".to_owned());
        self.0.send((attempt, told)).await.map_err(|_| ended())?;
        tell.await.map_err(|_| ended())?
    }
}

async fn write(store: Arc<dyn Store>, queue: Arc<tokio::sync::Mutex<mpsc::Receiver<Entry>>>) {
    loop {
        let mut entries = Vec::new();
        if queue.lock().await.recv_many(&mut entries, BATCH).await == 0 {
            return;
        }
        let (attempts, told): (Vec<Attempt>, Vec<_>) = entries.into_iter().unzip();
        let written = store.record_attempts(&attempts).await;
        match written {
            Ok(()) => {
                for told in told {
                    // Whoever is gone was called off; what was done is written down.
                    let _ = told.send(Ok(()));
                }
            }
            Err(StoreError::Data(_) | StoreError::Fault(_)) if attempts.len() > 1 => {
                for (one, told) in attempts.chunks(1).zip(told) {
                    let _ = told.send(store.record_attempts(one).await);
                }
            }
            Err(error) => {
                let text = error.to_string();
                for told in told {
                    let _ = told.send(Err(StoreError::Unavailable(text.clone())));
                }
            }
        }
    }
}
