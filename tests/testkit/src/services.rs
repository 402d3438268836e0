//! Where the broker and the database are.

use std::env;

/// The broker and the database that a system under test is pointed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services {
    /// `amqp://…`
    pub broker_url: String,
    /// `postgres://…`
    pub database_url: String,
}

impl Services {
    /// The services that all tests share: `LONGSHORE_BROKER_URL` and `LONGSHORE_DATABASE_URL`, else
    /// those that `scripts/services` starts on this machine.
    #[must_use]
    pub fn shared() -> Self {
        let or = |key, default: &str| env::var(key).unwrap_or_else(|_| default.to_owned());
        Self {
            broker_url: or(
                "LONGSHORE_BROKER_URL",
                "amqp://guest:guest@127.0.0.1:5672/%2f",
            ),
            database_url: or(
                "LONGSHORE_DATABASE_URL",
                "postgres://longshore:longshore@127.0.0.1:5432/longshore",
            ),
        }
    }
}
