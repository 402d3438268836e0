//! Mending a dead letter: what may be changed of it, how that is written, and whether it is an event then.

mod check;
mod envelope;
mod form;
mod layout;
mod patch;

pub use check::{Unfit, check, unfit};
pub use envelope::{CannotSet, Setting, set};
pub use form::{form, read_form};
pub use layout::{compact, pretty};
pub use patch::{NoJson, patched};
