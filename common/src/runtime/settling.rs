//! Doing what outcomes ask for: published, confirmed, and only then settled.

use std::sync::Arc;

use super::Received;
use super::hand::{Hand, InHand};
use super::hold::Down;
use super::settle::{Settlement, settlement};
use crate::broker::{PublishError, Settlement as Settle, SubscriptionControl, publish_traced};
use crate::event::now;
use crate::outcome::{Failure, Outcome};

impl Hand {
    /// Does what the outcomes ask for: publishes, confirmed, and only then settles. What the broker has
    /// taken back in the meantime is left alone: to publish what came of it would multiply it. The error
    /// says what the worker holds for now.
    pub(super) async fn settle(
        &self,
        handled: Vec<(InHand, Outcome)>,
        control: &Arc<dyn SubscriptionControl>,
    ) -> Result<(), Down> {
        let mut publications = Vec::with_capacity(handled.len());
        let mut finished = Vec::with_capacity(handled.len());
        let mut back = Vec::new();
        let mut done = Ok(());
        for (in_hand, outcome) in handled {
            match settlement(outcome, &in_hand.received, &self.place(), now()) {
                Settlement::Finish {
                    publish,
                    outcome,
                    failure,
                } => {
                    let count = publish.len();
                    publications.extend(publish);
                    finished.push((in_hand, count, outcome, failure));
                }
                Settlement::GiveBack => {
                    self.desk.metrics.outcome("give_back", "");
                    back.push(in_hand);
                }
                Settlement::Hold { dependency, error } => {
                    self.desk.metrics.outcome("hold", "");
                    done = self.hold(Down { dependency, error });
                    back.push(in_hand);
                }
            }
        }
        if !control.owns().await {
            return done.and(Err(self.taken_back(finished.len() + back.len())));
        }
        let mut answers = if publications.is_empty() {
            Vec::new().into_iter()
        } else {
            let answers = publish_traced(&*self.desk.broker, publications).await;
            answers.into_iter()
        };
        for (in_hand, count, outcome, failure) in finished {
            match confirmed(&mut answers, count) {
                Ok(()) => {
                    control.settle(in_hand.tag, Settle::Ack);
                    self.gone(1);
                    self.desk.went_through();
                    self.report(&in_hand.received, outcome, failure.as_ref());
                }
                Err(PublishError::Invalid(problem)) => {
                    tracing::error!(
                        queue.name = %self.queue, problem,
                        event.id = &*in_hand.received.told_id(),
                        "what came of it cannot be published: it is given back, up to the delivery limit"
                    );
                    control.settle(in_hand.tag, Settle::GiveBack);
                    self.gone(1);
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

    /// Begins to hold, unless the worker does already.
    fn hold(&self, down: Down) -> Result<(), Down> {
        self.desk.begin_hold(down.clone());
        Err(down)
    }

    fn report(&self, received: &Received, outcome: &'static str, failure: Option<&Failure>) {
        let metrics = &self.desk.metrics;
        metrics.outcome(outcome, failure.map_or("", |failure| failure.code.as_str()));
        let id = || received.told_id();
        match (outcome, failure) {
            ("retry", Some(Failure { code, error })) => tracing::warn!(
                queue.name = %self.queue, event.id = &*id(), attempt = received.attempt(),
                reason = code.as_str(), error, "an attempt failed"
            ),
            ("dead", Some(Failure { code, error })) => tracing::error!(
                queue.name = %self.queue, event.id = &*id(), attempt = received.attempt(),
                reason = code.as_str(), error, "given up: it is a dead letter now"
            ),
            _ => {
                if let Some(received_at) = received.trail.received_at
                    && let Ok(age) = (now() - received_at).try_into()
                {
                    metrics.age(age);
                }
                tracing::debug!(queue.name = %self.queue, event.id = &*id(), outcome, "handled");
            }
        }
    }
}

/// Whether the next `count` messages are all published. Always consumes `count` answers, even after an error, so
/// that the next ones are about the next event.
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
