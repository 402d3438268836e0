//! The door, as callers see it.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{
    load::{signup, signup_event},
    process::Program,
    system::System,
};
use uuid::Uuid;

use crate::SOON;

const JSON: &str = "application/json";
const EVENT: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

/// A system with nothing behind the door, which is enough to see the door's answers.
async fn door() -> Result<System> {
    let builder = System::builder();
    Program::WORKERS
        .into_iter()
        .fold(builder, |some, worker| some.copies(worker, 0))
        .start()
        .await
}

/// The pointers of all field errors in a problem, wherever it lists them.
fn pointers(problem: &Value) -> Vec<&str> {
    let lists = problem
        .as_object()
        .into_iter()
        .flat_map(|fields| fields.values());
    lists
        .filter_map(Value::as_array)
        .flatten()
        .filter(|error| error["detail"].is_string())
        .filter_map(|error| error["pointer"].as_str())
        // A pointer may come as a URI fragment, as in the examples of RFC 9457.
        .map(|pointer| pointer.trim_start_matches('#'))
        .collect()
}

#[tokio::test]
async fn an_accepted_event_says_where_to_follow_it() -> Result<()> {
    let system = System::builder().start().await?;
    let client = system.client();
    let answer = client
        .post("/v1/signups", JSON, signup("loc").to_string())
        .await?;
    let id = answer.accepted()?;
    let body = answer.json()?;
    let path = format!("/v1/events/{id}");
    ensure!(
        answer.header("location").ends_with(&path),
        "{:?}",
        answer.headers
    );
    ensure!(
        body["status_url"]
            .as_str()
            .is_some_and(|url| url.ends_with(&path)),
        "{body}"
    );
    ensure!(body["type"] == "signup.requested", "{body}");
    ensure!(
        id.get_version_num() == 7,
        "an id born here is a UUIDv7: {id}"
    );
    client.await_status(id, "completed", SOON).await?;
    system.finish().await
}

#[tokio::test]
async fn what_is_malformed_or_hostile_gets_a_4xx_problem_and_harms_nobody() -> Result<()> {
    let system = door().await?;
    let client = system.client();
    let deep = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
    let huge = format!(
        r#"{{"email":"a@example.com","name":"{}"}}"#,
        "x".repeat(20_000_000)
    );
    let cases: [(&str, &str, Vec<u8>, &[u16]); 17] = [
        ("/v1/signups", JSON, b"{".to_vec(), &[400]),
        ("/v1/signups", JSON, b"".to_vec(), &[400]),
        ("/v1/signups", JSON, b"null".to_vec(), &[400, 422]),
        ("/v1/signups", JSON, b"[]".to_vec(), &[400, 422]),
        (
            "/v1/signups",
            JSON,
            b"{\"email\":\"\xff\xfe\"}".to_vec(),
            &[400],
        ),
        (
            "/v1/signups",
            JSON,
            deep.clone().into_bytes(),
            &[400, 413, 422],
        ),
        ("/v1/signups", JSON, huge.into_bytes(), &[413]),
        (
            "/v1/signups",
            "text/plain",
            signup("x").to_string().into_bytes(),
            &[415],
        ),
        ("/v1/signups", "application/xml", b"<a/>".to_vec(), &[415]),
        (
            "/v1/processing",
            JSON,
            b"{\"task\":7}".to_vec(),
            &[400, 422],
        ),
        ("/v1/processing", JSON, b"{}".to_vec(), &[400, 422]),
        ("/v1/events", EVENT, b"{}".to_vec(), &[400, 422]),
        ("/v1/events", EVENT, b"\0\0\0".to_vec(), &[400]),
        ("/v1/events", BATCH, b"{}".to_vec(), &[400, 422]),
        ("/v1/events", BATCH, deep.into_bytes(), &[400, 413, 422]),
        ("/v1/events", "image/png", b"\x89PNG".to_vec(), &[400, 415]),
        ("/v1/events", JSON, b"{}".to_vec(), &[400, 415, 422]),
    ];
    for (path, media, body, allowed) in cases {
        let start = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let answer = client
            .post(path, media, body)
            .await
            .with_context(|| start.clone())?;
        ensure!(
            allowed.contains(&answer.status),
            "{path} {start:?}: {}",
            answer.status
        );
        answer
            .problem(answer.status)
            .with_context(|| format!("{path} {start:?}"))?;
    }
    client.signup(&signup("still-here")).await?;
    system.finish().await
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once() -> Result<()> {
    let system = door().await?;
    let body = json!({"email": "no address", "name": "", "surprise": 1});
    let answer = system
        .client()
        .post("/v1/signups", JSON, body.to_string())
        .await?;
    let problem = answer.problem(422)?;
    let pointers = pointers(&problem);
    ensure!(
        pointers.contains(&"/email") && pointers.contains(&"/name"),
        "{problem}"
    );
    system.finish().await
}

#[tokio::test]
async fn an_unknown_path_method_or_id_is_told_plainly() -> Result<()> {
    let system = door().await?;
    let client = system.client();
    client.get("/v1/nothing").await?.problem(404)?;
    client
        .send(Method::DELETE, "/v1/signups", &[], "")
        .await?
        .problem(405)?;
    let unknown = client
        .get(&format!("/v1/events/{}", Uuid::new_v4()))
        .await?;
    unknown.problem(404)?;
    ensure!(
        unknown.header("retry-after") == "1",
        "{:?}",
        unknown.headers
    );
    let nonsense = client.get("/v1/events/not-an-id").await?;
    ensure!([400, 404].contains(&nonsense.status), "{}", nonsense.status);
    nonsense.problem(nonsense.status)?;
    system.finish().await
}

#[tokio::test]
async fn the_same_idempotency_key_is_the_same_event() -> Result<()> {
    let system = System::builder().start().await?;
    let (client, ledger) = (system.client(), system.ledger().await?);
    let (key, body) = (Uuid::new_v4().to_string(), signup("idem"));
    let first = client
        .post_once("/v1/signups", &key, &body)
        .await?
        .accepted()?;
    ensure!(first.get_version_num() == 5, "{first}");
    ensure!(
        client
            .post_once("/v1/signups", &key, &body)
            .await?
            .accepted()?
            == first
    );
    let other = client
        .post_once("/v1/signups", "another-key", &signup("idem"))
        .await?
        .accepted()?;
    ensure!(other != first);
    ledger.all_completed(&[first, other], SOON).await?;
    ensure!(ledger.events().await? == 2);
    ensure!(ledger.rejections(first).await?.is_empty());

    let conflicting = signup("conflict");
    ensure!(
        client
            .post_once("/v1/signups", &key, &conflicting)
            .await?
            .accepted()?
            == first
    );
    let rejected = ledger.await_rejections(1, SOON).await?;
    ensure!(
        rejected == [(first, "idempotency_conflict".to_owned())],
        "{rejected:?}"
    );
    ensure!(client.await_rest(first, SOON).await?.status == "completed");
    let kept: Vec<String> = sqlx::query_scalar("select signups::text from signups")
        .fetch_all(ledger.pool())
        .await?;
    let holds = |signup: &Value| {
        let email = signup["email"].as_str().unwrap_or_default();
        kept.iter().any(|row| row.contains(email))
    };
    ensure!(
        holds(&body) && !holds(&conflicting),
        "the first one stands: {kept:?}"
    );
    system.finish().await
}

#[tokio::test]
async fn cloud_events_are_taken_structured_binary_and_in_batches() -> Result<()> {
    let system = System::builder().start().await?;
    let client = system.client();
    let event = signup_event("structured-1");
    let structured = client.event(&event).await?;
    ensure!(
        client.event(&event).await? == structured,
        "its id is its key"
    );
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "binary-1"),
        ("ce-type", "signup.requested"),
        ("ce-source", "/e2e"),
        ("content-type", JSON),
    ];
    let data = signup("binary").to_string();
    let binary = client
        .send(Method::POST, "/v1/events", &headers, data)
        .await?
        .accepted()?;
    let batch = client
        .batch(&[signup_event("batch-1"), signup_event("batch-2")])
        .await?;
    ensure!(batch.len() == 2);
    let all = [structured, binary, batch[0], batch[1]];
    let ledger = system.ledger().await?;
    ledger.all_completed(&all, SOON).await?;
    ensure!(ledger.events().await? == 4);
    system.finish().await
}

#[tokio::test]
async fn a_batch_with_one_bad_event_is_refused_whole() -> Result<()> {
    let system = System::builder().start().await?;
    let (client, ledger) = (system.client(), system.ledger().await?);
    let mut bad = signup_event("bad");
    bad["data"]["email"] = "no address".into();
    let body = json!([signup_event("good"), bad]).to_string();
    let problem = client.post("/v1/events", BATCH, body).await?.problem(422)?;
    ensure!(
        problem.to_string().contains("/1"),
        "it says which of the two: {problem}"
    );
    // A later event arrives later, so nothing of the batch can still be coming.
    let after = client.signup(&signup("after")).await?;
    ledger.all_completed(&[after], SOON).await?;
    ensure!(ledger.events().await? == 1);
    system.finish().await
}

#[tokio::test]
async fn an_unknown_type_is_refused_at_the_door() -> Result<()> {
    let system = door().await?;
    let mut event = signup_event("unknown");
    event["type"] = "nobody.knows.this".into();
    let answer = system
        .client()
        .post("/v1/events", EVENT, event.to_string())
        .await?;
    ensure!(
        [400, 422].contains(&answer.status),
        "{}: {}",
        answer.status,
        answer.text()
    );
    answer.problem(answer.status)?;
    system.finish().await
}

#[tokio::test]
async fn health_and_metrics_are_served() -> Result<()> {
    let mut system = System::builder().start().await?;
    for path in ["/livez", "/readyz"] {
        ensure!(system.client().get(path).await?.status == 200, "{path}");
    }
    let metrics = system.client().get("/metrics").await?;
    ensure!(
        metrics.status == 200 && metrics.text().contains("# TYPE"),
        "{}",
        metrics.text()
    );
    for worker in Program::WORKERS {
        let client = testkit::client::Client::new(system.address(worker, 0)?)?;
        ensure!(
            client.get("/metrics").await?.text().contains("# TYPE"),
            "{worker}"
        );
    }
    system.finish().await
}
