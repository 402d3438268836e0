//! Operators and their keys.

use common::store::{AuditAction, AuditFilter, NewOperator, OperatorMade, OperatorRecord, Role};

use crate::audit::{entries, verify};
use crate::engine::Stores;
use crate::samples::act;

fn operator(id: &str, name: &str, key: u8) -> NewOperator {
    NewOperator {
        id: id.to_owned(),
        name: name.to_owned(),
        role: Role::Viewer,
        key_hash: [key; 32],
        act: act(AuditAction::OperatorCreate, &format!("operator:{id}")),
    }
}

pub async fn an_operator_is_known_by_the_key(Stores { store, other }: Stores) {
    let operators = store.operators();
    assert_eq!(operators.all_operators().await.unwrap(), []);
    assert_eq!(operators.operator_of_key([1; 32]).await.unwrap(), None);
    let one = operator("one", "ada", 1);
    // The second time is a repetition after a lost answer.
    for _ in 0..2 {
        let made = operators.make_operator(&one).await;
        assert_eq!(made, Ok(OperatorMade::Made));
    }
    let known: OperatorRecord = other
        .operators()
        .operator_of_key([1; 32])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (&*known.id, &*known.name, known.role),
        ("one", "ada", Role::Viewer)
    );
    assert!(known.last_used_at.is_some() && known.revoked_at.is_none());
    assert_eq!(operators.operator_of_key([2; 32]).await.unwrap(), None);
    // Within a minute nothing more is written.
    assert_eq!(
        operators.operator_of_key([1; 32]).await.unwrap(),
        Some(known)
    );
    assert_eq!(verify(&*store).await, 1);
}

pub async fn one_operator_at_a_time_has_a_name(Stores { store, .. }: Stores) {
    let operators = store.operators();
    let make = async |operator: NewOperator| operators.make_operator(&operator).await.unwrap();
    assert_eq!(make(operator("one", "ada", 1)).await, OperatorMade::Made);
    assert_eq!(
        make(operator("two", "ada", 2)).await,
        OperatorMade::NameTaken
    );
    assert_eq!(
        make(operator("one", "bob", 3)).await,
        OperatorMade::NameTaken
    );
    let revoke = act(AuditAction::OperatorRevoke, "operator:one");
    operators.revoke_operator("one", &revoke).await.unwrap();
    assert_eq!(make(operator("two", "ada", 2)).await, OperatorMade::Made);
    let all = operators.all_operators().await.unwrap();
    assert_eq!(all.len(), 2);
    let found = entries(&*store, &AuditFilter::default()).await;
    let actions: Vec<_> = found.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(
        actions,
        ["operator.create", "operator.revoke", "operator.create"]
    );
}

pub async fn a_revoked_operator_stays_revoked(Stores { store, .. }: Stores) {
    let operators = store.operators();
    operators
        .make_operator(&operator("one", "ada", 1))
        .await
        .unwrap();
    let revoke = act(AuditAction::OperatorRevoke, "operator:one");
    let revoked = async || operators.revoke_operator("one", &revoke).await.unwrap();
    let first = revoked().await.unwrap();
    assert!(first.revoked_at.is_some());
    assert_eq!(revoked().await, Some(first.clone()));
    let unknown = operators.revoke_operator("two", &revoke).await;
    assert_eq!(unknown, Ok(None));
    // It is still known by the key, and no use is written down.
    let known = operators.operator_of_key([1; 32]).await.unwrap();
    assert_eq!(known, Some(first));
    assert_eq!(verify(&*store).await, 2);
}
