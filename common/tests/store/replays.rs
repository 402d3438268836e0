//! Replays of dead letters: each letter is sent by one replay, and a killed one can go on.

use std::collections::HashSet;

use common::event::EventId;
use common::store::{
    DeadFilter, DeadLetter, DeadState, DeliveryState, Operation, OperationState, Standing, Store,
    StoreError,
};
use uuid::Uuid;

use crate::engine::Stores;
use crate::samples::{early_letter, key, letter, replay, state_of, states_of};

fn ids(letters: &[DeadLetter]) -> Vec<Uuid> {
    letters.iter().map(|letter| letter.id).collect()
}

async fn begun(store: &dyn Store, filter: DeadFilter) -> Operation {
    let replay = replay(filter);
    store.operations().begin_operation(&replay).await.unwrap();
    replay
}

async fn count(store: &dyn Store, state: DeadState) -> u64 {
    let filter = DeadFilter {
        state: Some(state),
        ..DeadFilter::default()
    };
    store.dead_count(&filter).await.unwrap()
}

pub async fn a_replay_claims_the_oldest_first_and_makes_them_due_again(stores: Stores) {
    let store = &*stores.store;
    let oldest = letter(EventId::born(), 0, 10);
    let middle = letter(EventId::born(), 4, 20);
    let newest = letter(EventId::born(), 0, 30);
    let mut other_queue = letter(EventId::born(), 0, 5);
    other_queue.queue = "longshore.integrate.mail".to_owned();
    store
        .keep_dead(&[newest.clone(), oldest.clone(), other_queue, middle.clone()])
        .await
        .unwrap();
    let replay = begun(
        store,
        DeadFilter {
            queue: Some(oldest.queue.clone()),
            // Only open letters are ever claimed, whatever the filter asks for.
            state: Some(DeadState::Replayed),
            ..DeadFilter::default()
        },
    )
    .await;
    let claimed = store.operations().claim_dead(replay.id, 2).await.unwrap();
    assert_eq!(ids(&claimed), [oldest.id, middle.id]);
    assert_eq!(claimed[0].state, DeadState::Replaying);
    assert_eq!(claimed[0].replay, Some(replay.id));
    assert_eq!(claimed[0].message, oldest.message);
    let event = |letter: &DeadLetter| letter.event.unwrap();
    let states = states_of(
        store,
        &[
            key(event(&oldest), "crm", 1),
            key(event(&middle), "crm", 5),
            key(event(&newest), "crm", 1),
            key(event(&oldest), "crm", 0),
        ],
    )
    .await;
    assert_eq!(
        states,
        [
            Some(DeliveryState::Due),
            Some(DeliveryState::Due),
            None,
            Some(DeliveryState::Dead)
        ]
    );
    let rest = store.operations().claim_dead(replay.id, 2).await.unwrap();
    assert_eq!(ids(&rest), [newest.id]);
    assert_eq!(
        store.operations().claim_dead(replay.id, 2).await.unwrap(),
        []
    );
}

pub async fn two_replays_at_once_never_claim_the_same(stores: Stores) {
    let letters: Vec<_> = (0..200)
        .map(|number| letter(EventId::born(), 0, number))
        .collect();
    stores.store.keep_dead(&letters).await.unwrap();
    let tasks: Vec<_> = [&stores.store, &stores.other, &stores.store, &stores.other]
        .into_iter()
        .map(|store| {
            let store = store.clone();
            tokio::spawn(async move {
                let replay = begun(&*store, DeadFilter::default()).await;
                let mut mine = Vec::new();
                loop {
                    let claimed = store.operations().claim_dead(replay.id, 9).await.unwrap();
                    if claimed.is_empty() {
                        return mine;
                    }
                    store
                        .operations()
                        .mark_replayed(replay.id, &ids(&claimed))
                        .await
                        .unwrap();
                    mine.extend(ids(&claimed));
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    assert_eq!(all.len(), letters.len());
    let distinct: HashSet<Uuid> = all.into_iter().collect();
    assert_eq!(distinct, ids(&letters).into_iter().collect());
    assert_eq!(count(&*stores.store, DeadState::Replayed).await, 200);
}

pub async fn what_dies_again_is_not_claimed_again(Stores { store, .. }: Stores) {
    let event = EventId::born();
    let first = letter(event, 0, 10);
    store.keep_dead(std::slice::from_ref(&first)).await.unwrap();
    let one = begun(&*store, DeadFilter::default()).await;
    let claimed = store.operations().claim_dead(one.id, 10).await.unwrap();
    store
        .operations()
        .mark_replayed(one.id, &ids(&claimed))
        .await
        .unwrap();
    let again = letter(event, 1, 5);
    store.keep_dead(std::slice::from_ref(&again)).await.unwrap();
    assert_eq!(store.operations().claim_dead(one.id, 10).await.unwrap(), []);
    let another = begun(&*store, DeadFilter::default()).await;
    let claimed = store.operations().claim_dead(another.id, 10).await.unwrap();
    assert_eq!(ids(&claimed), [again.id]);
    let due = state_of(&*store, &key(event, "crm", 2)).await;
    assert_eq!(due, Some(DeliveryState::Due));
}

pub async fn only_what_is_marked_is_counted_and_once(Stores { store, other }: Stores) {
    let letters = [
        letter(EventId::born(), 0, 1),
        letter(EventId::born(), 0, 2),
        letter(EventId::born(), 0, 3),
    ];
    store.keep_dead(&letters).await.unwrap();
    let mut begun = replay(DeadFilter::default());
    begun.to_queue = Some("longshore.store".to_owned());
    store.operations().begin_operation(&begun).await.unwrap();
    store.operations().begin_operation(&begun).await.unwrap();
    store.operations().claim_dead(begun.id, 2).await.unwrap();
    let first_two = ids(&letters[..2]);
    store
        .operations()
        .mark_replayed(begun.id, &first_two)
        .await
        .unwrap();
    // Again, with one that was not claimed, and one that nobody knows.
    let more = [first_two[0], letters[2].id, Uuid::nil()];
    other
        .operations()
        .mark_replayed(begun.id, &more)
        .await
        .unwrap();
    let progress = other
        .operations()
        .operation(begun.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(progress.replayed, 2);
    assert_eq!(progress.state, OperationState::Running);
    assert_eq!(progress.filter, begun.filter);
    assert_eq!(progress.to_queue, begun.to_queue);
    assert_eq!(progress.who, begun.act.actor.who);
    assert_eq!(progress.why, begun.act.why);
    assert_eq!(progress.ended_at, None);
    let left = store.dead_letter(letters[2].id).await.unwrap().unwrap();
    assert_eq!(left.state, DeadState::Open);
    assert_eq!(
        store.operations().operation(Uuid::nil()).await.unwrap(),
        None
    );
}

pub async fn a_killed_replay_goes_on_where_it_was(Stores { store, other }: Stores) {
    let letters: Vec<_> = (0..6)
        .map(|number| letter(EventId::born(), 0, number))
        .collect();
    store.keep_dead(&letters).await.unwrap();
    let one = begun(&*store, DeadFilter::default()).await;
    store.operations().claim_dead(one.id, 3).await.unwrap();
    store
        .operations()
        .mark_replayed(one.id, &[letters[0].id])
        .await
        .unwrap();
    // The replay is killed here. Its claimed letters are found, never more of them than asked for.
    let first = other
        .operations()
        .claimed_dead(one.id, None, 1)
        .await
        .unwrap();
    assert_eq!(ids(&first), ids(&letters[1..2]));
    let after = Some(first[0].id);
    let second = other
        .operations()
        .claimed_dead(one.id, after, 9)
        .await
        .unwrap();
    assert_eq!(ids(&second), ids(&letters[2..3]));
    assert_eq!(second[0].message, letters[2].message);
    let after = Some(second[0].id);
    assert_eq!(
        other
            .operations()
            .claimed_dead(one.id, after, 9)
            .await
            .unwrap(),
        []
    );
    let rest = other.operations().claim_dead(one.id, 4).await.unwrap();
    assert_eq!(ids(&rest), ids(&letters[3..]));
}

pub async fn the_end_of_a_replay_opens_what_it_had_claimed(Stores { store, .. }: Stores) {
    let sent = letter(EventId::born(), 0, 1);
    let tried = letter(EventId::born(), 0, 2);
    let unsent = letter(EventId::born(), 0, 3);
    let all = [sent.clone(), tried.clone(), unsent.clone()];
    store.keep_dead(&all).await.unwrap();
    let one = begun(&*store, DeadFilter::default()).await;
    store.operations().claim_dead(one.id, 10).await.unwrap();
    store
        .operations()
        .mark_replayed(one.id, &[sent.id])
        .await
        .unwrap();
    // Its confirmation was lost, but it has arrived and was tried.
    let tried_key = key(tried.event.unwrap(), "crm", 1);
    store
        .record_attempts(&[crate::samples::failed(&tried_key, 1, 10)])
        .await
        .unwrap();
    let end = store
        .operations()
        .end_operation(one.id, OperationState::Running)
        .await;
    assert!(matches!(end, Err(StoreError::Fault(_))), "{end:?}");
    store
        .operations()
        .end_operation(one.id, OperationState::Stopped)
        .await
        .unwrap();
    store
        .operations()
        .end_operation(one.id, OperationState::Done)
        .await
        .unwrap();
    let progress = store.operations().operation(one.id).await.unwrap().unwrap();
    assert_eq!(progress.state, OperationState::Stopped);
    assert!(progress.ended_at.is_some());
    assert_eq!(count(&*store, DeadState::Replayed).await, 1);
    assert_eq!(count(&*store, DeadState::Open).await, 2);
    let states = states_of(
        &*store,
        &[
            key(sent.event.unwrap(), "crm", 1),
            tried_key,
            key(unsent.event.unwrap(), "crm", 1),
        ],
    )
    .await;
    let due = Some(DeliveryState::Due);
    assert_eq!(states, [due, due, None]);
    let status = store.status(unsent.event.unwrap()).await.unwrap().unwrap();
    assert_eq!(status.status, Standing::Dead);
}

pub async fn a_replay_to_elsewhere_makes_nothing_due(Stores { store, .. }: Stores) {
    let on_its_way = letter(EventId::born(), 0, 1);
    let early = early_letter(EventId::born(), "validate", 2);
    store
        .keep_dead(&[on_its_way.clone(), early.clone()])
        .await
        .unwrap();
    let mut elsewhere = replay(DeadFilter::default());
    elsewhere.to_queue = Some("longshore.store".to_owned());
    store
        .operations()
        .begin_operation(&elsewhere)
        .await
        .unwrap();
    let claimed = store
        .operations()
        .claim_dead(elsewhere.id, 10)
        .await
        .unwrap();
    assert_eq!(ids(&claimed), [on_its_way.id, early.id]);
    let keys = [
        key(on_its_way.event.unwrap(), "crm", 1),
        key(early.event.unwrap(), "crm", 1),
    ];
    assert_eq!(states_of(&*store, &keys).await, [None, None]);
}

pub async fn a_replay_that_does_not_run_claims_nothing(Stores { store, .. }: Stores) {
    store
        .keep_dead(&[letter(EventId::born(), 0, 1)])
        .await
        .unwrap();
    let unknown = store.operations().claim_dead(Uuid::now_v7(), 10).await;
    assert!(matches!(unknown, Err(StoreError::Fault(_))), "{unknown:?}");
    let ended = begun(&*store, DeadFilter::default()).await;
    store
        .operations()
        .end_operation(ended.id, OperationState::Done)
        .await
        .unwrap();
    assert_eq!(
        store.operations().claim_dead(ended.id, 10).await.unwrap(),
        []
    );
    assert_eq!(
        store
            .operations()
            .claimed_dead(ended.id, None, 10)
            .await
            .unwrap(),
        []
    );
    assert_eq!(count(&*store, DeadState::Open).await, 1);
}
