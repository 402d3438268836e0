//! Sends requests to the producer.

use anyhow::Context as _;
use common::event::EventId;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;

use super::input::Line;

/// Maximum of requests under way at once.
const CONCURRENCY: usize = 16;

/// The answer of the door to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Door {
    /// 202: the event has this id.
    Accepted(EventId),
    /// 4xx with this code.
    Refused(String),
    /// Anything else: nothing is known to be kept.
    Failed(String),
}

/// Sends every line, several at once. Returns the answers in the order of the lines.
///
/// # Errors
/// The producer cannot be reached.
pub(super) async fn all(
    http: &reqwest::Client,
    base_url: &str,
    lines: &[&Line],
    each: impl Fn(&Door),
) -> anyhow::Result<Vec<Door>> {
    let requests = lines.iter().map(|line| async {
        let door = one(http, base_url, line).await?;
        each(&door);
        anyhow::Ok(door)
    });
    futures_util::stream::iter(requests)
        .buffered(CONCURRENCY)
        .try_collect()
        .await
}

async fn one(http: &reqwest::Client, base_url: &str, line: &Line) -> anyhow::Result<Door> {
    let media = match line.post.as_str() {
        "/v1/events" => "application/cloudevents+json",
        _ => "application/json",
    };
    let mut request = http
        .post(format!("{base_url}{}", line.post))
        .header("content-type", media)
        .body(line.body.to_string());
    if let Some(key) = &line.key {
        request = request.header("idempotency-key", key);
    }
    let answer = request
        .send()
        .await
        .context("the producer cannot be reached")?;
    let status = answer.status();
    let body = answer
        .bytes()
        .await
        .context("the producer's answer broke off")?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    Ok(read(status.as_u16(), &body))
}

fn read(status: u16, body: &Value) -> Door {
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    match status {
        202 => match text("id").and_then(|id| id.parse().ok()) {
            Some(id) => Door::Accepted(id),
            None => Door::Failed("expected an id in the answer, found none".to_owned()),
        },
        400..=499 => Door::Refused(text("code").unwrap_or_else(|| status.to_string())),
        _ => Door::Failed(format!("{status} {}", text("code").unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_202_with_an_id_is_accepted() {
        let id = EventId::born();
        assert_eq!(
            read(202, &json!({"id": id.to_string()})),
            Door::Accepted(id)
        );
        assert!(matches!(read(202, &json!({})), Door::Failed(_)));
        assert!(matches!(
            read(200, &json!({"id": id.to_string()})),
            Door::Failed(_)
        ));
        assert_eq!(
            read(422, &json!({"code": "invalid"})),
            Door::Refused("invalid".to_owned())
        );
        assert!(matches!(read(503, &Value::Null), Door::Failed(_)));
    }
}
