//! The history for readers of the past: a part of it, entry by entry, with the validate worker's verdict on each. Only
//! the current entry is held in memory.

mod judge;
mod reader;
pub mod stats;

pub use judge::{Entry, Identity, Judge, Verdict};
pub use reader::{Reader, Window};
