//! The messages in the queues, and the part of them that was looked at.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use common::bootstrap::Failure;
use common::broker::{Broker, BrokerError, Depth, HistoryEntry, Waiting};
use common::event::{EventId, header};
use common::topology::{LEVELS, Names, Queue, QueueKind, Stage, Topology};
use tokio::time::Instant;
use uuid::Uuid;

use super::Surveyor;
use super::spill::Line;
use crate::history::Judge;

/// Maximum of messages that one look at all queues sees, where a look leaves a trace.
const MAX_LOOKED: usize = 20_000;

/// Maximum of messages that one look at all queues sees, where a look leaves no trace.
const MAX_LOOKED_FREELY: usize = 200_000;

/// How long a look is good for: each one counts as giving out every message it sees.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The messages seen in queues, one by one.
#[derive(Debug, Default)]
pub struct Look {
    /// Events and letters, each with the destination whose queue it waits in or comes back to.
    found: HashSet<(Uuid, Option<String>)>,
    /// How many messages there are of each entry key.
    entries: HashMap<Uuid, u64>,
    /// The events that the last look saw on their way to each destination.
    delayed: HashMap<String, HashSet<Uuid>>,
    /// Queues that hold more than was looked at.
    pub unseen: Vec<String>,
}

impl Look {
    /// Whether an event was seen on its way to the tables.
    pub fn has_event(&self, key: Uuid) -> bool {
        self.found.contains(&(key, None))
    }

    /// Whether an event was seen on its way to a destination.
    pub fn has_delivery(&self, event: Uuid, destination: &str) -> bool {
        self.found.contains(&(event, Some(destination.to_owned())))
    }

    /// Whether a line was seen on its way to the tables: its event, or the letter that it may become.
    pub(super) fn has(&self, line: &Line) -> bool {
        self.has_event(Uuid::from_u128(line.key)) || self.has_event(line.letter())
    }

    /// The events that the last look saw on their way to a destination.
    pub(super) fn delayed(&self, destination: &str) -> Vec<EventId> {
        let events = self.delayed.get(destination).into_iter().flatten();
        events.map(|event| EventId(*event)).collect()
    }

    /// How many messages of each entry key were seen at the last look on their way to the tables. Different messages
    /// may share one.
    pub(super) fn entries(&self) -> HashMap<Uuid, u64> {
        self.entries.clone()
    }

    /// Notes a message under every id that it may be asked for by.
    fn note(&mut self, judge: &Judge, names: &Names, waiting: Waiting) {
        let Waiting {
            queue,
            routing_key,
            message,
        } = waiting;
        // A dead letter tells in which queue it died.
        let died_in = message.headers.text(header::QUEUE).map(str::to_owned);
        let place = match names.stage_of(&queue) {
            Some((Stage::Archive, _)) | None => died_in.unwrap_or(queue),
            Some(_) => queue,
        };
        let id = message.message_id.as_deref();
        let id: Option<Uuid> = id.and_then(|id| id.parse().ok());
        match names.stage_of(&place) {
            Some((Stage::Integrate, destination)) => {
                if let (Some(id), Some(destination)) = (id, destination) {
                    let delayed = self.delayed.entry(destination.to_owned()).or_default();
                    delayed.insert(id);
                    self.found.insert((id, Some(destination.to_owned())));
                }
            }
            Some((Stage::Store, _)) => self.found.extend(id.map(|id| (id, None))),
            _ => {
                self.found.extend(id.map(|id| (id, None)));
                let identity = judge.identify(HistoryEntry {
                    offset: 0,
                    time: None,
                    routing_key,
                    message,
                });
                self.found.insert((identity.key(), None));
                self.found.insert((identity.letter, None));
                if let Some(key) = identity.entry_key {
                    *self.entries.entry(key).or_default() += 1;
                }
            }
        }
    }

    async fn add_queue(
        &mut self,
        parts: &Parts<'_>,
        queue: &str,
        budget: &mut usize,
    ) -> Result<(), BrokerError> {
        let mut seen = 0;
        let mut note = |waiting| {
            seen += 1;
            self.note(parts.judge, parts.names, waiting);
        };
        let all = parts.broker.look(queue, *budget, &mut note).await;
        match all {
            Ok(true) => {}
            Ok(false) => self.unseen.push(queue.to_owned()),
            // Deleted since it was asked for.
            Err(BrokerError::NoSuchQueue(_)) => {}
            Err(error) => return Err(error),
        }
        *budget = budget.saturating_sub(seen);
        Ok(())
    }
}

/// The dependencies of a look.
struct Parts<'p> {
    broker: &'p dyn Broker,
    names: &'p Names,
    judge: &'p Judge,
}

/// Looks at delayed and parked messages one by one. These queues have no consumers.
///
/// # Errors
/// The broker cannot be asked.
pub async fn look_into_delays(
    broker: &dyn Broker,
    topology: &Topology,
    names: &Names,
    judge: &Judge,
) -> Result<Look, BrokerError> {
    let parts = Parts {
        broker,
        names,
        judge,
    };
    let freely = broker.looks_leave_no_trace();
    let mut budget = if freely {
        MAX_LOOKED_FREELY
    } else {
        MAX_LOOKED
    };
    let mut look = Look::default();
    for queue in topology
        .queues
        .iter()
        .chain(&former_levels(topology, names))
    {
        // An engine without levels keeps a delayed message in the queue that it comes back to.
        let waits = match queue.kind {
            QueueKind::Delay { .. } => !freely,
            QueueKind::Work { .. } => freely,
            QueueKind::Parked => true,
            QueueKind::Stream { .. } => false,
        };
        if waits {
            look.add_queue(&parts, &queue.name, &mut budget).await?;
        }
    }
    Ok(look)
}

/// A queue, or two that follow one another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ready {
    /// Messages that wait and were not looked at one by one.
    pub(super) ready: u64,
    /// Whether a worker may have some of its messages in hand.
    pub(super) is_consumed: bool,
}

/// The state of all queues.
#[derive(Debug, Default)]
pub(super) struct Scene {
    /// The queues that are not empty.
    pub(super) counts: BTreeMap<String, u64>,
    /// The way to the tables.
    pub(super) before: Ready,
    /// By destination.
    pub(super) destinations: HashMap<String, Ready>,
    /// Messages that were looked at.
    pub(super) look: Look,
    /// Queues that hold messages which were not looked at, in no order; each with its destination, if it belongs to one
    /// alone.
    pub(super) hidden: Vec<(Option<String>, String)>,
    /// Whether it was looked into them, and not only asked how full they are.
    pub(super) is_fresh: bool,
    looked_at: Option<Instant>,
}

/// How many of a queue's messages were looked at one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    None,
    Part,
    Whole,
}

impl Scene {
    /// Asks for the depth of every queue, and looks into those where that harms nothing, always at the last look. A
    /// message found waiting once counts as found.
    pub(super) async fn look(
        &mut self,
        surveyor: &Surveyor<'_>,
        is_last: bool,
    ) -> Result<(), Failure> {
        let freely = surveyor.broker.looks_leave_no_trace();
        let due = self.looked_at.is_none_or(|at| at.elapsed() >= LOOK_EVERY);
        let parts = Parts {
            broker: surveyor.broker,
            names: surveyor.names,
            judge: surveyor.judge,
        };
        let mut budget = if freely {
            MAX_LOOKED_FREELY
        } else {
            MAX_LOOKED
        };
        let mut scene = Self {
            look: std::mem::take(&mut self.look),
            looked_at: self.looked_at,
            is_fresh: freely || due || is_last,
            ..Self::default()
        };
        if scene.is_fresh {
            scene.look.unseen.clear();
            scene.look.entries.clear();
            scene.look.delayed.clear();
            scene.looked_at = Some(Instant::now());
        }
        // First the depth of all: a message that leaves a delay meanwhile is then not counted in its queue as well.
        let former = former_levels(surveyor.topology, surveyor.names);
        let queues = surveyor.topology.queues.iter().chain(&former);
        let queues = queues.filter(|queue| !matches!(queue.kind, QueueKind::Stream { .. }));
        let mut depths = Vec::new();
        for queue in queues {
            let depth = surveyor.broker.depth(&queue.name).await?;
            depths.push((queue, depth.unwrap_or_default()));
        }
        for (queue, depth) in depths {
            if depth.messages > 0 {
                scene.counts.insert(queue.name.clone(), depth.messages);
            }
            let harmless = freely || is_idle(surveyor.names, queue, depth);
            if harmless && scene.is_fresh && (freely || depth.messages > 0) {
                scene
                    .look
                    .add_queue(&parts, &queue.name, &mut budget)
                    .await?;
            }
            let sight = match harmless {
                false => Sight::None,
                true if scene.look.unseen.contains(&queue.name) => Sight::Part,
                true => Sight::Whole,
            };
            scene.count(surveyor.names, queue, depth, sight);
        }
        *self = scene;
        Ok(())
    }

    fn count(&mut self, names: &Names, queue: &Queue, depth: Depth, sight: Sight) {
        let aside = Names::is_suspect(&queue.name);
        let stage = names.stage_of(&queue.name);
        let line = match (stage, aside) {
            _ if sight == Sight::Part => None,
            (Some((Stage::Validate | Stage::Store, _)), false) => Some(&mut self.before),
            (Some((Stage::Integrate, Some(destination))), false) => {
                Some(self.destinations.entry(destination.to_owned()).or_default())
            }
            _ => None,
        };
        match line {
            Some(line) if sight == Sight::None => {
                line.ready += depth.messages;
                line.is_consumed |= depth.consumers > 0;
            }
            None if sight != Sight::Whole && depth.messages > 0 => {
                let destination = stage.and_then(|(_, destination)| destination);
                let hidden = (destination.map(str::to_owned), queue.name.clone());
                self.hidden.push(hidden);
            }
            _ => {}
        }
    }

    /// Why something may be where nobody looked: on its way to the tables, or to a destination.
    pub(super) fn hidden(&self, destination: Option<&str>) -> Option<String> {
        let may_be = self.hidden.iter().filter(|(belongs_to, queue)| {
            match (belongs_to.as_deref(), destination) {
                (Some(one), asked) => asked == Some(one),
                // The suspects of a stage before have no delivery.
                (None, Some(_)) => !self.is_before(queue),
                (None, None) => true,
            }
        });
        let queues: Vec<&str> = may_be.map(|(_, queue)| queue.as_str()).collect();
        (!queues.is_empty()).then(|| unseen(&queues))
    }

    fn is_before(&self, queue: &str) -> bool {
        let base = Names::without_suspect(queue);
        base.ends_with(".validate") || base.ends_with(".store")
    }
}

/// That something may be in queues that were not looked into.
pub(super) fn unseen(queues: &[&str]) -> String {
    format!(
        "it may be in {}, which cannot be looked into without harm",
        queues.join(", ")
    )
}

/// Delay levels that the topology does not have: messages of a formerly longer wait may still be there.
fn former_levels(topology: &Topology, names: &Names) -> Vec<Queue> {
    let levels = (0..LEVELS).map(|level| Queue {
        name: names.delay_level(level),
        kind: QueueKind::Delay {
            ttl_ms: 0,
            dead_letter_exchange: String::new(),
        },
    });
    let is_known = |name: &str| topology.queues.iter().any(|queue| queue.name == name);
    levels.filter(|queue| !is_known(&queue.name)).collect()
}

/// Whether looking into a queue harms nothing: nobody takes from it whom a message would seem to have failed.
/// For the archive, unlike the other workers, a message that came back is as good as any.
fn is_idle(names: &Names, queue: &Queue, depth: Depth) -> bool {
    match queue.kind {
        QueueKind::Delay { .. } | QueueKind::Parked => true,
        QueueKind::Stream { .. } => false,
        QueueKind::Work { .. } => {
            let archive = matches!(names.stage_of(&queue.name), Some((Stage::Archive, _)));
            let aside = Names::is_suspect(&queue.name);
            archive && !aside && depth.consumers == 0
        }
    }
}
