//! Everything an operator can do, free of any terminal: the command line asks and prints, and this library acts.
//!
//! | module | does |
//! |--|--|
//! | [`history`] | reads everything that came through a door, and judges it as validation does |
//! | [`survey`] | says what became of every event: completed, dead, under way, stuck, forged |
//! | [`operation`] | sends dead letters or a part of the history again, discards and restores in bulk: rows that are run under a lease |
//! | [`dead`] | finds dead letters, tells their stories, gives them up and takes that back |
//! | [`edit`] | mends a dead letter |
//! | [`events`] | says where one event stands |
//! | [`publish`] | publishes a text of events |
//! | [`keys`] | makes, lists, rotates and revokes the keys of the door |
//! | [`destinations`] | says how each destination stands, pauses it and lets it go on |
//! | [`queues`] | says how full every queue is and who consumes it |
//! | [`topology`] | declares the topology anew |
//! | [`roles`] | says who asks for a change, and which role each change needs |
//! | [`schema`] | brings the schema up to date |
//! | [`operators`] | makes operators, revokes them, and knows them by their keys |
//! | [`audit`] | reads the record of what operators did, and says whether it is whole |
//! | [`doctor`] | looks at everything once and says what is wrong |
//! | [`grants`] | writes down the logins of all programs, each with its rights |
//!
//! What is shown is made fit for that by [`mask`], which hides secrets, [`personal`], which hides personal
//! data from viewers, [`diff`], [`page`] and [`words`].

// Tests tell their story in one piece.
#![cfg_attr(not(test), warn(clippy::too_many_lines))]

pub mod audit;
pub mod dead;
pub mod destinations;
pub mod diff;
pub mod doctor;
pub mod edit;
pub mod events;
pub mod finding;
pub mod grants;
pub mod history;
pub mod keys;
pub mod mask;
pub mod operation;
pub mod operators;
pub mod page;
pub mod personal;
pub mod publish;
pub mod queues;
pub mod roles;
pub mod schema;
pub mod survey;
#[cfg(any(test, feature = "testbed"))]
#[expect(clippy::expect_used, reason = "only tests work with it")]
pub mod testbed;
pub mod topology;
pub mod words;
