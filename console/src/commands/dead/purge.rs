//! `longshore dead purge`

use std::time::Duration;

use clap::Args;
use common::bootstrap::Failure;
use common::config::duration;
use common::event::now;
use common::store::{DeadFilter, DeadState, Moment, Store};
use operate::words::{count, moment};
use serde_json::json;
use time::OffsetDateTime;

use super::batches::{self, BATCH};
use crate::app::App;
use crate::confirm::confirm;

/// What is old enough.
#[derive(Debug, Args)]
#[command(after_help = "\
Open letters are never removed, however old. Safe to run at any time, as a daily job with --yes.

Examples:
  longshore dead purge                      what was settled longer ago than dead.retention
  longshore dead purge --older-than 90days --yes")]
pub struct PurgeArgs {
    /// What was replayed or discarded this long ago; dead.retention of the configuration unless given
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    older_than: Option<Duration>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(app: &App, args: PurgeArgs) -> Result<(), Failure> {
    let retention = args.older_than.unwrap_or(app.config.dead.retention);
    let before = before(now(), retention)?;
    let store = app.store()?;
    let purged = purge(store.as_ref(), before, args.yes).await;
    store.close().await;
    let purged = purged?;
    let document = json!({ "purged": purged, "settled_before": Moment(before) });
    app.output.show(&document, |_| match purged {
        0 => format!("no dead letter was settled before {}", moment(before)),
        _ => format!("{} removed", count(purged, "dead letter")),
    })
}

async fn purge(store: &dyn Store, before: OffsetDateTime, yes: bool) -> Result<u64, Failure> {
    // How many of these are old enough is known when they are gone; it is not worth a scan.
    let mut settled = 0;
    for state in [
        DeadState::Replayed,
        DeadState::Discarded,
        DeadState::Superseded,
    ] {
        let filter = DeadFilter {
            state: Some(state),
            ..DeadFilter::default()
        };
        settled += store.dead_count(&filter).await?;
    }
    if settled == 0 {
        return Ok(0);
    }
    let what = format!(
        "remove for good, of {}, what was replayed, discarded or superseded before {}",
        count(settled, "settled dead letter"),
        moment(before)
    );
    confirm(&what, yes)?;
    batches::run(settled, "removing", async || {
        store.purge_dead(before, BATCH).await
    })
    .await
}

fn before(now: OffsetDateTime, retention: Duration) -> Result<OffsetDateTime, Failure> {
    let retention = time::Duration::try_from(retention).ok();
    retention
        .and_then(|retention| now.checked_sub(retention))
        .filter(|before| before.year() >= 0)
        .ok_or_else(|| {
            Failure::Usage("expected a retention that ends within our calendar".to_owned())
        })
}

#[cfg(test)]
mod tests {
    use common::store::{DeadLetters as _, Discard, Mending as _};

    use super::*;
    use operate::testbed;

    #[tokio::test]
    async fn only_what_was_settled_long_enough_ago_is_removed() {
        let store = testbed::store().await;
        let letters: Vec<_> = (0..3).map(|_| testbed::letter("longshore.store")).collect();
        store.keep_dead(&letters).await.unwrap();
        let discard = Discard {
            filter: DeadFilter {
                ids: Some(letters[..2].iter().map(|letter| letter.id).collect()),
                ..DeadFilter::default()
            },
            who: "cli:test".to_owned(),
            why: "a test".to_owned(),
        };
        assert_eq!(
            purge(&store, now(), false).await.unwrap(),
            0,
            "nothing is settled"
        );
        assert_eq!(store.discard_dead(&discard, 10).await, Ok(2));
        let long_ago = before(now(), Duration::from_secs(60)).unwrap();
        assert_eq!(purge(&store, long_ago, true).await.unwrap(), 0);
        let later = now() + time::Duration::SECOND;
        assert_eq!(purge(&store, later, true).await.unwrap(), 2);
        assert_eq!(store.dead_count(&DeadFilter::default()).await, Ok(1));
    }

    #[test]
    fn no_retention_is_too_long_to_be_said_so() {
        let forever = before(now(), Duration::MAX);
        assert!(forever.is_err_and(|failure| failure.code() == 2));
    }
}
