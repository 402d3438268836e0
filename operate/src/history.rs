//! The history as those use it who look back: a part of it, entry by entry, and what the validate worker
//! made or makes of each. Nothing of it is held but the entry in hand.

mod judge;
mod reader;
pub mod stats;

pub use judge::{Entry, Identity, Judge, Verdict};
pub use reader::{Reader, Window};
