//! Requests that two readers could understand in two ways (RFC 9112): refused, or answered and the connection
//! closed behind them.

use producer::Wire;

use crate::fakes::testbed;
use crate::wire::{PATIENCE, signup, start};

const BODY: &str = r#"{"email":"a@b.example","name":"x"}"#;

/// A POST with these header lines and this body, and another request right behind it.
fn smuggled(lines: &str, body: &str) -> String {
    format!(
        "POST /v1/signups HTTP/1.1\r\ncontent-type: application/json\r\n{lines}\r\n{body}\
         GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
    )
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

#[tokio::test]
async fn a_request_without_one_host_is_400() {
    let server = start(&testbed(), Wire::default(), PATIENCE).await;
    let length = format!("content-length: {}\r\n", BODY.len());
    for hosts in [
        "",
        "host: x\r\nhost: x\r\n",
        "host: x\r\nHost: y\r\n",
        "host:\r\n",
        "host: a b\r\n",
    ] {
        let answer = server
            .exchange(smuggled(&format!("{hosts}{length}"), BODY).as_bytes())
            .await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{hosts:?}: {answer}");
        assert!(
            answer.contains("malformed_request") && answer.contains("Host"),
            "{answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
    // The absolute form names a host and has the header all the same.
    let absolute = "GET http://x/livez HTTP/1.1\r\nconnection: close\r\n";
    let answer = server.exchange(format!("{absolute}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let answer = server
        .exchange(format!("{absolute}host: x\r\n\r\n").as_bytes())
        .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // HTTP/1.0 knows no such header.
    let answer = server.exchange(b"GET /livez HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    server.end().await;
}

#[tokio::test]
async fn two_lengths_end_the_connection() {
    let server = start(&testbed(), Wire::default(), PATIENCE).await;
    let length = format!("content-length: {}\r\n", BODY.len());
    let coding = "transfer-encoding: chunked\r\n";
    for lines in [format!("{length}{coding}"), format!("{coding}{length}")] {
        let request = smuggled(&format!("host: x\r\n{lines}"), &chunked(BODY));
        let answer = server.exchange(request.as_bytes()).await;
        // By the chunks alone, as RFC 9112 6.3 has it, or not at all.
        let status = answer.get(..12).unwrap_or_default();
        assert!(
            ["HTTP/1.1 202", "HTTP/1.1 400"].contains(&status),
            "{answer}"
        );
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "what is behind it is not read: {answer}"
        );
    }
    server.end().await;
}

#[tokio::test]
async fn what_is_framed_otherwise_is_400_and_closed() {
    let server = start(&testbed(), Wire::default(), PATIENCE).await;
    let length = BODY.len();
    for (lines, body) in [
        (
            format!("content-length: {length}\r\ncontent-length: 5\r\n"),
            BODY.to_owned(),
        ),
        (format!("content-length: {length}, 5\r\n"), BODY.to_owned()),
        (format!("content-length: +{length}\r\n"), BODY.to_owned()),
        (format!("content-length : {length}\r\n"), BODY.to_owned()),
        (
            format!("x: a\r\n b\r\ncontent-length: {length}\r\n"),
            BODY.to_owned(),
        ),
        (
            "transfer-encoding: gzip, chunked\r\n".to_owned(),
            chunked(BODY),
        ),
        (
            "transfer-encoding: chunked, chunked\r\n".to_owned(),
            chunked(BODY),
        ),
        (
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n".to_owned(),
            chunked(BODY),
        ),
        (
            "transfer-encoding: identity\r\n".to_owned(),
            BODY.to_owned(),
        ),
        ("transfer-encoding: xchunked\r\n".to_owned(), chunked(BODY)),
        (
            "transfer-encoding: chunked\r\n".to_owned(),
            format!("0x{length:x}\r\n{BODY}\r\n0\r\n\r\n"),
        ),
        (
            "transfer-encoding: chunked\r\n".to_owned(),
            format!("-1\r\n{BODY}\r\n0\r\n\r\n"),
        ),
        (
            "transfer-encoding: chunked\r\n".to_owned(),
            format!("fffffffffffffffff\r\n{BODY}\r\n0\r\n\r\n"),
        ),
        (
            "transfer-encoding: chunked\r\n".to_owned(),
            format!("{length:x}\r\n{BODY}xx0\r\n\r\n"),
        ),
    ] {
        let request = smuggled(&format!("host: x\r\n{lines}"), &body);
        let answer = server.exchange(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{lines:?}: {answer}");
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "{lines:?}: {answer}"
        );
    }
    // HTTP/1.0 has no chunks.
    let old = smuggled("host: x\r\ntransfer-encoding: chunked\r\n", &chunked(BODY))
        .replacen("HTTP/1.1", "HTTP/1.0", 1);
    let answer = server.exchange(old.as_bytes()).await;
    assert!(
        answer.contains(" 400 ") && answer.matches("HTTP/1.").count() == 1,
        "{answer}"
    );
    let answer = server
        .exchange(signup("connection: close\r\n").as_bytes())
        .await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    server.end().await;
}

#[tokio::test]
async fn every_content_encoding_counts() {
    let server = start(&testbed(), Wire::default(), PATIENCE).await;
    for lines in [
        "content-encoding: gzip\r\n",
        "content-encoding: identity\r\ncontent-encoding: gzip\r\n",
        "content-encoding: identity, br\r\n",
        "content-encoding: x-nonsense\r\n",
        "content-encoding:\r\n",
    ] {
        let answer = server
            .exchange(signup(&format!("{lines}connection: close\r\n")).as_bytes())
            .await;
        assert!(answer.starts_with("HTTP/1.1 415"), "{lines:?}: {answer}");
        assert!(answer.contains("accept-encoding: identity\r\n"), "{answer}");
    }
    for lines in [
        "content-encoding: identity\r\n",
        "content-encoding: Identity , identity\r\n",
    ] {
        let answer = server
            .exchange(signup(&format!("{lines}connection: close\r\n")).as_bytes())
            .await;
        assert!(answer.starts_with("HTTP/1.1 202"), "{lines:?}: {answer}");
    }
    server.end().await;
}
