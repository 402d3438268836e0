//! One module a command.

pub(crate) mod audit;
pub(crate) mod dead;
pub(crate) mod destinations;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod history;
pub(crate) mod keys;
pub(crate) mod migrate;
pub(crate) mod operators;
pub(crate) mod publish;
pub(crate) mod queues;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod topology;
pub(crate) mod verify;
