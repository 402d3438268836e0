//! Mending a dead letter: its fields, their notation, and the check that the result is an event.

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
