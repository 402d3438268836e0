//! The topology as data: one value that is declared, verified, printed and drawn.
//!
//! Everything that Longshore needs on the broker is in one [`Topology`], built from the namespace and the
//! configuration. Engines declare it and compare it with the broker; nothing else in the code names an exchange or a
//! queue by hand.

mod delay;
mod diagram;
mod names;
mod trust;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

pub use delay::{BASE_DELAY, DelayRoute, LEVELS, level_wait, levels_for};
pub use names::{Fact, Names, Stage, is_destination_name};
pub use trust::TrustMark;

use crate::event::Logins;
use crate::namespace::Namespace;

/// How often the broker itself gives out one message before it dead-letters it: the guard behind
/// the worker's own counting of crashes.
pub const DELIVERY_LIMIT: i64 = 20;

/// Exchanges, queues and bindings of one namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Topology {
    /// All exchanges; every one is a durable topic exchange.
    pub exchanges: Vec<String>,
    /// All queues.
    pub queues: Vec<Queue>,
    /// The bindings.
    pub bindings: Vec<Binding>,
    /// The broker logins that are believed; `None` where this is only a part of a topology.
    pub trust: Option<TrustMark>,
    /// Bindings that may be left from an earlier configuration of a destination, and are removed. AMQP cannot list
    /// bindings, so these are the likely patterns of a destination: `#`, each known type, and all under each of its
    /// prefixes.
    #[serde(skip)]
    pub former: Vec<Binding>,
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Queue {
    /// Its name on the broker.
    pub name: String,
    /// Its purpose, which decides its arguments.
    #[serde(flatten)]
    pub kind: QueueKind,
}

/// The purpose of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum QueueKind {
    /// Work for a stage: a quorum queue that dead-letters at least once.
    Work {
        /// The exchange for messages that the broker gives up on; empty for the default exchange.
        dead_letter_exchange: String,
        /// The routing key of such a message; its own key if absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        dead_letter_routing_key: Option<String>,
    },
    /// The end of the road: a quorum queue that only people empty.
    Parked,
    /// One delay level: a quorum queue whose messages all wait equally long and then move on.
    Delay {
        /// How long each message waits, in milliseconds.
        ttl_ms: u64,
        /// The exchange of the next lower level.
        dead_letter_exchange: String,
    },
    /// The history: a stream.
    Stream {
        /// How long events are kept at least, in seconds.
        max_age_s: u64,
    },
}

/// A queue argument, in the broker's own names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// A text.
    Text(String),
    /// A whole number.
    Int(i64),
}

/// Messages that `exchange` gets with a routing key that matches `pattern` go to `to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Binding {
    /// Where they come from.
    pub exchange: String,
    /// An AMQP topic pattern.
    pub pattern: String,
    /// Where they go.
    pub to: Target,
}

/// The far end of a binding.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A queue.
    Queue(String),
    /// Another exchange.
    Exchange(String),
}

/// The part of the configuration that shapes the topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The namespace.
    pub namespace: Namespace,
    /// Each destination's name and its topic patterns of event types.
    pub destinations: Vec<(String, Vec<String>)>,
    /// The names of all event types that are known.
    pub known_types: Vec<String>,
    /// The longest delay anyone may ask for.
    pub longest_delay: Duration,
    /// How long the history is kept.
    pub history: Duration,
    /// The broker logins that are believed.
    pub logins: Logins,
}

impl Queue {
    /// The arguments the queue is declared with (RabbitMQ's names). A queue's arguments can never
    /// change while it exists, so a change here is a migration.
    pub fn arguments(&self) -> Vec<(&'static str, Argument)> {
        let text = |value: &str| Argument::Text(value.to_owned());
        match &self.kind {
            QueueKind::Work {
                dead_letter_exchange,
                dead_letter_routing_key,
            } => {
                let mut arguments = vec![
                    ("x-queue-type", text("quorum")),
                    ("x-delivery-limit", Argument::Int(DELIVERY_LIMIT)),
                    ("x-dead-letter-exchange", text(dead_letter_exchange)),
                    ("x-dead-letter-strategy", text("at-least-once")),
                    // At-least-once dead-lettering demands it.
                    ("x-overflow", text("reject-publish")),
                ];
                if let Some(key) = dead_letter_routing_key {
                    arguments.push(("x-dead-letter-routing-key", text(key)));
                }
                arguments
            }
            // RabbitMQ 4 drops a message at the 20th look at it unless a limit says otherwise.
            QueueKind::Parked => vec![
                ("x-queue-type", text("quorum")),
                ("x-delivery-limit", Argument::Int(i64::from(i32::MAX))),
            ],
            QueueKind::Delay {
                ttl_ms,
                dead_letter_exchange,
            } => vec![
                ("x-queue-type", text("quorum")),
                (
                    "x-message-ttl",
                    Argument::Int(i64::try_from(*ttl_ms).unwrap_or(i64::MAX)),
                ),
                ("x-dead-letter-exchange", text(dead_letter_exchange)),
                ("x-dead-letter-strategy", text("at-least-once")),
                ("x-overflow", text("reject-publish")),
            ],
            QueueKind::Stream { max_age_s } => vec![
                ("x-queue-type", text("stream")),
                ("x-max-age", Argument::Text(format!("{max_age_s}s"))),
            ],
        }
    }

    /// Whether workers consume it, so that a message in it is work to do.
    pub fn is_work(&self) -> bool {
        matches!(self.kind, QueueKind::Work { .. })
    }
}

impl Topology {
    /// The part of it around one exchange: the exchange, its bindings, and their queues.
    #[must_use]
    pub fn around(&self, exchange: &str) -> Self {
        let from_it = |binding: &&Binding| binding.exchange == exchange;
        let bindings: Vec<Binding> = self.bindings.iter().filter(from_it).cloned().collect();
        let leads_to = |name: &str, to_queue: bool| {
            bindings.iter().any(|binding| match &binding.to {
                Target::Queue(queue) => to_queue && queue == name,
                Target::Exchange(other) => !to_queue && other == name,
            })
        };
        let exchanges = self.exchanges.iter();
        let exchanges = exchanges.filter(|name| *name == exchange || leads_to(name, false));
        let queues = self
            .queues
            .iter()
            .filter(|queue| leads_to(&queue.name, true));
        Self {
            exchanges: exchanges.cloned().collect(),
            queues: queues.cloned().collect(),
            bindings,
            trust: None,
            former: Vec::new(),
        }
    }

    /// The topology of a plan.
    pub fn new(plan: &Plan) -> Self {
        let names = Names::new(plan.namespace.clone());
        let mut topology = Self {
            exchanges: Vec::new(),
            queues: Vec::new(),
            bindings: Vec::new(),
            trust: Some(TrustMark::new(names.trust(), plan.logins.clone())),
            former: Vec::new(),
        };
        topology
            .exchanges
            .extend(Fact::ALL.map(|fact| names.exchange(fact)));

        let every = ["#".to_owned()];
        topology.add_work(&names, &names.validate(), Fact::Received, &every);
        topology.add_work(&names, &names.store(), Fact::Accepted, &every);
        topology.add_work(&names, &names.rejected(), Fact::Rejected, &every);
        topology.add_work(&names, &names.dead(), Fact::Dead, &every);
        for (destination, types) in &plan.destinations {
            let queue = names.integrate(destination);
            topology.add_work(&names, &queue, Fact::Stored, types);
            let former = likely_patterns(&plan.known_types).into_iter();
            topology
                .former
                .extend(
                    former
                        .filter(|pattern| !types.contains(pattern))
                        .map(|pattern| Binding {
                            exchange: names.exchange(Fact::Stored),
                            pattern,
                            to: Target::Queue(queue.clone()),
                        }),
                );
        }
        topology.queues.push(Queue {
            name: names.parked(),
            kind: QueueKind::Parked,
        });
        topology.queues.push(Queue {
            name: names.history(),
            kind: QueueKind::Stream {
                max_age_s: plan.history.as_secs().max(1),
            },
        });
        topology.bind(
            &names.exchange(Fact::Received),
            "#",
            Target::Queue(names.history()),
        );

        delay::add_levels(&mut topology, &names, levels_for(plan.longest_delay));
        topology
    }

    /// Only the mark of the trusted logins: it is deleted so that another list can be declared.
    #[must_use]
    pub fn trust_alone(&self) -> Self {
        Self {
            exchanges: Vec::new(),
            queues: Vec::new(),
            bindings: Vec::new(),
            former: Vec::new(),
            trust: self.trust.clone(),
        }
    }

    /// The believed broker logins, for people.
    pub fn trusted_logins(&self) -> String {
        let mark = self.trust.as_ref();
        mark.map_or_else(String::new, |mark| mark.logins().to_string())
    }

    /// The queues that workers consume.
    pub fn work_queues(&self) -> impl Iterator<Item = &Queue> {
        self.queues.iter().filter(|queue| queue.is_work())
    }

    /// How many levels of delays it declares.
    pub fn delay_levels(&self) -> usize {
        let is_delay = |queue: &&Queue| matches!(queue.kind, QueueKind::Delay { .. });
        self.queues.iter().filter(is_delay).count()
    }

    /// A work queue, its bindings, its queue for suspects, and its way back from a delay.
    fn add_work(&mut self, names: &Names, queue: &str, from: Fact, patterns: &[String]) {
        // Messages that the dead queue itself gives up on must not come back to it: they are
        // parked.
        let (exchange, key) = match from {
            Fact::Dead => (String::new(), Some(names.parked())),
            _ => (names.exchange(Fact::Dead), None),
        };
        for name in [queue.to_owned(), Names::suspect(queue)] {
            self.bind(
                &names.delayed(),
                &format!("#.{name}"),
                Target::Queue(name.clone()),
            );
            let kind = QueueKind::Work {
                dead_letter_exchange: exchange.clone(),
                dead_letter_routing_key: key.clone(),
            };
            self.queues.push(Queue { name, kind });
        }
        for pattern in patterns {
            self.bind(
                &names.exchange(from),
                pattern,
                Target::Queue(queue.to_owned()),
            );
        }
    }

    fn bind(&mut self, exchange: &str, pattern: &str, to: Target) {
        self.bindings.push(Binding {
            exchange: exchange.to_owned(),
            pattern: pattern.to_owned(),
            to,
        });
    }
}

/// The patterns that a destination for some of these types is likely to have.
fn likely_patterns(types: &[String]) -> BTreeSet<String> {
    let mut patterns = BTreeSet::from(["#".to_owned(), "*".to_owned()]);
    for kind in types {
        patterns.insert(kind.clone());
        for (at, _) in kind.match_indices('.') {
            patterns.extend(["*", "#"].map(|rest| format!("{}.{rest}", &kind[..at])));
        }
    }
    patterns
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn plan(longest_delay: Duration) -> Plan {
        Plan {
            namespace: Namespace::default(),
            destinations: vec![("crm".to_owned(), vec!["signup.*".to_owned()])],
            known_types: vec!["signup.requested".to_owned(), "a.b.c".to_owned()],
            longest_delay,
            history: Duration::from_secs(3600),
            logins: Logins::default(),
        }
    }

    #[test]
    fn what_a_destination_may_have_been_bound_to_is_taken_away() {
        let topology = Topology::new(&plan(Duration::from_secs(60)));
        let patterns: Vec<&str> = topology
            .former
            .iter()
            .map(|it| it.pattern.as_str())
            .collect();
        assert_eq!(
            patterns,
            [
                "#",
                "*",
                "a.#",
                "a.*",
                "a.b.#",
                "a.b.*",
                "a.b.c",
                "signup.#",
                "signup.requested"
            ]
        );
        for former in &topology.former {
            assert_eq!(former.exchange, "longshore.stored");
            assert_eq!(
                former.to,
                Target::Queue("longshore.integrate.crm".to_owned())
            );
            assert!(!topology.bindings.contains(former));
        }
    }

    #[test]
    fn the_contract_names_are_there() {
        let topology = Topology::new(&plan(Duration::from_secs(60)));
        for exchange in ["received", "accepted", "rejected", "stored", "dead"] {
            assert!(
                topology
                    .exchanges
                    .contains(&format!("longshore.{exchange}")),
                "{exchange}"
            );
        }
        let queues: Vec<&str> = topology
            .queues
            .iter()
            .map(|queue| queue.name.as_str())
            .collect();
        for queue in ["validate", "store", "integrate.crm", "dead", "history"] {
            assert!(
                queues.contains(&format!("longshore.{queue}").as_str()),
                "{queue}"
            );
        }
    }

    #[test]
    fn every_binding_joins_things_that_are_declared() {
        let topology = Topology::new(&plan(Duration::from_secs(60)));
        let queues: HashSet<&String> = topology.queues.iter().map(|queue| &queue.name).collect();
        for binding in &topology.bindings {
            assert!(
                topology.exchanges.contains(&binding.exchange),
                "{binding:?}"
            );
            match &binding.to {
                Target::Queue(name) => assert!(queues.contains(name), "{binding:?}"),
                Target::Exchange(name) => assert!(topology.exchanges.contains(name), "{binding:?}"),
            }
        }
    }

    #[test]
    fn nothing_the_broker_gives_up_on_can_vanish_or_loop() {
        let topology = Topology::new(&plan(Duration::from_secs(60)));
        for queue in &topology.queues {
            let QueueKind::Work {
                dead_letter_exchange,
                dead_letter_routing_key,
            } = &queue.kind
            else {
                continue;
            };
            if queue.name.starts_with("longshore.dead") {
                assert_eq!(dead_letter_exchange, "");
                assert_eq!(
                    dead_letter_routing_key.as_deref(),
                    Some("longshore.dead.parked")
                );
            } else {
                assert_eq!(dead_letter_exchange, "longshore.dead");
            }
            let arguments = queue.arguments();
            let strategy = Argument::Text("at-least-once".to_owned());
            assert!(arguments.contains(&("x-dead-letter-strategy", strategy)));
        }
    }

    #[test]
    fn only_the_delay_levels_that_are_needed_are_declared() {
        let levels = |longest: u64| {
            Topology::new(&plan(Duration::from_millis(longest)))
                .queues
                .iter()
                .filter(|queue| matches!(queue.kind, QueueKind::Delay { .. }))
                .count()
        };
        assert_eq!(levels(250), 1);
        assert_eq!(levels(500), 2);
        // 240 units, rounded to three bits: 256.
        assert_eq!(levels(60_000), 9);
    }
}
