//! `longshore dev`: the whole system in one process on the embedded engine, in a folder of its own.

use std::{
    fs,
    path::PathBuf,
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::{
    client::Client,
    port,
    process::{Process, Program},
    scratch::Scratch,
    system::{Destination, Output, render, run},
    wait::eventually,
};

/// How long it may take to be up. Generous, as parallel tests share two cores.
const UP: Duration = Duration::from_secs(60);

/// A `longshore dev` that can be started, ended and started again over the same data. Dropped, it is killed. A test
/// ends with [`finish`](Self::finish); without it, the output of the program is printed.
#[derive(Debug)]
pub struct Dev {
    // First, so that the process is gone before its folder.
    process: Option<Process>,
    client: Client,
    environment: Vec<(String, String)>,
    /// Output of every run, the last one last.
    logs: Vec<PathBuf>,
    scratch: Scratch,
    finished: bool,
}

impl Dev {
    /// One that is not started yet, with these destinations. No `LONGSHORE_*` variable is set but the
    /// configuration file, where there are destinations.
    ///
    /// # Errors
    /// If its folder cannot be written.
    pub fn new(destinations: &[Destination]) -> Result<Self> {
        Self::configured(destinations, "")
    }

    /// The same, with more lines in its configuration.
    ///
    /// # Errors
    /// If its folder cannot be written.
    pub fn configured(destinations: &[Destination], more: &str) -> Result<Self> {
        let scratch = Scratch::new()?;
        let mut environment = Vec::new();
        if !destinations.is_empty() || !more.is_empty() {
            let file = scratch.path().join("longshore.toml");
            fs::write(&file, render(destinations, more)).context("writing the configuration")?;
            environment.push(("LONGSHORE_CONFIG".to_owned(), file.display().to_string()));
            environment.extend(destinations.iter().map(Destination::secret));
        }
        let dev = Self {
            process: None,
            client: Client::new(format!("http://127.0.0.1:{}", port::free()?))?,
            environment,
            logs: Vec::new(),
            scratch,
            finished: false,
        };
        fs::create_dir(dev.folder()).context("making the working directory")?;
        Ok(dev)
    }

    /// The working directory. Its name has odd characters that a path may have.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.scratch.path().join("a folder, with ü %20")
    }

    /// `HOST:PORT` of it.
    #[must_use]
    pub fn listen(&self) -> &str {
        self.client.base().trim_start_matches("http://")
    }

    /// A client of it.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Starts it, and waits until it is ready.
    ///
    /// # Errors
    /// If it ends early or is not ready in time.
    pub async fn start(&mut self) -> Result<()> {
        self.start_with(&[]).await
    }

    /// The same, with more arguments.
    ///
    /// # Errors
    /// If it ends early or is not ready in time.
    pub async fn start_with(&mut self, arguments: &[&str]) -> Result<()> {
        ensure!(self.process.is_none(), "it runs already");
        let mut command = self.command()?;
        command
            .args(["dev", "--listen", self.listen()])
            .args(arguments);
        let log = self
            .scratch
            .path()
            .join(format!("dev.{}.log", self.logs.len()));
        self.logs.push(log.clone());
        let mut process = Process::spawn(Program::Longshore, command, log)?;
        let client = self.client.clone();
        let up = eventually(UP, "`longshore dev` to be ready", || {
            let (ended, client) = (process.exited(), client.clone());
            async move {
                if let Some(status) = ended? {
                    return Ok(Err(status));
                }
                let answer = client.get("/readyz").await?;
                ensure!(answer.status == 200, "{}", answer.text());
                Ok(Ok(()))
            }
        })
        .await?;
        if let Err(status) = up {
            bail!("it ended: {status}\n{}", process.output());
        }
        self.process = Some(process);
        Ok(())
    }

    /// Runs `longshore` with these arguments beside it, in the same folder and environment.
    ///
    /// # Errors
    /// If it cannot be started or does not end.
    pub async fn longshore(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command()?;
        command.args(arguments);
        run(command, format!("longshore {}", arguments.join(" "))).await
    }

    /// Runs `longshore` with these arguments in the same folder, with these `LONGSHORE_*` variables and no others.
    ///
    /// # Errors
    /// If it cannot be started or does not end.
    pub async fn beside(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Result<Output> {
        let mut command = Program::Longshore.command()?;
        command.current_dir(self.folder()).args(arguments);
        command.envs(variables.iter().copied());
        run(command, format!("longshore {}", arguments.join(" "))).await
    }

    /// What it has printed since it was last started.
    #[must_use]
    pub fn output(&self) -> String {
        let log = self.logs.last().map(fs::read).and_then(Result::ok);
        String::from_utf8_lossy(&log.unwrap_or_default()).into_owned()
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// If it had ended already.
    pub async fn kill(&mut self) -> Result<()> {
        self.running()?.kill().await?;
        self.process = None;
        Ok(())
    }

    /// Writes the configuration file anew while it runs. New destinations must say their secrets in place.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn reconfigure(&self, destinations: &[Destination], more: &str) -> Result<()> {
        let file = self.scratch.path().join("longshore.toml");
        fs::write(file, render(destinations, more)).context("writing the configuration")
    }

    /// Sends SIGHUP.
    ///
    /// # Errors
    /// If it had ended already.
    pub fn hang_up(&mut self) -> Result<()> {
        self.running()?.signal(Signal::HUP)
    }

    /// Presses Ctrl-C.
    ///
    /// # Errors
    /// If it had ended already.
    pub fn interrupt(&mut self) -> Result<()> {
        self.running()?.signal(Signal::INT)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it does not end in time.
    pub async fn ended(&mut self, within: Duration) -> Result<ExitStatus> {
        let status = self.running()?.wait(within).await?;
        self.process = None;
        Ok(status)
    }

    /// Ends a test that went well: nothing has panicked in any run.
    ///
    /// # Errors
    /// If something has.
    pub fn finish(mut self) -> Result<()> {
        for log in &self.logs {
            let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
            if let Some(line) = text.lines().find(|line| line.contains("panicked at")) {
                bail!("it panicked: {line}");
            }
        }
        self.finished = true;
        Ok(())
    }

    fn running(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("it does not run")
    }

    fn command(&self) -> Result<Command> {
        let mut command = Program::Longshore.command()?;
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        command.current_dir(self.folder());
        Ok(command)
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if !self.finished {
            eprintln!(
                "---- longshore dev, run {} ----\n{}",
                self.logs.len(),
                self.output()
            );
        }
    }
}
