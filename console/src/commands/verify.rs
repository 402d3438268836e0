//! `longshore verify`

use clap::Args;
use common::bootstrap::Failure;
use time::OffsetDateTime;

use crate::app::App;
use crate::output::{count, moment};
use crate::survey::{Found, Survey, Surveyor, survey};
use crate::when;

/// Since when.
#[derive(Debug, Args)]
#[command(after_help = "\
Draws up the ledger of the live system: everything the history holds of that time has to be completed, \
rejected, dead or under way. Exit code 1 when it is not. `longshore events stuck` names what is missing.

It holds the id of every event of that time in memory, some 50 bytes each.

Examples:
  longshore verify
  longshore verify --since 24h --json")]
pub struct VerifyArgs {
    /// Received since then: so long ago, or a moment
    #[arg(long, value_name = "WHEN", default_value = "1h", value_parser = when::moment)]
    since: OffsetDateTime,
    /// What was received less than this ago is on its way
    #[arg(long, value_name = "DURATION", default_value = "1min", value_parser = common::config::duration::parse)]
    grace: std::time::Duration,
}

pub(crate) async fn run(app: &App, args: VerifyArgs) -> Result<(), Failure> {
    let show = async |_: &Surveyor<'_>, (survey, _): Found| {
        app.output.show(&survey, text)?;
        if survey.balances {
            Ok(())
        } else {
            Err(Failure::Failed(anyhow::anyhow!(
                "the ledger does not balance: {} stuck; `longshore events stuck` names them",
                count(survey.stuck, "event")
            )))
        }
    };
    survey(app, args.since, args.grace, show).await
}

fn text(survey: &Survey) -> String {
    let mut lines = vec![match survey.since {
        Some(since) => format!("received since {}", moment(since.0)),
        None => "received".to_owned(),
    }];
    let mut line = |number: u64, what: &str| lines.push(format!("{number:>9}  {what}"));
    line(survey.received, "received, each counted once");
    line(survey.completed, "completed");
    for (code, number) in &survey.rejected {
        line(*number, &format!("rejected: {code}"));
    }
    line(survey.dead, "dead");
    if survey.mended > 0 {
        line(survey.mended, "no events, sent again since");
    }
    line(survey.under_way, "under way");
    line(survey.stuck, "stuck");
    if survey.repeated > 0 {
        lines.push(format!(
            "beside them {} of the same ids",
            count(survey.repeated, "repetition")
        ));
    }
    for (queue, messages) in &survey.waiting {
        lines.push(format!("in {queue}: {}", count(*messages, "message")));
    }
    lines.push(
        if survey.balances {
            "it balances"
        } else {
            "it does not balance"
        }
        .to_owned(),
    );
    lines.join("\n")
}
