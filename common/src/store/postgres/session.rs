//! The needs of a session with the database, also where a pooler stands in between.
//!
//! Every statement names its tables without their schema, and counts on settings. A direct session gets all of
//! this from start-up parameters. A pooler drops or refuses these. It may give each transaction to another session
//! of the server, and with it our prepared statements to strangers. So behind a pooler, every piece of work is a
//! transaction that begins with its settings and leaves no prepared statement behind. That works with any kind of
//! pooling, and costs some round trips.

use std::str::FromStr as _;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::error::DatabaseError;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use url::Url;

use super::encryption::encrypted;
use super::failure::classify;
use super::work::{AnyValue, AnyWork};
use crate::config;
use crate::namespace::Namespace;
use crate::store::StoreError;

/// Oldest major version of PostgreSQL that has all the features of the schema.
const OLDEST_VERSION: u32 = 13;

/// Parameters of a database's URL that sqlx knows, and `options[NAME]`.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// A setting of ours that says whether the others have arrived.
const MARK: &str = "longshore.namespace";

/// The beginning of a transaction that writes. The lock of a migration is waited for within such a transaction,
/// which then has to see the changes of the lock's holder.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// The state of a session. Asked in the simple protocol, which prepares nothing.
const LOOK: &str = "SELECT coalesce(current_setting('longshore.namespace', true), ''),
    current_setting('server_encoding'), current_setting('server_version_num')";

/// How we are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// To a session of our own, with our settings.
    Direct,
    /// Through a pooler: to any session, with any settings.
    Pooled,
}

/// How work begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// With its first statement: each is a transaction, or needs none.
    Statement,
    /// With a transaction.
    Transaction,
}

/// The options that sessions are opened with, and the settings that they need.
pub(super) struct Settings {
    direct: PgConnectOptions,
    pooled: PgConnectOptions,
    namespace: Namespace,
    statement_timeout: Duration,
}

impl Settings {
    pub(super) fn new(
        config: &config::Database,
        namespace: &Namespace,
    ) -> Result<Self, StoreError> {
        let (url, dropped) = known_parameters(config.url.parts());
        if dropped > 0 {
            tracing::warn!(
                parameters = dropped,
                "the database's URL has parameters that are not known here; they have no effect"
            );
        }
        let options = PgConnectOptions::from_str(url.as_str()).map_err(|error| {
            StoreError::Fault(format!(
                "expected the address of a PostgreSQL database at {}, found none: {}",
                config.url.address(),
                without_quoted(&error.to_string())
            ))
        })?;
        let pooled = encrypted(options, &config.tls)
            .application_name(&application_name(namespace))
            // A pooler does not know it, and no value of ours is a float.
            .extra_float_digits(None);
        let mut settings = Self {
            direct: pooled.clone(),
            pooled,
            namespace: namespace.clone(),
            statement_timeout: config.statement_timeout,
        };
        settings.direct = settings.direct.clone().options(settings.all());
        settings.direct = settings.direct.options([
            (MARK, namespace.as_str()),
            // Statements see all that was committed before them, whatever the database or the role presets.
            ("default_transaction_isolation", "read committed"),
        ]);
        Ok(settings)
    }

    fn all(&self) -> [(&'static str, String); 5] {
        let timeout = self.statement_timeout.as_millis().to_string();
        [
            ("search_path", quoted(&self.namespace)),
            ("statement_timeout", timeout.clone()),
            // When we vanish in the middle of a transaction, its locks go soon.
            ("idle_in_transaction_session_timeout", timeout),
            // Statements are prepared once and for all, maybe while the tables are empty. Each of them has an index;
            // a scan of the whole table that is the best plan then is the worst later.
            ("enable_seqscan", "off".to_owned()),
            ("jit", "off".to_owned()),
        ]
    }

    /// The options for more sessions like the first.
    pub(super) fn options(&self, way: Way) -> &PgConnectOptions {
        match way {
            Way::Direct => &self.direct,
            Way::Pooled => &self.pooled,
        }
    }

    /// Opens a session, and finds out the way of its connection and whether we can use the database.
    pub(super) async fn connect(&self) -> Result<(PgConnection, Way), StoreError> {
        let opened = match PgConnection::connect_with(&self.direct).await {
            Err(error) if is_of_start_up_parameters(&error) => {
                PgConnection::connect_with(&self.pooled).await
            }
            opened => opened,
        };
        let mut connection = opened.map_err(|error| match is_of_encoding(&error) {
            true => another_encoding("one that UTF8 cannot be turned into"),
            false => classify(&error),
        })?;
        let found = look(&mut connection).await;
        let found = found.map_err(|error| classify(&error))?;
        found.check()?;
        let way = if found.mark == self.namespace.as_str() {
            Way::Direct
        } else {
            Way::Pooled
        };
        Ok((connection, way))
    }

    /// Whether a session has our settings.
    pub(super) async fn are_in(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        Ok(look(connection).await?.mark == self.namespace.as_str())
    }

    /// The beginning of a transaction for `begin`; `None` if there need not be a transaction.
    fn beginning(&self, way: Way, begin: Begin) -> Option<String> {
        match (way, begin) {
            (Way::Direct, Begin::Statement) => None,
            (Way::Direct, Begin::Transaction) => Some(BEGIN.to_owned()),
            (Way::Pooled, _) => Some(with_settings(BEGIN, &self.all())),
        }
    }

    /// Does `work` on a session.
    pub(super) async fn perform(
        &self,
        connection: &mut PgConnection,
        way: Way,
        begin: Begin,
        work: &AnyWork,
    ) -> Result<AnyValue, sqlx::Error> {
        let Some(beginning) = self.beginning(way, begin) else {
            return work(connection).await;
        };
        let mut transaction = connection.begin_with(AssertSqlSafe(beginning)).await?;
        let done = work(&mut transaction).await;
        if way == Way::Pooled {
            // As long as the transaction lasts, the session is ours: nobody meets our statements in it later.
            let tidied = transaction.clear_cached_statements().await;
            if done.is_err() {
                // Whatever becomes of it.
                let _ = transaction.rollback().await;
                return done;
            }
            tidied?;
        }
        let done = done?;
        transaction.commit().await?;
        Ok(done)
    }

    /// Does `work` in one transaction, however long it takes. The wait for a lock that somebody else holds is no
    /// longer than a statement may take.
    pub(super) async fn perform_patiently<T>(
        &self,
        connection: &mut PgConnection,
        work: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let settings = [
            ("search_path", quoted(&self.namespace)),
            ("statement_timeout", "0".to_owned()),
            ("idle_in_transaction_session_timeout", "0".to_owned()),
            (
                "lock_timeout",
                self.statement_timeout.as_millis().to_string(),
            ),
        ];
        let beginning = with_settings(BEGIN, &settings);
        let mut transaction = connection
            .begin_with(AssertSqlSafe(beginning))
            .await
            .map_err(|error| classify(&error))?;
        let done = work(&mut transaction).await;
        // Nobody meets our statements in this session later.
        let _ = transaction.clear_cached_statements().await;
        let ended = match &done {
            Ok(_) => transaction.commit().await,
            Err(_) => transaction.rollback().await,
        };
        let done = done?;
        ended.map_err(|error| classify(&error))?;
        Ok(done)
    }
}

/// The state of a session.
struct Found {
    mark: String,
    encoding: String,
    version: String,
}

impl Found {
    /// Whether we can use the database at all.
    fn check(&self) -> Result<(), StoreError> {
        let number: u32 = self.version.parse().unwrap_or(0);
        if number / 10_000 < OLDEST_VERSION {
            return Err(StoreError::Schema(format!(
                "the database needs PostgreSQL {OLDEST_VERSION} or later, found {}.{}",
                number / 10_000,
                number % 10_000
            )));
        }
        if self.encoding != "UTF8" {
            return Err(another_encoding(&self.encoding));
        }
        Ok(())
    }
}

async fn look(connection: &mut PgConnection) -> Result<Found, sqlx::Error> {
    let row = sqlx::raw_sql(LOOK).fetch_one(connection).await?;
    Ok(Found {
        mark: row.try_get(0)?,
        encoding: row.try_get(1)?,
        version: row.try_get(2)?,
    })
}

/// `begin`, and settings for this transaction alone. None of the values holds a quote but as an identifier.
fn with_settings(begin: &str, settings: &[(&str, String)]) -> String {
    let settings = settings
        .iter()
        .map(|(name, value)| format!("; SET LOCAL {name} TO {value}"));
    std::iter::once(begin.to_owned()).chain(settings).collect()
}

/// The URL with the parameters that sqlx reads, and how many others it has: sqlx would log their values.
fn known_parameters(url: &Url) -> (Url, usize) {
    let is_known = |name: &str| PARAMETERS.contains(&name) || name.starts_with("options[");
    let (known, others): (Vec<_>, Vec<_>) = url
        .query_pairs()
        .into_owned()
        .partition(|(name, _)| is_known(name));
    let mut url = url.clone();
    if !others.is_empty() {
        url.query_pairs_mut().clear().extend_pairs(known);
    }
    (url, others.len())
}

/// The message of sqlx about a URL that it cannot read, without the value that it quotes.
fn without_quoted(text: &str) -> String {
    let parts = text.split('"').enumerate();
    let told: Vec<&str> = parts
        .map(|(nth, part)| if nth % 2 == 0 { part } else { "***" })
        .collect();
    told.join("\"")
}

/// Whether somebody in between refuses our settings.
fn is_of_start_up_parameters(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return false;
    };
    let message = error.message().to_ascii_lowercase();
    message.contains("startup parameter") || message.contains("startup packet")
}

/// Whether the database refuses to speak UTF-8, because it cannot convert that into its own encoding. As a session
/// begins, nothing else has this code.
fn is_of_encoding(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(DatabaseError::code)
        .as_deref()
        == Some("0A000")
}

fn another_encoding(found: &str) -> StoreError {
    StoreError::Schema(format!(
        "the database needs UTF8, found {found}: make another one with `CREATE DATABASE … ENCODING 'UTF8' TEMPLATE \
         template0` and give its address"
    ))
}

/// The namespace as an SQL identifier.
pub(super) fn quoted(namespace: &Namespace) -> String {
    // A namespace holds no quotes.
    format!("\"{namespace}\"")
}

/// Our name in `pg_stat_activity`: program and namespace.
fn application_name(namespace: &Namespace) -> String {
    let program = std::env::current_exe()
        .ok()
        .and_then(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .unwrap_or_else(|| "longshore".to_owned());
    format!("{program} {namespace}").chars().take(63).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_a_pooler_a_transaction_brings_its_settings() {
        let namespace: Namespace = "shop-1".parse().unwrap();
        let settings = Settings::new(&config::Database::default(), &namespace).unwrap();
        assert_eq!(settings.beginning(Way::Direct, Begin::Statement), None);
        let direct = settings.beginning(Way::Direct, Begin::Transaction);
        assert_eq!(direct.as_deref(), Some(BEGIN));
        for begin in [Begin::Statement, Begin::Transaction] {
            let pooled = settings.beginning(Way::Pooled, begin).unwrap();
            assert!(pooled.starts_with("BEGIN"), "{pooled}");
            assert!(
                pooled.contains("; SET LOCAL search_path TO \"shop-1\";"),
                "{pooled}"
            );
            assert!(
                pooled.contains("; SET LOCAL statement_timeout TO "),
                "{pooled}"
            );
        }
    }

    #[test]
    fn a_database_that_cannot_be_used_is_named_for_what_it_lacks() {
        let check = |encoding: &str, version: &str| {
            let found = Found {
                mark: String::new(),
                encoding: encoding.to_owned(),
                version: version.to_owned(),
            };
            found.check().map_err(|error| error.to_string())
        };
        assert_eq!(check("UTF8", "130000"), Ok(()));
        let old = check("UTF8", "120015").unwrap_err();
        assert!(old.contains("13 or later, found 12.15"), "{old}");
        let latin = check("LATIN1", "150020").unwrap_err();
        assert!(latin.contains("needs UTF8, found LATIN1"), "{latin}");
    }
}
