//! Whether a message in hand is still ours to act on.

use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::broker::SubscriptionControl;

/// This process's claim on a message. It is lost with the message's link, and better given up once the program is
/// told to stop. Claims are not compared: two messages that differ only in their claims are equal.
#[derive(Clone, Default)]
pub struct Claim(Option<Held>);

#[derive(Clone)]
struct Held {
    control: Arc<dyn SubscriptionControl>,
    stop: CancellationToken,
}

impl Claim {
    /// The claim on a message of the subscription that `control` settles, in a program that `stop` ends.
    pub(super) fn new(control: Arc<dyn SubscriptionControl>, stop: CancellationToken) -> Self {
        Self(Some(Held { control, stop }))
    }

    /// Whether the broker still counts the message as ours. Ask right before a side effect: once the link is lost,
    /// another process has the message, and this process's answer is in vain. A default claim always holds.
    pub async fn holds(&self) -> bool {
        match &self.0 {
            Some(held) => held.control.owns().await,
            None => true,
        }
    }

    /// Waits until the program is told to stop. Work that has not begun by then is best given back
    /// ([`Outcome::GiveBack`](crate::outcome::Outcome::GiveBack)). On a default claim it waits for ever.
    pub async fn called_back(&self) {
        match &self.0 {
            Some(held) => held.stop.cancelled().await,
            None => std::future::pending().await,
        }
    }
}

impl PartialEq for Claim {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claim")
    }
}
