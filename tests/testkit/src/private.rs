//! A broker or a database of one test's own, for acts that would harm others: stopping, killing,
//! filling and blocking.

pub mod pgbouncer;
pub mod postgres;
pub mod rabbit;

use std::{
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep};

/// A command that dies with this process in any case: `signal` is sent to the child when the thread that starts it
/// ends.
///
/// `as_user` runs it as another user; its own user needs no rights for that.
fn tied(program: &Path, signal: &str, as_user: Option<&str>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal]);
    if let Some(user) = as_user {
        command.args([
            &format!("--reuid={user}"),
            &format!("--regid={user}"),
            "--init-groups",
        ]);
    }
    command.arg("--").arg(program);
    command
}

/// Waits until `child` has ended.
async fn ended(child: &mut Child, within: Duration, what: &str) -> Result<()> {
    let deadline = Instant::now() + within;
    while child
        .try_wait()
        .with_context(|| format!("waiting for {what} to end"))?
        .is_none()
    {
        if Instant::now() >= deadline {
            bail!("{what} (pid {}) did not end within {within:?}", child.id());
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The last lines of a log, for error messages.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
