//! Looking for dead letters among very many: how long each question takes.

use std::time::Instant;

use bench::{Namespace, Report, Unit, dead_letters};
use clap::Args;
use common::bootstrap::Failure;
use common::event::now;
use common::reason::{Cause, ReasonCode};
use common::store::{DeadFilter, DeadLetters, DeadPage, DeadState, Moment, StoreError};
use longshore::system::System;
use operate::words::count;

use super::lab::{Lab, median};

/// How many times a question is asked to warm up, and how many times then.
const WARM: usize = 2;
const ASKED: usize = 9;

/// Each answer should take less, in milliseconds.
const AIM: f64 = 100.0;

/// The same for a text, which is looked for in every error.
const TEXT_AIM: f64 = 500.0;

/// The letters of a page, and one more that tells whether there is a next one.
const PAGE: u32 = 51;

/// The groups of `dead stats`.
const GROUPS: u32 = 20;

/// How many to look among.
#[derive(Debug, Args)]
#[command(after_help = "\
Fills a namespace of its own in PostgreSQL with dead letters of several queues and reasons, one in ten \
with an error of its own, and asks for lists, counts, groups and single letters, with each filter. A figure is \
the median of nine answers, after two that do not count. Everything is removed again.

Example:
  longshore-bench letters --json")]
pub(crate) struct LettersArgs {
    /// Dead letters to look among
    #[arg(long, default_value_t = 1_000_000, value_name = "N", value_parser = clap::value_parser!(i64).range(1000..))]
    letters: i64,
    /// Exit with 1 when a goal is missed
    #[arg(long)]
    pub(super) check: bool,
}

pub(super) async fn measure(
    lab: &Lab,
    args: &LettersArgs,
    report: &mut Report,
) -> Result<(), Failure> {
    if lab.config.database.url.is_embedded() {
        return Err(Failure::Usage(
            "letters: expected LONGSHORE_DATABASE_URL=postgres://…, found the embedded engine, \
             which is for far fewer of them"
                .to_owned(),
        ));
    }
    lab.on_a_system("", async |system| {
        let letters = args.letters.unsigned_abs();
        lab.say(&format!("keeping {}", count(letters, "dead letter")));
        let namespace = Namespace::new(system.config.namespace.as_str())?;
        let url = lab.config.database.url.expose();
        let begun = Instant::now();
        dead_letters::fill(url, &namespace, args.letters).await?;
        let seconds = begun.elapsed().as_secs_f64();
        lab.say(&format!("kept in {seconds:.0} s; asking for them"));
        ask(lab, system, report).await
    })
    .await
}

/// The filters, each by the name of its figure.
fn filters() -> Vec<(&'static str, DeadFilter)> {
    type Change = fn(&mut DeadFilter);
    fn ago(hours: i64) -> Option<Moment> {
        Some(Moment(now() - time::Duration::hours(hours)))
    }
    fn text(filter: &mut DeadFilter, text: &str) {
        filter.text = Some(text.to_owned());
    }
    let changes: [(&str, Change); 16] = [
        ("all", |_| {}),
        ("open", |it| it.state = Some(DeadState::Open)),
        ("queue", |it| {
            it.queue = Some("bench.integrate.ledger".to_owned());
        }),
        ("destination", |it| it.destination = Some("mail".to_owned())),
        ("type", |it| it.kind = Some("order.placed".to_owned())),
        ("reason", |it| it.reason = Some(ReasonCode::ReceiverGone)),
        ("cause", |it| it.cause = Some(Cause::Theirs)),
        ("window", |it| (it.since, it.until) = (ago(300), ago(5))),
        ("fingerprint", |it| {
            it.fingerprint = Some("connect to #: refused in outage C".to_owned());
        }),
        ("text_common", |it| text(it, "Expected A 2xx")),
        ("text_common_number", |it| text(it, "found 503 after 7")),
        ("text_in_old_ones", |it| text(it, "in outage D")),
        ("text_in_many_errors", |it| text(it, "order 7")),
        ("text_rare", |it| text(it, "order 712345 is")),
        ("text_nowhere", |it| text(it, "no such text")),
        ("text_and_others", |it| {
            text(it, "refused");
            it.destination = Some("shop".to_owned());
            it.state = Some(DeadState::Open);
        }),
    ];
    let filter = |change: Change| {
        let mut filter = DeadFilter::default();
        change(&mut filter);
        filter
    };
    changes.map(|(name, change)| (name, filter(change))).into()
}

async fn ask(lab: &Lab, system: &System, report: &mut Report) -> Result<(), Failure> {
    let store = system.store.as_ref();
    let first = DeadPage {
        after: None,
        limit: PAGE,
    };
    for (name, filter) in filters() {
        lab.check()?;
        let aim = if filter.text.is_some() { TEXT_AIM } else { AIM };
        let list = median_of(async || store.dead_page(&filter, first).await).await?;
        report.aim(format!("list_{name}"), list, Unit::Milliseconds, aim);
        let counted = median_of(async || store.dead_count(&filter).await).await?;
        report.aim(format!("count_{name}"), counted, Unit::Milliseconds, aim);
        let groups = median_of(async || store.dead_stats(&filter, GROUPS).await).await?;
        report.aim(format!("stats_{name}"), groups, Unit::Milliseconds, aim);
        let found = store.dead_count(&filter).await?;
        lab.say(&format!(
            "{name}: {found}; list {list:.1}, count {counted:.1}, stats {groups:.1} ms"
        ));
    }
    let deep = deep_page(store).await?;
    let list = median_of(async || store.dead_page(&DeadFilter::default(), deep).await).await?;
    report.aim("list_deep", list, Unit::Milliseconds, AIM);
    let Some((_, id)) = deep.after else {
        return Ok(());
    };
    let show = median_of(async || store.dead_letter(id).await).await?;
    report.aim("show", show, Unit::Milliseconds, AIM);
    let story = median_of(async || store.dead_story(id).await).await?;
    report.aim("story", story, Unit::Milliseconds, AIM);
    Ok(())
}

/// A page far behind the first.
async fn deep_page(store: &dyn DeadLetters) -> Result<DeadPage, StoreError> {
    let old = DeadFilter {
        until: Some(Moment(now() - time::Duration::days(10))),
        ..DeadFilter::default()
    };
    let page = DeadPage {
        after: None,
        limit: 1,
    };
    let found = store.dead_page(&old, page).await?;
    let after = found.first().map(|one| (one.last_failed_at.0, one.id));
    Ok(DeadPage { after, limit: PAGE })
}

/// The median of several answers, in milliseconds.
async fn median_of<T>(
    question: impl AsyncFn() -> Result<T, StoreError>,
) -> Result<f64, StoreError> {
    for _ in 0..WARM {
        question().await?;
    }
    let mut took = Vec::with_capacity(ASKED);
    for _ in 0..ASKED {
        let begun = Instant::now();
        question().await?;
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(median(took))
}
