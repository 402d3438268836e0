//! One real process of the product.

use std::{
    env,
    fmt::{self, Display},
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

/// A program of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// The ingress.
    Producer,
    /// The worker that validates received events.
    Validate,
    /// The worker that writes events to the database.
    Store,
    /// The worker that calls destinations.
    Integrate,
    /// The worker that records dead letters and rejections.
    Archive,
    /// A store worker that dies over certain events, see `src/bin/crashing-store.rs`.
    CrashingStore,
    /// The operator's command line.
    Longshore,
}

impl Program {
    /// The four workers.
    pub const WORKERS: [Self; 4] = [Self::Validate, Self::Store, Self::Integrate, Self::Archive];

    /// The name of its executable.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Producer => "longshore-producer",
            Self::Validate => "longshore-validate",
            Self::Store => "longshore-store",
            Self::Integrate => "longshore-integrate",
            Self::Archive => "longshore-archive",
            Self::CrashingStore => "crashing-store",
            Self::Longshore => "longshore",
        }
    }

    /// Where its executable is: in the folder that holds this test's own, or in
    /// `LONGSHORE_BIN_DIR`.
    ///
    /// # Errors
    /// If it was not built.
    pub fn path(self) -> Result<PathBuf> {
        let folder = match env::var_os("LONGSHORE_BIN_DIR") {
            Some(folder) => PathBuf::from(folder),
            None => {
                let test = env::current_exe().context("finding this test's executable")?;
                // target/debug/deps/e2e-… and target/debug/longshore-producer
                let folder = test.parent().and_then(Path::parent);
                folder
                    .context("this test's executable is in no target folder")?
                    .to_owned()
            }
        };
        self.path_in(&folder)
    }

    /// Its executable in a given folder.
    ///
    /// # Errors
    /// If it is not there.
    pub fn path_in(self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join(self.name());
        ensure!(
            path.exists(),
            "{} is not built: run the tests with `scripts/test`, which builds every program first",
            path.display()
        );
        Ok(path)
    }

    /// A command for it that dies with the test. It inherits no `LONGSHORE…` variable.
    ///
    /// # Errors
    /// If it was not built.
    pub fn command(self) -> Result<Command> {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(self.path()?);
        for (key, _) in env::vars_os() {
            if key.to_string_lossy().starts_with("LONGSHORE") {
                command.env_remove(key);
            }
        }
        Ok(command)
    }
}

impl Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A running (or ended) process with its output in a file. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    program: Program,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, writing both its output streams to `log`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(program: Program, mut command: Command, log: PathBuf) -> Result<Self> {
        let file = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {program} through setpriv"))?;
        Ok(Self {
            program,
            child,
            log,
        })
    }

    /// Which program it is.
    #[must_use]
    pub fn program(&self) -> Program {
        self.program
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended; `None` while it runs.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("asking after {}", self.program))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// If it has ended already.
    pub fn signal(&mut self, which: Signal) -> Result<()> {
        if let Some(status) = self.exited()? {
            bail!(
                "{} was to be signalled but had ended: {status}",
                self.program
            );
        }
        signal(self.pid(), which)
    }

    /// Kills it with SIGKILL, without a chance to tidy up.
    ///
    /// # Errors
    /// If it has ended already: then the test killed nothing.
    pub async fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        let status = self.wait(Duration::from_secs(10)).await?;
        ensure!(
            status.signal() == Some(9),
            "{} ended before the kill: {status}",
            self.program
        );
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it still runs after `within`.
    pub async fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!(
                    "{} (pid {}) still ran after {within:?}",
                    self.program,
                    self.pid()
                );
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Its output so far.
    #[must_use]
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Its resident memory in bytes.
    ///
    /// # Errors
    /// If it has ended.
    pub fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .with_context(|| format!("reading the memory of {}", self.program))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes: u64 = line
            .and_then(|rest| rest.split_whitespace().next())
            .with_context(|| format!("{} has no VmRSS; has it ended?", self.program))?
            .parse()
            .context("reading VmRSS")?;
        Ok(kilobytes * 1024)
    }

    /// The processor time it has used, in user and kernel mode together.
    ///
    /// # Errors
    /// If it has ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()))
            .with_context(|| format!("reading the processor time of {}", self.program))?;
        // Fields are counted from behind the name, which may itself contain spaces.
        let (_, fields) = stat
            .rsplit_once(')')
            .context("/proc/PID/stat has no name")?;
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().context("reading /proc/PID/stat"))
            .sum::<Result<u64>>()?;
        Ok(Duration::from_millis(
            ticks * 1000 / rustix::param::clock_ticks_per_second(),
        ))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a child of this process.
pub(crate) fn signal(pid: u32, which: Signal) -> Result<()> {
    let target = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .context("no such process id")?;
    kill_process(target, which).with_context(|| format!("sending {which:?} to process {pid}"))
}
