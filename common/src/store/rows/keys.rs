//! Keys.

use time::OffsetDateTime;

use super::Moment;
use crate::key::{KeyId, KnownKey};

/// A key to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Its public part.
    pub id: KeyId,
    /// What a door needs to know of it.
    pub key: KnownKey,
}

/// A key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its public part.
    pub id: KeyId,
    /// What a door needs to know of it.
    pub key: KnownKey,
    /// When it was made.
    pub created_at: Moment,
    /// Who made it.
    pub created_by: String,
    /// When it was used last, to the minute.
    pub last_used_at: Option<Moment>,
    /// When, by whom and why it was ended.
    pub revoked: Option<Revoked>,
    /// The revision of its last change.
    pub revision: u64,
}

/// The end of a key by an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// The moment.
    pub at: Moment,
    /// Who.
    pub who: String,
    /// The reason.
    pub why: String,
}

/// Which keys to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPage {
    /// The last key of the page before.
    pub after: Option<KeyId>,
    /// Maximum length of the page.
    pub limit: u32,
}

impl KeyRecord {
    /// Whether it opens anything at this moment.
    pub fn is_valid(&self, now: OffsetDateTime) -> bool {
        self.revoked.is_none() && !self.key.has_expired(now)
    }
}
