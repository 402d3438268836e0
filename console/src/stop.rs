//! Being asked to stop.

use common::bootstrap::Failure;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that the first Ctrl-C or SIGTERM cancels, so that the work can end in good order. The
/// second one ends the process at once.
///
/// # Errors
/// The signals cannot be listened to.
pub fn on_signals() -> Result<CancellationToken, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(anyhow::Error::from)?;
    let stop = CancellationToken::new();
    let asked = stop.clone();
    common::tasks::spawn("signals", async move {
        let mut either = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        either().await;
        asked.cancel();
        either().await;
        exit_at_once();
    });
    Ok(stop)
}

#[expect(
    clippy::exit,
    reason = "asked for twice; what was under way can be resumed"
)]
fn exit_at_once() -> ! {
    common::telemetry::stderr::flush();
    std::process::exit(1)
}
