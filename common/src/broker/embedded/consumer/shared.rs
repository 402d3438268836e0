//! What both sides of a subscription share: what is in hand, what is settled, how far that is written.

use std::collections::HashMap;
use std::sync::Mutex;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// What the control and the task share.
pub(super) struct Shared {
    pub(super) ledger: Mutex<Ledger>,
    /// There is something to write.
    pub(super) settled: Notify,
    /// Nothing more is to be taken.
    pub(super) stop: CancellationToken,
    pub(super) progress: watch::Sender<Progress>,
}

#[derive(Default)]
pub(super) struct Ledger {
    /// The last tag given out.
    pub(super) tag: u64,
    /// What is given out and not settled: message by tag.
    pub(super) in_hand: HashMap<u64, i64>,
    pub(super) acked: Vec<i64>,
    pub(super) given_back: Vec<i64>,
    /// How many have been settled so far.
    pub(super) settled: u64,
}

#[derive(Debug, Default)]
pub(super) struct Progress {
    /// How many settlements are written.
    pub(super) written: u64,
    /// Nothing more is taken.
    pub(super) stopped: bool,
    /// Why nothing more will be written.
    pub(super) lost: Option<String>,
    /// It is all over.
    pub(super) over: bool,
}
