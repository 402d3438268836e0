use std::sync::Arc;

use futures_util::future::join_all;
use testkit::receiver::{Answer as Reply, Receiver};

use super::*;
use crate::testbed;

/// The credentials for a token server at `url`.
fn credentials(url: &str) -> ClientCredentials {
    let keys = format!(
        "auth = {{ oauth2 = {{ token_url = \"{url}\", client_id = \"long shore\", client_secret = \"hunter2:&\", \
         scopes = [\"a\", \"b\"], audience = \"crm\" }} }}"
    );
    match testbed::webhook_with("https://crm.example/hook", &keys).auth {
        Some(common::config::Authentication::OAuth2(client)) => client,
        other => panic!("expected client credentials, found {other:?}"),
    }
}

fn tokens(url: &str) -> Tokens {
    tokens_allowed(url, &["127.0.0.0/8"])
}

fn tokens_allowed(url: &str, allow: &[&str]) -> Tokens {
    // Once a process; a second time says no.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let allow = allow.iter().map(|net| net.parse().unwrap()).collect();
    let timeout = Duration::from_secs(30);
    Tokens::new(&credentials(url), &LinkTls::default(), timeout, allow).unwrap()
}

/// A server whose tokens are numbered, and live so long.
async fn server(expires_in: &'static str) -> Receiver {
    let server = Receiver::start().await.unwrap();
    server.plan(move |call| {
        let number = call.total + 1;
        Reply::status(200).body(format!(
            "{{\"access_token\":\"t{number}\",\"token_type\":\"bearer\"{expires_in}}}"
        ))
    });
    server
}

fn text(token: &Token) -> String {
    token.header().to_str().unwrap().to_owned()
}

/// The error of a server that answers so.
async fn error(reply: Reply) -> String {
    let server = Receiver::start().await.unwrap();
    server.always(reply);
    let error = tokens(&server.url())
        .current()
        .await
        .map(|_| ())
        .unwrap_err();
    assert_eq!(error.code, ReasonCode::ReceiverFailing);
    let error = error.to_string();
    assert!(
        error.starts_with("the token for its webhook could not be had from 127.0.0.1: "),
        "{error}"
    );
    assert!(!error.contains("hunter2"), "{error}");
    error
}

#[tokio::test]
async fn a_token_is_asked_for_by_the_grant_of_client_credentials() {
    let server = server(",\"expires_in\":3600").await;
    let token = tokens(&server.url()).current().await.unwrap();
    assert_eq!(text(&token), "Bearer t1");
    assert!(token.header().is_sensitive());
    let request = &server.requests()[0];
    assert_eq!(request.method, Method::POST);
    assert_eq!(
        request.header("content-type"),
        "application/x-www-form-urlencoded"
    );
    // RFC 6749, 2.3.1: encoded as fields of a form, then as Basic.
    let expected = basic(b"long+shore", b"hunter2%3A%26").unwrap();
    assert_eq!(request.header("authorization"), expected.to_str().unwrap());
    let fields: Vec<_> = form_urlencoded::parse(&request.body).into_owned().collect();
    let expected = [
        ("grant_type", "client_credentials"),
        ("scope", "a b"),
        ("audience", "crm"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(fields, expected);
}

#[tokio::test]
async fn all_who_wait_get_one_token_and_it_is_kept() {
    let server = server(",\"expires_in\":3600").await;
    server.hold();
    let tokens = Arc::new(tokens(&server.url()));
    let waiting = join_all((0..20).map(|_| tokens.current()));
    let release = async {
        server
            .await_count(1, Duration::from_secs(30))
            .await
            .unwrap();
        server.release();
    };
    let (had, ()) = tokio::join!(waiting, release);
    assert!(
        had.iter()
            .all(|token| text(token.as_ref().unwrap()) == "Bearer t1")
    );
    assert_eq!(text(&tokens.current().await.unwrap()), "Bearer t1");
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_failure_is_one_for_all_who_wait_and_is_not_kept() {
    let server = Receiver::start().await.unwrap();
    server.plan(|call| match call.total {
        0 => Reply::status(503),
        _ => Reply::status(200).body("{\"access_token\":\"t\",\"token_type\":\"Bearer\"}"),
    });
    server.hold();
    let tokens = tokens(&server.url());
    let waiting = join_all((0..20).map(|_| tokens.current()));
    let release = async {
        server
            .await_count(1, Duration::from_secs(30))
            .await
            .unwrap();
        server.release();
    };
    let (had, ()) = tokio::join!(waiting, release);
    assert!(had.iter().all(Result::is_err));
    assert_eq!(server.count(), 1);
    assert_eq!(text(&tokens.current().await.unwrap()), "Bearer t");
}

#[tokio::test]
async fn who_gives_up_waiting_leaves_the_question_to_the_next() {
    let server = server("").await;
    server.hold();
    let tokens = tokens(&server.url());
    tokio::select! {
        _ = tokens.current() => panic!("the server answers nobody"),
        asked = server.await_count(1, Duration::from_secs(30)) => drop(asked.unwrap()),
    }
    server.release();
    assert_eq!(text(&tokens.current().await.unwrap()), "Bearer t2");
}

#[tokio::test]
async fn a_token_is_renewed_before_its_end() {
    for (expires_in, shown) in [
        ("", 300.0),
        (",\"expires_in\":3600", 3570.0),
        (",\"expires_in\":\"3600\"", 3570.0),
        (",\"expires_in\":10", 8.0),
        (",\"expires_in\":1e300", 24.0 * 3600.0 - 30.0),
        (",\"expires_in\":0", 0.0),
        (",\"expires_in\":-5", 0.0),
        (",\"expires_in\":\"soon\"", 0.0),
        (",\"expires_in\":\"NaN\"", 0.0),
    ] {
        let server = server(expires_in).await;
        let tokens = tokens(&server.url());
        let first = tokens.current().await.unwrap();
        let life = (first.until - first.had_at).as_secs_f64();
        assert!((life - shown).abs() < 0.001, "{expires_in}: {life}");
        let second = tokens.current().await.unwrap();
        let is_kept = shown > 0.0;
        assert_eq!(Arc::ptr_eq(&first, &second), is_kept, "{expires_in}");
    }
}

#[tokio::test]
async fn a_refused_token_is_followed_by_one_other_for_all_and_that_by_none_for_a_while() {
    let server = server(",\"expires_in\":3600").await;
    let tokens = tokens(&server.url());
    let refused = tokens.current().await.unwrap();
    let others = join_all((0..20).map(|_| tokens.instead_of(&refused))).await;
    for other in others {
        assert_eq!(text(&other.unwrap().unwrap()), "Bearer t2");
    }
    let late = tokens.instead_of(&refused).await.unwrap().unwrap();
    assert_eq!(text(&late), "Bearer t2");
    // The endpoint refuses any token, so it is not asked for without end.
    assert!(tokens.instead_of(&late).await.unwrap().is_none());
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn an_answer_without_a_token_is_told_without_its_words() {
    for (body, words) in [
        ("hunter2", "expected JSON with access_token"),
        ("{}", "expected JSON with access_token"),
        ("[\"hunter2\"]", "expected JSON with access_token"),
        (
            "{\"access_token\":7,\"token_type\":\"hunter2\"}",
            "expected JSON with access_token",
        ),
        (
            "{\"access_token\":\"hunter2\",\"token_type\":\"mac\"}",
            "of the type Bearer",
        ),
        (
            "{\"access_token\":\"hunter2\\r\\nx: y\",\"token_type\":\"bearer\"}",
            "visible ASCII",
        ),
        (
            "{\"access_token\":\"\",\"token_type\":\"bearer\"}",
            "visible ASCII",
        ),
        (
            "{\"access_token\":\"hunter2 a\",\"token_type\":\"bearer\"}",
            "visible ASCII",
        ),
    ] {
        let error = error(Reply::status(200).body(body)).await;
        assert!(error.contains(words), "{body}: {error}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_by_its_registered_name_alone() {
    let named = error(
        Reply::status(401).body("{\"error\":\"invalid_client\",\"error_description\":\"hunter2\"}"),
    )
    .await;
    assert!(
        named.contains("found 401 Unauthorized (invalid_client)"),
        "{named}"
    );
    for body in ["{\"error\":\"hunter2\"}", "hunter2", ""] {
        let error = error(Reply::status(400).body(body)).await;
        assert!(error.ends_with("found 400 Bad Request"), "{error}");
    }
    // A redirect may lead anywhere, with the client's secret.
    let moved = error(Reply::status(307).header("location", "http://127.0.0.1:1/hunter2")).await;
    assert!(moved.contains("found 307"), "{moved}");
}

#[tokio::test]
async fn an_answer_of_any_size_is_bounded() {
    let error = error(Reply::status(200).huge(100_000_000)).await;
    assert!(
        error.contains("up to 65536 bytes, found a longer one"),
        "{error}"
    );
}

#[tokio::test]
async fn a_token_server_is_reached_where_the_operator_allows_it_alone() {
    let server = server("").await;
    let tokens = tokens_allowed(&server.url(), &[]);
    let error = tokens.current().await.map(|_| ()).unwrap_err();
    assert_eq!(error.code, ReasonCode::DestinationForbidden);
    assert!(error.to_string().contains("[outbound] allow"), "{error}");
    let named = format!(
        "https://localhost:{}/token",
        server
            .url()
            .rsplit(':')
            .next()
            .unwrap()
            .trim_end_matches("/hook")
    );
    let error = tokens_allowed(&named, &[])
        .current()
        .await
        .map(|_| ())
        .unwrap_err();
    assert_eq!(error.code, ReasonCode::DestinationForbidden, "{error}");
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn a_server_that_is_away_is_told_as_one() {
    let mut server = server("").await;
    server.down().await;
    let error = tokens(&server.url())
        .current()
        .await
        .map(|_| ())
        .unwrap_err();
    assert_eq!(error.code, ReasonCode::ReceiverFailing);
    assert!(error.to_string().contains("cannot connect"), "{error}");
}
