use std::{borrow::Cow, sync::Arc};

use anyhow::{Context, Result};
use lapin::message::Delivery;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, PgPool, SqlSafeStr, SqlStr};
use uuid::Uuid;

use crate::Namespace;

/// Writes a batch of signups with their due deliveries: one statement, so one transaction and one round trip.
pub(super) struct Insert {
    pool: PgPool,
    sql: SqlStr,
}

/// A signup as the event carries it.
#[derive(Deserialize)]
struct Signup<'a> {
    id: Uuid,
    #[serde(rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    data: Form<'a>,
}

#[derive(Deserialize)]
struct Form<'a> {
    #[serde(borrow)]
    email: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    plan: Option<Cow<'a, str>>,
    #[serde(borrow)]
    locale: Option<Cow<'a, str>>,
    #[serde(borrow)]
    attributes: &'a RawValue,
}

impl Insert {
    pub(super) fn new(pool: PgPool, namespace: &Namespace) -> Self {
        let sql = format!(
            "with batch as materialized (
                 select * from unnest(
                     $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[],
                     $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[]
                 ) as t(id, type, source, time, body, fingerprint,
                        email, email_normalised, name, plan, locale, attributes)
             ), event as (
                 insert into {namespace}.events
                     (event_id, type, source, source_id, publisher, time, received_at, accepted_at,
                      fingerprint, body)
                 select id, type, source, id::text, 'twin', time::timestamptz, now(), now(),
                        fingerprint, body::json
                 from batch on conflict do nothing
             ), signup as (
                 insert into {namespace}.signups
                     (event_id, email, email_normalised, name, plan, locale, attributes)
                 select id, email, email_normalised, name, plan, locale, attributes::json
                 from batch on conflict do nothing
             )
             insert into {namespace}.deliveries (event_id, destination, generation)
             select id, 'bench', 0 from batch on conflict do nothing"
        );
        Self {
            pool,
            // Only a `Namespace` is put into the text, and it holds nothing that would need quoting.
            sql: AssertSqlSafe(sql).into_sql_str(),
        }
    }

    /// Stores the events of these deliveries and gives the deliveries back.
    pub(super) async fn run(self: Arc<Self>, deliveries: Vec<Delivery>) -> Result<Vec<Delivery>> {
        let mut signups = Vec::with_capacity(deliveries.len());
        let mut bodies = Vec::with_capacity(deliveries.len());
        for delivery in &deliveries {
            let body = std::str::from_utf8(&delivery.data).context("an event is not UTF-8")?;
            let signup: Signup<'_> =
                serde_json::from_str(body).context("an event is not a signup")?;
            bodies.push(body);
            signups.push(signup);
        }
        let fingerprints: Vec<[u8; 32]> = bodies
            .iter()
            .map(|body| Sha256::digest(body).into())
            .collect();
        let fingerprints: Vec<&[u8]> = fingerprints.iter().map(|print| &print[..]).collect();
        sqlx::query(self.sql.clone())
            .bind(column(&signups, |s| s.id))
            .bind(column(&signups, |s| &*s.kind))
            .bind(column(&signups, |s| &*s.source))
            .bind(column(&signups, |s| &*s.time))
            .bind(bodies)
            .bind(fingerprints)
            .bind(column(&signups, |s| &*s.data.email))
            .bind(column(&signups, |s| s.data.email.to_lowercase()))
            .bind(column(&signups, |s| &*s.data.name))
            .bind(column(&signups, |s| s.data.plan.as_deref()))
            .bind(column(&signups, |s| s.data.locale.as_deref()))
            .bind(column(&signups, |s| s.data.attributes.get()))
            .execute(&self.pool)
            .await
            .context("the database did not take a batch of events")?;
        drop(signups);
        Ok(deliveries)
    }
}

/// One value of each signup, in order.
fn column<'s, 'e, T>(signups: &'s [Signup<'e>], value: impl Fn(&'s Signup<'e>) -> T) -> Vec<T> {
    signups.iter().map(value).collect()
}
