//! How and as whom to connect.

use std::fmt;
use std::time::Duration;

use lapin::uri::AMQPUri;

use crate::broker::BrokerError;
use crate::config::{self, LinkTls};

/// The largest frame we ask for, in bytes: RabbitMQ's own default, so it changes nothing but this: lapin
/// then makes its buffers (2 x 32 frames a connection) in one piece from untouched memory. Where it learns
/// the size from the broker it grows them, which touches all 8 MiB of each connection.
pub(super) const FRAME_MAX: u32 = 131_072;

/// How and as whom to connect.
pub(super) struct Settings {
    pub(super) uri: AMQPUri,
    /// Host and port, for people.
    pub(super) address: String,
    /// Whom the broker vouches for; unknown where it takes the name from a certificate and nobody says it.
    pub(super) user: Option<String>,
    /// What operators see beside the connections of this process.
    pub(super) name: String,
    /// How long to wait for any one answer.
    pub(super) patience: Duration,
    /// How large a body that is delivered may be, where its queue has no lower limit.
    pub(super) body_limit: usize,
    /// The certificates of an `amqps://` link.
    pub(super) tls: LinkTls,
}

impl Settings {
    /// Reads the configuration. `name` is what operators see.
    pub(super) fn new(
        config: &config::Broker,
        name: &str,
        body_limit: usize,
    ) -> Result<Self, BrokerError> {
        let address = config.url.address();
        // What lapin says of a URL that it cannot read repeats parts of it.
        let mut uri: AMQPUri =
            config
                .url
                .expose()
                .parse()
                .map_err(|_: String| {
                    BrokerError::Unreachable {
                address: address.clone(),
                detail:
                    "expected an AMQP URL such as amqp://user:password@host:5672/%2f?heartbeat=10, \
                             found another one"
                        .to_owned(),
            }
                })?;
        // The AMQP URL parser takes IPv6 addresses for no host at all, which means localhost.
        if let Some(host) = config.url.parts().host_str() {
            host.trim_matches(['[', ']'])
                .clone_into(&mut uri.authority.host);
        }
        let heartbeat = u16::try_from(config.heartbeat.as_secs()).unwrap_or(u16::MAX);
        // Zero would take whatever the broker prefers.
        uri.query.heartbeat = Some(heartbeat.max(1));
        uri.query.frame_max.get_or_insert(FRAME_MAX);
        Ok(Self {
            uri,
            address,
            user: config.own_login(),
            name: name.to_owned(),
            patience: config.connect_timeout,
            body_limit,
            tls: config.tls.clone(),
        })
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Everything but the URI, which holds the password.
        f.debug_struct("Settings")
            .field("address", &self.address)
            .field("user", &self.user)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
