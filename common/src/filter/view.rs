//! An event as an expression sees it.

use super::value::{Text, Value, by_name};
use crate::event::EventId;
use crate::event::json::{self, Wrong};

/// The names of an event's own members in an expression. Any other member is one of `extensions`.
pub(super) const MEMBERS: [&str; 11] = [
    "id",
    "source",
    "type",
    "time",
    "subject",
    "datacontenttype",
    "dataschema",
    "data",
    "data_base64",
    EXTENSIONS,
    EVENT_ID,
];

/// An object with all further members.
const EXTENSIONS: &str = "extensions";

/// Our own id of the event.
const EVENT_ID: &str = "event_id";

/// The members of an event, as filters and templates see them.
#[derive(Debug)]
pub struct EventView<'e> {
    members: [Option<Value<'e>>; MEMBERS.len()],
}

impl<'e> EventView<'e> {
    /// Reads a canonical event and its own id.
    ///
    /// # Errors
    /// It is not an event.
    pub fn read(event: &'e [u8], id: EventId) -> Result<Self, Wrong> {
        let mut members = [const { None }; MEMBERS.len()];
        let mut extensions: Vec<(Text<'e>, Value<'e>)> = Vec::new();
        for (name, raw) in json::fields(event)? {
            // The position would name a line and column of the member alone.
            let value: Value<'e> = serde_json::from_str(raw.get())
                .map_err(|_| Wrong::Malformed("expected JSON".to_owned()))?;
            let own = [EXTENSIONS, EVENT_ID, "specversion"].contains(&name.as_str());
            match place(&name).filter(|_| !own) {
                Some(place) => members[place] = Some(value),
                None if name == "specversion" => {}
                None => extensions.push((Text::Made(name.into()), value)),
            }
        }
        extensions.sort_unstable_by(by_name);
        let made = [
            (EXTENSIONS, Value::Object(extensions.into())),
            (EVENT_ID, Value::text(id.to_string())),
        ];
        for (name, value) in made {
            if let Some(place) = place(name) {
                members[place] = Some(value);
            }
        }
        Ok(Self { members })
    }

    /// A member, by its place in [`MEMBERS`].
    pub(super) fn member(&self, place: usize) -> Option<&Value<'e>> {
        self.members.get(place)?.as_ref()
    }
}

/// The place of a name in [`MEMBERS`].
pub(super) fn place(name: &str) -> Option<usize> {
    MEMBERS.iter().position(|member| *member == name)
}
