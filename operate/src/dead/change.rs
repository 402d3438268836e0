//! Giving dead letters up, and opening them again.

use common::bootstrap::Failure;
use common::event::now;
use common::store::{
    DeadFilter, DeadState, Discard, Moment, Operation, OperationKind, Progress, Store, StoreError,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::batches::{BATCH, change_all};
use crate::words::count;

/// A change of many letters from one state to another. It is counted first, so that somebody can say yes to it. A few
/// letters are changed at once; a change of many is an operation that a worker runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Gives open letters up.
    Discard(Discard),
    /// Opens discarded letters again.
    Restore(DeadFilter),
}

impl Change {
    /// Gives up the open letters among `filter`.
    ///
    /// # Errors
    /// `why` says nothing.
    pub fn discard(filter: DeadFilter, who: String, why: String) -> Result<Self, Failure> {
        if why.trim().is_empty() {
            return Err(Failure::Usage(
                "expected --why to say why, found nothing".to_owned(),
            ));
        }
        let filter = counted_now(filter);
        Ok(Self::Discard(Discard { filter, who, why }))
    }

    /// The change that an operation makes; `None` where the operation is a replay.
    pub(crate) fn of(operation: &Progress) -> Option<Self> {
        let filter = operation.filter.clone();
        match operation.kind {
            OperationKind::Replay => None,
            OperationKind::Discard => Some(Self::Discard(Discard {
                filter,
                who: operation.who.clone(),
                why: operation.why.clone().unwrap_or_default(),
            })),
            OperationKind::Restore => Some(Self::Restore(filter)),
        }
    }

    /// Its kind as an operation.
    pub fn kind(&self) -> OperationKind {
        match self {
            Self::Discard(_) => OperationKind::Discard,
            Self::Restore(_) => OperationKind::Restore,
        }
    }

    /// The operation that makes it, begun by `who`.
    pub fn operation(&self, who: String) -> Operation {
        let why = match self {
            Self::Discard(discard) => Some(discard.why.clone()),
            Self::Restore(_) => None,
        };
        Operation {
            id: Uuid::now_v7(),
            kind: self.kind(),
            filter: self.filter().clone(),
            to_queue: None,
            who,
            why,
            rate: None,
            stop_when: None,
            slice: None,
            new_ids: false,
            resumes: None,
        }
    }

    /// Whether `found` letters are changed at once, in one step, and need no operation.
    pub fn is_small(found: u64) -> bool {
        found <= u64::from(BATCH)
    }

    /// The state of the letters that it changes.
    pub fn state(&self) -> DeadState {
        match self {
            Self::Discard(_) => DeadState::Open,
            Self::Restore(_) => DeadState::Discarded,
        }
    }

    /// The letters that it changes.
    pub fn matching(&self) -> DeadFilter {
        DeadFilter {
            state: Some(self.state()),
            ..self.filter().clone()
        }
    }

    fn filter(&self) -> &DeadFilter {
        match self {
            Self::Discard(discard) => &discard.filter,
            Self::Restore(filter) => filter,
        }
    }

    /// How many letters it would change.
    ///
    /// # Errors
    /// The database cannot say.
    pub async fn count(&self, store: &dyn Store) -> Result<u64, StoreError> {
        store.dead_count(&self.matching()).await
    }

    /// Checks that `found`, which [`Change::count`] said, is every letter that was named.
    ///
    /// # Errors
    /// It is not: then none of them is to be changed.
    pub fn expect_named(&self, found: u64) -> Result<(), Failure> {
        let named = self.filter().ids.as_ref().map_or(0, |ids| ids.len() as u64);
        if found < named {
            return Err(Failure::Failed(anyhow::anyhow!(
                "{found} of the {} asked for is {}, so nothing was done; `longshore dead show ID` says \
                 what became of each",
                count(named, "dead letter"),
                self.state()
            )));
        }
        Ok(())
    }

    /// Makes it, and says how many letters it changed. `changed` is told as it goes on.
    ///
    /// # Errors
    /// The database failed, or `stop` was cancelled; what was changed before stays so.
    pub async fn make(
        &self,
        store: &dyn Store,
        stop: &CancellationToken,
        changed: impl Fn(u64),
    ) -> Result<u64, Failure> {
        change_all(stop, changed, async || self.step(store, None).await).await
    }

    /// Changes some of the letters, counts them in the row of `operation`, and gives their number: 0 once none is
    /// left.
    ///
    /// # Errors
    /// The database failed, and nothing is changed.
    pub(crate) async fn step(
        &self,
        store: &dyn Store,
        operation: Option<Uuid>,
    ) -> Result<u64, StoreError> {
        match self {
            Self::Discard(discard) => store.discard_dead(discard, operation, BATCH).await,
            Self::Restore(filter) => store.restore_dead(filter, operation, BATCH).await,
        }
    }
}

/// What dies while a discard runs was not in the number that somebody said yes to. Letters that are named were seen.
fn counted_now(filter: DeadFilter) -> DeadFilter {
    if filter.ids.is_some() {
        return filter;
    }
    let now = Moment(now());
    DeadFilter {
        until: Some(filter.until.map_or(now, |until| until.min(now))),
        ..filter
    }
}

#[cfg(test)]
mod tests {
    use common::store::DeadLetters as _;
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;
    use crate::testbed;

    #[test]
    fn what_dies_later_is_not_discarded_with_what_was_counted() {
        let before = now();
        let all = counted_now(DeadFilter::default());
        assert!(
            all.until
                .is_some_and(|until| (before..=now()).contains(&until.0))
        );
        let past = Some(Moment(OffsetDateTime::UNIX_EPOCH));
        let earlier = counted_now(DeadFilter {
            until: past,
            ..DeadFilter::default()
        });
        assert_eq!(earlier.until, past);
        let named = counted_now(DeadFilter {
            ids: Some(vec![Uuid::nil()]),
            ..DeadFilter::default()
        });
        assert_eq!(named.until, None);
    }

    #[tokio::test]
    async fn what_was_discarded_can_be_restored() {
        let store = testbed::store().await;
        let letters: Vec<_> = (0..3).map(|_| testbed::letter("longshore.store")).collect();
        store.keep_dead(&letters).await.unwrap();
        let named = DeadFilter {
            ids: Some(letters[..2].iter().map(|letter| letter.id).collect()),
            ..DeadFilter::default()
        };
        let stop = CancellationToken::new();
        let discard = |why: &str| Change::discard(named.clone(), "a test".to_owned(), why.into());
        assert!(discard(" ").is_err_and(|failure| failure.code() == 2));
        for change in [discard("a test").unwrap(), Change::Restore(named.clone())] {
            assert_eq!(change.count(&store).await, Ok(2));
            assert!(change.expect_named(2).is_ok());
            assert_eq!(change.make(&store, &stop, |_| {}).await.unwrap(), 2);
            assert_eq!(change.count(&store).await, Ok(0));
            let refused = change.expect_named(0).unwrap_err();
            assert!(refused.to_string().contains("nothing was done"));
        }
    }
}
