//! The transport of a destination.

use common::config::{self, Destination};

use super::mail::Mail;
use super::transport::{Means, Transport, UnusableDestination};
use super::webhook::Webhook;

/// What reaches a destination.
///
/// # Errors
/// It cannot be used as configured.
pub(super) fn transport(
    destination: &Destination,
    means: Means,
) -> Result<Box<dyn Transport>, UnusableDestination> {
    let unusable = |problem| UnusableDestination {
        destination: destination.name.clone(),
        problem,
    };
    match &destination.transport {
        config::Transport::Webhook(webhook) => {
            let webhook = Webhook::new(webhook, destination.timeout, means).map_err(unusable)?;
            Ok(Box::new(webhook))
        }
        config::Transport::Smtp(smtp) => {
            let mail = Mail::new(destination, smtp, means).map_err(unusable)?;
            Ok(Box::new(mail))
        }
    }
}
