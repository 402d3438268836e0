//! The limits that docs/publishing.md tells, held against the constants and against the door.

use axum::http::StatusCode;
use common::config::Config;
use common::event::{MAX_ATTRIBUTE, MAX_SHORT_ATTRIBUTE, json, secrets};
use producer::Wire;
use serde_json::json;

use crate::fakes::testbed;
use crate::request::{EVENT, event};

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/publishing.md");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_page_tells_every_limit() {
    let page = page();
    let (limits, wire) = (Config::default().limits, Wire::default());
    for line in [
        format!("| `id`, `type`, `datacontenttype` | {MAX_SHORT_ATTRIBUTE} bytes each |"),
        format!("| `source`, `subject`, `dataschema` | {MAX_ATTRIBUTE} bytes each |"),
        format!("| {} levels |", json::MAX_DEPTH),
        format!("| {} bytes (`limits.event_bytes`) |", limits.event_bytes),
        format!(
            "| {} events (`limits.batch_events`), {} bytes (`limits.request_bytes`) |",
            limits.batch_events, limits.request_bytes
        ),
        format!("| {} bytes, {} headers,", wire.head_bytes, wire.headers),
    ] {
        assert!(page.contains(&line), "{line}");
    }
    let names = secrets::IN_NAMES.iter().chain(&secrets::AT_THE_END);
    let names = names.chain(&secrets::WORDS).chain(&secrets::WHOLE_NAMES);
    let harmless = secrets::HARMLESS_TOKENS
        .iter()
        .chain(&secrets::ABOUT_SECRETS);
    for name in names.chain(harmless) {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}

#[tokio::test]
async fn the_door_takes_what_is_at_a_limit_and_nothing_beyond() {
    let bed = testbed();
    for (name, limit) in [
        ("id", MAX_SHORT_ATTRIBUTE),
        ("source", MAX_ATTRIBUTE),
        ("subject", MAX_ATTRIBUTE),
        ("dataschema", MAX_ATTRIBUTE),
    ] {
        for (length, status) in [
            (limit, StatusCode::ACCEPTED),
            (limit + 1, StatusCode::UNPROCESSABLE_ENTITY),
        ] {
            let mut event = event("1");
            event[name] = json!("s".repeat(length));
            let answer = bed.post("/v1/events", &[EVENT], event.to_string()).await;
            assert_eq!(answer.status, status, "{name} {length}");
        }
    }
    // The data itself and its payload are two levels.
    for (depth, status) in [
        (json::MAX_DEPTH - 2, StatusCode::ACCEPTED),
        (json::MAX_DEPTH - 1, StatusCode::BAD_REQUEST),
    ] {
        let nested = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let body = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/s","type":"processing.requested","data":{{"task":"t","payload":{{"p":{nested}}}}}}}"#
        );
        let answer = bed.post("/v1/events", &[EVENT], body).await;
        assert_eq!(answer.status, status, "{depth}");
    }
}
