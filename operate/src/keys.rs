//! Keys of the door: making, listing, rotating, revoking and checking them.

use std::num::NonZeroU32;
use std::time::Duration;

use common::bootstrap::Failure;
use common::config::Rate;
use common::event::now;
use common::key::{Key, KeyId, KeyName, KnownKey, Scope, Scopes};
use common::store::{Act, AuditAction, KeyPage, KeyRecord, Moment, NewKey, Store};
use ipnet::IpNet;
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::page::List;
use crate::roles::{Requester, permit};

/// What a new key is to be.
#[derive(Debug, Clone)]
pub struct Order {
    /// Who gets it.
    pub name: KeyName,
    /// What it opens.
    pub scopes: Vec<Scope>,
    /// The rate of events it may send.
    pub rate: Option<Rate>,
    /// The events it may send at once.
    pub burst: Option<NonZeroU32>,
    /// The networks it may be used from; any if empty.
    pub networks: Vec<IpNet>,
    /// When it ends by itself.
    pub expires_at: Option<OffsetDateTime>,
}

/// A new key, whole: it is shown once.
#[derive(Debug)]
pub struct Made {
    /// The key.
    pub key: Key,
    /// What a door knows of it.
    pub known: KnownKey,
}

/// A key in a list: everything but its secret.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// Its public part.
    pub id: KeyId,
    /// Who has it.
    pub name: KeyName,
    /// What it opens.
    pub scopes: Scopes,
    /// Whether it opens anything now.
    pub state: KeyState,
    /// The rate of events it may send.
    pub rate: Option<Rate>,
    /// The events it may send at once.
    pub burst: Option<NonZeroU32>,
    /// The networks it may be used from; any if empty.
    pub networks: Vec<IpNet>,
    /// When it was made.
    pub created_at: Moment,
    /// Who made it.
    pub created_by: String,
    /// When it was used last, to the minute.
    pub last_used_at: Option<Moment>,
    /// When it ends by itself.
    pub expires_at: Option<Moment>,
    /// When it was revoked.
    pub revoked_at: Option<Moment>,
    /// Who revoked it.
    pub revoked_by: Option<String>,
    /// Why it was revoked.
    pub revoked_why: Option<String>,
}

/// Whether a key opens anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It does.
    Valid,
    /// It has ended by itself.
    Expired,
    /// An operator has ended it.
    Revoked,
}

impl KeyState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl From<KeyRecord> for Listed {
    fn from(record: KeyRecord) -> Self {
        let state = match &record.revoked {
            Some(_) => KeyState::Revoked,
            None if record.key.has_expired(now()) => KeyState::Expired,
            None => KeyState::Valid,
        };
        let (revoked_at, revoked_by, revoked_why) = match record.revoked {
            Some(revoked) => (Some(revoked.at), Some(revoked.who), Some(revoked.why)),
            None => (None, None, None),
        };
        Self {
            id: record.id,
            name: record.key.name,
            scopes: record.key.scopes,
            state,
            rate: record.key.rate,
            burst: record.key.burst,
            networks: record.key.networks,
            created_at: record.created_at,
            created_by: record.created_by,
            last_used_at: record.last_used_at,
            expires_at: record.key.expires_at.map(Moment),
            revoked_at,
            revoked_by,
            revoked_why,
        }
    }
}

/// Makes a key without keeping it anywhere: its hash can be written into a configuration.
///
/// # Errors
/// The order cannot be met, or the system gives no randomness.
pub fn make(order: Order) -> Result<Made, Failure> {
    let key = Key::generate().map_err(anyhow::Error::from)?;
    let known = KnownKey {
        name: order.name,
        hash: key.hash(),
        scopes: Scopes(order.scopes),
        rate: order.rate,
        burst: order.burst,
        networks: order.networks,
        expires_at: order.expires_at,
    };
    if let Some((part, problem)) = known.problem() {
        return Err(Failure::Usage(format!("{part}: {problem}")));
    }
    if known.has_expired(now()) {
        let problem = "expires: expected a moment to come, found one that has passed";
        return Err(Failure::Usage(problem.to_owned()));
    }
    Ok(Made { key, known })
}

/// Makes a key and keeps its hash.
///
/// # Errors
/// It is not kept.
pub async fn create(store: &dyn Store, by: &Requester, order: Order) -> Result<Made, Failure> {
    let made = make(order)?;
    let new = made.to_keep();
    let act = act(by, AuditAction::KeyCreate, &new.id, None);
    let act = act.changing(None, Some(facts(&new.key)));
    permit(store, &act).await?;
    store.create_key(&new, &act).await?;
    Ok(made)
}

/// Makes a key that takes the place of another, which goes on for `overlap`. The new one opens the same, and ends by
/// itself when the old one would have.
///
/// # Errors
/// There is no such key that is valid, or nothing was changed.
pub async fn rotate(
    store: &dyn Store,
    by: &Requester,
    id: &KeyId,
    overlap: Duration,
    why: Option<String>,
) -> Result<(Made, Listed), Failure> {
    let old = store.key(id).await?.ok_or_else(|| unknown(id))?;
    let made = make(Order {
        name: old.key.name.clone(),
        scopes: old.key.scopes.0.clone(),
        rate: old.key.rate,
        burst: old.key.burst,
        networks: old.key.networks.clone(),
        expires_at: old.key.expires_at,
    })?;
    let end = overlap.try_into().ok().and_then(|it| now().checked_add(it));
    let end = end.ok_or_else(|| {
        Failure::Usage("overlap: expected a shorter time, such as 24h".to_owned())
    })?;
    let new = made.to_keep();
    let act = act(by, AuditAction::KeyRotate, id, why).changing(
        Some(facts(&old.key)),
        Some(json!({ "id": new.id, "old_expires_at": Moment(end) })),
    );
    permit(store, &act).await?;
    let ended = store.rotate_key(id, &new, end, &act).await?;
    let ended = ended.ok_or_else(|| {
        Failure::Failed(anyhow::anyhow!(
            "expected a valid key, found that {id} is revoked or has expired: make a new one with `longshore keys create`"
        ))
    })?;
    Ok((made, ended.into()))
}

/// Ends a key for good.
///
/// # Errors
/// There is no such key, or nothing was changed.
pub async fn revoke(
    store: &dyn Store,
    by: &Requester,
    id: &KeyId,
    why: String,
) -> Result<Listed, Failure> {
    let act = act(by, AuditAction::KeyRevoke, id, Some(why));
    permit(store, &act).await?;
    let revoked = store.revoke_key(id, &act).await?;
    Ok(revoked.ok_or_else(|| unknown(id))?.into())
}

/// One page of keys, newest first.
///
/// # Errors
/// The database cannot say.
pub async fn list(
    store: &dyn Store,
    after: Option<KeyId>,
    limit: u32,
) -> Result<List<Listed>, Failure> {
    // One more tells whether there is a next page.
    let page = KeyPage {
        after,
        limit: limit.saturating_add(1),
    };
    let mut records = store.keys_page(page).await?;
    let has_more = records.len() > limit as usize;
    records.truncate(limit as usize);
    let next = records.last().filter(|_| has_more);
    Ok(List {
        next: next.map(|last| last.id.to_string()),
        items: records.into_iter().map(Listed::from).collect(),
    })
}

/// Looks for the key that a text is.
///
/// # Errors
/// It is not one of this system's.
pub async fn find(store: &dyn Store, key: &Key) -> Result<Listed, Failure> {
    let found = store.key(&key.id()).await?;
    let found = found.filter(|record| record.key.hash == key.hash());
    Ok(found.ok_or_else(|| unknown(&key.id()))?.into())
}

impl Made {
    fn to_keep(&self) -> NewKey {
        NewKey {
            id: self.key.id(),
            key: self.known.clone(),
        }
    }
}

fn act(by: &Requester, action: AuditAction, id: &KeyId, why: Option<String>) -> Act {
    by.act(action, format!("key:{id}")).because(why)
}

/// The facts of a key for the record: never its hash.
fn facts(key: &KnownKey) -> Value {
    json!({
        "name": key.name,
        "scopes": key.scopes,
        "rate": key.rate,
        "burst": key.burst,
        "networks": key.networks,
        "expires_at": key.expires_at.map(Moment),
    })
}

fn unknown(id: &KeyId) -> Failure {
    Failure::Failed(anyhow::anyhow!(
        "expected the id of a key in this database, found none for {id}: `longshore keys list` shows them"
    ))
}
