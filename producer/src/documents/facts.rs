//! The facts that the documents are made of.

use common::event::{EventType, Types};

use crate::door::Door;

/// The facts that the documents are made of.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    pub door: &'a Door,
    pub built_in: &'a Types,
    pub types: &'a [&'a EventType],
}

impl Facts<'_> {
    /// Whether the type is one of ours.
    pub(super) fn is_built_in(&self, kind: &EventType) -> bool {
        self.built_in.get(kind.name()).is_some()
    }
}
