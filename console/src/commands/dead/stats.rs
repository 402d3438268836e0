//! `longshore dead stats`

use std::collections::BTreeSet;

use clap::Args;
use common::bootstrap::Failure;
use common::event::now;
use common::reason::ReasonCode;
use common::store::DeadFilter;
use common::topology::Names;
use operate::dead::{self, Group};
use operate::queues::short_name;
use time::OffsetDateTime;

use super::filter::{FilterArgs, WHICH};
use super::list::StateArg;
use super::spark;
use crate::app::App;
use crate::output::{List, pairs, table};
use crate::shell;
use crate::when::ago;

/// Which dead letters to count.
#[derive(Debug, Args)]
#[command(after_help = "\
Ten thousand dead letters are few problems: each line is one of them. Numbers, ids and quoted texts in \
errors become #, so that errors of one kind count as one. `dead list`, `replay` and `discard` take the \
error as it is shown here with --fingerprint.

Examples:
  longshore dead stats --state open
  longshore dead stats --destination crm --since 1day")]
pub struct StatsArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// In this state
    #[arg(long, help_heading = WHICH)]
    state: Option<StateArg>,
    /// Maximum number of groups, the largest first
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

pub(super) async fn run(app: &App, args: StatsArgs) -> Result<(), Failure> {
    let names = app.names();
    let filter = DeadFilter {
        state: args.state.map(Into::into),
        ..args.filter.filter(&names)
    };
    let store = app.store()?;
    let groups = dead::stats(store.as_ref(), &filter, args.limit).await;
    store.close().await;
    app.output.show(&List::whole(groups?), |list| {
        text(&list.items, &names, now())
    })
}

fn text(groups: &[Group], names: &Names, now: OffsetDateTime) -> String {
    if groups.is_empty() {
        return "no dead letters match".to_owned();
    }
    let row = |Group { group, .. }: &Group| {
        vec![
            group.letters.to_string(),
            group.open.to_string(),
            short_name(&group.queue, names).to_owned(),
            group.reason.to_string(),
            format!("{} ago", ago(group.first.0, now)),
            format!("{} ago", ago(group.last.0, now)),
            spark::line(&group.history, group.last),
            group.fingerprint.clone(),
        ]
    };
    let header = [
        "letters",
        "open",
        "queue",
        "reason",
        "first",
        "last",
        "24 hours to the last",
        "error",
    ];
    let mut text = table(&header, groups.iter().map(row).collect());
    if let Some(Group { group, .. }) = groups.first() {
        text.push_str(&format!(
            "\n\nThe first of these\n\n  {} dead list --queue {} --fingerprint {}",
            shell::called(),
            short_name(&group.queue, names),
            shell::quoted(&group.fingerprint)
        ));
    }
    let reasons: BTreeSet<ReasonCode> = groups.iter().map(|it| it.group.reason).collect();
    text.push_str("\n\nWhat to do first\n\n");
    let first = |code: ReasonCode| (code.as_str(), code.action().sentence().to_owned());
    text.push_str(&pairs(reasons.into_iter().map(first)));
    text
}

#[cfg(test)]
mod tests {
    use common::namespace::Namespace;
    use common::store::{DeadGroup, Hourly, Moment};
    use time::macros::datetime;

    use super::*;

    fn group() -> Group {
        let last = datetime!(2026-11-22 10:20 UTC);
        Group::from(DeadGroup {
            queue: "longshore.integrate.crm".to_owned(),
            reason: ReasonCode::ReceiverFailing,
            destination: Some("crm".to_owned()),
            fingerprint: "expected a #xx, found #".to_owned(),
            letters: 30,
            open: 20,
            first: Moment(datetime!(2026-11-20 10:20 UTC)),
            last: Moment(last),
            history: vec![Hourly {
                hour: Moment(datetime!(2026-11-22 10:00 UTC)),
                letters: 30,
            }],
        })
    }

    #[test]
    fn a_line_tells_how_many_where_why_and_since_when() {
        let now = datetime!(2026-11-22 11:20 UTC);
        let told = text(&[group()], &Names::new(Namespace::default()), now);
        let cells: Vec<&str> = told.lines().nth(1).unwrap().split_whitespace().collect();
        let line = format!("{}▇", "·".repeat(23));
        assert_eq!(
            cells[..8],
            [
                "30",
                "20",
                "integrate.crm",
                "receiver_failing",
                "2d",
                "ago",
                "1h",
                "ago"
            ]
        );
        assert!(told.contains(&line), "{told}");
        assert!(told.contains("then replay it"), "{told}");
        let first = "dead list --queue integrate.crm --fingerprint 'expected a #xx, found #'";
        assert!(told.contains(first), "{told}");
    }

    #[test]
    fn programs_get_numbers() {
        let json = serde_json::to_value(group()).unwrap();
        assert_eq!(json["action"], "replay_when_fixed");
        assert_eq!(json["first"], "2026-11-20T10:20:00Z");
        assert_eq!(json["history"][0]["letters"], 30);
    }
}
