//! An event as an expression sees it.

use super::value::{Text, Value, by_name};
use crate::event::json::Wrong;
use crate::event::{EVENT_ID, EXTENSIONS, EventId, MEMBERS, Member, members};

/// The names in an expression: the members of an event, and two that are made.
pub(super) const NAMES: [&str; MEMBERS.len() + 2] = {
    let mut names = [EXTENSIONS; MEMBERS.len() + 2];
    let mut place = 0;
    while place < MEMBERS.len() {
        names[place] = MEMBERS[place];
        place += 1;
    }
    names[MEMBERS.len() + 1] = EVENT_ID;
    names
};

/// The members of an event, as filters and templates see them.
#[derive(Debug)]
pub struct EventView<'e> {
    members: [Option<Value<'e>>; NAMES.len()],
}

impl<'e> EventView<'e> {
    /// Reads a canonical event and its own id.
    ///
    /// # Errors
    /// It is not an event.
    pub fn read(event: &'e [u8], id: EventId) -> Result<Self, Wrong> {
        let mut known = [const { None }; NAMES.len()];
        let mut extensions: Vec<(Text<'e>, Value<'e>)> = Vec::new();
        for (member, raw) in members(event)? {
            // The position would name a line and column of the member alone.
            let value: Value<'e> = serde_json::from_str(raw.get())
                .map_err(|_| Wrong::Malformed("expected JSON".to_owned()))?;
            match member {
                Member::Own(place) => known[place] = Some(value),
                Member::Extension(name) => extensions.push((Text::Made(name.into()), value)),
            }
        }
        extensions.sort_unstable_by(by_name);
        let made = [
            (EXTENSIONS, Value::Object(extensions.into())),
            (EVENT_ID, Value::text(id.to_string())),
        ];
        for (name, value) in made {
            if let Some(place) = place(name) {
                known[place] = Some(value);
            }
        }
        Ok(Self { members: known })
    }

    /// A member, by its place in [`NAMES`].
    pub(super) fn member(&self, place: usize) -> Option<&Value<'e>> {
        self.members.get(place)?.as_ref()
    }
}

/// The place of a name in [`NAMES`].
pub(super) fn place(name: &str) -> Option<usize> {
    NAMES.iter().position(|known| *known == name)
}
