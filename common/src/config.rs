//! Configuration: environment, then file (`LONGSHORE_CONFIG`), then default.
//!
//! A wrong or unknown key is an error that names the key, its place and the expected value. Every program reads the
//! same configuration and uses its own part, so one file serves them all.

mod destination;
pub mod duration;
mod kubernetes;
mod load;
mod login;
mod mask;
mod mistake;
mod rate;
mod secret;
mod stage;
mod url;

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

pub use destination::{Destination, Webhook};
pub use load::{ConfigError, load, load_from};
pub(crate) use login::EMBEDDED_LOGIN;
pub use mask::masked;
pub use rate::Rate;
pub use secret::{Secret, Secrets};
pub use stage::{StageConfig, StageSettings};
pub use url::ServiceUrl;

use crate::event::{Limits, TypeDefinition};
use crate::event::{PROCESSING_REQUESTED, SIGNUP_REQUESTED};
use crate::namespace::Namespace;
use crate::retry::LONGEST_WAIT;
use crate::topology::{Plan, Stage};

/// The whole configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Prefix of every name on the broker and name of the database schema (`LONGSHORE_NAMESPACE`).
    pub namespace: Namespace,
    /// Where to listen (`LONGSHORE_LISTEN`). The producer: its API, `127.0.0.1:8080` unless set.
    /// Workers: health and metrics, off unless set.
    pub listen: Option<SocketAddr>,
    /// The broker.
    pub broker: Broker,
    /// The database.
    pub database: Database,
    /// The secrets that hide values from others on the way.
    pub secrets: Secrets,
    /// The log.
    pub log: Log,
    /// Bounds on events.
    pub limits: LimitSettings,
    /// The door.
    pub producer: Producer,
    /// The settings of all workers.
    pub worker: Worker,
    /// The validate stage.
    pub validate: StageConfig,
    /// The store stage.
    pub store: StageConfig,
    /// The integrate stage; each destination sets its own concurrency, timeout and retry.
    pub integrate: StageConfig,
    /// The archive stage.
    pub archive: StageConfig,
    /// The stream of received events.
    pub history: History,
    /// Dead letters.
    pub dead: Dead,
    /// The standing watch.
    pub watch: Watch,
    /// Where deliveries may go.
    pub outbound: Outbound,
    /// The outside systems.
    #[serde(rename = "destination")]
    pub destinations: Vec<Destination>,
    /// Further event types.
    #[serde(rename = "type")]
    pub types: Vec<TypeDefinition>,
}

/// `[broker]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Broker {
    /// Its address (`LONGSHORE_BROKER_URL`): `amqp://`, `amqps://` (a virtual host `/` is `%2f`), or `sqlite:PATH` for
    /// the embedded engine, which uses few of the other keys.
    pub url: ServiceUrl,
    /// The login that the broker knows this program by, where the URL does not say so: with certificates
    /// (`auth_mechanism=external`) or tokens.
    pub login: Option<String>,
    /// The logins of all programs of this namespace (`LONGSHORE__BROKER__LOGINS`): their messages are believed. A
    /// program's own login always counts. The list is the same for every program.
    pub logins: Vec<String>,
    /// How long to wait for a connection, and for each answer on one.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How often both sides show that they live; a silent link is given up after twice as long.
    #[serde(with = "duration")]
    pub heartbeat: Duration,
    /// How long to wait for the broker to confirm a message.
    #[serde(with = "duration")]
    pub confirm_timeout: Duration,
    /// How many messages may wait for their confirm on one channel at once.
    pub window: usize,
    /// How many channels publish.
    pub publish_channels: usize,
}

impl Default for Broker {
    fn default() -> Self {
        Self {
            url: ServiceUrl::preset("sqlite:longshore-data/broker.db"),
            login: None,
            logins: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            heartbeat: Duration::from_secs(10),
            confirm_timeout: Duration::from_secs(10),
            window: 1000,
            publish_channels: 1,
        }
    }
}

/// `[database]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// Where it is (`LONGSHORE_DATABASE_URL`): `postgres://`, or `sqlite:PATH` for the embedded engine.
    pub url: ServiceUrl,
    /// The most connections one process opens.
    pub max_connections: u32,
    /// How long to wait for a connection.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How long one statement may take before the database ends it.
    #[serde(with = "duration")]
    pub statement_timeout: Duration,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            // A file of its own: broker and database each have their one writer.
            url: ServiceUrl::preset("sqlite:longshore-data/longshore.db"),
            max_connections: 4,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
        }
    }
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The logged levels and modules (`LONGSHORE_LOG`): a filter such as `info` or
    /// `info,common=debug`.
    pub filter: String,
    /// How it is written (`LONGSHORE_LOG_FORMAT`).
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For one person who watches: no date, no module. The default of `longshore dev`.
    Short,
    /// For machines: one JSON object a line.
    Json,
}

/// `[limits]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    /// The largest event, in bytes, at every door.
    pub event_bytes: usize,
    /// The largest batch at the HTTP door, in events.
    pub batch_events: usize,
    /// The largest HTTP request body, in bytes.
    pub request_bytes: usize,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            event_bytes: Limits::default().event_bytes,
            batch_events: 1000,
            request_bytes: 4 * 1024 * 1024,
        }
    }
}

impl LimitSettings {
    /// The limits the decoder knows.
    pub fn events(&self) -> Limits {
        Limits {
            event_bytes: self.event_bytes,
        }
    }
}

/// `[producer]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Producer {
    /// How long a request may take in all.
    #[serde(with = "duration")]
    pub request_timeout: Duration,
    /// Maximum of concurrent requests; more get 503.
    pub concurrent_requests: usize,
    /// How many passwords are hashed at once. Each takes about 20 MB and some tens of milliseconds
    /// of one core.
    pub concurrent_hashes: usize,
}

impl Default for Producer {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(15),
            concurrent_requests: 2048,
            concurrent_hashes: 2,
        }
    }
}

/// `[worker]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Worker {
    /// Maximum time of a stopping worker to finish its running calls.
    #[serde(with = "duration")]
    pub drain: Duration,
    /// The first and the longest wait between two looks at a dependency that is down.
    #[serde(with = "duration")]
    pub probe_first: Duration,
    /// See `probe_first`.
    #[serde(with = "duration")]
    pub probe_max: Duration,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            drain: Duration::from_secs(25),
            probe_first: Duration::from_millis(200),
            probe_max: Duration::from_secs(2),
        }
    }
}

/// `[history]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct History {
    /// How long received events are kept at least.
    #[serde(with = "duration")]
    pub keep: Duration,
}

impl Default for History {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// `[dead]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dead {
    /// How long a letter is kept after it was replayed or discarded; `longshore dead purge` removes
    /// older ones.
    #[serde(with = "duration")]
    pub retention: Duration,
}

impl Default for Dead {
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

/// `[watch]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Watch {
    /// Whether archive workers keep the standing watch, one of all copies at a time.
    pub enabled: bool,
    /// How long between two looks.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// How long an event may be on its way before it is missed.
    #[serde(with = "duration")]
    pub lag: Duration,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(5),
            lag: Duration::from_secs(10),
        }
    }
}

/// `[outbound]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outbound {
    /// Private addresses that webhooks may reach all the same; plain `http` is allowed to these.
    pub allow: Vec<IpNet>,
}

impl Config {
    /// The keys that shape the topology.
    pub fn plan(&self) -> Plan {
        let stages = Stage::ALL.map(|stage| self.stage(stage).retry.longest());
        let destinations = self.destinations.iter().map(|destination| {
            let turn = destination.rate.map(Rate::interval).unwrap_or_default();
            destination.retry.longest().max(turn.min(LONGEST_WAIT))
        });
        Plan {
            namespace: self.namespace.clone(),
            destinations: self
                .destinations
                .iter()
                .map(|destination| (destination.name.clone(), destination.types.clone()))
                .collect(),
            known_types: [SIGNUP_REQUESTED, PROCESSING_REQUESTED]
                .into_iter()
                .chain(self.types.iter().map(|kind| kind.name.as_str()))
                .map(str::to_owned)
                .collect(),
            longest_delay: stages
                .into_iter()
                .chain(destinations)
                .max()
                .unwrap_or_default(),
            history: self.history.keep,
            logins: self.broker.logins(),
        }
    }

    /// The settings of a stage, defaults filled in.
    pub fn stage(&self, stage: Stage) -> StageSettings {
        let config = match stage {
            Stage::Validate => &self.validate,
            Stage::Store => &self.store,
            Stage::Integrate => &self.integrate,
            Stage::Archive => &self.archive,
        };
        config.settings(stage)
    }

    /// The destination called `name`.
    pub fn destination(&self, name: &str) -> Option<&Destination> {
        self.destinations
            .iter()
            .find(|destination| destination.name == name)
    }

    /// An error beyond the reach of types: the key, and the expected and the found value.
    fn problem(&self) -> Option<(String, String)> {
        let wrong = |key: &str, problem: String| Some((key.to_owned(), problem));
        if let Err(problem) = self.broker.url.expect_scheme(&["amqp", "amqps"]) {
            return wrong("broker.url", problem);
        }
        if let Some((key, problem)) = self.broker.problem() {
            return wrong(&format!("broker.{key}"), problem);
        }
        if let Err(problem) = self.database.url.expect_scheme(&["postgres", "postgresql"]) {
            return wrong("database.url", problem);
        }
        for (key, value) in [
            ("broker.window", self.broker.window),
            ("broker.publish_channels", self.broker.publish_channels),
            (
                "database.max_connections",
                self.database.max_connections as usize,
            ),
            ("limits.event_bytes", self.limits.event_bytes),
            ("limits.batch_events", self.limits.batch_events),
            ("limits.request_bytes", self.limits.request_bytes),
            (
                "producer.concurrent_requests",
                self.producer.concurrent_requests,
            ),
            (
                "producer.concurrent_hashes",
                self.producer.concurrent_hashes,
            ),
        ] {
            if value == 0 {
                return wrong(key, "expected at least 1, found 0".to_owned());
            }
        }
        if let Some(problem) = self.secrets.problem() {
            return wrong("secrets.seal", problem);
        }
        if self.watch.interval.is_zero() {
            return wrong("watch.interval", "expected a time above 0s".to_owned());
        }
        for stage in Stage::ALL {
            if let Some((key, problem)) = self.stage(stage).problem() {
                return wrong(&format!("{stage}.{key}"), problem);
            }
        }
        let mut names = std::collections::HashSet::new();
        for destination in &self.destinations {
            if let Some((key, problem)) = destination.problem() {
                return wrong(&format!("destination.{}.{key}", destination.name), problem);
            }
            if !names.insert(&destination.name) {
                let problem = format!("expected each once, found {:?} twice", destination.name);
                return wrong("destination.name", problem);
            }
        }
        if let Err(error) = crate::event::Types::with(&self.types) {
            return wrong("type", error.to_string());
        }
        None
    }
}
