//! Mending a dead letter: what may be changed of it, how that is written, and whether it is an event then.

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
