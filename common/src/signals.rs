//! Being asked to stop: SIGTERM, and SIGINT, which is Ctrl-C.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::tasks;
use crate::telemetry::stderr;

/// Cancels `stop` at the first signal. A second one ends the process at once; so does `deadline` after the first.
///
/// # Errors
/// The signals cannot be listened to.
pub fn listen(stop: CancellationToken, deadline: Option<Duration>) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tasks::spawn("signals", async move {
        let mut either = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let first = either().await;
        tracing::info!(signal = first, "stopping: finishing the running work");
        stop.cancel();
        let out_of_time = async {
            match deadline {
                Some(deadline) => tokio::time::sleep(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            again = either() => tracing::warn!(signal = again, "stopping at once"),
            () = out_of_time => tracing::warn!("still not ended: stopping at once"),
        }
        exit_at_once();
    });
    Ok(())
}

#[expect(
    clippy::exit,
    reason = "asked for twice, or out of time: the broker still has everything, and commands can be resumed"
)]
fn exit_at_once() -> ! {
    stderr::flush();
    std::process::exit(1)
}
