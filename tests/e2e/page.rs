//! The checks of every page of the door.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use testkit::{browser::Browser, system::System};

use crate::SOON;

/// Checks that a page fits a telephone and a wide window, and leaves pictures of it in `target/tmp/FOLDER/`.
pub async fn fits(browser: &Browser, folder: &str, state: &str) -> Result<()> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    fs::create_dir_all(&folder)?;
    for (width, height) in [(320, 640), (360, 740), (1280, 900)] {
        browser.resize(width, height).await?;
        let fits = "document.documentElement.scrollWidth <= innerWidth";
        browser
            .until(fits, SOON)
            .await
            .with_context(|| format!("{state} at a width of {width}"))?;
        for dark in [true, false] {
            browser.darken(dark).await?;
            let shade = if dark { "dark" } else { "light" };
            let file = format!("{state}-{width}-{shade}.png");
            browser.picture(&folder.join(file)).await?;
        }
    }
    Ok(())
}

/// Checks that a page did nothing that its content security policy forbids, that no script
/// failed, and that it asked nobody but its own door.
pub async fn behaved(browser: &Browser, system: &System) -> Result<()> {
    // Answers with an error are the door's, and shown to the person.
    let console: Vec<_> = browser.console().await?;
    let other: Vec<_> = console
        .iter()
        .filter(|line| !line.contains("/v1/signups - Failed to load resource"))
        .collect();
    ensure!(other.is_empty(), "the console shows {other:?}");
    let requests = browser.requests().await?;
    let base = system.client().base();
    let foreign: Vec<_> = requests
        .iter()
        .filter(|request| !request.contains(&format!(" {base}/")))
        .collect();
    ensure!(!requests.is_empty() && foreign.is_empty(), "{foreign:?}");
    Ok(())
}
