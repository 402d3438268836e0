//! Begins and steers operations on behalf of operators.

use common::bootstrap::Failure;
use common::store::{Act, AuditAction, Operation, OperationState, Store};
use uuid::Uuid;

use crate::roles::{Requester, permit};

/// What an operation is called in the record.
pub(super) fn target(id: Uuid) -> String {
    format!("operation:{id}")
}

/// The act that begins the operation with this id.
pub fn beginning(id: Uuid, by: &Requester) -> Act {
    by.act(AuditAction::OperationBegin, target(id))
}

/// Begins an operation and hands it over to the workers.
///
/// # Errors
/// The role does not allow it, or the operation could not be written down.
pub async fn begin(store: &dyn Store, operation: &Operation) -> Result<(), Failure> {
    permit(store, &operation.act).await?;
    Ok(store.operations().begin_operation(operation).await?)
}

/// Pauses a running operation, lets a paused one run again, or stops either, and returns its new state; `None` if there
/// is no such operation.
///
/// # Errors
/// The role of `by` does not allow it, or the operation stands as before.
pub async fn steer(
    store: &dyn Store,
    id: Uuid,
    to: OperationState,
    by: &Requester,
) -> Result<Option<OperationState>, Failure> {
    let action = match to {
        OperationState::Running => AuditAction::OperationResume,
        OperationState::Paused => AuditAction::OperationPause,
        // The store refuses to set an operation to done.
        OperationState::Stopped | OperationState::Done => AuditAction::OperationStop,
    };
    let act = by.act(action, target(id));
    permit(store, &act).await?;
    Ok(store.operations().steer_operation(id, to, &act).await?)
}

#[cfg(test)]
mod tests {
    use common::store::{
        Audit as _, AuditFilter, AuditPage, DeadFilter, OperationKind, Operations as _, Role,
    };

    use super::*;
    use crate::operation::hand_over;
    use crate::testbed;

    fn discard(by: &Requester) -> Operation {
        let id = Uuid::now_v7();
        Operation {
            id,
            kind: OperationKind::Discard,
            filter: DeadFilter::default(),
            to_queue: None,
            act: beginning(id, by).because(Some("a test".to_owned())),
            rate: None,
            stop_when: None,
            slice: None,
            new_ids: false,
            resumes: None,
        }
    }

    #[tokio::test]
    async fn a_viewer_begins_and_steers_nothing() {
        let store = testbed::store().await;
        let (admin, mut viewer) = (testbed::requester(), testbed::requester());
        viewer.actor.role = Some(Role::Viewer);
        let refused = begin(&store, &discard(&viewer)).await.unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("operation.begin needs the role operator")
        );
        let begun = discard(&admin);
        begin(&store, &begun).await.unwrap();
        for to in [OperationState::Paused, OperationState::Stopped] {
            let refused = steer(&store, begun.id, to, &viewer).await.unwrap_err();
            assert!(
                refused.to_string().contains("needs the role operator"),
                "{refused}"
            );
        }
        let refused = hand_over(&store, begun.id, Some(7), &viewer).await;
        assert!(refused.is_err_and(|it| it.to_string().contains("needs the role operator")));
        let known = store.operation(begun.id).await.unwrap().unwrap();
        assert_eq!((known.state, known.rate), (OperationState::Running, None));
    }

    #[tokio::test]
    async fn each_step_of_an_operation_leaves_one_entry() {
        let (store, by) = (testbed::store().await, testbed::requester());
        let begun = discard(&by);
        begin(&store, &begun).await.unwrap();
        for to in [OperationState::Paused, OperationState::Paused] {
            assert_eq!(steer(&store, begun.id, to, &by).await.unwrap(), Some(to));
        }
        hand_over(&store, begun.id, Some(7), &by).await.unwrap();
        steer(&store, begun.id, OperationState::Stopped, &by)
            .await
            .unwrap();
        let page = AuditPage {
            before: None,
            limit: 100,
        };
        let mut entries = store
            .audit_page(&AuditFilter::default(), page)
            .await
            .unwrap();
        entries.reverse();
        let actions: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
        let expected = [
            "operation.begin",
            "operation.pause",
            "operation.rate",
            "operation.resume",
            "operation.stop",
        ];
        assert_eq!(actions, expected);
        let target = target(begun.id);
        assert!(entries.iter().all(|entry| entry.target == target));
        let facts = |at: usize| {
            let text = |value: &Option<Box<serde_json::value::RawValue>>| {
                value.as_ref().map(|value| value.get().to_owned())
            };
            (text(&entries[at].before), text(&entries[at].after))
        };
        let told = |text: &str| Some(text.to_owned());
        assert_eq!(
            facts(1),
            (
                told(r#"{"state":"running"}"#),
                told(r#"{"state":"paused"}"#)
            )
        );
        assert_eq!(facts(2), (told(r#"{"rate":null}"#), told(r#"{"rate":7}"#)));
        assert_eq!(entries[0].why.as_deref(), Some("a test"));
    }
}
