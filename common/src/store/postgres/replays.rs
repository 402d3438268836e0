//! Replays: claiming dead letters, so that each is sent by one replay alone; and the outcomes of those letters.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::PgConnection;
use uuid::Uuid;

use super::PostgresStore;
use super::dead::{Choice, Matching, Order, Statement, superseded};
use super::link::Link;
use crate::store::tables::letters::{INTEGRATE, LetterRow};
use crate::store::tables::operations::{no_such_operation, of_history};
use crate::store::{DeadLetter, DeadState, Operations as _, Progress, StoreError};

/// The letters that match the replay that has claimed last and are no older than its claimed letters. So its text
/// is not looked for again with each claim. Nor are all its claimed letters passed by, which an index holds on to
/// for a while.
#[derive(Clone, Default)]
pub(super) struct LastClaim(Arc<Mutex<Option<(Uuid, Matching)>>>);

impl LastClaim {
    fn of(&self, replay: Uuid) -> Option<Matching> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_it = last.as_ref().filter(|(id, _)| *id == replay);
        of_it.map(|(_, matching)| matching.clone())
    }

    fn keep(&self, replay: Uuid, matching: Matching) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((replay, matching));
    }
}

pub(super) async fn claim(
    store: &PostgresStore,
    replay: Uuid,
    most: u32,
) -> Result<Vec<DeadLetter>, StoreError> {
    let (link, last) = (&store.link, &store.last_claim);
    // A replay's filter and queue never change, so they can be read before the transaction.
    let Some(known) = store.operation(replay).await? else {
        return Err(no_such_operation(replay));
    };
    if known.slice.is_some() {
        return Err(of_history(replay));
    }
    if let Some(matching) = last.of(replay) {
        let letters = claim_matching(link, matching.clone(), &known, most).await?;
        if let Some(newest) = letters.last() {
            last.keep(replay, matching.since(newest.last_failed_at));
            return Ok(letters);
        }
        // An older letter may be open: given back by somebody else, or come late, maybe with an error that was
        // not there before. So nothing is left only when it was looked for anew.
    }
    let matching = Matching::new(&known.filter, Some(DeadState::Open));
    let letters = claim_matching(link, matching.clone(), &known, most).await?;
    if let Some(newest) = letters.last() {
        last.keep(replay, matching.since(newest.last_failed_at));
    }
    Ok(letters)
}

async fn claim_matching(
    link: &Link,
    matching: Matching,
    replay: &Progress,
    most: u32,
) -> Result<Vec<DeadLetter>, StoreError> {
    let claim = Arc::new(Claim {
        replay: replay.id,
        matching,
        choice: Choice {
            order: Order::OldestFirst,
            after: None,
            // A letter that died after the replay began has died of it, or may have: sending that too would send
            // it in circles.
            archived_by: Some(replay.started_at.0),
            most: most.into(),
        },
        to_queue: replay.to_queue.clone(),
    });
    let rows: Vec<LetterRow> = link
        .transaction(move |connection| {
            let claim = Arc::clone(&claim);
            Box::pin(async move { claim.run(connection).await })
        })
        .await?;
    rows.into_iter().map(DeadLetter::try_from).collect()
}

/// The claim of one call.
struct Claim {
    replay: Uuid,
    matching: Matching,
    choice: Choice,
    to_queue: Option<String>,
}

impl Claim {
    async fn run(&self, connection: &mut PgConnection) -> Result<Vec<LetterRow>, sqlx::Error> {
        // Delays the end of the replay until its claims are committed, so that none is left behind. Delays no
        // mark.
        let running: Option<(Uuid,)> = sqlx::query_as(
            "SELECT replay_id FROM replays WHERE replay_id = $1 AND state = 'running' FOR KEY SHARE",
        )
        .bind(self.replay)
        .fetch_optional(&mut *connection)
        .await?;
        if running.is_none() {
            return Ok(Vec::new());
        }
        loop {
            let chosen = self.choose(connection).await?;
            let any_chosen = !chosen.is_empty();
            let free = superseded::left_open(connection, chosen).await?;
            if !free.is_empty() {
                return self.take(connection, free).await;
            }
            // Superseded letters are out of the way now; letters in other hands are waited for.
            let more = any_chosen || self.choice.most > 0 && self.another_waits(connection).await?;
            if !more {
                return Ok(Vec::new());
            }
        }
    }

    /// Whether an open letter is left after all, in the hands of somebody else. Its outcome there is waited for,
    /// as it may be given back.
    async fn another_waits(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let choice = Choice {
            most: 1,
            ..self.choice
        };
        let mut query = Statement::new("SELECT dead_letter_id FROM (");
        self.matching.push_chosen(&mut query, choice);
        query.push(") AS chosen");
        let open: Option<(Uuid,)> = query
            .build_query_as()
            .persistent(false)
            .fetch_optional(&mut *connection)
            .await?;
        let Some((open,)) = open else {
            return Ok(false);
        };
        sqlx::query("SELECT FROM dead_letters WHERE dead_letter_id = $1 FOR UPDATE")
            .bind(open)
            .execute(connection)
            .await?;
        Ok(true)
    }

    /// Open letters, the oldest first, that nobody else works on.
    async fn choose(&self, connection: &mut PgConnection) -> Result<Vec<Uuid>, sqlx::Error> {
        let mut query = Statement::new("");
        self.matching.push_locked(&mut query, self.choice);
        query
            .build_query_scalar()
            .persistent(false)
            .fetch_all(connection)
            .await
    }

    /// Claims letters that are locked.
    async fn take(
        &self,
        connection: &mut PgConnection,
        letters: Vec<Uuid>,
    ) -> Result<Vec<LetterRow>, sqlx::Error> {
        let mut query = Statement::new(
            "WITH claimed AS (UPDATE dead_letters SET state = 'replaying', replay_id = ",
        );
        query.push_bind(self.replay);
        query
            .push(" WHERE dead_letter_id = ANY(")
            .push_bind(letters);
        query.push(
            ") RETURNING dead_letters.*
            ), due AS (
                INSERT INTO deliveries (event_id, destination, generation)
                SELECT DISTINCT event_id, destination, generation + 1
                FROM claimed
                WHERE event_id IS NOT NULL AND destination IS NOT NULL
                      -- There is no generation after the last.
                      AND generation < 4294967295
                      AND stage = ",
        );
        query.push_bind(INTEGRATE);
        if let Some(to_queue) = &self.to_queue {
            // A letter sent elsewhere does not make this delivery.
            query.push(" AND queue = ").push_bind(to_queue.clone());
        }
        query.push(
            "   ORDER BY 1, 2, 3
                ON CONFLICT (event_id, destination, generation) DO NOTHING
            )
            SELECT * FROM claimed ORDER BY last_failed_at, dead_letter_id",
        );
        query
            .build_query_as()
            .persistent(false)
            .fetch_all(connection)
            .await
    }
}

/// A letter on its way to its destination is done with the delivery of its next generation. Other letters were
/// sent to another queue, or died before they were stored. They are done once nothing is due any more, and
/// something of a later generation is delivered, they were refused since, or they are stored.
pub(super) const OUTCOME: &str = "WITH sent AS (
        SELECT letter.event_id, letter.destination, letter.generation, letter.replayed_at,
               letter.stage = $2 AS stored,
               letter.stage = $2 AND letter.destination IS NOT NULL
                   AND (to_queue IS NULL OR to_queue = letter.queue) AS there
        FROM replays JOIN dead_letters AS letter USING (replay_id)
        WHERE replay_id = $1 AND letter.state = 'replayed' AND letter.event_id IS NOT NULL
        ORDER BY dead_letter_id LIMIT $3
    ), judged AS (
        SELECT CASE
            WHEN there AND EXISTS (
                SELECT FROM deliveries
                WHERE deliveries.event_id = sent.event_id
                      AND deliveries.destination = sent.destination
                      AND deliveries.generation = sent.generation + 1 AND status = 'delivered')
            THEN 'completed'
            WHEN EXISTS (
                SELECT FROM dead_letters AS again
                WHERE again.event_id = sent.event_id AND again.generation > sent.generation
                      AND (NOT there OR again.destination = sent.destination))
            THEN 'died_again'
            WHEN NOT there
                AND NOT EXISTS (
                    SELECT FROM deliveries
                    WHERE deliveries.event_id = sent.event_id
                          AND deliveries.generation > sent.generation AND status = 'due')
                AND (EXISTS (
                        SELECT FROM deliveries
                        WHERE deliveries.event_id = sent.event_id
                              AND deliveries.generation > sent.generation
                              AND status = 'delivered')
                     OR EXISTS (
                        SELECT FROM rejections
                        WHERE rejections.event_id = sent.event_id
                              AND rejected_at >= sent.replayed_at)
                     OR NOT stored AND EXISTS (
                        SELECT FROM events WHERE events.event_id = sent.event_id))
            THEN 'completed'
            ELSE 'under_way'
        END AS became
        FROM sent
    )
    SELECT replayed,
           (SELECT count(*) FROM judged WHERE became = 'completed') AS completed,
           (SELECT count(*) FROM judged WHERE became = 'died_again') AS died_again,
           (SELECT count(*) FROM judged WHERE became = 'under_way') AS under_way
    FROM replays WHERE replay_id = $1";
