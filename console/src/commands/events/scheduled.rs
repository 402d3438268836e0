//! `longshore events scheduled`

use clap::Args;
use common::bootstrap::Failure;
use common::store::ScheduledEvent;
use operate::page::Cursor;
use operate::words::moment;

use crate::app::App;
use crate::output::table;

/// Which page of the list.
#[derive(Debug, Args)]
pub struct ScheduledArgs {
    /// Maximum length of the list
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// The `next` of the page before
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,
}

pub(super) async fn run(app: &App, args: ScheduledArgs) -> Result<(), Failure> {
    let store = app.store()?;
    let list = operate::events::scheduled(store.as_ref(), args.after, args.limit).await;
    store.close().await;
    app.output.show(&list?, |list| {
        if list.items.is_empty() {
            return "no event waits for its moment".to_owned();
        }
        let header = ["not before", "id", "type", "source", "received"];
        let mut text = table(&header, list.items.iter().map(row).collect());
        if let Some(next) = &list.next {
            text.push_str(&format!("\n\nmore: --after {next}"));
        }
        text
    })
}

fn row(event: &ScheduledEvent) -> Vec<String> {
    vec![
        moment(event.not_before.0),
        event.id.to_string(),
        event.kind.clone(),
        event.source.clone(),
        moment(event.received_at.0),
    ]
}
