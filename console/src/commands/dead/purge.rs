//! `longshore dead purge`

use std::time::Duration;

use clap::Args;
use common::bootstrap::Failure;
use common::config::duration;
use common::event::now;
use common::store::{Moment, Store};
use operate::dead;
use operate::words::{count, moment};
use serde_json::json;
use time::OffsetDateTime;

use crate::app::App;
use crate::confirm::confirm;
use crate::output::bar;
use crate::stop;

/// What is old enough.
#[derive(Debug, Args)]
#[command(after_help = "\
Open letters are never removed, however old. Safe to run at any time, as a daily job with --yes.

Examples:
  longshore dead purge                      what was settled longer ago than dead.retention
  longshore dead purge --older-than 90days --yes")]
pub struct PurgeArgs {
    /// What was replayed or discarded this long ago; dead.retention of the configuration unless given
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    older_than: Option<Duration>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(app: &App, args: PurgeArgs) -> Result<(), Failure> {
    let retention = args.older_than.unwrap_or(app.config.dead.retention);
    let before = dead::settled_before(now(), retention)?;
    let store = app.store()?;
    let purged = ask_and_purge(app, store.as_ref(), before, args.yes).await;
    store.close().await;
    let purged = purged?;
    let document = json!({ "purged": purged, "settled_before": Moment(before) });
    app.output.show(&document, |_| match purged {
        0 => format!("no dead letter was settled before {}", moment(before)),
        _ => format!("{} removed", count(purged, "dead letter")),
    })
}

async fn ask_and_purge(
    app: &App,
    store: &dyn Store,
    before: OffsetDateTime,
    yes: bool,
) -> Result<u64, Failure> {
    let by = app.requester(store).await?;
    let settled = dead::count_settled(store).await?;
    if settled == 0 {
        return Ok(0);
    }
    let what = format!(
        "remove for good, of {}, what was replayed, discarded or superseded before {}",
        count(settled, "settled dead letter"),
        moment(before)
    );
    confirm(&what, yes)?;
    let (stop, bar) = (stop::on_signals()?, bar(settled, "removing"));
    let purged = dead::purge(store, before, &by, &stop, |more| bar.inc(more)).await;
    bar.finish_and_clear();
    purged
}
