//! Which queues a message goes to: the topology of the file, in memory.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::{Row as _, SqliteConnection};

use crate::event::topic_matches;
use crate::sqlite::Error;
use crate::topology::{Argument, Queue as Declared, Target};

/// All exchanges, queues and bindings of a file, as of one version of its topology.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// `state.topology` when this was read.
    pub(super) version: i64,
    exchanges: HashSet<String>,
    queues: HashMap<String, Queue>,
    names: HashMap<i64, String>,
    /// By exchange: pattern and target.
    bindings: HashMap<String, Vec<(String, Target)>>,
}

/// A queue of the file.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    /// Its row.
    pub(super) id: i64,
    /// The arguments of its declaration.
    pub(super) arguments: Arguments,
}

/// Longer than anything waits, in microseconds, and far from the end of numbers.
const FOR_EVER: i64 = i64::MAX / 4;

/// The arguments of a queue by name.
pub(super) type Arguments = BTreeMap<String, serde_json::Value>;

/// Where one copy of a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Into a queue, for consumers.
    Queue(i64),
    /// Into a stream, to be read again.
    Stream(i64),
}

/// A delay level. Here nothing waits in it: a delayed message waits in its own queue. The level stands for the messages
/// that wait about as long as its name says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Level {
    /// The prefix of its queues' names.
    pub(super) namespace: String,
    /// In microseconds from now.
    pub(super) longer_than: i64,
    /// In microseconds from now.
    pub(super) at_most: i64,
}

/// Why a message goes nowhere; the words of RabbitMQ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Nowhere {
    /// There is no such exchange.
    NoExchange,
    /// Nothing is bound that takes it.
    NoRoute,
}

impl Queue {
    /// Whether it is a stream.
    pub(super) fn is_stream(&self) -> bool {
        self.text("x-queue-type") == Some("stream")
    }

    /// How long a stream keeps its entries, in seconds.
    pub(super) fn max_age(&self) -> Option<i64> {
        self.text("x-max-age")?.strip_suffix('s')?.parse().ok()
    }

    /// The exchange and the routing key of its dead letters, if they go anywhere.
    pub(super) fn dead_letters(&self) -> Option<(&str, Option<&str>)> {
        let exchange = self.text("x-dead-letter-exchange")?;
        Some((exchange, self.text("x-dead-letter-routing-key")))
    }

    /// The value of an argument, for people.
    pub(super) fn shown(&self, argument: &str) -> String {
        match self.arguments.get(argument) {
            None => "nothing".to_owned(),
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    fn text(&self, argument: &str) -> Option<&str> {
        self.arguments.get(argument)?.as_str()
    }

    fn place(&self) -> Place {
        if self.is_stream() {
            Place::Stream(self.id)
        } else {
            Place::Queue(self.id)
        }
    }
}

/// The arguments that a queue is to be declared with.
pub(super) fn arguments(queue: &Declared) -> Arguments {
    let value = |argument| match argument {
        Argument::Text(text) => serde_json::Value::from(text),
        Argument::Int(number) => serde_json::Value::from(number),
    };
    queue
        .arguments()
        .into_iter()
        .map(|(name, argument)| (name.to_owned(), value(argument)))
        .collect()
}

impl Routes {
    /// Reads them.
    pub(super) async fn load(connection: &mut SqliteConnection) -> Result<Self, Error> {
        let mut routes = Self::default();
        let row = sqlx::query("SELECT topology FROM state")
            .fetch_one(&mut *connection)
            .await?;
        routes.version = row.try_get(0)?;
        for row in sqlx::query("SELECT name FROM exchanges")
            .fetch_all(&mut *connection)
            .await?
        {
            routes.exchanges.insert(row.try_get(0)?);
        }
        for row in sqlx::query("SELECT id, name, arguments FROM queues")
            .fetch_all(&mut *connection)
            .await?
        {
            let (id, name): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
            let arguments = serde_json::from_str(row.try_get(2)?).map_err(|error| {
                Error::Fault(format!(
                    "the arguments of queue {name:?} cannot be read: {error}"
                ))
            })?;
            routes.names.insert(id, name.clone());
            routes.queues.insert(name, Queue { id, arguments });
        }
        for row in sqlx::query("SELECT exchange, pattern, target, to_queue FROM bindings")
            .fetch_all(&mut *connection)
            .await?
        {
            let target = row.try_get(2)?;
            let target = if row.try_get(3)? {
                Target::Queue(target)
            } else {
                Target::Exchange(target)
            };
            let bound = routes.bindings.entry(row.try_get(0)?).or_default();
            bound.push((row.try_get(1)?, target));
        }
        Ok(routes)
    }

    pub(super) fn has_exchange(&self, name: &str) -> bool {
        self.exchanges.contains(name)
    }

    pub(super) fn queue(&self, name: &str) -> Option<&Queue> {
        self.queues.get(name)
    }

    /// The queue of a row, and its name.
    pub(super) fn queue_of(&self, id: i64) -> Option<(&str, &Queue)> {
        let name = self.names.get(&id)?;
        Some((name, self.queues.get(name)?))
    }

    /// The delay level of that name.
    pub(super) fn level(&self, name: &str) -> Option<Level> {
        let ttl = self.queue(name)?.arguments.get("x-message-ttl")?.as_i64()?;
        let (levels, number) = name.rsplit_once('.')?;
        let (namespace, _) = levels.rsplit_once('.')?;
        let next = number.parse::<usize>().ok()?.saturating_add(1);
        let is_last = self.queue(&format!("{levels}.{next:02}")).is_none();
        let wait = ttl.saturating_mul(1000);
        Some(Level {
            namespace: format!("{namespace}."),
            longer_than: if next == 1 { 0 } else { wait },
            at_most: if is_last {
                FOR_EVER
            } else {
                wait.saturating_mul(2)
            },
        })
    }

    pub(super) fn streams(&self) -> impl Iterator<Item = &Queue> {
        self.queues.values().filter(|queue| queue.is_stream())
    }

    /// Exchange, pattern and target of every binding.
    pub(super) fn bindings(&self) -> impl Iterator<Item = (&str, &str, &Target)> {
        self.bindings.iter().flat_map(|(exchange, bound)| {
            let each = bound.iter();
            each.map(move |(pattern, to)| (exchange.as_str(), pattern.as_str(), to))
        })
    }

    pub(super) fn is_bound(&self, exchange: &str, pattern: &str, to: &Target) -> bool {
        self.bindings.get(exchange).is_some_and(|bound| {
            bound
                .iter()
                .any(|(found, target)| found == pattern && target == to)
        })
    }

    /// Where a message goes that is published to `exchange`; the default exchange leads to the queue
    /// that the routing key names.
    pub(super) fn route(&self, exchange: &str, routing_key: &str) -> Result<Vec<Place>, Nowhere> {
        if exchange.is_empty() {
            let queue = self.queues.get(routing_key).ok_or(Nowhere::NoRoute)?;
            return Ok(vec![queue.place()]);
        }
        if !self.exchanges.contains(exchange) {
            return Err(Nowhere::NoExchange);
        }
        let mut places = Vec::new();
        let mut exchanges = vec![exchange];
        let mut next = 0;
        while let Some(exchange) = exchanges.get(next).copied() {
            next += 1;
            for (pattern, target) in self.bindings.get(exchange).into_iter().flatten() {
                if !topic_matches(pattern, routing_key) {
                    continue;
                }
                match target {
                    Target::Queue(name) => {
                        places.extend(self.queues.get(name).map(Queue::place));
                    }
                    Target::Exchange(name) if !exchanges.contains(&name.as_str()) => {
                        exchanges.push(name);
                    }
                    Target::Exchange(_) => {}
                }
            }
        }
        if places.is_empty() {
            return Err(Nowhere::NoRoute);
        }
        // However many bindings lead there, a queue gets it once.
        places.sort_unstable();
        places.dedup();
        Ok(places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes {
        let queue = |id, kind: &str| Queue {
            id,
            arguments: [("x-queue-type".to_owned(), kind.into())].into(),
        };
        let to = |name: &str| Target::Queue(name.to_owned());
        Routes {
            exchanges: ["a", "b"].map(str::to_owned).into(),
            queues: [
                ("one".to_owned(), queue(1, "quorum")),
                ("two".to_owned(), queue(2, "quorum")),
                ("log".to_owned(), queue(3, "stream")),
            ]
            .into(),
            bindings: [
                (
                    "a".to_owned(),
                    vec![
                        ("signup.*".to_owned(), to("one")),
                        ("signup.requested".to_owned(), to("one")),
                        ("#".to_owned(), to("log")),
                        ("over.#".to_owned(), Target::Exchange("b".to_owned())),
                    ],
                ),
                (
                    "b".to_owned(),
                    vec![
                        ("#".to_owned(), to("two")),
                        ("#".to_owned(), Target::Exchange("a".to_owned())),
                    ],
                ),
            ]
            .into(),
            ..Routes::default()
        }
    }

    #[test]
    fn a_message_goes_once_to_each_queue_that_takes_it() {
        let routes = routes();
        let signup = routes.route("a", "signup.requested");
        assert_eq!(signup, Ok(vec![Place::Queue(1), Place::Stream(3)]));
        let other = routes.route("a", "other");
        assert_eq!(other, Ok(vec![Place::Stream(3)]));
    }

    #[test]
    fn exchanges_lead_to_exchanges_and_never_round_in_circles() {
        let over = routes().route("a", "over.there");
        assert_eq!(over, Ok(vec![Place::Queue(2), Place::Stream(3)]));
    }

    #[test]
    fn the_levels_of_delay_divide_all_waits_among_them() {
        let level = |ttl: i64| Queue {
            id: ttl,
            arguments: [("x-message-ttl".to_owned(), ttl.into())].into(),
        };
        let mut routes = routes();
        for (name, ttl) in [
            ("ns.delay.00", 250),
            ("ns.delay.01", 500),
            ("ns.delay.02", 1000),
        ] {
            routes.queues.insert(name.to_owned(), level(ttl));
        }
        let level = |name| {
            let level = routes.level(name);
            level.map(|level| (level.namespace, level.longer_than, level.at_most))
        };
        let ns = || "ns.".to_owned();
        assert_eq!(level("ns.delay.00"), Some((ns(), 0, 500_000)));
        assert_eq!(level("ns.delay.01"), Some((ns(), 500_000, 1_000_000)));
        assert_eq!(level("ns.delay.02"), Some((ns(), 1_000_000, FOR_EVER)));
        assert_eq!(level("one"), None);
    }

    #[test]
    fn the_default_exchange_leads_to_the_queue_of_that_name() {
        assert_eq!(routes().route("", "two"), Ok(vec![Place::Queue(2)]));
        assert_eq!(routes().route("", "three"), Err(Nowhere::NoRoute));
        assert_eq!(routes().route("c", "two"), Err(Nowhere::NoExchange));
    }
}
