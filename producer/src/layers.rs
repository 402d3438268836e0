//! What happens to every request before and after its handler.

mod bound;
mod head;
mod observe;
mod protect;

pub(crate) use bound::bound;
pub(crate) use head::head;
pub(crate) use observe::observe;
pub(crate) use protect::protect;
