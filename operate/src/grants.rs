//! A login for each program, with the rights that it needs and no others: commands for RabbitMQ and statements for
//! PostgreSQL, made of the namespace's own names. They hold no passwords, and may be run again at any time.

mod broker;
mod database;

use common::config::Config;
use common::namespace::Namespace;
use serde::Serialize;

pub use broker::broker;
pub use database::database;

/// Both scripts. None where the engine is embedded: whoever may read its file is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scripts {
    /// A shell script with commands of `rabbitmqctl`.
    pub broker: Option<String>,
    /// A script for `psql`.
    pub database: Option<String>,
}

impl Scripts {
    /// The scripts of a configuration.
    pub fn new(config: &Config) -> Self {
        let is_service = |url: &common::config::ServiceUrl| !url.is_embedded();
        Self {
            broker: is_service(&config.broker.url).then(|| broker(config)),
            database: is_service(&config.database.url).then(|| database(config)),
        }
    }
}

/// Who has a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Producer,
    Validate,
    Store,
    Integrate,
    Archive,
    Operator,
}

impl Role {
    const ALL: [Self; 6] = [
        Self::Producer,
        Self::Validate,
        Self::Store,
        Self::Integrate,
        Self::Archive,
        Self::Operator,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Validate => "validate",
            Self::Store => "store",
            Self::Integrate => "integrate",
            Self::Archive => "archive",
            Self::Operator => "operator",
        }
    }

    /// Its login. Several namespaces may share a broker or a database.
    fn login(self, namespace: &Namespace) -> String {
        format!("{namespace}-{}", self.word())
    }

    /// The users of the login, for people.
    fn users(self) -> &'static str {
        match self {
            Self::Producer => "longshore-producer: the door",
            Self::Validate => "longshore-validate",
            Self::Store => "longshore-store",
            Self::Integrate => "longshore-integrate",
            Self::Archive => "longshore-archive: dead letters, the standing watch, replays",
            Self::Operator => "longshore: the operators' commands",
        }
    }
}
