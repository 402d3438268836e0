//! What a webhook's receiver gets: signatures, headers, bodies, and who we are to it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use testkit::{
    client::Client,
    dev::Dev,
    load::signup,
    pki::Authority,
    process::Program,
    receiver::{Answer, Receiver, Request},
    scratch::Scratch,
    system::{Destination, System},
};
use uuid::Uuid;

use crate::{LATER, SOON, door::tables_with};

/// A type whose data is anything.
const ORDERS: &str = "[[type]]\nname = \"order.placed\"\nschema = true\n";

const SHARED: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The key pair of the public libraries' own tests.
const PRIVATE: &str =
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";

/// A secret that may stand nowhere but in the request that shows it.
const SECRET: &str = "correct-horse-battery-staple";

/// Publishes an event with this data, as it is written.
async fn place(client: &Client, data: &str, more: &str) -> Result<Uuid> {
    let id = Uuid::new_v4();
    let event = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/e2e\",\"type\":\"order.placed\"{more},\"data\":{data}}}"
    );
    let answer = client.post("/v1/events", "application/cloudevents+json", event);
    answer.await?.accepted()
}

/// The signature `v1` by a secret of these bytes over what was sent.
fn v1(secret: &[u8], request: &Request) -> Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret)?;
    let timestamp = request.header("webhook-timestamp");
    mac.update(format!("{}.{timestamp}.", request.webhook_id()).as_bytes());
    mac.update(&request.body);
    Ok(format!(
        "v1,{}",
        STANDARD.encode(mac.finalize().into_bytes())
    ))
}

#[tokio::test]
async fn all_secrets_sign_at_once_in_their_order_and_over_the_bytes_that_are_sent() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.first([Answer::status(500)]);
    let own = Destination::SECRET;
    let secrets = format!("[{SHARED:?}, {PRIVATE:?}, {own:?}]");
    let system = System::builder()
        .config(ORDERS)
        .destination(
            Destination::webhook("crm", &receiver)
                .signed_by(&secrets)
                .keys("body = \"data\""),
        )
        .start()
        .await?;
    let id = place(system.client(), "{\"total\" : 1234567890123456.78}", "").await?;
    system.ledger().await?.all_completed(&[id], SOON).await?;
    let requests = receiver.requests();
    ensure!(requests.len() == 2, "{requests:?}");
    for request in &requests {
        ensure!(
            request.body == "{\"total\" : 1234567890123456.78}",
            "{request:?}"
        );
        ensure!(request.webhook_id() == id.to_string(), "{request:?}");
        let parts: Vec<&str> = request.header("webhook-signature").split(' ').collect();
        let [first, second, third] = parts[..] else {
            anyhow::bail!("expected three signatures: {parts:?}");
        };
        ensure!(
            first == v1(&STANDARD.decode(&SHARED[6..])?, request)?,
            "{first}"
        );
        ensure!(second.starts_with("v1a,") && second.len() == 92, "{second}");
        ensure!(
            third == v1(&STANDARD.decode(&own[6..])?, request)?,
            "{third}"
        );
    }
    system.finish().await
}

#[tokio::test]
async fn method_headers_media_type_and_body_are_those_of_the_keys() -> Result<()> {
    let receiver = Receiver::start().await?;
    let templates = Scratch::new()?;
    let file = templates.path().join("slack.json");
    let template = "{\"text\": {{ data.text }}, \"total\": {{ data.total }}, \"of\": {{ source }}, \"at\": {{ time }}, \
                    \"shop\": {{ extensions.shop }}}";
    std::fs::write(&file, template)?;
    let keys = format!(
        "method = \"PUT\", content_type = \"application/json; charset=utf-8\", body = {{ template = {file:?} }}, \
         headers = {{ X-Api-Key = {{ env = \"E2E_API_KEY\" }}, X-Of = \"e2e\" }}"
    );
    let system = System::builder()
        .config(ORDERS)
        .env("E2E_API_KEY", SECRET)
        .destination(Destination::webhook("slack", &receiver).keys(&keys))
        .start()
        .await?;
    let more = ",\"time\":\"2026-01-02T03:04:05Z\",\"shop\":\"north\"";
    let id = place(
        system.client(),
        "{\"text\":\"\\\"},{\\n\",\"total\":1234567890123456.78}",
        more,
    )
    .await?;
    system.ledger().await?.all_completed(&[id], SOON).await?;
    let requests = receiver.requests();
    let [request] = &requests[..] else {
        anyhow::bail!("expected one request: {requests:?}");
    };
    ensure!(request.method == "PUT", "{request:?}");
    for (name, value) in [
        ("content-type", "application/json; charset=utf-8"),
        ("x-api-key", SECRET),
        ("x-of", "e2e"),
    ] {
        ensure!(request.header(name) == value, "{name}: {request:?}");
    }
    let body = String::from_utf8_lossy(&request.body);
    ensure!(body.contains("\"total\": 1234567890123456.78,"), "{body}");
    let body = request.json()?;
    ensure!(
        body["text"] == "\"},{\n" && body["of"] == "/e2e" && body["shop"] == "north",
        "{body}"
    );
    ensure!(body["at"] == "2026-01-02T03:04:05Z", "{body}");
    let signature = v1(&STANDARD.decode(&Destination::SECRET[6..])?, request)?;
    ensure!(
        request.header("webhook-signature") == signature,
        "{request:?}"
    );
    system.finish().await
}

#[tokio::test]
async fn a_template_that_fails_for_an_event_is_a_dead_letter_without_a_request() -> Result<()> {
    let receiver = Receiver::start().await?;
    let templates = Scratch::new()?;
    let file = templates.path().join("slack.json");
    std::fs::write(&file, "{\"text\": {{ data.text }}}")?;
    let keys = format!("body = {{ template = {file:?} }}");
    let system = System::builder()
        .config(ORDERS)
        .destination(Destination::webhook("slack", &receiver).keys(&keys))
        .start()
        .await?;
    let (client, ledger) = (system.client(), system.ledger().await?);
    let failing = place(client, &json!({"secret": SECRET}).to_string(), "").await?;
    let fitting = place(client, "{\"text\":\"hello\"}", "").await?;
    ledger.all_completed(&[fitting], SOON).await?;
    let status = client.await_status(failing, "dead", SOON).await?;
    ensure!(status.reason_code() == "template_failed", "{status:?}");
    ensure!(
        ledger.attempts(failing).await?.is_empty(),
        "an attempt is recorded"
    );
    ensure!(receiver.count() == 1, "{:?}", receiver.attempts());
    let letters = system
        .longshore(&["dead", "list", "--json"])
        .await?
        .json()?;
    let error = letters["items"][0]["error"].as_str().context("an error")?;
    ensure!(
        error.contains("slack.json, line 1: expected a member"),
        "{error}"
    );
    ensure!(!error.contains(SECRET), "{error}");
    let balance = system.settled(&[failing, fitting], SOON).await?;
    ensure!(balance.dead == 1 && balance.completed == 1, "{balance}");

    // With a template that fits, the letter is delivered.
    let mut system = system;
    std::fs::write(&file, "{\"text\": {{ data.text|default(\"none\") }}}")?;
    system.terminate(Program::Integrate, 0, SOON).await?;
    system.start_again(Program::Integrate, 0).await?;
    let replay = ["dead", "replay", "--all", "--yes", "--json"];
    system.longshore(&replay).await?.success()?;
    ledger.all_completed(&[failing], SOON).await?;
    ensure!(receiver.requests()[1].json()?["text"] == "none");
    system.finish().await
}

#[tokio::test]
async fn a_template_that_fails_is_a_dead_letter_in_one_process_too() -> Result<()> {
    let receiver = Receiver::start().await?;
    let templates = Scratch::new()?;
    let file = templates.path().join("slack.json");
    std::fs::write(&file, "{\"text\": {{ data.text }}}")?;
    let keys = format!("body = {{ template = {file:?} }}");
    let mut dev = Dev::configured(
        &[Destination::webhook("slack", &receiver).keys(&keys)],
        ORDERS,
    )?;
    dev.start().await?;
    let failing = place(dev.client(), "{}", "").await?;
    let fitting = place(dev.client(), "{\"text\":\"hello\"}", "").await?;
    let status = dev.client().await_status(failing, "dead", SOON).await?;
    ensure!(status.reason_code() == "template_failed", "{status:?}");
    dev.client()
        .await_status(fitting, "completed", SOON)
        .await?;
    ensure!(receiver.count() == 1, "{:?}", receiver.attempts());
    dev.finish()
}

/// A server of tokens `t1`, `t2` and so on.
async fn token_server() -> Result<Receiver> {
    let server = Receiver::start().await?;
    server.plan(|call| {
        let token = format!("{SECRET}-t{}", call.total + 1);
        let answer = json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600});
        Answer::status(200).body(answer.to_string())
    });
    Ok(server)
}

fn with_tokens(receiver: &Receiver, server: &Receiver) -> Destination {
    let keys = format!(
        "auth = {{ oauth2 = {{ token_url = {:?}, client_id = \"longshore\", client_secret = {{ env = \"E2E_CLIENT\" }}, \
         scopes = [\"events:write\"] }} }}",
        server.url()
    );
    Destination::webhook("crm", receiver).keys(&keys)
}

#[tokio::test]
async fn a_token_is_had_once_and_renewed_once_when_the_receiver_refuses_it() -> Result<()> {
    let (receiver, server) = (Receiver::start().await?, token_server().await?);
    let system = System::builder()
        .env("E2E_CLIENT", SECRET)
        .destination(with_tokens(&receiver, &server))
        .start()
        .await?;
    let (client, ledger) = (system.client(), system.ledger().await?);
    for part in ["first", "second", "third"] {
        let id = client.signup(&signup(part)).await?;
        ledger.all_completed(&[id], SOON).await?;
    }
    ensure!(
        server.count() == 1 && receiver.count() == 3,
        "{}",
        server.count()
    );
    // The server has taken the token back.
    let renewed = format!("Bearer {SECRET}-t2");
    receiver.plan(move |call| {
        let is_new = call.request.header("authorization") == renewed;
        Answer::status(if is_new { 200 } else { 401 })
    });
    let id = client.signup(&signup("refused")).await?;
    ledger.all_completed(&[id], SOON).await?;
    let attempts = ledger.attempts(id).await?;
    ensure!(
        attempts.len() == 1 && attempts[0].status_code == Some(200),
        "{attempts:?}"
    );
    ensure!(
        server.count() == 2 && receiver.count() == 5,
        "{}",
        server.count()
    );
    system.finish().await
}

#[tokio::test]
async fn while_no_token_can_be_had_deliveries_wait_and_no_secret_is_told() -> Result<()> {
    let (receiver, server) = (Receiver::start().await?, token_server().await?);
    server.always(
        Answer::status(401).body(json!({"error": "invalid_client", "secret": SECRET}).to_string()),
    );
    let mut system = System::builder()
        .env("E2E_CLIENT", SECRET)
        .destination(with_tokens(&receiver, &server).attempts(3, "250ms"))
        .start()
        .await?;
    let id = system.client().signup(&signup("without")).await?;
    let status = system.client().await_status(id, "dead", LATER).await?;
    ensure!(status.reason_code() == "receiver_failing", "{status:?}");
    ensure!(
        receiver.count() == 0 && server.count() == 3,
        "{}",
        server.count()
    );
    let told =
        serde_json::to_string(&status.timeline)? + &serde_json::to_string(&status.deliveries)?;
    let letters = system
        .longshore(&["dead", "list", "--json"])
        .await?
        .json()?;
    let error = letters["items"][0]["error"].as_str().context("an error")?;
    ensure!(
        error.contains("the token for its webhook could not be had")
            && error.contains("(invalid_client)"),
        "{error}"
    );
    let tables = tables_with(&system, SECRET).await?;
    ensure!(tables.is_empty(), "a secret is in {tables:?}");
    let log = system.process(Program::Integrate, 0)?.output();
    for text in [&told, &letters.to_string(), &log] {
        ensure!(!text.contains(SECRET), "{text}");
    }
    system.finish().await
}

#[tokio::test]
async fn a_receiver_over_tls_is_believed_by_its_authority_and_shown_a_certificate() -> Result<()> {
    let (servers, clients) = (Authority::new("servers")?, Authority::new("clients")?);
    let receiver = Receiver::start().await?;
    let leaf = servers.issue(&["127.0.0.1"])?;
    let front = receiver.over_tls(&leaf, Some(&clients)).await?;
    let folder = Scratch::new()?;
    let server = servers.write(&leaf, folder.path(), "server")?;
    let client = clients.write(&clients.issue(&["longshore"])?, folder.path(), "client")?;
    let (ca, certificate, key) = (&server.ca, &client.certificate, &client.key);
    let shown = format!("tls = {{ ca = {ca:?}, certificate = {certificate:?}, key = {key:?} }}");
    let hidden = format!("tls = {{ ca = {ca:?} }}");
    let url = front.url("127.0.0.1");
    let system = System::builder()
        .destination(Destination::at("shown", &url).keys(&shown))
        .destination(
            Destination::at("hidden", &url)
                .keys(&hidden)
                .attempts(2, "250ms"),
        )
        .start()
        .await?;
    let id = system.client().signup(&signup("encrypted")).await?;
    let status = system.client().await_status(id, "dead", SOON).await?;
    let of = |name: &str| {
        let mut found = status
            .deliveries
            .iter()
            .filter(|it| it["destination"] == name);
        found.next().map_or(Value::Null, |it| it["status"].clone())
    };
    ensure!(
        of("shown") == "delivered" && of("hidden") == "dead",
        "{status:?}"
    );
    ensure!(receiver.count() == 1, "{}", receiver.count());
    system.finish().await
}

#[tokio::test]
async fn a_wait_that_is_asked_for_is_cut_to_the_maximum_of_the_policy() -> Result<()> {
    for status in [429, 503] {
        let receiver = Receiver::start().await?;
        receiver.first([Answer::status(status).retry_after(3600)]);
        let system = System::builder()
            .destination(
                Destination::webhook("crm", &receiver)
                    .attempts(3, "250ms")
                    .longest_wait("2s"),
            )
            .start()
            .await?;
        let id = system.client().signup(&signup("impatient")).await?;
        system.ledger().await?.all_completed(&[id], SOON).await?;
        let requests = receiver.requests();
        let pause = requests[1].at - requests[0].at;
        ensure!(pause >= Duration::from_millis(1_700), "{status}: {pause:?}");
        system.finish().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_webhook_that_cannot_be_used_is_an_error_at_the_start() -> Result<()> {
    let receiver = Receiver::start().await?;
    let templates = Scratch::new()?;
    let file = templates.path().join("broken.json");
    std::fs::write(&file, "{\"text\":\n {{ data.text }")?;
    let url = receiver.url();
    let system = System::builder()
        .copies(Program::Integrate, 0)
        .start()
        .await?;
    for (keys, words) in [
        (
            format!("body = {{ template = {file:?} }}"),
            "broken.json, line 2: syntax error",
        ),
        (
            format!("headers = {{ Host = {SECRET:?} }}"),
            "found Host, which",
        ),
        (
            format!("headers = {{ X-Key = \"{SECRET}\\r\\nx: y\" }}"),
            "visible ASCII for X-Key",
        ),
        (
            format!("secret = \"whsk_{SECRET}\""),
            "expected a private key",
        ),
        ("tls = { ca = \"nowhere.pem\" }".to_owned(), "https://"),
    ] {
        let text =
            format!("[[destination]]\nname = \"crm\"\nwebhook = {{ url = {url:?}, {keys} }}\n");
        system.file("longshore.toml", text)?;
        let output = system.run_to_its_end(Program::Integrate, &[]).await?;
        ensure!(output.stderr.contains(words), "{words}: {output:?}");
        ensure!(!output.stderr.contains(SECRET), "{output:?}");
    }
    system.file("longshore.toml", "")?;
    system.finish().await
}
