//! Surveys of the configured system, as commands take them.

use common::bootstrap::Failure;
use common::event::now;
use time::{Duration, OffsetDateTime};

use super::{Stuck, Survey, Surveyor};
use crate::app::App;
use crate::history::{Judge, Window};
use crate::output::spinner;

/// What a survey has found.
pub(crate) type Found = (Survey, Vec<Stuck>);

/// Surveys what was received since then, and does something with what was found while broker and database are
/// at hand. What was received less than `grace` ago is on its way.
///
/// # Errors
/// Broker or database cannot say, or `then` fails.
pub(crate) async fn survey(
    app: &App,
    since: OffsetDateTime,
    grace: std::time::Duration,
    then: impl AsyncFnOnce(&Surveyor<'_>, Found) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (store, broker) = (app.store()?, app.broker()?);
    let (topology, names) = (app.topology(), app.names());
    let judge = Judge::new(&app.config)?;
    let surveyor = Surveyor {
        broker: broker.as_ref(),
        store: store.as_ref(),
        topology: &topology,
        names: &names,
        judge: &judge,
        grace: Duration::try_from(grace).unwrap_or(Duration::MAX),
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
