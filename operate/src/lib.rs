//! Everything an operator can do, free of any terminal: the command line asks and prints, and this library acts.
//!
//! | module | does |
//! |--|--|
//! | [`history`] | reads everything that came through a door, and judges it as validation does |
//! | [`survey`] | says what became of every event: completed, dead, under way, stuck, forged |
//! | [`replay`] | sends dead letters, or a part of the history, again |
//! | [`edit`] | mends a dead letter |
//! | [`queues`] | says how full every queue is and who consumes it |
//! | [`doctor`] | checks everything once and reports problems |

pub mod doctor;
pub mod edit;
pub mod finding;
pub mod history;
pub mod queues;
pub mod replay;
pub mod survey;
#[cfg(any(test, feature = "testbed"))]
#[expect(clippy::expect_used, reason = "only tests work with it")]
pub mod testbed;
pub mod words;
