//! Pauses and breakers of destinations.

use std::time::Duration;

use common::store::{
    AuditAction, AuditFilter, DestinationState, NewPause, PausedDestination, Store, StoreError,
};

use crate::audit::{entries, verify};
use crate::engine::Stores;
use crate::samples::act;

fn pause(destination: &str, why: &str) -> NewPause {
    NewPause {
        destination: destination.to_owned(),
        by: "cli:ada".to_owned(),
        why: why.to_owned(),
    }
}

async fn paused(store: &dyn Store) -> Result<Vec<PausedDestination>, StoreError> {
    let states = store.destinations().destination_states().await?;
    Ok(states.into_iter().filter_map(|state| state.pause).collect())
}

async fn state(store: &dyn Store, name: &str) -> DestinationState {
    let states = store.destinations().destination_states().await.unwrap();
    let state = states.into_iter().find(|state| state.name == name);
    state.unwrap_or_else(|| panic!("nothing of {name}"))
}

pub async fn a_pause_is_known_everywhere_until_it_is_resumed(Stores { store, other }: Stores) {
    let destinations = store.destinations();
    assert_eq!(paused(&*store).await, Ok(vec![]));
    let act_of = |action| act(action, "destination:crm");
    let (pausing, resuming) = (
        act_of(AuditAction::DestinationPause),
        act_of(AuditAction::DestinationResume),
    );
    let begun = destinations
        .pause_destination(&pause("crm", "their deploy"), Some(&pausing))
        .await
        .unwrap();
    assert_eq!(
        (&*begun.name, &*begun.paused_by, &*begun.paused_why),
        ("crm", "cli:ada", "their deploy")
    );
    assert_eq!(paused(&*other).await, Ok(vec![begun.clone()]));
    let resumed = other
        .destinations()
        .resume_destination("crm", &resuming)
        .await;
    let ended = resumed.unwrap().expect("a pause");
    assert_eq!((ended.pause, ended.breaker), (Some(begun), None));
    assert_eq!(paused(&*store).await, Ok(vec![]));
    // Its breaker was never open, and did not close.
    assert_eq!(state(&*store, "crm").await.closed_for, None);
    // It can be paused anew.
    let more = pause("crm", "once more");
    let again = destinations.pause_destination(&more, Some(&pausing)).await;
    assert_eq!(again.unwrap().paused_why, "once more");
    assert_eq!(verify(&*store).await, 3);
}

pub async fn a_pause_that_holds_stays_and_leaves_one_entry(Stores { store, .. }: Stores) {
    let destinations = store.destinations();
    let pausing = act(AuditAction::DestinationPause, "destination:crm");
    let resuming = act(AuditAction::DestinationResume, "destination:crm");
    let first = destinations
        .pause_destination(&pause("crm", "first"), Some(&pausing))
        .await
        .unwrap();
    let second = destinations
        .pause_destination(&pause("crm", "second"), Some(&pausing))
        .await;
    assert_eq!(second, Ok(first.clone()));
    // A receiver that is gone pauses its destination without an operator.
    let gone = destinations
        .pause_destination(&pause("billing", "gone"), None)
        .await
        .unwrap();
    assert_eq!(paused(&*store).await, Ok(vec![gone, first]));
    for (name, is_paused) in [("crm", true), ("crm", false), ("mail", false)] {
        let resumed = destinations.resume_destination(name, &resuming).await;
        assert_eq!(resumed.map(|it| it.is_some()), Ok(is_paused), "{name}");
    }
    let found = entries(&*store, &AuditFilter::default()).await;
    let told: Vec<_> = found
        .iter()
        .map(|entry| {
            let told = serde_json::to_value(entry).unwrap();
            (entry.action.clone(), told["after"]["paused"].clone())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("destination.resume".to_owned(), false.into()),
            ("destination.pause".to_owned(), true.into())
        ]
    );
}

pub async fn an_open_breaker_is_known_everywhere_until_it_is_closed(
    Stores { store, other }: Stores,
) {
    const LONG: Duration = Duration::from_secs(600);
    let (one, two) = (store.destinations(), other.destinations());
    assert_eq!(one.destination_states().await, Ok(vec![]));
    one.open_breaker("crm", "answered 503", LONG).await.unwrap();
    let first = state(&*other, "crm").await;
    let open = first.breaker.as_ref().expect("an open breaker");
    assert!(first.pause.is_none() && first.closed_for.is_none());
    assert!(open.is_waited_for(Duration::from_millis(1)));
    assert_eq!(open.why, "answered 503");
    assert!(
        open.probe_in > LONG / 2 && open.probe_in <= LONG,
        "{:?}",
        open.probe_in
    );
    // It is kept open, since the same moment, by what failed last.
    two.open_breaker("crm", "timed out", LONG * 2)
        .await
        .unwrap();
    let kept = state(&*store, "crm")
        .await
        .breaker
        .expect("an open breaker");
    assert_eq!((kept.opened_at, &*kept.why), (open.opened_at, "timed out"));
    assert!(kept.probe_in > LONG, "{:?}", kept.probe_in);
    // Closing says when it did, and a pause has nothing to do with it.
    two.pause_destination(&pause("crm", "their deploy"), None)
        .await
        .unwrap();
    two.close_breaker("crm").await.unwrap();
    let closed = state(&*store, "crm").await;
    assert!(closed.breaker.is_none() && closed.pause.is_some());
    assert!(closed.closed_for.is_some_and(|since| since < LONG));
    // What was never open closes to nothing.
    one.close_breaker("mail").await.unwrap();
    assert_eq!(one.destination_states().await.unwrap().len(), 1);
}

pub async fn what_is_resumed_has_no_open_breaker(Stores { store, other }: Stores) {
    const LONG: Duration = Duration::from_secs(600);
    let (one, two) = (store.destinations(), other.destinations());
    let resuming = act(AuditAction::DestinationResume, "destination:crm");
    one.open_breaker("crm", "answered 503", LONG).await.unwrap();
    let before = two.resume_destination("crm", &resuming).await.unwrap();
    let before = before.expect("an open breaker");
    let why = before.breaker.map(|breaker| breaker.why);
    assert_eq!((before.pause, why.as_deref()), (None, Some("answered 503")));
    // The rate rises, as after a probe.
    let closed = state(&*store, "crm").await;
    assert_eq!(closed.breaker, None);
    assert!(closed.closed_for.is_some_and(|since| since < LONG));
    assert_eq!(one.take_probe("crm", LONG, LONG).await, Ok(false));
    // Both at once.
    one.pause_destination(&pause("crm", "their deploy"), None)
        .await
        .unwrap();
    one.open_breaker("crm", "timed out", LONG).await.unwrap();
    let before = two.resume_destination("crm", &resuming).await.unwrap();
    let before = before.expect("a pause and an open breaker");
    assert!(before.pause.is_some() && before.breaker.is_some());
    let resumed = state(&*store, "crm").await;
    assert_eq!((resumed.pause, resumed.breaker), (None, None));
    // Nothing holds it any more.
    let again = one.resume_destination("crm", &resuming).await;
    assert_eq!(again, Ok(None));
    let found = entries(&*store, &AuditFilter::default()).await;
    let facts =
        |paused: bool, broken: bool| serde_json::json!({ "paused": paused, "broken": broken });
    let told: Vec<_> = found
        .iter()
        .map(|entry| {
            let told = serde_json::to_value(entry).unwrap();
            (told["before"].clone(), told["after"].clone())
        })
        .collect();
    let all_false = facts(false, false);
    assert_eq!(
        told,
        [
            (facts(true, true), all_false.clone()),
            (facts(false, true), all_false)
        ]
    );
    assert_eq!(verify(&*store).await, 2);
}

pub async fn one_of_all_takes_the_probe_of_a_breaker(Stores { store, other }: Stores) {
    const LONG: Duration = Duration::from_secs(600);
    let (one, two) = (store.destinations(), other.destinations());
    let take = async |by: &dyn common::store::Destinations| by.take_probe("crm", LONG, LONG).await;
    assert_eq!(take(one).await, Ok(false), "nothing is open");
    one.open_breaker("crm", "answered 503", LONG).await.unwrap();
    assert_eq!(take(one).await, Ok(false), "too early");
    one.open_breaker("crm", "answered 503", Duration::ZERO)
        .await
        .unwrap();
    let taken = tokio::join!(take(one), take(two), take(one), take(two));
    let taken: Vec<bool> = <[_; 4]>::from(taken)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(taken.iter().filter(|it| **it).count(), 1, "{taken:?}");
    // It was not told what became of it, and its time is over.
    one.open_breaker("crm", "answered 503", Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(two.take_probe("crm", Duration::ZERO, LONG).await, Ok(true));
    assert_eq!(take(one).await, Ok(true));
    // As if the clock had been set back since.
    one.open_breaker("crm", "answered 503", LONG * 3)
        .await
        .unwrap();
    assert_eq!(take(one).await, Ok(true));
    one.close_breaker("crm").await.unwrap();
    assert_eq!(take(two).await, Ok(false), "it is closed");
}
