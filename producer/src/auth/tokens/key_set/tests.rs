use serde_json::json;
use testkit::tokens::{SigningKey, key_set};

use super::*;

fn read(set: &Value) -> KeySet {
    KeySet::read(set.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}: {set}"))
}

fn is_key(found: Found<'_>, key: &SigningKey) -> bool {
    let jwk = key.jwk();
    let expected = PublicKey::read(jwk.as_object().unwrap()).unwrap();
    matches!(found, Found::Key(key) if *key == expected)
}

#[test]
fn a_key_is_found_by_its_algorithm_and_its_id() {
    let (rsa, p256, other) = (
        SigningKey::rsa("rsa").unwrap(),
        SigningKey::p256("p256").unwrap(),
        SigningKey::p256("other").unwrap(),
    );
    let set = read(&key_set(&[&rsa, &p256, &other]));
    assert!(is_key(set.find(Algorithm::Rs256, Some("rsa")), &rsa));
    assert!(is_key(set.find(Algorithm::Es256, Some("p256")), &p256));
    assert!(is_key(set.find(Algorithm::Es256, Some("other")), &other));
    // The `kid` of one kind with the `alg` of another.
    assert!(set.find(Algorithm::Rs256, Some("p256")) == Found::Nothing);
    assert!(set.find(Algorithm::Es256, Some("rsa")) == Found::Nothing);
    assert!(set.find(Algorithm::EdDsa, Some("rsa")) == Found::Nothing);
    assert!(set.find(Algorithm::Rs256, Some("RSA")) == Found::Nothing);
}

#[test]
fn a_token_without_kid_is_verified_only_with_the_only_key_that_fits() {
    let (rsa, p256, other) = (
        SigningKey::rsa("rsa").unwrap(),
        SigningKey::p256("p256").unwrap(),
        SigningKey::p256("other").unwrap(),
    );
    let set = read(&key_set(&[&rsa, &p256, &other]));
    assert!(is_key(set.find(Algorithm::Rs256, None), &rsa));
    assert!(set.find(Algorithm::Es256, None) == Found::Several);
    assert!(set.find(Algorithm::EdDsa, None) == Found::Nothing);
}

#[test]
fn of_two_keys_of_one_name_none_is_believed() {
    let (one, two) = (
        SigningKey::p256("a").unwrap(),
        SigningKey::p256("a").unwrap(),
    );
    let set = read(&key_set(&[&one, &two]));
    assert!(set.find(Algorithm::Es256, Some("a")) == Found::Several);
    let same_twice = read(&key_set(&[&one, &one]));
    assert!(is_key(same_twice.find(Algorithm::Es256, Some("a")), &one));
    // Keys of other kinds are other keys (RFC 7517, 4.5).
    let rsa = SigningKey::rsa("a").unwrap();
    let mixed = read(&key_set(&[&one, &rsa]));
    assert!(is_key(mixed.find(Algorithm::Es256, Some("a")), &one));
    assert!(is_key(mixed.find(Algorithm::Rs256, Some("a")), &rsa));
}

#[test]
fn keys_that_cannot_be_used_are_left_out_and_the_others_count() {
    let (good, private, encrypting) = (
        SigningKey::ed25519("good").unwrap(),
        SigningKey::p256("private").unwrap(),
        SigningKey::rsa("encrypting").unwrap(),
    );
    let mut set = key_set(&[&private, &good, &encrypting]);
    set["keys"][0]["d"] = json!("AQAB");
    set["keys"][2]["use"] = json!("enc");
    set["keys"].as_array_mut().unwrap().extend([
        json!("text"),
        json!({"kty": "oct", "kid": "secret", "k": "AQAB"}),
        json!({"kid": 7}),
    ]);
    let set = read(&set);
    assert_eq!(set.usable(), 1);
    assert!(is_key(set.find(Algorithm::EdDsa, Some("good")), &good));
    assert!(set.find(Algorithm::Es256, Some("private")) == Found::Nothing);
    assert!(set.find(Algorithm::Rs256, Some("encrypting")) == Found::Nothing);
    assert_eq!(
        set.left_out,
        [
            (0, Unusable::Private),
            (2, Unusable::Purpose),
            (3, Unusable::NotAnObject),
            (4, Unusable::Symmetric),
            (5, Unusable::Members),
        ]
    );
}

#[test]
fn what_is_not_a_key_set_is_refused_as_a_whole() {
    let many = json!({"keys": vec![json!({}); MAX_KEYS + 1]}).to_string();
    let most = json!({"keys": vec![json!({}); MAX_KEYS]}).to_string();
    assert!(KeySet::read(most.as_bytes()).is_ok());
    for (text, expected) in [
        ("", WrongKeySet::Text),
        ("<html>", WrongKeySet::Text),
        (r#"{"keys": []"#, WrongKeySet::Text),
        (r#"{"keys": [], "keys": []}"#, WrongKeySet::Text),
        ("[]", WrongKeySet::List),
        ("{}", WrongKeySet::List),
        (r#"{"keys": {}}"#, WrongKeySet::List),
        (many.as_str(), WrongKeySet::TooMany(MAX_KEYS + 1)),
    ] {
        let found = KeySet::read(text.as_bytes()).map(|_| ());
        assert_eq!(found, Err(expected), "{text:.60}");
    }
}
