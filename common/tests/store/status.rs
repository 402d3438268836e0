//! The status of an event.

use common::event::EventId;
use common::reason::ReasonCode;
use common::store::{DeadFilter, EventStatus, FilteredDestination, Standing, Store};

use crate::engine::Stores;
use crate::samples::{at, delivered, early_letter, event, failed, key, letter, rejection, replay};

async fn status_of(store: &dyn Store, id: EventId) -> EventStatus {
    let status = store.status(id).await.expect("the store answers");
    status.expect("something is known of it")
}

/// The steps and places of a status, without steps whose moment is from the engine's own clock.
fn steps(status: &EventStatus) -> Vec<(&'static str, Option<&str>)> {
    status
        .timeline
        .iter()
        .filter(|one| !["stored", "replayed"].contains(&one.step))
        .map(|one| (one.step, one.destination.as_deref()))
        .collect()
}

pub async fn nothing_is_known_of_a_stranger(Stores { store, .. }: Stores) {
    assert_eq!(store.status(EventId::born()).await.unwrap(), None);
    assert_eq!(store.event(EventId::born()).await.unwrap(), None);
}

pub async fn a_stored_event_goes_through_its_deliveries(Stores { store, .. }: Stores) {
    let mut event = event();
    event.destinations = vec!["mail".to_owned(), "crm".to_owned()];
    store.store([event.clone()].into()).await.unwrap();
    let (crm, mail) = (key(event.id, "crm", 0), key(event.id, "mail", 0));
    let status = status_of(&*store, event.id).await;
    assert_eq!(status.status, Standing::Stored);
    assert_eq!(status.kind.as_deref(), Some("processing.requested"));
    let places: Vec<_> = status
        .deliveries
        .iter()
        .map(|delivery| delivery.destination.as_str())
        .collect();
    assert_eq!(places, ["crm", "mail"]);

    store.record_attempts(&[failed(&crm, 1, 10)]).await.unwrap();
    assert_eq!(
        status_of(&*store, event.id).await.status,
        Standing::Delivering
    );
    store
        .record_attempts(&[delivered(&crm, 2, 20)])
        .await
        .unwrap();
    assert_eq!(
        status_of(&*store, event.id).await.status,
        Standing::Delivering
    );
    store
        .record_attempts(&[delivered(&mail, 1, 30)])
        .await
        .unwrap();
    let status = status_of(&*store, event.id).await;
    assert_eq!(status.status, Standing::Completed);
    assert_eq!(status.reason, None);
    assert_eq!(
        steps(&status),
        [
            ("received", None),
            ("accepted", None),
            ("delivered", Some("crm")),
            ("delivered", Some("mail"))
        ]
    );
}

pub async fn one_dead_delivery_makes_the_event_dead_when_nothing_is_due(
    Stores { store, .. }: Stores,
) {
    let mut event = event();
    event.destinations.push("mail".to_owned());
    store.store([event.clone()].into()).await.unwrap();
    let letter = letter(event.id, 0, 10);
    store
        .keep_dead(std::slice::from_ref(&letter))
        .await
        .unwrap();
    assert_eq!(
        status_of(&*store, event.id).await.status,
        Standing::Delivering
    );
    let mail = key(event.id, "mail", 0);
    store
        .record_attempts(&[delivered(&mail, 1, 20)])
        .await
        .unwrap();
    let status = status_of(&*store, event.id).await;
    assert_eq!(status.status, Standing::Dead);
    let reason = status.reason.as_ref().expect("it died of something");
    assert_eq!(reason.code, letter.reason);
    assert_eq!(reason.dead_letter, Some(letter.id));
    assert!(steps(&status).contains(&("dead", Some("crm"))));
}

pub async fn a_replay_makes_a_dead_event_go_on(Stores { store, .. }: Stores) {
    let event = event();
    store.store([event.clone()].into()).await.unwrap();
    store.keep_dead(&[letter(event.id, 0, 10)]).await.unwrap();
    assert_eq!(status_of(&*store, event.id).await.status, Standing::Dead);
    let replay = replay(DeadFilter::default());
    store.operations().begin_operation(&replay).await.unwrap();
    let claimed = store.operations().claim_dead(replay.id, 10).await.unwrap();
    assert_eq!(
        status_of(&*store, event.id).await.status,
        Standing::Delivering
    );
    store
        .operations()
        .mark_replayed(replay.id, &[claimed[0].id])
        .await
        .unwrap();
    let again = key(event.id, "crm", 1);
    store
        .record_attempts(&[delivered(&again, 1, 20)])
        .await
        .unwrap();
    let status = status_of(&*store, event.id).await;
    assert_eq!(status.status, Standing::Completed);
    // The newest generation alone is shown.
    assert_eq!(status.deliveries.len(), 1);
    assert_eq!(status.deliveries[0].generation, 1);
    let replayed = status.timeline.iter().find(|step| step.step == "replayed");
    let place = replayed.and_then(|step| step.destination.as_deref());
    assert_eq!(place, Some("crm"));
}

pub async fn an_event_with_nowhere_to_go_is_completed(Stores { store, .. }: Stores) {
    let mut event = event();
    event.destinations.clear();
    store.store([event.clone()].into()).await.unwrap();
    assert_eq!(
        status_of(&*store, event.id).await.status,
        Standing::Completed
    );
}

pub async fn an_event_says_where_it_is_not_due_by_a_filter(stores: Stores) {
    let Stores { store, other } = stores;
    let filtered = |destination: &str, error: Option<&str>| FilteredDestination {
        destination: destination.to_owned(),
        error: error.map(str::to_owned),
    };
    let passed_over = vec![
        filtered("audit", Some("data.\"plan\": no such member, \u{0}, Zoë")),
        filtered("mail", None),
    ];
    let mut first = event();
    first.destinations.clear();
    first.filtered = passed_over.clone();
    let plain = event();
    let (id, batch) = (first.id, [first.clone(), plain.clone()]);
    store.store(batch.clone().into()).await.unwrap();
    let status = status_of(&*other, id).await;
    assert_eq!(status.status, Standing::Completed);
    assert_eq!(status.filtered, passed_over);
    assert_eq!(
        steps(&status)[2..],
        [("filtered", Some("audit")), ("filtered", Some("mail"))]
    );
    assert_eq!(status_of(&*other, plain.id).await.filtered, []);
    let ids = [id, plain.id, EventId::born()];
    let kept = other.filtered(&ids).await.unwrap();
    assert_eq!(kept.into_iter().collect::<Vec<_>>(), [(id, passed_over)]);
    assert!(other.filtered(&[]).await.unwrap().is_empty());

    // The first word stands; a replay that is due there is told beside it.
    let mut again = first.clone();
    again.generation = 1;
    again.destinations = vec!["mail".to_owned()];
    again.filtered = vec![filtered("audit", None)];
    store.store([again].into()).await.unwrap();
    let status = status_of(&*other, id).await;
    assert_eq!(status.status, Standing::Stored);
    assert_eq!(status.deliveries[0].destination, "mail");
    assert_eq!(status.filtered, first.filtered[..1]);
}

pub async fn a_rejected_event_says_why(Stores { store, .. }: Stores) {
    let id = EventId::born();
    let first = rejection(id, ReasonCode::Invalid, 10);
    let second = rejection(id, ReasonCode::EmailTaken, 20);
    store.keep_rejections(&[second, first]).await.unwrap();
    let status = status_of(&*store, id).await;
    assert_eq!(status.status, Standing::Rejected);
    assert_eq!(status.kind.as_deref(), Some("signup.requested"));
    let reason = status
        .reason
        .as_ref()
        .expect("it was rejected for something");
    assert_eq!(reason.code, ReasonCode::EmailTaken);
    assert_eq!(reason.errors[0].pointer, "/email");
    assert_eq!(reason.errors[0].detail, "expected an address, found \0");
    let moments: Vec<_> = status.timeline.iter().map(|step| step.at.0).collect();
    assert_eq!(moments, [at(9), at(10), at(19), at(20)]);
    let all = store.rejections(id).await.unwrap();
    let codes: Vec<_> = all.iter().map(|rejection| rejection.code).collect();
    assert_eq!(codes, [ReasonCode::Invalid, ReasonCode::EmailTaken]);
    assert_eq!(all.last(), Some(reason));
}

pub async fn a_rejection_beside_a_stored_event_shows_as_a_conflict_and_changes_nothing_else(
    Stores { store, .. }: Stores,
) {
    let event = event();
    store.store([event.clone()].into()).await.unwrap();
    let before = status_of(&*store, event.id).await;
    store
        .keep_rejections(&[rejection(event.id, ReasonCode::IdempotencyConflict, 10)])
        .await
        .unwrap();
    let mut after = status_of(&*store, event.id).await;
    let conflicts = std::mem::take(&mut after.conflicts);
    assert_eq!(after, before);
    let codes: Vec<_> = conflicts.iter().map(|conflict| conflict.code).collect();
    assert_eq!(codes, [ReasonCode::IdempotencyConflict]);
    let all = store.rejections(event.id).await.unwrap();
    assert_eq!(all.len(), 1, "it is known all the same");
    assert_eq!(all[0].code, ReasonCode::IdempotencyConflict);
}

pub async fn an_event_that_died_before_it_was_stored_is_dead_until_it_is_replayed(
    Stores { store, .. }: Stores,
) {
    let id = EventId::born();
    let letter = early_letter(id, "store", 10);
    store
        .keep_dead(std::slice::from_ref(&letter))
        .await
        .unwrap();
    let status = status_of(&*store, id).await;
    assert_eq!(status.status, Standing::Dead);
    assert_eq!(
        status.reason.and_then(|reason| reason.dead_letter),
        Some(letter.id)
    );
    let replay = replay(DeadFilter::default());
    store.operations().begin_operation(&replay).await.unwrap();
    store.operations().claim_dead(replay.id, 10).await.unwrap();
    assert_eq!(status_of(&*store, id).await.status, Standing::Delivering);
    store
        .operations()
        .mark_replayed(replay.id, &[letter.id])
        .await
        .unwrap();
    assert_eq!(status_of(&*store, id).await.status, Standing::Delivering);
    store
        .keep_rejections(&[rejection(id, ReasonCode::Invalid, 20)])
        .await
        .unwrap();
    assert_eq!(status_of(&*store, id).await.status, Standing::Rejected);
}

pub async fn the_whole_record_holds_the_event(Stores { store, .. }: Stores) {
    let event = event();
    store.store([event.clone()].into()).await.unwrap();
    let record = store.event(event.id).await.unwrap().expect("it is stored");
    assert_eq!(record.publisher, event.publisher);
    assert_eq!(record.source, event.source);
    assert_eq!(record.event["data"]["n"], 1);
    assert_eq!(record.status, status_of(&*store, event.id).await);
}

pub async fn each_event_stands_somewhere_or_is_not_known(Stores { store, .. }: Stores) {
    let stored: Vec<_> = (0..4).map(|_| event()).collect();
    store.store(stored.clone().into()).await.unwrap();
    let crm = |index: usize| key(stored[index].id, "crm", 0);
    store
        .record_attempts(&[failed(&crm(1), 1, 10), delivered(&crm(2), 1, 10)])
        .await
        .unwrap();
    let early = early_letter(EventId::born(), "store", 10);
    store
        .keep_dead(&[letter(stored[3].id, 0, 20), early.clone()])
        .await
        .unwrap();
    let refused = EventId::born();
    store
        .keep_rejections(&[rejection(refused, ReasonCode::Invalid, 10)])
        .await
        .unwrap();
    let asked = [
        EventId::born(),
        refused,
        stored[3].id,
        early.event.unwrap(),
        stored[2].id,
        stored[1].id,
        stored[0].id,
        stored[2].id,
    ];
    let standings = store.standings(&asked).await.unwrap();
    assert_eq!(
        standings,
        [
            None,
            Some(Standing::Rejected),
            Some(Standing::Dead),
            Some(Standing::Dead),
            Some(Standing::Completed),
            Some(Standing::Delivering),
            Some(Standing::Stored),
            Some(Standing::Completed),
        ]
    );
    let at_rest: Vec<_> = standings
        .iter()
        .map(|one| one.map(Standing::is_at_rest))
        .collect();
    let (rest, moving) = (Some(true), Some(false));
    assert_eq!(
        at_rest,
        [None, rest, rest, rest, rest, moving, moving, rest]
    );
    for (id, standing) in asked.into_iter().zip(standings) {
        let status = store.status(id).await.unwrap();
        assert_eq!(status.map(|status| status.status), standing);
    }
    assert_eq!(store.standings(&[]).await.unwrap(), []);
}
