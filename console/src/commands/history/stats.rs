//! `longshore history stats`

use common::bootstrap::Failure;
use common::store::Moment;
use operate::history::stats::{Stats, stats};
use operate::words::{count, moment};

use crate::app::App;
use crate::output::{spinner, table};

pub(super) async fn run(app: &App) -> Result<(), Failure> {
    let broker = app.believed_broker().await?;
    let logins = app.config.broker.logins();
    let spinner = spinner("read");
    let stats = stats(broker.as_ref(), &logins, || spinner.inc(1)).await;
    spinner.finish_and_clear();
    broker.close().await;
    app.output.show(&stats?, text)
}

fn text(stats: &Stats) -> String {
    let at = |at: Option<Moment>| at.map_or_else(|| "unknown".to_owned(), |at| moment(at.0));
    if stats.entries == 0 {
        return "the history is empty".to_owned();
    }
    let mut text = format!(
        "{} from {} to {}",
        count(stats.entries, "message"),
        at(stats.from),
        at(stats.to)
    );
    let row = |(kind, number): (&String, &u64)| vec![kind.clone(), number.to_string()];
    text.push_str("\n\n");
    text.push_str(&table(
        &["type", "messages"],
        stats.types.iter().map(row).collect(),
    ));
    text
}
