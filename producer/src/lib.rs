//! The door: takes events over HTTP and answers 202 once the broker has them safely.
//!
//! ```text
//! serve ─> router ─> layers (request id, key, limits) ─> signup | processing | events | sources
//!                                                           │    └─> admit ─> publish ─> Broker
//!                                                           ├─> status | live ─> Store
//!                                                           └─> page | documents
//! ```
//!
//! Nothing on the way to a 202 touches the database: the door accepts events while it is down. The
//! validate worker decodes each accepted event to the same event with the same id.

// Tests tell their story in one piece.
#![cfg_attr(not(test), warn(clippy::too_many_lines))]

mod admit;
mod asset;
mod auth;
mod body;
mod cancel;
mod confirm;
mod documents;
mod door;
mod events;
mod framing;
mod generations;
mod idempotency;
mod layers;
mod live;
mod media;
mod not_before;
mod page;
mod password;
mod paths;
mod problem;
mod processing;
mod program;
mod publish;
mod routes;
mod serve;
mod signup;
mod sources;
mod status;
mod work_queue;

use common::event::json;

pub use auth::{Entry, Found, KEY_POLL, Keyring, NoKeys};
pub use common::server::{Entrance, Wire};
pub use door::{Door, Lock, Rows};
pub use generations::DoorGenerations;
pub use problem::{Code, Problem};
pub use program::main;
pub use routes::router;
pub use serve::{bind, open, serve, serve_with};
