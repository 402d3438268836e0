//! The place where an event is handled.

use crate::retry::RetryPolicy;

/// The place where an event is handled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'p> {
    /// The queue the event came from.
    pub(super) queue: &'p str,
    /// The queue for dead letters, if it is not the usual one.
    pub(super) parked: Option<&'p str>,
    /// The waits after failed attempts.
    pub(super) retry: &'p RetryPolicy,
}
