//! The numbers and groups of dead letters: from the counts that triggers keep, wherever those suffice.

use time::OffsetDateTime;

use super::filter::{Matching, Statement, UNVALIDATED, push_window};
use crate::store::postgres::link::Link;
use crate::store::tables::groups::{GroupRow, hourly, in_whole_hours, whole_hours};
use crate::store::{DeadFilter, DeadGroup, StoreError};

const OF_LETTERS: &str = "SELECT count(*) AS letters FROM dead_letters AS letter WHERE ";

/// Counts by the columns of indexes, and names the fingerprints afterwards. Every letter's error is in
/// `dead_letter_errors`, so a text's letters come from their index by error alone.
const BY_HOUR_BEGIN: &str = "SELECT group_id,
        (SELECT fingerprint FROM dead_letters AS named
         WHERE named.fingerprint_id = counted.fingerprint_id LIMIT 1) AS fingerprint,
        state, hour, counted.letters, first_at, last_at
    FROM (
        SELECT class_id, error.fingerprint_id, state, date_trunc('hour', last_failed_at, 'UTC') AS hour,
               count(*) AS letters, min(last_failed_at) AS first_at, max(last_failed_at) AS last_at
        FROM dead_letters AS letter JOIN dead_letter_errors AS error USING (error_id) WHERE ";
const BY_HOUR_END: &str = " GROUP BY 1, 2, 3, 4
    ) AS counted JOIN dead_letter_classes AS class USING (class_id)";

/// The largest groups of the letters that are `counted`.
const LARGEST: &str = "), largest AS (
        SELECT group_id, fingerprint, sum(letters)::bigint AS letters,
               COALESCE(sum(letters) FILTER (WHERE state = 'open'), 0)::bigint AS open
        FROM counted GROUP BY group_id, fingerprint
        ORDER BY letters DESC, group_id, fingerprint LIMIT ";

/// The groups, each with the 24 hours that end with that of its last letter.
const GROUPS: &str = "), hourly AS (
        SELECT group_id, fingerprint, hour, sum(counted.letters)::bigint AS letters,
               min(first_at) AS first_at, max(last_at) AS last_at
        FROM largest JOIN counted USING (group_id, fingerprint)
        GROUP BY group_id, fingerprint, hour
    ), told AS (
        SELECT group_id, fingerprint, min(first_at) AS first_at, max(last_at) AS last_at,
               max(hour) - interval '24 hours' AS before_history
        FROM hourly GROUP BY group_id, fingerprint
    ), history AS (
        SELECT group_id, fingerprint, array_agg(hour ORDER BY hour) AS hours,
               array_agg(letters ORDER BY hour) AS by_hour
        FROM hourly JOIN told USING (group_id, fingerprint)
        WHERE hour > before_history
        GROUP BY group_id, fingerprint
    ), named AS (
        SELECT DISTINCT ON (group_id) group_id, queue, reason, destination
        FROM dead_letter_classes ORDER BY group_id
    )
    SELECT queue, reason, destination, fingerprint, letters, open, first_at, last_at, hours, by_hour
    FROM largest
    JOIN told USING (group_id, fingerprint)
    JOIN history USING (group_id, fingerprint)
    JOIN named USING (group_id)
    ORDER BY letters DESC, group_id, fingerprint";

pub(super) async fn count(link: &Link, filter: &DeadFilter) -> Result<u64, StoreError> {
    let matching = Matching::new(filter, filter.state);
    let count: i64 = link
        .run(move |connection| {
            let matching = matching.clone();
            Box::pin(async move {
                let mut query = Statement::new("");
                push_count(&mut query, &matching);
                query
                    .build_query_scalar()
                    .persistent(false)
                    .fetch_one(connection)
                    .await
            })
        })
        .await?;
    Ok(count.unsigned_abs())
}

/// How many letters match.
fn push_count(query: &mut Statement, matching: &Matching) {
    query.push("SELECT COALESCE(sum(letters), 0)::bigint FROM (");
    push_parts(query, matching);
    query.push(") AS counted");
}

/// Numbers of letters that add up to how many match.
fn push_parts(query: &mut Statement, matching: &Matching) {
    if !matching.is_of_classes() {
        query.push(OF_LETTERS).push("true");
        matching.push_conditions(query);
        return;
    }
    query.push("SELECT letters");
    push_kept(query, matching);
    let (since, until) = matching.window();
    if (since, until) == (None, None) {
        query.push(" AND hour = '-infinity'");
    }
    // The hours at either end that are not wholly asked for.
    for (since, until) in whole_hours(since, until).edges {
        query.push(" UNION ALL ").push(OF_LETTERS);
        query.push("letter.class_id = ANY(ARRAY(SELECT class_id FROM (");
        matching.push_classes(query);
        query.push(") AS class)) AND letter.state = ANY(");
        // Of all states, if any will do: they come before the moment in the index.
        query.push_bind(matching.states()).push(")");
        matching.push_fingerprint(query);
        push_window(query, Some(since), Some(until));
    }
    if matching.is_of_type() {
        query.push(" UNION ALL ").push(OF_LETTERS).push(UNVALIDATED);
        matching.push_conditions(query);
    }
}

pub(super) async fn stats(
    link: &Link,
    filter: &DeadFilter,
    most: u32,
) -> Result<Vec<DeadGroup>, StoreError> {
    let filter = in_whole_hours(filter);
    let matching = Matching::new(&filter, filter.state);
    let rows: Vec<GroupWithHistory> = link
        .run(move |connection| {
            let matching = matching.clone();
            Box::pin(async move {
                let mut query = Statement::new("");
                push_groups(&mut query, &matching, most);
                query
                    .build_query_as()
                    .persistent(false)
                    .fetch_all(connection)
                    .await
            })
        })
        .await?;
    rows.into_iter()
        .map(|row| {
            let history = row.hours.into_iter().zip(row.by_hour);
            row.group.group(history.map(hourly).collect())
        })
        .collect()
}

#[derive(sqlx_macros::FromRow)]
struct GroupWithHistory {
    #[sqlx(flatten)]
    group: GroupRow,
    hours: Vec<OffsetDateTime>,
    by_hour: Vec<i64>,
}

/// The largest groups of the letters that match.
fn push_groups(query: &mut Statement, matching: &Matching, most: u32) {
    query.push("WITH counted AS MATERIALIZED (");
    push_counted(query, matching);
    query.push(LARGEST).push_bind(i64::from(most));
    query.push(GROUPS);
}

/// Counts by group, fingerprint, state and hour of the letters that match: those that are kept, as far as
/// they can tell, and else the letters themselves.
fn push_counted(query: &mut Statement, matching: &Matching) {
    if !matching.is_of_classes() {
        push_by_hour(query, matching, "true");
        return;
    }
    query.push("SELECT group_id, fingerprint, state, hour, letters, first_at, last_at");
    push_kept(query, matching);
    query.push(" AND hour > '-infinity'");
    if matching.is_of_type() {
        query.push(" UNION ALL ");
        push_by_hour(query, matching, UNVALIDATED);
    }
}

/// Counts by group, fingerprint, state and hour of the letters themselves.
fn push_by_hour(query: &mut Statement, matching: &Matching, among: &str) {
    query.push(BY_HOUR_BEGIN).push(among);
    matching.push_conditions(query);
    query.push(BY_HOUR_END);
}

/// The kept counts of the classes, states and whole hours that are asked for.
fn push_kept(query: &mut Statement, matching: &Matching) {
    query.push(" FROM dead_letter_counts AS counts JOIN (");
    matching.push_classes(query);
    query.push(") AS class USING (class_id) WHERE letters > 0");
    matching.push_state(query, "counts");
    matching.push_counted_fingerprint(query);
    let (since, until) = matching.window();
    let whole = whole_hours(since, until);
    if let Some(from) = whole.from {
        query.push(" AND hour >= ").push_bind(from);
    }
    if let Some(to) = whole.to {
        // All hours together come before the first.
        query
            .push(" AND hour > '-infinity' AND hour < ")
            .push_bind(to);
    }
}
