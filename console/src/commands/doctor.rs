//! `longshore doctor`: looks at everything once and says what is wrong and what to do about it.

use std::time::Duration;

use clap::Args;
use common::bootstrap::Failure;
use operate::doctor::settings::Setting;
use operate::doctor::{self, Finding, Verdict};
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
    let report = Report {
        settings: app.settings.clone(),
        items: doctor::examine(&app.config, args.watch).await?,
        next: None,
    };
    app.output.show(&report, text)?;
    doctor::verdict(&report.items)
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
