//! The commands of operators on dead letters, one by one or in bulk: mending, giving up, taking that back, and
//! removing old letters.

use async_trait::async_trait;
use sqlx::SqliteConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::SqliteStore;
use super::dead::{matching, superseded};
use super::link::{Link, document, now};
use crate::sqlite::Error;
use crate::store::tables::edits::Edit;
use crate::store::tables::letters::INTEGRATE;
use crate::store::tables::text::{keepable, utc_text};
use crate::store::{DeadEdit, DeadFilter, DeadState, Discard, Edited, Mending, StoreError};

const LETTER: &str = r#"SELECT * FROM "NAMESPACE.dead_letters" WHERE dead_letter_id = $1"#;

const KEEP_ORIGINAL: &str = r#"INSERT INTO "NAMESPACE.dead_letter_edits"
    (dead_letter_id, edited_at, who, why, before, envelope) VALUES ($1, $2, $3, $4, $5, $6)"#;

const MEND: &str = r#"UPDATE "NAMESPACE.dead_letters"
    SET body = $2, type = $3, source = $4, routing_key = $5, content_type = $6, properties = $7, headers = $8
    WHERE dead_letter_id = $1"#;

const FIND: &str = r#"SELECT dead_letter_id FROM "NAMESPACE.dead_letters" WHERE "#;

const DISCARD: &str = r#"UPDATE "NAMESPACE.dead_letters"
    SET state = 'discarded', discarded_at = $2, discarded_by = $3, discarded_why = $4
    WHERE dead_letter_id IN (SELECT unhex(value, '-') FROM json_each($1))"#;

const RESTORE: &str = r#"UPDATE "NAMESPACE.dead_letters"
    SET state = 'open', discarded_at = NULL, discarded_by = NULL, discarded_why = NULL
    WHERE dead_letter_id IN (SELECT unhex(value, '-') FROM json_each($1))"#;

/// The deliveries that died with letters move from the states in `$3` to `$2`.
const MOVE_DELIVERIES: &str = r#"UPDATE "NAMESPACE.deliveries" SET status = $2
    WHERE status IN (SELECT value FROM json_each($3))
          AND (event_id, destination, generation) IN (
              SELECT event_id, destination, generation FROM "NAMESPACE.dead_letters"
              WHERE dead_letter_id IN (SELECT unhex(value, '-') FROM json_each($1)) AND stage = $4)"#;

const COUNT: &str =
    r#"UPDATE "NAMESPACE.replays" SET replayed = replayed + $2 WHERE replay_id = $1"#;

const PURGE: &str = r#"DELETE FROM "NAMESPACE.dead_letters" WHERE dead_letter_id IN (
    SELECT dead_letter_id FROM "NAMESPACE.dead_letters"
    WHERE state IN ('replayed', 'discarded', 'superseded')
          AND coalesce(discarded_at, replayed_at, superseded_at) < $1
    ORDER BY coalesce(discarded_at, replayed_at, superseded_at) LIMIT $2)"#;

#[async_trait]
impl Mending for SqliteStore {
    async fn edit_dead(&self, edit: &DeadEdit) -> Result<Edited, StoreError> {
        let edit = edit.clone();
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    let found = sqlx::query_as(link.sql(LETTER))
                        .bind(edit.letter)
                        .fetch_optional(&mut *connection)
                        .await?;
                    let decided = Edit::decide(&edit, found);
                    if let Ok(Edit::Make(mended)) = &decided {
                        sqlx::query(link.sql(KEEP_ORIGINAL))
                            .bind(edit.letter)
                            .bind(now()?)
                            .bind(keepable(&edit.who))
                            .bind(edit.why.as_deref().map(keepable))
                            .bind(edit.before.message.body.to_vec())
                            .bind(Edit::envelope(&edit))
                            .execute(&mut *connection)
                            .await?;
                        sqlx::query(link.sql(MEND))
                            .bind(edit.letter)
                            .bind(mended.body.to_vec())
                            .bind(mended.kind.clone())
                            .bind(mended.source.clone())
                            .bind(mended.routing_key.clone())
                            .bind(mended.content_type.clone())
                            .bind(mended.properties.clone())
                            .bind(mended.headers.clone())
                            .execute(connection)
                            .await?;
                    }
                    Ok(decided)
                })
            })
            .await?
            .map(|edit| edit.outcome())
    }

    async fn discard_dead(
        &self,
        discard: &Discard,
        operation: Option<Uuid>,
        most: u32,
    ) -> Result<u64, StoreError> {
        let discard = discard.clone();
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    let found =
                        find(connection, link, &discard.filter, DeadState::Open, most).await?;
                    if found.is_empty() {
                        return Ok(0);
                    }
                    let letters = document(&found)?;
                    sqlx::query(link.sql(DISCARD))
                        .bind(&letters)
                        .bind(now()?)
                        .bind(keepable(&discard.who))
                        .bind(keepable(&discard.why))
                        .execute(&mut *connection)
                        .await?;
                    move_deliveries(connection, link, &letters, &["due", "dead"], "discarded")
                        .await?;
                    count(connection, link, operation, found.len()).await
                })
            })
            .await
    }

    async fn restore_dead(
        &self,
        filter: &DeadFilter,
        operation: Option<Uuid>,
        most: u32,
    ) -> Result<u64, StoreError> {
        let filter = filter.clone();
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    let found = find(connection, link, &filter, DeadState::Discarded, most).await?;
                    if found.is_empty() {
                        return Ok(0);
                    }
                    let letters = document(&found)?;
                    sqlx::query(link.sql(RESTORE))
                        .bind(&letters)
                        .execute(&mut *connection)
                        .await?;
                    move_deliveries(connection, link, &letters, &["discarded"], "dead").await?;
                    let restored = count(connection, link, operation, found.len()).await?;
                    superseded::left_open(connection, link, found).await?;
                    Ok(restored)
                })
            })
            .await
    }

    async fn purge_dead(&self, older_than: OffsetDateTime, most: u32) -> Result<u64, StoreError> {
        let Some(older_than) = utc_text(older_than) else {
            return Err(StoreError::Data("a moment is out of its range".to_owned()));
        };
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    let purged = sqlx::query(link.sql(PURGE))
                        .bind(older_than)
                        .bind(i64::from(most))
                        .execute(connection)
                        .await?;
                    Ok(purged.rows_affected())
                })
            })
            .await
    }
}

/// The oldest `most` letters in `state` that match.
async fn find(
    connection: &mut SqliteConnection,
    link: &Link,
    filter: &DeadFilter,
    state: DeadState,
    most: u32,
) -> Result<Vec<Uuid>, Error> {
    let mut query = matching(link.in_namespace(FIND), filter, Some(state))?;
    query.push(" ORDER BY last_failed_at, dead_letter_id LIMIT ");
    query.push_bind(i64::from(most));
    Ok(query.build_query_scalar().fetch_all(connection).await?)
}

/// Counts changed letters in the row of the operation that they are a part of.
async fn count(
    connection: &mut SqliteConnection,
    link: &Link,
    operation: Option<Uuid>,
    letters: usize,
) -> Result<u64, Error> {
    if let Some(operation) = operation {
        sqlx::query(link.sql(COUNT))
            .bind(operation)
            .bind(i64::try_from(letters).unwrap_or(i64::MAX))
            .execute(connection)
            .await?;
    }
    Ok(letters as u64)
}

async fn move_deliveries(
    connection: &mut SqliteConnection,
    link: &Link,
    letters: &str,
    from: &[&str],
    to: &str,
) -> Result<(), Error> {
    sqlx::query(link.sql(MOVE_DELIVERIES))
        .bind(letters.to_owned())
        .bind(to.to_owned())
        .bind(document(from)?)
        .bind(INTEGRATE)
        .execute(connection)
        .await?;
    Ok(())
}
