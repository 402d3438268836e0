//! Replays as their operators see them: pages, pausing and stopping, and the outcomes of sent letters.

use common::event::EventId;
use common::reason::ReasonCode;
use common::store::{
    DeadFilter, DeadLetter, DeadState, HistorySlice, LeftOpen, Moment, Operation, OperationPage,
    OperationReport, OperationState, ReplayOutcome, Store, StoreError,
};
use uuid::Uuid;

use crate::engine::Stores;
use crate::samples::{
    at, delivered, early_letter, event, failed, key, letter, rejection, replay, steering,
};

async fn begun(store: &dyn Store, replay: Operation) -> Uuid {
    store.operations().begin_operation(&replay).await.unwrap();
    replay.id
}

async fn kept(store: &dyn Store, count: i64) -> Vec<DeadLetter> {
    let letters: Vec<_> = (0..count)
        .map(|number| letter(EventId::born(), 0, number))
        .collect();
    store.keep_dead(&letters).await.unwrap();
    letters
}

async fn send_all(store: &dyn Store, id: Uuid) -> usize {
    let claimed = store.operations().claim_dead(id, 1000).await.unwrap();
    let ids: Vec<Uuid> = claimed.iter().map(|letter| letter.id).collect();
    store.operations().mark_replayed(id, &ids).await.unwrap();
    ids.len()
}

pub async fn a_replay_comes_back_as_it_was_begun(Stores { store, other }: Stores) {
    let full = Operation {
        to_queue: Some("longshore.integrate.crm".to_owned()),
        rate: Some(500),
        stop_when: Some(20),
        slice: Some(HistorySlice {
            from: Moment(at(0)),
            to: Moment(at(3600)),
            kind: Some("signup.*".to_owned()),
        }),
        new_ids: true,
        ..replay(DeadFilter::default())
    };
    begun(&*store, full.clone()).await;
    let found = other
        .operations()
        .operation(full.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.rate, full.rate);
    assert_eq!(found.stop_when, full.stop_when);
    assert_eq!(found.slice, full.slice);
    assert!(found.new_ids);
    assert_eq!(found.to_queue, full.to_queue);
    assert_eq!((found.replayed, found.position), (0, None));
    let filter = DeadFilter {
        text: Some("refused".to_owned()),
        since: Some(Moment(at(5))),
        cause: Some(common::reason::Cause::Theirs),
        ..DeadFilter::default()
    };
    let id = begun(&*store, replay(filter.clone())).await;
    assert_eq!(
        store
            .operations()
            .operation(id)
            .await
            .unwrap()
            .unwrap()
            .filter,
        filter
    );
}

pub async fn replays_are_listed_page_by_page(Stores { store, .. }: Stores) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(begun(&*store, replay(DeadFilter::default())).await);
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let found = store
            .operations()
            .operations_page(OperationPage { after, limit: 2 })
            .await
            .unwrap();
        assert!(found.len() <= 2);
        let Some(last) = found.last() else { break };
        after = Some((last.started_at.0, last.id));
        seen.extend(found.into_iter().map(|replay| replay.id));
    }
    ids.reverse();
    assert_eq!(seen, ids);
}

pub async fn a_replay_can_be_paused_and_goes_on(Stores { store, other }: Stores) {
    let letters = kept(&*store, 4).await;
    let id = begun(&*store, replay(DeadFilter::default())).await;
    let first = store.operations().claim_dead(id, 2).await.unwrap();
    let steer = async |to| {
        other
            .operations()
            .steer_operation(id, to, &steering())
            .await
            .unwrap()
    };
    assert_eq!(
        steer(OperationState::Paused).await,
        Some(OperationState::Paused)
    );
    assert_eq!(
        steer(OperationState::Paused).await,
        Some(OperationState::Paused)
    );
    assert_eq!(store.operations().claim_dead(id, 2).await.unwrap(), []);
    assert_eq!(
        store.operations().claimed_dead(id, None, 2).await.unwrap(),
        []
    );
    // A letter that was under way may still be marked.
    store
        .operations()
        .mark_replayed(id, &[first[0].id, first[1].id])
        .await
        .unwrap();
    let progress = store.operations().operation(id).await.unwrap().unwrap();
    assert_eq!(
        (progress.state, progress.replayed),
        (OperationState::Paused, 2)
    );
    assert_eq!(progress.ended_at, None);
    assert_eq!(
        steer(OperationState::Running).await,
        Some(OperationState::Running)
    );
    let rest = store.operations().claim_dead(id, 9).await.unwrap();
    let ids: Vec<Uuid> = rest.iter().map(|letter| letter.id).collect();
    assert_eq!(ids, [letters[2].id, letters[3].id]);
    let done = store
        .operations()
        .steer_operation(id, OperationState::Done, &steering())
        .await;
    assert!(matches!(done, Err(StoreError::Fault(_))), "{done:?}");
    let nobodys = store
        .operations()
        .steer_operation(Uuid::nil(), OperationState::Paused, &steering())
        .await;
    assert_eq!(nobodys, Ok(None));
}

pub async fn a_paused_replay_can_end(Stores { store, .. }: Stores) {
    let letters = kept(&*store, 1).await;
    let id = begun(&*store, replay(DeadFilter::default())).await;
    store.operations().claim_dead(id, 1).await.unwrap();
    store
        .operations()
        .steer_operation(id, OperationState::Paused, &steering())
        .await
        .unwrap();
    store
        .operations()
        .end_operation(id, OperationState::Stopped)
        .await
        .unwrap();
    let found = store.dead_letter(letters[0].id).await.unwrap().unwrap();
    assert_eq!(found.state, DeadState::Open);
    let state = store
        .operations()
        .operation(id)
        .await
        .unwrap()
        .unwrap()
        .state;
    assert_eq!(state, OperationState::Stopped);
    let pause = store
        .operations()
        .end_operation(id, OperationState::Paused)
        .await;
    assert!(matches!(pause, Err(StoreError::Fault(_))), "{pause:?}");
}

pub async fn a_stopped_replay_gives_back_what_it_has_not_sent(Stores { store, other }: Stores) {
    let letters = kept(&*store, 3).await;
    let id = begun(&*store, replay(DeadFilter::default())).await;
    store.operations().claim_dead(id, 3).await.unwrap();
    let stopped = other
        .operations()
        .steer_operation(id, OperationState::Stopped, &steering())
        .await
        .unwrap();
    assert_eq!(stopped, Some(OperationState::Stopped));
    assert_eq!(
        store.operations().claimed_dead(id, None, 3).await.unwrap(),
        []
    );
    // The replay cannot be raised from the dead.
    let again = other
        .operations()
        .steer_operation(id, OperationState::Running, &steering())
        .await
        .unwrap();
    assert_eq!(again, Some(OperationState::Stopped));
    assert!(
        store
            .operations()
            .operation(id)
            .await
            .unwrap()
            .unwrap()
            .ended_at
            .is_some()
    );
    // Another replay takes a letter at once.
    let filter = DeadFilter {
        ids: Some(vec![letters[1].id]),
        ..DeadFilter::default()
    };
    let next = begun(&*store, replay(filter)).await;
    assert_eq!(
        store.operations().claim_dead(next, 3).await.unwrap().len(),
        1
    );
    // Then the broker confirms two that were under way: one is marked, the other is in other hands.
    store
        .operations()
        .mark_replayed(id, &[letters[0].id, letters[1].id])
        .await
        .unwrap();
    let states = async |index: usize| {
        let letter = store.dead_letter(letters[index].id).await.unwrap();
        let letter = letter.expect("it is kept");
        (letter.state, letter.replay)
    };
    assert_eq!(states(0).await, (DeadState::Replayed, Some(id)));
    assert_eq!(states(1).await, (DeadState::Replaying, Some(next)));
    assert_eq!(states(2).await.0, DeadState::Open);
    assert_eq!(
        store
            .operations()
            .operation(id)
            .await
            .unwrap()
            .unwrap()
            .replayed,
        1
    );
}

pub async fn what_runs_is_found_by_the_workers(Stores { store, other }: Stores) {
    let letters = kept(&*store, 1).await;
    let stopped = begun(&*store, replay(DeadFilter::default())).await;
    let first = begun(&*store, replay(DeadFilter::default())).await;
    let second = Operation {
        resumes: Some(stopped),
        ..replay(DeadFilter::default())
    };
    let second = begun(&*store, second).await;
    let steer = async |id, to| {
        other
            .operations()
            .steer_operation(id, to, &steering())
            .await
            .unwrap()
    };
    steer(stopped, OperationState::Stopped).await;
    let running = async |most| other.operations().running_operations(most).await.unwrap();
    assert_eq!(running(10).await, [first, second]);
    assert_eq!(running(1).await, [first]);
    steer(first, OperationState::Paused).await;
    assert_eq!(
        running(10).await,
        [second],
        "one that is paused does not run"
    );
    steer(first, OperationState::Running).await;
    assert_eq!(running(10).await.len(), 2);

    let report = OperationReport {
        waiting_for: Some("the broker".to_owned()),
        why_stopped: None,
        left_open_count: 1,
        left_open: vec![LeftOpen {
            letter: letters[0].id,
            queue: "longshore.integrate.crm".to_owned(),
            problem: "nobody takes it".to_owned(),
        }],
        skipped: [("repeated".to_owned(), 3)].into(),
    };
    let operations = store.operations();
    operations.report_operation(second, &report).await.unwrap();
    // Handed over once, however often.
    let known = other.operations().operation(second).await.unwrap().unwrap();
    assert!(known.handed_over_at.is_some());
    operations
        .hand_over_operation(second, &steering())
        .await
        .unwrap();
    let again = other.operations().operation(second).await.unwrap().unwrap();
    assert_eq!(again.handed_over_at, known.handed_over_at);
    assert_eq!((again.report, again.resumes), (report, Some(stopped)));
    operations
        .set_operation_rate(second, 9, &steering())
        .await
        .unwrap();
    let slower = other.operations().operation(second).await.unwrap().unwrap();
    assert_eq!(slower.rate, Some(9));
}

pub async fn a_replay_of_the_history_counts_its_way(Stores { store, .. }: Stores) {
    kept(&*store, 1).await;
    let history = Operation {
        slice: Some(HistorySlice {
            from: Moment(at(0)),
            to: Moment(at(10)),
            kind: None,
        }),
        ..replay(DeadFilter::default())
    };
    let id = begun(&*store, history).await;
    let claim = store.operations().claim_dead(id, 10).await;
    assert!(matches!(claim, Err(StoreError::Fault(_))), "{claim:?}");
    let advance = async |sent, position, skipped| {
        let report = OperationReport {
            skipped: [("not_stored".to_owned(), skipped)].into(),
            ..OperationReport::default()
        };
        let advanced = store
            .operations()
            .advance_replay(id, sent, position, &report);
        advanced.await.unwrap();
    };
    advance(100, 250, 1).await;
    // The same count once more, and a count that comes late.
    advance(100, 250, 7).await;
    advance(40, 120, 8).await;
    advance(30, 300, 2).await;
    let progress = store.operations().operation(id).await.unwrap().unwrap();
    assert_eq!((progress.replayed, progress.position), (130, Some(300)));
    assert_eq!(progress.report.skipped["not_stored"], 2);
    let outcome = store.operations().replay_outcome(id).await.unwrap();
    let expected = ReplayOutcome {
        sent: 130,
        untraced: 130,
        ..ReplayOutcome::default()
    };
    assert_eq!(outcome, expected);
}

pub async fn an_outcome_follows_each_letter(Stores { store, .. }: Stores) {
    let store = &*store;
    let letters = kept(store, 4).await;
    let mut nobodys = early_letter(EventId::born(), "validate", 9);
    nobodys.event = None;
    store.keep_dead(&[nobodys]).await.unwrap();
    let id = begun(store, replay(DeadFilter::default())).await;
    let nothing = store.operations().replay_outcome(id).await.unwrap();
    assert_eq!(nothing, ReplayOutcome::default());
    assert_eq!(send_all(store, id).await, 5);
    let outcome = |completed, died_again, under_way| ReplayOutcome {
        sent: 5,
        completed,
        died_again,
        under_way,
        untraced: 1,
    };
    assert_eq!(
        store.operations().replay_outcome(id).await.unwrap(),
        outcome(0, 0, 4)
    );
    let next = |letter: &DeadLetter| key(letter.event.unwrap(), "crm", 1);
    store
        .record_attempts(&[
            delivered(&next(&letters[0]), 1, 20),
            failed(&next(&letters[1]), 1, 20),
        ])
        .await
        .unwrap();
    assert_eq!(
        store.operations().replay_outcome(id).await.unwrap(),
        outcome(1, 0, 3)
    );
    let event = |letter: &DeadLetter| letter.event.unwrap();
    // One dies again on its way to the same place, another one's event somewhere else.
    let mut elsewhere = letter(event(&letters[2]), 1, 40);
    elsewhere.destination = Some("mail".to_owned());
    store
        .keep_dead(&[letter(event(&letters[1]), 1, 40), elsewhere])
        .await
        .unwrap();
    assert_eq!(
        store.operations().replay_outcome(id).await.unwrap(),
        outcome(1, 1, 2)
    );
    let sample = store.operations().replay_sample(id, 1000).await.unwrap();
    let all_but_nobodys = ReplayOutcome {
        sent: 4,
        untraced: 0,
        ..outcome(1, 1, 2)
    };
    assert_eq!(sample, all_but_nobodys);
    let sample = store.operations().replay_sample(id, 3).await.unwrap();
    assert_eq!((sample.sent, sample.untraced), (3, 0));
    let missing = store.operations().replay_outcome(Uuid::nil()).await;
    assert!(matches!(missing, Err(StoreError::Fault(_))), "{missing:?}");
}

pub async fn an_outcome_follows_letters_through_other_queues(Stores { store, .. }: Stores) {
    let store = &*store;
    let events: Vec<_> = (0..4).map(|_| event()).collect();
    let letters: Vec<_> = events
        .iter()
        .map(|event| early_letter(event.id, "store", 1))
        .collect();
    store.keep_dead(&letters).await.unwrap();
    let id = begun(store, replay(DeadFilter::default())).await;
    assert_eq!(send_all(store, id).await, 4);
    let mut again = events.clone();
    for event in &mut again {
        event.generation = 1;
    }
    // One is delivered, one waits, one is refused, and one is stored and has nowhere to go.
    again[3].destinations.clear();
    store
        .store([again[0].clone(), again[1].clone(), again[3].clone()].into())
        .await
        .unwrap();
    store
        .record_attempts(&[delivered(&key(events[0].id, "crm", 1), 1, 20)])
        .await
        .unwrap();
    let mut refused = rejection(events[2].id, ReasonCode::EmailTaken, 0);
    refused.rejected_at = time::OffsetDateTime::now_utc() + time::Duration::seconds(5);
    store.keep_rejections(&[refused]).await.unwrap();
    let outcome = store.operations().replay_outcome(id).await.unwrap();
    assert_eq!(
        outcome,
        ReplayOutcome {
            sent: 4,
            completed: 3,
            under_way: 1,
            ..ReplayOutcome::default()
        }
    );
    // The stored event dies on its way.
    store
        .keep_dead(&[letter(events[1].id, 1, 30)])
        .await
        .unwrap();
    let outcome = store.operations().replay_outcome(id).await.unwrap();
    assert_eq!((outcome.died_again, outcome.under_way), (1, 0));
}

/// A claim that finds nothing waits for another that is under way: letters that the other only looked at are not
/// lost.
pub async fn a_replay_does_not_end_while_letters_are_left(stores: Stores) {
    let letters = kept(&*stores.store, 60).await;
    let tasks: Vec<_> = [&stores.store, &stores.other]
        .into_iter()
        .map(|store| {
            let store = store.clone();
            tokio::spawn(async move {
                let id = begun(&*store, replay(DeadFilter::default())).await;
                let mut mine = 0;
                loop {
                    let claimed = store.operations().claim_dead(id, 1).await.unwrap();
                    if claimed.is_empty() {
                        let open = DeadFilter {
                            state: Some(DeadState::Open),
                            ..DeadFilter::default()
                        };
                        assert_eq!(store.dead_count(&open).await.unwrap(), 0);
                        return mine;
                    }
                    mine += claimed.len();
                }
            })
        })
        .collect();
    let mut all = 0;
    for task in tasks {
        all += task.await.unwrap();
    }
    assert_eq!(all, letters.len());
}
