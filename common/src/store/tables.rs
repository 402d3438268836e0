//! What goes into the tables and comes out of them, whatever the engine: the shapes of rows, and what a
//! batch comes to before it is written.

pub(super) mod deliveries;
pub(super) mod events;
pub(super) mod groups;
pub(super) mod letters;
pub(super) mod rejections;
pub(super) mod replays;
pub(super) mod text;
pub(super) mod watching;
