//! Calls of a handler, with its panics contained and its time bounded.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};

use super::{Handler, Received};
use crate::outcome::{Failure, Outcome};
use crate::reason::ReasonCode;
use crate::tasks::panic_message;

/// How many events of a failed batch are handled at once, each alone. In sequence, 256 timeouts would exceed
/// the broker's consumer timeout.
const ALONE_AT_ONCE: usize = 16;

/// Handles a batch and returns one outcome for each event, in order, whatever the handler does.
///
/// Where a call for many panics, runs out of time or loses count, each of them is called for alone:
/// a poisoned event never fails its neighbours.
pub(super) async fn call(
    handler: &dyn Handler,
    batch: &[Received],
    timeout: Duration,
) -> Vec<Outcome> {
    match try_call(handler, batch, timeout).await {
        Ok(outcomes) => outcomes,
        Err(failure) if batch.len() == 1 => vec![Outcome::Retry {
            after: None,
            failure,
        }],
        Err(failure) => {
            tracing::warn!(
                events = batch.len(),
                error = %failure.error,
                "a batch failed as a whole: handling its events one by one"
            );
            let calls: Vec<_> = batch
                .iter()
                .map(|one| call_again(handler, one, timeout))
                .collect();
            stream::iter(calls)
                .buffered(ALONE_AT_ONCE)
                .collect::<Vec<_>>()
                .await
                .concat()
        }
    }
}

/// Asks whether a dependency answers again. A probe that panics or times out counts as failed; otherwise a
/// stuck probe would hold the worker for ever.
pub(super) async fn probe(
    handler: &dyn Handler,
    timeout: Duration,
) -> Result<(), String> {
    let contained = AssertUnwindSafe(handler.probe()).catch_unwind();
    match tokio::time::timeout(timeout, contained).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(panic)) => Err(format!("the probe panicked: {}", panic_message(&*panic))),
        Err(_) => Err(format!("the probe took longer than {timeout:?}")),
    }
}

/// Handles one event of a batch that failed as a whole.
async fn call_again(handler: &dyn Handler, one: &Received, timeout: Duration) -> Vec<Outcome> {
    // What the first call did may have taken effect: nobody may think it did not.
    let again = Received {
        redelivered: true,
        ..one.clone()
    };
    let outcomes = try_call(handler, &[again], timeout).await;
    outcomes.unwrap_or_else(|failure| {
        vec![Outcome::Retry {
            after: None,
            failure,
        }]
    })
}

async fn try_call(
    handler: &dyn Handler,
    batch: &[Received],
    timeout: Duration,
) -> Result<Vec<Outcome>, Failure> {
    // A handler may hold no lock across a panic: it takes the batch by reference and keeps nothing.
    let contained = AssertUnwindSafe(handler.handle(batch)).catch_unwind();
    let outcomes = match tokio::time::timeout(timeout, contained).await {
        Ok(Ok(outcomes)) => outcomes,
        Ok(Err(panic)) => {
            let error = format!("the handler panicked: {}", panic_message(&*panic));
            return Err(Failure::new(ReasonCode::Panicked, error));
        }
        Err(_) => {
            let error = format!("the handler took longer than {timeout:?}");
            return Err(Failure::new(ReasonCode::TimedOut, error));
        }
    };
    if outcomes.len() != batch.len() {
        let error = format!("{} outcomes for {} events", outcomes.len(), batch.len());
        return Err(Failure::new(ReasonCode::HandlerFailed, error));
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use crate::runtime::Claim;
    use async_trait::async_trait;

    use super::*;
    use crate::event::Trail;
    use crate::message::Message;

    /// Panics, stalls or loses count when an event's body says so.
    struct Moody;

    /// Fails for two at once; for one, says whether it may have been handled before.
    struct Forgetful;

    #[async_trait]
    impl Handler for Forgetful {
        async fn handle(&self, batch: &[Received]) -> Vec<Outcome> {
            assert_eq!(batch.len(), 1, "as told");
            let failure = Failure::new(ReasonCode::Invalid, batch[0].is_fresh().to_string());
            vec![Outcome::Dead(failure)]
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_hangs_is_in_hand_for_minutes_and_not_for_hours() {
        let timeout = Duration::from_secs(30);
        let began = tokio::time::Instant::now();
        let outcomes = call(&Moody, &vec![received("stall"); 256], timeout).await;
        assert_eq!(outcomes.len(), 256);
        assert!(began.elapsed() < Duration::from_secs(10 * 60));
    }

    #[tokio::test]
    async fn what_is_handled_again_is_not_fresh() {
        let outcomes = call(
            &Forgetful,
            &[received("a"), received("b")],
            Duration::from_secs(5),
        )
        .await;
        let dead = Outcome::Dead(Failure::new(ReasonCode::Invalid, "false"));
        assert_eq!(outcomes, [dead.clone(), dead]);
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

    #[async_trait]
    impl Handler for Moody {
        async fn handle(&self, batch: &[Received]) -> Vec<Outcome> {
            for event in batch {
                match &event.message.body[..] {
                    b"panic" => panic!("as told"),
                    b"stall" => std::future::pending().await,
                    b"lose" => return Vec::new(),
                    _ => {}
                }
            }
            vec![Outcome::Done; batch.len()]
        }
    }

    /// Handles nothing, and answers a probe as it is told.
    struct Probed(&'static str);

    #[async_trait]
    impl Handler for Probed {
        async fn handle(&self, _: &[Received]) -> Vec<Outcome> {
            Vec::new()
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
        let told = async |answer| probe(&Probed(answer), Duration::from_millis(50)).await;
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

    async fn codes(bodies: &[&'static str]) -> Vec<Option<ReasonCode>> {
        let batch: Vec<Received> = bodies.iter().map(|body| received(body)).collect();
        let outcomes = call(&Moody, &batch, Duration::from_millis(50)).await;
        outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Outcome::Retry { failure, .. } => Some(failure.code),
                _ => None,
            })
            .collect()
    }

    #[tokio::test]
    async fn one_bad_event_fails_alone() {
        assert_eq!(
            codes(&["a", "panic", "b"]).await,
            [None, Some(ReasonCode::Panicked), None]
        );
        assert_eq!(
            codes(&["stall", "a"]).await,
            [Some(ReasonCode::TimedOut), None]
        );
        assert_eq!(
            codes(&["lose", "a"]).await,
            [Some(ReasonCode::HandlerFailed), None]
        );
        assert_eq!(codes(&["panic"]).await, [Some(ReasonCode::Panicked)]);
        assert_eq!(codes(&["a", "b"]).await, [None, None]);
    }
}
