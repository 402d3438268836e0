//! The history as operators use it: a part of it, entry by entry, and what the validate worker made
//! or makes of each. Nothing of it is held but the entry in hand.

mod judge;
mod reader;

pub(crate) use judge::{Entry, Judge, Verdict};
pub(crate) use reader::{Reader, Window};
