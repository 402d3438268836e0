//! Mending a dead letter, from reading it to saving what was made of it.

use anyhow::anyhow;
use bytes::Bytes;
use common::bootstrap::Failure;
use common::config::Config;
use common::event::{Limits, Logins, Types};
use common::store::{Act, AuditAction, DeadEdit, DeadLetter, DeadState, Editable, Edited, Store};
use serde::Serialize;
use uuid::Uuid;

use super::check::{Unfit, check};
use super::draft::{Draft, readable};
use super::envelope::set;
use super::patch;
use super::setting::Setting;
use crate::dead::no_such_letter;
use crate::diff::diff;
use crate::roles::{Requester, permit};

/// A letter that is being mended, and what is demanded of it.
pub struct Mending<'a> {
    store: &'a dyn Store,
    letter: DeadLetter,
    before: Editable,
    act: Act,
    types: Types,
    limits: Limits,
    logins: Logins,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Mended {
    /// The letter.
    pub letter: Uuid,
    /// Whether it is another one now.
    pub saved: bool,
    /// What differs, secrets masked; empty where nothing was changed.
    pub diff: String,
}

impl<'a> Mending<'a> {
    /// Begins to mend a letter.
    ///
    /// # Errors
    /// No letter has this id, it is not open, or the role of `by` does not allow it.
    pub async fn begin(
        store: &'a dyn Store,
        config: &Config,
        id: Uuid,
        by: &Requester,
    ) -> Result<Self, Failure> {
        let act = by.act(AuditAction::DeadEdit, format!("dead:{id}"));
        permit(store, &act).await?;
        let found = store.dead_letter(id).await?;
        let letter = found.ok_or_else(|| no_such_letter(&config.namespace, id))?;
        if letter.state != DeadState::Open {
            return Err(not_open(letter.id, letter.state));
        }
        Ok(Self {
            store,
            before: Editable::from(&letter),
            letter,
            act,
            types: Types::with(&config.types).map_err(anyhow::Error::from)?,
            limits: config.limits.events(),
            logins: config.broker.logins(),
        })
    }

    /// What an editor shows of it.
    ///
    /// # Errors
    /// The body is not a text.
    pub fn draft(&self) -> Result<Draft, Failure> {
        Draft::of(&self.letter)
    }

    /// The letter with a JSON Merge Patch applied to its body, and these settings.
    ///
    /// # Errors
    /// The patch or a setting cannot be applied, or the letter would not be taken then.
    pub fn changed(&self, patch: Option<&str>, settings: &[Setting]) -> Result<Editable, Failure> {
        let mut after = self.before.clone();
        if let Some(patch) = patch {
            after.message.body = patched(&after.message.body, patch)?;
        }
        let after = set(&after, settings).map_err(anyhow::Error::from)?;
        if after != self.before {
            self.check(&after).map_err(Unfit::into_failure)?;
        }
        Ok(after)
    }

    /// Checks that the letter would be taken where it goes, mended so.
    ///
    /// # Errors
    /// What was expected and what was found.
    pub fn check(&self, after: &Editable) -> Result<(), Unfit> {
        check(&self.letter, after, &self.types, self.limits, &self.logins)
    }

    /// Saves what was made of the letter, or with `dry_run` only says what would be saved.
    ///
    /// # Errors
    /// The letter was changed since, or the database failed; nothing is saved then.
    pub async fn save(
        self,
        after: Editable,
        why: Option<String>,
        dry_run: bool,
    ) -> Result<Mended, Failure> {
        let letter = self.letter.id;
        if after == self.before {
            return Ok(Mended {
                letter,
                saved: false,
                diff: String::new(),
            });
        }
        let edit = DeadEdit {
            letter,
            before: self.before,
            after,
            act: self.act.because(why),
        };
        if !dry_run {
            save(self.store, &edit).await?;
        }
        Ok(Mended {
            letter,
            saved: !dry_run,
            diff: difference(&edit),
        })
    }
}

/// Saves an edit, unless something has happened to the letter since it was read.
async fn save(store: &dyn Store, edit: &DeadEdit) -> Result<(), Failure> {
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

/// The body with a patch applied.
fn patched(body: &Bytes, patch: &str) -> Result<Bytes, Failure> {
    let after = patch::patched(readable(body)?, patch).map_err(anyhow::Error::from)?;
    Ok(after.into())
}

#[cfg(test)]
mod tests {
    use common::message::CLOUDEVENTS_JSON;
    use common::store::{BulkChange, Changer, DeadFilter, Role};
    use common::store::{DeadLetters as _, Mending as _};
    use serde_json::json;

    use super::super::draft::with_body;
    use super::*;
    use crate::testbed;

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
        let by = testbed::requester();
        let mending = Mending::begin(store, &Config::default(), id, &by).await?;
        let after = mending.changed(Some(patch), &[])?;
        let why = Some("a test".to_owned());
        mending.save(after, why, dry_run).await
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
            act: testbed::requester().act(AuditAction::DeadEdit, "dead:1"),
        };
        assert!(said(save(&store, &stale).await).contains("somebody else"));
        let gone = DeadEdit {
            letter: Uuid::nil(),
            ..stale
        };
        assert!(said(save(&store, &gone).await).contains("was removed"));
        let discard = BulkChange {
            filter: DeadFilter::default(),
            by: Changer::Operator(testbed::requester().act(AuditAction::DeadDiscard, "dead")),
        };
        assert_eq!(store.discard_dead(&discard, 10).await, Ok(1));
        let refused = patch(&store, letter.id, "{}", false).await;
        assert!(said(refused).contains("dead restore"));
        let unknown = patch(&store, Uuid::nil(), "{}", false).await;
        assert!(said(unknown).contains("no dead letter"));
    }

    #[tokio::test]
    async fn a_viewer_does_not_even_see_the_draft() {
        let (store, letter) = (testbed::store().await, letter());
        store
            .keep_dead(std::slice::from_ref(&letter))
            .await
            .unwrap();
        let mut viewer = testbed::requester();
        viewer.actor.role = Some(Role::Viewer);
        let begun = Mending::begin(&store, &Config::default(), letter.id, &viewer).await;
        assert!(said(begun).contains("dead.edit needs the role operator"));
    }

    #[test]
    fn a_body_that_is_no_json_or_no_text_says_so() {
        let patched = |body: &'static [u8]| said(patched(&Bytes::from_static(body), "{}"));
        assert!(patched(b"hello").contains("can be edited as text"));
        assert!(patched(&[0xff, 0xfe]).contains("2 bytes of binary data"));
    }
}
