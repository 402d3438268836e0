//! Which dead letters are meant.

use clap::Args;
use common::event::EventId;
use common::reason::ReasonCode;
use common::store::DeadFilter;
use common::topology::Names;

/// Where the help texts list what chooses dead letters.
pub(super) const WHICH: &str = "Which ones";

/// Every condition that is given must hold.
#[derive(Debug, Clone, Default, Args)]
pub struct FilterArgs {
    /// Died in this queue, such as `store` or `integrate.crm`
    #[arg(long, help_heading = WHICH)]
    pub queue: Option<String>,
    /// On the way to this destination
    #[arg(long, help_heading = WHICH)]
    pub destination: Option<String>,
    /// Of this event type
    #[arg(long = "type", value_name = "TYPE", help_heading = WHICH)]
    pub kind: Option<String>,
    /// For this reason code (`longshore explain` lists them)
    #[arg(long, value_name = "CODE", help_heading = WHICH)]
    pub reason: Option<ReasonCode>,
    /// Of this event
    #[arg(long, value_name = "ID", help_heading = WHICH)]
    pub event: Option<EventId>,
}

impl FilterArgs {
    /// Whether no condition is given.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_none()
            && self.destination.is_none()
            && self.kind.is_none()
            && self.reason.is_none()
            && self.event.is_none()
    }

    /// The filter as the store knows it, in any state.
    pub(crate) fn filter(&self, names: &Names) -> DeadFilter {
        DeadFilter {
            ids: None,
            queue: self.queue.as_deref().map(|queue| whole_name(queue, names)),
            destination: self.destination.clone(),
            kind: self.kind.clone(),
            reason: self.reason,
            event: self.event,
            state: None,
        }
    }
}

/// A queue's name on the broker, given with or without its namespace.
pub(super) fn whole_name(queue: &str, names: &Names) -> String {
    let prefix = format!("{}.", names.namespace());
    if queue.starts_with(&prefix) {
        queue.to_owned()
    } else {
        format!("{prefix}{queue}")
    }
}

#[cfg(test)]
mod tests {
    use common::namespace::Namespace;

    use super::*;

    #[test]
    fn a_queue_is_known_with_and_without_its_namespace() {
        let names = Names::new(Namespace::default());
        for given in ["integrate.crm", "longshore.integrate.crm"] {
            assert_eq!(whole_name(given, &names), names.integrate("crm"));
        }
    }
}
