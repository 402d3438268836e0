//! One call of a handler, with its panics contained and its time bounded.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::{Handler, Received};
use crate::outcome::{Failure, Outcome};
use crate::reason::ReasonCode;

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
            let mut outcomes = Vec::with_capacity(batch.len());
            for one in batch.chunks(1) {
                let outcome = match try_call(handler, one, timeout).await {
                    Ok(mut outcomes) => outcomes.pop().unwrap_or(Outcome::Done),
                    Err(failure) => Outcome::Retry {
                        after: None,
                        failure,
                    },
                };
                outcomes.push(outcome);
            }
            outcomes
        }
    }
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
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "no message".to_owned());
            return Err(Failure::new(
                ReasonCode::Panicked,
                format!("the handler panicked: {text}"),
            ));
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
    use async_trait::async_trait;

    use super::*;
    use crate::event::Trail;
    use crate::message::Message;

    /// Panics, stalls or loses count when an event's body says so.
    struct Moody;

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

        async fn probe(&self, _: &'static str) -> Result<(), String> {
            Ok(())
        }
    }

    async fn codes(bodies: &[&'static str]) -> Vec<Option<ReasonCode>> {
        let batch: Vec<Received> = bodies
            .iter()
            .map(|body| Received {
                message: Message {
                    body: (*body).into(),
                    ..Message::default()
                },
                routing_key: String::new(),
                redelivered: false,
                trail: Trail::default(),
            })
            .collect();
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
