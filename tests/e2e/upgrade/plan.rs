//! The recorded installation: its destinations, and what is known of its events.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use testkit::{
    receiver::Receiver,
    system::{Builder, Destination, System},
};
use uuid::Uuid;

/// What the recorded events have behind them and before them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Every accepted event.
    pub(crate) accepted: Vec<Uuid>,
    /// By destination, the events it has taken.
    pub(crate) delivered: HashMap<String, BTreeSet<String>>,
    /// The paused replay.
    pub(crate) replay: String,
    /// How many dead letters it is of, and how many it has sent.
    pub(crate) letters: (usize, usize),
    /// How many dead letters there are beside them, or wait to be one.
    pub(crate) later_letters: usize,
}

/// Where its files are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/upgrade")
}

/// Two destinations: one gives up at once, the other waits eight seconds before it tries again.
pub(crate) fn builder(crm: &Receiver, erp: &Receiver) -> Builder {
    let erp = Destination::webhook("erp", erp);
    System::builder()
        .destination(Destination::webhook("crm", crm).attempts(1, "250ms"))
        .destination(erp.attempts(6, "8s").longest_wait("8s"))
}
