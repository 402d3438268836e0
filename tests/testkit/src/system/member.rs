//! One process of a system, which can be started again.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    client::Client,
    process::{Process, Program},
    wait::eventually,
};

/// How many lines of a process's output are printed when a test fails.
const SHOWN: usize = 80;

pub(super) struct Member {
    pub(super) process: Process,
    /// Set when the test ended it, so that its end is expected.
    pub(super) ended_by_test: bool,
    program: Program,
    listen: String,
    logs: Vec<PathBuf>,
}

impl Member {
    pub(super) fn launch(
        program: Program,
        command: Command,
        listen: String,
        log: PathBuf,
    ) -> Result<Self> {
        let process = Self::spawn(program, command, &listen, &log)?;
        Ok(Self {
            process,
            ended_by_test: false,
            program,
            listen,
            logs: vec![log],
        })
    }

    pub(super) fn restart(&mut self, command: Command) -> Result<()> {
        ensure!(
            self.process.exited()?.is_some(),
            "{} still runs",
            self.program
        );
        let log = self.logs[0].with_extension(format!("{}.log", self.logs.len()));
        self.process = Self::spawn(self.program, command, &self.listen, &log)?;
        self.logs.push(log);
        self.ended_by_test = false;
        Ok(())
    }

    fn spawn(
        program: Program,
        mut command: Command,
        listen: &str,
        log: &std::path::Path,
    ) -> Result<Process> {
        command.env("LONGSHORE_LISTEN", listen);
        Process::spawn(program, command, log.to_owned())
    }

    pub(super) fn is(&self, program: Program) -> bool {
        self.program == program
    }

    pub(super) fn address(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Waits for `/readyz` of the producer and `/livez` of a worker.
    pub(super) async fn await_up(&mut self, within: Duration) -> Result<()> {
        let client = Client::new(self.address())?;
        let path = if self.program == Program::Producer {
            "/readyz"
        } else {
            "/livez"
        };
        let (program, process) = (self.program, &mut self.process);
        let up = eventually(
            within,
            format!("{program} to answer {path} with 200"),
            || async {
                let answer = client.get(path).await?;
                ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
                Ok(())
            },
        );
        let ended = async {
            loop {
                match process.exited() {
                    Ok(None) => tokio::time::sleep(Duration::from_millis(50)).await,
                    Ok(Some(status)) => return format!("it ended: {status}"),
                    Err(error) => return format!("{error:#}"),
                }
            }
        };
        let up = tokio::select! {
            up = up => up,
            ended = ended => Err(anyhow::anyhow!(ended)),
        };
        up.with_context(|| format!("starting {program}"))
    }

    pub(super) fn check(&mut self) -> Result<()> {
        if let (Some(status), false) = (self.process.exited()?, self.ended_by_test) {
            bail!("{} ended by itself: {status}", self.program);
        }
        for log in &self.logs {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            if let Some(line) = text.lines().find(|line| line.contains("panicked at")) {
                bail!("{} panicked: {line}", self.program);
            }
        }
        Ok(())
    }

    pub(super) fn print(&self) {
        for log in &self.logs {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let (program, skipped) = (self.program, lines.len().saturating_sub(SHOWN));
            eprintln!(
                "---- {program} on {}, {skipped} lines left out ----",
                self.listen
            );
            for line in &lines[skipped..] {
                eprintln!("{line}");
            }
        }
    }
}
