//! Bringing the schema up to date.

use common::bootstrap::Failure;
use common::store::{AuditAction, Store};

use crate::roles::{Requester, permit};

/// Brings the schema up to date, and records that, unless it is up to date already. The record is a part of the schema, so
/// the entry is written once the migrations are committed.
///
/// # Errors
/// The role does not allow it, or the database refuses it.
pub async fn migrate(store: &dyn Store, by: &Requester) -> Result<(), Failure> {
    let act = by.act(AuditAction::SchemaMigrate, "schema");
    permit(store, &act).await?;
    let was_ready = store.ready().await.is_ok();
    store.migrate().await?;
    if !was_ready {
        store.audit().record(&act).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use common::namespace::Namespace;
    use common::sqlite::Location;
    use common::store::sqlite::SqliteStore;
    use common::store::{AuditFilter, Role};

    use super::*;
    use crate::testbed;

    #[tokio::test]
    async fn only_a_migration_that_changes_something_is_recorded() {
        let store = SqliteStore::at(&Location::memory(), &Namespace::default());
        let mut by = testbed::requester();
        for _ in 0..2 {
            migrate(&store, &by).await.unwrap();
        }
        by.actor.role = Some(Role::Operator);
        assert!(migrate(&store, &by).await.is_err());
        let found = crate::audit::page(&store, &AuditFilter::default(), None, 10).await;
        let found = found.unwrap().items;
        let told: Vec<_> = found
            .iter()
            .map(|entry| (entry.action.as_str(), entry.outcome.as_str()))
            .collect();
        assert_eq!(
            told,
            [("schema.migrate", "denied"), ("schema.migrate", "allowed")]
        );
    }
}
