//! Events that wait for their moment.

use std::time::Duration;

use common::event::EventId;
use common::store::{
    AfterScheduled, AuditAction, AuditFilter, Cancelled, DeadLetter, FilteredDestination,
    NewCancellation, NewEvent, NotBefore, Ordered, Standing, Store, Stored,
};
use time::OffsetDateTime;

use crate::audit::{entries, verify};
use crate::engine::Stores;
use crate::samples::{act, early_letter, event};

const HOUR: time::Duration = time::Duration::HOUR;

fn at(moment: OffsetDateTime) -> OffsetDateTime {
    moment.replace_microsecond(moment.microsecond()).unwrap()
}

/// An event whose moment is this far away.
fn scheduled(away: time::Duration) -> NewEvent {
    NewEvent {
        not_before: Some(NotBefore {
            at: at(OffsetDateTime::now_utc() + away),
            has_come: false,
            is_release: false,
        }),
        ..event()
    }
}

/// The same event as it comes when it is released.
fn release(event: &NewEvent) -> NewEvent {
    let moment = event.not_before.map(|moment| NotBefore {
        has_come: true,
        is_release: true,
        ..moment
    });
    NewEvent {
        not_before: moment,
        ..event.clone()
    }
}

/// The same event as it comes again from its publisher, when its moment has come.
fn late(event: &NewEvent) -> NewEvent {
    let moment = event.not_before.map(|moment| NotBefore {
        has_come: true,
        ..moment
    });
    NewEvent {
        not_before: moment,
        ..event.clone()
    }
}

async fn store_one(store: &dyn Store, event: &NewEvent) -> Stored {
    let stored = store.store([event.clone()].into()).await.unwrap();
    stored[0]
}

async fn standing(store: &dyn Store, id: EventId) -> Option<Standing> {
    store.standings(&[id]).await.unwrap()[0]
}

/// The destinations where an event is due.
async fn due_at(store: &dyn Store, id: EventId) -> Vec<String> {
    let due = store.watching().due_of(&[id]).await.unwrap();
    due.into_iter().map(|due| due.key.destination).collect()
}

fn cancellation(event: EventId) -> NewCancellation {
    NewCancellation {
        event,
        by: "http:shop".to_owned(),
        why: None,
    }
}

pub async fn a_scheduled_event_is_due_nowhere_until_it_is_released(
    Stores { store, other }: Stores,
) {
    let waiting = NewEvent {
        filtered: vec![FilteredDestination {
            destination: "old".to_owned(),
            error: None,
        }],
        ..scheduled(HOUR)
    };
    let id = waiting.id;
    assert_eq!(store_one(&*store, &waiting).await, Stored::Scheduled);
    assert_eq!(store_one(&*other, &waiting).await, Stored::Scheduled);
    assert_eq!(due_at(&*store, id).await, [""; 0]);
    let status = store.status(id).await.unwrap().unwrap();
    assert_eq!(status.status, Standing::Scheduled);
    let moment = waiting.not_before.map(|moment| moment.at);
    assert_eq!(status.not_before.map(|moment| moment.0), moment);
    assert!(status.filtered.is_empty(), "that is decided later");
    let completed = store.watching().are_completed(&[id]).await;
    assert_eq!(completed, Ok(vec![false]));

    // By the configuration of now, and not of then.
    let released = NewEvent {
        destinations: vec!["mail".to_owned()],
        filtered: vec![FilteredDestination {
            destination: "new".to_owned(),
            error: None,
        }],
        ordered: Some(Ordered {
            key: common::event::OrderKey::named("a"),
            destinations: vec!["mail".to_owned()],
        }),
        ..release(&waiting)
    };
    assert_eq!(store_one(&*other, &released).await, Stored::New);
    assert_eq!(due_at(&*store, id).await, ["mail"]);
    assert_eq!(store.order().places("mail", 9).await.unwrap().len(), 1);
    let status = store.status(id).await.unwrap().unwrap();
    assert_eq!(status.status, Standing::Stored);
    assert_eq!(status.filtered, released.filtered);
    let steps: Vec<_> = status.timeline.iter().map(|step| step.step).collect();
    assert!(steps.contains(&"released"), "{steps:?}");
    // Sent twice, it is released once; and its publisher may send it again at any time.
    for again in [&released, &late(&waiting), &waiting] {
        assert_eq!(store_one(&*store, again).await, Stored::Before);
    }
    assert_eq!(due_at(&*store, id).await, ["mail"]);
}

pub async fn what_comes_after_its_moment_waits_for_nothing(Stores { store, .. }: Stores) {
    let event = late(&scheduled(-HOUR));
    assert_eq!(store_one(&*store, &event).await, Stored::New);
    assert_eq!(due_at(&*store, event.id).await, ["crm"]);
    assert_eq!(store.events_to_release(9).await, Ok(vec![]));
    let status = store.status(event.id).await.unwrap().unwrap();
    assert_eq!(status.not_before, None);
    let cancelled = store.cancel_event(&cancellation(event.id), None).await;
    assert_eq!(cancelled, Ok(Cancelled::TooLate));
}

pub async fn what_waits_goes_on_by_its_release_alone(Stores { store, .. }: Stores) {
    let waiting = scheduled(HOUR);
    store_one(&*store, &waiting).await;
    // Its publisher sends it again when the moment has come, or the history is replayed: its release is still to come.
    let replayed = NewEvent {
        generation: 1,
        ..late(&waiting)
    };
    for early in [late(&waiting), replayed] {
        assert_eq!(store_one(&*store, &early).await, Stored::Scheduled);
    }
    assert_eq!(due_at(&*store, waiting.id).await, [""; 0]);
    // Another one of its id that names no moment.
    for generation in [0, 1] {
        let nameless = NewEvent {
            generation,
            not_before: None,
            ..waiting.clone()
        };
        assert_eq!(store_one(&*store, &nameless).await, Stored::Scheduled);
    }
    assert_eq!(due_at(&*store, waiting.id).await, [""; 0]);
    let other_content = NewEvent {
        fingerprint: [8; 32],
        body: waiting.body.replace("{\"n\":1}", "{\"n\":2}"),
        ..release(&waiting)
    };
    assert_eq!(store_one(&*store, &other_content).await, Stored::Conflict);
    assert_eq!(store_one(&*store, &release(&waiting)).await, Stored::New);
}

pub async fn events_are_sent_in_the_order_of_their_moments(Stores { store, other }: Stores) {
    let second = time::Duration::SECOND;
    let events = [-2 * second, HOUR, -3 * second, -second].map(scheduled);
    let stored = store.store(events.to_vec().into()).await.unwrap();
    assert_eq!(stored, [Stored::Scheduled; 4]);
    let ids = |found: Vec<(EventId, OffsetDateTime)>| {
        let ids = found.into_iter().map(|(id, _)| id);
        ids.collect::<Vec<_>>()
    };
    let [second_one, _, first, third] = events.each_ref().map(|event| event.id);
    let found = other.events_to_release(2).await.unwrap();
    assert_eq!(Some(found[0].1), events[2].not_before.map(|it| it.at));
    assert_eq!(ids(found), [first, second_one]);
    store.mark_events_sent(&[first, second_one]).await.unwrap();
    assert_eq!(ids(store.events_to_release(9).await.unwrap()), [third]);

    // Nobody has released them: they are sent again, but for one that died, not long ago.
    let died = DeadLetter {
        last_failed_at: OffsetDateTime::now_utc(),
        ..early_letter(first, "store", 5)
    };
    let before = early_letter(second_one, "store", 5);
    store.keep_dead(&[before]).await.unwrap();
    store.keep_dead(&[died]).await.unwrap();
    assert_eq!(standing(&*store, first).await, Some(Standing::Dead));
    let again = store.send_events_again(Duration::from_secs(60)).await;
    assert_eq!(again, Ok(0), "they were sent just now");
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(store.send_events_again(Duration::ZERO).await, Ok(1));
    let found = ids(store.events_to_release(9).await.unwrap());
    assert_eq!(found, [second_one, third]);
    store_one(&*store, &release(&events[0])).await;
    assert_eq!(ids(store.events_to_release(9).await.unwrap()), [third]);
}

pub async fn a_cancelled_event_is_due_nowhere(Stores { store, other }: Stores) {
    let waiting = scheduled(-HOUR);
    let id = waiting.id;
    store_one(&*store, &waiting).await;
    let act = act(AuditAction::EventCancel, "event");
    let cancelling = NewCancellation {
        why: Some("a mistake".to_owned()),
        ..cancellation(id)
    };
    let cancel = || other.cancel_event(&cancelling, Some(&act));
    assert_eq!(cancel().await, Ok(Cancelled::Now));
    assert_eq!(cancel().await, Ok(Cancelled::Before));
    let told = entries(&*store, &AuditFilter::default()).await;
    assert_eq!((told.len(), &*told[0].action), (1, "event.cancel"));
    assert_eq!(verify(&*store).await, 1);

    assert_eq!(standing(&*store, id).await, Some(Standing::Cancelled));
    assert_eq!(store.events_to_release(9).await, Ok(vec![]));
    // Its release may be on the way, and others of its messages.
    for message in [release(&waiting), late(&waiting), waiting.clone()] {
        assert_eq!(store_one(&*store, &message).await, Stored::Scheduled);
    }
    assert_eq!(due_at(&*store, id).await, [""; 0]);
    let unknown = store
        .cancel_event(&cancellation(EventId::born()), None)
        .await;
    assert_eq!(unknown, Ok(Cancelled::Unknown));
    let released = scheduled(HOUR);
    store_one(&*store, &released).await;
    store_one(&*store, &release(&released)).await;
    let too_late = store
        .cancel_event(&cancellation(released.id), Some(&act))
        .await;
    assert_eq!(too_late, Ok(Cancelled::TooLate));
    assert_eq!(verify(&*store).await, 1, "nothing was changed");
}

pub async fn of_a_release_and_a_cancel_at_once_one_wins(Stores { store, other }: Stores) {
    for _ in 0..20 {
        let waiting = scheduled(-HOUR);
        store_one(&*store, &waiting).await;
        let message = release(&waiting);
        let cancelling = cancellation(waiting.id);
        let (released, cancelled) = tokio::join!(
            store_one(&*store, &message),
            other.cancel_event(&cancelling, None)
        );
        let is_due = due_at(&*store, waiting.id).await == ["crm"];
        match (released, cancelled.unwrap()) {
            (Stored::New, Cancelled::TooLate) => assert!(is_due),
            (Stored::Scheduled, Cancelled::Now) => assert!(!is_due),
            both => panic!("{both:?}"),
        }
    }
}

pub async fn scheduled_events_are_listed_page_by_page(Stores { store, .. }: Stores) {
    let same = scheduled(2 * HOUR);
    let twin = NewEvent {
        not_before: same.not_before,
        ..scheduled(HOUR)
    };
    let mut events = vec![scheduled(3 * HOUR), same, twin, scheduled(HOUR)];
    store.store(events.clone().into()).await.unwrap();
    store_one(&*store, &event()).await;
    events.sort_by_key(|event| (event.not_before.map(|moment| moment.at), event.id.uuid()));
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = store.scheduled_events(after, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(AfterScheduled {
            not_before: last.not_before.0,
            id: last.id,
        });
        found.extend(page);
    }
    let ids = |it: &NewEvent| (it.id, it.not_before.map(|moment| moment.at));
    let expected: Vec<_> = events.iter().map(ids).collect();
    let found: Vec<_> = found
        .iter()
        .map(|it| (it.id, Some(it.not_before.0)))
        .collect();
    assert_eq!(found, expected);
}
