//! Waiting for a fact with a deadline.

use std::{fmt::Display, future::Future, time::Duration};

use anyhow::{Result, anyhow, bail};
use tokio::time::{Instant, sleep, timeout_at};

/// The pause between two looks. Short enough not to slow tests, long enough not to load two cores.
const PAUSE: Duration = Duration::from_millis(40);

/// Asks `probe` again and again until it gives `Ok`, which is returned.
///
/// While the fact does not hold yet, `probe` answers `Err` with its finding. After `within` the
/// error names the awaited fact, the time, and the last finding. `what` reads as "the queue to be
/// empty".
pub async fn eventually<T, F, Fut>(within: Duration, what: impl Display, mut probe: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let deadline = Instant::now() + within;
    let mut seen = anyhow!("the first look did not come back");
    loop {
        match timeout_at(deadline, probe()).await {
            Ok(Ok(fact)) => return Ok(fact),
            Ok(Err(instead)) => seen = instead,
            Err(_) => bail!("waited {within:?} for {what}; the last look hung; before: {seen:#}"),
        }
        if Instant::now() + PAUSE >= deadline {
            bail!("waited {within:?} for {what}; last seen: {seen:#}");
        }
        sleep(PAUSE).await;
    }
}

/// Checks that a fact holds at every look during `span`, for things that must *not* happen.
///
/// # Errors
/// With the first finding for which `probe` gave `Err`.
pub async fn throughout<F, Fut>(span: Duration, what: impl Display, mut probe: F) -> Result<()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let end = Instant::now() + span;
    while Instant::now() < end {
        if let Err(broken) = probe().await {
            bail!("{what} should have held for {span:?}; seen: {broken:#}");
        }
        sleep(PAUSE).await;
    }
    Ok(())
}
