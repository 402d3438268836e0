//! The groups of dead letters. They are counted each time: this is the engine of one machine.

use time::OffsetDateTime;

use super::filter::matching;
use crate::store::sqlite::link::Link;
use crate::store::tables::groups::{GroupRow, hourly, in_whole_hours};
use crate::store::{DeadFilter, DeadGroup, Hourly, StoreError};

const COUNTED: &str = r#"WITH counted AS MATERIALIZED (
        SELECT queue, reason, destination, fingerprint,
               substr(last_failed_at, 1, 13) || ':00:00.000000Z' AS hour, count(*) AS letters,
               sum(state = 'open') AS open, min(last_failed_at) AS first_at,
               max(last_failed_at) AS last_at
        FROM "NAMESPACE.dead_letters" WHERE "#;

const LARGEST: &str = " GROUP BY 1, 2, 3, 4, 5
    ), largest AS (
        SELECT queue, reason, destination, fingerprint, sum(letters) AS letters, sum(open) AS open,
               min(first_at) AS first_at, max(last_at) AS last_at
        FROM counted GROUP BY 1, 2, 3, 4
        ORDER BY letters DESC, queue, reason, destination, fingerprint LIMIT ";

/// A row for each hour of each group.
const BY_HOUR: &str = ")
    SELECT queue, reason, largest.destination, fingerprint, largest.letters, largest.open,
           largest.first_at, largest.last_at, hour, counted.letters AS in_hour
    FROM largest JOIN counted USING (queue, reason, fingerprint)
    WHERE largest.destination IS counted.destination
          AND hour > strftime('%Y-%m-%dT%H:00:00.000000Z', largest.last_at, '-24 hours')
    ORDER BY largest.letters DESC, queue, reason, largest.destination, fingerprint, hour";

#[derive(sqlx_macros::FromRow)]
struct HourOfGroup {
    #[sqlx(flatten)]
    group: GroupRow,
    hour: OffsetDateTime,
    in_hour: i64,
}

pub(super) async fn stats(
    link: &Link,
    filter: &DeadFilter,
    most: u32,
) -> Result<Vec<DeadGroup>, StoreError> {
    let filter = in_whole_hours(filter);
    let mut query = matching(link.in_namespace(COUNTED), &filter, filter.state)?;
    query.push(LARGEST).push_bind(i64::from(most)).push(BY_HOUR);
    let rows: Vec<HourOfGroup> = link
        .read(move |connection| {
            Box::pin(async move { Ok(query.build_query_as().fetch_all(connection).await?) })
        })
        .await?;
    let mut groups: Vec<(GroupRow, Vec<Hourly>)> = Vec::new();
    for row in rows {
        let hour = hourly((row.hour, row.in_hour));
        match groups.last_mut() {
            Some((group, history)) if group.is_same_as(&row.group) => history.push(hour),
            _ => groups.push((row.group, vec![hour])),
        }
    }
    groups
        .into_iter()
        .map(|(group, history)| group.group(history))
        .collect()
}
