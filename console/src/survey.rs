//! Surveys the configured system for commands.

use common::bootstrap::Failure;
use common::event::now;
use operate::history::{Judge, Window};
use operate::survey::{Survey, Surveyor};
use time::OffsetDateTime;

use crate::app::App;
use crate::output::spinner;

/// Surveys the messages received since then, and calls `then` with the findings while broker and database are at
/// hand. Messages that were received just now are given `patience` to come to rest.
///
/// # Errors
/// Broker or database cannot say, or `then` fails.
pub(crate) async fn survey(
    app: &App,
    since: OffsetDateTime,
    patience: std::time::Duration,
    then: impl AsyncFnOnce(&Surveyor<'_>, Survey) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let store = app.store()?;
    let broker = app.believed_broker().await?;
    let (topology, names) = (app.topology(), app.names());
    let judge = Judge::new(&app.config)?;
    let surveyor = Surveyor {
        broker: broker.as_ref(),
        store: store.as_ref(),
        topology: &topology,
        names: &names,
        judge: &judge,
        destinations: &app.config.destinations,
        patience,
    };
    let window = Window {
        from: Some(since),
        to: None,
    };
    let spinner = spinner("read");
    let taken = surveyor.take(window, now(), |read| spinner.inc(read)).await;
    spinner.finish_and_clear();
    let done = match taken {
        Ok(found) => then(&surveyor, found).await,
        Err(failure) => Err(failure),
    };
    broker.close().await;
    store.close().await;
    done
}
