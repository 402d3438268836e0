//! Giving dead letters up, and opening them again.

use common::bootstrap::Failure;
use common::event::now;
use common::store::{
    AuditAction, BulkChange, Changer, DeadFilter, DeadState, Moment, Operation, OperationKind,
    Progress, Store, StoreError,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::batches::{BATCH, change_all};
use crate::roles::{Requester, permit};
use crate::words::count;

/// A change of many letters from one state to another. It is counted first, so that somebody can say yes to it. A few
/// letters are changed at once; a change of many is an operation that a worker runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Gives open letters up.
    Discard(BulkChange),
    /// Opens discarded letters again.
    Restore(BulkChange),
}

impl Change {
    /// Gives up the open letters among `filter`.
    ///
    /// # Errors
    /// `why` says nothing.
    pub fn discard(filter: DeadFilter, why: String, by: &Requester) -> Result<Self, Failure> {
        if why.trim().is_empty() {
            return Err(Failure::Usage(
                "expected --why to say why, found nothing".to_owned(),
            ));
        }
        let filter = counted_now(filter);
        let act = by.act(AuditAction::DeadDiscard, target(&filter));
        Ok(Self::Discard(BulkChange {
            filter,
            by: Changer::Operator(act.because(Some(why))),
        }))
    }

    /// Opens the discarded letters among `filter` again.
    pub fn restore(filter: DeadFilter, by: &Requester) -> Self {
        let act = by.act(AuditAction::DeadRestore, target(&filter));
        Self::Restore(BulkChange {
            filter,
            by: Changer::Operator(act),
        })
    }

    /// The change that an operation makes; `None` where the operation is a replay.
    pub(crate) fn of(operation: &Progress) -> Option<Self> {
        let change = BulkChange {
            filter: operation.filter.clone(),
            by: Changer::Operation {
                id: operation.id,
                who: operation.who.clone(),
                why: operation.why.clone(),
            },
        };
        match operation.kind {
            OperationKind::Replay => None,
            OperationKind::Discard => Some(Self::Discard(change)),
            OperationKind::Restore => Some(Self::Restore(change)),
        }
    }

    /// Its kind as an operation.
    pub fn kind(&self) -> OperationKind {
        match self {
            Self::Discard(_) => OperationKind::Discard,
            Self::Restore(_) => OperationKind::Restore,
        }
    }

    /// The operation that makes it, begun by `by`.
    pub fn operation(&self, by: &Requester) -> Operation {
        let why = match self {
            Self::Discard(discard) => Some(discard.by.why().to_owned()),
            Self::Restore(_) => None,
        };
        let id = Uuid::now_v7();
        Operation {
            id,
            kind: self.kind(),
            filter: self.change().filter.clone(),
            to_queue: None,
            act: crate::operation::beginning(id, by).because(why),
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
            ..self.change().filter.clone()
        }
    }

    fn change(&self) -> &BulkChange {
        match self {
            Self::Discard(change) | Self::Restore(change) => change,
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
        let ids = self.change().filter.ids.as_ref();
        let named = ids.map_or(0, |ids| ids.len() as u64);
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
    /// The role does not allow it, the database failed, or `stop` was cancelled; what was changed before stays so.
    pub async fn make(
        &self,
        store: &dyn Store,
        stop: &CancellationToken,
        changed: impl Fn(u64),
    ) -> Result<u64, Failure> {
        if let Changer::Operator(act) = &self.change().by {
            permit(store, act).await?;
        }
        change_all(stop, changed, async || self.step(store).await).await
    }

    /// Changes some of the letters, and gives their number: 0 once none is left.
    ///
    /// # Errors
    /// The database failed, and nothing is changed.
    pub(crate) async fn step(&self, store: &dyn Store) -> Result<u64, StoreError> {
        match self {
            Self::Discard(discard) => store.discard_dead(discard, BATCH).await,
            Self::Restore(restore) => store.restore_dead(restore, BATCH).await,
        }
    }
}

/// What a change is done to, for the record: one letter, or many whose ids stand in the entry.
fn target(filter: &DeadFilter) -> String {
    match filter.ids.as_deref() {
        Some([id]) => format!("dead:{id}"),
        _ => "dead".to_owned(),
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
    use common::store::{DeadLetters as _, Role};
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
        let by = testbed::requester();
        let discard = |why: &str| Change::discard(named.clone(), why.to_owned(), &by);
        assert!(discard(" ").is_err_and(|failure| failure.code() == 2));
        let restore = Change::restore(named.clone(), &by);
        for change in [discard("a test").unwrap(), restore] {
            assert_eq!(change.count(&store).await, Ok(2));
            assert!(change.expect_named(2).is_ok());
            assert_eq!(change.make(&store, &stop, |_| {}).await.unwrap(), 2);
            assert_eq!(change.count(&store).await, Ok(0));
            let refused = change.expect_named(0).unwrap_err();
            assert!(refused.to_string().contains("nothing was done"));
        }
    }

    #[tokio::test]
    async fn a_viewer_changes_no_letter() {
        let store = testbed::store().await;
        let letter = testbed::letter("longshore.store");
        store.keep_dead(&[letter]).await.unwrap();
        let mut viewer = testbed::requester();
        viewer.actor.role = Some(Role::Viewer);
        let stop = CancellationToken::new();
        let discard = Change::discard(DeadFilter::default(), "a test".to_owned(), &viewer).unwrap();
        let refused = discard.make(&store, &stop, |_| {}).await.unwrap_err();
        assert!(
            refused.to_string().contains("needs the role operator"),
            "{refused}"
        );
        assert_eq!(discard.count(&store).await, Ok(1));
    }
}
