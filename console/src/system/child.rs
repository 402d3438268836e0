//! One program as a child process.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use common::bootstrap::Failure;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::time::{Instant, timeout};

/// Maximum time until a program is ready.
const START: Duration = Duration::from_secs(30);

/// Maximum time until a program has ended, before it is killed. Nothing is lost then either.
const END: Duration = Duration::from_secs(15);

/// Maximum of a log that is shown where a program fails, in bytes.
const TAIL: usize = 2000;

/// A running program. When dropped, it is killed.
pub(super) struct Child {
    name: &'static str,
    process: tokio::process::Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Child {
    /// Starts this executable with `arguments`, as the program `name`. `environment` takes the place of all
    /// `LONGSHORE_*` variables of this process. The log goes to a file in `folder`.
    pub(super) fn spawn(
        name: &'static str,
        arguments: &[&str],
        number: usize,
        environment: &[(String, String)],
        folder: &Path,
    ) -> Result<Self, Failure> {
        let executable = std::env::current_exe().context("this executable cannot be found")?;
        let address = free_port().context("no free port on 127.0.0.1")?;
        let log = folder.join(format!("{name}-{number}.log"));
        let file = File::create(&log).context("the log cannot be written")?;
        let mut command = Command::new(executable);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            // Ctrl-C at the terminal is for this process; it ends its children in good order.
            .process_group(0)
            .kill_on_drop(true);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LONGSHORE_") {
                command.env_remove(name);
            }
        }
        command
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env("LONGSHORE_LISTEN", address.to_string())
            .env("LONGSHORE_LOG", "warn");
        let process = command
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        Ok(Self {
            name,
            process,
            address,
            log,
        })
    }

    /// Waits until the program says that it is ready.
    pub(super) async fn ready(&mut self, http: &reqwest::Client) -> Result<(), Failure> {
        let name = self.name;
        let url = format!("http://{}/readyz", self.address);
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = self
                .process
                .try_wait()
                .context("a child cannot be watched")?
            {
                return Err(anyhow!("{name} ended at once ({status}): {}", self.log_tail()).into());
            }
            if http
                .get(&url)
                .send()
                .await
                .is_ok_and(|answer| answer.status().is_success())
            {
                return Ok(());
            }
            if Instant::now() > deadline {
                let log = self.log_tail();
                return Err(anyhow!("{name} was not ready within {START:?}: {log}").into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The program's process id, while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Tells the program to finish its work and to end.
    pub(super) fn terminate(&self) {
        let id = self.process.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id.and_then(Pid::from_raw) {
            // The program may have ended by itself in the meantime.
            let _ = kill_process(id, Signal::TERM);
        }
    }

    /// Waits until the program has ended, and kills it where it does not end in time.
    pub(super) async fn ended(&mut self) {
        if timeout(END, self.process.wait()).await.is_err() {
            // A process that cannot be killed is gone already.
            let _ = self.process.kill().await;
        }
    }

    fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let tail = text.len().saturating_sub(TAIL);
        let tail = String::from_utf8_lossy(&text[tail..]);
        if tail.trim().is_empty() {
            "its log is empty".to_owned()
        } else {
            tail.trim().to_owned()
        }
    }
}

/// A port that is free now. Another process may take it before the program does. That is rare, and the program
/// then says so.
fn free_port() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
