//! Starts an operation: it is handed over to the workers and watched, or run here.

use clap::Args;
use common::bootstrap::Failure;
use common::store::{Operation, OperationKind, Progress, Store};
use operate::operation::{begin, hand_over};
use operate::roles::Requester;
use serde::Serialize;
use uuid::Uuid;

use super::{here, watch};
use crate::app::App;

/// How to send.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Maximum rate, such as 500/s; as fast as the broker takes them unless set
    #[arg(long, value_name = "N/s", value_parser = rate)]
    pub(crate) rate: Option<u32>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Where an operation runs, and whether it is watched.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Hand it over to the workers and return; with --here, do not wait to see what becomes of what was sent
    #[arg(long)]
    pub(super) no_wait: bool,
    /// Run it in this process, where no worker (longshore-archive) does; Ctrl-C stops it then
    #[arg(long)]
    pub(super) here: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

fn rate(text: &str) -> Result<u32, String> {
    let number = text
        .strip_suffix("/s")
        .unwrap_or(text)
        .trim()
        .parse::<u32>();
    match number {
        Ok(rate @ 1..) => Ok(rate),
        _ => Err(format!("expected a rate such as 500/s, found {text:?}")),
    }
}

/// The operation to start.
#[derive(Clone, Copy)]
pub(crate) enum Work<'a> {
    /// A new one.
    Begin(&'a Operation),
    /// One that was killed, paused or stopped, and its new rate.
    Resume(&'a Progress, Option<u32>),
}

impl Work<'_> {
    pub(super) fn kind(&self) -> OperationKind {
        match self {
            Self::Begin(replay) => replay.kind,
            Self::Resume(replay, _) => replay.kind,
        }
    }
}

/// An operation that goes on in a worker.
#[derive(Serialize)]
struct HandedOver {
    replay: Uuid,
}

/// Starts an operation on about `found` messages (0 where that is not known), and shows how it ends.
pub(crate) async fn send(
    app: &App,
    store: &dyn Store,
    work: Work<'_>,
    by: &Requester,
    found: u64,
    args: &RunArgs,
) -> Result<(), Failure> {
    if args.here {
        return here::run(app, store, work, by, found, args).await;
    }
    let kind = work.kind();
    if kind == OperationKind::Replay {
        // Where the programs believe other logins than we do, they would send other events than the requested ones.
        app.believed_broker().await?.close().await;
    }
    let (id, before) = match work {
        Work::Begin(replay) => {
            begin(store, replay).await?;
            (replay.id, 0)
        }
        Work::Resume(replay, rate) => {
            let next = hand_over(store, replay.id, rate, by).await?;
            let goes_on = next == replay.id;
            (next, if goes_on { replay.replayed } else { 0 })
        }
    };
    if args.no_wait {
        return left(app, kind, id);
    }
    watch::watch(app, store, kind, id, before..before + found).await
}

/// Says that an operation goes on without this terminal.
pub(super) fn left(app: &App, kind: OperationKind, replay: Uuid) -> Result<(), Failure> {
    app.output.show(&HandedOver { replay }, |_| {
        format!(
            "{kind} {replay} goes on without this terminal\n\
             longshore replay watch {replay}    shows how far it is\n\
             longshore replay pause {replay}    lets it wait (`stop` ends it, `resume` goes on with it)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_so_many_a_second() {
        assert_eq!((rate("500/s"), rate("7")), (Ok(500), Ok(7)));
        for bad in ["0/s", "", "fast", "5/min", "-1"] {
            assert!(rate(bad).is_err(), "{bad:?}");
        }
    }
}
