//! `longshore keys check`

use std::io::Read as _;

use clap::Args;
use common::bootstrap::Failure;
use common::key::Key;
use operate::keys::KeyState;

use super::details;
use crate::app::App;

/// Maximum length of what is read, in bytes: a key is far shorter.
const LONGEST: u64 = 4096;

/// Which text.
#[derive(Debug, Args)]
#[command(after_help = "\
Give `-` and send the key to standard input: other users of the machine see the arguments of a command.

Exit codes: 0 it opens something, 1 it is a key that opens nothing here, 2 it is no key (a mistyped one has a wrong checksum).

Example:
  longshore keys check - <<< \"$KEY\"")]
pub struct CheckArgs {
    /// The key, or `-` for standard input
    #[arg(value_name = "KEY")]
    key: String,
}

pub(super) async fn run(app: &App, args: CheckArgs) -> Result<(), Failure> {
    let text = match args.key.as_str() {
        "-" => read()?,
        _ => args.key,
    };
    let key = Key::parse(text.trim()).map_err(|error| Failure::Usage(error.to_string()))?;
    let store = app.store()?;
    let found = operate::keys::find(store.as_ref(), &key).await;
    store.close().await;
    let found = found?;
    let state = found.state;
    app.output.show(&found, details)?;
    match state {
        KeyState::Valid => Ok(()),
        KeyState::Expired | KeyState::Revoked => Err(Failure::Failed(anyhow::anyhow!(
            "expected a valid key, found one that is {}",
            state.as_str()
        ))),
    }
}

fn read() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin()
        .lock()
        .take(LONGEST)
        .read_to_string(&mut text);
    read.map_err(|error| {
        Failure::Usage(format!("standard input: expected a key, found: {error}"))
    })?;
    Ok(text)
}
