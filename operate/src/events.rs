//! Where one event stands, and the events that wait for their moment.

use common::bootstrap::Failure;
use common::event::EventId;
use common::store::{
    AfterScheduled, AuditAction, Cancelled, EventStatus, NewCancellation, RejectionRecord,
    ScheduledEvent, Store, StoreError,
};
use serde::Serialize;
use serde_json::Value;

use crate::mask::mask;
use crate::page::{Cursor, List};
use crate::roles::{Requester, permit};

/// All that is known of an event.
#[derive(Debug, Serialize)]
pub struct Found {
    /// Where it stands.
    #[serde(flatten)]
    pub status: EventStatus,
    /// What only a stored event has.
    #[serde(flatten)]
    pub stored: Option<Stored>,
    /// Other contents that came under its id and were refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused_beside: Vec<RejectionRecord>,
}

/// What only a stored event has.
#[derive(Debug, Serialize)]
pub struct Stored {
    /// Who published it.
    pub publisher: String,
    /// Its source.
    pub source: String,
    /// The event as it was stored.
    pub event: Value,
}

impl Found {
    /// All of it as JSON, secrets masked.
    ///
    /// # Errors
    /// None that data can cause.
    pub fn masked(&self) -> Result<Value, Failure> {
        let mut document = serde_json::to_value(self).map_err(anyhow::Error::from)?;
        mask(&mut document);
        Ok(document)
    }
}

/// Looks an event up; `None` where the database knows nothing of it.
///
/// # Errors
/// The database cannot say.
pub async fn find(store: &dyn Store, id: EventId) -> Result<Option<Found>, StoreError> {
    if let Some(record) = store.event(id).await? {
        let (publisher, source, event) = (record.publisher, record.source, record.event);
        return Ok(Some(Found {
            status: record.status,
            stored: Some(Stored {
                publisher,
                source,
                event,
            }),
            refused_beside: store.rejections(id).await?,
        }));
    }
    // A rejected event has a status but was never stored.
    Ok(store.status(id).await?.map(|status| Found {
        status,
        stored: None,
        refused_beside: Vec::new(),
    }))
}

/// A page of the events that wait for their moment, the nearest first.
///
/// # Errors
/// The database cannot say.
pub async fn scheduled(
    store: &dyn Store,
    after: Option<Cursor>,
    limit: u32,
) -> Result<List<ScheduledEvent>, Failure> {
    let after = after.map(|cursor| AfterScheduled {
        not_before: cursor.at,
        id: EventId(cursor.id),
    });
    let items = store.scheduled_events(after, limit.saturating_add(1));
    Ok(List::page(items.await?, limit, |last| Cursor {
        at: last.not_before.0,
        id: last.id.uuid(),
    }))
}

/// Cancels an event that waits for its moment, and says whether it was cancelled before.
///
/// # Errors
/// It does not wait, `why` says nothing, the role of `by` does not allow it, or the database failed.
pub async fn cancel(
    store: &dyn Store,
    id: EventId,
    why: String,
    by: &Requester,
) -> Result<Cancelled, Failure> {
    if why.trim().is_empty() {
        return Err(Failure::Usage(
            "expected --why to say why, found nothing".to_owned(),
        ));
    }
    let act = by.act(AuditAction::EventCancel, format!("event:{id}"));
    let act = act.because(Some(why.clone()));
    permit(store, &act).await?;
    let cancellation = NewCancellation {
        event: id,
        by: by.actor.who.clone(),
        why: Some(why),
    };
    match store.cancel_event(&cancellation, Some(&act)).await? {
        cancelled @ (Cancelled::Now | Cancelled::Before) => Ok(cancelled),
        Cancelled::TooLate => Err(Failure::Failed(anyhow::anyhow!(
            "expected an event that waits for its moment, found one that was handed on: `longshore events show {id}` says \
             where it is"
        ))),
        Cancelled::Unknown => Err(Failure::Failed(anyhow::anyhow!(
            "expected an event that is stored, found none of this id; one that was just sent may still be on the broker"
        ))),
    }
}
