//! What every event of a worker needs, and what operators know it as.

/// Something that every event of a worker needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependency {
    /// What carries messages.
    Broker,
    /// What keeps rows.
    Database,
}

/// Which engine does the work of a [`Dependency`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// RabbitMQ.
    RabbitMq,
    /// PostgreSQL.
    Postgres,
    /// The embedded broker.
    SqliteBroker,
    /// The embedded database.
    SqliteDatabase,
}

impl EngineKind {
    /// Its name in logs, on labels and on `/readyz`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RabbitMq => "rabbitmq",
            Self::Postgres => "postgres",
            Self::SqliteBroker => "sqlite_broker",
            Self::SqliteDatabase => "sqlite_database",
        }
    }
}

/// The engines of one system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engines {
    /// The engine that carries messages.
    pub broker: EngineKind,
    /// The engine that keeps rows.
    pub database: EngineKind,
}

impl Engines {
    /// The engine that does the work of `dependency`.
    pub fn engine_of(self, dependency: Dependency) -> EngineKind {
        match dependency {
            Dependency::Broker => self.broker,
            Dependency::Database => self.database,
        }
    }
}
