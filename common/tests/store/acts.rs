//! Each change by an operator leaves one entry of the audit record, and what changes nothing leaves none.

use common::store::{
    AuditAction, AuditEntry, AuditFilter, DeadFilter, HistorySlice, Moment, Operation,
    OperationState, Store,
};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::audit::{entries, verify};
use crate::engine::Stores;
use crate::samples::{act, as_a_part, at, by_ada, letter, purging, replay};

/// The facts of an entry, before and after.
fn facts(entry: &AuditEntry) -> (Value, Value) {
    let told = serde_json::to_value(entry).unwrap();
    (told["before"].clone(), told["after"].clone())
}

/// The only entry that is newer than `before`, which it takes the place of.
async fn next(store: &dyn Store, before: &mut i64) -> AuditEntry {
    let mut found = entries(store, &AuditFilter::default()).await;
    let newest = found.remove(0);
    assert_eq!(newest.seq, *before + 1, "{newest:?}");
    *before = newest.seq;
    newest
}

pub async fn letters_that_an_operator_changes_are_recorded(Stores { store, .. }: Stores) {
    let (store, mut seq) = (&*store, 0);
    let letters: Vec<_> = (0..3)
        .map(|at| letter(common::event::EventId::born(), 0, at))
        .collect();
    store.keep_dead(&letters).await.unwrap();
    let ids = DeadFilter {
        ids: Some(vec![letters[0].id, letters[1].id]),
        ..DeadFilter::default()
    };
    assert_eq!(store.discard_dead(&by_ada(ids.clone()), 10).await, Ok(2));
    let entry = next(store, &mut seq).await;
    assert_eq!((&*entry.who, &*entry.action), ("ada", "dead.discard"));
    assert_eq!(entry.why.as_deref(), Some("nobody wants them"));
    let (before, after) = facts(&entry);
    assert_eq!(before, json!({"state": "open"}));
    assert_eq!(
        (&after["state"], &after["letters"]),
        (&json!("discarded"), &json!(2))
    );
    let told: Vec<_> = after["ids"].as_array().unwrap().iter().collect();
    assert!(told.contains(&&json!(letters[0].id)) && told.contains(&&json!(letters[1].id)));

    assert_eq!(store.discard_dead(&by_ada(ids.clone()), 10).await, Ok(0));
    assert_eq!(verify(store).await, seq, "nothing was changed");
    assert_eq!(store.restore_dead(&by_ada(ids.clone()), 1).await, Ok(1));
    let (_, after) = facts(&next(store, &mut seq).await);
    assert_eq!(
        (&after["state"], &after["letters"]),
        (&json!("open"), &json!(1))
    );

    let later = OffsetDateTime::now_utc() + time::Duration::HOUR;
    assert_eq!(store.purge_dead(later, &purging(), 10).await, Ok(1));
    let entry = next(store, &mut seq).await;
    assert_eq!(entry.action, "dead.purge");
    assert_eq!(facts(&entry).1["letters"], json!(1));
    assert_eq!(store.purge_dead(later, &purging(), 10).await, Ok(0));
    assert_eq!(verify(store).await, seq, "nothing was removed");
}

pub async fn letters_that_an_operation_changes_are_recorded_once(Stores { store, .. }: Stores) {
    let (store, mut seq) = (&*store, 0);
    let letters: Vec<_> = (0..3)
        .map(|at| letter(common::event::EventId::born(), 0, at))
        .collect();
    store.keep_dead(&letters).await.unwrap();
    let one = replay(DeadFilter::default());
    let operations = store.operations();
    operations.begin_operation(&one).await.unwrap();
    let entry = next(store, &mut seq).await;
    assert_eq!(entry.action, "operation.begin");
    assert_eq!(facts(&entry).1["kind"], json!("replay"));
    // It was begun before: an answer was lost.
    operations.begin_operation(&one).await.unwrap();
    for _ in 0..3 {
        let part = as_a_part(one.id, DeadFilter::default());
        assert_eq!(store.discard_dead(&part, 1).await, Ok(1));
    }
    assert_eq!(verify(store).await, seq);
    let known = operations.operation(one.id).await.unwrap().unwrap();
    assert_eq!((known.replayed, &*known.who), (3, "ada"));
}

pub async fn each_step_of_steering_is_recorded(Stores { store, .. }: Stores) {
    let (store, operations, mut seq) = (&*store, store.operations(), 0);
    let one = Operation {
        slice: Some(HistorySlice {
            from: Moment(at(0)),
            to: Moment(at(60)),
            kind: None,
        }),
        ..replay(DeadFilter::default())
    };
    operations.begin_operation(&one).await.unwrap();
    next(store, &mut seq).await;
    let act = |action| act(action, "operation");
    let pause = act(AuditAction::OperationPause);
    for _ in 0..2 {
        let to = OperationState::Paused;
        operations
            .steer_operation(one.id, to, &pause)
            .await
            .unwrap();
    }
    let entry = next(store, &mut seq).await;
    let states = |before: &str, after: &str| (json!({"state": before}), json!({"state": after}));
    assert_eq!(facts(&entry), states("running", "paused"));

    let rate = act(AuditAction::OperationRate);
    for _ in 0..2 {
        operations
            .set_operation_rate(one.id, 7, &rate)
            .await
            .unwrap();
    }
    let entry = next(store, &mut seq).await;
    assert_eq!(facts(&entry), (json!({"rate": null}), json!({"rate": 7})));

    let stop = act(AuditAction::OperationStop);
    let to = OperationState::Stopped;
    operations.steer_operation(one.id, to, &stop).await.unwrap();
    assert_eq!(
        facts(&next(store, &mut seq).await),
        states("paused", "stopped")
    );

    let resume = act(AuditAction::OperationResume);
    for _ in 0..2 {
        operations.reopen_operation(one.id, &resume).await.unwrap();
    }
    let entry = next(store, &mut seq).await;
    assert_eq!(entry.action, "operation.resume");
    assert_eq!(facts(&entry), states("stopped", "running"));

    // It is handed over already, no such operation is there, and a worker that ends it is not an operator.
    operations
        .hand_over_operation(one.id, &resume)
        .await
        .unwrap();
    let nobody = uuid::Uuid::nil();
    operations
        .set_operation_rate(nobody, 7, &rate)
        .await
        .unwrap();
    let to = OperationState::Paused;
    assert_eq!(
        operations.steer_operation(nobody, to, &pause).await,
        Ok(None)
    );
    operations
        .end_operation(one.id, OperationState::Done)
        .await
        .unwrap();
    assert_eq!(verify(store).await, seq);
}

pub async fn an_edit_is_recorded_without_its_content(Stores { store, .. }: Stores) {
    let (store, mut seq) = (&*store, 0);
    let letter = letter(common::event::EventId::born(), 0, 0);
    store
        .keep_dead(std::slice::from_ref(&letter))
        .await
        .unwrap();
    let edit = crate::mending::edit(&letter, "{}", r#"{"email":"ada@example.com"}"#);
    for _ in 0..2 {
        store.edit_dead(&edit).await.unwrap();
    }
    let entry = next(store, &mut seq).await;
    assert_eq!(
        (&*entry.action, &*entry.target),
        ("dead.edit", &*format!("dead:{}", letter.id))
    );
    let (before, after) = facts(&entry);
    assert_ne!(before["body_sha256"], after["body_sha256"]);
    assert_eq!(before["envelope_sha256"], after["envelope_sha256"]);
    assert!(!after.to_string().contains("ada@"), "{after}");
}
