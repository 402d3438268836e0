//! The rows of a batch of events.

use std::collections::HashMap;

use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::text::{json, moment};
use crate::event::EventId;
use crate::event::content::Content;
use crate::store::{Details, FilteredDestination, NewEvent, StoreError};

/// Splits a batch so that no id and no address comes twice in one wave. Later events of the batch are in later
/// waves: the first one wins, as if they had been stored one by one. Nearly always there is one wave.
pub(in crate::store) fn waves(batch: &[NewEvent]) -> Vec<Vec<usize>> {
    let mut waves: Vec<Vec<usize>> = Vec::new();
    let mut next_of_id: HashMap<Uuid, usize> = HashMap::with_capacity(batch.len());
    let mut next_of_email: HashMap<&str, usize> = HashMap::new();
    for (index, event) in batch.iter().enumerate() {
        let email = email(event);
        let by_id = next_of_id.get(&event.id.uuid()).copied().unwrap_or(0);
        let by_email = email
            .and_then(|email| next_of_email.get(email).copied())
            .unwrap_or(0);
        let wave = by_id.max(by_email);
        next_of_id.insert(event.id.uuid(), wave + 1);
        if let Some(email) = email {
            next_of_email.insert(email, wave + 1);
        }
        if wave == waves.len() {
            waves.push(Vec::new());
        }
        waves[wave].push(index);
    }
    waves
}

/// The address that only one signup can have.
fn email(event: &NewEvent) -> Option<&str> {
    match &event.details {
        Details::Signup {
            email_normalised, ..
        } => Some(email_normalised),
        Details::Processing { .. } | Details::Confirmation { .. } | Details::None => None,
    }
}

/// Whether stored events have the same content: their rows hold the stored event if its fingerprint is another. A
/// version with other fingerprints may have stored the same content. Such rows stay, so the text itself decides,
/// for as long as there are any.
pub(in crate::store) fn same_content(
    events: &[&NewEvent],
    rows: Vec<(Uuid, Option<String>)>,
) -> HashMap<Uuid, bool> {
    let is_same = |(id, body): (Uuid, Option<String>)| {
        let Some(body) = body else {
            return (id, true);
        };
        let stored = Content::read(body.as_bytes()).and_then(|content| content.fingerprint());
        let given = events.iter().find(|event| event.id.uuid() == id);
        (
            id,
            given.is_some_and(|given| stored == Ok(given.fingerprint)),
        )
    };
    rows.into_iter().map(is_same).collect()
}

/// The column `filtered` of an event. Of one that waits, it is decided when its moment has come.
pub(in crate::store) fn filtered(event: &NewEvent) -> Option<String> {
    if event.filtered.is_empty() || event.waits() {
        return None;
    }
    // It holds texts alone.
    serde_json::to_string(&event.filtered).ok()
}

/// The destinations in that column of some events.
pub(in crate::store) fn filtered_of(
    rows: Vec<(Uuid, String)>,
) -> Result<HashMap<EventId, Vec<FilteredDestination>>, StoreError> {
    let read = |(id, text): (Uuid, String)| Ok((EventId(id), json("events.filtered", &text)?));
    rows.into_iter().map(read).collect()
}

/// A row of `signups`.
#[derive(Serialize)]
pub(in crate::store) struct Signup<'a> {
    pub event: Uuid,
    pub email: &'a str,
    pub email_normalised: &'a str,
    pub name: &'a str,
    pub plan: Option<&'a str>,
    pub locale: Option<&'a str>,
    pub password_hash: Option<&'a str>,
    pub attributes: Option<&'a str>,
}

impl<'a> Signup<'a> {
    /// The row of an event that is one.
    pub(in crate::store) fn of(event: &'a NewEvent) -> Option<Self> {
        match &event.details {
            Details::Signup {
                email,
                email_normalised,
                name,
                plan,
                locale,
                password_hash,
                attributes,
            } => Some(Self {
                event: event.id.uuid(),
                email,
                email_normalised,
                name,
                plan: plan.as_deref(),
                locale: locale.as_deref(),
                password_hash: password_hash.as_deref(),
                attributes: attributes.as_deref(),
            }),
            Details::Processing { .. } | Details::Confirmation { .. } | Details::None => None,
        }
    }
}

/// A row of `processing`.
#[derive(Serialize)]
pub(in crate::store) struct Processing<'a> {
    pub event: Uuid,
    pub task: &'a str,
    pub payload: &'a str,
}

impl<'a> Processing<'a> {
    /// The row of an event that is one.
    pub(in crate::store) fn of(event: &'a NewEvent) -> Option<Self> {
        match &event.details {
            Details::Processing { task, payload } => Some(Self {
                event: event.id.uuid(),
                task,
                payload,
            }),
            Details::Signup { .. } | Details::Confirmation { .. } | Details::None => None,
        }
    }
}

/// A row of `confirmations`.
#[derive(Serialize)]
pub(in crate::store) struct Confirmation<'a> {
    pub signup: Uuid,
    pub email: &'a str,
    #[serde(serialize_with = "moment")]
    pub at: OffsetDateTime,
    pub event: Uuid,
}

impl<'a> Confirmation<'a> {
    /// The row of an event that is one.
    pub(in crate::store) fn of(event: &'a NewEvent) -> Option<Self> {
        match &event.details {
            Details::Confirmation { signup, email } => Some(Self {
                signup: signup.uuid(),
                email,
                at: event.received_at,
                event: event.id.uuid(),
            }),
            Details::Signup { .. } | Details::Processing { .. } | Details::None => None,
        }
    }
}

/// A new row of `deliveries`.
#[derive(Serialize)]
pub(in crate::store) struct Due<'a> {
    pub event: Uuid,
    pub destination: &'a str,
    pub generation: i64,
}

/// The deliveries that are due because of events; none of one that waits.
pub(in crate::store) fn due<'a>(events: &[&'a NewEvent]) -> Vec<Due<'a>> {
    events
        .iter()
        .filter(|event| !event.waits())
        .flat_map(|event| {
            event.destinations.iter().map(|destination| Due {
                event: event.id.uuid(),
                destination,
                generation: event.generation.into(),
            })
        })
        .collect()
}
