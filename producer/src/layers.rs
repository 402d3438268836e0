//! The layers that every request passes before and after its handler.

mod bound;
mod head;
mod linger;
mod observe;
mod panics;
mod protect;

pub(crate) use bound::bound;
pub(crate) use head::head;
pub(crate) use linger::linger;
pub(crate) use observe::observe;
pub(crate) use panics::answer_panics;
pub(crate) use protect::protect;
