//! `longshore run`: one of the programs in this process.

use std::ffi::OsString;
use std::iter;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

/// Which program.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore run store
  LONGSHORE_LISTEN=127.0.0.1:9100 longshore run integrate --destination crm")]
pub struct RunArgs {
    /// The program
    pub program: Program,
    /// What the program itself is given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

/// The programs of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Program {
    /// The HTTP door
    Producer,
    /// Checks schema and rules
    Validate,
    /// Writes events to the database
    Store,
    /// Delivers to outside systems
    Integrate,
    /// Keeps dead letters and rejections
    Archive,
}

impl Program {
    /// The word that `longshore run` knows it by.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Validate => "validate",
            Self::Store => "store",
            Self::Integrate => "integrate",
            Self::Archive => "archive",
        }
    }
}

impl RunArgs {
    /// Runs the program until it ends.
    pub(crate) fn start(self) -> ExitCode {
        let name = format!("longshore-{}", self.program.as_str());
        let arguments = iter::once(name.into()).chain(self.args);
        match self.program {
            Program::Producer => producer::main(arguments),
            Program::Validate => workers::validate::main(arguments),
            Program::Store => workers::store::main(arguments),
            Program::Integrate => workers::integrate::main(arguments),
            Program::Archive => workers::archive::main(arguments),
        }
    }
}
