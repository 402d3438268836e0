//! The queues: their names as people write them, how full each is, who consumes it, and which needs attention.

use std::collections::HashMap;
use std::time::Duration;

use common::broker::{Broker, BrokerError, Depth};
use common::config::Destination;
use common::store::DestinationState;
use common::topology::{Names, Queue, QueueKind, Topology};
use serde::Serialize;

use crate::words::{count, moment};

/// One line: a queue, or all delay levels together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its name.
    pub queue: String,
    /// `work`, `suspects`, `parked`, `history` or `delay`.
    pub kind: &'static str,
    /// Messages in it; `null` if the queue does not exist.
    pub messages: Option<u64>,
    /// Consumers of it.
    pub consumers: Option<u64>,
    /// Why somebody should look, if so.
    pub attention: Option<String>,
    /// Whether it is a queue of a destination that is paused or whose breaker is open: nobody consumes it on purpose.
    pub paused: bool,
}

/// Asks the broker for every queue of the topology.
pub async fn look(broker: &dyn Broker, topology: &Topology) -> Result<Vec<Line>, BrokerError> {
    let mut lines = Vec::new();
    let mut waiting = Depth::default();
    let (mut levels, mut missing) = (0_u64, 0_u64);
    for queue in &topology.queues {
        let depth = broker.depth(&queue.name).await?;
        if let QueueKind::Delay { .. } = queue.kind {
            levels += 1;
            match depth {
                Some(depth) => waiting.messages += depth.messages,
                None => missing += 1,
            }
        } else {
            lines.push(line(queue, depth));
        }
    }
    lines.push(Line {
        queue: count(levels, "delay level"),
        kind: "delay",
        messages: Some(waiting.messages),
        consumers: None,
        attention: (missing > 0)
            .then(|| format!("{missing} missing: `longshore topology apply` declares them")),
        paused: false,
    });
    Ok(lines)
}

fn line(queue: &Queue, depth: Option<Depth>) -> Line {
    let kind = match queue.kind {
        QueueKind::Work { .. } if Names::is_suspect(&queue.name) => "suspects",
        QueueKind::Work { .. } => "work",
        QueueKind::Parked => "parked",
        QueueKind::Stream { .. } => "history",
        QueueKind::Delay { .. } => "delay",
    };
    let attention = match (kind, depth) {
        (_, None) => Some("missing: `longshore topology apply` declares it"),
        (
            "work" | "suspects",
            Some(Depth {
                messages: 1..,
                consumers: 0,
            }),
        ) => Some("messages wait and nobody consumes them: start the worker"),
        ("work", Some(Depth { consumers: 0, .. })) => Some("nobody consumes it: start the worker"),
        ("suspects", Some(Depth { messages: 1.., .. })) => {
            Some("workers died over these: see the workers' logs")
        }
        ("parked", Some(Depth { messages: 1.., .. })) => {
            Some("not even the archive could take these: look at them by hand")
        }
        _ => None,
    };
    Line {
        queue: queue.name.clone(),
        kind,
        messages: depth.map(|depth| depth.messages),
        consumers: depth.map(|depth| depth.consumers),
        attention: attention.map(str::to_owned),
        paused: false,
    }
}

/// How long a probe may be due before its queue is one that nobody consumes: copies that are there take it within seconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// The queues of destinations that are paused or whose breaker is open: nobody consumes them, on purpose.
#[derive(Debug, Default)]
pub struct PausedQueues(HashMap<String, String>);

impl PausedQueues {
    /// Those among the queues of the configured destinations.
    pub fn new(names: &Names, states: &[DestinationState], configured: &[Destination]) -> Self {
        let why = |state: &DestinationState| {
            let queue = names.integrate(&state.name);
            Some((queue, held(state, configured)?))
        };
        Self(states.iter().filter_map(why).collect())
    }

    /// Says of each of them, and of its suspects, why nobody consumes it.
    pub fn mark(&self, lines: &mut [Line]) {
        for line in lines {
            let why = self.0.get(Names::without_suspect(&line.queue));
            if let (Some(why), Some(_)) = (why, line.messages) {
                line.paused = true;
                line.attention = Some(why.clone());
            }
        }
    }
}

/// Why nobody takes deliveries of a destination, if that is on purpose.
fn held(state: &DestinationState, configured: &[Destination]) -> Option<String> {
    if let Some(pause) = &state.pause {
        return Some(format!(
            "paused by {} ({}): `longshore destinations resume {}` lets it go on",
            pause.paused_by, pause.paused_why, pause.name
        ));
    }
    let breaker = configured.iter().find_map(|it| state.breaker_of(it))?;
    breaker.is_waited_for(PATIENCE).then(|| {
        format!(
            "its breaker is open ({}): a probe is made at {}; `longshore destinations test {name}` says how the receiver is, \
             and `longshore destinations resume {name}` closes the breaker",
            breaker.why,
            moment(breaker.probe_at.0),
            name = state.name
        )
    })
}

/// A queue's name on the broker, given with or without its namespace.
pub fn whole_name(queue: &str, names: &Names) -> String {
    let prefix = format!("{}.", names.namespace());
    if queue.starts_with(&prefix) {
        queue.to_owned()
    } else {
        format!("{prefix}{queue}")
    }
}

/// A queue's name without its namespace, as [`whole_name`] takes it.
pub fn short_name<'q>(queue: &'q str, names: &Names) -> &'q str {
    let rest = queue.strip_prefix(names.namespace().as_str());
    rest.and_then(|rest| rest.strip_prefix('.'))
        .unwrap_or(queue)
}

#[cfg(test)]
mod tests {
    use common::namespace::Namespace;
    use common::store::{Moment, OpenBreaker, PausedDestination};

    use super::*;

    fn work(name: &str) -> Queue {
        let kind = QueueKind::Work {
            dead_letter_exchange: "longshore.dead".to_owned(),
            dead_letter_routing_key: None,
        };
        Queue {
            name: name.to_owned(),
            kind,
        }
    }

    #[test]
    fn what_needs_somebody_says_why() {
        let depth = |messages, consumers| {
            Some(Depth {
                messages,
                consumers,
            })
        };
        let parked = Queue {
            name: "longshore.dead.parked".to_owned(),
            kind: QueueKind::Parked,
        };
        let cases = [
            (work("longshore.store"), None, Some("topology apply")),
            (
                work("longshore.store"),
                depth(0, 0),
                Some("start the worker"),
            ),
            (work("longshore.store"), depth(5, 0), Some("messages wait")),
            (work("longshore.store"), depth(5, 1), None),
            (work("longshore.store.suspect"), depth(0, 0), None),
            (work("longshore.store.suspect"), depth(1, 1), Some("died")),
            (parked.clone(), depth(0, 0), None),
            (parked, depth(1, 0), Some("by hand")),
        ];
        for (queue, depth, expected) in cases {
            let found = line(&queue, depth).attention;
            match expected {
                None => assert_eq!(found, None, "{queue:?}"),
                Some(word) => assert!(found.is_some_and(|text| text.contains(word)), "{queue:?}"),
            }
        }
    }

    #[test]
    fn the_queues_of_a_destination_that_waits_say_why() {
        let names = Names::new(Namespace::default());
        let now = Moment(common::event::now());
        let state = |name: &str| DestinationState {
            name: name.to_owned(),
            pause: None,
            breaker: None,
            closed_for: None,
        };
        let states = [
            DestinationState {
                pause: Some(PausedDestination {
                    name: "crm".to_owned(),
                    paused_at: now,
                    paused_by: "cli:ada".to_owned(),
                    paused_why: "their deploy: two hours".to_owned(),
                }),
                ..state("crm")
            },
            DestinationState {
                breaker: Some(OpenBreaker {
                    opened_at: now,
                    why: "answered 503".to_owned(),
                    probe_at: now,
                    probe_in: Duration::from_secs(9),
                    due_for: Duration::ZERO,
                }),
                ..state("billing")
            },
            DestinationState {
                breaker: Some(OpenBreaker {
                    opened_at: now,
                    why: "answered 503".to_owned(),
                    probe_at: now,
                    probe_in: Duration::ZERO,
                    due_for: Duration::from_secs(60),
                }),
                ..state("mail")
            },
        ];
        let configured = |name: &str| -> Destination {
            let text =
                format!("name = {name:?}\nbreaker = {{}}\nwebhook = {{ url = \"https://h\" }}");
            toml::from_str(&text).unwrap()
        };
        let configured = ["crm", "billing", "mail"].map(configured);
        let depth = Some(Depth {
            messages: 5,
            consumers: 0,
        });
        let paused = ["destinations resume crm", "(their deploy: two hours)"];
        let broken = ["destinations test billing", "(answered 503)"];
        let told = [
            ("longshore.integrate.crm", &paused[..]),
            ("longshore.integrate.crm.suspect", &paused[..]),
            ("longshore.integrate.billing", &broken[..]),
            // Its probe is due for long, and nobody makes it.
            ("longshore.integrate.mail", &[]),
            ("longshore.store", &[]),
        ];
        let mut lines: Vec<Line> = told
            .iter()
            .map(|(name, _)| line(&work(name), depth))
            .collect();
        PausedQueues::new(&names, &states, &configured).mark(&mut lines);
        for (line, (_, words)) in lines.iter().zip(told) {
            assert_eq!(line.paused, !words.is_empty(), "{line:?}");
            let attention = line.attention.as_deref().unwrap_or_default();
            assert!(
                words.iter().all(|word| attention.contains(word)),
                "{line:?}"
            );
        }
    }

    #[test]
    fn a_queue_is_known_with_and_without_its_namespace() {
        let names = Names::new(Namespace::default());
        for given in ["integrate.crm", "longshore.integrate.crm"] {
            assert_eq!(whole_name(given, &names), names.integrate("crm"));
            assert_eq!(short_name(given, &names), "integrate.crm");
        }
    }
}
