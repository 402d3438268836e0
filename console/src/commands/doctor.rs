//! `longshore doctor`: looks at everything once and says what is wrong and what to do about it.

use std::time::Duration;

use clap::Args;
use common::bootstrap::Failure;
use operate::doctor::settings::Setting;
use operate::doctor::{Finding, Verdict, checks, clock, files};
use operate::words::count;
use serde::Serialize;

use crate::app::App;
use crate::output::clean;

/// How to look.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 1 where something is wrong, 3 where broker or database cannot be reached; what is only
worth knowing changes no exit code.

Example:
  longshore doctor --json | jq '.items[] | select(.verdict != \"ok\")'")]
pub struct DoctorArgs {
    /// How long to watch whether queues grow
    #[arg(long, default_value = "1s", value_parser = common::config::duration::parse, value_name = "TIME")]
    watch: Duration,
}

#[derive(Serialize)]
struct Report {
    settings: Vec<Setting>,
    items: Vec<Finding>,
    next: Option<String>,
}

pub(crate) async fn run(app: &App, args: DoctorArgs) -> Result<(), Failure> {
    let (mut items, of_database) = tokio::try_join!(broker(app, args.watch), database(app))?;
    items.extend(of_database);
    items.push(clock::shown(common::event::now()));
    let report = Report {
        settings: app.settings.clone(),
        items,
        next: None,
    };
    app.output.show(&report, text)?;
    verdict(&report.items)
}

/// The broker, and before it the file it is in, where it is in one.
async fn broker(app: &App, watch: Duration) -> Result<Vec<Finding>, Failure> {
    let url = &app.config.broker.url;
    let mut found = files::look("broker file", "LONGSHORE_BROKER_URL", url).await;
    if !is_missing(&found) {
        let broker = app.broker()?;
        found.extend(checks::broker(broker.as_ref(), &app.topology(), watch).await);
        broker.close().await;
    }
    Ok(found)
}

/// The database, and before it the file it is in, where it is in one.
async fn database(app: &App) -> Result<Vec<Finding>, Failure> {
    let url = &app.config.database.url;
    let mut found = files::look("database file", "LONGSHORE_DATABASE_URL", url).await;
    if !is_missing(&found) {
        let store = app.store()?;
        found.extend(checks::database(store.as_ref()).await);
        store.close().await;
    }
    Ok(found)
}

/// Whether there is no file: to ask the engine would be to make it.
fn is_missing(file: &[Finding]) -> bool {
    file.iter()
        .any(|finding| finding.verdict == Verdict::Unreachable)
}

fn verdict(items: &[Finding]) -> Result<(), Failure> {
    let worst = items.iter().map(|finding| finding.verdict).max();
    let broken = items
        .iter()
        .filter(|finding| finding.verdict >= Verdict::Problem)
        .count();
    let found = format!("{} found", count(broken as u64, "problem"));
    match worst {
        Some(Verdict::Unreachable) => Err(Failure::Unreachable(found)),
        Some(Verdict::Problem) => Err(Failure::Failed(anyhow::anyhow!(found))),
        _ => Ok(()),
    }
}

fn text(report: &Report) -> String {
    let settings = report.settings.iter();
    let mut text = crate::output::table(
        &["setting", "value", "from"],
        settings
            .map(|it| vec![it.key.to_owned(), it.value.clone(), it.from.clone()])
            .collect(),
    );
    text.push_str("\n\n");
    for finding in &report.items {
        let mark = match finding.verdict {
            Verdict::Ok => "ok     ",
            Verdict::Look => "look   ",
            Verdict::Problem | Verdict::Unreachable => "PROBLEM",
        };
        text.push_str(&format!(
            "{mark}  {}: {}\n",
            finding.check,
            clean(&finding.detail)
        ));
        if let Some(advice) = &finding.advice {
            text.push_str(&format!("         do: {advice}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_decides_the_exit_code() {
        let bad = |verdict| Finding::bad(verdict, "a", "b", "c");
        let code = |items: &[Finding]| verdict(items).err().map_or(0, |failure| failure.code());
        assert_eq!(code(&[Finding::ok("a", "b"), bad(Verdict::Look)]), 0);
        assert_eq!(code(&[bad(Verdict::Problem), bad(Verdict::Look)]), 1);
        assert_eq!(code(&[bad(Verdict::Problem), bad(Verdict::Unreachable)]), 3);
    }
}
