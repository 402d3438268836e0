use std::time::Duration;

use common::store::{AuditFilter, AuditPage, Role, Store as _, WorkerCard};

use super::*;
use crate::testbed;

fn config() -> Config {
    toml::from_str(
        "[[destination]]\nname = \"crm\"\nrate = \"50/s\"\nbreaker = { of = 10 }\n\
         webhook = { url = \"https://u:hunter2@crm.example/hook\", secret = \"whsec_hunter2\" }\n",
    )
    .unwrap()
}

fn said<T>(result: Result<T, Failure>) -> (u8, String) {
    let failure = result.err().expect("a failure");
    (failure.code(), failure.to_string())
}

#[tokio::test]
async fn a_destination_is_paused_and_resumed_and_both_are_recorded() {
    let (config, store, by) = (config(), testbed::store().await, testbed::requester());
    let broker = testbed::broker();
    broker.apply(&testbed::topology(&["crm"])).await.unwrap();
    let look = async || show(&config, &broker, &store, "crm").await.unwrap();
    let open = look().await;
    assert_eq!(
        (open.listed.state, open.listed.messages),
        ("active", Some(0))
    );
    assert_eq!(open.rate.as_deref(), Some("50/s"));
    let shown = serde_json::to_string(&open).unwrap();
    assert!(
        shown.contains("crm.example") && !shown.contains("hunter2"),
        "{shown}"
    );

    let why = || "their deploy".to_owned();
    let paused = pause(&config, &store, "crm", why(), &by).await.unwrap();
    assert_eq!(
        (&*paused.paused_by, &*paused.paused_why),
        ("cli:test", "their deploy")
    );
    let again = pause(&config, &store, "crm", "another".to_owned(), &by).await;
    assert_eq!(again.unwrap(), paused);
    let listed = list(&config, &broker, &store).await.unwrap().items;
    assert_eq!(
        (listed[0].state, listed[0].pause.as_ref()),
        ("paused", Some(&paused))
    );

    let ended = resume(&config, &store, "crm", None, &by).await.unwrap();
    assert_eq!(ended.and_then(|before| before.pause), Some(paused));
    let twice = resume(&config, &store, "crm", None, &by).await.unwrap();
    assert_eq!((twice, look().await.listed.state), (None, "active"));
    let page = AuditPage {
        before: None,
        limit: 9,
    };
    let entries = store
        .audit()
        .audit_page(&AuditFilter::default(), page)
        .await
        .unwrap();
    let actions: Vec<&str> = entries.iter().map(|entry| &*entry.action).collect();
    assert_eq!(actions, ["destination.resume", "destination.pause"]);
}

#[tokio::test]
async fn an_open_breaker_is_shown_and_a_pause_comes_first() {
    let (config, store, by) = (config(), testbed::store().await, testbed::requester());
    let broker = testbed::broker();
    broker.apply(&testbed::topology(&["crm"])).await.unwrap();
    let destinations = store.destinations();
    let open = Duration::from_secs(30);
    destinations
        .open_breaker("crm", "answered 503", open)
        .await
        .unwrap();
    let look = async || show(&config, &broker, &store, "crm").await.unwrap();
    let shown = look().await;
    let breaker = shown.listed.breaker.expect("an open breaker");
    assert_eq!(
        (shown.listed.state, &*breaker.why),
        ("broken", "answered 503")
    );
    let opens = "50 % of 10 or more attempts fail within 60s; for 30s";
    assert_eq!(shown.breaker_opens.as_deref(), Some(opens));
    pause(&config, &store, "crm", "their deploy".to_owned(), &by)
        .await
        .unwrap();
    let shown = look().await.listed;
    assert_eq!((shown.state, shown.breaker.is_some()), ("paused", true));
    // Resuming ends both.
    let before = resume(&config, &store, "crm", None, &by).await.unwrap();
    let before = before.expect("a pause and an open breaker");
    assert!(before.pause.is_some() && before.breaker.is_some());
    assert_eq!(look().await.listed.state, "active");
    // Without a breaker in the configuration, it holds nothing.
    destinations
        .open_breaker("crm", "answered 503", open)
        .await
        .unwrap();
    let mut without = config.clone();
    without.destinations[0].breaker = None;
    let listed = list(&without, &broker, &store).await.unwrap().items;
    assert_eq!(listed[0].breaker, None);
}

#[tokio::test]
async fn what_cannot_be_paused_is_said_with_what_can() {
    let (config, store, mut by) = (config(), testbed::store().await, testbed::requester());
    let why = || "their deploy".to_owned();
    let (code, told) = said(pause(&config, &store, "crn", why(), &by).await);
    assert!(
        code == 2 && told.contains("(crm)") && told.contains("crn"),
        "{told}"
    );
    let (code, _) = said(resume(&config, &store, "crn", None, &by).await);
    assert_eq!(code, 2);
    let (code, told) = said(pause(&config, &store, "crm", " ".to_owned(), &by).await);
    assert!(code == 2 && told.contains("--why"), "{told}");
    by.actor.role = Some(Role::Viewer);
    let (code, told) = said(pause(&config, &store, "crm", why(), &by).await);
    assert!(code == 1 && told.contains("operator"), "{told}");
    // A destination that was taken out of the configuration can be resumed.
    by.actor.role = Some(Role::Operator);
    pause(&config, &store, "crm", why(), &by).await.unwrap();
    let ended = resume(&Config::default(), &store, "crm", None, &by).await;
    assert!(ended.unwrap().is_some());
}

#[tokio::test]
async fn the_copies_with_work_are_shown() {
    let (config, store, broker) = (config(), testbed::store().await, testbed::broker());
    broker.apply(&testbed::topology(&["crm"])).await.unwrap();
    let look = async || show(&config, &broker, &store, "crm").await.unwrap();
    assert_eq!(look().await.copies, []);
    let card = |destination: &str, host: &str| WorkerCard {
        id: uuid::Uuid::now_v7(),
        program: "longshore-integrate".to_owned(),
        host: host.to_owned(),
        version: "0.1.0".to_owned(),
        destinations: vec![destination.to_owned()],
    };
    for card in [card("crm", "a-host"), card("mail", "another")] {
        store.workers().beat(&card).await.unwrap();
    }
    let shown = serde_json::to_value(look().await).unwrap();
    let since = shown["copies"][0]["since"].clone();
    assert!(since.is_string(), "{shown}");
    assert_eq!(
        shown["copies"],
        serde_json::json!([{
            "program": "longshore-integrate", "host": "a-host", "version": "0.1.0", "since": since
        }])
    );
}
