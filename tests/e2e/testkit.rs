//! The testkit itself, as a test can only be trusted as far as its tools.

mod broker;
mod ledger;
mod namespace;
mod private;
mod process;
mod proxy;
mod receiver;
