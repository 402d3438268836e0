//! Delay levels: how a message waits on the broker without a plugin, a timer or a worker.
//!
//! Level `k` is a queue whose messages all wait `250 ms × 2^k`, so none waits behind a longer one.
//! The levels are chained from the highest to the lowest by topic exchanges. A routing key spells
//! the delay in bits, highest first, then names the queue to come back to:
//! `0.….0.1.0.1.longshore.store` waits four units and one. Each exchange looks at its own bit: on `1`
//! the message goes into the level's queue, which dead-letters it to the next exchange when its time
//! is up; on `0` it goes straight there. The key has all [`LEVELS`] bits even where fewer levels are
//! declared, so that declaring more of them later changes nothing for messages under way.
//! The idea of chained levels of powers of two is NServiceBus's (its RabbitMQ transport, "delay
//! infrastructure").

use std::time::Duration;

use super::{Names, Queue, QueueKind, Target, Topology};

/// The shortest delay and the unit of all delays.
pub const BASE_DELAY: Duration = Duration::from_millis(250);

/// How many levels there can be: the longest delay is about 48 days.
pub const LEVELS: usize = 24;

/// How many of a retry delay's bits are kept: each set bit is one more hop on the broker.
const HOPS: u32 = 3;

/// How long level `level` holds a message.
pub fn level_wait(level: usize) -> Duration {
    BASE_DELAY * (1_u32 << level.min(LEVELS - 1))
}

/// How many levels a delay of `longest` needs: at least one.
pub fn levels_for(longest: Duration) -> usize {
    (u32::BITS - round_to_hops(units(longest)).leading_zeros()) as usize
}

/// The way of one delayed message: where to publish it and with which routing key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayRoute {
    /// The exchange to publish to.
    pub exchange: String,
    /// The delay in bits and the queue to come back to.
    pub routing_key: String,
    /// How long the message really waits: `delay` rounded to at most three hops.
    pub wait: Duration,
}

impl DelayRoute {
    /// The way back to `queue` after `delay`, which is rounded to its three highest bits (an error
    /// of at most one eighth) and to the reach of `levels` declared levels.
    pub fn new(names: &Names, queue: &str, delay: Duration, levels: usize) -> Self {
        let longest = (1_u32 << levels.clamp(1, LEVELS)) - 1;
        let units = round_to_hops(units(delay)).min(longest);
        let highest = (u32::BITS - 1 - units.leading_zeros()) as usize;
        let mut routing_key = String::with_capacity(2 * LEVELS + queue.len());
        for level in (0..LEVELS).rev() {
            routing_key.push(if units >> level & 1 == 1 { '1' } else { '0' });
            routing_key.push('.');
        }
        routing_key.push_str(queue);
        Self {
            exchange: names.delay_level(highest),
            routing_key,
            wait: BASE_DELAY * units,
        }
    }

    /// The queue that a message with this routing key comes back to when its delay is over; `None` for a
    /// key that spells no delay.
    pub fn target(routing_key: &str) -> Option<&str> {
        let (bits, target) = routing_key.split_at_checked(2 * LEVELS)?;
        let spelled = bits
            .as_bytes()
            .chunks(2)
            .all(|bit| matches!(bit, b"0." | b"1."));
        (spelled && !target.is_empty()).then_some(target)
    }
}

/// Declares levels `0..count` and the exchange behind them.
pub(super) fn add_levels(topology: &mut Topology, names: &Names, count: usize) {
    topology.exchanges.push(names.delayed());
    for level in 0..count {
        let name = names.delay_level(level);
        let next = if level == 0 {
            names.delayed()
        } else {
            names.delay_level(level - 1)
        };
        let before = "*.".repeat(LEVELS - 1 - level);
        topology.exchanges.push(name.clone());
        topology.bind(&name, &format!("{before}1.#"), Target::Queue(name.clone()));
        topology.bind(
            &name,
            &format!("{before}0.#"),
            Target::Exchange(next.clone()),
        );
        let ttl_ms = u64::try_from(level_wait(level).as_millis()).unwrap_or(u64::MAX);
        topology.queues.push(Queue {
            name,
            kind: QueueKind::Delay {
                ttl_ms,
                dead_letter_exchange: next,
            },
        });
    }
}

/// A delay in units of [`BASE_DELAY`], rounded to the nearest, at least one, at most all levels.
fn units(delay: Duration) -> u32 {
    let most = (1_u32 << LEVELS) - 1;
    let units = (delay.as_millis() + BASE_DELAY.as_millis() / 2) / BASE_DELAY.as_millis();
    u32::try_from(units).unwrap_or(most).clamp(1, most)
}

/// Rounds to the nearest number that has all of its set bits among its highest [`HOPS`] ones.
fn round_to_hops(units: u32) -> u32 {
    let bits = u32::BITS - units.leading_zeros();
    let Some(drop) = bits.checked_sub(HOPS).filter(|drop| *drop > 0) else {
        return units;
    };
    let most = (1_u32 << LEVELS) - 1;
    let rounded = (units + (1 << (drop - 1))) >> drop << drop;
    // At the very top no bit is left to round up into.
    if rounded > most {
        units >> drop << drop
    } else {
        rounded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::Namespace;
    use proptest::prelude::*;

    #[test]
    fn a_delayed_message_tells_where_it_comes_back_to() {
        let names = Names::new(Namespace::default());
        let queue = names.integrate("crm");
        let route = DelayRoute::new(&names, &queue, Duration::from_secs(5), LEVELS);
        assert_eq!(DelayRoute::target(&route.routing_key), Some(&*queue));
        for other in [
            "signup.requested",
            "0.1.longshore.store",
            "",
            &"0.".repeat(LEVELS),
        ] {
            assert_eq!(DelayRoute::target(other), None, "{other}");
        }
    }

    /// Follows a message through the declared exchanges and queues; returns where it ends, how long
    /// it waited and how many queues it passed.
    fn follow(topology: &Topology, route: &DelayRoute) -> (String, Duration, usize) {
        let mut at = route.exchange.clone();
        let mut waited = Duration::ZERO;
        let mut hops = 0;
        for _ in 0..100 {
            let matching: Vec<_> = topology
                .bindings
                .iter()
                .filter(|binding| binding.exchange == at)
                .filter(|binding| topic_matches(&binding.pattern, &route.routing_key))
                .collect();
            assert_eq!(matching.len(), 1, "exactly one way on from {at}");
            match &matching[0].to {
                Target::Exchange(next) => at.clone_from(next),
                Target::Queue(name) => {
                    let queue = topology.queues.iter().find(|queue| queue.name == *name);
                    match queue.map(|queue| &queue.kind) {
                        Some(QueueKind::Delay {
                            ttl_ms,
                            dead_letter_exchange,
                        }) => {
                            waited += Duration::from_millis(*ttl_ms);
                            hops += 1;
                            at.clone_from(dead_letter_exchange);
                        }
                        _ => return (name.clone(), waited, hops),
                    }
                }
            }
        }
        panic!("a message went round in circles")
    }

    fn topic_matches(pattern: &str, key: &str) -> bool {
        fn matches(pattern: &[&str], key: &[&str]) -> bool {
            match (pattern.split_first(), key.split_first()) {
                (None, None) => true,
                (Some((&"#", rest)), _) => {
                    matches(rest, key) || (!key.is_empty() && matches(pattern, &key[1..]))
                }
                (Some((&"*", rest)), Some((_, key))) => matches(rest, key),
                (Some((word, rest)), Some((first, key))) => word == first && matches(rest, key),
                _ => false,
            }
        }
        let words = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let (pattern, key) = (words(pattern), words(key));
        matches(
            &pattern.iter().map(String::as_str).collect::<Vec<_>>(),
            &key.iter().map(String::as_str).collect::<Vec<_>>(),
        )
    }

    fn topology(longest: Duration) -> (Names, Topology) {
        let namespace = Namespace::default();
        let plan = super::super::Plan {
            namespace: namespace.clone(),
            destinations: vec![("crm".to_owned(), vec!["#".to_owned()])],
            known_types: vec!["signup.requested".to_owned()],
            longest_delay: longest,
            history: Duration::from_secs(60),
            logins: crate::event::Logins::default(),
        };
        (Names::new(namespace), Topology::new(&plan))
    }

    #[test]
    fn levels_double() {
        assert_eq!(level_wait(0), Duration::from_millis(250));
        assert_eq!(level_wait(2), Duration::from_secs(1));
        assert_eq!(levels_for(Duration::ZERO), 1);
        assert_eq!(levels_for(Duration::from_millis(750)), 2);
        assert_eq!(levels_for(Duration::from_secs(u64::MAX)), LEVELS);
    }

    proptest! {
        #[test]
        fn every_delay_comes_back_to_its_queue_in_time(
            millis in 0_u64..40 * 24 * 3_600_000,
            suspect in any::<bool>(),
        ) {
            let delay = Duration::from_millis(millis);
            let (names, topology) = topology(delay);
            let mut queue = names.integrate("crm");
            if suspect {
                queue = Names::suspect(&queue);
            }
            let route = DelayRoute::new(&names, &queue, delay, levels_for(delay));
            let (end, waited, hops) = follow(&topology, &route);
            prop_assert_eq!(end, queue);
            prop_assert_eq!(waited, route.wait);
            prop_assert!(hops <= 3);
            let error = waited.as_secs_f64() - delay.as_secs_f64().max(0.25);
            prop_assert!(error.abs() <= delay.as_secs_f64() / 8.0 + 0.125 + 1e-9, "{error}");
        }
    }

    #[test]
    fn a_delay_beyond_the_declared_levels_waits_as_long_as_they_can() {
        let names = Names::new(Namespace::default());
        let route = DelayRoute::new(&names, "q", Duration::from_secs(3600), 2);
        assert_eq!(route.wait, Duration::from_millis(750));
        assert_eq!(route.exchange, "longshore.delay.01");
    }
}
