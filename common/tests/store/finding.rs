//! Finding dead letters: filters, counts, groups and the whole story of one.

use std::collections::BTreeMap;

use common::event::EventId;
use common::fingerprint::fingerprint;
use common::reason::{Cause, ReasonCode};
use common::store::{
    DeadFilter, DeadGroup, DeadLetter, DeadPage, DeadState, DeadSummary, Moment, OperationState,
    Store,
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::engine::Stores;
use crate::samples::{
    at, by_ada, delivered, early_letter, event, failed, key, letter, purging, replay,
};

const HOUR: i64 = 3600;

/// Letters of several classes, errors, types and hours.
fn many() -> Vec<DeadLetter> {
    (0..240_u8)
        .map(|number| {
            let mut letter = letter(EventId::born(), 0, i64::from(number) * 149);
            match number % 4 {
                0 => letter.error = format!("answered 503 to order {number}"),
                1 => letter.error = format!("connect to 10.0.0.{number}: Refused"),
                2 => {
                    letter.destination = Some("mail".to_owned());
                    letter.queue = "longshore.integrate.mail".to_owned();
                    letter.reason = ReasonCode::ReceiverGone;
                }
                _ => {
                    // Some with a type that was validated, and some with one that was not yet.
                    let stage = ["store", "validate"][usize::from(number % 8 == 3)];
                    letter = early_letter(EventId::born(), stage, i64::from(number) * 149);
                    letter.kind = Some(format!("type.{}", number % 3));
                }
            }
            letter
        })
        .collect()
}

pub async fn every(store: &dyn Store, filter: &DeadFilter) -> Vec<DeadSummary> {
    let page = DeadPage {
        after: None,
        limit: 10_000,
    };
    store.dead_page(filter, page).await.unwrap()
}

/// Asks for the letters that match in all ways there are, and compares each answer with `is_meant`.
async fn finds(
    store: &dyn Store,
    letters: &[DeadLetter],
    filter: &DeadFilter,
    is_meant: impl Fn(&DeadLetter) -> bool,
) {
    let mut meant: Vec<&DeadLetter> = letters.iter().filter(|letter| is_meant(letter)).collect();
    assert!(
        !meant.is_empty(),
        "a filter that finds something: {filter:?}"
    );
    meant.sort_by_key(|letter| std::cmp::Reverse((letter.last_failed_at, letter.id)));
    let expected: Vec<Uuid> = meant.iter().map(|letter| letter.id).collect();
    let found: Vec<Uuid> = every(store, filter)
        .await
        .iter()
        .map(|one| one.id)
        .collect();
    assert_eq!(found, expected, "{filter:?}");
    let mut pages = Vec::new();
    let mut after = None;
    while let Some(last) = {
        let page = DeadPage { after, limit: 7 };
        let found = store.dead_page(filter, page).await.unwrap();
        let last = found.last().map(|last| (last.last_failed_at.0, last.id));
        pages.extend(found.into_iter().map(|one| one.id));
        last
    } {
        after = Some(last);
    }
    assert_eq!(pages, expected, "{filter:?}");
    let count = store.dead_count(filter).await.unwrap();
    assert_eq!(count, expected.len() as u64, "{filter:?}");
    stats_equal_a_recount(store, filter).await;
}

/// The same moment, or the nearest full hour in a direction.
fn hour(at: Moment, later: i64) -> Moment {
    let hours = (at.0.unix_timestamp() + later).div_euclid(HOUR);
    Moment(OffsetDateTime::from_unix_timestamp(hours * HOUR).unwrap())
}

pub async fn each_filter_finds_what_it_says_and_no_more(Stores { store, .. }: Stores) {
    let store = &*store;
    let letters = many();
    store.keep_dead(&letters).await.unwrap();
    let none = DeadFilter::default;
    finds(store, &letters, &none(), |_| true).await;
    let theirs = DeadFilter {
        cause: Some(Cause::Theirs),
        ..none()
    };
    finds(store, &letters, &theirs, |one| {
        one.reason.cause() == Cause::Theirs
    })
    .await;
    let both = DeadFilter {
        cause: Some(Cause::Theirs),
        reason: Some(ReasonCode::ReceiverGone),
        ..none()
    };
    finds(store, &letters, &both, |one| {
        one.reason == ReasonCode::ReceiverGone
    })
    .await;
    let kind = DeadFilter {
        kind: Some("type.1".to_owned()),
        ..none()
    };
    finds(store, &letters, &kind, |one| {
        one.kind.as_deref() == Some("type.1")
    })
    .await;
    let kind_and_more = DeadFilter {
        since: Some(Moment(at(1000))),
        until: Some(Moment(at(4 * HOUR + 100))),
        queue: Some("longshore.validate".to_owned()),
        ..kind.clone()
    };
    finds(store, &letters, &kind_and_more, |one| {
        one.kind.as_deref() == Some("type.1")
            && one.stage == "validate"
            && (at(1000)..at(4 * HOUR + 100)).contains(&one.last_failed_at)
    })
    .await;
    for (from, to) in [
        (0, HOUR),
        (HOUR, 3 * HOUR),
        (600, 1200),
        (1800, 5 * HOUR + 60),
        (3000, HOUR + 600),
    ] {
        let window = DeadFilter {
            since: Some(Moment(at(from))),
            until: Some(Moment(at(to))),
            destination: Some("crm".to_owned()),
            ..none()
        };
        finds(store, &letters, &window, |one| {
            one.destination.as_deref() == Some("crm")
                && (at(from)..at(to)).contains(&one.last_failed_at)
        })
        .await;
    }
    let since = DeadFilter {
        since: Some(Moment(at(4000))),
        state: Some(DeadState::Open),
        ..none()
    };
    finds(store, &letters, &since, |one| {
        one.last_failed_at >= at(4000)
    })
    .await;
}

pub async fn a_text_is_found_anywhere_in_the_error(Stores { store, .. }: Stores) {
    let store = &*store;
    let mut letters = many();
    letters[0].error = r"100% of _all_ in C:\temp".to_owned();
    store.keep_dead(&letters).await.unwrap();
    for text in ["REFUSED", "order 12", "% of _ALL_", r"c:\t", "10.0.0.2"] {
        let filter = DeadFilter {
            text: Some(text.to_owned()),
            ..DeadFilter::default()
        };
        finds(store, &letters, &filter, |one| {
            one.error.to_lowercase().contains(&text.to_lowercase())
        })
        .await;
    }
    let also = DeadFilter {
        text: Some("answered".to_owned()),
        destination: Some("mail".to_owned()),
        since: Some(Moment(at(HOUR))),
        ..DeadFilter::default()
    };
    finds(store, &letters, &also, |one| {
        one.error.contains("answered")
            && one.destination.as_deref() == Some("mail")
            && one.last_failed_at >= at(HOUR)
    })
    .await;
    // Small and capital letters of ASCII alone are the same, whatever the locale of the database.
    let mut foreign = letter(EventId::born(), 0, 7);
    foreign.error = "ÜBERLAST bei Straße 7".to_owned();
    store
        .keep_dead(std::slice::from_ref(&foreign))
        .await
        .unwrap();
    for (text, is_there) in [
        ("ÜberLast", true),
        ("STRAßE 7", true),
        ("überlast", false),
        ("strasse", false),
    ] {
        let filter = DeadFilter {
            text: Some(text.to_owned()),
            ..DeadFilter::default()
        };
        let found = store.dead_count(&filter).await.unwrap();
        assert_eq!(found, u64::from(is_there), "{text}");
        assert_eq!(every(store, &filter).await.len() as u64, found, "{text}");
    }
    // A character that means something in a pattern means itself.
    for text in ["100_", "%%", "no such text", "order_1"] {
        let filter = DeadFilter {
            text: Some(text.to_owned()),
            ..DeadFilter::default()
        };
        assert_eq!(every(store, &filter).await, []);
        assert_eq!(store.dead_count(&filter).await.unwrap(), 0);
    }
}

pub async fn a_group_is_found_by_its_fingerprint(Stores { store, .. }: Stores) {
    let store = &*store;
    let letters = many();
    store.keep_dead(&letters).await.unwrap();
    let groups = store.dead_stats(&DeadFilter::default(), 10).await.unwrap();
    assert_eq!(groups.len(), 5);
    for group in &groups {
        let filter = DeadFilter {
            queue: Some(group.queue.clone()),
            reason: Some(group.reason),
            fingerprint: Some(group.fingerprint.clone()),
            ..DeadFilter::default()
        };
        finds(store, &letters, &filter, |one| {
            (&one.queue, one.reason) == (&group.queue, group.reason)
                && fingerprint(&one.error) == group.fingerprint
        })
        .await;
        assert_eq!(store.dead_count(&filter).await.unwrap(), group.letters);
    }
    let answered = DeadFilter {
        fingerprint: Some("answered # to order #".to_owned()),
        ..DeadFilter::default()
    };
    for (text, from) in [("R 1", 500), ("answered", 0), ("503", 6000)] {
        let both = DeadFilter {
            text: Some(text.to_owned()),
            since: Some(Moment(at(from))),
            ..answered.clone()
        };
        finds(store, &letters, &both, |one| {
            one.error.starts_with("answered 503 to order")
                && one.error.to_lowercase().contains(&text.to_lowercase())
                && one.last_failed_at >= at(from)
        })
        .await;
    }
    let one = replay(answered.clone());
    store.operations().begin_operation(&one).await.unwrap();
    let claimed = store.operations().claim_dead(one.id, 1000).await.unwrap();
    assert_eq!(claimed.len(), 60);
    assert!(
        claimed
            .iter()
            .all(|one| one.error.starts_with("answered 503 to order"))
    );
    let unknown = DeadFilter {
        fingerprint: Some("answered".to_owned()),
        ..DeadFilter::default()
    };
    assert_eq!(every(store, &unknown).await, []);
    assert_eq!(store.dead_count(&unknown).await.unwrap(), 0);
}

/// The facts of a list about a group, to compare with the store's own group.
#[derive(Debug, Default)]
struct Recount {
    letters: u64,
    open: u64,
    moments: Vec<OffsetDateTime>,
    by_hour: BTreeMap<i64, u64>,
}

/// Compares the groups that match with a recount of the letters that do.
pub async fn stats_equal_a_recount(store: &dyn Store, filter: &DeadFilter) -> Vec<DeadGroup> {
    let mut recount: BTreeMap<_, Recount> = BTreeMap::new();
    // Groups are counted by the hour.
    let widened = DeadFilter {
        since: filter.since.map(|since| hour(since, 0)),
        until: filter.until.map(|until| hour(until, HOUR - 1)),
        ..filter.clone()
    };
    for one in every(store, &widened).await {
        let group = recount
            .entry((
                one.queue,
                one.reason,
                one.destination,
                fingerprint(&one.error),
            ))
            .or_default();
        group.letters += 1;
        group.open += u64::from(one.state == DeadState::Open);
        group.moments.push(one.last_failed_at.0);
        let hour = one.last_failed_at.0.unix_timestamp() / HOUR;
        *group.by_hour.entry(hour).or_default() += 1;
    }
    let groups = store.dead_stats(filter, 1000).await.unwrap();
    assert_eq!(groups.len(), recount.len(), "{filter:?}");
    assert!(groups.is_sorted_by(|a, b| a.letters >= b.letters));
    for group in &groups {
        let key = (
            group.queue.clone(),
            group.reason,
            group.destination.clone(),
            group.fingerprint.clone(),
        );
        let recount = &recount[&key];
        assert_eq!(group.letters, recount.letters, "{key:?}");
        assert_eq!(group.open, recount.open, "{key:?}");
        // To the hour, as some of the hour may have changed since.
        let hour = |at: OffsetDateTime| at.unix_timestamp() / HOUR;
        let first = recount.moments.iter().min().copied().unwrap();
        let last = recount.moments.iter().max().copied().unwrap();
        assert!(group.first.0 <= first && hour(group.first.0) == hour(first));
        assert!(group.last.0 >= last && hour(group.last.0) == hour(last));
        let history: BTreeMap<i64, u64> = group
            .history
            .iter()
            .map(|one| (hour(one.hour.0), one.letters))
            .collect();
        let mut expected = recount.by_hour.clone();
        expected.retain(|&at, _| at > hour(last) - 24);
        assert_eq!(history, expected, "{key:?}");
        assert!(group.history.is_sorted_by_key(|one| one.hour));
    }
    groups
}

pub async fn groups_equal_a_recount_whatever_was_done(stores: Stores) {
    let store = &*stores.store;
    let mut letters = many();
    // Long before the others of its group: no part of the history.
    letters[0].last_failed_at = at(-30 * HOUR);
    store.keep_dead(&letters).await.unwrap();
    // Once more, with some that are new.
    let more = many();
    store.keep_dead(&letters[..100]).await.unwrap();
    stores.other.keep_dead(&more).await.unwrap();
    let all = DeadFilter::default();
    let groups = stats_equal_a_recount(store, &all).await;
    assert_eq!(groups.len(), 5);
    let crm: Vec<&str> = groups
        .iter()
        .filter(|group| group.destination.as_deref() == Some("crm"))
        .map(|group| group.fingerprint.as_str())
        .collect();
    assert_eq!(crm.len(), 2);
    assert!(crm.contains(&"answered # to order #"), "{crm:?}");
    let top = store.dead_stats(&all, 1).await.unwrap();
    assert_eq!(top, groups[..1]);

    let one = replay(DeadFilter {
        destination: Some("crm".to_owned()),
        ..all.clone()
    });
    store.operations().begin_operation(&one).await.unwrap();
    let claimed = store.operations().claim_dead(one.id, 50).await.unwrap();
    let ids: Vec<Uuid> = claimed.iter().map(|letter| letter.id).collect();
    stats_equal_a_recount(store, &all).await;
    store
        .operations()
        .mark_replayed(one.id, &ids[..20])
        .await
        .unwrap();
    stats_equal_a_recount(store, &all).await;
    store
        .operations()
        .end_operation(one.id, OperationState::Stopped)
        .await
        .unwrap();
    store
        .discard_dead(
            &by_ada(DeadFilter {
                destination: Some("mail".to_owned()),
                ..all.clone()
            }),
            30,
        )
        .await
        .unwrap();
    for state in DeadState::ALL {
        let filter = DeadFilter {
            state: Some(*state),
            ..all.clone()
        };
        stats_equal_a_recount(store, &filter).await;
    }
    store.restore_dead(&by_ada(all.clone()), 10).await.unwrap();
    stats_equal_a_recount(store, &all).await;
    let future = OffsetDateTime::now_utc() + time::Duration::hours(1);
    assert_eq!(store.purge_dead(future, &purging(), 15).await.unwrap(), 15);
    stats_equal_a_recount(store, &all).await;
    let window = DeadFilter {
        since: Some(Moment(at(1000))),
        until: Some(Moment(at(3 * HOUR + 500))),
        ..all.clone()
    };
    let inside = every(store, &window).await.len() as u64;
    assert_eq!(store.dead_count(&window).await.unwrap(), inside);
}

pub async fn many_writers_at_once_are_all_counted(stores: Stores) {
    let tasks: Vec<_> = [&stores.store, &stores.other, &stores.store, &stores.other]
        .into_iter()
        .map(|store| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..5 {
                    store.keep_dead(&many()).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let all = DeadFilter::default();
    assert_eq!(stores.store.dead_count(&all).await.unwrap(), 20 * 240);
    let groups = stats_equal_a_recount(&*stores.store, &all).await;
    assert_eq!(groups.len(), 5);
}

pub async fn a_story_tells_all_that_is_known(Stores { store, .. }: Stores) {
    let store = &*store;
    let event = event();
    store.store([event.clone()].into()).await.unwrap();
    let crm = key(event.id, "crm", 0);
    store
        .record_attempts(&[failed(&crm, 1, 10), failed(&crm, 2, 20)])
        .await
        .unwrap();
    let mut first = letter(event.id, 0, 20);
    first.error = "answered 503 to attempt 2".to_owned();
    store.keep_dead(std::slice::from_ref(&first)).await.unwrap();
    let one = replay(DeadFilter::default());
    store.operations().begin_operation(&one).await.unwrap();
    store.operations().claim_dead(one.id, 10).await.unwrap();
    store
        .operations()
        .mark_replayed(one.id, &[first.id])
        .await
        .unwrap();
    let again = key(event.id, "crm", 1);
    store
        .record_attempts(&[
            failed(&again, 1, 40),
            delivered(&key(event.id, "mail", 0), 1, 30),
        ])
        .await
        .unwrap();
    let second = letter(event.id, 1, 40);
    store
        .keep_dead(std::slice::from_ref(&second))
        .await
        .unwrap();

    let story = store.dead_story(second.id).await.unwrap().unwrap();
    assert_eq!(story.letter.id, second.id);
    assert_eq!(story.letter.message, second.message);
    let attempts: Vec<_> = story
        .attempts
        .iter()
        .map(|one| {
            (
                one.generation,
                one.attempt,
                one.started_at.0,
                one.status_code,
            )
        })
        .collect();
    assert_eq!(
        attempts,
        [
            (0, 1, at(10), Some(503)),
            (0, 2, at(20), Some(503)),
            (1, 1, at(40), Some(503))
        ],
        "only of its own destination"
    );
    assert_eq!(story.attempts[0].duration_ms, 250);
    assert_eq!(story.attempts[0].response_excerpt.as_deref(), Some("sorry"));
    let others: Vec<Uuid> = story.others.iter().map(|other| other.id).collect();
    assert_eq!(others, [first.id]);
    let replays: Vec<Uuid> = story.replays.iter().map(|replay| replay.id).collect();
    assert_eq!(replays, [one.id]);
    assert_eq!(story.discarded, None);
    assert_eq!(story.replayed_at, None);

    let story = store.dead_story(first.id).await.unwrap().unwrap();
    assert_eq!(story.fingerprint, "answered # to attempt #");
    assert_eq!(story.letter.state, DeadState::Replayed);
    assert!(story.replayed_at.is_some());
    assert_eq!(story.others[0].id, second.id);

    let mut bare = early_letter(EventId::born(), "validate", 50);
    bare.event = None;
    store.keep_dead(std::slice::from_ref(&bare)).await.unwrap();
    let story = store.dead_story(bare.id).await.unwrap().unwrap();
    assert_eq!((story.attempts, story.others), (vec![], vec![]));
    assert_eq!(store.dead_story(Uuid::nil()).await.unwrap(), None);
}
