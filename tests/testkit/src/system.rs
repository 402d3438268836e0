//! A whole system of real processes.

mod builder;
mod config;
mod member;
mod output;

use std::{
    fs,
    path::PathBuf,
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use uuid::Uuid;

pub use self::builder::Builder;
pub use self::config::Destination;
pub(crate) use self::config::render;
use self::member::Member;
pub use self::output::{Output, run, run_with_input};
use crate::{
    broker::Outsider,
    client::Client,
    ledger::{Balance, Ledger},
    namespace::Namespace,
    port,
    process::{Process, Program},
    scratch::Scratch,
    services::Services,
};

/// How long a program may take to be up. Generous, as parallel tests share two cores.
const UP: Duration = Duration::from_secs(60);

/// A running system: a producer and workers in a namespace of their own.
///
/// A test ends with [`finish`](Self::finish); a system dropped without it prints the output of its
/// processes.
pub struct System {
    // First, so that processes are gone before the queues they use.
    members: Vec<Member>,
    finished: bool,
    client: Client,
    environment: Vec<(String, String)>,
    own: Vec<(Program, String, String)>,
    services: Services,
    namespace: Namespace,
    scratch: Scratch,
}

impl System {
    /// A builder of a system with one copy of each program, on the shared services.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// A client of the producer.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The full name of an exchange or queue.
    #[must_use]
    pub fn named(&self, short: &str) -> String {
        self.namespace.named(short)
    }

    /// An outsider on the system's broker.
    ///
    /// # Errors
    /// If the broker cannot be reached.
    pub async fn outsider(&self) -> Result<Outsider> {
        Outsider::connect(&self.services.broker_url).await
    }

    /// A reader of the system's tables.
    ///
    /// # Errors
    /// If the database cannot be reached.
    pub async fn ledger(&self) -> Result<Ledger> {
        Ledger::open(&self.services.database_url, self.namespace.name()).await
    }

    /// Waits until every accepted event is at rest in exactly one terminal state.
    ///
    /// # Errors
    /// If they are not within the time; lists the missing and the double ones.
    pub async fn settled(&self, accepted: &[Uuid], within: Duration) -> Result<Balance> {
        self.ledger().await?.settled(accepted, within).await
    }

    /// A file in the system's folder, for input of commands.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.scratch.path().join(name);
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// Writes the configuration file anew, as [`Builder`] does, while the programs run. New destinations must say their secrets
    /// in place: a running program gets no other variables.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn reconfigure(&self, destinations: &[Destination], more: &str) -> Result<()> {
        self.file("longshore.toml", render(destinations, more))?;
        Ok(())
    }

    /// The copies of all programs, as they can be asked for.
    #[must_use]
    pub fn copies(&self) -> Vec<(Program, usize)> {
        let mut copies: Vec<(Program, usize)> = Vec::new();
        for member in &self.members {
            let program = member.process.program();
            let copy = copies.iter().filter(|(other, _)| *other == program).count();
            copies.push((program, copy));
        }
        copies
    }

    /// Runs `longshore` with these arguments and the system's environment, without a terminal.
    ///
    /// # Errors
    /// If it cannot be started or does not end within two minutes.
    pub async fn longshore(&self, arguments: &[&str]) -> Result<Output> {
        self.longshore_with(&[], arguments).await
    }

    /// As [`longshore`](Self::longshore), with these variables set differently.
    ///
    /// # Errors
    /// As [`longshore`](Self::longshore).
    pub async fn longshore_with(
        &self,
        environment: &[(&str, &str)],
        arguments: &[&str],
    ) -> Result<Output> {
        let mut command = self.command(Program::Longshore)?;
        command.args(arguments).envs(environment.iter().copied());
        run(command, format!("longshore {}", arguments.join(" "))).await
    }

    /// As [`longshore_with`](Self::longshore_with), without waiting for its end.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn longshore_running(
        &self,
        environment: &[(&str, &str)],
        arguments: &[&str],
    ) -> Result<Process> {
        let mut command = self.command(Program::Longshore)?;
        command.args(arguments).envs(environment.iter().copied());
        let log = self
            .scratch
            .path()
            .join(format!("longshore.{}.log", Uuid::new_v4().simple()));
        Process::spawn(Program::Longshore, command, log)
    }

    /// Starts a program of this system's with variables of its own, beside the others; it ends with its handle.
    ///
    /// # Errors
    /// If it is not built.
    pub fn beside(&self, program: Program, environment: &[(&str, &str)]) -> Result<Process> {
        let mut command = self.command(program)?;
        command.envs(environment.iter().copied());
        let log = self
            .scratch
            .path()
            .join(format!("beside.{}.log", Uuid::new_v4().simple()));
        Process::spawn(program, command, log)
    }

    /// Runs a program that ends by itself, with these variables set differently.
    ///
    /// # Errors
    /// If it cannot be started or does not end within two minutes.
    pub async fn run_to_its_end(
        &self,
        program: Program,
        environment: &[(&str, &str)],
    ) -> Result<Output> {
        let mut command = self.command(program)?;
        command.envs(environment.iter().copied());
        run(command, program.to_string()).await
    }

    /// Sets an environment variable of one program's processes that are started from now on.
    pub fn set_of(&mut self, program: Program, key: &str, value: &str) {
        self.own.push((program, key.to_owned(), value.to_owned()));
    }

    /// The process of a program; the first copy is 0.
    ///
    /// # Errors
    /// If there is no such copy.
    pub fn process(&mut self, program: Program, copy: usize) -> Result<&mut Process> {
        Ok(&mut self.member(program, copy)?.process)
    }

    /// Kills a process with SIGKILL.
    ///
    /// # Errors
    /// If it had ended already.
    pub async fn kill(&mut self, program: Program, copy: usize) -> Result<()> {
        let member = self.member(program, copy)?;
        member.ended_by_test = true;
        member.process.kill().await
    }

    /// Asks a process to end with SIGTERM and waits for that.
    ///
    /// # Errors
    /// If it had ended already, or does not end in time.
    pub async fn terminate(
        &mut self,
        program: Program,
        copy: usize,
        within: Duration,
    ) -> Result<ExitStatus> {
        self.process(program, copy)?.signal(Signal::TERM)?;
        self.ended(program, copy, within).await
    }

    /// Waits for the end of a process that the test signalled by itself.
    ///
    /// # Errors
    /// If it does not end in time.
    pub async fn ended(
        &mut self,
        program: Program,
        copy: usize,
        within: Duration,
    ) -> Result<ExitStatus> {
        let member = self.member(program, copy)?;
        member.ended_by_test = true;
        member.process.wait(within).await
    }

    /// Starts an ended process again, on the same port, and waits until it is up.
    ///
    /// # Errors
    /// If it is not up in time.
    pub async fn start_again(&mut self, program: Program, copy: usize) -> Result<()> {
        let command = self.command(program)?;
        let member = self.member(program, copy)?;
        member.restart(command)?;
        member.await_up(UP).await
    }

    /// Adds another copy of a program that may not live until it is up.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn begin(&mut self, program: Program) -> Result<()> {
        self.launch(program).map(|_| ())
    }

    /// Starts an ended process again that may not live until it is up.
    ///
    /// # Errors
    /// If it still runs or cannot be started.
    pub fn begin_again(&mut self, program: Program, copy: usize) -> Result<()> {
        let command = self.command(program)?;
        self.member(program, copy)?.restart(command)
    }

    /// Adds another copy of a program and waits until it is up.
    ///
    /// # Errors
    /// If it is not up in time.
    pub async fn add(&mut self, program: Program) -> Result<()> {
        let member = self.launch(program)?;
        member.await_up(UP).await
    }

    /// `http://host:port` of a process, for its health and metrics.
    ///
    /// # Errors
    /// If there is no such copy.
    pub fn address(&mut self, program: Program, copy: usize) -> Result<String> {
        Ok(self.member(program, copy)?.address())
    }

    /// Ends a test that went well: checks that every process the test did not end still runs and
    /// that none panicked.
    ///
    /// # Errors
    /// If one ended by itself or panicked.
    pub async fn finish(mut self) -> Result<()> {
        for member in &mut self.members {
            member.check()?;
        }
        self.finished = true;
        Ok(())
    }

    /// A command that runs a program with the system's environment.
    ///
    /// # Errors
    /// If it was not built.
    pub fn command(&self, program: Program) -> Result<Command> {
        let mut command = program.command()?;
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        let own = self.own.iter().filter(|(of, ..)| *of == program);
        command.envs(own.map(|(_, key, value)| (key, value)));
        command.current_dir(self.scratch.path());
        Ok(command)
    }

    fn launch(&mut self, program: Program) -> Result<&mut Member> {
        let copy = self
            .members
            .iter()
            .filter(|member| member.is(program))
            .count();
        let first_producer = program == Program::Producer && copy == 0;
        let listen = if first_producer {
            self.client.base().trim_start_matches("http://").to_owned()
        } else {
            format!("127.0.0.1:{}", port::free()?)
        };
        let log = self.scratch.path().join(format!("{program}.{copy}.log"));
        self.members.push(Member::launch(
            program,
            self.command(program)?,
            listen,
            log,
        )?);
        self.members.last_mut().context("a member was just added")
    }

    fn member(&mut self, program: Program, copy: usize) -> Result<&mut Member> {
        match self
            .members
            .iter_mut()
            .filter(|member| member.is(program))
            .nth(copy)
        {
            Some(member) => Ok(member),
            None => bail!("the test started no copy {copy} of {program}"),
        }
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if !self.finished {
            for member in &self.members {
                member.print();
            }
        }
    }
}
