//! `longshore events cancel`

use clap::Args;
use common::bootstrap::Failure;
use common::event::EventId;
use common::store::Cancelled;
use serde_json::json;

use crate::app::App;
use crate::confirm::confirm;

/// Which event, and why.
#[derive(Debug, Args)]
#[command(after_help = "\
Only an event that waits for its moment can be cancelled. Nobody gets it then, and that cannot be taken back.

Example:
  longshore events cancel 01936b2e-7c1f-7d3e-9a50-3f6c2f1d8e44 --why 'the order was cancelled'")]
pub struct CancelArgs {
    /// The event id
    id: EventId,
    /// The reason, kept with the record
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Do not ask first
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn run(app: &App, args: CancelArgs) -> Result<(), Failure> {
    confirm(&format!("cancel event {}", args.id), args.yes)?;
    let store = app.store()?;
    let cancelling = async {
        let by = app.requester(store.as_ref()).await?;
        operate::events::cancel(store.as_ref(), args.id, args.why, &by).await
    };
    let cancelled = cancelling.await;
    store.close().await;
    let cancelled = cancelled?;
    let document =
        json!({ "id": args.id, "status": "cancelled", "before": cancelled == Cancelled::Before });
    app.output.show(&document, |_| match cancelled {
        Cancelled::Before => format!("{} was cancelled before", args.id),
        _ => format!("{} is cancelled", args.id),
    })
}
