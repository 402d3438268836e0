//! The worker: takes events off a queue, hands them to a handler, and settles each as its outcome asks.
//!
//! ```text
//! queue ─> lane ─> call (batch, timeout, panics contained) ─> outcome ─> settle ─> publish ─> ack
//!            │                                                   └─ hold: give back, probe, try one, go on
//!            └─ came back twice ─> queue.suspect ─> lane of one, nothing else running
//! ```
//!
//! A handler sees events and returns outcomes; it never sees the broker. One function
//! (`decision::decide`) turns outcomes into publications and settlements.
//!
//! ```text
//! worker ─> keeper ─> trial ─┐                   desk: the state that the lanes of a worker share
//!   └─────> lane ────────────┴─> hand ─> desk    hand: the messages that one of them has taken
//!                                 ├ handling, settling, give_back: the ways out of a hand
//! ```

mod batch;
mod call;
mod carry;
mod claim;
mod decision;
mod desk;
mod gate;
mod give_back;
mod hand;
mod handler;
mod handling;
mod hold;
mod keeper;
mod lane;
mod letters;
mod place;
mod received;
mod settling;
mod spec;
mod standing;
mod trial;
mod worker;

pub use batch::{Batch, Outcomes};
pub use call::call_handler;
pub use carry::{Carried, carry};
pub use claim::Claim;
pub use gate::{Gate, GateState};
pub use handler::Handler;
pub use received::Received;
pub use spec::{Spec, Surroundings};
pub use standing::Standing;
pub use worker::{Unfinished, Worker};
