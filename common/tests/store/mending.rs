//! Mending dead letters, giving them up, and removing old ones.

use bytes::Bytes;
use common::event::EventId;
use common::store::{
    AuditAction, DeadEdit, DeadFilter, DeadLetter, DeadState, DeliveryState, Editable, Edited,
    Standing, Store,
};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::engine::Stores;
use crate::finding::every;
use crate::samples::{
    act, as_a_part, by_ada, delivered, early_letter, event, key, letter, purging, replay, state_of,
    states_of,
};

/// An edit of a body by Ada.
pub fn edit(letter: &DeadLetter, before: &'static str, after: &'static str) -> DeadEdit {
    let with = |body: &'static str| {
        let mut it = Editable::from(letter);
        it.message.body = Bytes::from_static(body.as_bytes());
        it
    };
    DeadEdit {
        letter: letter.id,
        before: with(before),
        after: with(after),
        act: act(AuditAction::DeadEdit, &format!("dead:{}", letter.id))
            .because(Some("the address was wrong".to_owned())),
    }
}

async fn state(store: &dyn Store, id: Uuid) -> Option<DeadState> {
    let letter = store.dead_letter(id).await.unwrap();
    letter.map(|letter| letter.state)
}

pub async fn an_edit_keeps_the_original(Stores { store, .. }: Stores) {
    let letter = letter(EventId::born(), 0, 10);
    store
        .keep_dead(std::slice::from_ref(&letter))
        .await
        .unwrap();
    let first = edit(&letter, "{}", "{\"n\":1}");
    assert_eq!(store.edit_dead(&first).await.unwrap(), Edited::Saved);
    // The answer was lost, and it is asked for once more.
    assert_eq!(store.edit_dead(&first).await.unwrap(), Edited::Saved);
    let second = edit(&letter, "{\"n\":1}", "\u{0}\u{1}");
    assert_eq!(store.edit_dead(&second).await.unwrap(), Edited::Saved);
    let story = store.dead_story(letter.id).await.unwrap().unwrap();
    assert_eq!(Editable::from(&story.letter), second.after);
    let edits: Vec<_> = story
        .edits
        .iter()
        .map(|edit| (&edit.before[..], edit.who.as_str(), edit.why.as_deref()))
        .collect();
    let why = Some("the address was wrong");
    assert_eq!(
        edits,
        [(&b"{}"[..], "ada", why), (&b"{\"n\":1}"[..], "ada", why)]
    );
    assert!(story.edits.is_sorted_by_key(|edit| edit.at));
    // The replay claims the edited message.
    let one = replay(DeadFilter::default());
    store.operations().begin_operation(&one).await.unwrap();
    let claimed = store.operations().claim_dead(one.id, 1).await.unwrap();
    assert_eq!(claimed[0].message, second.after.message);
}

pub async fn all_of_a_message_can_be_mended(Stores { store, .. }: Stores) {
    let mut letter = early_letter(EventId::born(), "validate", 10);
    letter.event = None;
    store
        .keep_dead(std::slice::from_ref(&letter))
        .await
        .unwrap();
    let mut after = Editable::from(&letter);
    "signup.requested".clone_into(&mut after.routing_key);
    after.message.kind = None;
    after.message.content_type = Some("application/json".to_owned());
    after.message.timestamp = None;
    after.message.app_id = Some("/mended".to_owned());
    after.message.headers.set("cloudEvents:type", "other");
    let mended = DeadEdit {
        after: after.clone(),
        ..edit(&letter, "{}", "{}")
    };
    for _ in 0..2 {
        assert_eq!(store.edit_dead(&mended).await.unwrap(), Edited::Saved);
    }
    let story = store.dead_story(letter.id).await.unwrap().unwrap();
    assert_eq!(Editable::from(&story.letter), after);
    assert_eq!(story.letter.kind.as_deref(), Some("signup.requested"));
    assert_eq!(story.letter.source.as_deref(), Some("/mended"));
    let [kept] = &story.edits[..] else {
        panic!("expected one edit, found {:?}", story.edits)
    };
    let envelope = Editable::from(&letter).envelope();
    assert_eq!(kept.envelope.as_ref(), Some(&envelope));
    assert_eq!(envelope["properties"]["type"], "signup.requested");
}

pub async fn an_edit_does_not_undo_what_somebody_else_did(Stores { store, other }: Stores) {
    let letter = letter(EventId::born(), 0, 10);
    store
        .keep_dead(std::slice::from_ref(&letter))
        .await
        .unwrap();
    let (one, two) = (edit(&letter, "{}", "[1]"), edit(&letter, "{}", "[2]"));
    let (first, second) = tokio::join!(store.edit_dead(&one), other.edit_dead(&two));
    let mut outcomes = [first.unwrap(), second.unwrap()];
    outcomes.sort_by_key(|outcome| *outcome != Edited::Saved);
    assert_eq!(outcomes, [Edited::Saved, Edited::Changed]);
    let story = store.dead_story(letter.id).await.unwrap().unwrap();
    assert_eq!(story.edits.len(), 1);
}

pub async fn only_open_letters_are_edited(Stores { store, .. }: Stores) {
    let letter = letter(EventId::born(), 0, 10);
    let edit = edit(&letter, "{}", "[]");
    assert_eq!(store.edit_dead(&edit).await.unwrap(), Edited::NoSuchLetter);
    store
        .keep_dead(std::slice::from_ref(&letter))
        .await
        .unwrap();
    let one = replay(DeadFilter::default());
    store.operations().begin_operation(&one).await.unwrap();
    store.operations().claim_dead(one.id, 1).await.unwrap();
    let not_open = |state| Edited::NotOpen(state);
    assert_eq!(
        store.edit_dead(&edit).await.unwrap(),
        not_open(DeadState::Replaying)
    );
    store
        .operations()
        .mark_replayed(one.id, &[letter.id])
        .await
        .unwrap();
    assert_eq!(
        store.edit_dead(&edit).await.unwrap(),
        not_open(DeadState::Replayed)
    );
    let found = store.dead_letter(letter.id).await.unwrap().unwrap();
    assert_eq!(found.message.body, letter.message.body);
    assert_eq!(
        store.dead_story(letter.id).await.unwrap().unwrap().edits,
        []
    );
}

pub async fn what_is_discarded_can_be_restored(Stores { store, .. }: Stores) {
    let store = &*store;
    let events: Vec<_> = (0..3).map(|_| event()).collect();
    store.store(events.clone().into()).await.unwrap();
    let letters: Vec<_> = events
        .iter()
        .zip(0..)
        .map(|(event, number)| letter(event.id, 0, number))
        .collect();
    store.keep_dead(&letters).await.unwrap();
    // Delivered after all: that cannot be taken back, and there is nothing to be discarded.
    let made = key(events[2].id, "crm", 0);
    store
        .record_attempts(&[delivered(&made, 13, 50)])
        .await
        .unwrap();
    let superseded = Some(DeadState::Superseded);
    assert_eq!(state(store, letters[2].id).await, superseded);
    let all = DeadFilter {
        // Only open letters, whatever the filter asks for.
        state: Some(DeadState::Replayed),
        ..DeadFilter::default()
    };
    let discard = by_ada(all.clone());
    assert_eq!(store.discard_dead(&discard, 1).await.unwrap(), 1);
    assert_eq!(state(store, letters[1].id).await, Some(DeadState::Open));
    assert_eq!(store.discard_dead(&discard, 2).await.unwrap(), 1);
    assert_eq!(store.discard_dead(&discard, 2).await.unwrap(), 0);
    let keys: Vec<_> = events.iter().map(|event| key(event.id, "crm", 0)).collect();
    let (gone, made) = (
        Some(DeliveryState::Discarded),
        Some(DeliveryState::Delivered),
    );
    assert_eq!(states_of(store, &keys).await, [gone, gone, made]);
    let standing = store.standings(&[events[0].id]).await.unwrap();
    assert_eq!(standing, [Some(Standing::Completed)]);
    let story = store.dead_story(letters[0].id).await.unwrap().unwrap();
    let record = story.discarded.expect("it says who did it");
    assert_eq!(
        (record.who.as_str(), record.why.as_str()),
        ("ada", "nobody wants them")
    );
    // A replay leaves them alone.
    let one = replay(DeadFilter::default());
    store.operations().begin_operation(&one).await.unwrap();
    let nothing = store
        .discard_dead(&as_a_part(one.id, discard.filter.clone()), 2)
        .await;
    assert_eq!(nothing.unwrap(), 0);
    assert_eq!(store.operations().claim_dead(one.id, 10).await.unwrap(), []);

    let first = DeadFilter {
        ids: Some(vec![letters[0].id]),
        ..DeadFilter::default()
    };
    let by_one = store
        .restore_dead(&as_a_part(one.id, first.clone()), 10)
        .await;
    assert_eq!(by_one.unwrap(), 1);
    assert_eq!(
        store
            .restore_dead(&by_ada(first.clone()), 10)
            .await
            .unwrap(),
        0
    );
    // The row of the operation counts what was changed for it.
    let known = store.operations().operation(one.id).await.unwrap().unwrap();
    assert_eq!(known.replayed, 1);
    let states = states_of(store, &keys[..2]).await;
    assert_eq!(states, [Some(DeliveryState::Dead), gone]);
    let story = store.dead_story(letters[0].id).await.unwrap().unwrap();
    assert_eq!(story.letter.state, DeadState::Open);
    assert_eq!(story.discarded, None);
    assert_eq!(
        store
            .restore_dead(&by_ada(DeadFilter::default()), 1)
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        store
            .restore_dead(&by_ada(DeadFilter::default()), 5)
            .await
            .unwrap(),
        0
    );
    assert_eq!(state_of(store, &keys[2]).await, made);
}

pub async fn an_early_letter_is_discarded_alone(Stores { store, .. }: Stores) {
    let event = event();
    store.store([event.clone()].into()).await.unwrap();
    // Its delivery is due still, so that the letter is open.
    let mut early = early_letter(event.id, "store", 10);
    early.destination = Some("crm".to_owned());
    store.keep_dead(std::slice::from_ref(&early)).await.unwrap();
    let all = by_ada(DeadFilter::default());
    assert_eq!(store.discard_dead(&all, 10).await.unwrap(), 1);
    let due = state_of(&*store, &key(event.id, "crm", 0)).await;
    assert_eq!(due, Some(DeliveryState::Due));
}

pub async fn only_what_is_settled_and_old_is_purged(Stores { store, .. }: Stores) {
    let store = &*store;
    let letters: Vec<_> = (0..10)
        .map(|number| letter(EventId::born(), 0, number))
        .collect();
    store.keep_dead(&letters).await.unwrap();
    store
        .edit_dead(&edit(&letters[0], "{}", "[]"))
        .await
        .unwrap();
    let some = |range: std::ops::Range<usize>| DeadFilter {
        ids: Some(letters[range].iter().map(|letter| letter.id).collect()),
        ..DeadFilter::default()
    };
    store.discard_dead(&by_ada(some(0..3)), 10).await.unwrap();
    let one = replay(some(3..7));
    store.operations().begin_operation(&one).await.unwrap();
    store.operations().claim_dead(one.id, 10).await.unwrap();
    let sent = [letters[3].id, letters[4].id];
    store
        .operations()
        .mark_replayed(one.id, &sent)
        .await
        .unwrap();

    // They died long ago, but were settled just now.
    let before = OffsetDateTime::now_utc() - Duration::hours(1);
    assert_eq!(store.purge_dead(before, &purging(), 10).await.unwrap(), 0);
    let after = OffsetDateTime::now_utc() + Duration::hours(1);
    assert_eq!(store.purge_dead(after, &purging(), 2).await.unwrap(), 2);
    assert_eq!(store.purge_dead(after, &purging(), 10).await.unwrap(), 3);
    assert_eq!(store.purge_dead(after, &purging(), 10).await.unwrap(), 0);
    let left: Vec<_> = every(store, &DeadFilter::default()).await;
    let mut left: Vec<Uuid> = left.iter().map(|one| one.id).collect();
    left.sort();
    let mut expected: Vec<Uuid> = letters[5..].iter().map(|letter| letter.id).collect();
    expected.sort();
    assert_eq!(left, expected, "what is open or being replayed stays");
    // A restored letter is judged by its next outcome.
    store.discard_dead(&by_ada(some(7..8)), 10).await.unwrap();
    store.restore_dead(&by_ada(some(7..8)), 10).await.unwrap();
    assert_eq!(store.purge_dead(after, &purging(), 10).await.unwrap(), 0);
    // The record of sent letters outlives the letters.
    let outcome = store.operations().replay_outcome(one.id).await.unwrap();
    assert_eq!((outcome.sent, outcome.untraced), (2, 2));
}
