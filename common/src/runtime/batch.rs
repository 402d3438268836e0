//! A batch in a handler's hands, and the answer to it.

use std::future::Future;
use std::ops::Deref;

use super::Received;
use crate::outcome::Outcome;

/// Events that are handled together, in order. The only way to [`Outcomes`] is to answer for each of them.
#[derive(Debug)]
pub struct Batch<'b>(&'b [Received]);

/// One outcome for each event of a [`Batch`], in order.
#[derive(Debug)]
pub struct Outcomes(Vec<Outcome>);

impl<'b> Batch<'b> {
    pub(super) fn new(events: &'b [Received]) -> Self {
        Self(events)
    }

    /// Answers for each event, in order.
    pub fn answer(self, outcome: impl FnMut(&'b Received) -> Outcome) -> Outcomes {
        Outcomes(self.0.iter().map(outcome).collect())
    }

    /// Answers for one event after the other.
    pub async fn answer_one_by_one<A>(self, mut outcome: impl FnMut(&'b Received) -> A) -> Outcomes
    where
        A: Future<Output = Outcome>,
    {
        let mut outcomes = Vec::with_capacity(self.0.len());
        for received in self.0 {
            outcomes.push(outcome(received).await);
        }
        Outcomes(outcomes)
    }
}

impl Deref for Batch<'_> {
    type Target = [Received];

    fn deref(&self) -> &[Received] {
        self.0
    }
}

impl Outcomes {
    pub(super) fn into_vec(self) -> Vec<Outcome> {
        self.0
    }
}
