//! Keys as rows.

use std::num::NonZeroU32;

use ipnet::IpNet;
use time::OffsetDateTime;

use super::text::keepable;
use crate::config::Rate;
use crate::key::{KeyHash, KnownKey, Scope, Scopes};
use crate::store::{Act, KeyRecord, Moment, NewKey, Revoked, StoreError};

/// A row to insert.
#[derive(Clone)]
pub(in crate::store) struct NewKeyRow {
    pub id: String,
    pub name: String,
    pub hash: Vec<u8>,
    pub scopes: String,
    pub rate: Option<String>,
    pub burst: Option<i64>,
    pub networks: String,
    pub expires_at: Option<OffsetDateTime>,
    pub who: String,
}

impl NewKeyRow {
    /// The row of a key that `act` makes.
    pub(in crate::store) fn new(new: &NewKey, act: &Act) -> Result<Self, StoreError> {
        let not_json = |error: serde_json::Error| StoreError::Data(error.to_string());
        let key = &new.key;
        Ok(Self {
            id: new.id.to_string(),
            name: key.name.to_string(),
            hash: key.hash.as_bytes().to_vec(),
            scopes: serde_json::to_string(&key.scopes).map_err(not_json)?,
            rate: key.rate.map(|rate| rate.to_string()),
            burst: key.burst.map(|burst| burst.get().into()),
            networks: serde_json::to_string(&key.networks).map_err(not_json)?,
            expires_at: key.expires_at,
            who: keepable(&act.actor.who),
        })
    }
}

/// A whole row.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct KeyRow {
    key_id: String,
    name: String,
    hash: Vec<u8>,
    scopes: String,
    rate: Option<String>,
    burst: Option<i64>,
    networks: String,
    expires_at: Option<OffsetDateTime>,
    created_at: OffsetDateTime,
    created_by: String,
    last_used_at: Option<OffsetDateTime>,
    revoked_at: Option<OffsetDateTime>,
    revoked_by: Option<String>,
    revoked_why: Option<String>,
    revision: i64,
}

impl TryFrom<KeyRow> for KeyRecord {
    type Error = StoreError;

    fn try_from(row: KeyRow) -> Result<Self, StoreError> {
        let limits = Limits::read(&row);
        let scopes = match &limits {
            Some(_) => known(&row.scopes),
            // A key whose limits cannot be read opens nothing. It must not keep other changes from the doors.
            None => Scopes::default(),
        };
        let limits = limits.unwrap_or_default();
        let revoked = row.revoked_at.map(|at| Revoked {
            at: Moment(at),
            who: row.revoked_by.unwrap_or_default(),
            why: row.revoked_why.unwrap_or_default(),
        });
        Ok(Self {
            id: row.key_id.parse().map_err(unlike("key_id"))?,
            key: KnownKey {
                name: row.name.parse().map_err(unlike("name"))?,
                hash: KeyHash::try_from(&row.hash[..]).map_err(unlike("hash"))?,
                scopes,
                rate: limits.rate,
                burst: limits.burst,
                networks: limits.networks,
                expires_at: row.expires_at,
            },
            created_at: Moment(row.created_at),
            created_by: row.created_by,
            last_used_at: row.last_used_at.map(Moment),
            revoked,
            revision: row.revision.unsigned_abs(),
        })
    }
}

/// How a key may be used.
#[derive(Default)]
struct Limits {
    rate: Option<Rate>,
    burst: Option<NonZeroU32>,
    networks: Vec<IpNet>,
}

impl Limits {
    /// The limits of a row; `None` where this version cannot read them.
    fn read(row: &KeyRow) -> Option<Self> {
        let rate = row.rate.as_deref().map(str::parse).transpose();
        let burst = row.burst.map(|burst| u32::try_from(burst)?.try_into());
        Some(Self {
            rate: rate.ok()?,
            burst: burst.transpose().ok()?,
            networks: serde_json::from_str(&row.networks).ok()?,
        })
    }
}

/// The scopes that this version knows. A newer one may have others: they open nothing here.
fn known(scopes: &str) -> Scopes {
    let scopes: Vec<String> = serde_json::from_str(scopes).unwrap_or_default();
    let known = scopes
        .iter()
        .filter_map(|scope| scope.parse::<Scope>().ok());
    Scopes(known.collect())
}

fn unlike<E: std::fmt::Display>(column: &'static str) -> impl Fn(E) -> StoreError {
    move |error| StoreError::Fault(format!("keys.{column}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_of_a_newer_version_opens_nothing_and_spoils_nothing() {
        let scopes = r#"["events:read", "teleport:everyone"]"#;
        assert_eq!(known(scopes), Scopes(vec![Scope::Read]));
        assert_eq!(known("everything"), Scopes::default());
    }

    #[test]
    fn a_key_whose_limits_cannot_be_read_opens_nothing() {
        let row = |rate: &str, networks: &str| KeyRow {
            key_id: "00000000".to_owned(),
            name: "shop".to_owned(),
            hash: vec![0; 32],
            scopes: r#"["events:read"]"#.to_owned(),
            rate: Some(rate.to_owned()),
            burst: Some(5),
            networks: networks.to_owned(),
            expires_at: None,
            created_at: OffsetDateTime::UNIX_EPOCH,
            created_by: "ada".to_owned(),
            last_used_at: None,
            revoked_at: None,
            revoked_by: None,
            revoked_why: None,
            revision: 1,
        };
        let scopes = |row| KeyRecord::try_from(row).unwrap().key.scopes;
        assert_eq!(scopes(row("5/s", "[]")), Scopes(vec![Scope::Read]));
        assert_eq!(scopes(row("5/fortnight", "[]")), Scopes::default());
        assert_eq!(scopes(row("5/s", r#"["moon"]"#)), Scopes::default());
    }
}
