//! `/confirm/{token}`: the links that confirm signups.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use common::broker::PublishError;
use common::config::{Config, DoorMode, load_from};
use common::confirmation::ConfirmationLinks;
use common::event::{EventId, Publisher, SIGNUP_CONFIRMED, now};
use serde_json::json;

use crate::fakes::{Setup, Testbed, testbed};
use crate::request::{Answer, EVENT};

const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

fn config(more: &[(&str, &str)]) -> Config {
    let own = [
        ("LONGSHORE__CONFIRMATION__URL", "https://shop.example.com"),
        ("LONGSHORE__CONFIRMATION__SECRET", "0123456789abcdef"),
    ];
    let variables = own.iter().chain(more);
    load_from(variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).unwrap()
}

fn door(more: &[(&str, &str)]) -> Testbed {
    Setup {
        config: config(more),
        ..Setup::default()
    }
    .build()
}

/// The path of a link that was sent this long ago.
fn path(signup: EventId, ago: Duration) -> String {
    let links = ConfirmationLinks::of(&config(&[])).unwrap();
    let link = links.link(signup, "ada@example.com", now() - ago).unwrap();
    let path = link.strip_prefix("https://shop.example.com").unwrap();
    path.to_owned()
}

fn fresh(signup: EventId) -> String {
    path(signup, Duration::ZERO)
}

async fn send(bed: &Testbed, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    bed.send(request.body(Body::empty()).unwrap()).await
}

fn text(answer: &Answer) -> String {
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[tokio::test]
async fn opening_a_link_publishes_one_event_however_often_it_is_opened() {
    let bed = door(&[]);
    let signup = EventId::born();
    let first = bed.get(&fresh(signup)).await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    let (publication, decoded) = bed.broker.only();
    assert_eq!(decoded.event.kind, SIGNUP_CONFIRMED);
    assert_eq!(
        decoded.data,
        json!({"signup": signup, "email": "ada@example.com"})
    );
    let id = first.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(publication.message.message_id.as_deref(), Some(&*id));
    let publisher = publication.message.headers.text("longshore-publisher");
    assert_eq!(publisher, Some(Publisher::confirmation().as_str()));

    // Another link to the same signup, and the button, are the same event; another signup is another one.
    let again = bed.get(&path(signup, Duration::from_secs(60))).await;
    let pressed = bed.post(&fresh(signup), &[], Body::empty()).await;
    let other = bed.get(&fresh(EventId::born())).await;
    assert_eq!(
        (again.json()["id"].as_str(), pressed.json()["id"].as_str()),
        (Some(&*id), Some(&*id))
    );
    assert_ne!(other.json()["id"].as_str(), Some(&*id));
}

#[tokio::test]
async fn nobody_else_can_make_the_event_of_a_link() {
    let bed = door(&[]);
    let signup = EventId::born();
    let id = bed.get(&fresh(signup)).await.json()["id"].clone();
    let body = json!({
        "specversion": "1.0", "id": signup, "source": "/confirm", "type": SIGNUP_CONFIRMED,
        "data": {"signup": signup, "email": "ada@example.com"},
    });
    let forged = bed.post("/v1/events", &[EVENT], body.to_string()).await;
    assert_eq!(forged.status, StatusCode::ACCEPTED);
    assert_ne!(forged.json()["id"], id);
    let (publication, _) = bed.broker.last();
    let publisher = publication.message.headers.text("longshore-publisher");
    assert_ne!(publisher, Some(Publisher::confirmation().as_str()));
}

#[tokio::test]
async fn a_link_that_confirms_nothing_says_why() {
    let bed = door(&[]);
    let good = fresh(EventId::born());
    let cut = &good[..good.len() - 1];
    let old = path(EventId::born(), Duration::from_secs(4 * 24 * 3600));
    for (path, status, code, words) in [
        (cut, 404, "unknown_link", "not complete"),
        ("/confirm/a", 404, "unknown_link", "not complete"),
        ("/confirm/%ff", 404, "unknown_link", "not complete"),
        (&*old, 410, "link_expired", "has expired"),
    ] {
        for method in [Method::GET, Method::POST] {
            let answer = send(&bed, method.clone(), path, &[]).await;
            assert_eq!(
                (answer.status.as_u16(), &*answer.code()),
                (status, code),
                "{path}"
            );
            let page = send(&bed, method, path, &[BROWSER]).await;
            assert_eq!(page.status.as_u16(), status);
            assert!(text(&page).contains(words), "{path}");
        }
    }
    assert_eq!(bed.broker.begun(), 0);
    let without = testbed();
    let answer = without.get(&good).await;
    assert_eq!(
        (answer.status, &*answer.code()),
        (StatusCode::NOT_FOUND, "not_found")
    );
}

#[tokio::test]
async fn a_browser_gets_a_page_that_loads_nothing() {
    let bed = door(&[]);
    let answer = send(&bed, Method::GET, &fresh(EventId::born()), &[BROWSER]).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let page = text(&answer);
    assert!(
        page.contains("<h1>Your address is confirmed</h1>"),
        "{page}"
    );
    assert!(
        !page.contains("<form") && !page.contains("src=") && !page.contains("href="),
        "{page}"
    );
    let policy = answer.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    assert_eq!(answer.header("vary"), "Accept");
}

#[tokio::test]
async fn what_only_looks_at_a_link_confirms_nothing() {
    let bed = door(&[]);
    let path = fresh(EventId::born());
    let head = send(&bed, Method::HEAD, &path, &[]).await;
    assert_eq!(head.status, StatusCode::OK);
    for header in [
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "prefetch"),
    ] {
        let answer = send(&bed, Method::GET, &path, &[header]).await;
        assert!(text(&answer).contains("<form method=\"post\">"));
    }
    assert_eq!(bed.broker.begun(), 0);
}

#[tokio::test]
async fn a_door_that_asks_confirms_by_the_button_alone() {
    let bed = door(&[("LONGSHORE__CONFIRMATION__ASK", "true")]);
    let path = fresh(EventId::born());
    let asked = send(&bed, Method::GET, &path, &[BROWSER]).await;
    assert_eq!(asked.status, StatusCode::OK);
    assert!(text(&asked).contains("Confirm my address"));
    let policy = asked.header("content-security-policy");
    assert!(policy.contains("form-action 'self';"), "{policy}");
    assert_eq!(bed.broker.begun(), 0);
    let pressed = send(&bed, Method::POST, &path, &[BROWSER]).await;
    assert!(text(&pressed).contains("is confirmed"));
    assert_eq!(bed.broker.begun(), 1);
}

#[tokio::test]
async fn a_browser_is_sent_on_where_a_page_is_configured() {
    let page = "https://www.example.com/welcome?from=mail";
    let bed = door(&[
        ("LONGSHORE__CONFIRMATION__PAGE", page),
        ("LONGSHORE__CONFIRMATION__ASK", "true"),
    ]);
    let path = fresh(EventId::born());
    let asked = send(&bed, Method::GET, &path, &[BROWSER]).await;
    // Browsers hold the way on from a form to the policy, too.
    let policy = asked.header("content-security-policy");
    assert!(
        policy.contains("form-action 'self' https://www.example.com;"),
        "{policy}"
    );
    let answer = send(&bed, Method::POST, &path, &[BROWSER]).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (StatusCode::SEE_OTHER, page)
    );
    assert!(answer.body.is_empty());
    let program = send(&bed, Method::POST, &path, &[]).await;
    assert_eq!(program.status, StatusCode::ACCEPTED);
    let expired = self::path(EventId::born(), Duration::from_secs(4 * 24 * 3600));
    let expired = send(&bed, Method::POST, &expired, &[BROWSER]).await;
    assert_eq!(expired.status, StatusCode::GONE);
}

#[tokio::test]
async fn a_door_that_asks_for_keys_takes_links_without_one_and_not_too_many() {
    let bed = Setup {
        config: config(&[]),
        mode: DoorMode::Keys,
        ..Setup::default()
    }
    .build();
    let answer = bed.get(&fresh(EventId::born())).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let refused = until_too_many(&bed, &[]).await;
    assert_eq!(refused.code(), "rate_limited");
    assert!(!refused.header("retry-after").is_empty());
    let page = until_too_many(&bed, &[BROWSER]).await;
    assert!(text(&page).contains("Not yet"));
}

/// Guesses links until the door has enough of it.
async fn until_too_many(bed: &Testbed, headers: &[(&str, &str)]) -> Answer {
    for _ in 0..1000 {
        let answer = send(bed, Method::GET, "/confirm/guess", headers).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            return answer;
        }
    }
    panic!("expected a limit, found none");
}

#[tokio::test]
async fn a_confirmation_that_the_broker_does_not_take_is_told() {
    let bed = Setup {
        config: config(&[]),
        fails: Box::new(|_| Some(PublishError::Nacked)),
        ..Setup::default()
    }
    .build();
    let path = fresh(EventId::born());
    let answer = bed.get(&path).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (503, "not_confirmed")
    );
    let page = send(&bed, Method::GET, &path, &[BROWSER]).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text(&page).contains("once more in a minute"));
    assert!(!page.header("retry-after").is_empty());
}
