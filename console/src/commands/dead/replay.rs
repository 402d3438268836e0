//! `longshore dead replay`

mod preview;

use clap::Args;
use common::bootstrap::Failure;
use common::store::{DeadFilter, DeadState, Operation, OperationKind, Store};
use operate::operation::{Outcome, beginning};
use operate::queues::whole_name;
use operate::roles::Requester;
use operate::words::count;
use uuid::Uuid;

use super::filter::{FilterArgs, WHICH};
use crate::app::App;
use crate::commands::replay::send::{SendArgs, Work, send};
use crate::confirm::confirm;

/// Maximum of letters that are not bulk. A bulk replay is watched unless that is turned off.
const BULK: u64 = 100;

/// Maximum of a hundred letters that may die again in bulk.
const MAY_DIE: u8 = 20;

/// Which dead letters to send again, and where.
#[derive(Debug, Args)]
#[command(after_help = "\
A worker (longshore-archive) sends them, each to the queue it died in, one generation on, with its attempts anew; \
only what the broker has confirmed is marked. It is watched here until all of it is delivered or dead again. Ctrl-C \
ends the watching, not the replay: `longshore replay watch` goes on with that, `replay pause` and `stop` steer the \
replay. One that was killed, paused or stopped goes on with `longshore replay resume`. Where no worker runs, --here \
sends them from this process.

Examples:
  longshore dead replay 0b8e4cde-8f9a-5b0e-a7a1-6d0f6a1f3c11
  longshore dead replay --destination crm --dry-run
  longshore dead replay --reason receiver_failing --rate 500/s --yes --why 'CRM is back'
  longshore dead replay --all --stop-when 5%")]
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
    /// Stop by itself when more than this part of those whose fate is known has died again; `never`
    /// turns it off [default: 20% for more than 100 letters]
    #[arg(long, value_name = "PERCENT", value_parser = stop_when)]
    stop_when: Option<StopWhen>,
    /// Let receivers see another `webhook-id` than before, for those that would throw away what they know
    #[arg(long)]
    new_ids: bool,
    /// Only say what would be sent
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    send: SendArgs,
    /// The reason, kept with the record
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// The same as `longshore replay resume`
    #[arg(long, value_name = "REPLAY_ID", conflicts_with_all = [
        "ids", "queue", "destination", "kind", "reason", "cause", "event", "since", "until", "fingerprint", "text", "all", "to", "dry_run", "why", "rate", "stop_when", "new_ids",
    ])]
    resume: Option<Uuid>,
}

/// When a replay stops by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopWhen {
    Never,
    More(u8),
}

fn stop_when(text: &str) -> Result<StopWhen, String> {
    if text == "never" {
        return Ok(StopWhen::Never);
    }
    let number = text.strip_suffix('%').unwrap_or(text).trim().parse::<u8>();
    match number {
        Ok(percent @ 0..=100) => Ok(StopWhen::More(percent)),
        _ => Err(format!("expected 0% to 100%, or never, found {text:?}")),
    }
}

pub(super) async fn run(app: &App, args: ReplayArgs) -> Result<(), Failure> {
    let store = app.store()?;
    let done = replay(app, &args, store.as_ref()).await;
    store.close().await;
    done
}

async fn replay(app: &App, args: &ReplayArgs, store: &dyn Store) -> Result<(), Failure> {
    if let Some(id) = args.resume {
        return crate::commands::replay::resume(app, store, id, &args.send).await;
    }
    let by = app.requester(store).await?;
    let mut replay = plan(app, args, &by)?;
    let open = DeadFilter {
        state: Some(DeadState::Open),
        ..replay.filter.clone()
    };
    let found = store.dead_count(&open).await?;
    let asked_for = replay.filter.ids.as_ref().map_or(0, |ids| ids.len() as u64);
    if args.dry_run {
        let to = replay.to_queue.as_deref();
        return preview::show(app, store, &open, to, found).await;
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
    replay.stop_when = match args.stop_when {
        Some(StopWhen::Never) => None,
        Some(StopWhen::More(percent)) => Some(percent),
        None => (found > BULK).then_some(MAY_DIE),
    };
    confirm(
        &format!("send {} again", count(found, "dead letter")),
        args.send.run.yes,
    )?;
    send(app, store, Work::Begin(&replay), &by, found, &args.send.run).await
}

/// The replay that was asked for.
fn plan(app: &App, args: &ReplayArgs, by: &Requester) -> Result<Operation, Failure> {
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
        let queues: Vec<&str> = topology
            .work_queues()
            .map(|queue| queue.name.as_str())
            .collect();
        if !queues.contains(&queue.as_str()) {
            return usage(&format!(
                "expected --to one of {}, found {queue:?}",
                queues.join(", ")
            ));
        }
    }
    let mut ids = args.ids.clone();
    ids.sort_unstable();
    ids.dedup();
    let id = Uuid::now_v7();
    Ok(Operation {
        id,
        kind: OperationKind::Replay,
        filter: DeadFilter {
            ids: (!ids.is_empty()).then_some(ids),
            ..args.filter.filter(&names)
        },
        to_queue,
        act: beginning(id, by).because(args.why.clone()),
        rate: args.send.rate,
        stop_when: None,
        slice: None,
        new_ids: args.new_ids,
        resumes: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage_or_never() {
        assert_eq!(stop_when("20%"), Ok(StopWhen::More(20)));
        assert_eq!(stop_when("5"), Ok(StopWhen::More(5)));
        assert_eq!(stop_when("never"), Ok(StopWhen::Never));
        for bad in ["", "101%", "-1", "half"] {
            assert!(stop_when(bad).is_err(), "{bad:?}");
        }
    }
}
