//! The keys that callers show at the door.

use async_trait::async_trait;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::PostgresStore;
use super::audit::append;
use crate::key::KeyId;
use crate::store::tables::keys::{KeyRow, NewKeyRow};
use crate::store::tables::text::keepable;
use crate::store::{Act, AuditOutcome, KeyPage, KeyRecord, Keys, NewKey, StoreError};

/// The next revision. Its row stays locked to the end of the transaction, so that changes appear in their order.
const TURN: &str = "UPDATE key_revision SET revision = revision + 1 RETURNING revision";

const REVISION: &str = "SELECT revision FROM key_revision";

/// Keeping the same key twice keeps it once: work may be repeated after a broken connection.
const INSERT: &str =
    "INSERT INTO keys (key_id, name, hash, scopes, rate, burst, networks, expires_at, created_by,
                                        revision)
    VALUES ($1, $2, $3, $4::json, $5, $6, $7::json, $8, $9, $10)
    ON CONFLICT (key_id) DO NOTHING";

const END: &str =
    "UPDATE keys SET expires_at = LEAST(expires_at, $2), revision = $3 WHERE key_id = $1";

const REVOKE: &str = "UPDATE keys
    SET revoked_at = clock_timestamp(), revoked_by = $2, revoked_why = $3, revision = $4
    WHERE key_id = $1 AND revoked_at IS NULL";

/// The columns of a [`KeyRow`].
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT key_id, name, hash, scopes::text, rate, burst, networks::text, expires_at, created_at, created_by,
                    last_used_at, revoked_at, revoked_by, revoked_why, revision
             FROM keys ",
            $rest
        )
    };
}

const KEY: &str = select!("WHERE key_id = $1");

const LOCKED: &str = select!("WHERE key_id = $1 FOR UPDATE");

const PAGE: &str = select!(
    "WHERE $1 IS NULL OR (created_at, key_id) < (SELECT created_at, key_id FROM keys WHERE key_id = $1)
     ORDER BY created_at DESC, key_id DESC LIMIT $2"
);

const CHANGED: &str = select!("WHERE revision > $1 ORDER BY revision LIMIT $2");

const NOTE: &str = "UPDATE keys SET last_used_at = given.at
    FROM UNNEST($1::text[], $2::timestamptz[]) AS given (key_id, at)
    WHERE keys.key_id = given.key_id AND (last_used_at IS NULL OR last_used_at < given.at)";

#[async_trait]
impl Keys for PostgresStore {
    async fn create_key(&self, key: &NewKey, act: &Act) -> Result<(), StoreError> {
        let row = NewKeyRow::new(key, act)?;
        let act = act.clone();
        self.link
            .transaction(move |connection| {
                let (row, act) = (row.clone(), act.clone());
                Box::pin(async move { insert(connection, &row, &act).await })
            })
            .await
    }

    async fn rotate_key(
        &self,
        old: &KeyId,
        new: &NewKey,
        old_ends_at: OffsetDateTime,
        act: &Act,
    ) -> Result<Option<KeyRecord>, StoreError> {
        let (old, row, act) = (old.to_string(), NewKeyRow::new(new, act)?, act.clone());
        self.link
            .transaction(move |connection| {
                let (old, row, act) = (old.clone(), row.clone(), act.clone());
                Box::pin(async move {
                    let Some(found) = locked(connection, &old).await? else {
                        return Ok(Ok(None));
                    };
                    let record = KeyRecord::try_from(found);
                    if !matches!(&record, Ok(record) if record.is_valid(OffsetDateTime::now_utc()))
                    {
                        return Ok(record.map(|_| None));
                    }
                    let revision = turn(connection).await?;
                    sqlx::query(END)
                        .bind(&old)
                        .bind(old_ends_at)
                        .bind(revision)
                        .execute(&mut *connection)
                        .await?;
                    insert(connection, &row, &act).await?;
                    reread(connection, &old).await
                })
            })
            .await?
    }

    async fn revoke_key(&self, id: &KeyId, act: &Act) -> Result<Option<KeyRecord>, StoreError> {
        let (id, act) = (id.to_string(), act.clone());
        self.link
            .transaction(move |connection| {
                let (id, act) = (id.clone(), act.clone());
                Box::pin(async move {
                    let revision = turn(connection).await?;
                    let revoked = sqlx::query(REVOKE)
                        .bind(&id)
                        .bind(keepable(&act.actor.who))
                        .bind(keepable(act.why.as_deref().unwrap_or_default()))
                        .bind(revision)
                        .execute(&mut *connection)
                        .await?;
                    if revoked.rows_affected() > 0 {
                        append(connection, &act, AuditOutcome::Allowed).await?;
                    }
                    reread(connection, &id).await
                })
            })
            .await?
    }

    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let id = id.to_string();
        let row: Option<KeyRow> = self.link.row(KEY, move |query| query.bind(&id)).await?;
        row.map(KeyRecord::try_from).transpose()
    }

    async fn keys_page(&self, page: KeyPage) -> Result<Vec<KeyRecord>, StoreError> {
        let after = page.after.map(String::from);
        let rows: Vec<KeyRow> = self
            .link
            .rows(PAGE, move |query| {
                query.bind(&after).bind(i64::from(page.limit))
            })
            .await?;
        rows.into_iter().map(KeyRecord::try_from).collect()
    }

    async fn key_revision(&self) -> Result<u64, StoreError> {
        let (revision,): (i64,) = self.link.one(REVISION, |query| query).await?;
        Ok(revision.unsigned_abs())
    }

    async fn changed_keys(&self, revision: u64, most: u32) -> Result<Vec<KeyRecord>, StoreError> {
        let after = i64::try_from(revision).unwrap_or(i64::MAX);
        let rows: Vec<KeyRow> = self
            .link
            .rows(CHANGED, move |query| {
                query.bind(after).bind(i64::from(most))
            })
            .await?;
        rows.into_iter().map(KeyRecord::try_from).collect()
    }

    async fn note_key_use(&self, uses: &[(KeyId, OffsetDateTime)]) -> Result<(), StoreError> {
        // In one order, so that two doors never wait for each other in a circle.
        let mut uses = uses.to_vec();
        uses.sort();
        let (ids, moments): (Vec<String>, Vec<OffsetDateTime>) = uses
            .into_iter()
            .map(|(id, at)| (String::from(id), at))
            .unzip();
        self.link
            .execute(NOTE, move |query| query.bind(&ids).bind(&moments))
            .await
    }
}

async fn turn(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(TURN).fetch_one(connection).await
}

async fn insert(
    connection: &mut PgConnection,
    row: &NewKeyRow,
    act: &Act,
) -> Result<(), sqlx::Error> {
    let revision = turn(connection).await?;
    let inserted = sqlx::query(INSERT)
        .bind(&row.id)
        .bind(&row.name)
        .bind(&row.hash)
        .bind(&row.scopes)
        .bind(&row.rate)
        .bind(row.burst)
        .bind(&row.networks)
        .bind(row.expires_at)
        .bind(&row.who)
        .bind(revision)
        .execute(&mut *connection)
        .await?;
    if inserted.rows_affected() > 0 {
        append(connection, act, AuditOutcome::Allowed).await?;
    }
    Ok(())
}

async fn locked(connection: &mut PgConnection, id: &str) -> Result<Option<KeyRow>, sqlx::Error> {
    sqlx::query_as(LOCKED)
        .bind(id)
        .fetch_optional(connection)
        .await
}

/// A key as this transaction has left it.
async fn reread(
    connection: &mut PgConnection,
    id: &str,
) -> Result<Result<Option<KeyRecord>, StoreError>, sqlx::Error> {
    let row: Option<KeyRow> = sqlx::query_as(KEY)
        .bind(id)
        .fetch_optional(connection)
        .await?;
    Ok(row.map(KeyRecord::try_from).transpose())
}
