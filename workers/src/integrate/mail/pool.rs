//! Conversations that are kept for the next mail.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use common::tasks;
use tokio::time::Instant;

use super::conversation::Conversation;

/// How long a conversation without a mail is kept.
const IDLE: Duration = Duration::from_secs(30);
/// How long a conversation is used: after it the name of the server is looked up again, and its certificate checked.
const MAX_AGE: Duration = Duration::from_secs(300);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// The kept conversations with one server, as many as a destination has places.
pub(super) struct Pool {
    capacity: usize,
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Default)]
struct Shelf {
    kept: Vec<Kept>,
    /// A task looks after the kept ones.
    is_watched: bool,
}

/// A conversation, and its age.
pub(super) struct Kept {
    pub(super) conversation: Conversation,
    born: Instant,
    since: Instant,
}

impl Pool {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            shelf: Arc::default(),
        }
    }

    /// The conversation that was used last, if there is one.
    pub(super) fn take(&self) -> Option<Kept> {
        let mut shelf = lock(&self.shelf);
        while let Some(kept) = shelf.kept.pop() {
            if !kept.is_over() {
                return Some(kept);
            }
            kept.let_go();
        }
        None
    }

    /// Keeps a conversation that began at `born`, if it can take another mail.
    pub(super) fn keep(&self, conversation: Conversation, born: Instant) {
        if !conversation.is_open() {
            return;
        }
        let kept = Kept {
            conversation,
            born,
            since: Instant::now(),
        };
        let mut shelf = lock(&self.shelf);
        if kept.is_over() || shelf.kept.len() >= self.capacity {
            kept.let_go();
            return;
        }
        shelf.kept.push(kept);
        if !std::mem::replace(&mut shelf.is_watched, true) {
            tasks::spawn("idle mail connections", watch(Arc::downgrade(&self.shelf)));
        }
    }

    /// Lets all conversations go: the server does not answer any more.
    pub(super) fn clear(&self) {
        lock(&self.shelf).kept.clear();
    }
}

impl Kept {
    /// When the conversation began.
    pub(super) fn born(&self) -> Instant {
        self.born
    }

    fn is_over(&self) -> bool {
        self.since.elapsed() >= IDLE || self.born.elapsed() >= MAX_AGE
    }

    fn let_go(self) {
        tasks::spawn("goodbye to a mail server", async move {
            let _ = tokio::time::timeout(GOODBYE, self.conversation.quit()).await;
        });
    }
}

/// Ends conversations that nobody has used for long, until all are ended.
async fn watch(shelf: Weak<Mutex<Shelf>>) {
    loop {
        tokio::time::sleep(IDLE / 4).await;
        let Some(shelf) = shelf.upgrade() else {
            return;
        };
        let mut shelf = lock(&shelf);
        let over: Vec<Kept> = shelf.kept.extract_if(.., |kept| kept.is_over()).collect();
        over.into_iter().for_each(Kept::let_go);
        if shelf.kept.is_empty() {
            shelf.is_watched = false;
            return;
        }
    }
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}
