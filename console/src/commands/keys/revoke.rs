//! `longshore keys revoke`

use clap::Args;
use common::bootstrap::Failure;
use common::key::KeyId;

use super::details;
use crate::app::App;
use crate::confirm::confirm;

/// Which key, and why.
#[derive(Debug, Args)]
#[command(after_help = "\
A revoked key opens nothing any more, within a second at every door, and stays in the list. It cannot be taken back.

Example:
  longshore keys revoke 4fK2mQ9x --why 'it was in a public repository'")]
pub struct RevokeArgs {
    /// The key, by its id
    id: KeyId,
    /// The reason, kept with the record
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Do not ask first
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn run(app: &App, args: RevokeArgs) -> Result<(), Failure> {
    confirm(&format!("revoke key {}", args.id), args.yes)?;
    let store = app.store()?;
    let revoking = async {
        let by = app.requester(store.as_ref()).await?;
        operate::keys::revoke(store.as_ref(), &by, &args.id, args.why).await
    };
    let revoked = revoking.await;
    store.close().await;
    app.output.show(&revoked?, details)
}
