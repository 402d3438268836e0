//! The keys that callers show at the door.

use async_trait::async_trait;
use sqlx::SqliteConnection;
use time::OffsetDateTime;

use super::SqliteStore;
use super::audit::append;
use super::link::{Link, now};
use crate::key::KeyId;
use crate::sqlite::Error;
use crate::store::tables::keys::{KeyRow, NewKeyRow};
use crate::store::tables::text::{comparable, keepable};
use crate::store::{Act, AuditOutcome, KeyPage, KeyRecord, Keys, NewKey, StoreError};

const TURN: &str =
    r#"UPDATE "NAMESPACE.key_revision" SET revision = revision + 1 RETURNING revision"#;

const REVISION: &str = r#"SELECT revision FROM "NAMESPACE.key_revision""#;

const INSERT: &str = r#"INSERT INTO "NAMESPACE.keys"
    (key_id, name, hash, scopes, rate, burst, networks, expires_at, created_at, created_by, revision)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"#;

const END: &str = r#"UPDATE "NAMESPACE.keys"
    SET expires_at = min(coalesce(expires_at, ?2), ?2), revision = ?3 WHERE key_id = ?1"#;

const REVOKE: &str = r#"UPDATE "NAMESPACE.keys"
    SET revoked_at = ?2, revoked_by = ?3, revoked_why = ?4, revision = ?5
    WHERE key_id = ?1 AND revoked_at IS NULL"#;

const KEY: &str = r#"SELECT * FROM "NAMESPACE.keys" WHERE key_id = ?1"#;

const PAGE: &str = r#"SELECT * FROM "NAMESPACE.keys"
    WHERE ?1 IS NULL OR (created_at, key_id) < (SELECT created_at, key_id FROM "NAMESPACE.keys" WHERE key_id = ?1)
    ORDER BY created_at DESC, key_id DESC LIMIT ?2"#;

const CHANGED: &str =
    r#"SELECT * FROM "NAMESPACE.keys" WHERE revision > ?1 ORDER BY revision LIMIT ?2"#;

const NOTE: &str = r#"UPDATE "NAMESPACE.keys" SET last_used_at = ?2
    WHERE key_id = ?1 AND (last_used_at IS NULL OR last_used_at < ?2)"#;

#[async_trait]
impl Keys for SqliteStore {
    async fn create_key(&self, key: &NewKey, act: &Act) -> Result<(), StoreError> {
        let row = NewKeyRow::new(key, act)?;
        let act = act.clone();
        self.link
            .write(move |connection, link| {
                Box::pin(async move { insert(connection, link, row, &act).await })
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
            .write(move |connection, link| {
                Box::pin(async move {
                    let found = read(connection, link, &old).await?;
                    let record = found.map(KeyRecord::try_from).transpose();
                    if !matches!(&record, Ok(Some(record)) if record.is_valid(OffsetDateTime::now_utc())) {
                        return Ok(record.map(|_| None));
                    }
                    let revision = turn(connection, link).await?;
                    sqlx::query(link.sql(END))
                        .bind(old.clone())
                        .bind(comparable(old_ends_at))
                        .bind(revision)
                        .execute(&mut *connection)
                        .await?;
                    insert(connection, link, row, &act).await?;
                    let found = read(connection, link, &old).await?;
                    Ok(found.map(KeyRecord::try_from).transpose())
                })
            })
            .await?
    }

    async fn revoke_key(&self, id: &KeyId, act: &Act) -> Result<Option<KeyRecord>, StoreError> {
        let (id, act) = (id.to_string(), act.clone());
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    let revision = turn(connection, link).await?;
                    let revoked = sqlx::query(link.sql(REVOKE))
                        .bind(id.clone())
                        .bind(now()?)
                        .bind(keepable(&act.actor.who))
                        .bind(keepable(act.why.as_deref().unwrap_or_default()))
                        .bind(revision)
                        .execute(&mut *connection)
                        .await?;
                    if revoked.rows_affected() > 0 {
                        append(connection, link, &act, AuditOutcome::Allowed).await?;
                    }
                    let found = read(connection, link, &id).await?;
                    Ok(found.map(KeyRecord::try_from).transpose())
                })
            })
            .await?
    }

    async fn key(&self, id: &KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let id = id.to_string();
        let row: Option<KeyRow> = self.link.row(KEY, move |query| query.bind(id)).await?;
        row.map(KeyRecord::try_from).transpose()
    }

    async fn keys_page(&self, page: KeyPage) -> Result<Vec<KeyRecord>, StoreError> {
        let after = page.after.map(String::from);
        let rows: Vec<KeyRow> = self
            .link
            .rows(PAGE, move |query| {
                query.bind(after).bind(i64::from(page.limit))
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
        let uses = uses.to_vec();
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    for (id, at) in uses {
                        sqlx::query(link.sql(NOTE))
                            .bind(String::from(id))
                            .bind(comparable(at))
                            .execute(&mut *connection)
                            .await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}

async fn turn(connection: &mut SqliteConnection, link: &Link) -> Result<i64, Error> {
    let turned = sqlx::query_scalar(link.sql(TURN));
    Ok(turned.fetch_one(connection).await?)
}

async fn insert(
    connection: &mut SqliteConnection,
    link: &Link,
    row: NewKeyRow,
    act: &Act,
) -> Result<(), Error> {
    let revision = turn(connection, link).await?;
    sqlx::query(link.sql(INSERT))
        .bind(row.id)
        .bind(row.name)
        .bind(row.hash)
        .bind(row.scopes)
        .bind(row.rate)
        .bind(row.burst)
        .bind(row.networks)
        .bind(row.expires_at.map(comparable))
        .bind(now()?)
        .bind(row.who)
        .bind(revision)
        .execute(&mut *connection)
        .await?;
    append(connection, link, act, AuditOutcome::Allowed).await
}

async fn read(
    connection: &mut SqliteConnection,
    link: &Link,
    id: &str,
) -> Result<Option<KeyRow>, Error> {
    let query = sqlx::query_as(link.sql(KEY)).bind(id.to_owned());
    Ok(query.fetch_optional(connection).await?)
}
