//! A namespace full of dead letters, as after a bad month: a flood of one kind at the end, and a mixture of others
//! before it. So a filter's matches lie far from the newest.

use std::str::FromStr;

use anyhow::{Context, Result};
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};

use crate::Namespace;

/// Letters that are inserted by one statement.
const BATCH: i64 = 20_000;

/// How many of ten letters belong to the flood.
const FLOOD: i64 = 6;

/// The letters numbered from `$1` on and before `$2` of `$3`. The flood is that of a receiver that was down in the last
/// hours, and half of it is replayed already. The rest died over twenty days in several queues, for several reasons.
const INSERT: &str = "INSERT INTO dead_letters
        (dead_letter_id, event_id, type, source, queue, stage, destination, generation, reason, error, fingerprint,
         attempts, first_failed_at, last_failed_at, routing_key, content_type, properties, headers, body, state,
         replay_id, replayed_at)
    SELECT gen_random_uuid(), gen_random_uuid(), type, '/bench', 'bench.' || stage || COALESCE('.' || destination, ''),
           stage, destination, 0, reason, error, fingerprint, 12, died - interval '1 hour', died, type,
           'application/cloudevents+json', json_build_object('message_id', n::text),
           '{\"longshore-attempt\":12}',
           convert_to('{\"data\":\"' || repeat(md5(n::text), 16) || '\"}', 'UTF8'), state,
           CASE WHEN state = 'replayed' THEN $5::uuid END, CASE WHEN state = 'replayed' THEN died END
    FROM (
        SELECT n, 'signup.requested' AS type, 'integrate' AS stage, 'crm' AS destination,
               'receiver_failing' AS reason, 'expected a 2xx, found 503 after ' || n % 900 || ' ms' AS error,
               'expected a #xx, found # after # ms' AS fingerprint,
               now() - (n * interval '4 hours' / $3) AS died,
               CASE WHEN n % 2 = 0 THEN 'open' ELSE 'replayed' END AS state
        FROM generate_series($1::bigint, $2::bigint - 1) AS n WHERE n < $3 * $4 / 10
        UNION ALL
        SELECT n, (ARRAY['signup.requested', 'processing.requested', 'order.placed'])[1 + n % 3],
               CASE WHEN n % 5 = 0 THEN 'store' ELSE 'integrate' END,
               CASE WHEN n % 5 = 0 THEN NULL ELSE (ARRAY['crm', 'mail', 'shop', 'ledger'])[1 + n % 4] END,
               CASE WHEN n % 5 = 0 THEN 'unstorable'
                    ELSE (ARRAY['receiver_failing', 'receiver_gone', 'timed_out', 'panicked'])[1 + n / 7000 % 4] END,
               CASE WHEN n % 5 = 0 THEN 'order ' || n || ' is unknown'
                    ELSE 'connect to 10.0.' || n % 250 || '.' || n / 250 % 4 || ': ' || outage END,
               CASE WHEN n % 5 = 0 THEN 'order # is unknown' ELSE 'connect to #: ' || outage END,
               now() - interval '4 hours' - (n * interval '20 days' / $3),
               (ARRAY['open', 'open', 'replayed', 'open'])[1 + n / 11 % 4]
        FROM generate_series($1::bigint, $2::bigint - 1) AS n
        CROSS JOIN LATERAL (VALUES ('refused in outage ' || chr((65 + (n * 64 / $3) % 26)::int))) AS told (outage)
        WHERE n >= $3 * $4 / 10
    ) AS made";

/// Fills the tables of Longshore in the schema named after the namespace with `count` dead letters.
///
/// # Errors
/// When the database cannot be reached or refuses, or the schema does not exist.
pub async fn fill(database_url: &str, namespace: &Namespace, count: i64) -> Result<()> {
    let options = PgConnectOptions::from_str(database_url)
        .context("the database URL cannot be read")?
        .options([("search_path", namespace.to_string())])
        // Twenty thousand letters a statement are slow on purpose.
        .disable_statement_logging();
    let mut connection = PgConnection::connect_with(&options)
        .await
        .context("cannot connect to the database")?;
    let replay: sqlx::types::Uuid = sqlx::query_scalar(
        "INSERT INTO replays (replay_id, filter, who, state, ended_at)
        VALUES (gen_random_uuid(), '{}', 'bench', 'done', now()) RETURNING replay_id",
    )
    .fetch_one(&mut connection)
    .await?;
    let mut from = 0;
    while from < count {
        let to = count.min(from + BATCH);
        sqlx::query(INSERT)
            .bind(from)
            .bind(to)
            .bind(count)
            .bind(FLOOD)
            .bind(replay)
            .execute(&mut connection)
            .await
            .with_context(|| format!("cannot insert the dead letters from number {from} on"))?;
        from = to;
    }
    // The work that autovacuum would have done meanwhile.
    sqlx::query(
        "VACUUM ANALYZE dead_letters, dead_letter_counts, dead_letter_errors, dead_letter_classes",
    )
    .execute(&mut connection)
    .await?;
    connection
        .close()
        .await
        .context("the connection to the database did not close")
}
