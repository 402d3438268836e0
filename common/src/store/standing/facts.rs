//! The rows that the facts about an event are in.

use serde::Deserialize;
use uuid::Uuid;

use crate::outcome::FieldError;
use crate::reason::ReasonCode;
use crate::store::rows::{
    Conflict, DeadState, DeliveryState, DeliveryStatus, FilteredDestination, Moment,
    RejectionRecord,
};

/// A row of `events`.
#[derive(Debug, Deserialize)]
pub(in crate::store) struct EventFact {
    #[serde(rename = "type")]
    pub kind: String,
    pub publisher: String,
    pub received_at: Moment,
    pub accepted_at: Moment,
    pub stored_at: Moment,
    pub filtered: Option<Vec<FilteredDestination>>,
    pub schedule: Option<ScheduleFact>,
}

/// A row of `scheduled_events`.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(in crate::store) struct ScheduleFact {
    pub not_before: Moment,
    pub released_at: Option<Moment>,
    pub cancelled_at: Option<Moment>,
}

/// A row of `deliveries`.
#[derive(Debug, Deserialize)]
pub(in crate::store) struct DeliveryFact {
    pub destination: String,
    pub generation: u32,
    pub status: DeliveryState,
    pub attempts: u32,
    pub due_at: Moment,
    pub last_attempt_at: Option<Moment>,
    pub delivered_at: Option<Moment>,
    pub last_error: Option<String>,
}

/// A row of `dead_letters`.
#[derive(Debug, Deserialize)]
pub(in crate::store) struct LetterFact {
    #[serde(rename = "dead_letter_id")]
    pub id: Uuid,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub destination: Option<String>,
    pub generation: u32,
    pub reason: ReasonCode,
    pub last_failed_at: Moment,
    pub state: DeadState,
    pub replayed_at: Option<Moment>,
    pub publisher: Option<String>,
}

/// A row of `rejections`.
#[derive(Debug, Deserialize)]
pub(in crate::store) struct RejectionFact {
    #[serde(rename = "type")]
    pub kind: String,
    pub publisher: String,
    pub reason: ReasonCode,
    pub errors: Vec<FieldError>,
    pub received_at: Option<Moment>,
    pub rejected_at: Moment,
}

impl LetterFact {
    /// Whether it is about a delivery.
    pub(super) fn is_of(&self, delivery: &DeliveryFact) -> bool {
        self.destination.as_deref() == Some(&delivery.destination)
            && self.generation == delivery.generation
    }
}

impl From<&RejectionFact> for Conflict {
    fn from(fact: &RejectionFact) -> Self {
        Self {
            code: fact.reason,
            detail: fact.reason.summary().to_owned(),
            kind: fact.kind.clone(),
            received_at: fact.received_at,
            at: fact.rejected_at,
        }
    }
}

impl From<&DeliveryFact> for DeliveryStatus {
    fn from(fact: &DeliveryFact) -> Self {
        Self {
            destination: fact.destination.clone(),
            generation: fact.generation,
            status: fact.status,
            attempts: fact.attempts,
            reason: None,
            due_at: fact.due_at,
            error: fact.last_error.clone(),
            last_attempt_at: fact.last_attempt_at,
        }
    }
}

impl From<&LetterFact> for RejectionRecord {
    fn from(fact: &LetterFact) -> Self {
        Self {
            code: fact.reason,
            detail: fact.reason.summary().to_owned(),
            errors: Vec::new(),
            dead_letter: Some(fact.id),
        }
    }
}

impl From<&RejectionFact> for RejectionRecord {
    fn from(fact: &RejectionFact) -> Self {
        Self {
            code: fact.reason,
            detail: fact.reason.summary().to_owned(),
            errors: fact.errors.clone(),
            dead_letter: None,
        }
    }
}
