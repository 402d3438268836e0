//! The operator's command line: look at a running system, mend it, show it.
//!
//! [`args`] defines the command line, `dispatch` maps it to commands, and `commands` has one module for each
//! command. The work is done in the library `operate`; here commands ask and print.
//!
//! Shared parts are beside the commands: starting and ending ([`app`]), printing ([`output`]), surveys (`survey`),
//! moments (`when`), who works here ([`operator`]), and quoting for a shell (`shell`). The files of the embedded engine are in `data`. A whole
//! system in child processes is in [`system`], which `demo` works on.
//!
//! The public items beside the command line are for `longshore-bench`.

// Tests tell their story in one piece.
#![cfg_attr(not(test), warn(clippy::too_many_lines))]

pub mod app;
pub mod args;
mod commands;
mod confirm;
mod data;
mod demo;
mod dev;
mod dispatch;
pub mod operator;
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

/// Runs the command line of this process and returns the exit code. 0: done; 1: the work failed; 2: wrong usage or
/// configuration; 3: a dependency is unreachable.
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
