//! Mending a dead letter: its fields, their notation, and the check that the result is an event.

mod check;
mod draft;
mod envelope;
mod form;
mod layout;
mod mending;
mod patch;
mod setting;

pub use check::Unfit;
pub use draft::Draft;
pub use mending::{Mended, Mending};
pub use setting::Setting;
