//! The clients of `examples/publish` at a door that answers by a plan.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::receiver::{Answer, Receiver, Request};
use uuid::Uuid;

use super::examples::{Language, accepted, plan};

/// The second that a door asks to wait, and a clock of another program may round.
const SECOND: Duration = Duration::from_millis(990);

fn taken() -> Answer {
    let id = Uuid::nil();
    let document = json!({
        "id": id, "type": "signup.requested", "status_url": format!("/v1/events/{id}"),
    });
    Answer::status(202).body(document.to_string())
}

/// A door that gives these answers, one after the other, and takes all further requests. Its path is that of a proxy.
async fn door(answers: Vec<Answer>) -> Result<Receiver> {
    let receiver = Receiver::start().await?;
    receiver.plan(move |call| answers.get(call.total).cloned().unwrap_or_else(taken));
    Ok(receiver)
}

fn signup() -> Value {
    json!(["signup", {"email": "ada@example.com", "name": "Ada"}, null])
}

/// All these are one request, sent again.
fn is_repeated(requests: &[Request]) -> bool {
    requests.windows(2).all(|two| {
        let keys = [0, 1].map(|at| two[at].header("idempotency-key"));
        keys[0] == keys[1] && two[0].body == two[1].body && two[0].path == two[1].path
    })
}

/// Twice a door that is busy, in both forms of `Retry-After`, and once a connection that breaks off.
async fn repeats_with_the_same_key(language: Language) -> Result<()> {
    let date = Answer::status(503)
        .header("date", "Sun, 06 Nov 1994 08:49:37 GMT")
        .header("retry-after", "Sun, 06 Nov 1994 08:49:38 GMT");
    let answers = [Answer::status(503).retry_after(1), date, Answer::reset()];
    let event = json!({"source": "/try", "type": "processing.requested"});
    for call in [signup(), json!(["event", event])] {
        let door = door(answers.to_vec()).await?;
        let Some(said) = language.call(&plan(&door.url(), &json!([call]))).await? else {
            return Ok(());
        };
        ensure!(accepted(&said[0])? == [Uuid::nil()], "{said:?}");
        let status_url = format!("{}/v1/events/{}", door.url(), Uuid::nil());
        ensure!(
            said[0]["accepted"][0]["status_url"] == status_url,
            "{said:?}"
        );
        let requests = door.requests();
        ensure!(
            requests.len() == 4 && is_repeated(&requests),
            "{requests:?}"
        );
        for two in requests[..3].windows(2) {
            let waited = two[1].at - two[0].at;
            ensure!(waited >= SECOND, "asked for a second, waited {waited:?}");
        }
        let first = &requests[0];
        let names_it = if call[0] == "signup" {
            first.header("idempotency-key").len() == 36
        } else {
            first.json()?["id"]
                .as_str()
                .is_some_and(|id| id.len() == 36)
        };
        ensure!(names_it, "{first:?}");
    }
    Ok(())
}

/// Which answers are tried again, and which are errors at once.
async fn tells_answers_apart(language: Language) -> Result<()> {
    let again = [408, 429, 500, 502, 503, 504];
    let refused = [400, 401, 403, 404, 413, 415, 422, 431];
    let mut answers = Vec::new();
    answers.extend(
        again
            .map(Answer::status)
            .into_iter()
            .flat_map(|answer| [answer, taken()]),
    );
    answers.extend(refused.map(Answer::status));
    let elsewhere = Receiver::start().await?;
    for status in [302, 307] {
        answers.push(Answer::status(status).header("location", elsewhere.url()));
    }
    answers.push(Answer::status(200));
    answers.push(Answer::status(202).body("<html>"));
    answers.push(Answer::status(202).body("{}"));
    let total = answers.len();
    let door = door(answers).await?;
    let calls = vec![signup(); again.len() + refused.len() + 5];
    let Some(said) = language.call(&plan(&door.url(), &calls.into())).await? else {
        return Ok(());
    };
    let (first, rest) = said.split_at(again.len());
    for said in first {
        accepted(said)?;
    }
    let (middle, unexpected) = rest.split_at(refused.len());
    for (said, status) in middle.iter().zip(refused) {
        ensure!(
            said["error"] == "Refused" && said["status"] == status,
            "{said}"
        );
    }
    ensure!(unexpected.len() == 5);
    for said in unexpected {
        ensure!(said["error"] == "UnexpectedAnswer", "{said}");
    }
    ensure!(
        door.count() == total,
        "{} of {total} requests",
        door.count()
    );
    ensure!(elsewhere.count() == 0, "a redirect was followed");
    Ok(())
}

/// A door that does not take the event in time.
async fn ends_by_its_deadline(language: Language) -> Result<()> {
    let undecided = |said: &Value, door: &Receiver| {
        let requests = door.requests();
        let key = requests[0].header("idempotency-key");
        ensure!(
            said["error"] == "Undecided" && said["idempotency_key"] == key,
            "{said}"
        );
        // The last attempt may end before it is at the door.
        let attempts = said["attempts"].as_u64().context("a number")?;
        ensure!(
            attempts >= requests.len() as u64 && is_repeated(&requests),
            "{said}"
        );
        Ok(requests.len())
    };
    let busy = Receiver::start().await?;
    busy.always(Answer::status(503).retry_after(3600));
    let Some(said) = language
        .call(&plan(&busy.url(), &json!([signup()])))
        .await?
    else {
        return Ok(());
    };
    ensure!(undecided(&said[0], &busy)? == 1, "{said:?}");

    let broken = Receiver::start().await?;
    broken.always(Answer::status(500));
    let mut calls = plan(&broken.url(), &json!([signup()]));
    calls["deadline"] = 1000.into();
    let said = language.call(&calls).await?.context("it is here")?;
    ensure!(undecided(&said[0], &broken)? > 1, "{said:?}");

    // An attempt has a timeout of its own.
    let silent = door(vec![taken().after(Duration::from_secs(100))]).await?;
    let mut calls = plan(&silent.url(), &json!([signup()]));
    calls["timeout"] = 300.into();
    let said = language.call(&calls).await?.context("it is here")?;
    accepted(&said[0])?;
    let requests = silent.requests();
    ensure!(
        requests.len() >= 2 && is_repeated(&requests),
        "{requests:?}"
    );
    Ok(())
}

async fn try_all(language: Language) -> Result<()> {
    repeats_with_the_same_key(language).await?;
    tells_answers_apart(language).await?;
    ends_by_its_deadline(language).await
}

#[tokio::test]
async fn the_python_example_does_what_each_answer_asks_for() -> Result<()> {
    try_all(Language::Python).await
}

#[tokio::test]
async fn the_node_example_does_what_each_answer_asks_for() -> Result<()> {
    try_all(Language::Node).await
}
