//! Settling as outcomes ask: published, confirmed, and only then settled.

use std::sync::Arc;

use super::Received;
use super::decision::{Decision, Finished, decide};
use super::hand::{Hand, InHand};
use super::hold::Down;
use crate::broker::{PublishError, Settlement, SubscriptionControl, publish_traced};
use crate::event::now;
use crate::outcome::{Failure, Outcome, OutcomeKind};
use crate::publication::Publication;

/// The decisions about a batch.
struct Decided {
    /// The publications for finished events, in their order.
    publications: Vec<Publication>,
    /// Each finished event, with the number of its publications.
    finished: Vec<(InHand, usize, Finished)>,
    back: Vec<InHand>,
    /// The error is the dependency that the worker holds for.
    done: Result<(), Down>,
}

impl Hand {
    /// Settles as the outcomes ask: publishes, confirmed, and only then settles. Messages that the broker has
    /// taken back in the meantime are left alone: publications for them would multiply them. The error is the
    /// dependency that the worker holds for now.
    pub(super) async fn settle(
        &self,
        handled: Vec<(InHand, Outcome)>,
        control: &Arc<dyn SubscriptionControl>,
    ) -> Result<(), Down> {
        let Decided {
            publications,
            finished,
            mut back,
            mut done,
        } = self.decide(handled);
        if !control.owns().await {
            return done.and(Err(self.taken_back(finished.len() + back.len())));
        }
        let answers = if publications.is_empty() {
            Vec::new()
        } else {
            publish_traced(&*self.desk.broker, publications).await
        };
        let mut answers = answers.into_iter();
        for (in_hand, count, finished) in finished {
            match confirmed(&mut answers, count) {
                Ok(()) => {
                    control.settle(in_hand.tag, Settlement::Ack);
                    self.let_go(1);
                    self.desk.went_through();
                    self.report(&in_hand.received, &finished);
                }
                Err(PublishError::Invalid(problem)) => {
                    tracing::error!(
                        queue.name = %self.queue, problem,
                        event.id = &*in_hand.received.log_id(),
                        "what came of it cannot be published: it is given back, up to the delivery limit"
                    );
                    control.settle(in_hand.tag, Settlement::GiveBack);
                    self.let_go(1);
                }
                Err(error) => {
                    done = self.hold(Down::broker(error));
                    back.push(in_hand);
                }
            }
        }
        self.give_back(back, control).await;
        done
    }

    /// Decides about each event of a batch, and begins to hold where an event asks for it.
    fn decide(&self, handled: Vec<(InHand, Outcome)>) -> Decided {
        let mut decided = Decided {
            publications: Vec::with_capacity(handled.len()),
            finished: Vec::with_capacity(handled.len()),
            back: Vec::new(),
            done: Ok(()),
        };
        let metrics = &self.desk.metrics;
        for (in_hand, outcome) in handled {
            match decide(outcome, &in_hand.received, &self.place(), now()) {
                Decision::Finish { publish, finished } => {
                    let count = publish.len();
                    decided.publications.extend(publish);
                    decided.finished.push((in_hand, count, finished));
                }
                Decision::GiveBack => {
                    metrics.outcome(OutcomeKind::GiveBack, None);
                    decided.back.push(in_hand);
                }
                Decision::Hold { dependency, error } => {
                    metrics.outcome(OutcomeKind::Hold, None);
                    decided.done = self.hold(Down { dependency, error });
                    decided.back.push(in_hand);
                }
            }
        }
        decided
    }

    /// Begins to hold, unless the worker does already.
    fn hold(&self, down: Down) -> Result<(), Down> {
        self.desk.begin_hold(down.clone());
        Err(down)
    }

    fn report(&self, received: &Received, finished: &Finished) {
        let metrics = &self.desk.metrics;
        metrics.outcome(finished.kind(), finished.code());
        let id = || received.log_id();
        match finished {
            Finished::Retry(Failure { code, error }) => tracing::warn!(
                queue.name = %self.queue, event.id = &*id(), attempt = received.attempt(),
                reason = code.as_str(), error, "an attempt failed"
            ),
            Finished::Dead(Failure { code, error }) => tracing::error!(
                queue.name = %self.queue, event.id = &*id(), attempt = received.attempt(),
                reason = code.as_str(), error, "given up: it is a dead letter now"
            ),
            Finished::Done | Finished::Next | Finished::Rejected(_) | Finished::Snooze => {
                if let Some(received_at) = received.trail.received_at
                    && let Ok(age) = (now() - received_at).try_into()
                {
                    metrics.age(age);
                }
                let outcome = finished.kind().as_str();
                tracing::debug!(queue.name = %self.queue, event.id = &*id(), outcome, "handled");
            }
        }
    }
}

/// Whether the next `count` messages are all published. Always consumes `count` answers, even after an error, so
/// that the next answers are about the next event.
fn confirmed(
    answers: &mut impl Iterator<Item = Result<(), PublishError>>,
    count: usize,
) -> Result<(), PublishError> {
    let own: Vec<_> = (0..count).map(|_| answers.next()).collect();
    own.into_iter()
        .try_for_each(|answer| answer.unwrap_or_else(|| Err(PublishError::unanswered())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_gets_the_answers_to_its_own_messages() {
        let mut answers = [Ok(()), Err(PublishError::Nacked), Ok(()), Ok(())].into_iter();
        assert!(confirmed(&mut answers, 0).is_ok());
        let failed = confirmed(&mut answers, 3);
        assert!(matches!(failed, Err(PublishError::Nacked)), "{failed:?}");
        assert!(confirmed(&mut answers, 1).is_ok(), "its neighbour");
        assert!(confirmed(&mut answers, 1).is_err(), "nobody answered");
    }
}
