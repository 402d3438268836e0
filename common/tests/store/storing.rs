//! Storing events, exactly once each.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use common::event::EventId;
use common::event::content::Content;
use common::store::{DeliveryState, Details, NewEvent, StoreError, Stored};

use crate::engine::Stores;
use crate::samples::{event, key, signup, state_of, states_of};

pub async fn an_empty_batch_is_nothing_to_do(Stores { store, .. }: Stores) {
    assert_eq!(store.store([].into()).await.unwrap(), []);
    assert_eq!(states_of(&*store, &[]).await, []);
    store.record_attempts(&[]).await.unwrap();
    store.keep_dead(&[]).await.unwrap();
    store.keep_rejections(&[]).await.unwrap();
}

pub async fn refused_data_stores_nothing_of_its_batch(Stores { store, .. }: Stores) {
    let good = event();
    let mut poisoned = signup("poison@example.com");
    if let Details::Signup { name, .. } = &mut poisoned.details {
        *name = "secret\0name".to_owned();
    }
    let mut no_json = event();
    no_json.body = "{secret".to_owned();
    for bad in [poisoned, no_json] {
        let refused = store
            .store([good.clone(), bad.clone()].into())
            .await
            .unwrap_err();
        assert!(matches!(refused, StoreError::Data(_)), "{refused}");
        assert!(!refused.to_string().contains("secret"), "{refused}");
        for id in [good.id, bad.id] {
            assert_eq!(store.status(id).await.unwrap(), None);
            assert_eq!(state_of(&*store, &key(id, "crm", 0)).await, None);
        }
    }
    // One by one, the good one goes in.
    assert_eq!(store.store([good].into()).await.unwrap(), [Stored::New]);
}

pub async fn what_is_stored_is_new_then_before_then_in_conflict(stores: Stores) {
    let first = event();
    let mut changed = first.clone();
    changed.fingerprint = [8; 32];
    changed.destinations = vec!["elsewhere".to_owned()];
    let store = |one| async { stores.store.store([one].into()).await.unwrap() };
    assert_eq!(store(first.clone()).await, [Stored::New]);
    assert_eq!(store(first.clone()).await, [Stored::Before]);
    assert_eq!(store(changed.clone()).await, [Stored::Conflict]);
    let due = state_of(&*stores.other, &key(first.id, "crm", 0)).await;
    assert_eq!(due, Some(DeliveryState::Due));
    let never = state_of(&*stores.other, &key(first.id, "elsewhere", 0)).await;
    assert_eq!(never, None);
}

/// A version that made fingerprints in another way may have stored the row: its text decides.
pub async fn a_row_with_another_fingerprint_is_known_by_its_text(stores: Stores) {
    let first = event();
    let given = |number: &str| {
        let body = first.body.replace(
            r#""data":{"n":1}"#,
            &format!(r#""type":"a","data":{{"n":{number}}}"#),
        );
        let content = Content::read(body.as_bytes()).unwrap();
        NewEvent {
            fingerprint: content.fingerprint().unwrap(),
            body,
            ..first.clone()
        }
    };
    let before = NewEvent {
        fingerprint: [9; 32],
        ..given("90071992547409.93")
    };
    let store = |one| async { stores.store.store([one].into()).await.unwrap() };
    assert_eq!(store(before).await, [Stored::New]);
    assert_eq!(store(given("90071992547409.93")).await, [Stored::Before]);
    assert_eq!(store(given("90071992547409.94")).await, [Stored::Conflict]);
}

pub async fn of_one_id_twice_in_a_batch_the_first_wins(Stores { store, .. }: Stores) {
    let first = event();
    let mut changed = first.clone();
    changed.fingerprint = [8; 32];
    let batch = [first.clone(), changed.clone(), event(), first, changed];
    assert_eq!(
        store.store(batch.clone().into()).await.unwrap(),
        [
            Stored::New,
            Stored::Conflict,
            Stored::New,
            Stored::Before,
            Stored::Conflict
        ]
    );
}

pub async fn of_one_address_twice_in_a_batch_the_first_wins(Stores { store, .. }: Stores) {
    // Ids sort the other way round: it is the order of the batch that counts.
    let later = signup("Ada@example.com");
    let first = signup("ada@example.com");
    assert!(later.id < first.id);
    let outcomes = store
        .store([first.clone(), later.clone()].into())
        .await
        .unwrap();
    assert_eq!(outcomes, [Stored::New, Stored::EmailTaken]);
    assert!(store.status(first.id).await.unwrap().is_some());
    assert_eq!(store.status(later.id).await.unwrap(), None);
}

pub async fn a_taken_address_leaves_no_trace(Stores { store, .. }: Stores) {
    let first = signup("ada@example.com");
    store.store([first.clone()].into()).await.unwrap();
    let late = signup("ada@example.com");
    let neighbour = signup("bob@example.com");
    let outcomes = store.store([late.clone(), neighbour].into()).await.unwrap();
    assert_eq!(outcomes, [Stored::EmailTaken, Stored::New]);
    assert_eq!(store.status(late.id).await.unwrap(), None);
    assert_eq!(state_of(&*store, &key(late.id, "crm", 0)).await, None);
    // The second time nothing is different, neither for it nor for the first.
    let again = store.store([late, first].into()).await.unwrap();
    assert_eq!(again, [Stored::EmailTaken, Stored::Before]);
}

pub async fn an_id_that_lost_its_address_may_come_with_another(Stores { store, .. }: Stores) {
    let first = signup("ada@example.com");
    let lost = signup("ada@example.com");
    let mut other_address = signup("bob@example.com");
    other_address.id = lost.id;
    let outcomes = store
        .store([first, lost, other_address].into())
        .await
        .unwrap();
    assert_eq!(outcomes, [Stored::New, Stored::EmailTaken, Stored::New]);
}

pub async fn a_conflict_takes_no_address(Stores { store, .. }: Stores) {
    let first = event();
    let mut conflicting = signup("ada@example.com");
    conflicting.id = first.id;
    conflicting.fingerprint = [8; 32];
    let outcomes = store.store([first, conflicting].into()).await.unwrap();
    assert_eq!(outcomes, [Stored::New, Stored::Conflict]);
    let outcomes = store
        .store([signup("ada@example.com")].into())
        .await
        .unwrap();
    assert_eq!(outcomes, [Stored::New]);
}

pub async fn a_replayed_event_is_due_again_once(Stores { store, .. }: Stores) {
    let first = event();
    let mut again = first.clone();
    again.generation = 1;
    again.destinations = vec!["crm".to_owned(), "mail".to_owned()];
    let mut conflicting = again.clone();
    conflicting.generation = 2;
    conflicting.fingerprint = [8; 32];
    assert_eq!(
        store
            .store([first.clone(), again, conflicting].into())
            .await
            .unwrap(),
        [Stored::New, Stored::Before, Stored::Conflict]
    );
    let keys = [
        key(first.id, "crm", 0),
        key(first.id, "crm", 1),
        key(first.id, "mail", 1),
        key(first.id, "mail", 0),
        key(first.id, "crm", 2),
    ];
    let due = Some(DeliveryState::Due);
    assert_eq!(states_of(&*store, &keys).await, [due, due, due, None, None]);
    // An event that was never stored before begins at the generation it comes with.
    let mut late = event();
    late.generation = 3;
    store.store([late.clone()].into()).await.unwrap();
    assert_eq!(state_of(&*store, &key(late.id, "crm", 3)).await, due);
}

pub async fn what_json_may_hold_is_kept(Stores { store, .. }: Stores) {
    let mut odd = event();
    odd.body = r#"{"a":"\u0000","b":1.10,"c":"\ud83d\ude00"}"#.to_owned();
    odd.details = Details::None;
    store.store([odd.clone()].into()).await.unwrap();
    let record = store.event(odd.id).await.unwrap().expect("it is stored");
    assert_eq!(record.event["a"], "\0");
    assert_eq!(record.event["c"], "😀");
}

/// Many batches at once, from two processes, in different orders, that share ids and addresses.
pub async fn overlapping_batches_at_once_are_stored_exactly_once(stores: Stores) {
    let mut events = Vec::new();
    for number in 0..40 {
        events.push(event());
        // Two ids for each address.
        events.push(signup(&format!("{number}@example.com")));
        events.push(signup(&format!("{number}@example.com")));
    }
    let events = Arc::new(events);
    let tasks: Vec<_> = (0..8)
        .map(|task: usize| {
            let stores = stores.clone();
            let events = Arc::clone(&events);
            tokio::spawn(async move {
                let store = if task.is_multiple_of(2) {
                    stores.store
                } else {
                    stores.other
                };
                // 7 has no factor in common with 120: every task goes through all of them, from
                // another beginning and in another direction.
                let order: Vec<usize> = (0..events.len())
                    .map(|step| (step * if task < 4 { 7 } else { 113 } + task * 15) % events.len())
                    .collect();
                let mut outcomes = Vec::new();
                for part in order.chunks(30) {
                    let batch: Vec<_> = part.iter().map(|&index| events[index].clone()).collect();
                    let stored = store
                        .store(batch.clone().into())
                        .await
                        .expect("no batch fails");
                    outcomes.extend(batch.iter().map(|event| event.id).zip(stored));
                }
                outcomes
            })
        })
        .collect();
    let mut new: HashMap<EventId, u32> = HashMap::new();
    let mut taken: HashSet<EventId> = HashSet::new();
    for task in tasks {
        for (id, outcome) in task.await.unwrap() {
            match outcome {
                Stored::New => *new.entry(id).or_default() += 1,
                Stored::EmailTaken => {
                    taken.insert(id);
                }
                Stored::Before => {}
                Stored::Scheduled | Stored::Conflict | Stored::NewOrBefore => {
                    panic!("nobody changed or cut {id}")
                }
            }
        }
    }
    assert!(new.values().all(|&times| times == 1), "stored twice");
    for three in events.chunks(3) {
        assert!(new.contains_key(&three[0].id));
        let winners = three[1..]
            .iter()
            .filter(|event| new.contains_key(&event.id));
        assert_eq!(winners.count(), 1, "one signup an address");
    }
    for event in events.iter() {
        let is_new = new.contains_key(&event.id);
        assert_ne!(is_new, taken.contains(&event.id));
        let status = stores.store.status(event.id).await.unwrap();
        assert_eq!(status.is_some(), is_new);
        let due = state_of(&*stores.store, &key(event.id, "crm", 0)).await;
        assert_eq!(due, is_new.then_some(DeliveryState::Due));
    }
}
