//! How many dead letters there are, and in which groups: from the counts that triggers keep, wherever those
//! can tell.

use time::OffsetDateTime;

use super::filter::{Matching, ODD, Place, Statement, push_window};
use crate::store::postgres::link::Link;
use crate::store::tables::groups::{GroupRow, hourly, in_whole_hours, whole_hours};
use crate::store::{DeadFilter, DeadGroup, DeadState, StoreError};

pub(super) async fn count(
    link: &Link,
    filter: &DeadFilter,
) -> Result<u64, StoreError> {
    let matching = super::matching_counts(link, filter).await?;
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
pub(super) fn push_count(query: &mut Statement, matching: &Matching) {
    query.push("SELECT COALESCE(sum(letters), 0)::bigint FROM (");
    push_parts(query, matching);
    query.push(") AS counted");
}

/// Numbers of letters that add up to how many match.
fn push_parts(query: &mut Statement, matching: &Matching) {
    const OF_LETTERS: &str = "SELECT count(*) AS letters FROM dead_letters AS letter";
    if !matching.is_of_classes() {
        query.push(OF_LETTERS).push(" WHERE true");
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
        query.push(" UNION ALL ").push(OF_LETTERS).push(" JOIN (");
        matching.push_classes(query);
        query.push(") AS class USING (class_id) WHERE letter.state = ANY(");
        // Of all states, where any will do: they come before the moment in the index.
        query.push_bind(matching.states()).push(")");
        matching.push_print(query);
        push_window(query, Some(since), Some(until));
    }
    for place in matching.places_of_errors() {
        query.push(" UNION ALL ").push(OF_LETTERS).push(" WHERE ");
        push_of_errors(query, matching, &place);
    }
    if matching.is_of_type() {
        query.push(" UNION ALL ").push(OF_LETTERS);
        query.push(" WHERE ").push(ODD);
        matching.push_conditions(query);
    }
}

pub(super) async fn stats(
    link: &Link,
    filter: &DeadFilter,
    most: u32,
) -> Result<Vec<DeadGroup>, StoreError> {
    let filter = in_whole_hours(filter);
    let matching = super::matching_counts(link, &filter).await?;
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

/// The largest groups of the letters that match.
pub(super) fn push_groups(query: &mut Statement, matching: &Matching, most: u32) {
    query.push("WITH ");
    push_largest(query, matching, most);
    query.push(GROUPS);
}

#[derive(sqlx_macros::FromRow)]
struct GroupWithHistory {
    #[sqlx(flatten)]
    group: GroupRow,
    hours: Vec<OffsetDateTime>,
    by_hour: Vec<i64>,
}

/// The largest groups as `largest`, and what is counted of them by state and hour as `counted`.
fn push_largest(query: &mut Statement, matching: &Matching, most: u32) {
    const LARGEST: &str = "SELECT group_id, fingerprint, sum(letters)::bigint AS letters,
            COALESCE(sum(letters) FILTER (WHERE state = 'open'), 0)::bigint AS open";
    const FIRST: &str =
        " GROUP BY group_id, fingerprint ORDER BY letters DESC, group_id, fingerprint LIMIT ";
    let asks_for_all_hours = matching.window() == (None, None);
    let kept_tell_all =
        matching.is_of_classes() && !matching.is_of_type() && !matching.is_of_errors();
    if kept_tell_all && asks_for_all_hours {
        // Which groups they are is told by the counts of all hours together. Only theirs are looked at
        // hour by hour.
        query.push("largest AS (").push(LARGEST);
        push_kept(query, matching);
        query.push(" AND hour = '-infinity'").push(FIRST);
        query.push_bind(i64::from(most));
        query.push("), counted AS (");
        push_ends(query, matching);
        query.push(")");
    } else {
        query.push("counted AS MATERIALIZED (");
        push_counted(query, matching);
        query.push("), largest AS (").push(LARGEST);
        query.push(" FROM counted").push(FIRST);
        query.push_bind(i64::from(most)).push(")");
    }
}

/// What is counted of the largest groups in their first hour and in the last 24: all that is told of them.
fn push_ends(query: &mut Statement, matching: &Matching) {
    const OF_CLASS: &str = "SELECT state, hour, letters, first_at, last_at
        FROM dead_letter_counts AS counts
        WHERE counts.class_id = class.class_id AND counts.fingerprint = largest.fingerprint
              AND letters > 0 AND hour > '-infinity'";
    let push_of_class = |query: &mut Statement| {
        query.push(OF_CLASS);
        matching.push_counted_state(query);
    };
    query.push(
        "SELECT group_id, fingerprint, ends.state, ends.hour, ends.letters, ends.first_at, ends.last_at
        FROM largest JOIN (",
    );
    matching.push_classes(query);
    // As many as there are states may be of one hour.
    query.push(") AS class USING (group_id) CROSS JOIN LATERAL ((");
    push_of_class(query);
    query
        .push(" ORDER BY hour LIMIT ")
        .push_bind(i64::try_from(DeadState::ALL.len()).unwrap_or(i64::MAX));
    query.push(") UNION (");
    push_of_class(query);
    query.push(" AND hour > (SELECT hour - interval '24 hours' FROM (");
    push_of_class(query);
    query.push(" ORDER BY hour DESC LIMIT 1) AS last))) AS ends");
}

/// The groups, each with the 24 hours that end with that of its last letter.
const GROUPS: &str = ", hourly AS (
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

/// Counts by group, fingerprint, state and hour of the letters that match: those that are kept, as far as
/// they can tell, and else the letters themselves.
fn push_counted(query: &mut Statement, matching: &Matching) {
    if !matching.is_of_classes() {
        query.push(BY_HOUR).push("true");
        matching.push_conditions(query);
        query.push(" GROUP BY 1, 2, 3, 4");
        return;
    }
    query.push(HOURS);
    push_kept(query, matching);
    query.push(" AND hour > '-infinity'");
    for place in matching.places_of_errors() {
        query.push(" UNION ALL ");
        push_errors_by_hour(query, matching, &place);
    }
    if matching.is_of_type() {
        query.push(" UNION ALL ").push(BY_HOUR).push(ODD);
        matching.push_conditions(query);
        query.push(" GROUP BY 1, 2, 3, 4");
    }
}

const BY_HOUR: &str = "SELECT class.group_id, letter.fingerprint, letter.state,
        date_trunc('hour', letter.last_failed_at, 'UTC') AS hour, count(*) AS letters,
        min(letter.last_failed_at) AS first_at, max(letter.last_failed_at) AS last_at
    FROM dead_letters AS letter JOIN dead_letter_classes AS class USING (class_id) WHERE ";

/// The same of letters that match for their error, out of an index alone.
fn push_errors_by_hour(query: &mut Statement, matching: &Matching, place: &Place<'_>) {
    query.push("SELECT class.group_id, told.fingerprint, state, hour, letter.letters, first_at, last_at FROM (SELECT ");
    query.push(place.key()).push(
        ", class_id, state, date_trunc('hour', last_failed_at, 'UTC') AS hour,
                count(*) AS letters, min(last_failed_at) AS first_at, max(last_failed_at) AS last_at
            FROM dead_letters AS letter WHERE ",
    );
    push_of_errors(query, matching, place);
    query.push(
        " GROUP BY 1, 2, 3, 4) AS letter JOIN dead_letter_classes AS class USING (class_id) JOIN ",
    );
    place.push_told(query);
    query.push(" USING (").push(place.key()).push(")");
}

/// The letters that match for their error and not for their fingerprint, of types that are in their class.
fn push_of_errors(query: &mut Statement, matching: &Matching, place: &Place<'_>) {
    place.push(query);
    matching.push_in_classes(query);
    matching.push_state(query);
    let (since, until) = matching.window();
    push_window(query, since, until);
}

const HOURS: &str = "SELECT group_id, fingerprint, state, hour, letters, first_at, last_at";

/// The kept counts of the classes, states and whole hours that are asked for.
fn push_kept(query: &mut Statement, matching: &Matching) {
    query.push(" FROM dead_letter_counts AS counts JOIN (");
    matching.push_classes(query);
    query.push(") AS class USING (class_id) WHERE letters > 0");
    matching.push_counted_state(query);
    matching.push_counted_print(query);
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
