//! Wrong arguments and addresses of programs, and the answers to them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testkit::{
    process::{Process, Program},
    scratch::Scratch,
};

use crate::SOON;

/// The secret in every address.
const SECRET: &str = "hunter2";

#[tokio::test]
async fn an_argument_that_no_program_knows_is_wrong_usage() -> Result<()> {
    let programs = [Program::Producer, Program::Longshore]
        .into_iter()
        .chain(Program::WORKERS);
    for program in programs {
        for argument in [
            &b"\xff"[..],
            b"--destination=\xff",
            b"--verbose",
            b"nonsense",
        ] {
            let argument = OsStr::from_bytes(argument);
            let output = tokio::process::Command::new(program.path()?)
                .env_clear()
                .current_dir(Scratch::new()?.path())
                .arg(argument)
                .kill_on_drop(true)
                .output();
            let output = tokio::time::timeout(SOON, output)
                .await
                .with_context(|| format!("{} {argument:?} does not end", program.name()))??;
            let told = String::from_utf8_lossy(&output.stderr);
            ensure!(
                output.status.code() == Some(2) && !told.contains("panicked"),
                "{} {argument:?}: {told}",
                program.name()
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn no_secret_in_an_address_is_told() -> Result<()> {
    for rest in [
        "//u:hunter2@127.0.0.1:1/d",
        "//127.0.0.1:1/d?user=u&password=hunter2",
        "//127.0.0.1:1/d?sslpassword=hunter2",
        "//127.0.0.1:1/d?a=1;password=hunter2",
        "//127.0.0.1:1/d?options=-c%20x%3Dhunter2",
        "//127.0.0.1:1/d?next=postgres%3A%2F%2Fu%3Ahunter2%40h&pw=hunter2",
        "//127.0.0.1:1/d#hunter2",
        "//u:a,'hunter2@127.0.0.1:1/d",
        "//u:hunter2@127.0.0.1:1,127.0.0.1:2/d",
        "u:hunter2@127.0.0.1/d",
        "/u:hunter2@127.0.0.1/d",
    ] {
        let folder = Scratch::new()?;
        let told = [
            doctor(folder.path(), rest)?,
            started(
                Program::Store,
                "LONGSHORE_DATABASE_URL",
                &format!("postgres:{rest}"),
                folder.path(),
            )
            .await?,
            started(
                Program::Validate,
                "LONGSHORE_BROKER_URL",
                &format!("amqp:{rest}"),
                folder.path(),
            )
            .await?,
        ];
        for told in told {
            ensure!(!told.contains(SECRET), "{rest}: {told}");
        }
    }
    Ok(())
}

fn doctor(folder: &Path, rest: &str) -> Result<String> {
    let output = Command::new(Program::Longshore.path()?)
        .env_clear()
        .current_dir(folder)
        .env("LONGSHORE_DATABASE_URL", format!("postgres:{rest}"))
        .env("LONGSHORE_BROKER_URL", format!("amqp:{rest}"))
        .arg("doctor")
        .output()?;
    ensure!(!output.status.success(), "nothing is there");
    Ok(format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// The first words of a program: its addresses, or their faults.
async fn started(program: Program, variable: &str, url: &str, folder: &Path) -> Result<String> {
    let mut command = Command::new(program.path()?);
    command.env_clear().current_dir(folder).env(variable, url);
    let mut process = Process::spawn(program, command, folder.join(variable))?;
    let deadline = Instant::now() + SOON;
    while !process.output().contains('\n') && process.exited()?.is_none() {
        ensure!(Instant::now() < deadline, "it says: {}", process.output());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // One whose address is wrong ends by itself; the others end here.
    Ok(process.output())
}
