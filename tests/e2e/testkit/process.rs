//! Starting, measuring and ending processes.

use std::{process::Command, time::Duration};

use anyhow::{Result, ensure};
use testkit::{
    process::{Process, Program},
    scratch::Scratch,
    wait::eventually,
};

const LIMIT: Duration = Duration::from_secs(10);

fn shell(scratch: &Scratch, script: &str) -> Result<Process> {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Process::spawn(Program::Longshore, command, scratch.path().join("log"))
}

#[tokio::test]
async fn a_process_is_measured_killed_and_its_output_kept() -> Result<()> {
    let scratch = Scratch::new()?;
    let mut process = shell(&scratch, "echo out; echo err >&2; while :; do :; done")?;
    eventually(LIMIT, "some processor time", || async {
        ensure!(
            process.cpu_time()? > Duration::from_millis(50),
            "{:?}",
            process.cpu_time()
        );
        Ok(())
    })
    .await?;
    ensure!(process.memory()? > 100_000, "{} bytes", process.memory()?);
    process.kill().await?;
    ensure!(process.output() == "out\nerr\n", "{:?}", process.output());
    ensure!(process.kill().await.is_err(), "a process was killed twice");
    Ok(())
}

#[tokio::test]
async fn a_process_that_ends_tells_its_exit_code() -> Result<()> {
    let scratch = Scratch::new()?;
    let status = shell(&scratch, "exit 3")?.wait(LIMIT).await?;
    ensure!(status.code() == Some(3), "{status}");
    let mut sleeper = shell(&scratch, "exec sleep 60")?;
    ensure!(
        sleeper.wait(Duration::from_millis(50)).await.is_err(),
        "a sleeper ended"
    );
    sleeper.signal(rustix::process::Signal::TERM)?;
    ensure!(!sleeper.wait(LIMIT).await?.success());
    Ok(())
}

#[test]
fn a_program_that_was_not_built_is_named_with_the_way_to_build_it() {
    // Nothing of the product is in the folder of the shell.
    let missing = Program::Producer
        .path_in(std::path::Path::new("/bin"))
        .unwrap_err()
        .to_string();
    assert!(
        missing.contains("longshore-producer") && missing.contains("scripts/test"),
        "{missing}"
    );
}
