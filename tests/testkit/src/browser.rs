//! A real browser: headless Chromium, driven over the WebDriver protocol by chromedriver.
//!
//! The protocol is JSON over HTTP, and the tests need a dozen of its calls, so they are made here without a client
//! library.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{client::Client, port, scratch::Scratch, wait::eventually};

/// How long the browser may take to be there. Generous, as parallel tests share two cores.
const UP: Duration = Duration::from_secs(60);

/// Keys that are not characters, in WebDriver's spelling.
pub mod key {
    /// Goes to the next field.
    pub const TAB: &str = "\u{E004}";
    /// Sends a form, presses a button.
    pub const ENTER: &str = "\u{E007}";
    /// Removes the selection.
    pub const DELETE: &str = "\u{E017}";
}

/// A browser with one empty window. It is closed by [`close`](Self::close), or killed when dropped.
pub struct Browser {
    driver: Child,
    client: Client,
    session: String,
    // Its profile: gone with it.
    _scratch: Scratch,
}

impl Browser {
    /// Starts a browser that finds nothing but 127.0.0.1.
    ///
    /// # Errors
    /// If Chromium or chromedriver is missing, or they do not start.
    pub async fn start() -> Result<Self> {
        let (scratch, port) = (Scratch::new()?, port::free()?);
        let log = fs::File::create(scratch.path().join("chromedriver.log"))?;
        let driver = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "chromedriver"])
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting chromedriver through setpriv")?;
        let mut browser = Self {
            driver,
            client: Client::new(format!("http://127.0.0.1:{port}"))?,
            session: String::new(),
            _scratch: scratch,
        };
        eventually(UP, "chromedriver to be ready", || async {
            let status = browser.call(Method::GET, "/status", Value::Null).await?;
            ensure!(status["ready"] == true, "{status}");
            Ok(())
        })
        .await
        .context("is chromedriver installed? scripts/browser installs it with Chromium")?;
        browser.session = browser.begin().await?;
        Ok(browser)
    }

    async fn begin(&self) -> Result<String> {
        let profile = self._scratch.path().join("profile");
        let options = json!({"args": [
            "--headless=new",
            // It ends when the pipe does: with its driver, however that ends.
            "--remote-debugging-pipe",
            // As root, which a bare machine's CI is, Chromium has no sandbox; it only sees our page.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--disable-background-networking",
            "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--force-prefers-reduced-motion",
            "--hide-scrollbars",
            "--lang=en-GB",
            format!("--user-data-dir={}", profile.display()),
        ]});
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let session = self.call(Method::POST, "/session", wanted).await?;
        let id = session["sessionId"].as_str();
        Ok(format!("/session/{}", id.context("a session has no id")?))
    }

    /// Closes the browser and its driver.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn close(self) -> Result<()> {
        self.call(Method::DELETE, &self.session, Value::Null)
            .await
            .map(|_| ())
    }

    /// Goes to an address and waits until it is loaded.
    ///
    /// # Errors
    /// If it cannot be.
    pub async fn open(&self, url: &str) -> Result<()> {
        self.ask("/url", json!({ "url": url })).await.map(|_| ())
    }

    /// The return value of a piece of JavaScript in the page.
    ///
    /// # Errors
    /// If it throws.
    pub async fn run(&self, script: &str) -> Result<Value> {
        let asked = json!({"script": script, "args": []});
        self.ask("/execute/sync", asked).await
    }

    /// The value of a JavaScript expression in the page, as text.
    ///
    /// # Errors
    /// If it throws or is not a text.
    pub async fn text(&self, expression: &str) -> Result<String> {
        let value = self.run(&format!("return {expression}")).await?;
        let text = value.as_str();
        Ok(text
            .with_context(|| format!("{expression} is {value}"))?
            .to_owned())
    }

    /// Waits until a JavaScript expression is true in the page.
    ///
    /// # Errors
    /// If it is not within the time; with the page's content then.
    pub async fn until(&self, expression: &str, within: Duration) -> Result<()> {
        eventually(within, format!("the page: {expression}"), || async {
            let holds = self.run(&format!("return Boolean({expression})")).await?;
            if holds == true {
                return Ok(());
            }
            bail!("{}", self.text("document.body.innerText").await?)
        })
        .await
    }

    /// Presses keys, one after another, wherever the focus is.
    ///
    /// # Errors
    /// If the browser does not take them.
    pub async fn press(&self, keys: &str) -> Result<()> {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key})))
            .collect();
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": strokes});
        self.ask("/actions", json!({"actions": [keyboard]}))
            .await
            .map(|_| ())
    }

    /// The name of a selected element for assistive technology.
    ///
    /// # Errors
    /// If there is no such element.
    pub async fn label(&self, selector: &str) -> Result<String> {
        let query = json!({"using": "css selector", "value": selector});
        let element = self.ask("/element", query).await?;
        let id = element
            .as_object()
            .and_then(|element| element.values().next()?.as_str())
            .context("an element has no id")?;
        let path = format!("{}/element/{id}/computedlabel", self.session);
        let label = self.call(Method::GET, &path, Value::Null).await?;
        Ok(label.as_str().unwrap_or_default().to_owned())
    }

    /// Gives the page a window of this size.
    ///
    /// # Errors
    /// If the browser refuses.
    pub async fn resize(&self, width: u32, height: u32) -> Result<()> {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.chrome("Emulation.setDeviceMetricsOverride", size)
            .await
            .map(|_| ())
    }

    /// Lets the page believe that a person likes it dark.
    ///
    /// # Errors
    /// If the browser refuses.
    pub async fn darken(&self, dark: bool) -> Result<()> {
        let value = if dark { "dark" } else { "light" };
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.chrome("Emulation.setEmulatedMedia", scheme)
            .await
            .map(|_| ())
    }

    /// Writes a picture of the whole page to a file.
    ///
    /// # Errors
    /// If it cannot be taken or written.
    pub async fn picture(&self, file: &Path) -> Result<()> {
        let taken = json!({"captureBeyondViewport": true});
        let picture = self.chrome("Page.captureScreenshot", taken).await?;
        let data = picture["data"].as_str().context("a picture has no data")?;
        fs::write(file, BASE64_STANDARD.decode(data)?)
            .with_context(|| format!("writing {}", file.display()))
    }

    /// New messages on the console: violations of the content security policy, faults of scripts,
    /// answers with an error.
    ///
    /// # Errors
    /// If the browser does not say.
    pub async fn console(&self) -> Result<Vec<String>> {
        let entries = self.log("browser").await?;
        let message = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        Ok(entries.iter().map(message).collect())
    }

    /// The requests that the page has made since they were last asked for, as `METHOD URL`.
    ///
    /// # Errors
    /// If the browser does not say.
    pub async fn requests(&self) -> Result<Vec<String>> {
        let mut requests = Vec::new();
        for entry in self.log("performance").await? {
            let text = entry["message"].as_str().unwrap_or_default();
            let event: Value = serde_json::from_str(text).context("reading an event")?;
            let (kind, details) = (&event["message"]["method"], &event["message"]["params"]);
            let page = details["documentURL"].as_str().unwrap_or_default();
            // The empty window that Chromium shows first is a page too, of its own.
            if kind == "Network.requestWillBeSent" && !page.starts_with("chrome:") {
                let part = |name: &str| details["request"][name].as_str().unwrap_or_default();
                requests.push(format!("{} {}", part("method"), part("url")));
            }
        }
        Ok(requests)
    }

    async fn log(&self, kind: &str) -> Result<Vec<Value>> {
        let entries = self.ask("/se/log", json!({ "type": kind })).await?;
        Ok(entries.as_array().cloned().unwrap_or_default())
    }

    /// A command of Chromium's own.
    async fn chrome(&self, command: &str, parameters: Value) -> Result<Value> {
        let asked = json!({"cmd": command, "params": parameters});
        self.ask("/goog/cdp/execute", asked).await
    }

    async fn ask(&self, path: &str, body: Value) -> Result<Value> {
        let path = format!("{}{path}", self.session);
        self.call(Method::POST, &path, body).await
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Result<Value> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let media = [("content-type", "application/json")];
        let answer = self.client.send(method, path, &media, body).await?;
        let mut answered = answer.json()?;
        ensure!(answer.status == 200, "{path}: {}", answered["value"]);
        Ok(answered["value"].take())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
