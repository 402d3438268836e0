use common::reason::ReasonCode;
use common::store::{AuditAction, NewPause};

use super::super::share::Share;
use super::*;
use crate::testbed::{self, CRM};

/// A long time: what it bounds does not end within a test.
const LONG: Duration = Duration::from_secs(3600);

/// The gates of one process, where the breaker of `crm` opens at the second failure of two.
fn gates(store: &Arc<dyn Store>) -> Arc<Gates> {
    let mut destination = testbed::destination("http://127.0.0.1:9");
    destination.breaker = Some(Breaker {
        failures: 0.5,
        of: 2,
        within: LONG,
        open: LONG,
    });
    let copies = Copies::new(Arc::clone(store), testbed::card(&[CRM]));
    let gates = Gates::new(Arc::clone(store), Arc::new(copies), [&destination]);
    Arc::new(gates)
}

fn failure() -> Failure {
    Failure::new(ReasonCode::ReceiverFailing, "answered 503")
}

/// The breaker opens by two failed attempts.
async fn fail(gates: &Gates) {
    for _ in 0..2 {
        let usual = gates.admit(CRM).await.unwrap();
        gates.ended(CRM, usual, Ending::Failed(&failure())).await;
    }
}

/// Whether deliveries are admitted as usual.
async fn is_usual(gates: &Gates) -> bool {
    matches!(gates.admit(CRM).await, Ok(Admission::Usual { .. }))
}

/// A probe may be made from now on.
async fn due(store: &Arc<dyn Store>, all: &[&Gates]) {
    let destinations = store.destinations();
    destinations
        .open_breaker(CRM, "answered 503", Duration::ZERO)
        .await
        .unwrap();
    for gates in all {
        gates.known.age();
        gates.check().await.unwrap();
        assert_eq!(gates.gate(CRM).state(), GateState::OneByOne);
    }
}

fn share(gates: &Gates) -> Share {
    *gates.copies.share(CRM).borrow()
}

#[tokio::test]
async fn a_gate_stands_as_the_database_says() {
    let (store, stop) = (testbed::store().await, CancellationToken::new());
    let gates = gates(&store);
    let crm = gates.gate(CRM);
    let pause = NewPause {
        destination: CRM.to_owned(),
        by: "cli:ada".to_owned(),
        why: "their deploy".to_owned(),
    };
    let destinations = store.destinations();
    destinations.pause_destination(&pause, None).await.unwrap();
    gates.check().await.unwrap();
    let state = GateState::Shut("paused by cli:ada: their deploy".to_owned());
    assert_eq!(crm.state(), state);
    let followed = Arc::clone(&gates);
    let ended = stop.clone();
    let following = tokio::spawn(async move { followed.follow(ended).await });
    let mut act = testbed::act("cli:ada");
    act.action = AuditAction::DestinationResume;
    destinations.resume_destination(CRM, &act).await.unwrap();
    // Nobody checks, and it opens all the same.
    crm.opened().await;
    stop.cancel();
    following.await.unwrap();
}

#[tokio::test]
async fn what_was_never_read_is_an_error_and_what_was_holds() {
    let gates = gates(&testbed::down());
    assert!(gates.check().await.is_err());
    gates.known.read(async || Ok(())).await.unwrap();
    gates.known.age();
    let not_written = async { Err::<(), _>(StoreError::Unavailable("down".to_owned())) };
    let paused = gates
        .pause(CRM, ("cli:ada", "their deploy"), not_written)
        .await;
    assert!(paused.is_err());
    let shut = gates.gate(CRM).state();
    gates.check().await.unwrap();
    assert_eq!(gates.gate(CRM).state(), shut);
    assert!(!gates.gate(CRM).is_open());
}

#[tokio::test]
async fn a_breaker_opens_for_every_copy() {
    let store = testbed::store().await;
    let (one, other) = (gates(&store), gates(&store));
    other.check().await.unwrap();
    fail(&one).await;
    let shut = GateState::Shut("its breaker is open: answered 503".to_owned());
    assert_eq!(one.gate(CRM).state(), shut);
    assert_eq!(one.admit(CRM).await, Ok(Admission::Held));
    other.known.age();
    other.check().await.unwrap();
    assert_eq!(other.gate(CRM).state(), shut);
    let states = store.destinations().destination_states().await.unwrap();
    let open = states[0].breaker.as_ref().expect("an open breaker");
    assert_eq!(open.why, "answered 503");
    assert!(open.probe_in > LONG / 2, "{:?}", open.probe_in);
}

#[tokio::test]
async fn one_copy_makes_the_probe_and_its_success_closes_the_breaker_for_all() {
    let store = testbed::store().await;
    let (one, other) = (gates(&store), gates(&store));
    fail(&one).await;
    due(&store, &[&one, &other]).await;
    assert_eq!(one.admit(CRM).await, Ok(Admission::Probe));
    // Also here nothing else is taken meanwhile.
    assert!(!one.gate(CRM).is_open());
    assert_eq!(one.admit(CRM).await, Ok(Admission::Held));
    assert_eq!(other.admit(CRM).await, Ok(Admission::Held));
    assert!(!other.gate(CRM).is_open());
    one.ended(CRM, Admission::Probe, Ending::Answered).await;
    other.known.age();
    other.check().await.unwrap();
    for gates in [&one, &other] {
        assert_eq!(gates.gate(CRM).state(), GateState::Open);
        assert!(is_usual(gates).await);
        assert_eq!(share(gates), Share::WHOLE.at(10), "it rises from a tenth");
    }
    // Those that failed before do not count again, nor do those that were under way.
    let usual = one.admit(CRM).await.unwrap();
    one.ended(CRM, usual, Ending::Failed(&failure())).await;
    for _ in 0..2 {
        let old = Admission::Usual { epoch: 0 };
        one.ended(CRM, old, Ending::Failed(&failure())).await;
    }
    assert!(one.gate(CRM).is_open());
}

#[tokio::test]
async fn a_probe_that_fails_keeps_the_breaker_open() {
    let store = testbed::store().await;
    let (one, other) = (gates(&store), gates(&store));
    fail(&one).await;
    due(&store, &[&one, &other]).await;
    assert_eq!(one.admit(CRM).await, Ok(Admission::Probe));
    let failure = failure();
    one.ended(CRM, Admission::Probe, Ending::Failed(&failure))
        .await;
    assert_eq!(other.admit(CRM).await, Ok(Admission::Held));
    for gates in [&one, &other] {
        assert!(!gates.gate(CRM).is_open());
    }
}

#[tokio::test]
async fn who_waited_while_the_probe_was_made_hears_that_it_closed() {
    let store = testbed::store().await;
    let (one, other) = (gates(&store), gates(&store));
    fail(&one).await;
    due(&store, &[&one, &other]).await;
    assert_eq!(one.admit(CRM).await, Ok(Admission::Probe));
    one.ended(CRM, Admission::Probe, Ending::Answered).await;
    assert!(is_usual(&other).await);
}

#[tokio::test]
async fn a_copy_without_work_hears_that_the_breaker_closed() {
    let (store, stop) = (testbed::store().await, CancellationToken::new());
    let gates = gates(&store);
    fail(&gates).await;
    let followed = Arc::clone(&gates);
    let ended = stop.clone();
    let following = tokio::spawn(async move { followed.follow(ended).await });
    store.destinations().close_breaker(CRM).await.unwrap();
    gates.gate(CRM).opened().await;
    stop.cancel();
    following.await.unwrap();
}

#[tokio::test]
async fn a_gate_that_a_breaker_shut_opens_when_its_destination_is_resumed() {
    let (store, stop) = (testbed::store().await, CancellationToken::new());
    let gates = gates(&store);
    fail(&gates).await;
    assert!(!gates.gate(CRM).is_open());
    let followed = Arc::clone(&gates);
    let ended = stop.clone();
    let following = tokio::spawn(async move { followed.follow(ended).await });
    let mut act = testbed::act("cli:ada");
    act.action = AuditAction::DestinationResume;
    let destinations = store.destinations();
    let before = destinations.resume_destination(CRM, &act).await.unwrap();
    assert!(before.is_some_and(|before| before.breaker.is_some()));
    // Nobody checks, and it opens all the same.
    gates.gate(CRM).opened().await;
    assert!(is_usual(&gates).await);
    assert_eq!(share(&gates), Share::WHOLE.at(10), "it rises from a tenth");
    stop.cancel();
    following.await.unwrap();
}

#[tokio::test]
async fn without_a_database_it_opens_here() {
    let gates = gates(&testbed::down());
    fail(&gates).await;
    assert!(!gates.gate(CRM).is_open());
}

#[tokio::test]
async fn a_destination_without_a_breaker_is_never_held_by_one() {
    let store = testbed::store().await;
    let destination = testbed::destination("http://127.0.0.1:9");
    let copies = Copies::new(Arc::clone(&store), testbed::card(&[CRM]));
    let gates = Gates::new(Arc::clone(&store), Arc::new(copies), [&destination]);
    // Another copy, of a former configuration, has one.
    store
        .destinations()
        .open_breaker(CRM, "answered 503", LONG)
        .await
        .unwrap();
    gates.check().await.unwrap();
    for _ in 0..100 {
        let usual = gates.admit(CRM).await.unwrap();
        gates.ended(CRM, usual, Ending::Failed(&failure())).await;
    }
    assert!(is_usual(&gates).await);
}

#[tokio::test]
async fn a_receiver_that_refuses_works() {
    let store = testbed::store().await;
    let gates = gates(&store);
    for _ in 0..100 {
        let usual = gates.admit(CRM).await.unwrap();
        gates.ended(CRM, usual, Ending::Answered).await;
    }
    assert!(is_usual(&gates).await);
}

#[tokio::test]
async fn a_probe_that_was_not_made_is_left_to_the_next() {
    let store = testbed::store().await;
    let gates = gates(&store);
    fail(&gates).await;
    due(&store, &[&gates]).await;
    for _ in 0..2 {
        assert_eq!(gates.admit(CRM).await, Ok(Admission::Probe));
        gates.ended(CRM, Admission::Probe, Ending::NotMade).await;
    }
    let states = store.destinations().destination_states().await.unwrap();
    let why = states[0].breaker.as_ref().map(|open| &*open.why);
    assert_eq!(why, Some("answered 503"));
}

#[tokio::test]
async fn a_read_that_began_before_a_change_says_nothing_about_it() {
    let store = testbed::store().await;
    let gates = gates(&store);
    let pause = NewPause {
        destination: CRM.to_owned(),
        by: "longshore-integrate".to_owned(),
        why: "gone".to_owned(),
    };
    let destinations = store.destinations();
    let written = async {
        // It is not written down yet, and is read all the same.
        gates.read().await.unwrap();
        assert!(!gates.gate(CRM).is_open());
        destinations.pause_destination(&pause, None).await
    };
    let by = (&*pause.by, &*pause.why);
    gates.pause(CRM, by, written).await.unwrap();
    gates.read().await.unwrap();
    assert!(!gates.gate(CRM).is_open());
}

#[tokio::test]
async fn a_probe_that_lies_too_far_ahead_is_due() {
    let store = testbed::store().await;
    let gates = gates(&store);
    let destinations = store.destinations();
    let far = LONG * 3;
    destinations
        .open_breaker(CRM, "answered 503", far)
        .await
        .unwrap();
    gates.check().await.unwrap();
    assert_eq!(gates.admit(CRM).await, Ok(Admission::Probe));
}
