//! Where messages and rows are: `[broker]` and `[database]`.

use std::time::Duration;

use serde::Deserialize;

use super::{LinkTls, ServiceUrl, duration};

/// `[broker]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Broker {
    /// Where it is (`LONGSHORE_BROKER_URL`): `amqp://`, `amqps://` (a virtual host `/` is `%2f`), or
    /// `sqlite:PATH` for the embedded engine, which has no use for most of the other keys.
    pub url: ServiceUrl,
    /// The login that the broker knows this program by, where the URL does not say so: with certificates
    /// (`auth_mechanism=external`) or tokens.
    pub login: Option<String>,
    /// The logins of all programs of this namespace (`LONGSHORE__BROKER__LOGINS`): what they publish is
    /// believed. The own one is always among them. The same list everywhere.
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
    /// Certificates of the link, for `amqps://`.
    pub tls: LinkTls,
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
            tls: LinkTls::default(),
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
    /// Certificates of the link. With any of them, the database must show a certificate for the host in its URL.
    pub tls: LinkTls,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            // A file of its own: broker and database each have their one writer.
            url: ServiceUrl::preset("sqlite:longshore-data/longshore.db"),
            max_connections: 4,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            tls: LinkTls::default(),
        }
    }
}

impl Database {
    /// An error of the certificates: the key, and the expected and the found value.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        self.tls.problem_at_database(&self.url)
    }
}
