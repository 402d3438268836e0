//! The password hash of a signup: the one field that never leaves the store stage. In the data of an event
//! it stands only on its way in; behind a door it travels sealed, in a header of the message.

use std::fmt;

use secrecy::SecretString;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{CloudEvent, SIGNUP_REQUESTED};

/// The field that is taken out.
const FIELD: &str = "password_hash";

/// The password hash in the data of an event.
#[derive(Debug)]
pub enum PasswordHash {
    /// Nothing.
    Unsaid,
    /// Explicitly none (`null`).
    Absent,
    /// This one.
    Given(SecretString),
}

/// Takes the password hash out of a signup. The rest of its data stays as it was written. Events of other types have no
/// such field of ours, and stay unchanged.
pub fn take_password_hash(event: &mut CloudEvent) -> PasswordHash {
    if event.kind != SIGNUP_REQUESTED {
        return PasswordHash::Unsaid;
    }
    let Some((rest, hash)) = event.data.as_deref().and_then(split) else {
        return PasswordHash::Unsaid;
    };
    event.data = Some(rest);
    match serde_json::from_str::<Option<String>>(hash.get()) {
        Ok(Some(hash)) => PasswordHash::Given(hash.into()),
        // Anything but a text breaks the schema, which was asked before.
        _ => PasswordHash::Absent,
    }
}

/// The data without the field, and the field's value; `None` without such a field.
fn split(data: &RawValue) -> Option<(Box<RawValue>, Box<RawValue>)> {
    // Nearly always, and found out much faster than by reading it.
    if !data.get().contains(FIELD) && !data.get().contains('\\') {
        return None;
    }
    let mut reader = serde_json::Deserializer::from_str(data.get());
    let fields = reader.deserialize_map(Fields).ok()?;
    let mut found = None;
    let mut rest = String::with_capacity(data.get().len());
    rest.push('{');
    for (name, value) in fields {
        if name == FIELD {
            found = Some(value.to_owned());
            continue;
        }
        if rest.len() > 1 {
            rest.push(',');
        }
        // As a JSON text, escapes and all; a text can always be written.
        rest.push_str(&serde_json::Value::from(name).to_string());
        rest.push(':');
        rest.push_str(value.get());
    }
    rest.push('}');
    Some((RawValue::from_string(rest).ok()?, found?))
}

/// The fields of an object, in order, each as it is written.
struct Fields;

impl<'d> Visitor<'d> for Fields {
    type Value = Vec<(String, &'d RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'d>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    use super::*;

    fn signup(data: &str) -> CloudEvent {
        let data = RawValue::from_string(data.to_owned()).unwrap();
        let time = "2026-01-01T00:00:00Z".to_owned();
        CloudEvent::new("1".to_owned(), "/shop", SIGNUP_REQUESTED, time, data)
    }

    #[test]
    fn the_hash_comes_out_and_the_rest_stays_as_it_was_written() {
        for (data, rest) in [
            (r#"{"password_hash":"$argon2id$x"}"#, "{}"),
            (
                r#"{ "a": 1.00, "password_hash" : "$argon2id$x", "b":"\u00e4" }"#,
                r#"{"a":1.00,"b":"\u00e4"}"#,
            ),
            (
                r#"{"pass\u0077ord_hash":"$argon2id$x","a":{}}"#,
                r#"{"a":{}}"#,
            ),
        ] {
            let mut event = signup(data);
            let PasswordHash::Given(hash) = take_password_hash(&mut event) else {
                panic!("no hash in {data}");
            };
            assert_eq!(hash.expose_secret(), "$argon2id$x");
            assert_eq!(event.data(), rest);
        }
    }

    #[test]
    fn a_signup_can_say_that_it_has_none() {
        let mut event = signup(r#"{"a":1,"password_hash":null}"#);
        assert!(matches!(
            take_password_hash(&mut event),
            PasswordHash::Absent
        ));
        assert_eq!(event.data(), r#"{"a":1}"#);
    }

    #[test]
    fn what_is_no_signup_or_deeper_down_is_not_ours() {
        let deep = r#"{"attributes":{"password_hash":"theirs"}}"#;
        let mut event = signup(deep);
        assert!(matches!(
            take_password_hash(&mut event),
            PasswordHash::Unsaid
        ));
        assert_eq!(event.data(), deep);
        let mut event = signup(r#"{"password_hash":"theirs"}"#);
        event.kind = "shop.opened".to_owned();
        assert!(matches!(
            take_password_hash(&mut event),
            PasswordHash::Unsaid
        ));
        assert_eq!(event.data(), r#"{"password_hash":"theirs"}"#);
    }

    proptest! {
        #[test]
        fn nothing_else_is_lost(members in prop::collection::btree_map("\\PC{0,8}", "\\PC{0,8}", 0..6)) {
            let mut data: serde_json::Map<String, serde_json::Value> =
                members.into_iter().map(|(name, value)| (name, value.into())).collect();
            data.remove(FIELD);
            let rest = serde_json::Value::Object(data.clone());
            data.insert(FIELD.to_owned(), "$argon2id$x".into());
            let mut event = signup(&serde_json::Value::Object(data).to_string());
            prop_assert!(matches!(take_password_hash(&mut event), PasswordHash::Given(_)));
            let left: serde_json::Value = serde_json::from_str(event.data()).unwrap();
            prop_assert_eq!(left, rest);
        }
    }
}
