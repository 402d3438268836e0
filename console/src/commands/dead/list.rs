//! `longshore dead list`

use clap::{Args, ValueEnum};
use common::bootstrap::Failure;
use common::event::now;
use common::store::{DeadFilter, DeadLetters, DeadPage, DeadState, DeadSummary};
use common::topology::Names;
use time::OffsetDateTime;

use super::filter::{FilterArgs, WHICH, short_name};
use crate::app::App;
use crate::cursor::Cursor;
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
    /// At most so many
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
    let page = page(store.as_ref(), &filter, args.after, args.limit).await;
    store.close().await;
    let names = app.names();
    app.output.show(&page?, |list| text(list, &names, now()))
}

/// One page, and where the next one begins.
async fn page(
    store: &dyn DeadLetters,
    filter: &DeadFilter,
    after: Option<Cursor>,
    limit: u32,
) -> Result<List<DeadSummary>, Failure> {
    let after = after.map(|cursor| (cursor.at, cursor.id));
    // One more than is shown tells whether there is a next page.
    let mut items = store
        .dead_page(
            filter,
            DeadPage {
                after,
                limit: limit + 1,
            },
        )
        .await?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let last = items.last().filter(|_| more);
    let next = last.map(|last| {
        Cursor {
            at: last.last_failed_at.0,
            id: last.id,
        }
        .to_string()
    });
    Ok(List { items, next })
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

#[cfg(test)]
mod tests {
    use super::*;
    use operate::testbed;

    #[tokio::test]
    async fn pages_hold_every_letter_once_and_the_last_one_says_so() {
        let store = testbed::store().await;
        let letters: Vec<_> = (0..7).map(|_| testbed::letter("longshore.store")).collect();
        store.keep_dead(&letters).await.unwrap();
        let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = page(&store, &DeadFilter::default(), after, 3)
                .await
                .unwrap();
            seen.extend(page.items.iter().map(|letter| letter.id));
            pages += 1;
            let Some(next) = page.next else { break };
            after = Some(next.parse().unwrap());
        }
        let distinct: std::collections::HashSet<_> = seen.iter().collect();
        assert_eq!((pages, seen.len(), distinct.len()), (3, 7, 7));
    }
}
