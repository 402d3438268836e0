//! JSON Merge Patch (RFC 7396).

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

/// An object's members, each as the text it is.
type Members = BTreeMap<String, Box<RawValue>>;

/// The document with the patch applied. Values outside the patch keep their bytes, so no number loses digits on the
/// way, and a patch without changes changes no byte.
///
/// # Errors
/// One of the two is not JSON.
pub fn patched(document: &str, patch: &str) -> Result<String, NoJson> {
    // Parsing it whole bounds how deep it is nested.
    let whole: Result<Value, _> = serde_json::from_str(patch);
    whole.map_err(NoJson::Patch)?;
    let document: &RawValue = serde_json::from_str(document).map_err(NoJson::Document)?;
    let patch: &RawValue = serde_json::from_str(patch).map_err(NoJson::Patch)?;
    let merged = merge(Some(document), patch).map_err(NoJson::Document)?;
    Ok(merged.get().to_owned())
}

/// The document or the patch is unfit.
#[derive(Debug, thiserror::Error)]
pub enum NoJson {
    /// The body that is to be changed.
    #[error(
        "expected JSON for a patch to change, found a body that is not JSON ({0}); without --patch it can be edited as text"
    )]
    Document(serde_json::Error),
    /// The patch itself.
    #[error("expected a JSON Merge Patch (RFC 7396), found {0}")]
    Patch(serde_json::Error),
}

fn merge(target: Option<&RawValue>, patch: &RawValue) -> serde_json::Result<Box<RawValue>> {
    let Some(changes) = members(patch) else {
        return Ok(patch.to_owned());
    };
    let before = target.and_then(members);
    // A value that is not an object gives way to one.
    let mut after = before.clone().unwrap_or_default();
    for (name, change) in changes {
        if change.get() == "null" {
            after.remove(&name);
        } else {
            let merged = merge(after.get(&name).map(AsRef::as_ref), &change)?;
            after.insert(name, merged);
        }
    }
    match (target, before) {
        (Some(target), Some(before)) if texts(&before).eq(texts(&after)) => Ok(target.to_owned()),
        _ => to_raw_value(&after),
    }
}

fn texts(members: &Members) -> impl Iterator<Item = (&str, &str)> {
    members
        .iter()
        .map(|(name, value)| (name.as_str(), value.get()))
}

fn members(value: &RawValue) -> Option<Members> {
    serde_json::from_str(value.get()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn patched_value(document: &Value, patch: &Value) -> Value {
        let text = patched(&document.to_string(), &patch.to_string()).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Every case of RFC 7396, appendix A.
    #[test]
    fn it_does_what_the_rfc_says() {
        for (document, patch, expected) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (
                json!({"a":"b","b":"c"}),
                json!({"a":null}),
                json!({"b":"c"}),
            ),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (
                json!({"a":{"b":"c"}}),
                json!({"a":{"b":"d","c":null}}),
                json!({"a":{"b":"d"}}),
            ),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"b"}), json!(["c"]), json!(["c"])),
            (json!({"a":"foo"}), json!(null), json!(null)),
            (json!({"a":"foo"}), json!("bar"), json!("bar")),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (
                json!({}),
                json!({"a":{"bb":{"ccc":null}}}),
                json!({"a":{"bb":{}}}),
            ),
        ] {
            assert_eq!(
                patched_value(&document, &patch),
                expected,
                "{document} {patch}"
            );
        }
    }

    #[test]
    fn what_is_left_alone_keeps_every_digit() {
        let document = r#"{"order":12345678901234567890123.10,"data":{"price":1.10,"name":"a"}}"#;
        let patched = patched(document, r#"{"data":{"name":"b","tax":0.20}}"#).unwrap();
        assert_eq!(
            patched,
            r#"{"data":{"name":"b","price":1.10,"tax":0.20},"order":12345678901234567890123.10}"#
        );
    }

    #[test]
    fn a_patch_that_changes_nothing_changes_no_byte() {
        let document = r#" {"b": {"d" : 1, "c":2}, "a":[ ] } "#;
        for patch in ["{}", r#"{"b":{"c":2,"e":null},"f":null}"#, r#"{"a":[ ]}"#] {
            assert_eq!(
                patched(document, patch).unwrap(),
                document.trim(),
                "{patch}"
            );
        }
    }

    #[test]
    fn what_is_no_json_is_said_to_be_none() {
        let no_document = patched("hello", "{}").unwrap_err().to_string();
        assert!(
            no_document.contains("body that is not JSON"),
            "{no_document}"
        );
        let deep = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
        for no_patch in ["", "{", &deep] {
            let error = patched("{}", no_patch).unwrap_err().to_string();
            assert!(error.contains("RFC 7396"), "{error}");
        }
    }

    /// RFC 7396, section 2, in its own words.
    fn by_the_book(target: Option<&Value>, patch: &Value) -> Value {
        let Value::Object(changes) = patch else {
            return patch.clone();
        };
        let mut members = target
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        for (name, change) in changes {
            if change.is_null() {
                members.remove(name);
            } else {
                let merged = by_the_book(members.get(name), change);
                members.insert(name.clone(), merged);
            }
        }
        Value::Object(members)
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,5}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                // Few names, so that patches hit existing members.
                prop::collection::btree_map("[abc]", inner, 0..4)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_patch_does_what_the_rfc_says(document in json(), patch in json()) {
            prop_assert_eq!(
                patched_value(&document, &patch),
                by_the_book(Some(&document), &patch)
            );
        }

        #[test]
        fn a_patch_applied_twice_changes_nothing_more(document in json(), patch in json()) {
            let once = patched_value(&document, &patch);
            prop_assert_eq!(patched_value(&once, &patch), once);
        }
    }
}
