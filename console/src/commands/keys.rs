//! `longshore keys`

mod check;
mod create;
mod list;
mod revoke;
mod rotate;

use clap::Subcommand;
use common::bootstrap::Failure;
use operate::keys::{Listed, Made};
use operate::words::moment as moment_text;
use serde_json::{Value, json};

use crate::app::App;
use crate::output::pairs;

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key for a caller, and show it this once
    Create(create::CreateArgs),
    /// List keys, newest first
    List(list::ListArgs),
    /// Make a key that takes the place of another, which goes on for a while
    Rotate(rotate::RotateArgs),
    /// End a key for good, within a second at every door
    Revoke(revoke::RevokeArgs),
    /// Say whether a text is a key, and what it opens
    Check(check::CheckArgs),
}

pub(crate) async fn run(app: &App, command: KeysCommand) -> Result<(), Failure> {
    match command {
        KeysCommand::Create(args) => create::run(app, args).await,
        KeysCommand::List(args) => list::run(app, args).await,
        KeysCommand::Rotate(args) => rotate::run(app, args).await,
        KeysCommand::Revoke(args) => revoke::run(app, args).await,
        KeysCommand::Check(args) => check::run(app, args).await,
    }
}

/// A new key as JSON: the only document that holds a whole key.
fn document(made: &Made) -> Value {
    json!({
        "id": made.key.id(),
        "key": made.key.expose(),
        "name": made.known.name,
        "scopes": made.known.scopes,
    })
}

/// A new key for a person.
fn text(made: &Made) -> String {
    let lines = pairs([
        ("key", made.key.expose().to_owned()),
        ("id", made.key.id().to_string()),
        ("name", made.known.name.to_string()),
        ("scopes", made.known.scopes.to_string()),
    ]);
    format!("{lines}\nThe key is shown this once. Callers send it as `Authorization: Bearer KEY`.")
}

/// All of a key but its secret, for a person.
fn details(key: &Listed) -> String {
    let moment = |at: Option<common::store::Moment>| at.map(|at| moment_text(at.0));
    pairs([
        ("id", key.id.to_string()),
        ("name", key.name.to_string()),
        ("scopes", key.scopes.to_string()),
        ("state", key.state.as_str().to_owned()),
        ("expires", moment(key.expires_at).unwrap_or_default()),
        ("revoked", moment(key.revoked_at).unwrap_or_default()),
        ("by", key.revoked_by.clone().unwrap_or_default()),
        ("why", key.revoked_why.clone().unwrap_or_default()),
    ])
}
