//! The commands of operators on dead letters, one by one or in bulk: mending, giving up, taking that back, and
//! removing old letters.

use async_trait::async_trait;
use sqlx::SqliteConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::SqliteStore;
use super::audit::append;
use super::dead::{matching, superseded};
use super::link::{Link, document, now};
use crate::sqlite::Error;
use crate::store::tables::audit::{moved, purged};
use crate::store::tables::edits::Edit;
use crate::store::tables::letters::INTEGRATE;
use crate::store::tables::text::{keepable, utc_text};
use crate::store::{
    Act, AuditOutcome, BulkChange, Changer, DeadEdit, DeadFilter, DeadState, Edited, Mending,
    StoreError,
};

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
                            .bind(keepable(&edit.act.actor.who))
                            .bind(edit.act.why.as_deref().map(keepable))
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
                            .execute(&mut *connection)
                            .await?;
                        let act = Edit::act(&edit);
                        append(connection, link, &act, AuditOutcome::Allowed).await?;
                    }
                    Ok(decided)
                })
            })
            .await?
            .map(|edit| edit.outcome())
    }

    async fn discard_dead(&self, discard: &BulkChange, most: u32) -> Result<u64, StoreError> {
        let discard = discard.clone();
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    let (from, to) = (DeadState::Open, DeadState::Discarded);
                    let found = find(connection, link, &discard.filter, from, most).await?;
                    if found.is_empty() {
                        return Ok(0);
                    }
                    let letters = document(&found)?;
                    sqlx::query(link.sql(DISCARD))
                        .bind(&letters)
                        .bind(now()?)
                        .bind(keepable(discard.by.who()))
                        .bind(keepable(discard.by.why()))
                        .execute(&mut *connection)
                        .await?;
                    move_deliveries(connection, link, &letters, &["due", "dead"], "discarded")
                        .await?;
                    record(connection, link, &discard.by, [from, to], &found).await?;
                    Ok(found.len() as u64)
                })
            })
            .await
    }

    async fn restore_dead(&self, restore: &BulkChange, most: u32) -> Result<u64, StoreError> {
        let restore = restore.clone();
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    let (from, to) = (DeadState::Discarded, DeadState::Open);
                    let found = find(connection, link, &restore.filter, from, most).await?;
                    if found.is_empty() {
                        return Ok(0);
                    }
                    let letters = document(&found)?;
                    sqlx::query(link.sql(RESTORE))
                        .bind(&letters)
                        .execute(&mut *connection)
                        .await?;
                    move_deliveries(connection, link, &letters, &["discarded"], "dead").await?;
                    record(connection, link, &restore.by, [from, to], &found).await?;
                    let restored = found.len() as u64;
                    superseded::left_open(connection, link, found).await?;
                    Ok(restored)
                })
            })
            .await
    }

    async fn purge_dead(
        &self,
        older_than: OffsetDateTime,
        act: &Act,
        most: u32,
    ) -> Result<u64, StoreError> {
        let Some(before) = utc_text(older_than) else {
            return Err(StoreError::Data("a moment is out of its range".to_owned()));
        };
        let act = act.clone();
        self.link
            .write(move |connection, link| {
                Box::pin(async move {
                    let letters = sqlx::query(link.sql(PURGE))
                        .bind(before)
                        .bind(i64::from(most))
                        .execute(&mut *connection)
                        .await?
                        .rows_affected();
                    if letters > 0 {
                        let act = purged(&act, older_than, letters);
                        append(connection, link, &act, AuditOutcome::Allowed).await?;
                    }
                    Ok(letters)
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

/// Records the change of these letters: in the audit record where an operator makes it, else in the row of the operation.
async fn record(
    connection: &mut SqliteConnection,
    link: &Link,
    by: &Changer,
    [from, to]: [DeadState; 2],
    letters: &[Uuid],
) -> Result<(), Error> {
    match by {
        Changer::Operator(act) => {
            let act = moved(act, from, to, letters);
            append(connection, link, &act, AuditOutcome::Allowed).await
        }
        Changer::Operation { id, .. } => {
            sqlx::query(link.sql(COUNT))
                .bind(*id)
                .bind(i64::try_from(letters.len()).unwrap_or(i64::MAX))
                .execute(connection)
                .await?;
            Ok(())
        }
    }
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
