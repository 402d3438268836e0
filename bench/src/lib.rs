//! Load, measurement and the *raw twin*: what Longshore's speed is compared with.
//!
//! The twin is a minimal hand-written lapin + sqlx + HTTP program that makes the same broker hops, the same inserts and
//! the same signed POSTs as Longshore's pipeline, and does nothing else: no retries, no dead letters, no telemetry. Its rate
//! is what this machine, broker and database can give, so a figure of Longshore means something beside it, measured in the
//! same run. The load generators and the receiver here serve both, so both are measured with the same tools. What the
//! embedded engine is compared with is smaller still: the bare insert loop of [`sqlite`].
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
pub use receiver::Receiver;
pub use report::{Figure, Report, Unit};
pub use stamps::Stamps;
