//! Changing many dead letters, some at a time.

use common::bootstrap::Failure;
use common::store::StoreError;
use tokio_util::sync::CancellationToken;

use crate::words::count;

/// Maximum of letters that one step changes: few enough that nobody waits for its locks.
pub(super) const BATCH: u32 = 500;

/// Takes steps until one changes nothing, and says how many letters they have changed. `changed` is told of each
/// step.
///
/// # Errors
/// A step failed, or `stop` was cancelled; what was changed before stays so.
pub(super) async fn change_all(
    stop: &CancellationToken,
    changed: impl Fn(u64),
    mut step: impl AsyncFnMut() -> Result<u64, StoreError>,
) -> Result<u64, Failure> {
    let mut all = 0;
    loop {
        if stop.is_cancelled() {
            return Err(Failure::Failed(anyhow::anyhow!(
                "stopped after {}; what was done stays, and the same command goes on with the rest",
                count(all, "dead letter")
            )));
        }
        match step().await? {
            0 => return Ok(all),
            more => {
                all += more;
                changed(more);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn change_all(
        step: impl AsyncFnMut() -> Result<u64, StoreError>,
    ) -> Result<u64, Failure> {
        super::change_all(&CancellationToken::new(), |_| {}, step).await
    }

    #[tokio::test]
    async fn it_goes_on_until_nothing_is_left() {
        let mut left = [500, 500, 7, 0].into_iter();
        let step = async || {
            Ok(left
                .next()
                .unwrap_or_else(|| panic!("asked once too often")))
        };
        assert_eq!(change_all(step).await.unwrap(), 1007);
    }

    #[tokio::test]
    async fn a_step_that_fails_ends_it() {
        let mut steps = [Ok(500), Err(StoreError::Unavailable("down".to_owned()))].into_iter();
        let step = async || steps.next().unwrap_or(Ok(0));
        let failed = change_all(step).await;
        assert!(failed.is_err_and(|failure| failure.code() == 3));
    }

    #[tokio::test]
    async fn it_stops_between_two_steps() {
        let stop = CancellationToken::new();
        let step = async || Ok(500);
        let stopped = super::change_all(&stop, |_| stop.cancel(), step).await;
        let told = stopped.err().map(|failure| failure.to_string());
        assert!(told.is_some_and(|told| told.contains("500 dead letters")));
    }
}
