//! The preview of a replay.

use std::collections::BTreeMap;

use common::bootstrap::Failure;
use common::reason::ReasonCode;
use common::store::{DeadFilter, DeadLetters, DeadPage, DeadSummary};
use common::topology::{Names, Stage};
use operate::operation::configuration_problem;
use operate::words::count;
use serde::Serialize;

use crate::app::App;
use crate::output::table;

/// Maximum of groups that are looked at; there are seldom more than a few.
const GROUPS: u32 = 1000;

/// Maximum of letters that are shown.
const EXAMPLES: u32 = 5;

/// The letters that would be sent.
#[derive(Serialize)]
struct Preview {
    would_replay: u64,
    filter: DeadFilter,
    to: Option<String>,
    /// The letters by queue and reason.
    groups: Vec<Group>,
    /// The newest letters.
    examples: Vec<DeadSummary>,
}

/// Letters that died in one queue for one reason.
#[derive(Serialize)]
struct Group {
    queue: String,
    reason: ReasonCode,
    letters: u64,
    /// The queue that the letters go to.
    goes_to: String,
    /// Why they could not be sent, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

pub(super) async fn show(
    app: &App,
    store: &dyn DeadLetters,
    open: &DeadFilter,
    to: Option<&str>,
    found: u64,
) -> Result<(), Failure> {
    let (topology, names) = (app.topology(), app.names());
    let mut groups: BTreeMap<(String, &'static str), Group> = BTreeMap::new();
    for group in store.dead_stats(open, GROUPS).await? {
        let goes_to = goes_to(&names, &group.queue, to);
        let problem = configuration_problem(&topology, &goes_to);
        let key = (group.queue.clone(), group.reason.as_str());
        let sum = groups.entry(key).or_insert_with(|| Group {
            queue: group.queue,
            reason: group.reason,
            letters: 0,
            goes_to,
            problem,
        });
        sum.letters += group.open;
    }
    let mut groups: Vec<Group> = groups.into_values().filter(|it| it.letters > 0).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.letters));
    let page = DeadPage {
        after: None,
        limit: EXAMPLES,
    };
    let preview = Preview {
        would_replay: found,
        filter: open.clone(),
        to: to.map(str::to_owned),
        groups,
        examples: store.dead_page(open, page).await?,
    };
    app.output.show(&preview, text)
}

/// The queue that letters of `queue` go to. Letters that came to the archive's own queues past every stage go
/// through the door.
fn goes_to(names: &Names, queue: &str, to: Option<&str>) -> String {
    match (to, names.stage_of(queue)) {
        (Some(to), _) => to.to_owned(),
        (None, Some((Stage::Archive, _))) => names.validate(),
        (None, _) => Names::without_suspect(queue).to_owned(),
    }
}

fn text(preview: &Preview) -> String {
    let mut text = format!(
        "{} would be sent again",
        count(preview.would_replay, "dead letter")
    );
    if preview.would_replay == 0 {
        return text;
    }
    let row = |group: &Group| {
        vec![
            group.letters.to_string(),
            group.queue.clone(),
            group.reason.to_string(),
            match &group.problem {
                Some(problem) => format!("stay open: {problem}"),
                None => format!("to {}", group.goes_to),
            },
        ]
    };
    text.push_str("\n\n");
    text.push_str(&table(
        &["letters", "died in", "reason", ""],
        preview.groups.iter().map(row).collect(),
    ));
    let example = |letter: &DeadSummary| {
        vec![
            letter.id.to_string(),
            letter.kind.clone().unwrap_or_default(),
            letter.queue.clone(),
            letter.error.clone(),
        ]
    };
    text.push_str("\n\n");
    text.push_str(&table(
        &["such as", "type", "queue", "error"],
        preview.examples.iter().map(example).collect(),
    ));
    text
}
