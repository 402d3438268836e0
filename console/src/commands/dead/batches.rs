//! Changing many dead letters, some at a time.

use common::bootstrap::Failure;
use common::store::StoreError;
use operate::words::count;

use crate::output::bar;
use crate::stop;

/// How many letters one step changes at most: few enough that nobody waits for its locks.
pub(super) const BATCH: u32 = 500;

/// Takes steps until one changes nothing, and says how many letters they have changed. `expected` is how
/// many there seem to be, for the progress bar.
///
/// # Errors
/// A step failed, or somebody asked to stop; what was changed before stays so.
pub(super) async fn run(
    expected: u64,
    what: &str,
    mut step: impl AsyncFnMut() -> Result<u64, StoreError>,
) -> Result<u64, Failure> {
    let stop = stop::on_signals()?;
    let bar = bar(expected, what);
    let mut all = 0;
    let end = loop {
        if stop.is_cancelled() {
            break Err(Failure::Failed(anyhow::anyhow!(
                "stopped after {}; what was done stays, and the same command goes on with the rest",
                count(all, "dead letter")
            )));
        }
        match step().await {
            Ok(0) => break Ok(all),
            Ok(changed) => {
                all += changed;
                bar.inc(changed);
            }
            Err(error) => break Err(error.into()),
        }
    };
    bar.finish_and_clear();
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_goes_on_until_nothing_is_left() {
        let mut left = [500, 500, 7, 0].into_iter();
        let step = async || {
            Ok(left
                .next()
                .unwrap_or_else(|| panic!("asked once too often")))
        };
        assert_eq!(run(1007, "test", step).await.unwrap(), 1007);
    }

    #[tokio::test]
    async fn a_step_that_fails_ends_it() {
        let mut steps = [Ok(500), Err(StoreError::Unavailable("down".to_owned()))].into_iter();
        let step = async || steps.next().unwrap_or(Ok(0));
        let failed = run(1000, "test", step).await;
        assert!(failed.is_err_and(|failure| failure.code() == 3));
    }
}
