//! The audit record.

use async_trait::async_trait;

use super::{Act, AuditEntry, AuditFilter, AuditHead, AuditLink, AuditPage, StoreError};

/// The acts of operators: an append-only chain. An act that changes this database is recorded in the transaction of the
/// change, by the role that makes it.
#[async_trait]
pub trait Audit: Send + Sync {
    /// Records that an act was denied.
    ///
    /// # Errors
    /// Nothing is recorded, or the answer of the database was lost.
    async fn deny(&self, act: &Act) -> Result<(), StoreError>;

    /// Records an act whose change is not in this database, such as a change of the topology.
    ///
    /// # Errors
    /// Nothing is recorded, or the answer of the database was lost.
    async fn record(&self, act: &Act) -> Result<(), StoreError>;

    /// One page of entries that match, newest first.
    ///
    /// # Errors
    /// The database cannot say.
    async fn audit_page(
        &self,
        filter: &AuditFilter,
        page: AuditPage,
    ) -> Result<Vec<AuditEntry>, StoreError>;

    /// Up to `most` entries as the chain sees them, in the order of their numbers, from the lowest number or the one
    /// behind `after`.
    ///
    /// # Errors
    /// The database cannot say.
    async fn audit_links(
        &self,
        after: Option<i64>,
        most: u32,
    ) -> Result<Vec<AuditLink>, StoreError>;

    /// The end of the record; `None` if somebody has removed it.
    ///
    /// # Errors
    /// The database cannot say.
    async fn audit_head(&self) -> Result<Option<AuditHead>, StoreError>;
}
