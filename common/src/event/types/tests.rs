use proptest::prelude::*;
use serde_json::json;

use super::*;

fn errors_of(kind: &str, data: &Value) -> Vec<String> {
    match Types::built_in().check(kind, data) {
        Ok(()) => Vec::new(),
        Err(Refused::Unknown) => vec!["unknown".to_owned()],
        Err(Refused::Rejected(rejection)) => rejection
            .errors
            .into_iter()
            .map(|error| error.pointer)
            .collect(),
    }
}

#[test]
fn good_data_passes() {
    let full = json!({
        "email": "ada@example.com", "name": "Ada", "plan": "pro", "locale": "de-AT",
        "password_hash": "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA",
        "attributes": {"team": {"size": 3}}
    });
    assert_eq!(errors_of(SIGNUP_REQUESTED, &full), [""; 0]);
    assert_eq!(
        errors_of(
            SIGNUP_REQUESTED,
            &json!({"email": "a@b.example", "name": "名"})
        ),
        [""; 0]
    );
    assert_eq!(
        errors_of(PROCESSING_REQUESTED, &json!({"task": "t", "payload": {}})),
        [""; 0]
    );
}

#[test]
fn every_wrong_field_is_listed_at_once() {
    let wrong = json!({"email": "nobody", "name": "  ", "locale": "???", "plan": 3});
    let mut pointers = errors_of(SIGNUP_REQUESTED, &wrong);
    pointers.sort();
    assert_eq!(pointers, ["/email", "/locale", "/name", "/plan"]);
}

#[test]
fn errors_never_repeat_the_value() {
    let wrong = json!({"email": "a@b.example", "name": "x", "password_hash": "hunter2"});
    match Types::built_in().check(SIGNUP_REQUESTED, &wrong) {
        Err(Refused::Rejected(rejection)) => {
            assert!(
                rejection
                    .errors
                    .iter()
                    .all(|error| !error.detail.contains("hunter2"))
            );
        }
        other => panic!("expected a rejection, found {other:?}"),
    }
}

#[test]
fn a_password_in_the_clear_has_its_own_code() {
    let wrong = json!({"email": "a@b.example", "name": "x", "password": "hunter2"});
    match Types::built_in().check(SIGNUP_REQUESTED, &wrong) {
        Err(Refused::Rejected(rejection)) => {
            assert_eq!(rejection.code, ReasonCode::PlaintextPassword);
            assert!(!format!("{rejection:?}").contains("hunter2"));
        }
        other => panic!("expected a rejection, found {other:?}"),
    }
}

#[test]
fn secrets_are_refused_where_anything_may_stand() {
    for (kind, data, pointer) in [
        (
            SIGNUP_REQUESTED,
            json!({"email": "a@b.example", "name": "x", "attributes": {"a": [{"Pass-Word": "hunter2"}]}}),
            "/attributes/a/0/Pass-Word",
        ),
        (
            PROCESSING_REQUESTED,
            json!({"task": "t", "payload": {"api_key": "hunter2"}}),
            "/payload/api_key",
        ),
    ] {
        match Types::built_in().check(kind, &data) {
            Err(Refused::Rejected(rejection)) => {
                assert_eq!(rejection.code, ReasonCode::PlaintextPassword);
                assert_eq!(rejection.errors[0].pointer, pointer);
                assert!(!format!("{rejection:?}").contains("hunter2"));
            }
            other => panic!("expected a rejection, found {other:?}"),
        }
    }
    let fine = json!({"task": "t", "payload": {"token": null, "password": true, "tokens": 7}});
    assert_eq!(errors_of(PROCESSING_REQUESTED, &fine), [""; 0]);
}

#[test]
fn a_nul_character_is_an_error_with_its_place() {
    let data = json!({"task": "t", "payload": {"a": "x\0", "b\0": 1}});
    let mut pointers = errors_of(PROCESSING_REQUESTED, &data);
    pointers.sort();
    assert_eq!(pointers, ["/payload", "/payload/a"]);
    let data = json!({"email": "a@b.example", "name": "x", "c\0": 1});
    assert!(
        errors_of(SIGNUP_REQUESTED, &data)
            .iter()
            .all(|pointer| !pointer.contains('\0'))
    );
}

#[test]
fn any_json_schema_is_one() {
    let takes = |schema: Value, good: Value, bad: Value| {
        let event_type = EventType::new("a.b", schema.clone())
            .unwrap_or_else(|error| panic!("{schema}: {error}"));
        assert_eq!(event_type.errors(&good), [], "{schema}");
        assert!(
            bad.is_null() || !event_type.errors(&bad).is_empty(),
            "{schema}"
        );
    };
    takes(
        json!({"type": ["string", "null"], "default": null}),
        json!(null),
        json!(1),
    );
    takes(json!(true), json!([1]), json!(null));
    takes(json!({}), json!("a"), json!(null));
    takes(json!({"const": null}), json!(null), json!(0));
    takes(json!({"enum": [null, 1]}), json!(1), json!(2));
    takes(
        json!({"$defs": {"n": {"type": "number"}}, "$ref": "#/$defs/n"}),
        json!(1),
        json!("a"),
    );
    takes(
        json!({"$id": "https://a.example/s", "$ref": "https://a.example/s#/$defs/n", "$defs": {"n": {"type": "number"}}}),
        json!(1),
        json!("a"),
    );
    takes(
        json!({"maximum": 123_456_789_012_345_678_901_234_567_890.0}),
        json!(1),
        json!(1e300),
    );
    for draft in [
        "http://json-schema.org/draft-04/schema#",
        "http://json-schema.org/draft-06/schema#",
        "http://json-schema.org/draft-07/schema#",
        "https://json-schema.org/draft/2019-09/schema",
        "https://json-schema.org/draft/2020-12/schema",
    ] {
        takes(
            json!({"$schema": draft, "type": "object"}),
            json!({}),
            json!(1),
        );
    }
    let never = EventType::new("a.b", json!(false)).unwrap_or_else(|error| panic!("{error}"));
    assert!(!never.errors(&json!({})).is_empty());
}

#[test]
fn a_reference_to_another_document_is_refused_with_the_reason() {
    for reference in [
        "https://a.example/s.json",
        "other.json",
        "file:///etc/passwd",
        "#/$defs/none",
    ] {
        let error = EventType::new("a.b", json!({"properties": {"x": {"$ref": reference}}}));
        let error = error
            .err()
            .unwrap_or_else(|| panic!("expected an error about {reference}"));
        assert!(error.problem.contains("into the schema itself"), "{error}");
    }
    let unknown = json!({"$schema": "https://a.example/meta", "type": "object"});
    let error = EventType::new("a.b", unknown).err();
    assert!(error.is_some_and(|error| error.problem.contains("`$schema`")));
}

#[test]
fn an_unknown_type_is_told_apart() {
    assert_eq!(errors_of("nope", &json!({})), ["unknown"]);
}

#[test]
fn configured_types_are_checked_and_cannot_shadow() {
    let definition = |name: &str, schema: Option<Value>| TypeDefinition {
        name: name.to_owned(),
        schema,
        schema_file: None,
    };
    let schema = json!({"type": "object", "required": ["amount"]});
    let types = Types::with(&[definition("invoice.paid", Some(schema.clone()))]);
    let types = types.unwrap_or_else(|error| panic!("{error}"));
    assert!(types.check("invoice.paid", &json!({"amount": 1})).is_ok());
    assert!(types.check("invoice.paid", &json!({})).is_err());

    for (bad, word) in [
        (
            definition(SIGNUP_REQUESTED, Some(schema.clone())),
            "already",
        ),
        (definition("no good", Some(schema.clone())), "words"),
        (definition("a", Some(json!({"type": 7}))), "schema"),
        (definition("a", None), "neither"),
    ] {
        let error = Types::with(&[bad])
            .map(|_| ())
            .map_err(|error| error.to_string());
        assert!(
            error.clone().is_err_and(|text| text.contains(word)),
            "{error:?}"
        );
    }
}

#[test]
fn patterns_match_as_on_the_broker() {
    for (pattern, kind, expected) in [
        ("#", "signup.requested", true),
        ("signup.*", "signup.requested", true),
        ("signup.*", "signup", false),
        ("signup.#", "signup", true),
        ("*.requested", "signup.requested", true),
        ("#.requested", "a.b.requested", true),
        ("signup", "signup.requested", false),
    ] {
        assert_eq!(topic_matches(pattern, kind), expected, "{pattern} {kind}");
    }
}

/// Texts that the schema as it is told to readers takes for name and plan, and the door does not, or the reverse.
fn told_wrongly(texts: impl IntoIterator<Item = String>) -> Vec<String> {
    let types = Types::built_in();
    let told = types.get(SIGNUP_REQUESTED).unwrap().schema();
    let told = jsonschema::validator_for(told).unwrap();
    let is_wrong = |text: &String| {
        let data = json!({"email": "a@b.example", "name": text, "plan": text});
        told.is_valid(&data) != types.check(SIGNUP_REQUESTED, &data).is_ok()
    };
    texts.into_iter().filter(is_wrong).collect()
}

#[test]
fn the_schema_of_signups_tells_the_rules_for_each_character() {
    let letters = (0..0x3100).filter_map(char::from_u32);
    let texts = letters.flat_map(|letter| [letter.to_string(), format!("A{letter}")]);
    assert_eq!(told_wrongly(texts), [""; 0]);
}

proptest! {
    #[test]
    fn the_schema_of_signups_tells_the_rules(texts in prop::collection::vec("[ a\\u{a0}\\u{7}\\u{2003}]{0,4}", 20)) {
        prop_assert_eq!(told_wrongly(texts), [""; 0]);
    }
}
