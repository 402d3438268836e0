//! `longshore dead discard` and `longshore dead restore`

use clap::Args;
use common::bootstrap::Failure;
use common::store::Store;
use operate::dead::Change;
use operate::roles::Requester;
use operate::words::count;
use serde_json::json;

use super::filter::ChoiceArgs;
use crate::app::App;
use crate::commands::replay::send::{RunArgs, Work, send};
use crate::confirm::confirm;
use crate::output::bar;
use crate::stop;

/// Which dead letters to give up, and why.
#[derive(Debug, Args)]
#[command(after_help = "\
What was discarded counts as settled and is never replayed. It is kept, with who and why, until the \
retention is over (dead.retention in the configuration); until then `longshore dead restore` opens it again.

More than 500 are discarded by a worker (longshore-archive), and that is watched here. `longshore replay` lists, shows, \
pauses, stops and resumes it like a replay. Where no worker runs, --here discards them from this process.

Examples:
  longshore dead discard 0b8e4cde-8f9a-5b0e-a7a1-6d0f6a1f3c11 --why 'a test of ours'
  longshore dead discard --destination old-crm --why 'the contract has ended'")]
pub struct DiscardArgs {
    #[command(flatten)]
    which: ChoiceArgs,
    /// The reason, kept with the record
    #[arg(long, value_name = "TEXT")]
    why: String,
    #[command(flatten)]
    how: HowArgs,
}

/// Which discarded letters to open again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore dead restore 0b8e4cde-8f9a-5b0e-a7a1-6d0f6a1f3c11
  longshore dead restore --destination old-crm --dry-run")]
pub struct RestoreArgs {
    #[command(flatten)]
    which: ChoiceArgs,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Debug, Args)]
struct HowArgs {
    /// Only say how many it would be
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    run: RunArgs,
}

pub(super) async fn discard(app: &App, args: DiscardArgs) -> Result<(), Failure> {
    let filter = args.which.filter(&app.names())?;
    let plan = |by: &Requester| Change::discard(filter, args.why, by);
    make(app, plan, &args.how).await
}

pub(super) async fn restore(app: &App, args: RestoreArgs) -> Result<(), Failure> {
    let filter = args.which.filter(&app.names())?;
    let plan = |by: &Requester| Ok(Change::restore(filter, by));
    make(app, plan, &args.how).await
}

async fn make(
    app: &App,
    plan: impl FnOnce(&Requester) -> Result<Change, Failure>,
    how: &HowArgs,
) -> Result<(), Failure> {
    let store = app.store()?;
    let done = async {
        let by = app.requester(store.as_ref()).await?;
        ask_and_make(app, store.as_ref(), &plan(&by)?, &by, how).await
    };
    let done = done.await;
    store.close().await;
    done
}

async fn ask_and_make(
    app: &App,
    store: &dyn Store,
    change: &Change,
    by: &Requester,
    how: &HowArgs,
) -> Result<(), Failure> {
    let (verb, done) = match change {
        Change::Discard(_) => ("discard", "discarded"),
        Change::Restore(_) => ("restore", "restored"),
    };
    let from = change.state();
    let found = change.count(store).await?;
    let them = count(found, &format!("{from} dead letter"));
    if how.dry_run {
        let document = json!({ format!("would_be_{done}"): found, "filter": change.matching() });
        return app
            .output
            .show(&document, |_| format!("{them} would be {done}"));
    }
    change.expect_named(found)?;
    let mut made = 0;
    if found > 0 {
        confirm(&format!("{verb} {them}"), how.run.yes)?;
        if !Change::is_small(found) {
            let operation = change.operation(by);
            return send(app, store, Work::Begin(&operation), by, found, &how.run).await;
        }
        let (stop, bar) = (stop::on_signals()?, bar(found, verb));
        let changed = change.make(store, &stop, |more| bar.inc(more)).await;
        bar.finish_and_clear();
        made = changed?;
    }
    app.output.show(&json!({ done: made }), |_| match made {
        0 => format!("no {from} dead letter matches"),
        _ => format!("{} {done}", count(made, "dead letter")),
    })
}
