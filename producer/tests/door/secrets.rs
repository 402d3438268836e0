//! A password is hashed, and is nowhere else: not on the broker, in no answer, in no log.

use std::io::Write;
use std::sync::Mutex;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordVerifier as _};
use axum::http::StatusCode;
use common::broker::PublishError;
use common::event::header;
use serde_json::json;

use crate::fakes::{Setup, seal, testbed};
use crate::request::{BATCH, EVENT, JSON, event};

const PASSWORD: &str = "Tr0ub4dor-and-3-horses";

/// All log lines of this process. One log serves all tests: a subscriber of one thread alone would
/// miss call sites that other threads have reached first.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Starts to listen to everything, spans and their fields included.
fn listen() {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(|| Log)
        .finish();
    // The other test of this file may have been first.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

fn logged() -> String {
    String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned()
}

#[tokio::test]
async fn a_password_becomes_a_hash_that_verifies_and_is_nowhere_else() {
    listen();
    let bed = testbed();
    let body = json!({"email": "a@b.example", "name": "x", "password": PASSWORD}).to_string();
    let answer = bed.post("/v1/signups", &[JSON], body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let (publication, decoded) = bed.broker.only();
    assert!(!format!("{publication:?} {answer:?}").contains(PASSWORD));
    assert_eq!(decoded.data, json!({"email": "a@b.example", "name": "x"}));
    assert!(!format!("{publication:?}").contains("argon2id"));
    let sealed = publication
        .message
        .headers
        .text(header::SEALED_PASSWORD_HASH);
    let hash = seal().open(decoded.id, sealed.unwrap()).unwrap();
    let hash = PasswordHash::new(hash.expose()).unwrap();
    assert!(
        Argon2::default()
            .verify_password(PASSWORD.as_bytes(), &hash)
            .is_ok()
    );
    let log = logged();
    assert!(log.contains("http.request"), "expected spans, found {log}");
    assert!(!log.contains(PASSWORD) && !log.contains("$argon2id"));
}

#[tokio::test]
async fn a_hash_that_another_system_made_travels_sealed_too() {
    let bed = testbed();
    let hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA";
    let data = json!({"email": "a@b.example", "name": "x", "password_hash": hash});
    let mut event = event("1");
    event["data"] = data;
    let answer = bed.post("/v1/events", &[EVENT], event.to_string()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let (publication, decoded) = bed.broker.only();
    let body = String::from_utf8(publication.message.body.to_vec()).unwrap();
    assert!(
        !body.contains("argon2id") && !body.contains("password"),
        "{body}"
    );
    assert_eq!(decoded.data, json!({"email": "a@b.example", "name": "x"}));
    let sealed = publication
        .message
        .headers
        .text(header::SEALED_PASSWORD_HASH);
    let opened = seal().open(decoded.id, sealed.unwrap()).unwrap();
    assert_eq!(opened.expose(), hash);
}

#[tokio::test]
async fn no_failure_repeats_a_password() {
    listen();
    let failing = Setup {
        fails: Box::new(|_| Some(PublishError::Nacked)),
        ..Setup::default()
    }
    .build();
    let p = PASSWORD;
    let mut with_password = event("1");
    with_password["data"]["password"] = json!(p);
    for (path, header, body) in [
        (
            "/v1/signups",
            JSON,
            format!(r#"{{"email":"a@b.example","name":"x","password":"{p}"}}"#),
        ),
        (
            "/v1/signups",
            JSON,
            format!(r#"{{"email":"nobody","password":"{p}"}}"#),
        ),
        (
            "/v1/signups",
            JSON,
            format!(r#"{{"password":"{p}","password":"{p}"}}"#),
        ),
        ("/v1/signups", JSON, format!(r#"{{"password":["{p}"]}}"#)),
        (
            "/v1/signups",
            JSON,
            format!(r#"{{"password":{{"{p}":"{p}"}}}}"#),
        ),
        (
            "/v1/signups",
            JSON,
            format!(r#"{{"password":"{p}\ud800"}}"#),
        ),
        ("/v1/signups", JSON, format!(r#"{{"password":"{p}"#)),
        ("/v1/signups", JSON, format!(r#"{{"password":{p}}}"#)),
        ("/v1/signups", JSON, format!(r#"{{"password_hash":"{p}"}}"#)),
        ("/v1/signups", JSON, format!(r#"{{"passwrod":"{p}"}}"#)),
        (
            "/v1/signups",
            JSON,
            format!(r#"{{"email":"{p}","name":["{p}"],"locale":"{p}"}}"#),
        ),
        ("/v1/signups", JSON, format!(r#""{p}""#)),
        ("/v1/events", EVENT, with_password.to_string()),
        (
            "/v1/events",
            EVENT,
            format!(r#"{{"id":["{p}"],"time":{{"a":"{p}"}}}}"#),
        ),
        ("/v1/events", BATCH, format!("[{with_password}]")),
    ] {
        let answer = failing.post(path, &[header], body.clone()).await;
        assert!(!answer.status.is_success(), "{body}");
        assert!(!format!("{answer:?}").contains(p), "{body}: {answer:?}");
    }
    assert!(!logged().contains(p));
}
