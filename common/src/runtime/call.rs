//! Calls of a handler, with its panics contained and its time bounded.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};

use super::{Batch, Handler, Received};
use crate::outcome::{Failure, Outcome};
use crate::reason::ReasonCode;
use crate::tasks::panic_message;

/// How many events of a failed batch are handled at once, each alone. In sequence, 256 timeouts would exceed
/// the broker's consumer timeout.
const ALONE_AT_ONCE: usize = 16;

/// Why a call has no outcome for each of its events.
struct Failed {
    /// The outcome of an event that was alone in the call.
    outcome: Outcome,
    /// Whether the call may have taken effect.
    may_have_acted: bool,
}

impl Failed {
    fn retry(code: ReasonCode, error: String) -> Self {
        Self {
            outcome: Outcome::Retry {
                after: None,
                failure: Failure::new(code, error),
            },
            may_have_acted: true,
        }
    }

    fn error(&self) -> &str {
        match &self.outcome {
            Outcome::Retry { failure, .. } | Outcome::Dead(failure) => &failure.error,
            _ => "refused",
        }
    }
}

/// Calls a handler as a worker does. Returns one outcome for each event, in order, whatever the handler does.
///
/// If a call for many is refused as a whole, panics or runs out of time, each event gets a call alone: a poisoned
/// event never fails its neighbours.
pub async fn call_handler(
    handler: &dyn Handler,
    events: &[Received],
    timeout: Duration,
) -> Vec<Outcome> {
    let failed = match try_call(handler, events, timeout).await {
        Ok(outcomes) => return outcomes,
        Err(failed) => failed,
    };
    let is_of_all = matches!(
        failed.outcome,
        Outcome::Hold { .. } | Outcome::Snooze(_) | Outcome::GiveBack
    );
    if is_of_all || events.len() == 1 {
        return vec![failed.outcome; events.len()];
    }
    tracing::warn!(
        events = events.len(),
        error = failed.error(),
        "a batch failed as a whole: handling its events one by one"
    );
    let calls: Vec<_> = events
        .iter()
        .map(|one| call_alone(handler, one, failed.may_have_acted, timeout))
        .collect();
    let each = stream::iter(calls).buffered(ALONE_AT_ONCE);
    each.collect::<Vec<_>>().await.concat()
}

/// Asks whether a dependency answers again. A probe that panics or times out counts as failed; otherwise a
/// stuck probe would hold the worker for ever.
pub(super) async fn probe(handler: &dyn Handler, timeout: Duration) -> Result<(), String> {
    let contained = AssertUnwindSafe(handler.probe()).catch_unwind();
    match tokio::time::timeout(timeout, contained).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(panic)) => Err(format!("the probe panicked: {}", panic_message(&*panic))),
        Err(_) => Err(format!("the probe took longer than {timeout:?}")),
    }
}

/// Handles one event of a batch that failed as a whole.
async fn call_alone(
    handler: &dyn Handler,
    one: &Received,
    may_have_acted: bool,
    timeout: Duration,
) -> Vec<Outcome> {
    // The first call may have taken effect: nothing may assume that it did not.
    let again = Received {
        redelivered: one.redelivered || may_have_acted,
        ..one.clone()
    };
    let outcomes = try_call(handler, &[again], timeout).await;
    outcomes.unwrap_or_else(|failed| vec![failed.outcome])
}

async fn try_call(
    handler: &dyn Handler,
    events: &[Received],
    timeout: Duration,
) -> Result<Vec<Outcome>, Failed> {
    // A handler may hold no lock across a panic: it takes the batch by reference and keeps nothing.
    let contained = AssertUnwindSafe(handler.handle(Batch::new(events))).catch_unwind();
    match tokio::time::timeout(timeout, contained).await {
        Ok(Ok(Ok(outcomes))) => Ok(outcomes.into_vec()),
        Ok(Ok(Err(outcome))) => Err(Failed {
            outcome,
            may_have_acted: false,
        }),
        Ok(Err(panic)) => {
            let error = format!("the handler panicked: {}", panic_message(&*panic));
            Err(Failed::retry(ReasonCode::Panicked, error))
        }
        Err(_) => {
            let error = format!("the handler took longer than {timeout:?}");
            Err(Failed::retry(ReasonCode::TimedOut, error))
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::dependency::Dependency;
    use crate::event::Trail;
    use crate::message::Message;
    use crate::runtime::{Claim, Outcomes};

    const TIMEOUT: Duration = Duration::from_millis(50);

    /// Panics, stalls, refuses or holds when the body of one event of a batch says so. Otherwise it says of each whether
    /// it may have been handled before.
    struct Moody;

    #[async_trait]
    impl Handler for Moody {
        async fn handle(&self, batch: Batch<'_>) -> Result<Outcomes, Outcome> {
            for event in batch.iter() {
                match &event.message.body[..] {
                    b"panic" => panic!("as told"),
                    b"stall" => std::future::pending().await,
                    b"refuse" => return Err(dead("as told")),
                    b"hold" => return Err(hold()),
                    _ => {}
                }
            }
            Ok(batch.answer(|event| {
                if event.is_fresh() {
                    Outcome::Done
                } else {
                    dead("not fresh")
                }
            }))
        }
    }

    fn dead(error: &str) -> Outcome {
        Outcome::Dead(Failure::new(ReasonCode::Unstorable, error))
    }

    fn hold() -> Outcome {
        Outcome::Hold {
            dependency: Dependency::Database,
            error: "as told".to_owned(),
        }
    }

    fn retry(code: ReasonCode, error: &str) -> Outcome {
        Outcome::Retry {
            after: None,
            failure: Failure::new(code, error),
        }
    }

    fn received(body: &'static str) -> Received {
        Received {
            message: Message {
                body: body.into(),
                ..Message::default()
            },
            routing_key: String::new(),
            redelivered: false,
            claim: Claim::default(),
            trail: Trail::default(),
        }
    }

    async fn outcomes(bodies: &[&'static str]) -> Vec<Outcome> {
        let batch: Vec<Received> = bodies.iter().map(|body| received(body)).collect();
        call_handler(&Moody, &batch, TIMEOUT).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_hangs_is_in_hand_for_minutes_and_not_for_hours() {
        let timeout = Duration::from_secs(30);
        let began = tokio::time::Instant::now();
        let outcomes = call_handler(&Moody, &vec![received("stall"); 256], timeout).await;
        assert_eq!(outcomes.len(), 256);
        assert!(began.elapsed() < Duration::from_secs(10 * 60));
    }

    #[tokio::test]
    async fn one_that_is_refused_fails_alone_and_its_neighbours_are_as_fresh_as_before() {
        for poisoned in 0..3 {
            let mut bodies = ["a", "b", "c"];
            bodies[poisoned] = "refuse";
            let mut expected = vec![Outcome::Done; 3];
            expected[poisoned] = dead("as told");
            assert_eq!(outcomes(&bodies).await, expected);
        }
        assert_eq!(outcomes(&["refuse"]).await, [dead("as told")]);
    }

    #[tokio::test]
    async fn one_that_panics_or_hangs_fails_alone_and_nobody_takes_its_neighbours_for_fresh() {
        let panicked = retry(ReasonCode::Panicked, "the handler panicked: as told");
        let late = retry(ReasonCode::TimedOut, "the handler took longer than 50ms");
        let neighbour = || dead("not fresh");
        assert_eq!(
            outcomes(&["a", "panic", "b"]).await,
            [neighbour(), panicked.clone(), neighbour()]
        );
        assert_eq!(outcomes(&["stall", "a"]).await, [late, neighbour()]);
        assert_eq!(outcomes(&["panic"]).await, [panicked]);
        assert_eq!(outcomes(&["a", "b"]).await, [Outcome::Done, Outcome::Done]);
    }

    #[tokio::test]
    async fn what_all_wait_for_is_asked_once() {
        assert_eq!(
            outcomes(&["a", "hold", "panic"]).await,
            [hold(), hold(), hold()]
        );
    }

    /// Handles nothing, and answers a probe as it is told.
    struct Probed(&'static str);

    #[async_trait]
    impl Handler for Probed {
        async fn handle(&self, batch: Batch<'_>) -> Result<Outcomes, Outcome> {
            Ok(batch.answer(|_| Outcome::Done))
        }

        async fn probe(&self) -> Result<(), String> {
            match self.0 {
                "panic" => panic!("as told"),
                "stall" => std::future::pending().await,
                "down" => Err("still".to_owned()),
                _ => Ok(()),
            }
        }
    }

    #[tokio::test]
    async fn a_probe_always_comes_to_an_end() {
        let told = async |answer| probe(&Probed(answer), TIMEOUT).await;
        assert_eq!(told("up").await, Ok(()));
        assert_eq!(told("down").await, Err("still".to_owned()));
        assert_eq!(
            told("panic").await,
            Err("the probe panicked: as told".to_owned())
        );
        assert_eq!(
            told("stall").await,
            Err("the probe took longer than 50ms".to_owned())
        );
    }
}
