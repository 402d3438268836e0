//! Rows, column by column, as every engine writes and reads them; and batches brought into order before they are
//! written. Their meaning to callers is in [`rows`](super::rows).

pub(super) mod audit;
pub(super) mod deliveries;
pub(super) mod destinations;
pub(super) mod edits;
pub(super) mod events;
pub(super) mod groups;
pub(super) mod keys;
pub(super) mod letters;
mod messages;
pub(super) mod operations;
pub(super) mod operators;
pub(super) mod order;
pub(super) mod rejections;
pub(super) mod schedule;
pub(super) mod text;
pub(super) mod watching;
pub(super) mod workers;
