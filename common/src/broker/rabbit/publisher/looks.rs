//! Looks at the queues that messages are to reach, each sent behind its messages on their own channel.
//!
//! A broker handles one channel in order. So such a look sees the queues that existed once the messages were routed. It
//! is answered while they are still being written to disk: nobody waits for it. One look is under way at a time, and
//! the next one serves everything written meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use lapin::Channel;
use lapin::options::{BasicQosOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use tokio::sync::Notify;

use super::batch::{Answer, Ticket};
use crate::broker::PublishError;
use crate::broker::rabbit::explain::{Fault, NOT_FOUND, within};

/// A queue to look at, and whom to tell.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) queue: ShortString,
    pub(super) ticket: Ticket,
    /// It comes from a channel that was closed without a reason that arrived.
    pub(super) is_second: bool,
}

/// The looks whose messages are written: from now on they may be sent.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    looks: Mutex<Vec<Look>>,
    more: Notify,
}

/// The looks of one channel.
pub(super) struct Looks {
    channel: Arc<Channel>,
    patience: Duration,
    wanted: Arc<Wanted>,
    sent: Option<Sent>,
    /// Looks that came too late on this channel.
    late: Vec<Look>,
}

/// A look under way.
struct Sent {
    answer: BoxFuture<'static, Result<(), Fault>>,
    looks: Vec<Look>,
}

impl Wanted {
    /// The messages before `look` are written.
    pub(super) fn push(&self, look: Look) {
        self.lock().push(look);
        self.more.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Look>> {
        // Nothing that holds it can leave it half-changed.
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn take(&self) -> Vec<Look> {
        std::mem::take(&mut *self.lock())
    }

    async fn next(&self) -> Vec<Look> {
        loop {
            let looks = self.take();
            if !looks.is_empty() {
                return looks;
            }
            self.more.notified().await;
        }
    }
}

impl Looks {
    pub(super) fn new(channel: Arc<Channel>, patience: Duration) -> Self {
        Self {
            channel,
            patience,
            wanted: Arc::default(),
            sent: None,
            late: Vec::new(),
        }
    }

    /// Whether nobody waits for an answer.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_none() && self.wanted.is_empty()
    }

    /// Whether a look came too late on this channel.
    pub(super) fn are_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// The looks to be made again, once, on another channel. Messages that are confirmed were routed before that.
    pub(super) fn take_late(&mut self) -> Vec<Look> {
        std::mem::take(&mut self.late)
    }

    /// Where messages that are written leave their looks.
    pub(super) fn wanted(&self) -> Arc<Wanted> {
        Arc::clone(&self.wanted)
    }

    /// Answers those whom one look concerns. Dropped before that, it goes on when it is called again.
    pub(super) async fn answer_next(&mut self) {
        let sent = match &mut self.sent {
            Some(sent) => sent,
            none => {
                let looks = self.wanted.next().await;
                let mut queues: Vec<_> = looks.iter().map(|look| look.queue.clone()).collect();
                queues.dedup();
                let answer = look(Arc::clone(&self.channel), queues, self.patience);
                none.insert(Sent {
                    answer: Box::pin(answer),
                    looks,
                })
            }
        };
        let answer = (&mut sent.answer).await;
        let looks = self.sent.take().map(|sent| sent.looks);
        for look in looks.into_iter().flatten() {
            match &answer {
                Ok(()) => look.ticket.answer(Ok(())),
                Err(fault) if fault.is_too_late() => self.put_off(look, &fault.words()),
                Err(fault) => look.fail(fault.code(), &fault.words()),
            }
        }
    }

    fn put_off(&mut self, look: Look, detail: &str) {
        if look.is_second {
            look.fail(None, detail);
        } else {
            let is_second = true;
            self.late.push(Look { is_second, ..look });
        }
    }

    /// Puts off everything: the channel was closed, and nobody was told why.
    pub(super) fn put_off_all(&mut self, detail: &str) {
        for look in self.unanswered() {
            self.put_off(look, detail);
        }
    }

    fn unanswered(&mut self) -> Vec<Look> {
        let sent = self.sent.take().map(|sent| sent.looks);
        let wanted = self.wanted.take();
        sent.into_iter().flatten().chain(wanted).collect()
    }

    /// Answers everybody: the channel is gone for this reason.
    pub(super) fn fail_all(&mut self, code: Option<u16>, detail: &str) {
        for look in self.unanswered().into_iter().chain(self.take_late()) {
            look.fail(code, detail);
        }
    }
}

impl Look {
    pub(super) fn fail(self, code: Option<u16>, detail: &str) {
        let answer: Answer = if code == Some(NOT_FOUND) {
            Err(PublishError::Unroutable {
                // The exchange that hands everything to the queue of its name.
                exchange: String::new(),
                routing_key: self.queue.to_string(),
                reason: detail.to_owned(),
            })
        } else {
            Err(PublishError::Disconnected(detail.to_owned()))
        };
        self.ticket.answer(answer);
    }
}

/// Looks at queues. One that is missing costs the channel. Asking how full a queue is would wait for it, so no
/// answer is asked for but that of a question without meaning behind it.
async fn look(
    channel: Arc<Channel>,
    queues: Vec<ShortString>,
    patience: Duration,
) -> Result<(), Fault> {
    let asked = async {
        for queue in queues {
            let options = QueueDeclareOptions {
                nowait: true,
                ..QueueDeclareOptions::durable().passive()
            };
            let arguments = FieldTable::default();
            channel.queue_declare(queue, options, arguments).await?;
        }
        channel.basic_qos(0, BasicQosOptions::default()).await
    };
    within(patience, "a look at a queue", asked).await
}
