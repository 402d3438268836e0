//! Commands that run to their end, and their output.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, time::timeout};

/// The output of an operator's command, and its exit.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command, for error messages.
    pub command: String,
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Standard output of a command that must have succeeded.
    ///
    /// # Errors
    /// If it did not; with all it printed.
    pub fn success(&self) -> Result<&str> {
        self.exit(0)
    }

    /// Standard output of a command that must have ended with this code.
    ///
    /// # Errors
    /// If it did not; with all it printed.
    pub fn exit(&self, code: i32) -> Result<&str> {
        let Self {
            command,
            stdout,
            stderr,
            ..
        } = self;
        ensure!(
            self.code == Some(code),
            "`{command}` ended with {:?} instead of {code}\nstdout: {stdout}\nstderr: {stderr}",
            self.code
        );
        Ok(stdout)
    }

    /// Standard output of a successful command as one JSON document.
    ///
    /// # Errors
    /// If it did not succeed or printed anything else.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(self.success()?).with_context(|| {
            format!(
                "`{}` printed no JSON document: {}",
                self.command, self.stdout
            )
        })
    }
}

/// Runs a command without a terminal until it ends; `shown` is its name in errors.
///
/// # Errors
/// If it cannot be started or does not end within two minutes.
pub async fn run(mut command: Command, shown: String) -> Result<Output> {
    command.stdin(Stdio::null());
    await_end(command, shown, "").await
}

/// The same for a command that reads `input` from its standard input.
///
/// # Errors
/// If it cannot be started or does not end within two minutes.
pub async fn run_with_input(mut command: Command, shown: String, input: &str) -> Result<Output> {
    command.stdin(Stdio::piped());
    await_end(command, shown, input).await
}

async fn await_end(mut command: Command, shown: String, input: &str) -> Result<Output> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut command = tokio::process::Command::from(command);
    let running = async {
        let mut child = command.kill_on_drop(true).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that ends without reading it says more by its exit.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = timeout(Duration::from_secs(120), running)
        .await
        .with_context(|| format!("`{shown}` took over two minutes"))?
        .with_context(|| format!("running `{shown}`"))?;
    Ok(Output {
        command: shown,
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
