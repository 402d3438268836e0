//! Dead letters and rejections: keeping and finding them.

use std::collections::HashSet;

use bytes::Bytes;
use common::event::EventId;
use common::message::HeaderValue;
use common::reason::ReasonCode;
use common::store::{
    DeadFilter, DeadLetter, DeadPage, DeadState, DeadSummary, DeliveryState, Standing,
};
use uuid::Uuid;

use crate::engine::Stores;
use crate::samples::{
    at, delivered, early_letter, event, key, letter, rejection, state_of, states_of,
};

const ALL: DeadPage = DeadPage {
    after: None,
    limit: 1000,
};

pub async fn a_dead_letter_comes_back_as_it_was(Stores { store, .. }: Stores) {
    let mut odd = letter(EventId::born(), 3, 10);
    odd.message.body = Bytes::from_static(b"\x00\xff\xfe");
    odd.message.message_id = Some("a\0b".to_owned());
    odd.message.headers.set("nul", "a\0b");
    odd.message
        .headers
        .set("bytes", HeaderValue::Bytes(vec![0, 255]));
    odd.message.headers.set("float", HeaderValue::Float(1.5));
    odd.message.headers.set("small", HeaderValue::Int8(-3));
    odd.message.headers.set("at", HeaderValue::Time(7));
    odd.message.content_encoding = Some("gzip".to_owned());
    odd.message.correlation_id = Some("c".to_owned());
    odd.message.reply_to = Some("r".to_owned());
    odd.message.cluster_id = Some("k".to_owned());
    odd.message.priority = Some(3);
    odd.message.expiration = Some("60000".to_owned());
    let mut bare = early_letter(EventId::born(), "validate", 20);
    bare.event = None;
    bare.kind = None;
    bare.source = None;
    bare.message = common::message::Message::default();
    store.keep_dead(&[odd.clone(), bare.clone()]).await.unwrap();
    for kept in [odd, bare] {
        let mut found = store
            .dead_letter(kept.id)
            .await
            .unwrap()
            .expect("it is kept");
        // Headers are told apart by name; their order is not kept.
        assert_eq!(found.message.headers.len(), kept.message.headers.len());
        for (name, value) in kept.message.headers.iter() {
            assert_eq!(found.message.headers.get(name), Some(value));
        }
        found.message.headers = kept.message.headers.clone();
        assert_eq!(found, kept);
    }
    let mut nul = letter(EventId::born(), 0, 30);
    nul.error = "a\0b".to_owned();
    nul.routing_key = "\0".to_owned();
    store.keep_dead(std::slice::from_ref(&nul)).await.unwrap();
    let found = store.dead_letter(nul.id).await.unwrap().unwrap();
    assert_eq!(found.error, "a\u{fffd}b");
    assert_eq!(store.dead_letter(Uuid::nil()).await.unwrap(), None);
}

pub async fn keeping_twice_keeps_one(Stores { store, other }: Stores) {
    let first = letter(EventId::born(), 0, 10);
    let mut again = first.clone();
    again.error = "another text".to_owned();
    store
        .keep_dead(&[first.clone(), again.clone()])
        .await
        .unwrap();
    other.keep_dead(&[again]).await.unwrap();
    assert_eq!(store.dead_count(&DeadFilter::default()).await.unwrap(), 1);
    let kept = DeadLetter { copies: 3, ..first };
    assert_eq!(store.dead_letter(kept.id).await.unwrap(), Some(kept));
}

pub async fn a_letter_counts_how_often_it_came(Stores { store, other }: Stores) {
    let first = letter(EventId::born(), 0, 10);
    let uncounted = DeadLetter {
        copies: 0,
        ..first.clone()
    };
    let copies = async || {
        let kept = store.dead_letter(first.id).await.unwrap();
        kept.map(|letter| letter.copies)
    };
    // Written a second time because the answer to the first was lost.
    store
        .keep_dead(std::slice::from_ref(&uncounted))
        .await
        .unwrap();
    assert_eq!(copies().await, Some(1));
    other
        .keep_dead(std::slice::from_ref(&uncounted))
        .await
        .unwrap();
    assert_eq!(copies().await, Some(1));
    other
        .keep_dead(&[first.clone(), uncounted, first.clone()])
        .await
        .unwrap();
    assert_eq!(copies().await, Some(3));
    let page = store.dead_page(&DeadFilter::default(), ALL).await.unwrap();
    assert_eq!(page[0].copies, 3);
    // Every writer is counted.
    let more =
        [&store, &other, &store, &other].map(|it| it.keep_dead(std::slice::from_ref(&first)));
    for kept in futures_util::future::join_all(more).await {
        kept.unwrap();
    }
    assert_eq!(copies().await, Some(7));
}

pub async fn a_dead_letter_marks_its_delivery_and_no_other(Stores { store, .. }: Stores) {
    let mut due = event();
    due.destinations.push("mail".to_owned());
    let done = event();
    store
        .store([due.clone(), done.clone()].into())
        .await
        .unwrap();
    let done_key = key(done.id, "crm", 0);
    store
        .record_attempts(&[delivered(&done_key, 1, 5)])
        .await
        .unwrap();
    let stranger = EventId::born();
    store
        .keep_dead(&[
            letter(due.id, 0, 10),
            letter(done.id, 0, 10),
            letter(stranger, 2, 10),
        ])
        .await
        .unwrap();
    // Dead in an earlier stage is not dead on the way to a destination.
    let mut early = early_letter(due.id, "store", 10);
    early.destination = Some("mail".to_owned());
    store.keep_dead(&[early]).await.unwrap();
    let states = states_of(
        &*store,
        &[
            key(due.id, "crm", 0),
            key(due.id, "mail", 0),
            done_key,
            key(stranger, "crm", 2),
        ],
    )
    .await;
    assert_eq!(
        states,
        [
            Some(DeliveryState::Dead),
            Some(DeliveryState::Due),
            Some(DeliveryState::Delivered),
            Some(DeliveryState::Dead)
        ]
    );
}

pub async fn two_letters_of_one_delivery_can_be_kept_at_once(Stores { store, .. }: Stores) {
    let event = EventId::born();
    let mut elsewhere = letter(event, 0, 20);
    elsewhere.queue = "longshore.integrate.old-crm".to_owned();
    store
        .keep_dead(&[letter(event, 0, 10), elsewhere])
        .await
        .unwrap();
    assert_eq!(store.dead_count(&DeadFilter::default()).await.unwrap(), 2);
    let state = state_of(&*store, &key(event, "crm", 0)).await;
    assert_eq!(state, Some(DeliveryState::Dead));
}

pub async fn pages_show_every_letter_once(Stores { store, .. }: Stores) {
    // Many at the same moment: the id has to tell them apart.
    let letters: Vec<_> = (0..25)
        .map(|number| letter(EventId::born(), 0, number / 10))
        .collect();
    store.keep_dead(&letters).await.unwrap();
    let mut seen: Vec<DeadSummary> = Vec::new();
    let mut after = None;
    loop {
        let page = DeadPage { after, limit: 7 };
        let found = store.dead_page(&DeadFilter::default(), page).await.unwrap();
        assert!(found.len() <= 7);
        let Some(last) = found.last() else { break };
        after = Some((last.last_failed_at.0, last.id));
        seen.extend(found);
    }
    let ids: HashSet<Uuid> = seen.iter().map(|letter| letter.id).collect();
    assert_eq!(ids, letters.iter().map(|letter| letter.id).collect());
    assert_eq!(seen.len(), letters.len());
    assert!(seen.is_sorted_by(|a, b| (a.last_failed_at, a.id) > (b.last_failed_at, b.id)));
}

pub async fn a_filter_holds_in_all_its_conditions(Stores { store, .. }: Stores) {
    let first = letter(EventId::born(), 0, 10);
    let mut second = letter(EventId::born(), 0, 20);
    second.destination = Some("mail".to_owned());
    second.queue = "longshore.integrate.mail".to_owned();
    let third = early_letter(EventId::born(), "store", 30);
    store
        .keep_dead(&[first.clone(), second.clone(), third.clone()])
        .await
        .unwrap();
    let none = DeadFilter::default;
    for (filter, expected) in [
        (none(), vec![third.id, second.id, first.id]),
        (
            DeadFilter {
                ids: Some(vec![first.id, third.id]),
                ..none()
            },
            vec![third.id, first.id],
        ),
        (
            DeadFilter {
                ids: Some(vec![]),
                ..none()
            },
            vec![],
        ),
        (
            DeadFilter {
                queue: Some(second.queue.clone()),
                ..none()
            },
            vec![second.id],
        ),
        (
            DeadFilter {
                destination: Some("crm".to_owned()),
                ..none()
            },
            vec![first.id],
        ),
        (
            DeadFilter {
                reason: Some(ReasonCode::Unstorable),
                kind: Some("signup.requested".to_owned()),
                ..none()
            },
            vec![third.id],
        ),
        (
            DeadFilter {
                event: second.event,
                state: Some(DeadState::Open),
                ..none()
            },
            vec![second.id],
        ),
        (
            DeadFilter {
                event: second.event,
                destination: Some("crm".to_owned()),
                ..none()
            },
            vec![],
        ),
        (
            DeadFilter {
                state: Some(DeadState::Replayed),
                ..none()
            },
            vec![],
        ),
    ] {
        let found = store.dead_page(&filter, ALL).await.unwrap();
        let ids: Vec<Uuid> = found.iter().map(|letter| letter.id).collect();
        assert_eq!(ids, expected, "{filter:?}");
        let count = store.dead_count(&filter).await.unwrap();
        assert_eq!(count, expected.len() as u64, "{filter:?}");
    }
    let page = store.dead_page(&none(), ALL).await.unwrap();
    let shown = &page[2];
    assert_eq!(shown.event, first.event);
    assert_eq!(shown.reason, first.reason);
    assert_eq!(shown.attempts, first.attempts);
    assert_eq!(shown.last_failed_at.0, at(10));
    assert_eq!(shown.state, DeadState::Open);
}

pub async fn rejections_are_kept_once(Stores { store, .. }: Stores) {
    let event = EventId::born();
    let mut first = rejection(event, ReasonCode::Invalid, 10);
    first.source = "a\0b".to_owned();
    store
        .keep_rejections(&[first.clone(), first.clone()])
        .await
        .unwrap();
    store.keep_rejections(&[first.clone()]).await.unwrap();
    let status = store.status(event).await.unwrap().unwrap();
    assert_eq!(status.status, Standing::Rejected);
    let steps: Vec<_> = status.timeline.iter().map(|step| step.step).collect();
    assert_eq!(steps, ["received", "rejected"]);
    assert_eq!(status.reason.unwrap().errors, first.errors);
}
