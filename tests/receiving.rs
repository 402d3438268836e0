//! The code of docs/receiving.md, and the public verifiers of Standard Webhooks, against signatures of ours. Where a
//! language or a verifier cannot be had, the test says that it is skipped.

mod repository;
#[path = "receiving/verify.rs"]
mod verify;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use common::signature::SigningKeys;
use repository::{read, root};
use testkit::{foreign, scratch::Scratch};

const PAGE: &str = "docs/receiving.md";

const NEW: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGA==";
const OTHER: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk=";
/// The key pair of the public libraries' own tests.
const PRIVATE: &str =
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
const STRANGE: &str = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

/// What a receiver has, the request that it got, and whether that is genuine.
struct Case {
    what: &'static str,
    secret: &'static str,
    headers: BTreeMap<&'static str, String>,
    body: &'static str,
    is_genuine: bool,
}

/// A request that was signed so many seconds ago.
fn request(secrets: &[&str], ago: u64, body: &str) -> Result<BTreeMap<&'static str, String>> {
    let keys = SigningKeys::parse(secrets.iter().copied())?.context("no secret")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let timestamp = now.saturating_sub(ago);
    let signature = keys.sign("msg_1", i64::try_from(timestamp)?, body.as_bytes());
    Ok(BTreeMap::from([
        ("webhook-id", "msg_1".to_owned()),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", signature),
    ]))
}

/// Requests of all kinds, genuine and not.
fn cases() -> Result<Vec<Case>> {
    const BODY: &str = "{\"name\": \"Zoë 東京\", \"total\": 1234567890123456.78}";
    let sign = |secrets: &[&str]| request(secrets, 0, BODY);
    let changed = |name: &'static str, value: &str| {
        let mut headers = sign(&[NEW])?;
        headers.insert(name, value.to_owned());
        anyhow::Ok(headers)
    };
    let case = |what, secret, headers, body, is_genuine| Case {
        what,
        secret,
        headers,
        body,
        is_genuine,
    };
    let mut without = sign(&[NEW])?;
    without.remove("webhook-signature");
    Ok(vec![
        case("signed", NEW, sign(&[NEW])?, BODY, true),
        case(
            "signed without padding",
            OLD,
            sign(&[OLD.trim_end_matches('=')])?,
            BODY,
            true,
        ),
        case(
            "signed by both, the new one known",
            NEW,
            sign(&[NEW, OLD])?,
            BODY,
            true,
        ),
        case(
            "signed by both, the old one known",
            OLD,
            sign(&[NEW, OLD])?,
            BODY,
            true,
        ),
        case(
            "signed in three ways",
            OLD,
            sign(&[PRIVATE, NEW, OLD])?,
            BODY,
            true,
        ),
        case("an empty body", NEW, request(&[NEW], 0, "")?, "", true),
        case("a minute ago", NEW, request(&[NEW], 60, BODY)?, BODY, true),
        case(
            "signed by another secret",
            OTHER,
            sign(&[NEW, OLD])?,
            BODY,
            false,
        ),
        case(
            "signed by a private key alone",
            NEW,
            sign(&[PRIVATE])?,
            BODY,
            false,
        ),
        case("another body", NEW, sign(&[NEW])?, "{}", false),
        case(
            "an hour ago",
            NEW,
            request(&[NEW], 3600, BODY)?,
            BODY,
            false,
        ),
        case(
            "another id",
            NEW,
            changed("webhook-id", "msg_2")?,
            BODY,
            false,
        ),
        case(
            "another time",
            NEW,
            changed("webhook-timestamp", "1614265330")?,
            BODY,
            false,
        ),
        case(
            "no time",
            NEW,
            changed("webhook-timestamp", "now")?,
            BODY,
            false,
        ),
        case("without a signature", NEW, without, BODY, false),
    ])
}

/// Requests that are signed by a private key.
fn cases_of_a_private_key() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (what, secret, body, is_genuine) in [
        ("signed", PUBLIC, "{}", true),
        ("another body", PUBLIC, "{ }", false),
        ("another key", STRANGE, "{}", false),
        ("a shared secret", OTHER, "{}", false),
    ] {
        cases.push(Case {
            what,
            secret,
            headers: request(&[NEW, PRIVATE], 0, "{}")?,
            body,
            is_genuine,
        });
    }
    Ok(cases)
}

/// The cases as the drivers read them.
fn json(cases: &[Case]) -> Result<String> {
    let requests: Vec<_> = cases
        .iter()
        .map(|case| (case.secret, &case.headers, case.body))
        .collect();
    Ok(serde_json::to_string(&requests)?)
}

/// Expects a line for each case that says whether it was taken.
fn expect(cases: &[Case], printed: &str) -> Result<()> {
    let said: Vec<&str> = printed
        .lines()
        .filter(|line| ["true", "false"].contains(line))
        .collect();
    ensure!(
        said.len() == cases.len(),
        "expected {} lines: {printed}",
        cases.len()
    );
    for (case, said) in cases.iter().zip(said) {
        ensure!(said == case.is_genuine.to_string(), "{}: {said}", case.what);
    }
    Ok(())
}

/// The code of the page in a language.
fn code(language: &str) -> Result<String> {
    foreign::code(&read(PAGE)?, language).context(PAGE)
}

fn driver(name: &str) -> PathBuf {
    root().join("tests/receiving").join(name)
}

/// Runs a program in a folder and gives it `input`; `None` where it cannot be had.
async fn run(
    folder: &Path,
    program: &Path,
    arguments: &[&str],
    input: &str,
) -> Result<Option<String>> {
    let command = foreign::command(folder, program, arguments);
    let output = foreign::run(command, input).await?;
    output
        .map(|output| output.success().map(str::to_owned))
        .transpose()
}

#[tokio::test]
async fn the_python_of_the_page_takes_what_is_genuine() -> Result<()> {
    let (folder, cases) = (Scratch::new()?, cases()?);
    let program = code("python")? + &fs::read_to_string(driver("driver.py"))?;
    fs::write(folder.path().join("verify.py"), program)?;
    if let Some(printed) = run(
        folder.path(),
        Path::new("python3"),
        &["verify.py"],
        &json(&cases)?,
    )
    .await?
    {
        expect(&cases, &printed)?;
    }
    Ok(())
}

#[tokio::test]
async fn the_javascript_of_the_page_takes_what_is_genuine() -> Result<()> {
    let folder = Scratch::new()?;
    fs::write(folder.path().join("verify.mjs"), code("js")?)?;
    fs::copy(driver("driver.mjs"), folder.path().join("driver.mjs"))?;
    let cases: Vec<Case> = cases()?
        .into_iter()
        .chain(cases_of_a_private_key()?)
        .collect();
    if let Some(printed) = run(
        folder.path(),
        Path::new("node"),
        &["driver.mjs"],
        &json(&cases)?,
    )
    .await?
    {
        expect(&cases, &printed)?;
    }
    Ok(())
}

#[tokio::test]
async fn the_go_of_the_page_takes_what_is_genuine() -> Result<()> {
    let folder = Scratch::new()?;
    fs::write(folder.path().join("verify.go"), code("go")?)?;
    fs::write(folder.path().join("go.mod"), "module webhook\n\ngo 1.19\n")?;
    fs::copy(
        driver("driver_test.go"),
        folder.path().join("driver_test.go"),
    )?;
    let cases: Vec<Case> = cases()?
        .into_iter()
        .chain(cases_of_a_private_key()?)
        .collect();
    fs::write(folder.path().join("requests.json"), json(&cases)?)?;
    if let Some(printed) = run(folder.path(), Path::new("go"), &["test", "-v", "."], "").await? {
        expect(&cases, &printed)?;
    }
    Ok(())
}

#[test]
fn the_rust_of_the_page_takes_what_is_genuine() -> Result<()> {
    let compiled = fs::read_to_string(driver("verify.rs"))?;
    let (_, compiled) = compiled.split_once("\n\n").context("a head")?;
    ensure!(
        compiled == code("rust")?,
        "{PAGE} has other Rust than tests/receiving/verify.rs"
    );
    for case in cases()? {
        let header = |name: &str| case.headers.get(name).map(String::as_str);
        let is_taken = verify::verify(case.secret, header, case.body.as_bytes());
        ensure!(is_taken == case.is_genuine, "{}: {is_taken}", case.what);
    }
    Ok(())
}

#[tokio::test]
async fn the_public_verifiers_take_our_signatures_and_no_others() -> Result<()> {
    let Some(folder) = foreign::installed("verifiers")? else {
        return Ok(());
    };
    let cases = cases()?;
    let requests = json(&cases)?;
    let python = folder.join("python/bin/python");
    let script = driver("public.py").display().to_string();
    let printed = run(&folder, &python, &[&script], &requests).await?;
    expect(&cases, &printed.context("Python was there")?)?;
    fs::copy(driver("public.mjs"), folder.join("public.mjs"))?;
    let printed = run(&folder, Path::new("node"), &["public.mjs"], &requests).await?;
    expect(&cases, &printed.context("Node was there")?)
}
