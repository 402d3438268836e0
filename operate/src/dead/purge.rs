//! Removing letters that were settled long ago.

use std::time::Duration;

use common::bootstrap::Failure;
use common::store::{DeadFilter, DeadState, Store, StoreError};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::batches::{BATCH, change_all};

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
/// The database failed, or `stop` was cancelled.
pub async fn purge(
    store: &dyn Store,
    before: OffsetDateTime,
    stop: &CancellationToken,
    removed: impl Fn(u64),
) -> Result<u64, Failure> {
    let step = async || store.purge_dead(before, BATCH).await;
    change_all(stop, removed, step).await
}

#[cfg(test)]
mod tests {
    use common::event::now;
    use common::store::Discard;
    use common::store::{DeadLetters as _, Mending as _};

    use super::*;
    use crate::testbed;

    #[tokio::test]
    async fn only_what_was_settled_long_enough_ago_is_removed() {
        let store = testbed::store().await;
        let letters: Vec<_> = (0..3).map(|_| testbed::letter("longshore.store")).collect();
        store.keep_dead(&letters).await.unwrap();
        let discard = Discard {
            filter: DeadFilter {
                ids: Some(letters[..2].iter().map(|letter| letter.id).collect()),
                ..DeadFilter::default()
            },
            who: "cli:test".to_owned(),
            why: "a test".to_owned(),
        };
        assert_eq!(count_settled(&store).await, Ok(0));
        assert_eq!(store.discard_dead(&discard, None, 10).await, Ok(2));
        assert_eq!(count_settled(&store).await, Ok(2));
        let stop = CancellationToken::new();
        let purge = async |before| purge(&store, before, &stop, |_| {}).await.unwrap();
        let long_ago = settled_before(now(), Duration::from_secs(60)).unwrap();
        assert_eq!(purge(long_ago).await, 0);
        let later = now() + time::Duration::SECOND;
        assert_eq!(purge(later).await, 2);
        assert_eq!(store.dead_count(&DeadFilter::default()).await, Ok(1));
    }

    #[test]
    fn no_retention_is_too_long_to_be_said_so() {
        let forever = settled_before(now(), Duration::MAX);
        assert!(forever.is_err_and(|failure| failure.code() == 2));
    }
}
