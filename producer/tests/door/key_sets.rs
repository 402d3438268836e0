//! The keys of an issuer that rotates, lies, hangs, or is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use common::config::load_from;
use producer::{open, serve};
use serde_json::{Value, json};
use testkit::pki::Authority;
use testkit::receiver::Answer as Reply;
use testkit::tokens::{SigningKey, key_set};
use testkit::wait::eventually;
use tokio_util::sync::CancellationToken;

use crate::issuers::{Guarded, TestIssuer, pass};

const SOON: Duration = Duration::from_secs(30);

/// Longer than the door waits between two looks that tokens bring about.
const COOL_DOWN: Duration = Duration::from_secs(6);

/// Longer than a look may take.
const DEADLINE: Duration = Duration::from_secs(6);

/// Longer than the door waits before it looks by itself.
const REFRESH: Duration = Duration::from_secs(901);

#[tokio::test]
async fn a_door_that_has_never_had_the_keys_says_so_and_takes_nothing() {
    let mut issuer = TestIssuer::start("keycloak").await;
    issuer.server.down().await;
    let door = Guarded::open(&[issuer.section("")], Vec::new());
    let token = issuer.token("web", "events:write");
    for _ in 0..3 {
        let answer = door.signup(&token).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.code(), "keys_unavailable");
        assert_eq!(answer.header("retry-after"), "2");
    }
    // What is not a token of this issuer is refused all the same.
    let other = TestIssuer::start("other")
        .await
        .token("web", "events:write");
    assert_eq!(door.signup(&other).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(door.bed.broker.begun(), 0);
    issuer.server.up().await.unwrap();
    door.await_keys(&issuer).await;
    assert_eq!(door.signup(&token).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_new_key_of_the_issuer_opens_the_door_at_once_and_an_old_one_no_more() {
    let issuer = TestIssuer::start("keycloak").await;
    let door = Guarded::of(&issuer).await;
    let new = SigningKey::ed25519("second").unwrap();
    issuer.serve(&[&new]);
    pass(COOL_DOWN).await;
    let old = issuer.token("web", "events:write");
    assert_eq!(door.signup(&old).await.status, StatusCode::ACCEPTED);
    let token = new.token(&issuer.claims("web", "events:write")).unwrap();
    assert_eq!(door.signup(&token).await.status, StatusCode::ACCEPTED);
    assert_eq!(door.signup(&old).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_withdrawn_key_opens_nothing_after_the_next_look() {
    let issuer = TestIssuer::start("keycloak").await;
    let door = Guarded::of(&issuer).await;
    let token = issuer.token("web", "events:write");
    issuer.serve(&[]);
    pass(REFRESH).await;
    eventually(SOON, "the door to look again", || async {
        let status = door.signup(&token).await.status;
        anyhow::ensure!(status == StatusCode::UNAUTHORIZED, "{status}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn tokens_that_somebody_makes_up_send_the_door_to_its_issuer_only_so_often() {
    let issuer = TestIssuer::start("keycloak").await;
    let door = Guarded::of(&issuer).await;
    assert_eq!(issuer.server.count(), 1);
    pass(COOL_DOWN).await;
    let evil = SigningKey::p256("evil").unwrap();
    let made_up = |number: usize| {
        let header = json!({"alg": "ES256", "kid": format!("made up {number}")});
        evil.sign(&header, &issuer.claims("web", "events:write"))
            .unwrap()
    };
    let tokens: Vec<String> = (0..200).map(made_up).collect();
    // Together, so that some wait for one look, and some for none.
    let answers = tokens.iter().enumerate().map(|(number, token)| {
        let address = format!("198.51.100.{number}");
        let door = &door;
        async move { door.signup_from(&address, token, &[]).await.status }
    });
    let answers = futures_util::future::join_all(answers).await;
    assert!(
        answers
            .iter()
            .all(|&status| status == StatusCode::UNAUTHORIZED)
    );
    assert_eq!(issuer.server.count(), 2);
    for token in &tokens[..10] {
        assert_eq!(door.signup(token).await.status, StatusCode::UNAUTHORIZED);
    }
    let right = issuer.token("web", "events:write");
    assert_eq!(door.signup(&right).await.status, StatusCode::ACCEPTED);
    assert_eq!(issuer.server.count(), 2);
}

#[tokio::test]
async fn while_the_issuer_hangs_known_keys_open_the_door_without_a_wait() {
    let issuer = TestIssuer::start("keycloak").await;
    let door = Guarded::of(&issuer).await;
    pass(COOL_DOWN).await;
    issuer.server.hold();
    let unknown = SigningKey::p256("second").unwrap();
    let unknown = unknown
        .token(&issuer.claims("web", "events:write"))
        .unwrap();
    let waiting = door.signup(&unknown);
    tokio::pin!(waiting);
    let right = issuer.token("web", "events:write");
    let asked = async {
        issuer.server.await_count(2, SOON).await.unwrap();
        for _ in 0..10 {
            assert_eq!(door.signup(&right).await.status, StatusCode::ACCEPTED);
        }
    };
    tokio::select! {
        biased;
        answer = &mut waiting => panic!("the issuer has answered: {answer:?}"),
        () = asked => {}
    }
    pass(DEADLINE).await;
    assert_eq!(waiting.await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(door.signup(&right).await.status, StatusCode::ACCEPTED);
    issuer.server.release();
}

#[tokio::test]
async fn an_issuer_that_lies_or_is_away_takes_no_key_from_the_door() {
    let mut issuer = TestIssuer::start("keycloak").await;
    let door = Guarded::of(&issuer).await;
    let evil = SigningKey::p256("evil").unwrap();
    let (jwk, set) = (evil.jwk(), key_set(&[&evil]).to_string());
    let elsewhere = TestIssuer::start("elsewhere").await;
    elsewhere.serve(&[&evil]);
    let token = issuer.token("web", "events:write");
    let evil = evil.token(&issuer.claims("web", "events:write")).unwrap();
    // Each would bring the evil key in, if only one rule were missing.
    let ok = |text: String| Reply::status(200).body(text);
    let redirect = Reply::status(302).header("location", elsewhere.server.url());
    let lies = [
        Reply::status(500).body(set.clone()),
        Reply::status(404).body(set.clone()),
        Reply::status(206).body(set.clone()),
        redirect.body(set.clone()),
        ok(format!("{set}<html>")),
        ok(format!("\u{feff}{set}")),
        ok(json!([jwk]).to_string()),
        ok(format!(r#"{{"keys": [], "keys": [{jwk}]}}"#)),
        ok(json!({"keys": vec![jwk; 101]}).to_string()),
        ok(format!("{set}{}", " ".repeat(1024 * 1024))),
        Reply::reset(),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        issuer.server.always(lie);
        let before = issuer.server.count();
        pass(COOL_DOWN).await;
        let answer = door.signup(&evil).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{number}");
        assert!(issuer.server.count() > before, "{number}: it was asked");
        let answer = door.signup(&token).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{number}");
    }
    assert_eq!(elsewhere.server.count(), 0, "redirects are not followed");
    issuer.server.down().await;
    pass(REFRESH).await;
    assert_eq!(door.signup(&evil).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(door.signup(&token).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn an_answer_that_drips_or_has_no_end_is_given_up() {
    let issuer = TestIssuer::start("keycloak").await;
    for reply in [
        Reply::status(200).huge(64 * 1024 * 1024),
        Reply::status(200).drip(1_000_000, Duration::from_secs(1)),
    ] {
        issuer.server.always(reply);
        let door = Guarded::open(&[issuer.section("")], Vec::new());
        let before = issuer.server.count();
        issuer.server.await_count(before + 1, SOON).await.unwrap();
        pass(DEADLINE).await;
        issuer.serve(&[&issuer.key]);
        door.await_keys(&issuer).await;
        let token = issuer.token("web", "events:write");
        assert_eq!(door.signup(&token).await.status, StatusCode::ACCEPTED);
    }
}

#[tokio::test]
async fn private_shared_and_encrypting_keys_of_an_issuer_verify_nothing() {
    let issuer = TestIssuer::start("keycloak").await;
    let bad = |name: &str, value: Value| {
        let mut jwk = issuer.key.jwk();
        jwk[name] = value;
        jwk
    };
    for jwk in [
        bad("d", json!("AQAB")),
        bad("k", json!("AQAB")),
        bad("use", json!("enc")),
        bad("alg", json!("RS256")),
        bad("kty", json!("RSA")),
        bad("crv", json!("P-384")),
    ] {
        issuer.answer(json!({"keys": [jwk]}).to_string());
        let door = Guarded::of(&issuer).await;
        let answer = door.signup(&issuer.token("web", "events:write")).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{jwk}");
    }
}

#[tokio::test]
async fn two_keys_of_one_name_verify_nothing() {
    let issuer = TestIssuer::start("keycloak").await;
    issuer.serve(&[&issuer.key, &SigningKey::p256("first").unwrap()]);
    let door = Guarded::of(&issuer).await;
    let answer = door.signup(&issuer.token("web", "events:write")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.json()["detail"].to_string().contains("several keys"));
}

#[tokio::test]
async fn keys_in_a_file_are_read_and_read_again() {
    let issuer = TestIssuer::start("keycloak").await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let write = |keys: &[&SigningKey]| std::fs::write(&path, key_set(keys).to_string()).unwrap();
    write(&[&issuer.key]);
    let file = format!("{{ file = {path:?} }}");
    let door = Guarded::open(&[issuer.section_at(&file, "")], Vec::new());
    door.await_keys(&issuer).await;
    let token = issuer.token("web", "events:write");
    assert_eq!(door.signup(&token).await.status, StatusCode::ACCEPTED);
    let new = SigningKey::p256("second").unwrap();
    write(&[&new]);
    pass(COOL_DOWN).await;
    let token = new.token(&issuer.claims("web", "events:write")).unwrap();
    assert_eq!(door.signup(&token).await.status, StatusCode::ACCEPTED);
    assert_eq!(issuer.server.count(), 0);
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_where_the_configuration_names_it() {
    let issuer = TestIssuer::start("keycloak").await;
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("test").unwrap();
    let leaf = authority.issue(&["localhost", "127.0.0.1"]).unwrap();
    let files = authority.write(&leaf, folder.path(), "jwks").unwrap();
    let config = load_from(
        [
            ("LONGSHORE_LISTEN", "127.0.0.1:0".to_owned()),
            (
                "LONGSHORE__PRODUCER__TLS__CERTIFICATE",
                files.certificate.display().to_string(),
            ),
            (
                "LONGSHORE__PRODUCER__TLS__KEY",
                files.key.display().to_string(),
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let entrance = open(&config.unwrap()).await.unwrap();
    let address = entrance.local_addr().unwrap();
    let (set, asked) = (
        key_set(&[&issuer.key]).to_string(),
        Arc::new(AtomicUsize::new(0)),
    );
    let count = Arc::clone(&asked);
    let keys = axum::routing::get(move || {
        count.fetch_add(1, Ordering::SeqCst);
        async move { set }
    });
    let router = axum::Router::new().route("/jwks", keys);
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(serve(entrance, router, stop, Duration::ZERO));

    let jwks = format!("\"https://{address}/jwks\"");
    let strange = Guarded::open(&[issuer.section_at(&jwks, "")], Vec::new());
    let trusted = issuer.section_at(&jwks, &format!("ca = {:?}", files.ca));
    let trusting = Guarded::open(&[trusted], Vec::new());
    trusting.await_keys(&issuer).await;
    let token = issuer.token("web", "events:write");
    assert_eq!(trusting.signup(&token).await.status, StatusCode::ACCEPTED);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let answer = strange.signup(&token).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
}
