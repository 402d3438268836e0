//! Every name Longshore has on a broker.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::namespace::{Namespace, is_name};

/// The state of an event: there is one exchange for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// It came through a door.
    Received,
    /// It is well formed and follows every rule.
    Accepted,
    /// It breaks a rule and is refused.
    Rejected,
    /// It is in the database.
    Stored,
    /// A stage gave up on it.
    Dead,
}

impl Fact {
    /// All of them, in the order of an event's life.
    pub const ALL: [Self; 5] = [
        Self::Received,
        Self::Accepted,
        Self::Rejected,
        Self::Stored,
        Self::Dead,
    ];

    /// The last word of the exchange's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Stored => "stored",
            Self::Dead => "dead",
        }
    }
}

/// One step of the pipeline; each is a worker binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Checks schema and rules, turns foreign shapes into canonical events.
    Validate,
    /// Writes events and due deliveries to the database.
    Store,
    /// Delivers to outside systems.
    Integrate,
    /// Keeps dead letters and rejections in the database.
    Archive,
}

impl Stage {
    /// All of them, in the order of an event's life.
    pub const ALL: [Self; 4] = [Self::Validate, Self::Store, Self::Integrate, Self::Archive];

    /// The stage as it is written in names, tables and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Store => "store",
            Self::Integrate => "integrate",
            Self::Archive => "archive",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.as_str() == text)
            .ok_or_else(|| {
                format!("expected validate, store, integrate or archive, found {text:?}")
            })
    }
}

/// The names of one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    namespace: Namespace,
}

impl Names {
    /// The names of `namespace`.
    pub fn new(namespace: Namespace) -> Self {
        Self { namespace }
    }

    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The exchange of a fact: `longshore.stored`.
    pub fn exchange(&self, fact: Fact) -> String {
        self.name(fact.as_str())
    }

    /// The queue of the validate stage.
    pub fn validate(&self) -> String {
        self.name("validate")
    }

    /// The queue of the store stage.
    pub fn store(&self) -> String {
        self.name("store")
    }

    /// The queue of one destination.
    pub fn integrate(&self, destination: &str) -> String {
        self.name(&format!("integrate.{destination}"))
    }

    /// The queue of dead letters on their way into the archive.
    pub fn dead(&self) -> String {
        self.name("dead")
    }

    /// The queue of rejections on their way into the archive.
    pub fn rejected(&self) -> String {
        self.name("rejected")
    }

    /// Where a dead letter ends that even the archive cannot take.
    pub fn parked(&self) -> String {
        self.name("dead.parked")
    }

    /// The stream of every received event.
    pub fn history(&self) -> String {
        self.name("history")
    }

    /// The exchange that bears the list of believed logins; it carries nothing.
    pub fn trust(&self) -> String {
        self.name("trust")
    }

    /// Whether `queue` is one for suspects.
    pub fn is_suspect(queue: &str) -> bool {
        Self::without_suspect(queue) != queue
    }

    /// The queue beside `queue` for messages that came back twice: they are handled alone.
    pub fn suspect(queue: &str) -> String {
        format!("{queue}.suspect")
    }

    /// The queue that `queue` is the suspects' queue of, or `queue` itself.
    pub fn without_suspect(queue: &str) -> &str {
        queue.strip_suffix(".suspect").unwrap_or(queue)
    }

    /// The exchange and the queue of a delay level carry the same name: `longshore.delay.07`.
    pub fn delay_level(&self, level: usize) -> String {
        self.name(&format!("delay.{level:02}"))
    }

    /// The exchange for messages that have waited long enough.
    pub fn delayed(&self) -> String {
        self.name("delay.done")
    }

    /// The stage that consumes `queue`, suspects' queues included, and its destination where it has one.
    pub fn stage_of<'q>(&self, queue: &'q str) -> Option<(Stage, Option<&'q str>)> {
        let rest = Self::without_suspect(queue)
            .strip_prefix(self.namespace.as_str())?
            .strip_prefix('.')?;
        match rest {
            "validate" => Some((Stage::Validate, None)),
            "store" => Some((Stage::Store, None)),
            "dead" | "rejected" => Some((Stage::Archive, None)),
            _ => {
                let destination = rest.strip_prefix("integrate.")?;
                is_destination_name(destination).then_some((Stage::Integrate, Some(destination)))
            }
        }
    }

    fn name(&self, rest: &str) -> String {
        format!("{}.{rest}", self.namespace)
    }
}

/// Whether a destination may be called so: one word of a queue name, see
/// [`Namespace`] for the letters, at most 40 of them.
pub fn is_destination_name(name: &str) -> bool {
    is_name(name, 40) && name != "suspect"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_name_tells_its_stage() {
        let names = Names::new(Namespace::default());
        assert_eq!(
            names.stage_of(&names.validate()),
            Some((Stage::Validate, None))
        );
        assert_eq!(names.stage_of(&names.dead()), Some((Stage::Archive, None)));
        let crm = names.integrate("crm");
        assert_eq!(names.stage_of(&crm), Some((Stage::Integrate, Some("crm"))));
        let suspect = Names::suspect(&crm);
        assert_eq!(
            names.stage_of(&suspect),
            Some((Stage::Integrate, Some("crm")))
        );
        for other in [
            "other.validate",
            "longshore.history",
            "longshore.integrate.",
            "longshore",
        ] {
            assert_eq!(names.stage_of(other), None, "{other}");
        }
    }
}
