//! For any request, the answer is a 202 or the sender's fault, and nothing panics.

use std::path::Path;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request};
use proptest::prelude::*;

use crate::fakes::{Setup, TestStore, Testbed};
use crate::request::{BATCH, EVENT, JSON};

/// Every way in.
fn doors() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    let binary = vec![
        JSON,
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "processing.requested"),
    ];
    vec![
        ("/v1/signups", vec![JSON]),
        ("/v1/processing", vec![JSON]),
        ("/v1/events", vec![EVENT]),
        ("/v1/events", vec![BATCH]),
        ("/v1/events", binary),
    ]
}

fn bed() -> Testbed {
    Setup {
        store: TestStore::empty(),
        ..Setup::default()
    }
    .build()
}

/// Expects that the sender is to blame, or nobody.
async fn survives(bed: &Testbed, request: Request<Body>) -> Result<(), TestCaseError> {
    let what = format!(
        "{} {} {:?}",
        request.method(),
        request.uri(),
        request.headers()
    );
    let answer = bed.send(request).await;
    prop_assert!(answer.status.as_u16() < 500, "{}: {:?}", what, answer);
    if answer.status.is_client_error() {
        prop_assert!(!answer.code().is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn every_body_of_the_corpus_is_answered_with_a_4xx_at_every_door() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let bed = bed();
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for (route, headers) in doors() {
            let answer = bed.post(route, &headers, bytes.clone()).await;
            assert!(
                answer.status.is_client_error(),
                "{} at {route}: {answer:?}",
                path.display()
            );
            assert!(!answer.code().is_empty());
        }
        count += 1;
    }
    assert!(count >= 20, "expected the corpus, found {count} files");
    assert_eq!(bed.broker.begun(), 0);
}

#[tokio::test]
async fn nesting_of_any_depth_is_answered() {
    let bed = bed();
    for depth in [100, 127, 128, 129, 1000, 100_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            for (route, headers) in doors() {
                for body in [
                    nested.clone(),
                    format!(r#"{{"task":"t","payload":{{"p":{nested}}}}}"#),
                    format!(
                        r#"{{"email":"a@b.example","name":"x","attributes":{{"p":{nested}}}}}"#
                    ),
                    format!(
                        r#"[{{"specversion":"1.0","id":"1","source":"/s","type":"processing.requested","data":{{"task":"t","payload":{{"p":{nested}}}}}}}]"#
                    ),
                ] {
                    let answer = bed.post(route, &headers, body).await;
                    // The fake broker panics over a message that the validate worker could not
                    // read.
                    assert!(
                        answer.status.as_u16() < 500,
                        "{depth} at {route}: {answer:?}"
                    );
                }
            }
        }
    }
}

/// Bytes that are anything, and bytes that nearly are an event.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let tokens = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "null",
        "true",
        "1",
        "-1e999",
        "0.5",
        "\\u0000",
        "\\ud800",
        "\u{feff}",
        "\"email\"",
        "\"a@b.example\"",
        "\"name\"",
        "\"password\"",
        "\"12345678\"",
        "\"task\"",
        "\"payload\"",
        "\"data\"",
        "\"id\"",
        "\"source\"",
        "\"type\"",
        "\"specversion\"",
        "\"1.0\"",
        "\"signup.requested\"",
        "\"processing.requested\"",
        "\"time\"",
        "\"data_base64\"",
        "\"\"",
        "\"ext\"",
    ]);
    let field = (
        prop::sample::select(vec![
            "specversion",
            "id",
            "source",
            "type",
            "time",
            "subject",
            "datacontenttype",
            "data",
            "data_base64",
            "ext",
            "Bad",
            "",
            "email",
            "name",
            "task",
            "payload",
            "attributes",
        ]),
        prop::sample::select(vec![
            "\"1.0\"",
            "\"7\"",
            "\"/s\"",
            "\"signup.requested\"",
            "\"processing.requested\"",
            "null",
            "7",
            "{}",
            "[]",
            "{\"task\":\"t\",\"payload\":{}}",
            "\"\"",
            "\"\\u0000\"",
            "{\"email\":\"a@b.example\",\"name\":\"x\"}",
            "\"2026-01-02T03:04:05Z\"",
            "1e400",
        ]),
    );
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        prop::collection::vec(tokens, 0..40).prop_map(|tokens| tokens.concat().into_bytes()),
        (prop::collection::vec(field, 0..9), any::<bool>()).prop_map(|(fields, batch)| {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| format!("\"{name}\":{value}"))
                .collect();
            let object = format!("{{{}}}", fields.join(","));
            if batch { format!("[{object}]") } else { object }.into_bytes()
        }),
    ]
}

fn header() -> impl Strategy<Value = (HeaderName, HeaderValue)> {
    let name = prop_oneof![
        prop::sample::select(vec![
            "content-type",
            "content-encoding",
            "content-length",
            "idempotency-key",
            "traceparent",
            "tracestate",
            "x-request-id",
            "ce-id",
            "ce-type",
            "ce-source",
            "ce-specversion",
            "ce-time",
            "ce-data",
            "ce-",
            "authorization",
            "accept",
            "expect",
        ])
        .prop_map(str::to_owned),
        "[a-z][a-z0-9-]{0,20}",
    ];
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        prop::sample::select(vec![
            "application/json",
            "application/cloudevents+json",
            "1.0",
            "%",
            "%ff",
            "\"",
            "\"\\",
            "application/cloudevents-batch+json",
            "signup.requested",
            "processing.requested",
            "application/json;charset",
            ";",
            "identity",
            "99999999999999999999",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    (name, value).prop_filter_map("no header", |(name, value)| {
        Some((
            HeaderName::from_bytes(name.as_bytes()).ok()?,
            HeaderValue::from_bytes(&value).ok()?,
        ))
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_body_is_our_fault(bodies in prop::collection::vec(body(), 1..4)) {
        runtime().block_on(async {
            let bed = bed();
            for body in bodies {
                for (route, headers) in doors() {
                    let mut request = Request::post(route);
                    for (name, value) in headers {
                        request = request.header(name, value);
                    }
                    survives(&bed, request.body(Body::from(body.clone())).unwrap()).await?;
                }
            }
            Ok::<(), TestCaseError>(())
        })?;
    }

    #[test]
    fn no_header_method_or_path_is_our_fault(
        headers in prop::collection::vec(header(), 0..12),
        body in body(),
        method in prop::sample::select(vec!["GET", "POST", "PUT", "HEAD", "OPTIONS", "BREW"]),
        path in prop_oneof![
            prop::sample::select(vec!["/v1/signups", "/v1/processing", "/v1/events"]).prop_map(str::to_owned),
            "/v1/events/[!-~]{0,40}",
            "/[!-~]{0,40}",
        ],
    ) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        // Not every path is a URI: the server refuses those before we see them.
        if let Ok(request) = request.body(Body::from(body)) {
            runtime().block_on(async { survives_any(&bed(), request).await })?;
        }
    }
}

/// As [`survives`], for methods whose answers have no body.
async fn survives_any(bed: &Testbed, request: Request<Body>) -> Result<(), TestCaseError> {
    if request.method() != "HEAD" {
        return survives(bed, request).await;
    }
    let answer = bed.send(request).await;
    prop_assert!(answer.status.as_u16() < 500, "{:?}", answer);
    Ok(())
}
