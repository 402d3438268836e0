//! Keys: kept once, ended for good, and every change seen in its order.

use std::sync::Arc;

use common::config::Rate;
use common::key::{Key, KeyId, KnownKey, Scope, Scopes};
use common::store::{Act, AuditAction, AuditFilter, AuditPage, KeyPage, KeyRecord, NewKey, Store};
use futures_util::future::join_all;
use time::{Duration, OffsetDateTime};

use crate::engine::Stores;
use crate::samples;

fn new_key(name: &str) -> NewKey {
    let key = Key::generate().unwrap();
    NewKey {
        id: key.id(),
        key: KnownKey {
            name: name.parse().unwrap(),
            hash: key.hash(),
            scopes: Scopes(vec![Scope::Write("signup.*".to_owned()), Scope::Read]),
            rate: Some("100/s".parse::<Rate>().unwrap()),
            burst: std::num::NonZeroU32::new(500),
            networks: vec!["10.0.0.0/8".parse().unwrap()],
            expires_at: OffsetDateTime::from_unix_timestamp(4_000_000_000).ok(),
        },
    }
}

fn act(action: AuditAction, id: &KeyId) -> Act {
    samples::act(action, &format!("key:{id}")).because(Some("a test".to_owned()))
}

async fn create(store: &dyn Store, name: &str) -> NewKey {
    let new = new_key(name);
    let act = act(AuditAction::KeyCreate, &new.id);
    store.create_key(&new, &act).await.unwrap();
    new
}

/// The actions on a key that are in the audit record, newest first.
async fn recorded(store: &dyn Store, id: &KeyId) -> Vec<String> {
    let filter = AuditFilter {
        target: Some(format!("key:{id}")),
        ..AuditFilter::default()
    };
    let page = AuditPage {
        before: None,
        limit: 10,
    };
    let entries = store.audit().audit_page(&filter, page).await.unwrap();
    entries.into_iter().map(|entry| entry.action).collect()
}

fn ids(records: &[KeyRecord]) -> Vec<KeyId> {
    records.iter().map(|record| record.id.clone()).collect()
}

pub async fn a_key_comes_back_as_it_was_and_is_recorded(Stores { store, .. }: Stores) {
    assert_eq!(store.key_revision().await.unwrap(), 0);
    let new = create(&*store, "shop").await;
    let record = store.key(&new.id).await.unwrap().unwrap();
    assert_eq!((&record.id, &record.key), (&new.id, &new.key));
    assert_eq!(record.created_by, "ada");
    assert_eq!((record.last_used_at, &record.revoked), (None, &None));
    assert_eq!(store.key_revision().await.unwrap(), record.revision);
    assert_eq!(recorded(&*store, &new.id).await, ["key.create"]);
    let other = Key::generate().unwrap().id();
    assert_eq!(store.key(&other).await.unwrap(), None);
}

pub async fn pages_of_keys_show_each_once(Stores { store, .. }: Stores) {
    let mut made = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        made.push(create(&*store, name).await.id);
    }
    made.reverse();
    let mut seen = Vec::new();
    loop {
        let page = KeyPage {
            after: seen.last().cloned(),
            limit: 2,
        };
        let records = store.keys_page(page).await.unwrap();
        if records.is_empty() {
            break;
        }
        seen.extend(ids(&records));
    }
    assert_eq!(seen, made);
}

pub async fn every_change_of_a_key_is_seen_once_and_in_order(Stores { store, .. }: Stores) {
    let one = create(&*store, "one").await;
    let two = create(&*store, "two").await;
    let first = store.changed_keys(0, 1).await.unwrap();
    assert_eq!(ids(&first), std::slice::from_ref(&one.id));
    let second = store.changed_keys(first[0].revision, 10).await.unwrap();
    assert_eq!(ids(&second), std::slice::from_ref(&two.id));
    let seen = second[0].revision;
    assert_eq!(store.changed_keys(seen, 10).await.unwrap(), []);

    let revoke = act(AuditAction::KeyRevoke, &one.id);
    store.revoke_key(&one.id, &revoke).await.unwrap();
    let third = store.changed_keys(seen, 10).await.unwrap();
    assert_eq!(ids(&third), [one.id]);
    assert!(third[0].revoked.is_some());

    // A use does not count as a change.
    let seen = store.key_revision().await.unwrap();
    let at = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
    store.note_key_use(&[(two.id.clone(), at)]).await.unwrap();
    let before = at - Duration::minutes(1);
    store
        .note_key_use(&[(two.id.clone(), before)])
        .await
        .unwrap();
    assert_eq!(store.key_revision().await.unwrap(), seen);
    let record = store.key(&two.id).await.unwrap().unwrap();
    assert_eq!(record.last_used_at.map(|at| at.0), Some(at));
}

pub async fn changes_at_once_get_revisions_of_their_own(Stores { store, .. }: Stores) {
    let making = (0..20).map(|number| {
        let store = Arc::clone(&store);
        async move { create(&*store, &format!("k{number}")).await.id }
    });
    let mut made = join_all(making).await;
    let mut seen = Vec::new();
    let mut revision = 0;
    loop {
        let changed = store.changed_keys(revision, 3).await.unwrap();
        let Some(last) = changed.last() else { break };
        revision = last.revision;
        seen.extend(ids(&changed));
    }
    made.sort();
    seen.sort();
    assert_eq!(seen, made);
}

pub async fn a_revoked_key_stays_revoked(Stores { store, .. }: Stores) {
    let new = create(&*store, "shop").await;
    let revoke = act(AuditAction::KeyRevoke, &new.id).because(Some("leaked".to_owned()));
    let revoked = store.revoke_key(&new.id, &revoke).await.unwrap().unwrap();
    let end = revoked.revoked.clone().unwrap();
    assert_eq!((end.who.as_str(), end.why.as_str()), ("ada", "leaked"));
    assert!(!revoked.is_valid(OffsetDateTime::now_utc()));
    let again = revoke.because(Some("again".to_owned()));
    let again = store.revoke_key(&new.id, &again).await.unwrap().unwrap();
    assert_eq!(again.revoked, revoked.revoked);
    assert_eq!(
        recorded(&*store, &new.id).await,
        ["key.revoke", "key.create"]
    );

    let (third, rotate) = (new_key("shop"), act(AuditAction::KeyRotate, &new.id));
    let rotated = store.rotate_key(&new.id, &third, OffsetDateTime::now_utc(), &rotate);
    assert_eq!(rotated.await.unwrap(), None);
    let other = Key::generate().unwrap().id();
    let nothing = store
        .revoke_key(&other, &act(AuditAction::KeyRevoke, &other))
        .await
        .unwrap();
    assert_eq!(nothing, None);
}

pub async fn a_rotated_key_goes_on_until_its_end(Stores { store, .. }: Stores) {
    let old = create(&*store, "shop").await;
    let new = new_key("shop");
    let end = OffsetDateTime::from_unix_timestamp(3_000_000_000).unwrap();
    let rotate = act(AuditAction::KeyRotate, &old.id);
    let ended = store.rotate_key(&old.id, &new, end, &rotate).await.unwrap();
    let ended = ended.unwrap();
    assert_eq!(ended.key.expires_at, Some(end));
    assert!(ended.is_valid(OffsetDateTime::now_utc()) && !ended.is_valid(end));
    let kept = store.key(&new.id).await.unwrap().unwrap();
    assert_eq!(kept.key, new.key);
    // An end is never moved away.
    let later = OffsetDateTime::from_unix_timestamp(5_000_000_000).unwrap();
    let third = new_key("shop");
    let ended = store
        .rotate_key(&old.id, &third, later, &rotate)
        .await
        .unwrap();
    assert_eq!(ended.unwrap().key.expires_at, Some(end));
    assert_eq!(ids(&store.changed_keys(0, 10).await.unwrap()).len(), 3);
}
