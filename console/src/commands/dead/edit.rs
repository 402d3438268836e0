//! `longshore dead edit`

mod editor;

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use common::bootstrap::Failure;
use common::store::{Editable, Store};
use common::telemetry::stderr;
use operate::edit::{Mended, Mending, Setting};
use uuid::Uuid;

use crate::app::App;
use crate::confirm::confirm;
use crate::output::clean;
use crate::{shell, stop};

/// Which letter to mend, and how.
#[derive(Debug, Args)]
#[command(after_help = "\
Opens the letter in $VISUAL or $EDITOR, unless --patch or --set say what to change. The event must then \
follow the schema and the rules of its type; one that has an event id must still be the same event (id, \
source and type). A message that is no event yet can be given what it lacks: content_type, \
content_encoding, routing_key, specversion, type, source, id, time, subject, dataschema, and with --set any \
header:NAME of the publisher's. What was before is kept, with who and why, and nothing is sent: that is \
`longshore dead replay`. Only open letters can be mended. The editor shows the body as it is, secrets included.

Examples:
  longshore dead edit 0b8e4cde-8f9a-5b0e-a7a1-6d0f6a1f3c11
  echo '{\"data\":{\"locale\":\"de-AT\",\"plan\":null}}' |
    longshore dead edit 0b8e4cde-8f9a-5b0e-a7a1-6d0f6a1f3c11 --patch - --why 'CRM wants a locale'
  longshore dead edit 0b8e4cde-8f9a-5b0e-a7a1-6d0f6a1f3c11 --set type=signup.requested \\
    --set content_type=application/json --set time=2026-01-02T03:04:05Z")]
pub struct EditArgs {
    /// The dead letter's id
    id: Uuid,
    /// A JSON Merge Patch (RFC 7396) for the body, instead of an editor; `-` is standard input
    #[arg(long, value_name = "FILE")]
    patch: Option<PathBuf>,
    /// Sets one of the names below (times as in RFC 3339), instead of an editor; an empty VALUE takes it away. May
    /// be given several times
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<Setting>,
    /// The reason, kept with the record
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Check it and show what would change, and save nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(app: &App, args: EditArgs) -> Result<(), Failure> {
    let store = app.store()?;
    let mended = mend(app, args, store.as_ref()).await;
    store.close().await;
    app.output.show(&mended?, text)
}

async fn mend(app: &App, args: EditArgs, store: &dyn Store) -> Result<Mended, Failure> {
    let by = app.requester(store).await?;
    let mending = Mending::begin(store, &app.config, args.id, &by).await?;
    let after = if args.patch.is_none() && args.settings.is_empty() {
        edit_by_hand(&mending).await?
    } else {
        let patch = args.patch.as_deref().map(read).transpose()?;
        mending.changed(patch.as_deref(), &args.settings)?
    };
    mending.save(after, args.why, args.dry_run).await
}

/// The letter as edited by hand. It is edited again and again until it is fit or the user gives up.
async fn edit_by_hand(mending: &Mending<'_>) -> Result<Editable, Failure> {
    let editor = editor::command()?;
    let draft = mending.draft()?;
    if !draft.is_json() {
        stderr::say("the body is not JSON; opening it as plain text");
    }
    // Ctrl-C belongs to the editor while it runs. If it ended this process too, the file would stay behind.
    let stop = stop::on_signals()?;
    let mut text = draft.text().to_owned();
    loop {
        let (editor, given) = (editor.clone(), text);
        let edited = tokio::task::spawn_blocking(move || editor::edit(&editor, &given));
        text = edited.await.map_err(anyhow::Error::from)??;
        if stop.is_cancelled() {
            return Err(Failure::Failed(anyhow!("stopped, so nothing was saved")));
        }
        let checked = match draft.read(&text) {
            Ok(after) if text == draft.text() => return Ok(after),
            Ok(after) => mending.check(&after).map(|()| after),
            Err(unfit) => Err(unfit),
        };
        match checked {
            Ok(after) => return Ok(after),
            Err(unfit) if std::io::stdin().is_terminal() => {
                stderr::say(&clean(&unfit.to_string()));
                confirm("open the editor again", false)?;
            }
            Err(unfit) => return Err(unfit.into_failure()),
        }
    }
}

/// The text of a file or of standard input.
fn read(file: &Path) -> Result<String, Failure> {
    if file == Path::new("-") {
        let mut text = String::new();
        let read = std::io::stdin().lock().read_to_string(&mut text);
        read.context("cannot read the patch from standard input")?;
        return Ok(text);
    }
    let text = std::fs::read_to_string(file);
    Ok(text.with_context(|| format!("cannot read the patch {}", file.display()))?)
}

fn text(mended: &Mended) -> String {
    if mended.diff.is_empty() {
        return "nothing was changed".to_owned();
    }
    let diff = clean(&mended.diff);
    if !mended.saved {
        return format!("{diff}\ndry run: nothing saved");
    }
    let called = shell::called();
    format!(
        "{diff}\nsaved, and what was before is kept ({called} dead show {id})\nTo send it: {called} dead replay {id}",
        id = mended.letter
    )
}
