//! Where one event stands.

use common::bootstrap::Failure;
use common::event::EventId;
use common::store::{EventStatus, RejectionRecord, Store, StoreError};
use serde::Serialize;
use serde_json::Value;

use crate::mask::mask;

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
