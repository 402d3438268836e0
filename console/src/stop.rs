//! Requests to stop.

use common::bootstrap::Failure;
use common::signals;
use tokio_util::sync::CancellationToken;

/// A token that the first Ctrl-C or SIGTERM cancels, so that the work can end in good order. The second signal
/// ends the process at once.
///
/// # Errors
/// The signals cannot be listened to.
pub fn on_signals() -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    signals::listen(stop.clone(), None).map_err(anyhow::Error::from)?;
    Ok(stop)
}
