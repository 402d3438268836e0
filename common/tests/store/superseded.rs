//! Only the newest generation of a dead event is open: a delivery is never made twice because an older letter was
//! sent again too.

use std::sync::Arc;

use common::event::EventId;
use common::store::{
    DeadFilter, DeadLetter, DeadState, DeliveryState, OperationState, Standing, Store,
};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::engine::Stores;
use crate::samples::{
    by_ada, delivered, early_letter, event, key, letter, purging, replay, state_of, states_of,
};

async fn state(store: &dyn Store, letter: &DeadLetter) -> DeadState {
    let found = store.dead_letter(letter.id).await.unwrap();
    found.expect("it is kept").state
}

async fn states(store: &dyn Store, letters: &[DeadLetter]) -> Vec<DeadState> {
    let mut states = Vec::new();
    for one in letters {
        states.push(state(store, one).await);
    }
    states
}

/// The claims of a new replay of everything, in batches of `most`.
async fn claim_all(store: &dyn Store, most: u32) -> (Uuid, Vec<Uuid>) {
    let replay = replay(DeadFilter::default());
    store.operations().begin_operation(&replay).await.unwrap();
    let mut claimed = Vec::new();
    loop {
        let batch = store
            .operations()
            .claim_dead(replay.id, most)
            .await
            .unwrap();
        if batch.is_empty() {
            return (replay.id, claimed);
        }
        claimed.extend(batch.iter().map(|letter| letter.id));
    }
}

use DeadState::{Open, Replaying, Superseded};

pub async fn the_newest_generation_alone_is_open(Stores { store, .. }: Stores) {
    let store = &*store;
    let event = EventId::born();
    let generations: Vec<_> = (0..3).map(|nth| letter(event, nth, 10)).collect();
    let elsewhere = DeadLetter {
        destination: Some("mail".to_owned()),
        queue: "longshore.integrate.mail".to_owned(),
        ..letter(event, 0, 10)
    };
    let stranger = letter(EventId::born(), 0, 10);
    let before = [elsewhere, stranger, generations[0].clone()];
    store.keep_dead(&before).await.unwrap();
    assert_eq!(states(store, &before).await, [Open; 3]);
    // In one batch, in whatever order; and an older one that comes late.
    let late = [generations[2].clone(), generations[1].clone()];
    store.keep_dead(&late).await.unwrap();
    assert_eq!(states(store, &before).await, [Open, Open, Superseded]);
    let of_event = states(store, &generations).await;
    assert_eq!(of_event, [Superseded, Superseded, Open]);
    let filter = |state| DeadFilter {
        state: Some(state),
        event: Some(event),
        ..DeadFilter::default()
    };
    assert_eq!(store.dead_count(&filter(Open)).await.unwrap(), 2);
    assert_eq!(store.dead_count(&filter(Superseded)).await.unwrap(), 2);
    let groups = store.dead_stats(&DeadFilter::default(), 10).await.unwrap();
    let counted = groups.iter().map(|group| (group.letters, group.open));
    assert_eq!(counted.collect::<Vec<_>>(), [(4, 2), (1, 1)]);
    // One delivery of it is made, not three.
    let (_, claimed) = claim_all(store, 10).await;
    assert!(claimed.contains(&generations[2].id));
    assert_eq!(claimed.len(), 3);
    let due = [0, 1, 2, 3].map(|generation| key(event, "crm", generation));
    let dead = Some(DeliveryState::Dead);
    assert_eq!(
        states_of(store, &due).await,
        [dead, dead, dead, Some(DeliveryState::Due)]
    );
}

pub async fn what_was_delivered_has_no_open_letter(Stores { store, .. }: Stores) {
    let store = &*store;
    let events: Vec<_> = (0..3).map(|_| event()).collect();
    store.store(events.clone().into()).await.unwrap();
    let letters: Vec<_> = events.iter().map(|event| letter(event.id, 0, 10)).collect();
    store.keep_dead(&letters[..2]).await.unwrap();
    // By a replay of the history, say; and by a second copy of the very message.
    let attempts = [
        delivered(&key(events[0].id, "crm", 1), 1, 20),
        delivered(&key(events[1].id, "crm", 0), 13, 20),
        delivered(&key(events[2].id, "crm", 0), 1, 20),
    ];
    store.record_attempts(&attempts).await.unwrap();
    assert_eq!(states(store, &letters[..2]).await, [Superseded; 2]);
    // The letter comes after the delivery.
    store.keep_dead(&letters[2..]).await.unwrap();
    assert_eq!(state(store, &letters[2]).await, Superseded);
    assert!(claim_all(store, 10).await.1.is_empty());
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    assert_eq!(
        store.standings(&ids).await.unwrap(),
        [Some(Standing::Completed); 3]
    );
}

pub async fn an_early_letter_is_open_while_something_may_hang_on_it(Stores { store, .. }: Stores) {
    let store = &*store;
    let event = event();
    let mut again = event.clone();
    again.generation = 1;
    let early = early_letter(event.id, "validate", 10);
    store.keep_dead(std::slice::from_ref(&early)).await.unwrap();
    // Stored by another way. Nobody may have handed it on: the letter could be all that gets it going.
    store.store([event.clone()].into()).await.unwrap();
    let crashed = early_letter(event.id, "store", 20);
    store
        .keep_dead(std::slice::from_ref(&crashed))
        .await
        .unwrap();
    let both = [early, crashed];
    assert_eq!(states(store, &both).await, [Open; 2]);
    let made = delivered(&key(event.id, "crm", 0), 1, 30);
    store.record_attempts(&[made]).await.unwrap();
    // Now there is nothing left to do, which is seen before one of them is sent.
    assert!(claim_all(store, 1).await.1.is_empty());
    assert_eq!(states(store, &both).await, [Superseded; 2]);
    // A repetition that was asked for and died is another matter.
    let repeated = DeadLetter {
        generation: 1,
        ..early_letter(event.id, "store", 40)
    };
    store
        .keep_dead(std::slice::from_ref(&repeated))
        .await
        .unwrap();
    assert_eq!(claim_all(store, 1).await.1, [repeated.id]);
}

pub async fn what_is_opened_again_too_late_is_superseded(Stores { store, .. }: Stores) {
    let store = &*store;
    let [one, other] = [EventId::born(), EventId::born()];
    let claimed = letter(one, 0, 10);
    let discarded = letter(other, 0, 10);
    store
        .keep_dead(&[claimed.clone(), discarded.clone()])
        .await
        .unwrap();
    let only = |letter: &DeadLetter| DeadFilter {
        ids: Some(vec![letter.id]),
        ..DeadFilter::default()
    };
    let discard = by_ada(only(&discarded));
    assert_eq!(store.discard_dead(&discard, 1).await.unwrap(), 1);
    let (replay, all) = claim_all(store, 10).await;
    assert_eq!(all, [claimed.id]);
    let newer = [letter(one, 1, 20), letter(other, 1, 20)];
    store.keep_dead(&newer).await.unwrap();
    assert_eq!(state(store, &claimed).await, Replaying);
    store
        .operations()
        .end_operation(replay, OperationState::Stopped)
        .await
        .unwrap();
    assert_eq!(state(store, &claimed).await, Superseded);
    assert_eq!(
        store
            .restore_dead(&by_ada(only(&discarded)), 1)
            .await
            .unwrap(),
        1
    );
    assert_eq!(state(store, &discarded).await, Superseded);
    assert_eq!(states(store, &newer).await, [Open; 2]);
    // It is settled, and goes when it is old.
    let later = OffsetDateTime::now_utc() + Duration::hours(1);
    assert_eq!(store.purge_dead(later, &purging(), 10).await.unwrap(), 2);
}

/// Archives, receivers and replays at the same moment, in every order there may be.
pub async fn generations_at_once_leave_one_open(Stores { store, other }: Stores) {
    let events: Vec<EventId> = (0..60).map(|_| EventId::born()).collect();
    let mut tasks = Vec::new();
    for generation in 0..4 {
        let store = Arc::clone(if generation % 2 == 0 { &store } else { &other });
        let letters: Vec<_> = events
            .iter()
            .map(|event| letter(*event, generation, i64::from(generation)))
            .collect();
        tasks.push(tokio::spawn(async move {
            for letters in letters.chunks(3) {
                store.keep_dead(letters).await.unwrap();
            }
        }));
    }
    for store in [&store, &other] {
        let store = Arc::clone(store);
        tasks.push(tokio::spawn(async move {
            for _ in 0..5 {
                let (replay, _) = claim_all(&*store, 7).await;
                store
                    .operations()
                    .end_operation(replay, OperationState::Stopped)
                    .await
                    .unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let open = DeadFilter {
        state: Some(Open),
        ..DeadFilter::default()
    };
    assert_eq!(store.dead_count(&open).await.unwrap(), 60);
    let (_, claimed) = claim_all(&*store, 100).await;
    assert_eq!(claimed.len(), 60);
    for event in events {
        let newest = state_of(&*store, &key(event, "crm", 4)).await;
        assert_eq!(newest, Some(DeliveryState::Due));
    }
}
