//! `[[destination]]`: one outside system that events are delivered to.

use std::fmt;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use super::stage::some_duration;
use super::{Breaker, Rate, Smtp, Webhook, duration};
use crate::event::{is_topic_pattern, topic_matches};
use crate::filter::Filter;
use crate::retry::RetryPolicy;
use crate::topology::is_destination_name;

/// One outside system.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Table")]
pub struct Destination {
    /// Its name: one word of its queue's name.
    pub name: String,
    /// Which events it gets: AMQP topic patterns of event types.
    pub types: Vec<String>,
    /// Which of these are due here, by what they say; all unless set.
    pub filter: Option<Filter>,
    /// How it is reached.
    pub transport: Transport,
    /// The waits after failed deliveries.
    pub retry: RetryPolicy,
    /// The most deliveries that all copies of the worker start in a time; no bound unless set.
    pub rate: Option<Rate>,
    /// How many deliveries all copies have under way at once.
    pub concurrency: usize,
    /// When it is left alone for a while; never unless set.
    pub breaker: Option<Breaker>,
    /// How long one delivery may take, answer included.
    pub timeout: Duration,
    /// The order that its deliveries keep; none unless set.
    pub order: Option<Order>,
}

/// The order that the deliveries of one key keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What becomes of those behind a delivery that is dead.
    pub on_dead: OnDead,
    /// How long after an event is stored an earlier one may come.
    pub within: Duration,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dead = match self.on_dead {
            OnDead::Hold => "holds behind a dead letter",
            OnDead::Skip => "skips dead letters",
        };
        write!(f, "by key, within {:?}; {dead}", self.within)
    }
}

/// What becomes of the deliveries behind one that is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDead {
    /// They wait until its dead letter is replayed or discarded.
    #[default]
    Hold,
    /// They go on without it.
    Skip,
}

/// How long after an event is stored an earlier one may come, unless set.
const ORDER_WITHIN: Duration = Duration::from_secs(1);

/// At most.
const LONGEST_WITHIN: Duration = Duration::from_secs(600);

/// What reaches an outside system.
#[derive(Debug, Clone)]
pub enum Transport {
    /// An HTTP endpoint.
    Webhook(Box<Webhook>),
    /// A mail server.
    Smtp(Box<Smtp>),
}

/// `[[destination]]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    #[serde(default = "every_type")]
    types: Vec<String>,
    r#where: Option<String>,
    webhook: Option<Box<Webhook>>,
    smtp: Option<Box<Smtp>>,
    #[serde(default)]
    retry: RetryPolicy,
    rate: Option<Rate>,
    #[serde(default = "concurrency")]
    concurrency: usize,
    breaker: Option<Breaker>,
    #[serde(default = "timeout", with = "duration")]
    timeout: Duration,
    #[serde(default)]
    ordered: bool,
    on_dead: Option<OnDead>,
    #[serde(default, deserialize_with = "some_duration")]
    order_within: Option<Duration>,
}

impl TryFrom<Table> for Destination {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let transport = match (table.webhook, table.smtp) {
            (Some(webhook), None) => Transport::Webhook(webhook),
            (None, Some(smtp)) => Transport::Smtp(smtp),
            (webhook, _) => {
                return Err(format!(
                    "destination {:?}: expected one of `webhook` and `smtp`, found {}",
                    table.name,
                    if webhook.is_some() { "both" } else { "none" }
                ));
            }
        };
        let filter = table.r#where.map(|source| Filter::parse(&source));
        let filter = filter.transpose().map_err(|error| {
            let name = &table.name;
            format!("destination {name:?}, key `where`, {error}")
        })?;
        let order = match (table.ordered, table.on_dead, table.order_within) {
            (true, on_dead, within) => Some(Order {
                on_dead: on_dead.unwrap_or_default(),
                within: within.unwrap_or(ORDER_WITHIN),
            }),
            (false, None, None) => None,
            (false, on_dead, _) => {
                return Err(format!(
                    "destination {:?}: expected `ordered = true` beside `{}`, found none",
                    table.name,
                    if on_dead.is_some() {
                        "on_dead"
                    } else {
                        "order_within"
                    }
                ));
            }
        };
        Ok(Self {
            order,
            name: table.name,
            types: table.types,
            filter,
            transport,
            retry: table.retry,
            rate: table.rate,
            concurrency: table.concurrency,
            breaker: table.breaker,
            timeout: table.timeout,
        })
    }
}

impl Destination {
    /// Whether events of this type are due here.
    pub fn takes(&self, kind: &str) -> bool {
        self.types
            .iter()
            .any(|pattern| topic_matches(pattern, kind))
    }

    /// An error, if any: the key, and the expected value.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        if !is_destination_name(&self.name) {
            return Some((
                "name",
                format!(
                    "expected up to 40 lower-case letters, digits, '_' or '-', found {:?}",
                    self.name
                ),
            ));
        }
        if self.types.is_empty() || self.types.iter().any(|pattern| !is_topic_pattern(pattern)) {
            let problem = "expected topic patterns such as [\"signup.*\"] or [\"#\"]".to_owned();
            return Some(("types", problem));
        }
        if self.concurrency == 0 {
            return Some(("concurrency", "expected at least 1, found 0".to_owned()));
        }
        if self.timeout.is_zero() {
            return Some(("timeout", "expected a time above 0s".to_owned()));
        }
        if let Some(order) = &self.order
            && order.within > LONGEST_WITHIN
        {
            let problem = format!(
                "expected at most {LONGEST_WITHIN:?}, found {:?}",
                order.within
            );
            return Some(("order_within", problem));
        }
        if let Some(problem) = self.breaker.as_ref().and_then(Breaker::problem) {
            return Some(("breaker", problem));
        }
        let problem = match &self.transport {
            Transport::Webhook(webhook) => webhook.problem(),
            Transport::Smtp(smtp) => smtp.problem(),
        };
        if problem.is_some() {
            return problem;
        }
        self.retry.problem().map(|(_, problem)| ("retry", problem))
    }
}

/// The first destination whose mail server has a user and no password, if any: the key, and the expected value.
pub(super) fn missing_password(destinations: &[Destination]) -> Option<(String, String)> {
    let lacks = |destination: &&Destination| match &destination.transport {
        Transport::Smtp(smtp) => smtp.lacks_password(),
        Transport::Webhook(_) => false,
    };
    let destination = destinations.iter().find(lacks)?;
    let problem = "expected a secret beside the user in `smtp.url`, found none".to_owned();
    Some((
        format!("destination.{}.smtp.password", destination.name),
        problem,
    ))
}

pub(super) fn every_type() -> Vec<String> {
    vec!["#".to_owned()]
}

fn concurrency() -> usize {
    32
}

fn timeout() -> Duration {
    Duration::from_secs(10)
}

/// `[outbound]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outbound {
    /// Private addresses that deliveries may reach all the same; plain `http` and mail without TLS are allowed to these.
    pub allow: Vec<IpNet>,
}
