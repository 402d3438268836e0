//! End-to-end tests: the real programs, seen from outside.
//!
//! Every test has a namespace of its own, so all may run at once. Those with a broker or a database
//! of their own have `private` in their path.

mod amqp_shapes;
mod audit;
mod breakers;
mod broker_faults;
mod cli;
mod confirmations;
mod database;
mod dead_letter_and_replay;
mod dead_letters;
mod decode;
mod deliveries;
mod demo;
mod destinations;
mod dev;
mod docs_page;
mod door;
mod duplicates;
mod fault;
mod filters;
mod frozen;
mod garbage;
mod grants;
mod happy_path;
mod holding;
mod holds;
mod hostile_publisher;
mod http_contract;
mod keys;
mod kill;
mod killed_replay;
mod mail;
mod missing_parts;
mod neighbours;
mod operations;
mod order;
mod outages;
mod page;
mod poison;
mod postgres_faults;
mod publishers;
mod readiness;
mod receiver_faults;
mod rejections;
mod reload;
mod replay;
mod retry;
mod scale;
mod schedule;
mod secrets;
mod shares;
mod shutdown;
mod signup_page;
mod silent_stderr;
mod sockets;
mod sources;
mod testkit;
mod tls;
mod tokens;
mod traces;
mod trust;
mod unroutable;
mod upgrade;
mod usage;
mod verify;
mod verify_waiting;
mod watch;
mod webhooks;
mod wire;

use std::time::Duration;

/// The deadline of things that should happen at once. Generous, as parallel tests share two cores.
const SOON: Duration = Duration::from_secs(30);
/// The deadline of things that need retries, restarts or a lot of work.
const LATER: Duration = Duration::from_secs(150);
