//! Messages that are published together, and the one answer to their caller.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use tokio::sync::oneshot;

use crate::broker::PublishError;

/// How the publish of one message ended.
pub(super) type Answer = Result<(), PublishError>;

/// The place of one message in the answer to its caller. Dropped without an answer, it says that there
/// never will be one.
#[derive(Debug)]
pub(super) struct Ticket {
    batch: Arc<Batch>,
    place: usize,
}

/// Answers its caller when the last ticket is gone.
#[derive(Debug)]
struct Batch {
    answers: Vec<OnceLock<Answer>>,
    caller: Option<oneshot::Sender<Vec<Answer>>>,
}

/// Tickets for `count` messages, and the answers to come: one for each, in order.
pub(super) fn open(
    count: usize,
) -> (
    impl Iterator<Item = Ticket>,
    impl Future<Output = Vec<Answer>>,
) {
    let (caller, answers) = oneshot::channel();
    let batch = Arc::new(Batch {
        answers: vec![OnceLock::new(); count],
        caller: Some(caller),
    });
    let tickets = (0..count).map(move |place| Ticket {
        batch: Arc::clone(&batch),
        place,
    });
    let answers = async move {
        let nothing_said = |_| (0..count).map(|_| Err(gone())).collect();
        answers.await.unwrap_or_else(nothing_said)
    };
    (tickets, answers)
}

impl Ticket {
    /// Says how it ended.
    pub(super) fn answer(self, answer: Answer) {
        if let Some(place) = self.batch.answers.get(self.place) {
            // A ticket answers once, and no two have the same place.
            let _ = place.set(answer);
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let answers = std::mem::take(&mut self.answers);
        let answers = answers.into_iter().map(|place| {
            let answer = place.into_inner();
            answer.unwrap_or_else(|| Err(gone()))
        });
        if let Some(caller) = self.caller.take() {
            // A caller that waits no longer needs no answer.
            let _ = caller.send(answers.collect());
        }
    }
}

fn gone() -> PublishError {
    PublishError::Disconnected("this program has closed it".to_owned())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_caller_is_answered_in_order_when_the_last_is_decided() {
        let (tickets, answers) = open(3);
        let mut answers = Box::pin(answers);
        let mut tickets: Vec<Ticket> = tickets.collect();
        let (last, middle) = (tickets.pop().unwrap(), tickets.pop().unwrap());
        last.answer(Ok(()));
        middle.answer(Err(PublishError::Nacked));
        assert!((&mut answers).now_or_never().is_none());
        tickets.pop().unwrap().answer(Ok(()));
        let answers = answers.now_or_never().expect("answered");
        assert!(matches!(
            &answers[..],
            [Ok(()), Err(PublishError::Nacked), Ok(())]
        ));
    }

    #[test]
    fn what_is_dropped_counts_as_not_published() {
        let (mut tickets, answers) = open(2);
        tickets.next().unwrap().answer(Ok(()));
        drop(tickets);
        let answers = answers.now_or_never().expect("answered");
        assert!(matches!(
            &answers[..],
            [Ok(()), Err(PublishError::Disconnected(_))]
        ));
    }

    #[test]
    fn nothing_to_publish_is_answered_at_once() {
        let (tickets, answers) = open(0);
        assert_eq!(tickets.count(), 0);
        assert!(
            answers
                .now_or_never()
                .is_some_and(|answers| answers.is_empty())
        );
    }
}
