//! The common library of all Longshore programs: the event, its way, the engines that carry and
//! keep it, and the runtime of the workers.
//!
//! Which module may use which (held by a test in `tests/`):
//!
//! ```text
//! bootstrap ─> config, telemetry, broker, store, runtime
//! health    ─> broker and store (the traits), runtime, server
//! runtime   ─> broker (the trait), telemetry          never lapin, never sqlx
//! broker    ─> topology, message, telemetry, sqlite   only broker/rabbit imports lapin
//! store     ─> event, reason, sqlite                  only store/, broker/embedded and sqlite import sqlx
//! telemetry ─> neither broker nor store
//! sqlite    ─> nothing of ours: one file, which the embedded engines share
//! tls       ─> config; used by broker, store, server and bootstrap
//! dependency, duration, event, filter, fingerprint, inbound, message, namespace, outcome, publication, reason, retry, signature,
//! topology:
//!     pure, no I/O; they use nothing of the above
//! ```
//!
//! A thing enters this library when at least two packages need it.

// Tests tell their story in one piece.
#![cfg_attr(not(test), warn(clippy::too_many_lines))]

pub mod bootstrap;
pub mod broker;
pub mod canonical;
pub mod config;
pub mod confirmation;
pub mod dependency;
pub mod descriptors;
pub mod duration;
pub mod event;
pub mod filter;
pub mod fingerprint;
pub mod health;
pub mod inbound;
pub mod key;
pub mod message;
pub mod namespace;
pub mod outcome;
pub mod publication;
pub mod reason;
pub mod retry;
pub mod runtime;
pub mod scheduling;
pub mod seal;
pub mod server;
pub mod signals;
pub mod signature;
pub mod sqlite;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod tls;
pub mod topology;
pub mod validation;
