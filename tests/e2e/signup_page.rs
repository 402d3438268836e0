//! The signup page, in a real browser.
//!
//! `scripts/test` installs Chromium and chromedriver and runs these; where they cannot be had, it
//! says so and these are skipped. Each state's pictures are left in `target/tmp/signup_page/`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use testkit::{
    browser::{Browser, key},
    load::signup,
    process::Program,
    proxy::Proxy,
    receiver::{Receiver, answer::Answer},
    services::Services,
    system::{Destination, System},
};

use crate::{LATER, SOON, page};

/// A browser with the page of a system open.
async fn open(system: &System) -> Result<Browser> {
    let browser = Browser::start().await?;
    browser.resize(1280, 900).await?;
    browser.open(system.client().base()).await?;
    // The script is there.
    browser.until("!send.disabled", SOON).await?;
    Ok(browser)
}

/// Checks that the page fits a telephone and a wide window, and takes pictures of it.
async fn fits(browser: &Browser, state: &str) -> Result<()> {
    page::fits(browser, "signup_page", state).await
}

/// The id of the element with the focus.
async fn focus(browser: &Browser) -> Result<String> {
    browser.text("document.activeElement.id").await
}

/// The steps as they are shown: state and words of each.
async fn steps(browser: &Browser) -> Result<Vec<String>> {
    let shown = browser
        .run(
            "return [...document.querySelectorAll('#steps li')]\
             .map((step) => `${step.className}: ${step.querySelector('strong').lastChild.data}`)",
        )
        .await?;
    Ok(serde_json::from_value(shown)?)
}

/// Checks that these are the steps shown.
async fn shows(browser: &Browser, expected: &[&str]) -> Result<()> {
    let shown = steps(browser).await?;
    ensure!(shown == expected, "{shown:?}");
    Ok(())
}

/// Waits until the page says that the signup is through.
async fn all_done(browser: &Browser, within: Duration) -> Result<()> {
    let said = "verdict.textContent.startsWith('All done.')";
    browser.until(said, within).await
}

/// Ends a visit, in which nothing may have gone wrong unseen.
async fn leave(browser: Browser, system: System) -> Result<()> {
    page::behaved(&browser, &system).await?;
    browser.close().await?;
    system.finish().await
}

/// Fills the form in by keyboard and sends it: the focus is in the first field.
async fn sign_up(browser: &Browser, email: &str, name: &str) -> Result<()> {
    browser.run("email.focus()").await?;
    let keys = [email, key::TAB, name, key::ENTER].concat();
    browser.press(&keys).await
}

#[tokio::test]
#[ignore = "needs Chromium and chromedriver: scripts/test installs them and runs this"]
async fn a_signup_by_keyboard_alone_is_followed_until_it_is_completed() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.hold();
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let browser = open(&system).await?;
    fits(&browser, "form").await?;
    for (field, label) in [
        ("#email", "E-mail address"),
        ("#name", "Name"),
        ("#password", "Password (optional)"),
        ("#reveal", "Show password"),
        ("#plan", "Plan (optional)"),
        ("#locale", "Language (optional)"),
        ("#send", "Sign up"),
    ] {
        ensure!(browser.label(field).await? == label, "{field}");
    }

    for (field, typed) in [
        ("email", "ada@example.com"),
        ("name", "Ada Lovelace"),
        ("password", "correct horse"),
        ("reveal", ""),
        ("plan", "pro"),
        ("locale", ""),
    ] {
        browser.press(key::TAB).await?;
        ensure!(focus(&browser).await? == field, "expected {field}");
        browser.press(typed).await?;
    }
    browser.press(key::TAB).await?;
    ensure!(focus(&browser).await? == "send");
    browser.press(key::ENTER).await?;

    // The receiver takes its time: everything before it is done, and seen to be.
    receiver.await_count(1, SOON).await?;
    browser
        .until("steps.textContent.includes('The database has it.')", SOON)
        .await?;
    ensure!(focus(&browser).await? == "progress-title");
    let expected = [
        "done: We have it",
        "done: Checked",
        "done: Stored",
        "busy: Passing it on to crm",
    ];
    shows(&browser, &expected).await?;
    fits(&browser, "underway").await?;
    receiver.release();
    all_done(&browser, SOON).await?;
    ensure!(steps(&browser).await?[3] == "done: Passed on to crm");
    fits(&browser, "completed").await?;

    let times = "document.querySelectorAll('#steps time[datetime]').length";
    ensure!(browser.run(&format!("return {times}")).await? == 4);
    let said = browser.text("spoken.innerText").await?;
    let said: Vec<_> = said.lines().filter(|line| !line.is_empty()).collect();
    ensure!(
        said == [
            "We have it. From here on your signup cannot get lost.",
            "Checked. Everything in it is in order.",
            "Stored. The database has it.",
            "Passed on to crm.",
            "All done. Your signup is where it belongs.",
        ],
        "{said:?}"
    );
    let data = &receiver.requests()[0].json()?["data"];
    ensure!(
        data["email"] == "ada@example.com" && data["name"] == "Ada Lovelace",
        "{data}"
    );
    ensure!(data["plan"] == "pro" && data["locale"] == "en", "{data}");
    ensure!(data.get("password_hash").is_none(), "{data}");
    let hash: Option<String> = sqlx::query_scalar("SELECT password_hash FROM signups")
        .fetch_one(system.ledger().await?.pool())
        .await?;
    ensure!(hash.is_some_and(|hash| hash.starts_with("$argon2id$")));

    // A later visitor sees this page again.
    browser.run("location.reload()").await?;
    all_done(&browser, SOON).await?;
    leave(browser, system).await
}

#[tokio::test]
#[ignore = "needs Chromium and chromedriver: scripts/test installs them and runs this"]
async fn what_is_wrong_is_said_at_its_field_and_can_be_mended() -> Result<()> {
    let system = System::builder().start().await?;
    let browser = open(&system).await?;
    browser
        .press(&[key::TAB, "nobody", key::TAB, key::TAB, "short", key::ENTER].concat())
        .await?;
    browser.until("!summary.hidden", SOON).await?;
    ensure!(focus(&browser).await? == "summary");
    let invalid = browser
        .run("return [...document.querySelectorAll('[aria-invalid=true]')].map((one) => one.id)")
        .await?;
    ensure!(invalid == json!(["email", "name", "password"]), "{invalid}");
    for (field, words) in [
        ("email", "an e-mail address such as ada@example.com"),
        ("name", "a name"),
        ("password", "at least 8 characters"),
    ] {
        let error = format!("document.getElementById('{field}-error')");
        let shown = browser.text(&format!("{error}.innerText")).await?;
        ensure!(shown.contains(words), "{field}: {shown}");
        let described = format!(
            "document.getElementById('{field}').getAttribute('aria-describedby')\
             .split(' ').includes('{field}-error')"
        );
        browser.until(&described, SOON).await?;
    }
    fits(&browser, "errors").await?;

    // The first line of the summary leads to the first field.
    browser.press(&[key::TAB, key::ENTER].concat()).await?;
    ensure!(focus(&browser).await? == "email");
    browser.run("email.select()").await?;
    let mended = ["grace@example.com", key::TAB, "Grace Hopper", key::TAB];
    browser.press(&mended.concat()).await?;
    browser.run("password.select()").await?;
    browser.press(&[key::DELETE, key::ENTER].concat()).await?;
    all_done(&browser, SOON).await?;
    ensure!(system.ledger().await?.events().await? == 1);
    leave(browser, system).await
}

#[tokio::test]
#[ignore = "needs Chromium and chromedriver: scripts/test installs them and runs this"]
async fn an_address_that_is_taken_is_rejected_with_its_reason() -> Result<()> {
    let system = System::builder().start().await?;
    let first = signup("ada");
    let id = system.client().signup(&first).await?;
    system.client().await_rest(id, SOON).await?;
    // The same mailbox, written otherwise.
    let taken = first["email"].as_str().unwrap_or_default().to_uppercase();
    let browser = open(&system).await?;
    sign_up(&browser, &taken, "Ada").await?;
    browser
        .until("verdict.className.includes('bad')", SOON)
        .await?;
    let expected = ["done: We have it", "bad: Not accepted"];
    shows(&browser, &expected).await?;
    let reason = "Somebody has signed up with this e-mail address already.";
    for place in ["steps", "spoken"] {
        let shown = browser.text(&format!("{place}.innerText")).await?;
        ensure!(shown.contains(reason), "{place}: {shown}");
    }
    fits(&browser, "rejected").await?;

    browser.run("change.click()").await?;
    ensure!(browser.text("email.value").await? == taken);
    browser.run("email.select()").await?;
    browser
        .press(&["ada.two@example.com", key::ENTER].concat())
        .await?;
    all_done(&browser, SOON).await?;
    leave(browser, system).await
}

#[tokio::test]
#[ignore = "needs Chromium and chromedriver: scripts/test installs them and runs this"]
async fn what_no_receiver_takes_is_shown_as_kept_and_given_up() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.always(Answer::status(500));
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver).attempts(2, "250ms"))
        .start()
        .await?;
    let browser = open(&system).await?;
    sign_up(&browser, "ada@example.com", "Ada").await?;
    browser
        .until(
            "verdict.textContent.includes('not all of it worked out')",
            SOON,
        )
        .await?;
    ensure!(steps(&browser).await?[2..] == ["done: Stored", "bad: Not passed on to crm"]);
    let shown = browser.text("steps.innerText").await?;
    ensure!(shown.contains("Given up after 2 tries."), "{shown}");
    fits(&browser, "dead").await?;
    browser.close().await?;
    system.finish().await
}

#[tokio::test]
#[ignore = "needs Chromium and chromedriver: scripts/test installs them and runs this"]
async fn two_clicks_make_one_signup() -> Result<()> {
    let system = System::builder().start().await?;
    let browser = open(&system).await?;
    browser
        .run(
            "email.value = 'ada@example.com'; document.getElementById('name').value = 'Ada';\
             send.click(); send.click();",
        )
        .await?;
    all_done(&browser, SOON).await?;
    let requests = browser.requests().await?;
    let sent = requests
        .iter()
        .filter(|request| request.starts_with("POST "))
        .count();
    ensure!(sent == 1, "{requests:?}");
    ensure!(system.ledger().await?.events().await? == 1);
    browser.close().await?;
    system.finish().await
}

#[tokio::test]
#[ignore = "needs Chromium and chromedriver: scripts/test installs them and runs this"]
async fn a_signup_without_a_sure_answer_is_sent_again_and_counts_once() -> Result<()> {
    let shared = Services::shared();
    let link = Proxy::start(address(&shared.broker_url)?).await?;
    let told = Services {
        broker_url: link.before(&shared.broker_url)?,
        ..shared
    };
    let system = System::builder()
        .told(told)
        .config("[producer]\nrequest_timeout = \"2s\"")
        .start()
        .await?;
    let browser = open(&system).await?;
    link.stall();
    sign_up(&browser, "ada@example.com", "Ada").await?;
    browser.until("!later.hidden", SOON).await?;
    let words = browser.text("later.innerText").await?;
    ensure!(
        words.contains("wait about 2 seconds and try again") && words.contains("counts once"),
        "{words}"
    );
    ensure!(browser.text("send.textContent").await? == "Try again");
    ensure!(
        focus(&browser).await? == "name",
        "the focus stays where it was"
    );
    fits(&browser, "later").await?;

    link.heal();
    // It may take another try or two until the link is up again.
    let deadline = tokio::time::Instant::now() + LATER;
    loop {
        browser.run("send.click()").await?;
        browser
            .until("!progress.hidden || !later.hidden", SOON)
            .await?;
        if browser.run("return !progress.hidden").await? == true {
            break;
        }
        ensure!(
            tokio::time::Instant::now() < deadline,
            "it never got through"
        );
    }
    all_done(&browser, LATER).await?;
    ensure!(system.ledger().await?.events().await? == 1);
    leave(browser, system).await
}

#[tokio::test]
#[ignore = "needs Chromium and chromedriver: scripts/test installs them and runs this"]
async fn a_page_that_watches_holds_no_producer_back_and_finds_the_next_one() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.hold();
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &receiver).timeout("60s"))
        .start()
        .await?;
    let browser = open(&system).await?;
    sign_up(&browser, "ada@example.com", "Ada").await?;
    browser
        .until("steps.textContent.includes('The database has it.')", SOON)
        .await?;
    let begun = Instant::now();
    let status = system.terminate(Program::Producer, 0, SOON).await?;
    ensure!(status.code() == Some(0), "{status}");
    // The drain deadline is 25 s: nobody waited for it.
    ensure!(
        begun.elapsed() < Duration::from_secs(10),
        "it took {:?}",
        begun.elapsed()
    );
    browser
        .until("note.textContent.startsWith('The connection broke.')", SOON)
        .await?;
    fits(&browser, "broken").await?;
    system.start_again(Program::Producer, 0).await?;
    receiver.release();
    all_done(&browser, LATER).await?;
    ensure!(browser.run("return note.hidden").await? == true);
    browser.close().await?;
    system.finish().await
}

/// `host:port` of a URL.
fn address(url: &str) -> Result<String> {
    let url = url::Url::parse(url)?;
    let host = url.host_str().context("a URL without a host")?;
    Ok(format!("{host}:{}", url.port().unwrap_or(5672)))
}
