use proptest::prelude::*;
use ring::hmac;
use serde_json::json;
use testkit::tokens::{SigningKey, signed, with_signature};

use super::*;

fn keys() -> [SigningKey; 3] {
    [
        SigningKey::rsa("a").unwrap(),
        SigningKey::p256("a").unwrap(),
        SigningKey::ed25519("a").unwrap(),
    ]
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey::read(key.jwk().as_object().unwrap()).unwrap()
}

fn refused(token: &str) -> Refused {
    let read = UnverifiedToken::read(token);
    read.map(|_| ()).expect_err(token)
}

#[test]
fn the_claims_of_a_token_are_those_that_its_key_has_signed() {
    let claims = json!({"iss": "https://id.example.com/", "sub": "web"});
    for key in keys() {
        let token = key.token(&claims).unwrap();
        let token = UnverifiedToken::read(&token).unwrap();
        assert_eq!(token.issuer(), Some("https://id.example.com/"));
        assert_eq!(token.key_id.as_deref(), Some("a"));
        assert_eq!(token.verify(&public(&key)), Ok(claims.as_object().unwrap()));
        for other in keys() {
            let is_same = other.jwk() == key.jwk();
            assert_eq!(token.verify(&public(&other)).is_ok(), is_same);
        }
    }
}

#[test]
fn a_token_with_any_bit_flipped_is_refused() {
    for key in keys() {
        let public = public(&key);
        let token = key.token(&json!({"sub": "web"})).unwrap();
        let verifies = |text: &str| {
            UnverifiedToken::read(text).is_ok_and(|token| token.verify(&public).is_ok())
        };
        assert!(verifies(&token));
        for bit in 0..token.len() * 8 {
            let mut bytes = token.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // A header field is text.
            if let Ok(text) = String::from_utf8(bytes) {
                assert!(!verifies(&text), "bit {bit} of {token}");
            }
        }
    }
}

#[test]
fn no_algorithm_counts_but_three() {
    let key = SigningKey::rsa("a").unwrap();
    for algorithm in [
        json!("none"),
        json!("None"),
        json!("NONE"),
        json!("HS256"),
        json!("RS384"),
        json!("PS256"),
        json!("ES384"),
        json!("rs256"),
        json!("RS256 "),
        json!(""),
        json!(null),
        json!(["RS256"]),
        json!(256),
    ] {
        let token = key.sign(&json!({"alg": algorithm}), &json!({})).unwrap();
        assert_eq!(refused(&token), Refused::Algorithm, "{algorithm}");
    }
    let token = key.sign(&json!({"kid": "a"}), &json!({})).unwrap();
    assert_eq!(refused(&token), Refused::Algorithm);
}

#[test]
fn a_public_key_is_never_taken_for_a_shared_secret() {
    for key in keys() {
        let jwk = key.jwk();
        let parts = ["n", "x"].map(|name| jwk[name].as_str().unwrap_or_default().to_owned());
        for secret in [jwk.to_string().as_bytes(), parts.concat().as_bytes()] {
            let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
            for algorithm in ["HS256", key.algorithm()] {
                let signed = signed(&json!({"alg": algorithm, "kid": "a"}), &json!({}));
                let tag = hmac::sign(&secret, signed.as_bytes());
                let token = with_signature(&signed, tag.as_ref());
                let verified = UnverifiedToken::read(&token)
                    .and_then(|token| token.verify(&public(&key)).map(|_| ()));
                assert!(verified.is_err(), "{token}");
            }
        }
    }
}

#[test]
fn a_header_that_demands_an_extension_or_is_of_another_type_is_refused() {
    let key = SigningKey::ed25519("a").unwrap();
    let with = |name: &str, value: Value| {
        let mut header = json!({"alg": "EdDSA"});
        header[name] = value;
        key.sign(&header, &json!({})).unwrap()
    };
    for crit in [json!(["exp"]), json!(["b64"]), json!([]), json!(null)] {
        assert_eq!(refused(&with("crit", crit)), Refused::Critical);
    }
    for typ in [
        json!("JWE"),
        json!("dpop+jwt"),
        json!(""),
        json!(null),
        json!(["JWT"]),
    ] {
        assert_eq!(refused(&with("typ", typ)), Refused::Type);
    }
    for typ in [
        "JWT",
        "jwt",
        "at+jwt",
        "application/at+jwt",
        "application/JWT",
    ] {
        assert!(
            UnverifiedToken::read(&with("typ", json!(typ))).is_ok(),
            "{typ}"
        );
    }
    assert_eq!(refused(&with("kid", json!(7))), Refused::Malformed);
    for name in ["jwk", "jku", "x5u", "x5c"] {
        let token = with(name, json!("https://evil.example.com/"));
        assert!(
            UnverifiedToken::read(&token).is_ok(),
            "{name} is not looked at"
        );
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_not_a_token() {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let header = part(r#"{"alg":"EdDSA"}"#);
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        format!("{header}.{header}"),
        format!("{header}..AA"),
        format!("{header}.{header}.A"),
        format!("{header}.{header}.AB"),
        format!("{header}.{header}.AA=="),
        format!("{header}.{header}.{header}.AA"),
        format!("{}.{header}.AA", part(r#"{"alg":"EdDSA","alg":"EdDSA"}"#)),
        format!("{header}.{}.AA", part(r#"{"sub":"a","sub":"b"}"#)),
        format!("{header}.{}.AA", part(r#"{"a":{"b":1,"b":2}}"#)),
        format!("{header}.{}.AA", part("{} {}")),
        format!("{header}.{}.AA", part("[]")),
        format!("{header}.{}.AA", part("\u{feff}{}")),
        format!("{header}.{}.AA", part(r#"{"exp":1e999}"#)),
        format!("{header}.{}.AA", part(&"[".repeat(2_000))),
        format!("{header}.{}.AA", URL_SAFE_NO_PAD.encode([b'"', 0xff, b'"'])),
    ] {
        assert_eq!(refused(&token), Refused::Malformed, "{token}");
    }
    let long = format!("{header}.{header}.{}", "A".repeat(MAX_BYTES));
    assert_eq!(refused(&long), Refused::TooLong);
}

proptest! {
    #[test]
    fn no_text_is_a_token_of_a_key_that_has_signed_nothing(
        text in "[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,90}"
    ) {
        let key = public(&SigningKey::ed25519("a").unwrap());
        if let Ok(token) = UnverifiedToken::read(&text) {
            prop_assert!(token.verify(&key).is_err());
        }
    }
}
