//! What the door takes: `[limits]` and `[producer]`.

use std::time::Duration;

use serde::Deserialize;

use super::{DoorTls, duration};
use crate::event::Limits;

/// `[limits]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    /// The largest event, in bytes, at every door.
    pub event_bytes: usize,
    /// The largest batch at the HTTP door, in events.
    pub batch_events: usize,
    /// The largest HTTP request body, in bytes.
    pub request_bytes: usize,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            event_bytes: Limits::default().event_bytes,
            batch_events: 1000,
            request_bytes: 4 * 1024 * 1024,
        }
    }
}

impl LimitSettings {
    /// The limits the decoder knows.
    pub fn events(&self) -> Limits {
        Limits {
            event_bytes: self.event_bytes,
        }
    }
}

/// `[producer]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Producer {
    /// How long a request may take in all.
    #[serde(with = "duration")]
    pub request_timeout: Duration,
    /// How many requests may be under way at once; more are told to come back (503).
    pub concurrent_requests: usize,
    /// How many passwords are hashed at once. Each takes about 20 MB and some tens of milliseconds
    /// of one core.
    pub concurrent_hashes: usize,
    /// The certificate of the door.
    pub tls: DoorTls,
}

impl Default for Producer {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(15),
            concurrent_requests: 2048,
            concurrent_hashes: 2,
            tls: DoorTls::default(),
        }
    }
}
