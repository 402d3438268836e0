//! Load, measurement and the *raw twin*, the yardstick of Longshore's speed.
//!
//! The twin is a minimal hand-written lapin + sqlx + HTTP program. It makes the same broker hops, inserts and signed
//! POSTs as Longshore's pipeline, and nothing else: no retries, no dead letters, no telemetry. Its rate is the limit of
//! this machine, broker and database, so it gives meaning to a figure of Longshore from the same run. The load
//! generators and the receiver here serve both, so both are measured with the same tools. The yardstick of the embedded
//! engine is smaller still: the bare insert loop of [`sqlite`].
//!
//! A typical comparison:
//!
//! 1. [`Namespace::new`], [`topology::declare`], [`schema::create`]
//! 2. [`publish_raw`] for a backlog (its rate is also the producer's baseline)
//! 3. [`twin::backlog`] and [`twin::fed`], which do the two steps above themselves and clean up
//! 4. the product over the same events, with [`Receiver`] as its destination and [`http_load`] as its callers
//! 5. a [`Report`] of the figures
//!
//! Everything answers with [`anyhow::Error`]: a failed measurement has no result, and its reader is a person.

// Tests tell their story in one piece.
#![cfg_attr(not(test), warn(clippy::too_many_lines))]

mod amqp;
mod client;
mod events;
mod namespace;
mod pace;
mod prefix;
mod process;
mod progress;
mod publish;
mod receiver;
mod report;
mod stamps;

pub mod dead_letters;
pub mod http_load;
pub mod schema;
pub mod sqlite;
pub mod topology;
pub mod twin;

pub use events::{Event, Events, SIGNUP_REQUESTED};
pub use longshore::percentiles::{Percentiles, Samples};
pub use namespace::Namespace;
pub use process::{CpuSplit, Usage, usage};
pub use publish::{PublishLoad, PublishStats, publish_raw};
pub use receiver::{Manner, Receiver};
pub use report::{Figure, Report, Unit};
pub use stamps::Stamps;
