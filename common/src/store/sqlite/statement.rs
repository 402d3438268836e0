//! Single statements: most methods of the store run one.

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{FromRow, Sqlite};

use super::link::Link;
use crate::store::StoreError;

/// A statement that values are bound to.
type Statement = Query<'static, Sqlite, SqliteArguments>;

impl Link {
    /// Reads all rows that one statement finds. `bind` binds its values.
    pub(super) async fn rows<R>(
        &self,
        statement: &'static str,
        bind: impl FnOnce(Statement) -> Statement,
    ) -> Result<Vec<R>, StoreError>
    where
        R: for<'r> FromRow<'r, SqliteRow> + Send + Unpin + 'static,
    {
        let query = bind(sqlx::query(self.sql(statement))).try_map(|row| R::from_row(&row));
        self.read(move |connection| Box::pin(async move { Ok(query.fetch_all(connection).await?) }))
            .await
    }

    /// Like [`Link::rows`], the first row alone, if there is one.
    pub(super) async fn row<R>(
        &self,
        statement: &'static str,
        bind: impl FnOnce(Statement) -> Statement,
    ) -> Result<Option<R>, StoreError>
    where
        R: for<'r> FromRow<'r, SqliteRow> + Send + Unpin + 'static,
    {
        let query = bind(sqlx::query(self.sql(statement))).try_map(|row| R::from_row(&row));
        self.read(move |connection| {
            Box::pin(async move { Ok(query.fetch_optional(connection).await?) })
        })
        .await
    }

    /// Like [`Link::rows`], but only the first row. No row is an error.
    pub(super) async fn one<R>(
        &self,
        statement: &'static str,
        bind: impl FnOnce(Statement) -> Statement,
    ) -> Result<R, StoreError>
    where
        R: for<'r> FromRow<'r, SqliteRow> + Send + Unpin + 'static,
    {
        let query = bind(sqlx::query(self.sql(statement))).try_map(|row| R::from_row(&row));
        self.read(move |connection| Box::pin(async move { Ok(query.fetch_one(connection).await?) }))
            .await
    }

    /// Executes one statement in a write transaction. `bind` binds its values.
    pub(super) async fn execute(
        &self,
        statement: &'static str,
        bind: impl FnOnce(Statement) -> Statement,
    ) -> Result<(), StoreError> {
        let query = bind(sqlx::query(self.sql(statement)));
        self.write(move |connection, _| {
            Box::pin(async move {
                query.execute(connection).await?;
                Ok(())
            })
        })
        .await
    }
}
