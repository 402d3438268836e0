//! Programs of other languages, and the packages that a script has installed for them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::system::{Output, run_with_input};

/// The folder in which `scripts/SCRIPT` has installed its packages. Without it `None`, and the test is said to be skipped.
///
/// # Errors
/// If the target folder is not found.
pub fn installed(script: &str) -> Result<Option<PathBuf>> {
    let test = std::env::current_exe()?;
    // The test is in the folder `debug/deps` of the target folder.
    let folder = test
        .ancestors()
        .nth(3)
        .context("a target folder")?
        .join(script);
    if !folder.join("ready").exists() {
        println!("skipped: scripts/{script} has not run");
        return Ok(None);
    }
    Ok(Some(folder))
}

/// The first block of code in a language on a page.
///
/// # Errors
/// If it cannot be found.
pub fn code(page: &str, language: &str) -> Result<String> {
    let (_, rest) = page
        .split_once(&format!("\n```{language}\n"))
        .with_context(|| format!("the page has no {language}"))?;
    let (code, _) = rest.split_once("\n```\n").context("a block has an end")?;
    Ok(format!("{code}\n"))
}

/// A command that runs a program in a folder, which is its home as well, and leaves no compiled files beside scripts.
#[must_use]
pub fn command(folder: &Path, program: impl AsRef<Path>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program.as_ref());
    command
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Runs a command to its end and gives it `input`. Where its program cannot be had `None`, and the test is said to be
/// skipped.
///
/// # Errors
/// If it does not end within two minutes.
pub async fn run(command: Command, input: &str) -> Result<Option<Output>> {
    let shown = Path::new(command.get_program()).display().to_string();
    match run_with_input(command, shown.clone(), input).await {
        Ok(output) => Ok(Some(output)),
        Err(error) if is_missing(&error) => {
            println!("skipped: {shown} cannot be had");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}
