//! `longshore audit`

use anyhow::anyhow;
use clap::{Args, Subcommand};
use common::bootstrap::Failure;
use common::store::{AuditEntry, AuditFilter, AuditOutcome, Store};
use operate::audit::{self, KeptHead, Verified};
use operate::words::moment;
use time::OffsetDateTime;

use crate::app::App;
use crate::output::{List, table};
use crate::when;

/// What to do with the audit record.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List who did what to what, newest first
    List(ListArgs),
    /// Check that no entry was altered, removed or added; exit code 1 with the first one that was
    Verify(VerifyArgs),
}

/// Which entries.
#[derive(Debug, Args)]
#[command(after_help = "\
In WHO, ACTION and TARGET, `*` stands for any characters, and A to Z count as a to z.

Examples:
  longshore audit list --action 'dead.*' --since 2h
  longshore audit list --outcome denied
  longshore audit list --target dead:0b8e4cde-8f9a-5b0e-a7a1-6d0f6a1f3c11
  longshore audit list --ndjson > audit.ndjson          the whole record")]
pub struct ListArgs {
    /// By this operator, such as `cli:ada` or `operator:ada`
    #[arg(long)]
    who: Option<String>,
    /// With this action, such as `dead.discard`
    #[arg(long)]
    action: Option<String>,
    /// About this, such as `dead:ID` or `operation:ID`
    #[arg(long)]
    target: Option<String>,
    /// With this outcome: allowed or denied
    #[arg(long)]
    outcome: Option<AuditOutcome>,
    /// Done then or later: a moment in RFC 3339, or how long ago it was, such as `2h`
    #[arg(long, value_name = "WHEN", value_parser = when::moment)]
    since: Option<OffsetDateTime>,
    /// Done before then
    #[arg(long, value_name = "WHEN", value_parser = when::moment)]
    until: Option<OffsetDateTime>,
    /// Maximum number of entries
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Begin after the page that gave this `next`
    #[arg(long, value_name = "CURSOR")]
    after: Option<i64>,
    /// Print every entry that matches, one JSON document a line
    #[arg(long, conflicts_with_all = ["limit", "after"])]
    ndjson: bool,
}

/// What to compare with.
#[derive(Debug, Args)]
#[command(after_help = "\
Prints how many entries there are, and the hash of the newest one. Keep both where nobody who can write to the \
database can write, and give them to a later check: only so does a record show that was written anew as a whole.

Example:
  longshore audit verify --expect 41:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
pub struct VerifyArgs {
    /// The count and hash that an earlier check has printed
    #[arg(long, value_name = "ENTRIES:HASH")]
    expect: Option<KeptHead>,
}

pub(crate) async fn run(app: &App, command: AuditCommand) -> Result<(), Failure> {
    let store = app.store()?;
    let done = match command {
        AuditCommand::List(args) => list(app, store.as_ref(), args).await,
        AuditCommand::Verify(args) => verify(app, store.as_ref(), args.expect.as_ref()).await,
    };
    store.close().await;
    done
}

async fn list(app: &App, store: &dyn Store, args: ListArgs) -> Result<(), Failure> {
    // Anybody with a role may read the record; a wrong key may not.
    let by = app.requester(store).await?;
    let filter = AuditFilter {
        who: args.who,
        action: args.action,
        target: args.target,
        outcome: args.outcome,
        since: args.since,
        until: args.until,
    };
    if args.ndjson {
        let line = |entry| app.output.line(&by.reads(entry));
        return audit::export(store, &filter, line).await;
    }
    let page = audit::page(store, &filter, args.after, args.limit).await?;
    app.output.show(&by.reads(page), entries)
}

fn entries(list: &List<AuditEntry>) -> String {
    if list.items.is_empty() {
        return "no entries match".to_owned();
    }
    let row = |entry: &AuditEntry| {
        vec![
            entry.seq.to_string(),
            moment(entry.at.0),
            entry.who.clone(),
            entry.action.clone(),
            entry.outcome.to_string(),
            entry.target.clone(),
            entry.why.clone().unwrap_or_default(),
        ]
    };
    let header = ["seq", "when", "who", "action", "outcome", "target", "why"];
    let mut text = table(&header, list.items.iter().map(row).collect());
    if let Some(next) = &list.next {
        text.push_str(&format!("\n\nmore: --after {next}"));
    }
    text
}

async fn verify(app: &App, store: &dyn Store, kept: Option<&KeptHead>) -> Result<(), Failure> {
    app.requester(store).await?;
    let verified = audit::verify(store, kept).await?;
    app.output.show(&verified, verdict)?;
    match verified.problem {
        None => Ok(()),
        Some(problem) => Err(Failure::Failed(anyhow!("the record is broken: {problem}"))),
    }
}

fn verdict(verified: &Verified) -> String {
    let entries = match verified.entries {
        1 => "1 entry".to_owned(),
        number => format!("{number} entries"),
    };
    let state = if verified.whole {
        "the record is whole"
    } else {
        "in order up to the first one that is not"
    };
    format!(
        "{entries}, {state}\nhead {}:{}",
        verified.entries, verified.head
    )
}
