//! `longshore dead edit`

mod editor;

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use clap::Args;
use common::bootstrap::Failure;
use common::event::Types;
use common::store::{DeadEdit, DeadLetter, DeadState, Editable, Edited, Mending, Store};
use common::telemetry::stderr;
use operate::edit::{self, Setting};
use serde::Serialize;
use uuid::Uuid;

use super::diff::diff;
use super::replay::who;
use super::show::no_such_letter;
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
    /// Why, for whoever looks at it later
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Check it and show what would change, and save nothing
    #[arg(long)]
    dry_run: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Mended {
    letter: Uuid,
    saved: bool,
    /// Empty where nothing was changed.
    diff: String,
}

pub(super) async fn run(app: &App, args: EditArgs) -> Result<(), Failure> {
    let store = app.store()?;
    let mended = mend(app, &args, store.as_ref()).await;
    store.close().await;
    app.output.show(&mended?, text)
}

async fn mend(app: &App, args: &EditArgs, store: &dyn Store) -> Result<Mended, Failure> {
    let found = store.dead_letter(args.id).await?;
    let letter = found.ok_or_else(|| no_such_letter(app, args.id))?;
    if letter.state != DeadState::Open {
        return Err(not_open(letter.id, letter.state));
    }
    let types = Types::with(&app.config.types).map_err(anyhow::Error::from)?;
    let limits = app.config.limits.events();
    let logins = app.config.broker.logins();
    let check = |after: &Editable| edit::check(&letter, after, &types, limits, &logins);
    let before = Editable::from(&letter);
    let after = if args.patch.is_none() && args.settings.is_empty() {
        by_hand(&letter, check).await?
    } else {
        let mut after = before.clone();
        if let Some(file) = &args.patch {
            after.message.body = patched(&after.message.body, &read(file)?)?;
        }
        let after = edit::set(&after, &args.settings).map_err(anyhow::Error::from)?;
        if after != before {
            check(&after).map_err(unfit)?;
        }
        after
    };
    if after == before {
        return Ok(Mended {
            letter: letter.id,
            saved: false,
            diff: String::new(),
        });
    }
    let edit = DeadEdit {
        letter: letter.id,
        before,
        after,
        who: who(),
        why: args.why.clone(),
    };
    if !args.dry_run {
        save(store, &edit).await?;
    }
    Ok(Mended {
        letter: letter.id,
        saved: !args.dry_run,
        diff: difference(&edit),
    })
}

/// What an edit changes, secrets masked.
fn difference(edit: &DeadEdit) -> String {
    let (before, after) = (&edit.before, &edit.after);
    let mut told = String::new();
    let envelopes = [before, after].map(|it| it.envelope().to_string());
    if envelopes[0] != envelopes[1] {
        told.push_str(&diff(envelopes[0].as_bytes(), envelopes[1].as_bytes()));
    }
    if before.message.body != after.message.body {
        told.push_str(&diff(&before.message.body, &after.message.body));
    }
    told
}

/// Saves an edit, unless something has happened to the letter since it was read.
async fn save(store: &dyn Mending, edit: &DeadEdit) -> Result<(), Failure> {
    match store.edit_dead(edit).await? {
        Edited::Saved => Ok(()),
        Edited::NotOpen(state) => Err(not_open(edit.letter, state)),
        Edited::Changed => Err(Failure::Failed(anyhow!(
            "somebody else has changed dead letter {} in between, so nothing was saved; `longshore dead show {0}` \
             says who",
            edit.letter
        ))),
        Edited::NoSuchLetter => Err(Failure::Failed(anyhow!(
            "dead letter {} was removed in between, so nothing was saved",
            edit.letter
        ))),
    }
}

fn not_open(id: Uuid, state: DeadState) -> Failure {
    let hint = match state {
        DeadState::Discarded => format!("; `longshore dead restore {id}` opens it again"),
        DeadState::Superseded => {
            format!("; `longshore dead show {id}` names the event's later letters")
        }
        _ => String::new(),
    };
    Failure::Failed(anyhow!(
        "expected an open dead letter, found {id} {state}{hint}"
    ))
}

fn unfit(unfit: edit::Unfit) -> Failure {
    Failure::Failed(anyhow!("nothing was saved: {unfit}"))
}

/// The body with a patch applied.
fn patched(body: &Bytes, patch: &str) -> Result<Bytes, Failure> {
    let after = edit::patched(readable(body)?, patch).map_err(anyhow::Error::from)?;
    Ok(after.into())
}

/// The letter as somebody has edited it, again and again until it is fit or they give up. Of an event of ours
/// only the body can be edited: all else is settled.
async fn by_hand(
    letter: &DeadLetter,
    check: impl Fn(&Editable) -> Result<(), edit::Unfit>,
) -> Result<Editable, Failure> {
    let editor = editor::command()?;
    let before = Editable::from(letter);
    let body = readable(&before.message.body)?;
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok();
    if !is_json {
        stderr::say("the body is not JSON; opening it as plain text");
    }
    let mut shown = if is_json {
        edit::pretty(body)
    } else {
        body.to_owned()
    };
    let is_whole = letter.event.is_none();
    if is_whole {
        shown = edit::form(&before, &shown);
    }
    // Ctrl-C is the editor's while it runs; were it ours too, the file would stay behind.
    let stop = stop::on_signals()?;
    let mut text = shown.clone();
    loop {
        let (editor, given) = (editor.clone(), text);
        let edited = tokio::task::spawn_blocking(move || editor::edit(&editor, &given));
        text = edited.await.map_err(anyhow::Error::from)??;
        if stop.is_cancelled() {
            return Err(Failure::Failed(anyhow!("stopped, so nothing was saved")));
        }
        if text == shown {
            return Ok(before);
        }
        let mended = if is_whole {
            of_form(&before, &text)
        } else {
            Ok(with_body(&before, &text))
        };
        let checked = mended.and_then(|mended| check(&mended).map(|()| mended));
        match checked {
            Ok(mended) => return Ok(mended),
            Err(wrong) if std::io::stdin().is_terminal() => {
                stderr::say(&clean(&wrong.to_string()));
                confirm("open the editor again", false)?;
            }
            Err(wrong) => return Err(unfit(wrong)),
        }
    }
}

/// What somebody has made of the form.
fn of_form(before: &Editable, form: &str) -> Result<Editable, edit::Unfit> {
    let (settings, body) = edit::read_form(before, form).map_err(edit::unfit)?;
    let with_body = with_body(before, body);
    edit::set(&with_body, &settings).map_err(|error| edit::unfit(error.to_string()))
}

/// The letter with the body that an editor has left. White space between the parts of JSON is its layout there;
/// a body that means what it meant before stays as it was.
fn with_body(before: &Editable, text: &str) -> Editable {
    let mut after = before.clone();
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    let compact = |text: &str| {
        if is_json {
            edit::compact(text)
        } else {
            text.to_owned()
        }
    };
    let was = std::str::from_utf8(&before.message.body).unwrap_or_default();
    if compact(was) != compact(text) {
        after.message.body = compact(text).into();
    }
    after
}

fn readable(body: &Bytes) -> Result<&str, Failure> {
    std::str::from_utf8(body).map_err(|_| {
        Failure::Failed(anyhow!(
            "expected a text to edit, found {} bytes of binary data; `longshore dead discard` puts away what \
             nobody can mend",
            body.len()
        ))
    })
}

/// A file's text, or standard input's.
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

#[cfg(test)]
mod tests {
    use common::config::Config;
    use common::message::CLOUDEVENTS_JSON;
    use common::store::DeadLetters as _;
    use serde_json::json;

    use super::*;
    use crate::output::Output;
    use operate::testbed;

    fn app() -> App {
        App {
            config: Config::default(),
            output: Output::new(true),
        }
    }

    /// A letter that its receiver has refused.
    fn letter() -> DeadLetter {
        let mut letter = testbed::letter("longshore.integrate.crm");
        let event = json!({
            "specversion": "1.0", "id": "7", "source": "/shop", "type": "signup.requested",
            "data": {"email": "a@b.example", "name": "A"},
        });
        letter.message.content_type = Some(CLOUDEVENTS_JSON.to_owned());
        letter.message.body = event.to_string().into();
        letter
    }

    async fn patch(
        store: &dyn Store,
        id: Uuid,
        patch: &str,
        dry_run: bool,
    ) -> Result<Mended, Failure> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), patch).unwrap();
        let args = EditArgs {
            id,
            patch: Some(file.path().to_owned()),
            settings: Vec::new(),
            why: Some("a test".to_owned()),
            dry_run,
        };
        mend(&app(), &args, store).await
    }

    fn said<T>(result: Result<T, Failure>) -> String {
        result
            .err()
            .map(|failure| failure.to_string())
            .unwrap_or_default()
    }

    #[tokio::test]
    async fn what_passes_is_saved_and_the_body_before_kept() {
        let (store, letter) = (testbed::store().await, letter());
        store
            .keep_dead(std::slice::from_ref(&letter))
            .await
            .unwrap();
        let mended = patch(&store, letter.id, r#"{"data":{"name":"B"}}"#, false)
            .await
            .unwrap();
        assert!(
            mended.saved && mended.diff.contains("+    \"name\": \"B\""),
            "{mended:?}"
        );
        let story = store.dead_story(letter.id).await.unwrap().unwrap();
        let body = &story.letter.message.body;
        assert!(
            std::str::from_utf8(body).unwrap().contains(r#""name":"B""#),
            "{body:?}"
        );
        assert_eq!(story.edits[0].before, letter.message.body);
        assert_eq!(story.edits[0].why.as_deref(), Some("a test"));
    }

    #[tokio::test]
    async fn what_does_not_pass_or_is_only_tried_is_not_saved() {
        let (store, letter) = (testbed::store().await, letter());
        store
            .keep_dead(std::slice::from_ref(&letter))
            .await
            .unwrap();
        let refused = patch(&store, letter.id, r#"{"data":{"email":null}}"#, false).await;
        assert!(said(refused).contains("\"email\" is a required property"));
        let tried = patch(&store, letter.id, r#"{"data":{"name":"B"}}"#, true)
            .await
            .unwrap();
        assert!(!tried.saved && !tried.diff.is_empty(), "{tried:?}");
        let nothing = patch(&store, letter.id, r#"{"data":{"name":"A"}}"#, false)
            .await
            .unwrap();
        assert!(!nothing.saved && nothing.diff.is_empty(), "{nothing:?}");
        assert_eq!(store.dead_letter(letter.id).await.unwrap(), Some(letter));
    }

    #[tokio::test]
    async fn what_has_moved_on_meanwhile_is_left_alone() {
        let (store, letter) = (testbed::store().await, letter());
        store
            .keep_dead(std::slice::from_ref(&letter))
            .await
            .unwrap();
        let stale = DeadEdit {
            letter: letter.id,
            before: with_body(&Editable::from(&letter), "another"),
            after: with_body(&Editable::from(&letter), "{}"),
            who: "cli:test".to_owned(),
            why: None,
        };
        assert!(said(save(&store, &stale).await).contains("somebody else"));
        let gone = DeadEdit {
            letter: Uuid::nil(),
            ..stale
        };
        assert!(said(save(&store, &gone).await).contains("was removed"));
        let discard = common::store::Discard {
            filter: common::store::DeadFilter::default(),
            who: "cli:test".to_owned(),
            why: "a test".to_owned(),
        };
        assert_eq!(store.discard_dead(&discard, 10).await, Ok(1));
        let refused = patch(&store, letter.id, "{}", false).await;
        assert!(said(refused).contains("dead restore"));
        let unknown = patch(&store, Uuid::nil(), "{}", false).await;
        assert!(said(unknown).contains("no dead letter"));
    }

    #[test]
    fn a_body_that_is_no_json_or_no_text_says_so() {
        let patched = |body: &'static [u8]| said(patched(&Bytes::from_static(body), "{}"));
        assert!(patched(b"hello").contains("can be edited as text"));
        assert!(patched(&[0xff, 0xfe]).contains("2 bytes of binary data"));
    }
}
