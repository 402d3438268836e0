//! `longshore events stuck`

use std::collections::HashSet;

use clap::Args;
use common::bootstrap::Failure;
use common::store::{DeliveryState, Store};
use common::topology::Names;
use serde_json::json;
use time::OffsetDateTime;

use crate::app::{App, publish_failure};
use crate::commands::events::state;
use crate::confirm::confirm;
use crate::history::{Entry, Reader, Verdict, Window};
use crate::output::{count, moment, table};
use crate::replay::{Fate, Knowledge, Parcel, canonical, raw, round};
use crate::survey::{Found, Stuck, Surveyor, survey};
use crate::when;

/// Where to look, and whether to mend it.
#[derive(Debug, Args)]
#[command(after_help = "\
Compares the history with the tables and the queues: stuck is what was received, is at rest nowhere, and \
cannot be waiting in a queue. Messages that a worker has in hand are in no queue's count: where handling \
takes longer than --grace, something may be listed that is not stuck.

--requeue sends what is not stored to `validate` once more, and what is stored to the destinations where it \
is due still, as the delivery that it is. Every step is idempotent, so this does no harm to what was not \
stuck. What is older than the history (`history.keep`) cannot be found.

Examples:
  longshore events stuck
  longshore events stuck --since 24h --requeue")]
pub struct StuckArgs {
    /// Received since then: so long ago, or a moment
    #[arg(long, value_name = "WHEN", default_value = "1h", value_parser = when::moment)]
    since: OffsetDateTime,
    /// What was received less than this ago is on its way
    #[arg(long, value_name = "DURATION", default_value = "1min", value_parser = common::config::duration::parse)]
    grace: std::time::Duration,
    /// Send them on their way once more
    #[arg(long)]
    requeue: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// What was sent on its way once more.
#[derive(Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Requeued {
    /// Messages that the broker has confirmed.
    pub(crate) sent: u64,
    /// Events that cannot be sent, with why.
    pub(crate) left: Vec<(u64, String)>,
}

pub(super) async fn run(app: &App, args: StuckArgs) -> Result<(), Failure> {
    let look =
        async |surveyor: &Surveyor<'_>, found: Found| look(app, &args, surveyor, found).await;
    survey(app, args.since, args.grace, look).await
}

async fn look(
    app: &App,
    args: &StuckArgs,
    surveyor: &Surveyor<'_>,
    (survey, stuck): Found,
) -> Result<(), Failure> {
    let mut document = json!({ "items": stuck, "next": null, "received": survey.received, "under_way": survey.under_way });
    if args.requeue && !stuck.is_empty() {
        confirm(
            &format!(
                "send {} on their way again",
                count(stuck.len() as u64, "event")
            ),
            args.yes,
        )?;
        let requeued = requeue(surveyor, &stuck).await?;
        document["requeued"] = json!(requeued.sent);
        document["left"] = json!(requeued.left);
        return app.output.show(&document, |_| requeued_text(&requeued));
    }
    app.output
        .show(&document, |_| text(&stuck, survey.under_way))
}

/// Sends what is stuck on its way once more.
pub(crate) async fn requeue(surveyor: &Surveyor<'_>, stuck: &[Stuck]) -> Result<Requeued, Failure> {
    let mut requeued = Requeued::default();
    let wanted: HashSet<u64> = stuck.iter().map(|it| it.offset).collect();
    let (Some(&first), Some(&last)) = (wanted.iter().min(), wanted.iter().max()) else {
        return Ok(requeued);
    };
    let position = first.checked_sub(1);
    let mut reader = Reader::open(surveyor.broker, Window::default(), position).await?;
    while let Some(entry) = reader.next().await? {
        if entry.offset > last {
            break;
        }
        if !wanted.contains(&entry.offset) {
            continue;
        }
        let entry = surveyor.judge.judge(entry);
        let parcels = match parcels(surveyor.store, surveyor.names, &entry).await? {
            Ok(parcels) => parcels,
            Err(why) => {
                requeued.left.push((entry.offset, why.to_owned()));
                continue;
            }
        };
        let (fates, failure) = round(surveyor.broker, &parcels, async || true, || {}).await;
        if let Some(error) = failure {
            return Err(publish_failure(error));
        }
        for fate in fates {
            match fate {
                Fate::Refused(why) => requeued.left.push((entry.offset, why)),
                _ => requeued.sent += 1,
            }
        }
    }
    Ok(requeued)
}

/// What to send for one event: to `validate` what is not stored; what is stored to the destinations where it
/// is due, as the delivery that is due there.
async fn parcels(
    store: &dyn Store,
    names: &Names,
    entry: &Entry,
) -> Result<Result<Vec<Parcel>, &'static str>, Failure> {
    let record = match entry.event {
        Some(event) => store.event(event).await?,
        None => None,
    };
    let Some(record) = record else {
        let queue = names.validate();
        let message = raw(entry, 0);
        return Ok(Ok(vec![Parcel { queue, message }]));
    };
    let Verdict::Accepted(message) = &entry.verdict else {
        return Ok(Err(
            "it is stored, but by the types of today it would not be",
        ));
    };
    if Knowledge(Some(&record)).objection(message).is_some() {
        return Ok(Err("another content is stored under its id"));
    }
    let due = record.status.deliveries.iter();
    let due = due.filter(|delivery| delivery.status == DeliveryState::Due);
    let parcels = due.map(|delivery| Parcel {
        queue: names.integrate(&delivery.destination),
        message: canonical(message.clone(), delivery.generation),
    });
    Ok(Ok(parcels.collect()))
}

fn text(stuck: &[Stuck], under_way: u64) -> String {
    if stuck.is_empty() {
        let under_way = match under_way {
            0 => "nothing is under way".to_owned(),
            some => format!("{} under way", count(some, "event")),
        };
        return format!("nothing is stuck; {under_way}");
    }
    let row = |it: &Stuck| {
        vec![
            it.event.map(|id| id.to_string()).unwrap_or_default(),
            it.kind.clone(),
            it.received_at.map(|at| moment(at.0)).unwrap_or_default(),
            it.status
                .map_or_else(|| "unknown".to_owned(), |it| state(&it)),
        ]
    };
    let header = ["event", "type", "received", "known as"];
    let rows = table(&header, stuck.iter().map(row).collect());
    format!(
        "{rows}\n\n{} at rest nowhere and in no queue; `longshore events stuck --requeue` sends them on their \
         way again. What a worker has had in hand for longer than the grace is listed as well.",
        count(stuck.len() as u64, "event")
    )
}

fn requeued_text(requeued: &Requeued) -> String {
    let mut text = format!("{} sent", count(requeued.sent, "message"));
    for (offset, why) in &requeued.left {
        text.push_str(&format!("\nnot sent: place {offset} of the history: {why}"));
    }
    text
}
