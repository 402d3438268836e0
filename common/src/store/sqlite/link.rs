//! The way to the tables of one namespace.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use serde::Serialize;
use sqlx::{AssertSqlSafe, SqliteConnection};
use time::OffsetDateTime;

use crate::namespace::Namespace;
use crate::sqlite::{Database, Error};
use crate::store::StoreError;
use crate::store::tables::text::utc_text;

/// The placeholder for the namespace in our statements and migrations.
const PLACEHOLDER: &str = "NAMESPACE.";

/// The way to the tables of one namespace. Clones share everything.
#[derive(Clone)]
pub(super) struct Link(Arc<Inner>);

struct Inner {
    database: Database,
    namespace: Namespace,
    /// The statements that were asked for, with the namespace in them.
    statements: Mutex<HashMap<&'static str, Arc<str>>>,
}

impl Link {
    pub(super) fn new(database: Database, namespace: &Namespace) -> Self {
        Self(Arc::new(Inner {
            database,
            namespace: namespace.clone(),
            statements: Mutex::new(HashMap::new()),
        }))
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// A statement on the tables of this namespace. Its text is made once.
    pub(super) fn sql(&self, statement: &'static str) -> AssertSqlSafe<Arc<str>> {
        let mut known = self
            .0
            .statements
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let text = known
            .entry(statement)
            .or_insert_with(|| self.in_namespace(statement).into());
        AssertSqlSafe(Arc::clone(text))
    }

    /// Any text with the namespace in it. A namespace holds no quotes, so quoted text stays quoted.
    pub(super) fn in_namespace(&self, text: &str) -> String {
        text.replace(PLACEHOLDER, &format!("{}.", self.0.namespace))
    }

    /// Does `work` in a write transaction, to its end whatever becomes of the caller.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection, &'c Link) -> BoxFuture<'c, Result<T, Error>>
            + Send
            + 'static,
    {
        let link = self.clone();
        let done = self
            .0
            .database
            .write(move |connection| Box::pin(async move { work(connection, &link).await }));
        Ok(done.await?)
    }

    /// Reads.
    pub(super) async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Error>>
            + Send
            + 'static,
    {
        Ok(self.0.database.read(work).await?)
    }

    /// Reads over a connection that is opened for it.
    pub(super) async fn probe<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Error>>
            + Send
            + 'static,
    {
        Ok(self.0.database.probe(work).await?)
    }

    pub(super) async fn close(&self) {
        self.0.database.close().await;
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match error {
            // A person restores a damaged file; no event is to blame.
            Error::Unavailable(text) | Error::Damaged(text) => Self::Unavailable(text),
            Error::Missing(text) => Self::Schema(format!(
                "the schema is not the one this program needs ({text}): run `longshore migrate`"
            )),
            Error::Data(text) => Self::Data(text),
            Error::Fault(text) => Self::Fault(text),
        }
    }
}

/// Rows as one value, for `jsonb_each`.
pub(super) fn document<T: Serialize>(rows: &[T]) -> Result<String, Error> {
    // A moment far away cannot be written down: nothing else here can fail.
    serde_json::to_string(rows).map_err(|error| Error::Data(error.to_string()))
}

/// The present moment as the tables hold it.
pub(super) fn now() -> Result<String, Error> {
    utc_text(OffsetDateTime::now_utc())
        .ok_or_else(|| Error::Fault("the clock of this machine is far off".to_owned()))
}
