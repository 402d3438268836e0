//! The worker: takes events off a queue, hands them to a handler, and settles what comes of it.
//!
//! ```text
//! queue ─> lane ─> call (batch, timeout, panics contained) ─> outcome ─> settle ─> publish ─> ack
//!            │                                                   └─ hold: give back, probe, try one, go on
//!            └─ came back twice ─> queue.suspect ─> lane of one, nothing else running
//! ```
//!
//! A handler sees events and returns outcomes; it never sees the broker. One function
//! (`settle::settlement`) turns outcomes into publications and settlements.

mod call;
mod carry;
mod claim;
mod give_back;
mod handling;
mod hold;
mod keeper;
mod lane;
mod received;
mod settle;
mod standing;
mod worker;

pub use carry::{Carried, carry};
pub use claim::Claim;
pub use received::Received;
pub use standing::Standing;
pub use worker::{Handler, Spec, Worker};
