//! The audit record.

use common::store::{
    Act, Actor, AuditAction, AuditChain, AuditEntry, AuditFilter, AuditOutcome, AuditPage, Role,
    Store,
};
use serde_json::{Value, json};

use crate::engine::Stores;
use crate::samples::act;

/// Every entry that matches, newest first.
pub async fn entries(store: &dyn Store, filter: &AuditFilter) -> Vec<AuditEntry> {
    let page = AuditPage {
        before: None,
        limit: 1000,
    };
    let found = store.audit().audit_page(filter, page).await;
    found.expect("the store answers")
}

/// Walks along the whole record, and gives the number of its entries.
pub async fn verify(store: &dyn Store) -> i64 {
    let head = store.audit().audit_head().await.unwrap().unwrap();
    let mut chain = AuditChain::default();
    for link in store.audit().audit_links(None, 1000).await.unwrap() {
        chain.follow(&link).unwrap();
    }
    chain.end(&head).unwrap();
    chain.seq()
}

/// Each column of an entry, and another value for it as SQL.
pub const TAMPERED_COLUMNS: [(&str, &str); 13] = [
    ("at", "'2020-01-01T00:00:00.000000Z'"),
    ("who", "'eve'"),
    ("role", "'viewer'"),
    ("origin", "'elsewhere'"),
    ("action", "'dead.purge'"),
    ("target", "'dead:7'"),
    ("outcome", "'denied'"),
    ("before", "'{}'"),
    ("after", "'{}'"),
    ("why", "''"),
    ("request_id", "'r1'"),
    ("previous_hash", "ZEROS"),
    ("hash", "ZEROS"),
];

/// The first entry at which the record is not whole.
pub async fn first_broken(store: &dyn Store) -> Option<i64> {
    let mut chain = AuditChain::default();
    let links = store.audit().audit_links(None, 1000).await.unwrap();
    let broken = links.iter().find_map(|link| chain.follow(link).err());
    broken.map(common::store::ChainBreak::seq)
}

pub async fn an_entry_comes_back_as_it_was_written(stores: Stores) {
    let (store, audit) = (&*stores.store, stores.store.audit());
    assert_eq!(verify(store).await, 0);
    let full = Act {
        actor: Actor {
            who: "cli:ada\0".to_owned(),
            role: Some(Role::Admin),
            origin: "desk".to_owned(),
        },
        action: AuditAction::KeyRevoke,
        target: "key:7".to_owned(),
        before: Some(json!({"rate": 1.10, "name": "a\0b"})),
        after: Some(Value::Null),
        why: Some("lost".to_owned()),
        request_id: Some("r1".to_owned()),
    };
    let stranger = Actor {
        who: "somebody".to_owned(),
        role: None,
        origin: "127.0.0.1".to_owned(),
    };
    let began = time::OffsetDateTime::now_utc() - time::Duration::minutes(1);
    audit.record(&full).await.unwrap();
    let bare = Act::new(stranger, AuditAction::DeadEdit, "dead:1");
    audit.deny(&bare).await.unwrap();
    assert_eq!(verify(store).await, 2);

    let found = entries(store, &AuditFilter::default()).await;
    let [denied, allowed] = &found[..] else {
        panic!("two entries expected, found {found:?}")
    };
    assert_eq!((denied.seq, allowed.seq), (2, 1));
    assert!(began < allowed.at.0 && allowed.at <= denied.at);
    assert_eq!(denied.previous_hash, allowed.hash);
    assert_eq!(allowed.who, "cli:ada\u{fffd}");
    assert_eq!((allowed.role, denied.role), (Some(Role::Admin), None));
    assert_eq!(allowed.action, "key.revoke");
    assert_eq!(
        (allowed.outcome, denied.outcome),
        (AuditOutcome::Allowed, AuditOutcome::Denied)
    );
    let mut told = serde_json::to_value(allowed).unwrap();
    assert_eq!(told["before"].take(), full.before.unwrap());
    assert_eq!(told["after"], Value::Null);
    assert_eq!(told["why"], "lost");
    assert_eq!(told["request_id"], "r1");
    assert_eq!(told["origin"], "desk");
    assert!(denied.before.is_none() && denied.why.is_none() && denied.request_id.is_none());
}

pub async fn entries_at_once_are_one_chain(stores: Stores) {
    let appends = (0..20).map(|number| {
        let store = if number % 2 == 0 {
            &stores.store
        } else {
            &stores.other
        };
        let act = act(AuditAction::DeadEdit, &format!("dead:{number}"));
        async move { store.audit().record(&act).await.unwrap() }
    });
    futures_util::future::join_all(appends).await;
    assert_eq!(verify(&*stores.store).await, 20);
    // In parts as in one.
    let mut links = Vec::new();
    loop {
        let after = links.last().map(|last: &common::store::AuditLink| last.seq);
        let more = stores.store.audit().audit_links(after, 7).await.unwrap();
        if more.is_empty() {
            break;
        }
        assert!(more.len() <= 7);
        links.extend(more);
    }
    let all = stores.store.audit().audit_links(None, 100).await.unwrap();
    assert_eq!(links, all);
}

pub async fn entries_are_found_by_each_filter(stores: Stores) {
    let (store, audit) = (&*stores.store, stores.store.audit());
    let mut edit = act(AuditAction::DeadEdit, "dead:100%");
    edit.actor.who = "cli:ada".to_owned();
    let mut discard = act(AuditAction::DeadDiscard, "dead:100x");
    discard.actor.who = "cli:bob".to_owned();
    audit.record(&edit).await.unwrap();
    audit.deny(&discard).await.unwrap();
    let newest = entries(store, &AuditFilter::default()).await.remove(0);

    let any = AuditFilter::default;
    let text = |text: &str| Some(text.to_owned());
    let found = async |filter: AuditFilter| -> Vec<i64> {
        let entries = entries(store, &filter).await;
        entries.into_iter().map(|entry| entry.seq).collect()
    };
    let who = |who| AuditFilter { who, ..any() };
    assert_eq!(found(who(text("cli:bob"))).await, [2]);
    assert_eq!(found(who(text("cli:*"))).await, [2, 1]);
    assert!(found(who(text("bob"))).await.is_empty());
    let action = |action| AuditFilter { action, ..any() };
    assert_eq!(found(action(text("dead.*"))).await, [2, 1]);
    assert_eq!(found(action(text("*.EDIT"))).await, [1]);
    let target = |target| AuditFilter { target, ..any() };
    assert_eq!(found(target(text("dead:100%"))).await, [1]);
    assert!(found(target(text("dead:100_"))).await.is_empty());
    let outcome = |outcome| AuditFilter { outcome, ..any() };
    assert_eq!(found(outcome(Some(AuditOutcome::Denied))).await, [2]);
    let at = Some(newest.at.0);
    assert!(found(AuditFilter { since: at, ..any() }).await.contains(&2));
    assert!(!found(AuditFilter { until: at, ..any() }).await.contains(&2));

    let page = AuditPage {
        before: Some(2),
        limit: 5,
    };
    let rest = audit.audit_page(&any(), page).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].seq, 1);
}

pub async fn secrets_are_masked_in_entries(stores: Stores) {
    let facts = Some(json!({"key": {"client_secret": "hunter2"}}));
    let act = act(AuditAction::KeyCreate, "key:1")
        .changing(facts.clone(), facts)
        .because(Some("the password=hunter2 was lost".to_owned()));
    stores.store.audit().record(&act).await.unwrap();
    let found = entries(&*stores.store, &AuditFilter::default()).await;
    let told = serde_json::to_string(&found).unwrap();
    assert!(!told.contains("hunter2"), "{told}");
    assert!(told.contains("***"), "{told}");
}
