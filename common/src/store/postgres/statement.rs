//! Single statements: most methods of the store run one.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{FromRow, Postgres};

use super::link::Link;
use crate::store::StoreError;

/// A statement that values are bound to.
type Statement = Query<'static, Postgres, PgArguments>;

impl Link {
    /// Reads all rows that one statement finds. `bind` binds its values for each try anew, and the same each time.
    pub(super) async fn rows<R>(
        &self,
        statement: &'static str,
        bind: impl Fn(Statement) -> Statement + Send + Sync + 'static,
    ) -> Result<Vec<R>, StoreError>
    where
        R: for<'r> FromRow<'r, PgRow> + Send + Unpin + 'static,
    {
        self.run(move |connection| {
            let query = bind(sqlx::query(statement)).try_map(|row| R::from_row(&row));
            Box::pin(query.fetch_all(connection))
        })
        .await
    }

    /// Like [`Link::rows`], the first row alone, if there is one.
    pub(super) async fn row<R>(
        &self,
        statement: &'static str,
        bind: impl Fn(Statement) -> Statement + Send + Sync + 'static,
    ) -> Result<Option<R>, StoreError>
    where
        R: for<'r> FromRow<'r, PgRow> + Send + Unpin + 'static,
    {
        self.run(move |connection| {
            let query = bind(sqlx::query(statement)).try_map(|row| R::from_row(&row));
            Box::pin(query.fetch_optional(connection))
        })
        .await
    }

    /// Like [`Link::rows`], but only the first row. No row is an error.
    pub(super) async fn one<R>(
        &self,
        statement: &'static str,
        bind: impl Fn(Statement) -> Statement + Send + Sync + 'static,
    ) -> Result<R, StoreError>
    where
        R: for<'r> FromRow<'r, PgRow> + Send + Unpin + 'static,
    {
        self.run(move |connection| {
            let query = bind(sqlx::query(statement)).try_map(|row| R::from_row(&row));
            Box::pin(query.fetch_one(connection))
        })
        .await
    }

    /// Executes one statement. `bind` binds its values as in [`Link::rows`].
    pub(super) async fn execute(
        &self,
        statement: &'static str,
        bind: impl Fn(Statement) -> Statement + Send + Sync + 'static,
    ) -> Result<(), StoreError> {
        self.run(move |connection| {
            let query = bind(sqlx::query(statement));
            Box::pin(async move { query.execute(connection).await.map(|_| ()) })
        })
        .await
    }
}
