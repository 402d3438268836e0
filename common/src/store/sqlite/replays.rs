//! Replays: claiming dead letters, so that each is sent by one replay alone; and the outcomes of those letters.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::SqliteStore;
use super::dead::{matching, superseded};
use super::link::{Link, document, now};
use crate::sqlite::Error;
use crate::store::tables::letters::{INTEGRATE, LetterRow};
use crate::store::tables::operations::{no_such_operation, of_history};
use crate::store::{DeadLetter, DeadState, Operations as _, Progress, StoreError};

const IS_RUNNING: &str = r#"SELECT EXISTS (
    SELECT 1 FROM "NAMESPACE.replays" WHERE replay_id = $1 AND state = 'running')"#;

const OPEN: &str = r#"SELECT dead_letter_id FROM "NAMESPACE.dead_letters" WHERE "#;

const CLAIM: &str = r#"UPDATE "NAMESPACE.dead_letters" SET state = 'replaying', replay_id = $1
    WHERE dead_letter_id IN (SELECT unhex(value, '-') FROM json_each($2))"#;

const CLAIMED: &str = r#"SELECT * FROM "NAMESPACE.dead_letters"
    WHERE dead_letter_id IN (SELECT unhex(value, '-') FROM json_each($1))
    ORDER BY last_failed_at, dead_letter_id"#;

const MAKE_DUE: &str = r#"INSERT INTO "NAMESPACE.deliveries"
    (event_id, destination, generation, due_at)
    SELECT DISTINCT event_id, destination, generation + 1, $2
    FROM "NAMESPACE.dead_letters"
    WHERE dead_letter_id IN (SELECT unhex(value, '-') FROM json_each($1))
          AND stage = $3 AND event_id IS NOT NULL AND destination IS NOT NULL
          -- Sent elsewhere, it is not this delivery that is made.
          AND ($4 IS NULL OR $4 = queue)
          -- There is no generation after the last.
          AND generation < 4294967295
    ON CONFLICT (event_id, destination, generation) DO NOTHING"#;

/// A letter on its way to its destination is done with the delivery of its next generation. Other letters were
/// sent to another queue, or died before they were stored. They are done once nothing is due any more, and
/// something of a later generation is delivered, they were refused since, or they are stored.
pub(super) const OUTCOME: &str = r#"WITH sent AS MATERIALIZED (
        SELECT letter.event_id, letter.destination, letter.generation, letter.replayed_at,
               letter.stage = $2 AS stored,
               letter.stage = $2 AND letter.destination IS NOT NULL
                   AND (to_queue IS NULL OR to_queue = letter.queue) AS there
        FROM "NAMESPACE.replays" JOIN "NAMESPACE.dead_letters" AS letter USING (replay_id)
        WHERE replay_id = $1 AND letter.state = 'replayed' AND letter.event_id IS NOT NULL
        ORDER BY dead_letter_id LIMIT $3
    ), judged AS MATERIALIZED (
        SELECT CASE
            WHEN there AND EXISTS (
                SELECT 1 FROM "NAMESPACE.deliveries" AS delivery
                WHERE delivery.event_id = sent.event_id
                      AND delivery.destination = sent.destination
                      AND delivery.generation = sent.generation + 1 AND status = 'delivered')
            THEN 'completed'
            WHEN EXISTS (
                SELECT 1 FROM "NAMESPACE.dead_letters" AS again
                WHERE again.event_id = sent.event_id AND again.generation > sent.generation
                      AND (NOT there OR again.destination = sent.destination))
            THEN 'died_again'
            WHEN NOT there
                AND NOT EXISTS (
                    SELECT 1 FROM "NAMESPACE.deliveries" AS delivery
                    WHERE delivery.event_id = sent.event_id
                          AND delivery.generation > sent.generation AND status = 'due')
                AND (EXISTS (
                        SELECT 1 FROM "NAMESPACE.deliveries" AS delivery
                        WHERE delivery.event_id = sent.event_id
                              AND delivery.generation > sent.generation
                              AND status = 'delivered')
                     OR EXISTS (
                        SELECT 1 FROM "NAMESPACE.rejections" AS rejection
                        WHERE rejection.event_id = sent.event_id
                              AND rejected_at >= sent.replayed_at)
                     OR NOT stored AND EXISTS (
                        SELECT 1 FROM "NAMESPACE.events" AS event
                        WHERE event.event_id = sent.event_id))
            THEN 'completed'
            ELSE 'under_way'
        END AS became
        FROM sent
    )
    SELECT replayed,
           (SELECT count(*) FROM judged WHERE became = 'completed') AS completed,
           (SELECT count(*) FROM judged WHERE became = 'died_again') AS died_again,
           (SELECT count(*) FROM judged WHERE became = 'under_way') AS under_way
    FROM "NAMESPACE.replays" WHERE replay_id = $1"#;

pub(super) async fn claim(
    store: &SqliteStore,
    replay: Uuid,
    most: u32,
) -> Result<Vec<DeadLetter>, StoreError> {
    // A replay's filter and queue never change, so they can be read before the transaction.
    let Some(known) = store.operation(replay).await? else {
        return Err(no_such_operation(replay));
    };
    if known.slice.is_some() {
        return Err(of_history(replay));
    }
    let claim = Claim {
        id: replay,
        replay: known,
        most: most.into(),
    };
    let rows = store
        .link
        .write(move |connection, link| Box::pin(async move { claim.run(connection, link).await }))
        .await?;
    rows.into_iter().map(DeadLetter::try_from).collect()
}

/// The claim of one call.
struct Claim {
    id: Uuid,
    replay: Progress,
    most: i64,
}

impl Claim {
    async fn run(
        &self,
        connection: &mut SqliteConnection,
        link: &Link,
    ) -> Result<Vec<LetterRow>, Error> {
        let running: bool = sqlx::query_scalar(link.sql(IS_RUNNING))
            .bind(self.id)
            .fetch_one(&mut *connection)
            .await?;
        if !running {
            return Ok(Vec::new());
        }
        loop {
            let chosen = self.choose(connection, link).await?;
            if chosen.is_empty() {
                return Ok(Vec::new());
            }
            let free = superseded::left_open(connection, link, chosen).await?;
            if !free.is_empty() {
                return self.take(connection, link, &free).await;
            }
        }
    }

    /// Open letters, the oldest first.
    async fn choose(
        &self,
        connection: &mut SqliteConnection,
        link: &Link,
    ) -> Result<Vec<Uuid>, Error> {
        let mut open = matching(
            link.in_namespace(OPEN),
            &self.replay.filter,
            Some(DeadState::Open),
        )?;
        // A letter that died after the replay began has died of it, or may have: sending that too would send it in
        // circles.
        open.push(link.in_namespace(
            r#" AND archived_at <= (SELECT started_at FROM "NAMESPACE.replays" WHERE replay_id = "#,
        ));
        open.push_bind(self.id)
            .push(") ORDER BY last_failed_at, dead_letter_id LIMIT ")
            .push_bind(self.most);
        Ok(open.build_query_scalar().fetch_all(connection).await?)
    }

    /// Claims open letters.
    async fn take(
        &self,
        connection: &mut SqliteConnection,
        link: &Link,
        letters: &[Uuid],
    ) -> Result<Vec<LetterRow>, Error> {
        let free = document(letters)?;
        sqlx::query(link.sql(CLAIM))
            .bind(self.id)
            .bind(&free)
            .execute(&mut *connection)
            .await?;
        sqlx::query(link.sql(MAKE_DUE))
            .bind(&free)
            .bind(now()?)
            .bind(INTEGRATE)
            .bind(self.replay.to_queue.as_deref())
            .execute(&mut *connection)
            .await?;
        Ok(sqlx::query_as(link.sql(CLAIMED))
            .bind(&free)
            .fetch_all(connection)
            .await?)
    }
}
