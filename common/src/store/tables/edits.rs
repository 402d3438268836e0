//! Edits of dead letters, before they are written.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::letters::{LetterRow, NewLetterRow};
use super::text::hex_digits;
use crate::store::{Act, DeadEdit, DeadLetter, DeadState, Editable, Edited, StoreError};

/// The decision about an edit.
pub(in crate::store) enum Edit {
    /// The letter is as it was when it was edited: this takes its place.
    Make(Box<NewLetterRow>),
    /// Nothing, because it is as it was asked for: it was done before, and the answer was lost.
    Done,
    /// Nothing, because the letter is in this state.
    NotOpen(DeadState),
    /// Nothing, because it is not there.
    NoSuchLetter,
    /// Nothing, because somebody else was faster.
    Changed,
}

impl Edit {
    /// The decision, given the letter as it is.
    pub(in crate::store) fn decide(
        edit: &DeadEdit,
        found: Option<LetterRow>,
    ) -> Result<Self, StoreError> {
        let Some(row) = found else {
            return Ok(Self::NoSuchLetter);
        };
        let letter = DeadLetter::try_from(row)?;
        let current = Editable::from(&letter);
        Ok(if letter.state != DeadState::Open {
            Self::NotOpen(letter.state)
        } else if edit.after == current {
            Self::Done
        } else if edit.before == current {
            let mended = edit.after.in_place_of(&letter);
            Self::Make(Box::new(NewLetterRow::from(&mended)))
        } else {
            Self::Changed
        })
    }

    /// The envelope to be kept, if the edit changes it.
    pub(in crate::store) fn envelope(edit: &DeadEdit) -> Option<String> {
        let (before, after) = (edit.before.envelope(), edit.after.envelope());
        (before != after).then(|| before.to_string())
    }

    /// The act with the facts that it changes. The record never forgets, so it holds no content of a message: hashes
    /// show which content was replaced by which, and the edit keeps the content itself.
    pub(in crate::store) fn act(edit: &DeadEdit) -> Act {
        let act = edit.act.clone();
        act.changing(Some(facts(&edit.before)), Some(facts(&edit.after)))
    }

    /// The outcome of the edit, once the decision is carried out.
    pub(in crate::store) fn outcome(&self) -> Edited {
        match self {
            Self::Make(_) | Self::Done => Edited::Saved,
            Self::NotOpen(state) => Edited::NotOpen(*state),
            Self::NoSuchLetter => Edited::NoSuchLetter,
            Self::Changed => Edited::Changed,
        }
    }
}

fn facts(content: &Editable) -> Value {
    let sha256 = |bytes: &[u8]| hex_digits(&Sha256::digest(bytes));
    json!({
        "body_sha256": sha256(&content.message.body),
        "envelope_sha256": sha256(content.envelope().to_string().as_bytes()),
        "routing_key": content.routing_key,
    })
}
