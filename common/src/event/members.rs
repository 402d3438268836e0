//! The members of an event, by the names that filters and templates give them.

use serde_json::value::RawValue;

use super::json::{Wrong, fields};

/// The members that have a name of their own there. Any other one is an extension.
pub const MEMBERS: [&str; 9] = [
    "id",
    "source",
    "type",
    "time",
    "subject",
    "datacontenttype",
    "dataschema",
    "data",
    "data_base64",
];

/// The name of the object that has the extensions.
pub const EXTENSIONS: &str = "extensions";

/// The name of our own id of the event.
pub const EVENT_ID: &str = "event_id";

/// Which member it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    /// One of [`MEMBERS`], by its place there.
    Own(usize),
    /// An extension, by its name.
    Extension(String),
}

/// The members of a canonical event, in its order, without the version of CloudEvents. Their content is not read.
///
/// # Errors
/// It is not an event.
pub fn members(event: &[u8]) -> Result<Vec<(Member, &RawValue)>, Wrong> {
    let fields = fields(event)?.into_iter();
    let fields = fields.filter(|(name, _)| name != "specversion");
    let member = |name: String| match MEMBERS.iter().position(|own| **own == *name) {
        Some(place) => Member::Own(place),
        None => Member::Extension(name),
    };
    Ok(fields.map(|(name, raw)| (member(name), raw)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_name_of_its_own_is_an_extension() {
        let event = br#"{"specversion":"1.0","data":1,"id":"a","event_id":"b","extensions":"c","traceparent":"d"}"#;
        let found: Vec<Member> = members(event).unwrap().into_iter().map(|it| it.0).collect();
        let extension = |name: &str| Member::Extension(name.to_owned());
        assert_eq!(
            found,
            [
                Member::Own(7),
                Member::Own(0),
                extension("event_id"),
                extension("extensions"),
                extension("traceparent"),
            ]
        );
        assert!(members(b"[]").is_err());
    }
}
