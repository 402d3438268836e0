//! How questions about dead letters are answered: the statements of the others in this folder, explained.

use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::filter::{Matching, Statement};
use super::{counts, found, prints, push_errors_by_print, push_page, push_prints};
use crate::store::postgres::link::Link;
use crate::store::tables::groups::in_whole_hours;
use crate::store::{DeadFilter, DeadPage, StoreError};

/// A question about dead letters, where it is asked how it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadQuestion {
    /// A page of the list.
    List(DeadPage),
    /// How many there are.
    Count,
    /// How many of the largest groups to tell.
    Stats(u32),
}

/// Runs a statement and tells its plan.
const EXPLAIN: &str = "EXPLAIN (ANALYZE, FORMAT JSON) ";

pub(in crate::store::postgres) async fn plans(
    link: &Link,
    filter: &DeadFilter,
    question: DeadQuestion,
) -> Result<Vec<Value>, StoreError> {
    let filter = match question {
        DeadQuestion::Stats(_) => in_whole_hours(filter),
        DeadQuestion::List(_) | DeadQuestion::Count => filter.clone(),
    };
    let as_wholes = !matches!(question, DeadQuestion::List(_));
    let matching = found(link, &filter, filter.state, as_wholes).await?;
    link.run(move |connection| {
        let matching = matching.clone();
        Box::pin(async move { explain(connection, &matching, question).await })
    })
    .await
}

async fn explain(
    connection: &mut PgConnection,
    matching: &Matching,
    question: DeadQuestion,
) -> Result<Vec<Value>, sqlx::Error> {
    let mut plans = Vec::new();
    if let Some((fingerprint, text)) = matching.to_find() {
        let (fingerprint, text) = (fingerprint.as_deref(), text.as_ref());
        let mut query = Statement::new(EXPLAIN);
        push_prints(&mut query, fingerprint, text);
        plans.push(plan(connection, query).await?);
        let others = prints(connection, fingerprint, text).await?.others;
        if let Some(text) = text.filter(|_| !others.is_empty()) {
            let mut query = Statement::new(EXPLAIN);
            push_errors_by_print(&mut query, text, &others);
            plans.push(plan(connection, query).await?);
        }
    }
    let mut query = Statement::new(EXPLAIN);
    match question {
        DeadQuestion::List(page) => push_page(&mut query, matching, page),
        DeadQuestion::Count => counts::push_count(&mut query, matching),
        DeadQuestion::Stats(most) => counts::push_groups(&mut query, matching, most),
    }
    plans.push(plan(connection, query).await?);
    Ok(plans)
}

async fn plan(connection: &mut PgConnection, mut query: Statement) -> Result<Value, sqlx::Error> {
    let Json(plan) = query
        .build_query_scalar::<Json<Value>>()
        .persistent(false)
        .fetch_one(connection)
        .await?;
    Ok(plan)
}
