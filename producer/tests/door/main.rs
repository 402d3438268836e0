//! The producer against a broker and a store that do as they are told.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may stop at the first surprise, in helpers too"
)]

mod batches;
mod bounds;
mod events;
mod failures;
mod fakes;
mod hostile;
mod processing;
mod request;
mod secrets;
mod signups;
mod status;
mod wire;
