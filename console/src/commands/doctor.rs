//! `longshore doctor`: looks at everything once and says what is wrong and what to do about it.

use std::time::Duration;

use clap::{Args, ValueEnum};
use common::bootstrap::Failure;
use operate::doctor::settings::Setting;
use operate::doctor::{self, Finding, Verdict};
use operate::grants::Scripts;
use serde::Serialize;

use crate::app::App;
use crate::output::clean;

/// How to look.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 1 where something is wrong, 3 where broker or database cannot be reached; what is only
worth knowing changes no exit code.

Examples:
  longshore doctor --json | jq '.items[] | select(.verdict != \"ok\")'
  longshore doctor --grants=broker > logins.sh")]
pub struct DoctorArgs {
    /// How long to watch whether queues grow
    #[arg(long, default_value = "1s", value_parser = common::config::duration::parse, value_name = "TIME")]
    watch: Duration,
    /// Look at nothing: print commands that make a login for each program, with the rights that it needs
    #[arg(
        long,
        value_enum,
        value_name = "PART",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "all"
    )]
    grants: Option<GrantsPart>,
}

/// The logins to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GrantsPart {
    /// Those of broker and database
    All,
    /// Commands of rabbitmqctl, for sh
    Broker,
    /// Statements of PostgreSQL, for psql
    Database,
}

#[derive(Serialize)]
struct Report {
    settings: Vec<Setting>,
    items: Vec<Finding>,
    next: Option<String>,
}

pub(crate) async fn run(app: &App, args: DoctorArgs) -> Result<(), Failure> {
    if let Some(part) = args.grants {
        return print_grants(app, part);
    }
    let report = Report {
        settings: app.settings.clone(),
        items: doctor::examine(&app.config, &app.hash, args.watch).await?,
        next: None,
    };
    app.output.show(&report, text)?;
    doctor::verdict(&report.items)
}

fn print_grants(app: &App, part: GrantsPart) -> Result<(), Failure> {
    let mut scripts = Scripts::new(&app.config);
    match part {
        GrantsPart::All => {}
        GrantsPart::Broker => scripts.database = None,
        GrantsPart::Database => scripts.broker = None,
    }
    if scripts.broker.is_none() && scripts.database.is_none() {
        return Err(Failure::Usage(
            "expected a broker or a database with logins, found files of the embedded engine, which need none: set \
             LONGSHORE_BROKER_URL and LONGSHORE_DATABASE_URL"
                .to_owned(),
        ));
    }
    app.output.show(&scripts, |scripts| {
        let both = [&scripts.broker, &scripts.database];
        let both: Vec<&str> = both.into_iter().flatten().map(String::as_str).collect();
        both.join("\n")
    })
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
