//! `longshore dead replay`

use clap::Args;
use common::bootstrap::Failure;
use common::store::{DeadFilter, DeadState, Replay, Store};
use serde_json::json;
use uuid::Uuid;

use super::filter::{FilterArgs, WHICH, whole_name};
use crate::app::App;
use crate::confirm::confirm;
use crate::output::{bar, count, table};
use crate::replay::{LeftOpen, Outcome, Replayer};
use crate::stop;

/// Which dead letters to send again, and where.
#[derive(Debug, Args)]
#[command(after_help = "\
Each goes to the queue it died in, one generation on, with its attempts anew; only what the broker \
has confirmed is marked. A replay that was killed or stopped goes on with --resume.

Examples:
  longshore dead replay 0b8e4cde-8f9a-5b0e-a7a1-6d0f6a1f3c11
  longshore dead replay --destination crm --dry-run
  longshore dead replay --reason receiver_failing --yes --why 'CRM is back'
  longshore dead replay --resume 0193d2a0-…")]
pub struct ReplayArgs {
    /// The dead letters; else everything open that the conditions below choose
    #[arg(value_name = "ID")]
    ids: Vec<Uuid>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Every open dead letter there is
    #[arg(long, help_heading = WHICH)]
    all: bool,
    /// Send them to this queue instead of those they died in, such as `store`
    #[arg(long, value_name = "QUEUE")]
    to: Option<String>,
    /// Only say what would be sent
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Why, for whoever looks at it later
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Go on with a replay that was killed or stopped
    #[arg(long, value_name = "REPLAY_ID", conflicts_with_all = [
        "ids", "queue", "destination", "kind", "reason", "event", "all", "to", "dry_run", "why",
    ])]
    resume: Option<Uuid>,
}

pub(super) async fn run(app: &App, args: ReplayArgs) -> Result<(), Failure> {
    let store = app.store()?;
    let done = replay(app, &args, store.as_ref()).await;
    store.close().await;
    done
}

async fn replay(app: &App, args: &ReplayArgs, store: &dyn Store) -> Result<(), Failure> {
    if let Some(id) = args.resume {
        confirm(&format!("go on with replay {id}"), args.yes)?;
        return send(app, store, Work::Resume(id), 0).await;
    }
    let replay = plan(app, args)?;
    let open = DeadFilter {
        state: Some(DeadState::Open),
        ..replay.filter.clone()
    };
    let found = store.dead_count(&open).await?;
    let asked_for = replay.filter.ids.as_ref().map_or(0, |ids| ids.len() as u64);
    if args.dry_run {
        let document =
            json!({ "would_replay": found, "filter": replay.filter, "to": replay.to_queue });
        return app.output.show(&document, |_| {
            format!("{} would be sent again", count(found, "dead letter"))
        });
    }
    if found < asked_for {
        return Err(Failure::Failed(anyhow::anyhow!(
            "{found} of the {} asked for is open, so nothing was sent; `longshore dead show ID` \
             says what became of each",
            count(asked_for, "dead letter")
        )));
    }
    if found == 0 {
        let outcome = Outcome::default();
        return app
            .output
            .show(&outcome, |_| "no open dead letter matches".to_owned());
    }
    confirm(
        &format!("send {} again", count(found, "dead letter")),
        args.yes,
    )?;
    send(app, store, Work::Begin(&replay), found).await
}

/// The replay that was asked for.
fn plan(app: &App, args: &ReplayArgs) -> Result<Replay, Failure> {
    let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
    let chosen = !args.ids.is_empty() || !args.filter.is_empty();
    if args.all && chosen {
        return usage("expected either --all or some of them, found both");
    }
    if !args.all && !chosen {
        return usage(
            "expected ids, conditions such as --destination, or --all; found none of them",
        );
    }
    let names = app.names();
    let to_queue = args.to.as_deref().map(|queue| whole_name(queue, &names));
    if let Some(queue) = &to_queue {
        let topology = app.topology();
        let mut queues = topology.work_queues().map(|queue| queue.name.as_str());
        if !queues.any(|known| known == queue) {
            let queues: Vec<&str> = topology
                .work_queues()
                .map(|queue| queue.name.as_str())
                .collect();
            return usage(&format!(
                "expected --to one of {}, found {queue:?}",
                queues.join(", ")
            ));
        }
    }
    let mut ids = args.ids.clone();
    ids.sort_unstable();
    ids.dedup();
    Ok(Replay {
        id: Uuid::now_v7(),
        filter: DeadFilter {
            ids: (!ids.is_empty()).then_some(ids),
            ..args.filter.filter(&names)
        },
        to_queue,
        who: who(),
        why: args.why.clone(),
    })
}

/// Who is at the terminal, for the record.
pub(crate) fn who() -> String {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    format!("cli:{}", user.unwrap_or_else(|| "unknown".to_owned()))
}

enum Work<'a> {
    Begin(&'a Replay),
    Resume(Uuid),
}

async fn send(app: &App, store: &dyn Store, work: Work<'_>, found: u64) -> Result<(), Failure> {
    let (broker, topology, stop) = (app.broker()?, app.topology(), stop::on_signals()?);
    let replayer = Replayer {
        broker: broker.as_ref(),
        store,
        topology: &topology,
        stop: &stop,
    };
    let bar = bar(found, "replaying");
    let done = match work {
        Work::Begin(replay) => replayer.begin(replay, |sent| bar.inc(sent)).await,
        Work::Resume(id) => replayer.resume(id, |sent| bar.inc(sent)).await,
    };
    bar.finish_and_clear();
    broker.close().await;
    let outcome = done?;
    app.output.show(&outcome, text)?;
    if outcome.stopped {
        return Err(Failure::Failed(anyhow::anyhow!(
            "stopped before the end; go on with `longshore dead replay --resume {}`",
            outcome.replay
        )));
    }
    match outcome.left_open.len() as u64 {
        0 => Ok(()),
        left => Err(Failure::Failed(anyhow::anyhow!(
            "{} left open",
            count(left, "dead letter")
        ))),
    }
}

fn text(outcome: &Outcome) -> String {
    let mut text = format!(
        "{} sent again (replay {})",
        count(outcome.replayed, "dead letter"),
        outcome.replay
    );
    if !outcome.left_open.is_empty() {
        let row = |left: &LeftOpen| {
            vec![
                left.letter.to_string(),
                left.queue.clone(),
                left.problem.clone(),
            ]
        };
        text.push_str("\n\n");
        text.push_str(&table(
            &["left open", "queue", "problem"],
            outcome.left_open.iter().map(row).collect(),
        ));
    }
    text
}
