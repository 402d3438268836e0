//! The testkit: what tests need to run the real programs, to stand in for what is around them, and to see what they did.
//!
//! It knows Longshore only from outside, by its contract: environment, exchanges and queues, HTTP
//! answers, tables. It depends on no package of the product, so a test cannot be wrong in the same way
//! as the product. End-to-end tests use all of it; those of `common` and `workers` use its proxy, its receiver and its mail
//! server.
//!
//! | module | gives |
//! |---|---|
//! | [`system`] | a whole system of real processes in a namespace of its own |
//! | [`dev`] | all of it in one process, as `longshore dev` |
//! | [`process`] | one real process: start, signal, wait, measure |
//! | [`client`] | calls to the producer and what it answered |
//! | [`load`] | many publishers at once, with the ids that were accepted |
//! | [`broker`] | an outsider on AMQP: publish anything, look into queues |
//! | [`browser`] | a real browser, for the signup page |
//! | [`receiver`] | the outside system: an HTTP receiver that answers by a plan |
//! | [`mail_server`] | the other outside system: a mail server that answers by a plan |
//! | [`collector`] | a collector of traces, and the spans it was sent |
//! | [`foreign`] | programs of other languages, and the packages that a script has installed for them |
//! | [`installation`] | what an earlier version left behind, recorded and restored |
//! | [`ledger`] | the tables, and whether every accepted event is at rest exactly once |
//! | [`proxy`] | a TCP link that can be stalled, cut and healed, and that can speak for the other side |
//! | [`tokens`] | keys of an issuer, and tokens that they have signed |
//! | [`pki`] | authorities and certificates of the test's own |
//! | [`private`] | a broker or a database of the test's own, to stop and to kill |
//! | [`namespace`], [`scratch`] | names and folders nobody else has, and their removal |
//! | [`wait`] | waiting for facts, never for time |

// Tests tell their story in one piece.
#![cfg_attr(not(test), warn(clippy::too_many_lines))]

pub mod broker;
pub mod browser;
pub mod client;
pub mod collector;
pub mod dev;
pub mod foreign;
pub mod installation;
pub mod ledger;
pub mod load;
pub mod mail_server;
pub mod namespace;
pub mod pki;
pub mod port;
pub mod private;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod receiver;
pub mod scratch;
pub mod services;
pub mod system;
pub mod tokens;
pub mod wait;
