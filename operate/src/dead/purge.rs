//! Removing letters that were settled long ago.

use std::time::Duration;

use common::bootstrap::Failure;
use common::store::{AuditAction, DeadFilter, DeadState, Store, StoreError};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::batches::{BATCH, change_all};
use crate::roles::{Requester, permit};

/// The moment before which a letter must be settled to be removed now.
///
/// # Errors
/// `retention` is longer than the calendar.
pub fn settled_before(now: OffsetDateTime, retention: Duration) -> Result<OffsetDateTime, Failure> {
    let retention = time::Duration::try_from(retention).ok();
    retention
        .and_then(|retention| now.checked_sub(retention))
        .filter(|before| before.year() >= 0)
        .ok_or_else(|| {
            Failure::Usage("expected a retention that ends within our calendar".to_owned())
        })
}

/// How many letters are settled, however long ago. How many of these are old enough is known when they are removed:
/// it is not worth a scan.
///
/// # Errors
/// The database cannot say.
pub async fn count_settled(store: &dyn Store) -> Result<u64, StoreError> {
    let mut settled = 0;
    for state in [
        DeadState::Replayed,
        DeadState::Discarded,
        DeadState::Superseded,
    ] {
        let filter = DeadFilter {
            state: Some(state),
            ..DeadFilter::default()
        };
        settled += store.dead_count(&filter).await?;
    }
    Ok(settled)
}

/// Removes the letters that were settled before then, and says how many those were. `removed` is told as it goes on.
///
/// # Errors
/// The role of `by` does not allow it, the database failed, or `stop` was cancelled.
pub async fn purge(
    store: &dyn Store,
    before: OffsetDateTime,
    by: &Requester,
    stop: &CancellationToken,
    removed: impl Fn(u64),
) -> Result<u64, Failure> {
    let act = by.act(AuditAction::DeadPurge, "dead");
    permit(store, &act).await?;
    let step = async || store.purge_dead(before, &act, BATCH).await;
    change_all(stop, removed, step).await
}

#[cfg(test)]
mod tests {
    use common::event::now;
    use common::store::{BulkChange, Changer, DeadLetters as _, Mending as _, Role};

    use super::*;
    use crate::testbed;

    #[tokio::test]
    async fn only_what_was_settled_long_enough_ago_is_removed() {
        let store = testbed::store().await;
        let letters: Vec<_> = (0..3).map(|_| testbed::letter("longshore.store")).collect();
        store.keep_dead(&letters).await.unwrap();
        let by = testbed::requester();
        let discard = BulkChange {
            filter: DeadFilter {
                ids: Some(letters[..2].iter().map(|letter| letter.id).collect()),
                ..DeadFilter::default()
            },
            by: Changer::Operator(by.act(AuditAction::DeadDiscard, "dead")),
        };
        assert_eq!(count_settled(&store).await, Ok(0));
        assert_eq!(store.discard_dead(&discard, 10).await, Ok(2));
        assert_eq!(count_settled(&store).await, Ok(2));
        let stop = CancellationToken::new();
        let purge = async |before, by| purge(&store, before, by, &stop, |_| {}).await;
        let long_ago = settled_before(now(), Duration::from_secs(60)).unwrap();
        assert_eq!(purge(long_ago, &by).await.unwrap(), 0);
        let later = now() + time::Duration::SECOND;
        let mut operator = by.clone();
        operator.actor.role = Some(Role::Operator);
        let refused = purge(later, &operator).await.unwrap_err();
        assert!(
            refused.to_string().contains("needs the role admin"),
            "{refused}"
        );
        assert_eq!(purge(later, &by).await.unwrap(), 2);
        assert_eq!(store.dead_count(&DeadFilter::default()).await, Ok(1));
    }

    #[test]
    fn no_retention_is_too_long_to_be_said_so() {
        let forever = settled_before(now(), Duration::MAX);
        assert!(forever.is_err_and(|failure| failure.code() == 2));
    }
}
