//! Being asked to stop: SIGTERM, and SIGINT, which is Ctrl-C. Being asked to read the configuration again: SIGHUP.

use std::fs::File;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
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

/// Counts SIGHUP. The same signal says that the terminal is gone: a program that was started at one then stops.
///
/// # Errors
/// The signal cannot be listened to.
pub fn hangups(stop: CancellationToken) -> io::Result<watch::Receiver<u64>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let had_terminal = has_terminal();
    let (sender, receiver) = watch::channel(0);
    tasks::spawn("hangups", async move {
        while hangup.recv().await.is_some() {
            if had_terminal && !has_terminal() {
                tracing::info!(signal = "SIGHUP", "stopping: the terminal is closed");
                stop.cancel();
                return;
            }
            sender.send_modify(|count| *count += 1);
        }
    });
    Ok(receiver)
}

/// Whether this process has a terminal that can be reached.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

#[expect(
    clippy::exit,
    reason = "asked for twice, or out of time: the broker still has everything, and commands can be resumed"
)]
fn exit_at_once() -> ! {
    stderr::flush();
    std::process::exit(1)
}
