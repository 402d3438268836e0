//! The questions and records of the standing watch.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::event::{EventId, header};
use common::reason::ReasonCode;
use common::store::{
    DeadFilter, DeadLetter, DeadState, Deaths, DueDelivery, FactVisitor, NewEvent, NewRejection,
    Operation, RepairKey, StoredFact, WatchFinding,
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::engine::Stores;
use crate::samples::{
    at, by_ada, delivered, early_letter, event, failed, key, letter, rejection, replay,
};

const KEEP: Duration = Duration::from_secs(30);

pub async fn one_has_the_lease_and_the_next_goes_on_from_there(
    Stores { store, other, .. }: Stores,
) {
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    let (store, other) = (store.watching(), other.watching());
    assert_eq!(store.lease("watch").await.unwrap(), None);
    let lease = store.hold_lease("watch", first, KEEP, None).await.unwrap();
    assert_eq!(lease.map(|lease| lease.position), Some(None));
    let lease = other.hold_lease("watch", second, KEEP, None).await.unwrap();
    assert_eq!(lease, None, "it is held");
    let lease = store
        .hold_lease("watch", first, KEEP, Some(7))
        .await
        .unwrap();
    assert_eq!(lease.map(|lease| lease.position), Some(Some(7)));
    // Another duty is another lease.
    let lease = other.hold_lease("else", second, KEEP, None).await.unwrap();
    assert!(lease.is_some());

    let gone = Duration::ZERO;
    store.hold_lease("watch", first, gone, None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(!other.lease("watch").await.unwrap().unwrap().is_held);
    let lease = other.hold_lease("watch", second, KEEP, None).await.unwrap();
    assert_eq!(
        lease.map(|lease| lease.position),
        Some(Some(7)),
        "taken over"
    );
    store.give_up_lease("watch", first).await.unwrap();
    assert!(other.lease("watch").await.unwrap().unwrap().is_held);
    other.give_up_lease("watch", second).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let lease = store.hold_lease("watch", first, KEEP, None).await.unwrap();
    assert_eq!(lease.map(|lease| lease.position), Some(Some(7)));
}

pub async fn an_event_is_completed_when_every_delivery_is_made(Stores { store, .. }: Stores) {
    let mut none = event();
    none.destinations.clear();
    let events = [event(), event(), event(), none];
    store.store(events.clone().into()).await.unwrap();
    let [made, due, dead, none] = events.map(|event| event.id);
    let attempts = [
        delivered(&key(made, "crm", 0), 1, 10),
        failed(&key(due, "crm", 0), 1, 10),
    ];
    store.record_attempts(&attempts).await.unwrap();
    store.keep_dead(&[letter(dead, 0, 20)]).await.unwrap();
    let asked = [made, due, dead, none, EventId::born()];
    let completed = store.watching().are_completed(&asked).await.unwrap();
    assert_eq!(completed, [true, false, false, true, false]);
    let kept = letter(due, 0, 30);
    store.keep_dead(std::slice::from_ref(&kept)).await.unwrap();
    let asked = [Uuid::now_v7(), kept.id];
    let states = store.watching().letter_states(&asked).await.unwrap();
    assert_eq!(states, [None, Some(DeadState::Open)]);
    assert!(
        store
            .watching()
            .are_completed(&[])
            .await
            .unwrap()
            .is_empty()
    );
}

pub async fn the_letters_of_an_entry_key_are_counted_with_their_copies(
    Stores { store, .. }: Stores,
) {
    let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
    let kept = |entry_key, seconds| DeadLetter {
        event: None,
        entry_key,
        ..early_letter(EventId::born(), "validate", seconds)
    };
    let letters = [
        kept(Some(one), 10),
        kept(Some(one), 20),
        kept(Some(other), 30),
        kept(None, 40),
    ];
    store.keep_dead(&letters).await.unwrap();
    // The message came once more.
    store.keep_dead(&letters[1..2]).await.unwrap();
    let discard = by_ada(DeadFilter {
        ids: Some(vec![letters[2].id]),
        ..DeadFilter::default()
    });
    store.discard_dead(&discard, 10).await.unwrap();
    let asked = [other, Uuid::now_v7(), one];
    let dead = |dead| Deaths { dead, mended: 0 };
    let watching = store.watching();
    let all = watching.deaths_by_entry(&asked, &[], at(0)).await;
    assert_eq!(all.unwrap(), [dead(1), dead(0), dead(3)]);
    let without = [letters[1].id, letters[2].id];
    let others = watching.deaths_by_entry(&asked, &without, at(0)).await;
    assert_eq!(others.unwrap(), [dead(0), dead(0), dead(1)]);
    // The first message of each letter that died before came before.
    let later = watching.deaths_by_entry(&asked, &[], at(25)).await;
    assert_eq!(later.unwrap(), [dead(1), dead(0), dead(1)]);
    let none = watching.deaths_by_entry(&[], &[], at(0)).await;
    assert_eq!(none.unwrap(), []);
    let story = store.dead_letter(letters[0].id).await.unwrap();
    assert_eq!(story.unwrap().entry_key, Some(one));
}

pub async fn an_event_is_known_by_the_id_that_the_history_makes_of_it(
    Stores { store, .. }: Stores,
) {
    let [several, refused, none] = [EventId::born(), EventId::born(), EventId::born()];
    let stored = |seconds| NewEvent {
        stream_id: Some(several),
        received_at: at(seconds),
        ..event()
    };
    let events = [stored(20), stored(10), event()];
    store.store(events.clone().into()).await.unwrap();
    let rejected = NewRejection {
        stream_id: Some(refused),
        ..rejection(EventId::born(), ReasonCode::Invalid, 5)
    };
    store
        .keep_rejections(std::slice::from_ref(&rejected))
        .await
        .unwrap();
    let watching = store.watching();
    let asked = [none, refused, several, events[2].id];
    let known = watching.events_of_stream(&asked).await.unwrap();
    assert_eq!(
        known,
        [None, Some(rejected.event), Some(events[0].id), None]
    );
    assert_eq!(watching.events_of_stream(&[]).await.unwrap(), []);
    let told = Arc::new(Mutex::new(Vec::new()));
    let visitor: FactVisitor = {
        let told = Arc::clone(&told);
        Arc::new(move |fact| told.lock().unwrap().push((fact.event, fact.stream_id)))
    };
    let now = OffsetDateTime::now_utc();
    let (from, to) = (
        now - Duration::from_secs(600),
        now + Duration::from_secs(600),
    );
    watching.each_stored(from, to, visitor).await.unwrap();
    let told = told.lock().unwrap().clone();
    assert!(told.contains(&(events[0].id, Some(several))));
    assert!(told.contains(&(events[2].id, None)));
}

pub async fn what_was_replayed_under_a_new_id_goes_on_under_it(Stores { store, .. }: Stores) {
    let [anew, as_before, inherits] = [EventId::born(), EventId::born(), EventId::born()];
    let mut named = letter(inherits, 1, 30);
    named.message.headers.set(header::NEW_ID, 1_i64);
    let letters = [letter(anew, 0, 10), letter(as_before, 0, 20), named];
    store.keep_dead(&letters).await.unwrap();
    for (letter, new_ids) in letters.iter().zip([true, false, false]) {
        let filter = DeadFilter {
            ids: Some(vec![letter.id]),
            ..DeadFilter::default()
        };
        let replay = Operation {
            new_ids,
            ..replay(filter)
        };
        store.operations().begin_operation(&replay).await.unwrap();
        assert_eq!(
            store
                .operations()
                .claim_dead(replay.id, 10)
                .await
                .unwrap()
                .len(),
            1
        );
    }
    let asked = [anew, as_before, inherits, EventId::born()];
    let found = store.watching().new_ids(&asked).await.unwrap();
    let expected = [(key(anew, "crm", 1), 1), (key(inherits, "crm", 2), 1)];
    assert_eq!(found, expected.into_iter().collect());
}

fn names(due: &[DueDelivery]) -> Vec<(EventId, u32, u32)> {
    let name = |it: &DueDelivery| (it.key.event, it.key.generation, it.attempts);
    due.iter().map(name).collect()
}

pub async fn what_is_due_is_found_and_what_a_replay_holds_is_not(Stores { store, .. }: Stores) {
    let before = OffsetDateTime::now_utc() - time::Duration::MINUTE;
    let events = [event(), event(), event(), event()];
    store.store(events.clone().into()).await.unwrap();
    let [fresh, tried, made, dead] = events.map(|event| event.id);
    let attempts = [
        failed(&key(tried, "crm", 0), 1, 10),
        delivered(&key(made, "crm", 0), 1, 11),
    ];
    store.record_attempts(&attempts).await.unwrap();
    store.keep_dead(&[letter(dead, 0, 20)]).await.unwrap();
    let after = OffsetDateTime::now_utc() + time::Duration::MINUTE;
    let watching = store.watching();
    let due = watching.due_deliveries(before, after, 10).await.unwrap();
    let mut found = names(&due);
    found.sort();
    let mut expected = vec![(fresh, 0, 0), (tried, 0, 1)];
    expected.sort();
    assert_eq!(found, expected);
    let tried = due.iter().find(|it| it.attempts == 1).unwrap();
    assert_eq!(tried.last_attempt_at, Some(at(10)));
    assert_eq!(
        watching
            .due_deliveries(before, after, 1)
            .await
            .unwrap()
            .len(),
        1
    );
    let later = watching.due_deliveries(after, after, 10).await.unwrap();
    assert!(later.is_empty(), "{later:?}");
    let attempts = watching.last_attempts(before).await.unwrap();
    assert_eq!(attempts, [("crm".to_owned(), at(20))], "that of the letter");

    // A replay makes it due; until it is sent, that is the replay's business.
    let replay = replay(DeadFilter::default());
    store.operations().begin_operation(&replay).await.unwrap();
    let claimed = store.operations().claim_dead(replay.id, 10).await.unwrap();
    assert_eq!(claimed.len(), 1);
    let due = watching.due_deliveries(before, after, 10).await.unwrap();
    assert_eq!(due.len(), 2, "{due:?}");
    let letters = [claimed[0].id];
    store
        .operations()
        .mark_replayed(replay.id, &letters)
        .await
        .unwrap();
    let due = watching.due_of(&[dead, made]).await.unwrap();
    assert_eq!(names(&due), [(dead, 1, 0)], "the newest generation");
    let asked = ["crm".to_owned(), "elsewhere".to_owned()];
    let counts = watching.count_due(&asked).await.unwrap();
    assert_eq!(counts, [("crm".to_owned(), 3)].into_iter().collect());
    let due = watching.due_deliveries(before, after, 10).await.unwrap();
    assert!(names(&due).contains(&(dead, 1, 0)), "{due:?}");
}

pub async fn a_stored_body_comes_back_byte_for_byte(Stores { store, .. }: Stores) {
    let mut event = event();
    event.body = "{ \"b\":1.10,\n \"a\":\"\\u00e4\" }".to_owned();
    store.store([event.clone()].into()).await.unwrap();
    let asked = [event.id, EventId::born()];
    let bodies = store.watching().stored_bodies(&asked).await.unwrap();
    assert_eq!(bodies.len(), 1);
    assert_eq!((bodies[0].event, &bodies[0].body), (event.id, &event.body));
    assert_eq!(bodies[0].publisher, event.publisher);
    assert_eq!(
        (bodies[0].received_at, bodies[0].accepted_at),
        (at(0), at(1))
    );
}

pub async fn what_was_stored_in_a_window_is_told_and_what_never_was(Stores { store, .. }: Stores) {
    let from = OffsetDateTime::now_utc() - time::Duration::MINUTE;
    let stored = event();
    store.store([stored.clone()].into()).await.unwrap();
    let stranger = key(EventId::born(), "crm", 0);
    let mut attempt = delivered(&stranger, 1, 10);
    attempt.started_at = OffsetDateTime::now_utc();
    store.record_attempts(&[attempt]).await.unwrap();
    let to = OffsetDateTime::now_utc() + time::Duration::MINUTE;
    let facts: Arc<Mutex<Vec<StoredFact>>> = Arc::default();
    let told = Arc::clone(&facts);
    let visit = Arc::new(move |fact| told.lock().unwrap().push(fact));
    store
        .watching()
        .each_stored(from, to, visit.clone())
        .await
        .unwrap();
    store.watching().each_stored(to, to, visit).await.unwrap();
    let facts = facts.lock().unwrap();
    let told: Vec<_> = facts.iter().map(|it| (it.event, it.kind.clone())).collect();
    let expected = [(stored.id, Some(stored.kind)), (stranger.event, None)];
    assert_eq!(told, expected);
    assert_eq!(facts[0].received_at, Some(at(0)));
}

pub async fn letters_that_are_no_events_are_counted_once_they_are_sent_again(
    Stores { store, .. }: Stores,
) {
    let before = OffsetDateTime::now_utc() - time::Duration::MINUTE;
    let [event, garbage, waiting] = [10, 20, 30].map(|at| letter(EventId::born(), 0, at));
    let no_event = |letter: DeadLetter| DeadLetter {
        event: None,
        destination: None,
        ..letter
    };
    let letters = [event, no_event(garbage), no_event(waiting)];
    store.keep_dead(&letters).await.unwrap();
    let watching = store.watching();
    assert_eq!(watching.count_mended(before).await.unwrap(), 0);
    let replay = replay(DeadFilter {
        ids: Some(letters[..2].iter().map(|letter| letter.id).collect()),
        ..DeadFilter::default()
    });
    store.operations().begin_operation(&replay).await.unwrap();
    let claimed = store.operations().claim_dead(replay.id, 10).await.unwrap();
    let claimed: Vec<Uuid> = claimed.iter().map(|letter| letter.id).collect();
    assert_eq!(claimed.len(), 2);
    store
        .operations()
        .mark_replayed(replay.id, &claimed)
        .await
        .unwrap();
    assert_eq!(watching.count_mended(before).await.unwrap(), 1);
    let after = OffsetDateTime::now_utc() + time::Duration::MINUTE;
    assert_eq!(watching.count_mended(after).await.unwrap(), 0);
}

pub async fn repairs_are_counted(Stores { store, .. }: Stores) {
    let watching = store.watching();
    let before = OffsetDateTime::now_utc() - time::Duration::MINUTE;
    let event = RepairKey {
        subject: Uuid::now_v7(),
        destination: None,
        generation: 0,
    };
    let delivery = RepairKey {
        destination: Some("crm".to_owned()),
        generation: 2,
        ..event.clone()
    };
    let both = [event.clone(), delivery.clone(), event.clone()];
    watching.record_repairs(&both).await.unwrap();
    watching
        .record_repairs(std::slice::from_ref(&delivery))
        .await
        .unwrap();
    let mut repairs = watching
        .repairs(&[event.subject, Uuid::now_v7()])
        .await
        .unwrap();
    repairs.sort_by_key(|repair| repair.sent);
    let sent: Vec<_> = repairs.iter().map(|it| (it.key.clone(), it.sent)).collect();
    assert_eq!(sent, [(event, 1), (delivery, 2)]);
    assert!(repairs[0].last_at > before);
    assert_eq!(watching.repairs_since(before).await.unwrap(), (1, 1));
    let after = OffsetDateTime::now_utc() + time::Duration::MINUTE;
    assert_eq!(watching.repairs_since(after).await.unwrap(), (0, 0));
}

pub async fn findings_are_those_of_now_and_keep_their_beginning(Stores { store, .. }: Stores) {
    let watching = store.watching();
    let finding = |subject: &str, number| WatchFinding {
        finding: "suspects".to_owned(),
        subject: subject.to_owned(),
        number,
        detail: "put aside".to_owned(),
    };
    watching
        .keep_findings(&[finding("a", 1), finding("b", 1)])
        .await
        .unwrap();
    let first = watching.findings().await.unwrap();
    watching
        .keep_findings(&[finding("b", 2), finding("c", 1)])
        .await
        .unwrap();
    let found = watching.findings().await.unwrap();
    let findings: Vec<_> = found.iter().map(|(it, _)| it.clone()).collect();
    assert_eq!(findings, [finding("b", 2), finding("c", 1)]);
    assert_eq!(found[0].1, first[1].1, "since when");
    watching.keep_findings(&[]).await.unwrap();
    assert!(watching.findings().await.unwrap().is_empty());
}
