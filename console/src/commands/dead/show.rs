//! `longshore dead show`

mod next;
mod text;

use common::bootstrap::Failure;
use operate::dead::{self, Story};
use serde::Serialize;
use uuid::Uuid;

use self::next::{Next, next};
use crate::app::App;

/// A dead letter's whole story, and how to go on.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    story: Story,
    next: Vec<Next>,
}

pub(super) async fn run(app: &App, id: Uuid) -> Result<(), Failure> {
    let store = app.store()?;
    let story = async {
        let by = app.requester(store.as_ref()).await?;
        let story = dead::story(store.as_ref(), id).await?;
        Ok::<_, Failure>(by.reads(story))
    };
    let story = story.await;
    store.close().await;
    let Some(story) = story? else {
        return Err(dead::no_such_letter(&app.config.namespace, id));
    };
    app.output.show(&Shown::of(story), text::text)
}

impl Shown {
    fn of(story: Story) -> Self {
        let next = story.steps.iter().map(|step| next(step, &story));
        Self {
            next: next.collect(),
            story,
        }
    }
}

#[cfg(test)]
mod tests {
    use operate::testbed;

    use super::*;

    #[test]
    fn the_whole_story_is_told_and_no_secret_with_it() {
        let story = testbed::story();
        let id = story.letter.id.to_string();
        let shown = Shown::of(Story::of(story, None));
        let json = serde_json::to_string(&shown).unwrap();
        for told in [text::text(&shown), json] {
            assert!(!told.contains("hunter2"), "{told}");
            for part in [
                &id,
                "integrate.crm",
                "receiver_failing",
                "found 500",
                "no locale",
                "cli:ada",
                "CRM wants a locale",
                "old",
                "signup.request",
            ] {
                assert!(told.contains(part), "{part} in {told}");
            }
        }
        let told = text::text(&shown);
        for part in ["1.234s", "-    \"plan\": \"old\"", "dead replay"] {
            assert!(told.contains(part), "{part} in {told}");
        }
    }
}
