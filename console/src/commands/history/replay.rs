//! `longshore history replay`

use std::collections::BTreeMap;

use clap::Args;
use common::bootstrap::Failure;
use common::broker::Broker;
use common::event::{now, topic_matches};
use common::store::{DeadFilter, HistorySlice, Moment, Operation, OperationKind, Store};
use common::topology::Stage;
use operate::history::{Judge, Reader, Verdict, Window};
use operate::operation::beginning;
use operate::queues::whole_name;
use operate::words::{count, moment};
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::app::App;
use crate::commands::replay::send::{SendArgs, Work, send};
use crate::confirm::confirm;
use crate::output::{spinner, table};
use crate::when;

/// Which part of the history, and where to.
#[derive(Debug, Args)]
#[command(after_help = "\
To `validate` everything goes as it came through the door. To a destination goes what validation accepts, is \
stored, and has the content that is stored, one generation above what was delivered there; what was never \
due there is delivered for the first time. A worker (longshore-archive) runs the replay, and it is watched here: \
Ctrl-C ends the watching, not the replay. Where no worker runs, --here runs it in this process. It is written down with \
who and why, and goes on with `longshore replay resume` when it was stopped.

Examples:
  longshore history replay --from 2h --to 1h --type 'signup.*' --queue integrate.crm --dry-run
  longshore history replay --from 30days --queue integrate.newsletter --rate 200/s --why 'new destination'")]
pub struct HistoryReplayArgs {
    /// Received then or later: so long ago, or a moment
    #[arg(long, value_name = "WHEN", value_parser = when::moment)]
    from: OffsetDateTime,
    /// Received before then [default: now]
    #[arg(long, value_name = "WHEN", value_parser = when::moment)]
    to: Option<OffsetDateTime>,
    /// Of these types, such as 'signup.*'
    #[arg(long = "type", value_name = "PATTERN")]
    kind: Option<String>,
    /// Send them to this queue: `validate`, `store` or `integrate.NAME`
    #[arg(long, value_name = "QUEUE")]
    queue: String,
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
}

/// The entries that would be sent.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Preview {
    /// Entries of the history that match.
    pub(super) matching: u64,
    /// Matching entries that validation accepts, by type.
    pub(super) accepted: BTreeMap<String, u64>,
    /// Matching entries that validation refuses, by reason code.
    pub(super) refused: BTreeMap<String, u64>,
}

pub(super) async fn run(app: &App, args: HistoryReplayArgs) -> Result<(), Failure> {
    let names = app.names();
    let queue = whole_name(&args.queue, &names);
    let stage = names.stage_of(&queue).map(|(stage, _)| stage);
    let topology = app.topology();
    let known = topology.work_queues().any(|known| known.name == queue);
    if !known || matches!(stage, None | Some(Stage::Archive)) {
        return Err(Failure::Usage(format!(
            "expected --queue validate, store, or integrate.NAME of a destination in the configuration, \
             found {:?}",
            args.queue
        )));
    }
    let slice = HistorySlice {
        from: Moment(args.from),
        to: Moment(args.to.unwrap_or_else(now)),
        kind: args.kind.clone(),
    };
    if slice.from >= slice.to {
        return Err(Failure::Usage(format!(
            "expected --from before --to, found {} and {}",
            moment(slice.from.0),
            moment(slice.to.0)
        )));
    }
    let store = app.store()?;
    let done = replay(app, &args, store.as_ref(), queue, slice).await;
    store.close().await;
    done
}

async fn replay(
    app: &App,
    args: &HistoryReplayArgs,
    store: &dyn Store,
    queue: String,
    slice: HistorySlice,
) -> Result<(), Failure> {
    let broker = app.believed_broker().await?;
    let judge = Judge::new(&app.config)?;
    let spinner = spinner("read");
    let found = preview(broker.as_ref(), &judge, &slice, || spinner.inc(1)).await;
    spinner.finish_and_clear();
    broker.close().await;
    let found = found?;
    if args.dry_run || found.matching == 0 {
        return app.output.show(&found, text);
    }
    let what = count(found.matching, "message");
    confirm(
        &format!("send {what} of the history to {queue}"),
        args.send.run.yes,
    )?;
    let (by, id) = (app.requester(store).await?, Uuid::now_v7());
    let replay = Operation {
        id,
        kind: OperationKind::Replay,
        filter: DeadFilter::default(),
        to_queue: Some(queue),
        act: beginning(id, &by).because(args.why.clone()),
        rate: args.send.rate,
        stop_when: None,
        slice: Some(slice),
        new_ids: args.new_ids,
        resumes: None,
    };
    send(
        app,
        store,
        Work::Begin(&replay),
        &by,
        found.matching,
        &args.send.run,
    )
    .await
}

/// Reads the slice and counts.
pub(super) async fn preview(
    broker: &dyn Broker,
    judge: &Judge,
    slice: &HistorySlice,
    read: impl Fn(),
) -> Result<Preview, Failure> {
    let mut reader = Reader::open(broker, judge.logins(), Window::from(slice), None).await?;
    let mut preview = Preview::default();
    while let Some(entry) = reader.next().await? {
        read();
        let entry = judge.judge(entry);
        let pattern = slice.kind.as_deref();
        if !pattern.is_none_or(|pattern| topic_matches(pattern, &entry.kind)) {
            continue;
        }
        preview.matching += 1;
        let (counts, key) = match entry.verdict {
            Verdict::Accepted(_) => (&mut preview.accepted, entry.kind),
            Verdict::Rejected(code) | Verdict::Dead(code) => {
                (&mut preview.refused, code.to_string())
            }
        };
        *counts.entry(key).or_default() += 1;
    }
    Ok(preview)
}

fn text(preview: &Preview) -> String {
    if preview.matching == 0 {
        return "nothing in the history matches; `longshore history stats` shows what there is"
            .to_owned();
    }
    let mut text = format!(
        "{} of the history match",
        count(preview.matching, "message")
    );
    let accepted = preview.accepted.iter().map(|(kind, n)| (kind, n, ""));
    let refused = preview
        .refused
        .iter()
        .map(|(code, n)| (code, n, "refused by validation"));
    let row = |(what, number, note): (&String, &u64, &str)| {
        vec![number.to_string(), what.clone(), note.to_owned()]
    };
    text.push_str("\n\n");
    text.push_str(&table(
        &["messages", "type or reason", ""],
        accepted.chain(refused).map(row).collect(),
    ));
    text
}
