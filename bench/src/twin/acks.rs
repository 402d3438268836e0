use std::{future::Future, pin::Pin};

use anyhow::Result;
use futures_util::{StreamExt, stream::FuturesUnordered};
use lapin::Channel;

use crate::{amqp::ack_through, prefix::Prefix};

/// Settles the deliveries of one channel, a contiguous run with each ack.
pub(super) struct Acks {
    channel: Channel,
    prefix: Prefix,
    sending: FuturesUnordered<Pin<Box<dyn Future<Output = Result<()>> + Send>>>,
}

impl Acks {
    pub(super) fn new(channel: Channel) -> Self {
        Self {
            channel,
            prefix: Prefix::new(),
            sending: FuturesUnordered::new(),
        }
    }

    /// Notes that a delivery needs nothing more.
    pub(super) fn done(&mut self, tag: u64) {
        self.prefix.done(tag);
    }

    /// Acks the finished deliveries; returns how many deliveries that settles. [`sent`](Self::sent) drives it.
    pub(super) fn settle(&mut self) -> u64 {
        let Some((tag, settled)) = self.prefix.take() else {
            return 0;
        };
        let channel = self.channel.clone();
        self.sending
            .push(Box::pin(async move { ack_through(&channel, tag).await }));
        settled
    }

    /// Resolves as an ack was sent; `None` when none is on its way.
    pub(super) async fn sent(&mut self) -> Option<Result<()>> {
        self.sending.next().await
    }
}
