//! Where an event is handled.

use crate::retry::RetryPolicy;

/// Where an event is handled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'p> {
    /// The queue it came from.
    pub(super) queue: &'p str,
    /// The queue that takes what is given up, where that is not the dead letters' own.
    pub(super) parked: Option<&'p str>,
    /// What a failed attempt waits for.
    pub(super) retry: &'p RetryPolicy,
}
