//! The tables themselves: made, asked, removed.

use async_trait::async_trait;

use super::StoreError;

/// The tables of one namespace.
#[async_trait]
pub trait Schema: Send + Sync {
    /// Brings the schema up to date. Safe to call from many processes at once.
    ///
    /// # Errors
    /// The database cannot be reached or refuses a change.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Removes the namespace's schema with everything in it, as a demo and a test do at their end.
    ///
    /// # Errors
    /// The database cannot be reached, or foreign objects depend on ours.
    async fn remove_schema(&self) -> Result<(), StoreError>;

    /// Checks over a new connection that the database can be reached, takes a small write, and has the schema that
    /// this program knows.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], or [`StoreError::Schema`] with the remedy.
    async fn ready(&self) -> Result<(), StoreError>;

    /// The engine and its version, such as "PostgreSQL 15.20".
    ///
    /// # Errors
    /// The database cannot say.
    async fn product(&self) -> Result<String, StoreError>;

    /// Closes every connection.
    async fn close(&self);
}
