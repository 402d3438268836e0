//! `/docs`, in a real browser. The pictures are left in `target/tmp/docs_page/`.

use anyhow::{Result, ensure};
use serde_json::Value;
use testkit::{browser::Browser, process::Program, system::System};

use crate::{SOON, page};

/// The texts of all elements that a selector finds.
async fn texts(browser: &Browser, selector: &str) -> Result<Vec<String>> {
    let script =
        format!("return [...document.querySelectorAll('{selector}')].map((it) => it.textContent)");
    Ok(serde_json::from_value(browser.run(&script).await?)?)
}

#[tokio::test]
#[ignore = "needs Chromium and chromedriver: scripts/test installs them and runs this"]
async fn the_page_of_the_documents_shows_every_call_and_asks_nobody_but_the_door() -> Result<()> {
    let builder = Program::WORKERS
        .into_iter()
        .fold(System::builder(), |some, worker| some.copies(worker, 0));
    let system = builder.start().await?;
    let api = system.client().get("/openapi.json").await?.json()?;
    let browser = Browser::start().await?;
    browser.resize(1280, 900).await?;
    let address = format!("{}/docs", system.client().base());
    browser.open(&address).await?;
    browser.until("!columns.hidden", SOON).await?;

    let mut calls: Vec<String> = Vec::new();
    for (path, item) in api["paths"].as_object().into_iter().flatten() {
        for method in item
            .as_object()
            .into_iter()
            .flatten()
            .map(|(method, _)| method)
        {
            calls.push(format!("{} {path}", method.to_uppercase()));
        }
    }
    let mut shown = texts(&browser, "article > h3").await?;
    shown.retain(|head| head.contains(' '));
    calls.sort();
    shown.sort();
    ensure!(shown == calls && calls.len() > 12, "{shown:?}");
    let schemas = api["components"]["schemas"]
        .as_object()
        .map_or(0, serde_json::Map::len);
    let articles = texts(&browser, "article[id^=schema-]").await?;
    ensure!(
        articles.len() == schemas,
        "{} of {schemas} schemas",
        articles.len()
    );

    // Every link within the page leads somewhere, and the page says nothing that it does not know.
    let dead = "return [...document.querySelectorAll('a[href^=\"#\"]')].map((it) => it.hash.slice(1))\
                .filter((id) => !document.getElementById(decodeURIComponent(id)))";
    ensure!(
        browser.run(dead).await? == Value::Array(Vec::new()),
        "{:?}",
        browser.run(dead).await?
    );
    let whole = browser.text("document.body.textContent").await?;
    for word in ["undefined", "[object", "NaN"] {
        ensure!(!whole.contains(word), "the page says {word}");
    }
    page::fits(&browser, "docs_page", "docs").await?;
    browser
        .run("document.getElementById('publishEvents').scrollIntoView()")
        .await?;
    page::fits(&browser, "docs_page", "call").await?;
    page::behaved(&browser, &system).await?;
    browser.close().await?;
    system.finish().await
}
