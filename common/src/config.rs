//! Configuration: environment, then file (`LONGSHORE_CONFIG`), then default.
//!
//! A wrong or unknown key is an error that names the key, its place and the expected value. Every program reads the
//! same configuration and uses its own part, so one file serves them all.

mod auth;
mod breaker;
mod claim;
mod confirmation;
mod contents;
mod destination;
mod door;
mod engines;
mod files;
mod hash;
mod issuer;
mod key_set_location;
mod kubernetes;
mod load;
mod log;
mod login;
mod mask;
mod mistake;
mod operator;
mod rate;
mod reload;
mod secret;
mod share;
mod smtp;
mod source;
mod stage;
mod tls;
mod url;
mod webhook;
mod worker;

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

pub use auth::{Auth, DoorMode, FormMode};
pub use breaker::Breaker;
pub use claim::ClaimPath;
pub use confirmation::Confirmation;
pub use contents::Contents;
pub use destination::{Destination, OnDead, Order, Outbound, Transport};
pub use door::{LimitSettings, Producer};
pub use engines::{Broker, Database};
pub use hash::ConfigHash;
pub use issuer::{ClaimGrant, TokenIssuer};
pub use key_set_location::KeySetLocation;
pub use load::{ConfigError, Sources, load, load_from, variables_of_process};
pub use log::{Log, LogFormat};
pub(crate) use login::EMBEDDED_LOGIN;
pub use mask::masked;
pub use operator::{OPERATOR_KEY, operator_key};
pub use rate::Rate;
pub use reload::{FIXED, RELOADED, Reading};
pub use secret::{Secret, Secrets};
pub use smtp::{MailServer, Mailbox, Protection, Scheme, Smtp};
pub use source::WebhookSource;
pub use stage::{StageConfig, StageSettings};
pub use tls::{DoorTls, Identity, LinkTls};
pub use url::ServiceUrl;
pub use webhook::{
    Authentication, ClientCredentials, TemplateFile, UserPassword, Webhook, WebhookBody,
    WebhookMethod,
};
pub use worker::Worker;

pub use crate::duration;

use crate::event::{PROCESSING_REQUESTED, SIGNUP_CONFIRMED, SIGNUP_REQUESTED, TypeDefinition};
use crate::key::KnownKey;
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
    /// Who may come in at the door.
    pub auth: Auth,
    /// Keys beside those in the database.
    #[serde(rename = "key")]
    pub keys: Vec<KnownKey>,
    /// The links that confirm signups.
    pub confirmation: Confirmation,
    /// Issuers whose tokens open the door as keys do.
    #[serde(rename = "issuer")]
    pub issuers: Vec<TokenIssuer>,
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
    /// The providers whose signed webhooks become events.
    #[serde(rename = "source")]
    pub sources: Vec<WebhookSource>,
    /// Further event types.
    #[serde(rename = "type")]
    pub types: Vec<TypeDefinition>,
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
            known_types: self.known_types(),
            longest_delay: stages
                .into_iter()
                .chain(destinations)
                .max()
                .unwrap_or_default(),
            history: self.history.keep,
            logins: self.broker.logins(),
        }
    }

    /// The names of the event types, built in and configured.
    fn known_types(&self) -> Vec<String> {
        let configured = self.types.iter().map(|kind| kind.name.as_str());
        let built_in = [SIGNUP_REQUESTED, SIGNUP_CONFIRMED, PROCESSING_REQUESTED];
        built_in
            .into_iter()
            .chain(configured)
            .map(str::to_owned)
            .collect()
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

    /// The source called `name`.
    pub fn source(&self, name: &str) -> Option<&WebhookSource> {
        self.sources.iter().find(|source| source.name == name)
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
        if let Some((key, problem)) = self.database.problem() {
            return wrong(&format!("database.{key}"), problem);
        }
        if let Some((key, problem)) = self.producer.tls.problem() {
            return wrong(&format!("producer.{key}"), problem);
        }
        if let Some(key) = self.zero() {
            return wrong(key, "expected at least 1, found 0".to_owned());
        }
        if let Some(problem) = self.secrets.problem() {
            return wrong("secrets.seal", problem);
        }
        if let Some((key, problem)) = self.confirmation.problem() {
            return wrong(&format!("confirmation.{key}"), problem);
        }
        if self.watch.interval.is_zero() {
            return wrong("watch.interval", "expected a time above 0s".to_owned());
        }
        for stage in Stage::ALL {
            if let Some((key, problem)) = self.stage(stage).problem() {
                return wrong(&format!("{stage}.{key}"), problem);
            }
        }
        if let Some(problem) = self.destination_problem() {
            return Some(problem);
        }
        let mut hashes = std::collections::HashSet::new();
        for key in &self.keys {
            if let Some((part, problem)) = key.problem() {
                return wrong(&format!("key.{}.{part}", key.name), problem);
            }
            if !hashes.insert(key.hash) {
                let problem = format!("expected each key once, found that of {} twice", key.name);
                return wrong("key.sha256", problem);
            }
        }
        if let Some(problem) = issuer::problem(&self.issuers) {
            return Some(problem);
        }
        if let Err(error) = crate::event::Types::with(&self.types) {
            return wrong("type", error.to_string());
        }
        source::problem(&self.sources, &self.known_types())
    }

    fn destination_problem(&self) -> Option<(String, String)> {
        let mut names = std::collections::HashSet::new();
        for destination in &self.destinations {
            let wrong = |key: &str, problem: String| {
                Some((format!("destination.{}.{key}", destination.name), problem))
            };
            if let Some((key, problem)) = destination.problem() {
                return wrong(key, problem);
            }
            if destination.order.is_some() && !self.watch.enabled {
                let problem = "expected `watch.enabled = true`, found false: the watch lets those behind a dead letter go on";
                return wrong("ordered", problem.to_owned());
            }
            if !names.insert(&destination.name) {
                let problem = format!("expected each once, found {:?} twice", destination.name);
                return Some(("destination.name".to_owned(), problem));
            }
        }
        None
    }

    /// The first key whose number must be at least 1 and is not.
    fn zero(&self) -> Option<&'static str> {
        let numbers = [
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
        ];
        let zero = numbers.into_iter().find(|(_, number)| *number == 0);
        zero.map(|(key, _)| key)
    }
}
