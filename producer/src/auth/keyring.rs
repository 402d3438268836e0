//! The keys of this door, in memory, by their hashes. A look costs one SHA-256 and one look into a map, which is the
//! same for an unknown key and for one whose secret is wrong: nothing to measure.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use common::key::{KeyHash, KeyId, KnownKey};
use common::store::KeyRecord;
use time::OffsetDateTime;

use super::limits::EventLimit;

/// The keys of this door.
pub struct Keyring {
    configured: HashMap<KeyHash, Arc<Entry>>,
    stored: Arc<Stored>,
}

/// The keys of the database, in every generation of the door.
#[derive(Default)]
struct Stored {
    keys: RwLock<HashMap<KeyHash, Arc<Entry>>>,
    /// Whether the database has been read.
    is_read: AtomicBool,
}

/// A key, and what happens to it here.
pub struct Entry {
    pub(super) key: KnownKey,
    /// Its id in the database; none for a key of the configuration.
    pub(super) id: Option<KeyId>,
    pub(super) limit: Option<Arc<EventLimit>>,
    uses: Arc<Uses>,
}

/// When a key was used last, as Unix times; 0 for never.
#[derive(Default)]
struct Uses {
    used_at: AtomicI64,
    /// The last use that is written down.
    noted_at: AtomicI64,
}

/// The outcome of a look.
pub enum Found {
    /// This key. It may have expired.
    Key(Arc<Entry>),
    /// No key. It may have been revoked.
    Nothing,
    /// The database has not been read yet, and the configuration does not have it.
    NotRead,
}

impl Found {
    /// Whether there is a key.
    pub fn is_key(&self) -> bool {
        matches!(self, Self::Key(_))
    }
}

impl Keyring {
    /// The keys of the configuration; those of the database follow.
    pub fn new(configured: &[KnownKey]) -> Self {
        Self {
            configured: HashMap::new(),
            stored: Arc::default(),
        }
        .with(configured)
    }

    /// The keys of another configuration, and those of the database. A key whose rate is the same keeps its count.
    pub(super) fn with(&self, configured: &[KnownKey]) -> Self {
        let entry = |key: &KnownKey| {
            let mut entry = Entry::new(key.clone(), None);
            if let Some(before) = self.configured.get(&key.hash) {
                entry.keep_of(before);
            }
            (key.hash, Arc::new(entry))
        };
        Self {
            configured: configured.iter().map(entry).collect(),
            stored: Arc::clone(&self.stored),
        }
    }

    /// Looks for a key.
    pub fn find(&self, hash: &KeyHash) -> Found {
        if let Some(entry) = self.configured.get(hash) {
            return Found::Key(Arc::clone(entry));
        }
        let stored = self
            .stored
            .keys
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        match stored.get(hash) {
            Some(entry) => Found::Key(Arc::clone(entry)),
            None if self.stored.is_read.load(Ordering::Acquire) => Found::Nothing,
            None => Found::NotRead,
        }
    }

    /// Takes over changed keys. A key whose rate is the same keeps the count of what it has used.
    pub(super) fn change(&self, records: Vec<KeyRecord>) {
        let mut stored = self
            .stored
            .keys
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for record in records {
            let hash = record.key.hash;
            if record.revoked.is_some() {
                stored.remove(&hash);
                continue;
            }
            let mut entry = Entry::new(record.key, Some(record.id));
            if let Some(before) = stored.remove(&hash) {
                entry.keep_of(&before);
            }
            stored.insert(hash, Arc::new(entry));
        }
    }

    /// Forgets the keys of the database: it is another one, or was set back.
    pub(super) fn forget(&self) {
        let mut stored = self
            .stored
            .keys
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        stored.clear();
    }

    /// The whole database was read.
    pub(super) fn set_read(&self) {
        self.stored.is_read.store(true, Ordering::Release);
    }

    /// The keys of the database whose last use is not written down yet.
    pub(super) fn used(&self) -> Vec<(Arc<Entry>, OffsetDateTime)> {
        let stored = self
            .stored
            .keys
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        stored
            .values()
            .filter_map(|entry| Some((Arc::clone(entry), entry.unnoted()?)))
            .collect()
    }

    /// Whether there is no key at all.
    pub(super) fn is_empty(&self) -> bool {
        let stored = self
            .stored
            .keys
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        self.configured.is_empty() && stored.is_empty()
    }
}

impl Entry {
    fn new(key: KnownKey, id: Option<KeyId>) -> Self {
        let limit = key.rate.and_then(|rate| EventLimit::new(rate, key.burst));
        Self {
            key,
            id,
            limit: limit.map(Arc::new),
            uses: Arc::default(),
        }
    }

    /// Goes on with the counts of the same key before a change. Requests may still count on them.
    fn keep_of(&mut self, before: &Self) {
        if (self.key.rate, self.key.burst) == (before.key.rate, before.key.burst) {
            self.limit.clone_from(&before.limit);
        }
        self.uses = Arc::clone(&before.uses);
    }

    /// Whether it still opens something.
    pub(super) fn is_valid(&self, now: OffsetDateTime) -> bool {
        !self.key.has_expired(now)
    }

    /// It is used now.
    pub(super) fn touch(&self, now: OffsetDateTime) {
        let now = now.unix_timestamp();
        self.uses.used_at.store(now, Ordering::Relaxed);
    }

    /// The last use is written down.
    pub(super) fn noted(&self, at: OffsetDateTime) {
        let at = at.unix_timestamp();
        self.uses.noted_at.store(at, Ordering::Relaxed);
    }

    fn unnoted(&self) -> Option<OffsetDateTime> {
        let used = self.uses.used_at.load(Ordering::Relaxed);
        let is_new = used > self.uses.noted_at.load(Ordering::Relaxed);
        is_new
            .then(|| OffsetDateTime::from_unix_timestamp(used).ok())
            .flatten()
    }
}

#[cfg(test)]
mod tests;
