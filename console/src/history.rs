//! The history as operators use it.

pub(crate) use workers::history::{Entry, Judge, Reader, Verdict, Window};
