//! `longshore keys rotate`

use std::time::Duration;

use clap::Args;
use common::bootstrap::Failure;
use common::config::duration;
use common::key::KeyId;
use operate::words::moment;
use serde_json::json;

use super::{document, text};
use crate::app::App;

/// Which key, and how long it goes on.
#[derive(Debug, Args)]
#[command(after_help = "\
Both keys open the same until the old one ends. They have one name, so no event id changes.

Examples:
  longshore keys rotate 4fK2mQ9x --overlap 24h
  longshore keys rotate 4fK2mQ9x --overlap 0s --why 'it was in a log'")]
pub struct RotateArgs {
    /// The key, by its id
    id: KeyId,
    /// How long the old key goes on
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration::parse)]
    overlap: Duration,
    /// The reason, kept with the record
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

pub(super) async fn run(app: &App, args: RotateArgs) -> Result<(), Failure> {
    let store = app.store()?;
    let rotating = async {
        let by = app.requester(store.as_ref()).await?;
        operate::keys::rotate(store.as_ref(), &by, &args.id, args.overlap, args.why).await
    };
    let rotated = rotating.await;
    store.close().await;
    let (made, old) = rotated?;
    let mut shown = document(&made);
    shown["replaces"] = json!({ "id": old.id, "expires_at": old.expires_at });
    app.output.show(&shown, |_| {
        let end = old.expires_at.map(|at| moment(at.0)).unwrap_or_default();
        format!("{}\nThe old key {} ends at {end}.", text(&made), old.id)
    })
}
