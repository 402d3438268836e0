//! The operator's command line: look at a running system, mend it, show it.
//!
//! [`args`] says what can be asked, `dispatch` which command does it, and `commands` has a module a command. What they do
//! is in the library `operate`; here it is asked and printed. What commands share is beside them: starting and ending
//! ([`app`]), printing ([`output`]), taking a survey (`survey`), moments (`when`), quoting for a shell (`shell`), where the
//! embedded engine keeps its files (`data`), and a whole system in child processes ([`system`]), which `demo` works on.
//!
//! What is public beside the command line is what `longshore-bench` is made of.

pub mod app;
pub mod args;
mod commands;
mod confirm;
mod data;
mod demo;
mod dev;
mod dispatch;
pub mod output;
pub mod percentiles;
mod shell;
pub mod stop;
mod survey;
pub mod system;
mod when;

use std::process::ExitCode;

use args::{Cli, Command};
pub use commands::run::Program;
use output::Output;

/// Runs the command line of this process and says how it ended: 0 done, 1 the work failed, 2 wrong
/// usage or configuration, 3 a dependency is unreachable.
pub fn main() -> ExitCode {
    let cli: Cli = match app::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    // These two are programs: they read the configuration, log and listen to signals by themselves.
    match cli.command {
        Command::Run(run) => return run.start(),
        Command::Dev(dev) => return dev.start(Output::new(cli.json)),
        _ => {}
    }
    app::exit_code("longshore", dispatch::run(cli))
}
