//! `longshore dead discard` and `longshore dead restore`

use clap::Args;
use common::bootstrap::Failure;
use common::event::now;
use common::store::{DeadFilter, DeadLetters, DeadState, Discard, Moment};
use operate::words::count;
use serde_json::json;

use super::batches::{self, BATCH};
use super::filter::ChoiceArgs;
use super::replay::who;
use crate::app::App;
use crate::confirm::confirm;

/// Which dead letters to give up, and why.
#[derive(Debug, Args)]
#[command(after_help = "\
What was discarded counts as settled and is never replayed. It is kept, with who and why, until the \
retention is over (dead.retention in the configuration); until then `longshore dead restore` opens it again.

Examples:
  longshore dead discard 0b8e4cde-8f9a-5b0e-a7a1-6d0f6a1f3c11 --why 'a test of ours'
  longshore dead discard --destination old-crm --why 'the contract has ended'")]
pub struct DiscardArgs {
    #[command(flatten)]
    which: ChoiceArgs,
    /// Why, for whoever looks at it later
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
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) async fn discard(app: &App, args: DiscardArgs) -> Result<(), Failure> {
    if args.why.trim().is_empty() {
        return Err(Failure::Usage(
            "expected --why to say why, found nothing".to_owned(),
        ));
    }
    let filter = still_there(args.which.filter(&app.names())?);
    let discard = Discard {
        filter: filter.clone(),
        who: who(),
        why: args.why,
    };
    let change = Change {
        filter,
        from: DeadState::Open,
        verb: "discard",
        done: "discarded",
        how: args.how,
    };
    let store = app.store()?;
    let step = async || store.discard_dead(&discard, BATCH).await;
    let done = change.make(app, store.as_ref(), step).await;
    store.close().await;
    done
}

pub(super) async fn restore(app: &App, args: RestoreArgs) -> Result<(), Failure> {
    let change = Change {
        filter: args.which.filter(&app.names())?,
        from: DeadState::Discarded,
        verb: "restore",
        done: "restored",
        how: args.how,
    };
    let store = app.store()?;
    let step = async || store.restore_dead(&change.filter, BATCH).await;
    let done = change.make(app, store.as_ref(), step).await;
    store.close().await;
    done
}

/// What dies while a discard runs was not in the number that somebody said yes to; who names letters has
/// seen them.
fn still_there(filter: DeadFilter) -> DeadFilter {
    if filter.ids.is_some() {
        return filter;
    }
    let now = Moment(now());
    DeadFilter {
        until: Some(filter.until.map_or(now, |until| until.min(now))),
        ..filter
    }
}

/// From one state to another, for all that match.
struct Change {
    filter: DeadFilter,
    from: DeadState,
    verb: &'static str,
    done: &'static str,
    how: HowArgs,
}

impl Change {
    async fn make(
        &self,
        app: &App,
        store: &dyn DeadLetters,
        step: impl AsyncFnMut() -> Result<u64, common::store::StoreError>,
    ) -> Result<(), Failure> {
        let Self {
            from, verb, done, ..
        } = self;
        let matching = DeadFilter {
            state: Some(*from),
            ..self.filter.clone()
        };
        let found = store.dead_count(&matching).await?;
        let them = count(found, &format!("{from} dead letter"));
        if self.how.dry_run {
            let document = json!({ format!("would_be_{done}"): found, "filter": matching });
            return app
                .output
                .show(&document, |_| format!("{them} would be {done}"));
        }
        let asked_for = self.filter.ids.as_ref().map_or(0, |ids| ids.len() as u64);
        if found < asked_for {
            return Err(Failure::Failed(anyhow::anyhow!(
                "{found} of the {} asked for is {from}, so nothing was done; `longshore dead show ID` says \
                 what became of each",
                count(asked_for, "dead letter")
            )));
        }
        let mut made = 0;
        if found > 0 {
            confirm(&format!("{verb} {them}"), self.how.yes)?;
            made = batches::run(found, verb, step).await?;
        }
        app.output.show(&json!({ *done: made }), |_| match made {
            0 => format!("no {from} dead letter matches"),
            _ => format!("{} {done}", count(made, "dead letter")),
        })
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_dies_later_is_not_discarded_with_what_was_counted() {
        let before = now();
        let all = still_there(DeadFilter::default());
        assert!(
            all.until
                .is_some_and(|until| (before..=now()).contains(&until.0))
        );
        let past = Some(Moment(OffsetDateTime::UNIX_EPOCH));
        let earlier = still_there(DeadFilter {
            until: past,
            ..DeadFilter::default()
        });
        assert_eq!(earlier.until, past);
        let named = still_there(DeadFilter {
            ids: Some(vec![Uuid::nil()]),
            ..DeadFilter::default()
        });
        assert_eq!(named.until, None);
    }
}
