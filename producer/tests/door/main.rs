//! The producer on the embedded engines in memory.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may stop at the first surprise, in helpers too"
)]

mod batches;
mod both_doors;
mod bounds;
mod changes;
mod confirmations;
mod contract;
mod crowd;
mod documents;
mod events;
mod failures;
mod fakes;
mod framing;
mod hostile;
mod issuers;
mod key_sets;
mod keys;
mod limits;
mod live;
mod page;
mod processing;
mod request;
mod schedule;
mod secrets;
mod signups;
mod sources;
mod status;
mod tokens;
mod wire;
mod work_queue;
