//! The keys that callers show at the door.

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{Act, KeyPage, KeyRecord, NewKey, StoreError};
use crate::key::KeyId;

/// Keeps keys, for operators and for doors.
#[async_trait]
pub trait Keys: Send + Sync {
    /// Keeps a new key. It is made by the actor of `act`.
    ///
    /// # Errors
    /// It is not kept.
    async fn create_key(&self, key: &NewKey, act: &Act) -> Result<(), StoreError>;

    /// Keeps a new key in the place of a valid one, which ends at `old_ends_at` or earlier. Gives the record of the old
    /// key; `None`, and nothing is kept, if there is no such key that is valid.
    ///
    /// # Errors
    /// Nothing is changed.
    async fn rotate_key(
        &self,
        old: &KeyId,
        new: &NewKey,
        old_ends_at: OffsetDateTime,
        act: &Act,
    ) -> Result<Option<KeyRecord>, StoreError>;

    /// Ends a key for good, for the reason of `act`, and gives its record; `None` if there is no such key. A revoked key
    /// stays as it is.
    ///
    /// # Errors
    /// Nothing is changed.
    async fn revoke_key(&self, id: &KeyId, act: &Act) -> Result<Option<KeyRecord>, StoreError>;

    /// One key.
    ///
    /// # Errors
    /// The database cannot say.
    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError>;

    /// One page of keys, newest first.
    ///
    /// # Errors
    /// The database cannot say.
    async fn keys_page(&self, page: KeyPage) -> Result<Vec<KeyRecord>, StoreError>;

    /// The revision of the last change.
    ///
    /// # Errors
    /// The database cannot say.
    async fn key_revision(&self) -> Result<u64, StoreError>;

    /// Up to `most` keys that were changed after `revision`, in the order of their revisions. A change becomes visible
    /// after all changes with lower revisions.
    ///
    /// # Errors
    /// The database cannot say.
    async fn changed_keys(&self, revision: u64, most: u32) -> Result<Vec<KeyRecord>, StoreError>;

    /// Writes down when keys were used last. This does not count as a change, and an earlier use changes nothing.
    ///
    /// # Errors
    /// It is not written down.
    async fn note_key_use(&self, uses: &[(KeyId, OffsetDateTime)]) -> Result<(), StoreError>;
}
