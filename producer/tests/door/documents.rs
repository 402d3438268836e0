//! `/openapi.json`, `/asyncapi.json`, `/schemas/{type}` and `/docs`. Every answer in the tests of this folder is held
//! against `/openapi.json`, see [`Contract::hold`].

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use common::config::{Config, DoorMode, load_from};
use common::event::{Logins, Types, decode, now};
use common::key::Key;
use common::message::{HeaderValue, Headers, Message};
use serde_json::{Value, json};

use crate::contract::Contract;
use crate::fakes::{Setup, Testbed, testbed};
use crate::keys::{bearer, known};
use crate::request::{EVENT, event};
use crate::sources::{SECRET, stripe};

/// A door that asks for keys, with much in its configuration.
fn closed(key: &Key) -> Testbed {
    let destination =
        r#"[{ name = "hidden-crm", webhook = { url = "https://hidden.example/hooks" } }]"#;
    let variables = [
        (
            "LONGSHORE__TYPE",
            r#"[{ name = "harbour.docked", schema = { type = "object", "$defs" = { a = true } } }]"#,
        ),
        ("LONGSHORE__DESTINATION", destination),
        (
            "LONGSHORE__SOURCE",
            r#"[{ name = "hidden-stripe", scheme = "stripe", secret = "whsec_a2V5a2V5a2V5a2V5a2V5a2V5", type = "harbour.{type}" }]"#,
        ),
        (
            "LONGSHORE_BROKER_URL",
            "amqp://someone:hunter2@hidden-broker:5672/%2f",
        ),
    ];
    let config =
        load_from(variables.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap();
    let setup = Setup {
        config: Config {
            keys: vec![known("shop", key, &["events:write:signup.#"])],
            ..config
        },
        mode: DoorMode::Keys,
        ..Setup::default()
    };
    setup.build()
}

async fn get_with(bed: &Testbed, path: &str, key: &str) -> crate::request::Answer {
    let request = Request::get(path).header("authorization", key);
    bed.send(request.body(Body::empty()).unwrap()).await
}

/// Every value at a key of this name, at any depth.
fn all<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a Value>) {
    if let Some(fields) = value.as_object() {
        found.extend(fields.get(name));
    }
    let parts: Vec<_> = match value {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    parts.into_iter().for_each(|part| all(part, name, found));
}

/// The examples of a body or an answer.
fn examples(content: &Value) -> impl Iterator<Item = &Value> {
    let named = content["examples"].as_object();
    let named = named
        .into_iter()
        .flat_map(|all| all.values().map(|it| &it["value"]));
    named.chain(content.get("example"))
}

/// The server-sent events of a stream, as their schema sees them.
fn server_sent(stream: &str) -> Vec<Value> {
    let fields = |event: &str| {
        let lines = event.lines().filter_map(|line| line.split_once(": "));
        let fields = lines.map(|(name, value)| match name {
            "retry" => (name.to_owned(), json!(value.parse::<u32>().unwrap())),
            _ => (name.to_owned(), json!(value)),
        });
        Value::Object(fields.collect())
    };
    stream.trim_end().split("\n\n").map(fields).collect()
}

/// The address of an operation's example: every parameter in the path is its example.
fn address(path: &str, operation: &Value) -> String {
    let parameters = operation["parameters"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let in_path = parameters.iter().filter(|it| it["in"] == "path");
    in_path.fold(path.to_owned(), |path, parameter| {
        let name = format!("{{{}}}", parameter["name"].as_str().unwrap());
        path.replace(&name, parameter["example"].as_str().unwrap())
    })
}

#[tokio::test]
async fn the_document_has_every_path_and_method_of_the_router_and_no_other() {
    let bed = testbed();
    let contract = Contract::of(&bed.router).await;
    let source = include_str!("../../src/paths.rs");
    let written = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub(crate) const "));
    let written = written.filter_map(|line| line.split('"').nth(1));
    // The files of pages are not a part of the contract.
    let written: BTreeSet<_> = written.filter(|path| !path.ends_with("{file}")).collect();
    let documented: BTreeSet<_> = contract.paths().map(|(path, _)| path).collect();
    assert_eq!(documented, written);
    assert!(written.len() >= 14, "{written:?}");
    let routes = include_str!("../../src/routes.rs");
    assert!(!routes.contains(".route(\""), "a path is not from paths.rs");

    for (path, item) in contract.paths() {
        let mut methods: BTreeSet<String> = item
            .as_object()
            .unwrap()
            .keys()
            .map(|method| method.to_uppercase())
            .collect();
        if methods.contains("GET") {
            methods.insert("HEAD".to_owned());
        }
        let path = path
            .replace("{id}", "7")
            .replace("{name}", "x")
            .replace("{type}", "x");
        let request = Request::builder().method(Method::TRACE).uri(&path);
        let answer = bed.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allowed: BTreeSet<_> = answer
            .header("allow")
            .split(',')
            .map(str::to_owned)
            .collect();
        assert_eq!(allowed, methods, "{path}");
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_example_follows_its_schema() {
    let bed = testbed();
    let contract = Contract::of(&bed.router).await;
    let mut references = Vec::new();
    all(&contract.document, "$ref", &mut references);
    assert!(references.len() > 30);
    for reference in references {
        let pointer = reference.as_str().unwrap().trim_start_matches('#');
        assert!(contract.document.pointer(pointer).is_some(), "{reference}");
    }
    let mut contents = Vec::new();
    all(&contract.document["paths"], "content", &mut contents);
    let mut checked = 0;
    for (media, content) in contents.iter().flat_map(|it| it.as_object().unwrap()) {
        let schema = &content["schema"];
        for example in examples(content) {
            // The schema of a stream is that of its events.
            let parts = if media == "text/event-stream" {
                server_sent(example.as_str().unwrap())
            } else {
                vec![example.clone()]
            };
            for part in parts {
                let checking = contract.check(schema, &part);
                checking.unwrap_or_else(|error| panic!("{part}: {error}"));
                checked += 1;
            }
        }
    }
    assert!(checked > 12, "only {checked} examples");
}

#[tokio::test]
async fn the_door_and_the_document_judge_members_that_are_null_alike() {
    let bed = testbed();
    let contract = Contract::of(&bed.router).await;
    let schema = json!({ "$ref": "#/components/schemas/Event" });
    for (name, is_good) in [
        ("tenant", true),
        ("subject", true),
        ("time", true),
        ("data_base64", true),
        ("datacontenttype", true),
        ("id", false),
        ("data", false),
        ("", false),
        ("Tenant", false),
        ("a_b", false),
    ] {
        let mut sent = event("1");
        sent[name] = Value::Null;
        let answer = bed.post("/v1/events", &[EVENT], sent.to_string()).await;
        assert_eq!(answer.status.is_success(), is_good, "{name:?}: {answer:?}");
        assert_eq!(
            contract.check(&schema, &sent).is_ok(),
            is_good,
            "{name:?} in the document"
        );
    }
}

#[tokio::test]
async fn the_door_accepts_every_example_of_a_body() {
    let source = format!(
        r#"[{{ name = "stripe", scheme = "stripe", type = "stripe.{{type}}", secret = "{SECRET}" }}]"#
    );
    let kind = r#"[{ name = "stripe.invoice.paid", schema = { type = "object" } }]"#;
    let variables = [("LONGSHORE__SOURCE", &*source), ("LONGSHORE__TYPE", kind)];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let bed = Setup {
        config: load_from(variables).unwrap(),
        ..Setup::default()
    }
    .build();
    let contract = Contract::of(&bed.router).await;
    let mut sent = 0;
    for (path, item) in contract.paths() {
        let Some(operation) = item.get("post") else {
            continue;
        };
        let content = operation["requestBody"]["content"].as_object();
        for (media, content) in content.into_iter().flatten() {
            for example in examples(content) {
                let body = example.to_string();
                let mut headers = vec![("content-type".to_owned(), media.clone())];
                if path.contains("/sources/") {
                    headers.push(("stripe-signature".to_owned(), stripe(SECRET, 0, &body)));
                }
                if !media.contains("cloudevents") {
                    // Those of binary mode are the only headers with an example.
                    let parameters = operation["parameters"].as_array();
                    let given = parameters
                        .into_iter()
                        .flatten()
                        .filter(|it| it["in"] == "header");
                    headers.extend(given.filter_map(|it| {
                        let example = it["example"].as_str()?.to_owned();
                        Some((it["name"].as_str()?.to_owned(), example))
                    }));
                }
                let headers: Vec<_> = headers
                    .iter()
                    .map(|(name, value)| (&**name, &**value))
                    .collect();
                // What comes back is held against the document.
                let answer = bed.post(&address(path, operation), &headers, body).await;
                assert_eq!(answer.status, StatusCode::ACCEPTED, "{path}: {answer:?}");
                sent += 1;
            }
        }
    }
    assert_eq!(sent, 7);
}

#[tokio::test]
async fn the_examples_on_the_broker_are_events_to_the_validate_worker() {
    let bed = testbed();
    let document = bed.get("/asyncapi.json").await.json();
    let messages = document["components"]["messages"].as_object().unwrap();
    let mut read = 0;
    for (name, message) in messages {
        for example in message["examples"].as_array().into_iter().flatten() {
            let mut headers = Headers::default();
            for (header, value) in example["headers"].as_object().into_iter().flatten() {
                headers.set(header.clone(), HeaderValue::from(value.as_str().unwrap()));
            }
            let sent = Message {
                body: example["payload"].to_string().into(),
                content_type: message["contentType"].as_str().map(str::to_owned),
                headers,
                ..Message::default()
            };
            let kind = message["name"].as_str().unwrap();
            let limits = Config::default().limits.events();
            let decoded = decode(&sent, kind, &Logins::default(), limits, now())
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(decoded.event.kind, kind, "{name}");
            Types::built_in().check(kind, &decoded.data).unwrap();
            read += 1;
        }
    }
    // Three shapes of three types.
    assert_eq!(read, 9);
}

#[tokio::test]
async fn the_broker_s_document_names_the_channels_of_this_namespace() {
    let variables = [("LONGSHORE_NAMESPACE".to_owned(), "harbour".to_owned())];
    let bed = Setup {
        config: load_from(variables).unwrap(),
        ..Setup::default()
    }
    .build();
    let document = bed.get("/asyncapi.json").await.json();
    assert_eq!(document["asyncapi"], "3.0.0");
    for channel in [
        "received", "accepted", "rejected", "stored", "dead", "history",
    ] {
        let address = &document["channels"][channel]["address"];
        assert_eq!(*address, format!("harbour.{channel}"));
    }
    let received = document["channels"]["received"]["messages"]
        .as_object()
        .unwrap();
    assert_eq!(received.len(), 9, "{received:?}");
    assert_eq!(document["operations"]["receiveEvents"]["action"], "receive");
    let mut references = Vec::new();
    all(&document, "$ref", &mut references);
    for reference in references {
        let pointer = reference.as_str().unwrap().trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn each_type_has_its_schema_at_an_address_that_does_not_change() {
    let bed = testbed();
    for name in ["signup.requested", "processing.requested"] {
        let answer = bed.get(&format!("/schemas/{name}")).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("content-type"), "application/schema+json");
        let mut schema = answer.json();
        let id = schema.as_object_mut().unwrap().remove("$id");
        assert_eq!(id, Some(json!(format!("/schemas/{name}"))));
        assert_eq!(schema, *Types::built_in().get(name).unwrap().schema());
    }
    for name in [
        "invoice.paid",
        "signup.requested.json",
        "..%2fopenapi.json",
        "%ff",
    ] {
        let answer = bed.get(&format!("/schemas/{name}")).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (StatusCode::NOT_FOUND, "not_found")
        );
    }
}

#[tokio::test]
async fn a_closed_door_tells_its_configured_types_to_holders_of_a_key_alone() {
    let key = Key::generate().unwrap();
    let bed = closed(&key);
    for path in ["/openapi.json", "/asyncapi.json"] {
        let stranger = bed.get(path).await;
        let holder = get_with(&bed, path, &bearer(&key)).await;
        assert_eq!(
            (stranger.status, holder.status),
            (StatusCode::OK, StatusCode::OK)
        );
        assert_ne!(stranger.header("etag"), holder.header("etag"));
        let (stranger, holder) = (stranger.json().to_string(), holder.json().to_string());
        assert!(
            !stranger.contains("harbour.docked") && holder.contains("harbour.docked"),
            "{path}"
        );
        assert!(stranger.contains("signup.requested"), "{path}");
        for text in [stranger, holder] {
            for hidden in ["hidden", "hunter2", "someone", "whsec"] {
                assert!(!text.contains(hidden), "{path} tells {hidden}");
            }
        }
        let wrong = get_with(&bed, path, "Bearer lsk_wrong").await;
        assert_eq!(wrong.code(), "unauthenticated", "{path}");
    }
    assert_eq!(bed.get("/schemas/harbour.docked").await.code(), "not_found");
    let schema = get_with(&bed, "/schemas/harbour.docked", &bearer(&key))
        .await
        .json();
    assert_eq!(schema["$id"], "/schemas/harbour.docked");
}

#[tokio::test]
async fn the_document_says_whether_this_door_asks_for_keys() {
    let open = Contract::of(&testbed().router).await.document;
    assert_eq!(open["components"].get("securitySchemes"), None);
    let mut security = Vec::new();
    all(&open["paths"], "security", &mut security);
    assert!(security.is_empty(), "{security:?}");
    assert_eq!(
        open["paths"]["/v1/events"]["post"]["responses"].get("401"),
        None
    );

    let closed = Contract::of(&closed(&Key::generate().unwrap()).router)
        .await
        .document;
    assert_eq!(
        closed["components"]["securitySchemes"]["key"]["scheme"],
        "bearer"
    );
    let with_key = json!([{ "key": [] }]);
    for (path, method, security) in [
        ("/v1/signups", "post", Some(&with_key)),
        ("/v1/events", "post", Some(&with_key)),
        ("/v1/events/{id}", "get", Some(&with_key)),
        ("/metrics", "get", Some(&with_key)),
        ("/v1/sources/{name}", "post", None),
        ("/livez", "get", None),
    ] {
        assert_eq!(
            closed["paths"][path][method].get("security"),
            security,
            "{path}"
        );
    }
    let answers = &closed["paths"]["/v1/events"]["post"]["responses"];
    assert!(answers["401"]["headers"]["WWW-Authenticate"]["required"] == true);
    assert!(answers["202"]["headers"]["RateLimit"].is_object());
    assert_eq!(closed["paths"].get("/"), None);
}

#[tokio::test]
async fn a_built_in_schema_is_whole_without_its_dialect() {
    // The documents hold it in place, where a reference into itself would lead elsewhere.
    for kind in Types::built_in().iter() {
        let mut references = Vec::new();
        all(kind.schema(), "$ref", &mut references);
        assert!(references.is_empty(), "{}: {references:?}", kind.name());
    }
}
