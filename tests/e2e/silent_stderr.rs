//! Standard error is a pipe that nobody reads: work goes on, and the end is in good order.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use testkit::{
    client::Client,
    load::{Load, signup},
    port,
    process::Program,
    scratch::Scratch,
    system::System,
    wait::eventually,
};

use crate::{LATER, SOON};

/// Events whose trace lines fill both the pipe and the buffer before it.
const EVENTS: usize = 300;

/// On a full disk, or with a reader that is gone, the result of the command alone decides how a
/// program ends.
#[test]
fn an_output_that_takes_nothing_changes_no_exit_code() -> Result<()> {
    let folder = Scratch::new()?;
    let full = || File::options().write(true).open("/dev/full");
    let (reader, gone) = std::io::pipe()?;
    drop(reader);
    for (arguments, code) in [
        (&["doctor"][..], 3),
        (&["run", "store", "now"], 2),
        (&["explain", "nothing"], 2),
    ] {
        for stderr in [Stdio::from(full()?), Stdio::from(gone.try_clone()?)] {
            let status = Command::new(Program::Longshore.path()?)
                .env_clear()
                .current_dir(folder.path())
                .args(arguments)
                .stdout(Stdio::from(gone.try_clone()?))
                .stderr(stderr)
                .status()?;
            ensure!(status.code() == Some(code), "{arguments:?}: {status}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_log_that_nobody_reads_stops_no_work() -> Result<()> {
    let system = System::builder().copies(Program::Store, 0).start().await?;
    let address = format!("127.0.0.1:{}", port::free()?);
    let mut child = system
        .command(Program::Store)?
        .env("LONGSHORE_LISTEN", &address)
        .env("LONGSHORE_LOG", "trace,lapin=trace,sqlx=trace")
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .stdin(Stdio::null())
        .spawn()
        .context("starting the store worker")?;
    let worker = Client::new(format!("http://{address}"))?;
    eventually(SOON, "the worker to live", || async {
        ensure!(worker.get("/livez").await?.status == 200);
        Ok(())
    })
    .await?;
    let load = Load::signups(system.client(), EVENTS, 8);
    eventually(LATER, "the log to be full", || async {
        // Each look is logged as well.
        worker.get("/readyz").await?;
        let page = worker.get("/metrics").await?.text();
        let lines = page
            .lines()
            .find_map(|line| line.strip_prefix("longshore_log_lines_dropped_total "));
        ensure!(lines.is_some_and(|count| count != "0"), "{lines:?}");
        Ok(())
    })
    .await?;
    let accepted = load.finish(LATER).await?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    let id = system.client().signup(&signup("unlogged")).await?;
    ledger.all_completed(&[id], SOON).await?;
    ensure!(worker.get("/livez").await?.status == 200);
    let began = Instant::now();
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.context("a process id")?, Signal::TERM)?;
    let ended = async {
        while matches!(child.try_wait(), Ok(None)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, ended)
        .await
        .context("the worker did not hear the signal")?;
    let status = child.wait()?;
    ensure!(status.code() == Some(0), "{status}");
    ensure!(
        began.elapsed() < Duration::from_secs(15),
        "it took {:?}",
        began.elapsed()
    );
    system.finish().await
}
