//! The workers. Each is a folder here, a thin binary in `bin/`, and a queue in the topology:
//!
//! | worker | takes from | does | hands on to |
//! |--|--|--|--|
//! | [`validate`] | `longshore.validate` | schema and rules | `accepted` or `rejected` |
//! | [`store`] | `longshore.store` | one transaction a batch | `stored` or `rejected` |
//! | [`integrate`] | `longshore.integrate.<destination>` | delivers to outside systems | nothing |
//! | [`archive`] | `longshore.dead`, `longshore.rejected` | keeps dead letters and rejections | nothing |
//!
//! The archive's program also keeps the standing watch ([`watch`]), runs the operations that operators start
//! ([`operations`]), and releases scheduled events ([`schedule`]).
//!
//! Their common part (consuming, batching, retrying, holding, draining) is the runtime in
//! `common::runtime`; this package holds only the differences.

// Tests tell their story in one piece.
#![cfg_attr(not(test), warn(clippy::too_many_lines))]

pub mod archive;
pub mod integrate;
pub mod operations;
pub mod schedule;
pub mod store;
pub mod validate;
pub mod watch;

mod database;
mod generations;
mod serve;
mod stored;
#[cfg(test)]
mod testbed;

pub use generations::{Generations, Work};
pub use serve::serve;
