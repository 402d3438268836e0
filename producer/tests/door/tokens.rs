//! A door that takes tokens of issuers.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use common::config::DoorMode;
use common::event::{EventId, Publisher};
use common::key::{Key, KnownKey, Scopes};
use common::store::Schema as _;
use serde_json::{Value, json};
use testkit::tokens::{SigningKey, signed, with_signature};

use crate::changes::Change;
use crate::fakes::{Setup, TestStore};
use crate::issuers::{Guarded, TestIssuer};
use crate::request::JSON;

fn known(name: &str, key: &Key, scope: &str) -> KnownKey {
    KnownKey {
        name: name.parse().unwrap(),
        hash: key.hash(),
        scopes: Scopes(vec![scope.parse().unwrap()]),
        rate: None,
        burst: None,
        networks: Vec::new(),
        expires_at: None,
    }
}

#[tokio::test]
async fn a_token_publishes_the_types_of_its_scopes_and_names_the_publisher() {
    let issuer = TestIssuer::start("keycloak").await;
    let door = Guarded::of(&issuer).await;
    let token = issuer.token("web", "openid events:write:signup.*");
    assert_eq!(door.signup(&token).await.status, StatusCode::ACCEPTED);
    let (_, decoded) = door.bed.broker.last();
    let publisher = Publisher::ourselves_for("keycloak/web");
    assert_eq!(decoded.trail.publisher, Some(publisher));

    let begun = door.bed.broker.begun();
    let shown = format!("Bearer {token}");
    let headers = [JSON, ("authorization", &*shown)];
    let body = json!({"task": "resize", "payload": {}}).to_string();
    let answer = door.bed.post("/v1/processing", &headers, body).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let detail = answer.json()["errors"][0]["detail"].to_string();
    assert!(
        detail.contains("events:write:processing.requested"),
        "{detail}"
    );
    let answer = door.status(&token, &EventId::born().to_string()).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(
        answer.json()["detail"]
            .to_string()
            .contains("`events:read`")
    );
    assert_eq!(door.bed.broker.begun(), begun);
}

#[tokio::test]
async fn keys_of_three_kinds_sign_tokens() {
    let issuer = TestIssuer::start("keycloak").await;
    let keys = [
        SigningKey::rsa("rsa").unwrap(),
        SigningKey::p256("p256").unwrap(),
        SigningKey::ed25519("ed25519").unwrap(),
    ];
    issuer.serve(&keys.each_ref());
    let door = Guarded::of(&issuer).await;
    for key in keys {
        let token = key.token(&issuer.claims("web", "events:write")).unwrap();
        let answer = door.signup(&token).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{key:?}");
    }
}

#[tokio::test]
async fn of_a_thousand_malformed_tokens_none_is_taken_and_none_is_a_fault() {
    let issuer = TestIssuer::start("keycloak").await;
    let door = Guarded::of(&issuer).await;
    let begun = door.bed.broker.begun();
    let right = issuer.token("web", "events:write");
    let [header, claims, signature] = *right.split('.').collect::<Vec<_>>() else {
        panic!("a token has three parts");
    };
    for number in 0..1_000_usize {
        let at = number % right.len();
        let cut = &right[..at];
        let token = match number % 8 {
            0 => cut.to_owned(),
            1 => format!("{cut}.{}", &right[at..]),
            2 => format!("{right}{number}"),
            3 => format!("{header}.{claims}.{}", &signature[1 + at % 80..]),
            4 => format!("{claims}.{header}.{signature}"),
            5 => format!(
                "{cut}{}{}",
                number % 10,
                right.get(at + 1..).unwrap_or_default()
            ),
            6 => with_signature(&format!("{header}.{claims}"), &[number as u8; 64]),
            _ => format!("{}.{claims}.{signature}", header.repeat(1 + number % 9)),
        };
        if token == right {
            continue;
        }
        // Each from an address of its own, so that none is refused for coming too fast.
        let address = format!("198.51.{}.{}", number / 250, number % 250);
        let answer = door.signup_from(&address, &token, &[]).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{number}: {token}");
        assert!(answer.header("www-authenticate").contains("invalid_token"));
        assert!(
            !answer.json().to_string().contains(signature),
            "no token is repeated"
        );
    }
    assert_eq!(door.bed.broker.begun(), begun);
    // Nor has one of them shut the door.
    assert_eq!(door.signup(&right).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_token_leads_to_no_key_but_those_of_its_issuer() {
    let issuer = TestIssuer::start("keycloak").await;
    let door = Guarded::of(&issuer).await;
    let evil = TestIssuer::start("evil").await;
    let claims = issuer.claims("web", "events:write");
    let place = evil.server.url();
    for extra in [
        json!({"jwk": evil.key.jwk()}),
        json!({"jku": place, "kid": "first"}),
        json!({"jku": place}),
        json!({"x5u": place}),
        json!({"x5c": ["AAAA"]}),
        json!({"kid": place}),
        json!({"kid": "../first"}),
    ] {
        let mut header = json!({"alg": "ES256"});
        header
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let token = evil.key.sign(&header, &claims).unwrap();
        let answer = door.signup(&token).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{header}");
        // The issuer itself may write them, and they lead nowhere all the same.
        header["kid"] = json!("first");
        let token = issuer.key.sign(&header, &claims).unwrap();
        assert_eq!(
            door.signup(&token).await.status,
            StatusCode::ACCEPTED,
            "{header}"
        );
    }
    assert_eq!(evil.server.count(), 0);
}

#[tokio::test]
async fn a_token_that_is_not_signed_by_its_issuer_is_refused() {
    let issuer = TestIssuer::start("keycloak").await;
    let rsa = SigningKey::rsa("rsa").unwrap();
    issuer.serve(&[&issuer.key, &rsa]);
    let door = Guarded::of(&issuer).await;
    let begun = door.bed.broker.begun();
    let claims = issuer.claims("web", "events:write");
    let evil = SigningKey::p256("first").unwrap();
    let signed_by = |key: &SigningKey, header: Value| key.sign(&header, &claims).unwrap();
    for token in [
        evil.token(&claims).unwrap(),
        signed_by(&issuer.key, json!({"alg": "ES256", "kid": "rsa"})),
        signed_by(&issuer.key, json!({"alg": "RS256", "kid": "first"})),
        signed_by(&rsa, json!({"alg": "ES256", "kid": "rsa"})),
        signed_by(&rsa, json!({"alg": "HS256", "kid": "rsa"})),
        signed_by(&rsa, json!({"alg": "PS256", "kid": "rsa"})),
        signed_by(
            &issuer.key,
            json!({"alg": "ES256", "kid": "first", "crit": ["b64"], "b64": false}),
        ),
        signed_by(&issuer.key, json!({"alg": "none", "kid": "first"})),
        with_signature(&signed(&json!({"alg": "none"}), &claims), b"none"),
        format!("{}.", signed(&json!({"alg": "none"}), &claims)),
        format!(
            "{}{}",
            issuer.token("web", "events:write"),
            "A".repeat(8 * 1024)
        ),
    ] {
        let answer = door.signup(&token).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{token}");
        assert_eq!(answer.code(), "unauthenticated");
    }
    assert_eq!(door.bed.broker.begun(), begun);
}

#[tokio::test]
async fn claims_of_another_issuer_audience_or_time_are_refused() {
    let issuer = TestIssuer::start("keycloak").await;
    let door = Guarded::of(&issuer).await;
    for (claim, value, words) in [
        ("iss", json!("https://keycloak.example.com"), "of an issuer"),
        (
            "iss",
            json!(["https://keycloak.example.com/"]),
            "of an issuer",
        ),
        ("aud", json!("billing"), "audience"),
        ("exp", json!(1_000_000_000), "expired"),
        ("exp", json!(null), "`exp`"),
        ("nbf", json!(9_000_000_000_u64), "later"),
        ("sub", json!(""), "names the caller"),
    ] {
        let mut claims = issuer.claims("web", "events:write");
        claims[claim] = value;
        let answer = door.signup(&issuer.key.token(&claims).unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{claims}");
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains(words), "{words}: {detail}");
    }
}

#[tokio::test]
async fn callers_of_two_issuers_and_the_holder_of_a_key_are_never_one() {
    let (one, two) = (
        TestIssuer::start("one").await,
        TestIssuer::start("two").await,
    );
    let key = Key::generate().unwrap();
    let sections = [one.section(""), two.section("")];
    let door = Guarded::open(&sections, vec![known("web", &key, "events:write")]);
    for issuer in [&one, &two] {
        door.await_keys(issuer).await;
    }
    let id_of = async |token: &str| {
        let headers = [("idempotency-key", "order-1")];
        let answer = door.signup_from("203.0.113.9", token, &headers).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        answer.json()["id"].as_str().unwrap().to_owned()
    };
    let web = one.token("web", "events:write");
    let first = id_of(&web).await;
    let scoped = one.token("web", "events:write events:read");
    assert_eq!(id_of(&scoped).await, first, "a caller with another token");
    for other in [
        one.token("app", "events:write"),
        one.token("two/web", "events:write"),
        two.token("web", "events:write"),
        two.token("one/web", "events:write"),
        key.expose().to_owned(),
    ] {
        assert_ne!(id_of(&other).await, first);
    }
}

#[tokio::test]
async fn a_caller_of_an_issuer_sees_its_own_events_and_no_others() {
    let (one, two) = (
        TestIssuer::start("one").await,
        TestIssuer::start("two").await,
    );
    let key = Key::generate().unwrap();
    // The event of the store is that of the caller `shop`, which has a key.
    let store = TestStore::changing([Change::Stored]);
    store.migrate().await.unwrap();
    let sections = [one.section(""), two.section("")];
    let door = Guarded::over(store, &sections, vec![known("shop", &key, "events:read")]);
    for issuer in [&one, &two] {
        door.await_keys(issuer).await;
    }
    let id = EventId::born().to_string();
    assert_eq!(door.status(key.expose(), &id).await.status, StatusCode::OK);
    for issuer in [&one, &two] {
        let own = door.status(&issuer.token("shop", "events:read"), &id).await;
        assert_eq!(own.status, StatusCode::NOT_FOUND);
        assert_eq!(own.code(), "unknown_event");
        let all = door
            .status(&issuer.token("audit", "events:read:all"), &id)
            .await;
        assert_eq!(all.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn each_caller_of_an_issuer_has_a_rate_of_its_own() {
    let issuer = TestIssuer::start("keycloak").await;
    let door = Guarded::open(&[issuer.section(r#"rate = "2/h""#)], Vec::new());
    door.await_keys(&issuer).await;
    for caller in ["web", "app"] {
        for left in ["1", "0"] {
            // Another token is the same caller.
            let answer = door.signup(&issuer.token(caller, "events:write")).await;
            assert_eq!(answer.status, StatusCode::ACCEPTED);
            assert_eq!(answer.header("ratelimit"), format!("\"key\";r={left}"));
        }
        let answer = door.signup(&issuer.token(caller, "events:write")).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answer.code(), "rate_limited");
    }
}

#[tokio::test]
async fn an_issuer_is_a_way_in_and_a_door_without_one_takes_no_token() {
    let issuer = TestIssuer::start("keycloak").await;
    let store = TestStore::empty();
    store.migrate().await.unwrap();
    let with_issuer = Guarded::over(store, &[issuer.section("")], Vec::new());
    assert!(with_issuer.bed.door.expect_keys().await.is_ok());

    let setup = Setup {
        mode: DoorMode::Keys,
        ..Setup::default()
    };
    let without = setup.build();
    let shown = format!("Bearer {}", issuer.token("web", "events:write"));
    let request = Request::post("/v1/signups").header("authorization", shown);
    let answer = without.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.json()["detail"].to_string().contains("of an issuer"));
}
