//! `longshore dead list`

use clap::{Args, ValueEnum};
use common::bootstrap::Failure;
use common::event::now;
use common::store::{DeadFilter, DeadState, DeadSummary};
use common::topology::Names;
use operate::page::Cursor;
use operate::queues::short_name;
use time::OffsetDateTime;

use super::filter::{FilterArgs, WHICH};
use crate::app::App;
use crate::output::{List, table};
use crate::when::ago;

/// Which page of which dead letters.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore dead list --state open
  longshore dead list --destination crm --reason receiver_failing --limit 20
  longshore dead list --cause theirs --since 2h --text 'connection refused'
  longshore dead list --after 1795334400000000_0193…   the page after the one that gave this `next`")]
pub struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// In this state
    #[arg(long, help_heading = WHICH)]
    state: Option<StateArg>,
    /// Maximum length of the list
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Begin after the page that gave this `next`
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,
}

/// What has been done about a letter.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum StateArg {
    /// Nothing yet
    Open,
    /// A replay has claimed it
    Replaying,
    /// It was sent again
    Replayed,
    /// It was given up
    Discarded,
    /// A later generation died or was delivered
    Superseded,
}

impl From<StateArg> for DeadState {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Open => Self::Open,
            StateArg::Replaying => Self::Replaying,
            StateArg::Replayed => Self::Replayed,
            StateArg::Discarded => Self::Discarded,
            StateArg::Superseded => Self::Superseded,
        }
    }
}

pub(super) async fn run(app: &App, args: ListArgs) -> Result<(), Failure> {
    let filter = DeadFilter {
        state: args.state.map(Into::into),
        ..args.filter.filter(&app.names())
    };
    let store = app.store()?;
    let page = async {
        let by = app.requester(store.as_ref()).await?;
        let found = operate::dead::page(store.as_ref(), &filter, args.after, args.limit).await?;
        Ok::<_, Failure>(by.reads(found))
    };
    let page = page.await;
    store.close().await;
    let names = app.names();
    app.output.show(&page?, |list| text(list, &names, now()))
}

fn text(list: &List<DeadSummary>, names: &Names, now: OffsetDateTime) -> String {
    if list.items.is_empty() {
        return "no dead letters match".to_owned();
    }
    let row = |letter: &DeadSummary| {
        vec![
            letter.id.to_string(),
            format!("{} ago", ago(letter.last_failed_at.0, now)),
            letter.state.to_string(),
            short_name(&letter.queue, names).to_owned(),
            letter.kind.clone().unwrap_or_default(),
            letter.reason.to_string(),
            letter.copies.to_string(),
            letter.error.chars().take(80).collect(),
        ]
    };
    let header = [
        "id", "died", "state", "queue", "type", "reason", "came", "error",
    ];
    let mut text = table(&header, list.items.iter().map(row).collect());
    if let Some(next) = &list.next {
        text.push_str(&format!("\n\nmore: --after {next}"));
    }
    text
}
