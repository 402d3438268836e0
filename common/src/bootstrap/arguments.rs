//! The command line of a program that runs until its stop signal.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ArgMatches, Command};

/// The end of every program's help: configuration, signals and exit codes.
const CONFIGURATION: &str = "\
Configuration: environment (LONGSHORE_BROKER_URL, LONGSHORE_DATABASE_URL, LONGSHORE_NAMESPACE, LONGSHORE_LISTEN, …), \
then the file that LONGSHORE_CONFIG names, then defaults. docs/configuration.md lists all keys, and `longshore doctor` \
shows the settings in force. SIGTERM and Ctrl-C end the program in good order, a second signal at once. \
A changed file, or SIGHUP, is read without a restart; a wrong one changes nothing.

Exit codes: 0 stopped by a signal, 1 the work failed, 2 wrong usage or configuration, 3 a dependency is unreachable.";

/// The command line of the program `name`: `--help` and `--version`, to which it adds its own.
pub fn command(name: &'static str, about: &'static str) -> Command {
    Command::new(name)
        .version(env!("CARGO_PKG_VERSION"))
        .about(about)
        .after_help(CONFIGURATION)
}

/// Reads arguments, the first of which is the name of the program. Prints the help or the version, or the error about
/// arguments it cannot read; the error value is the exit code.
///
/// # Errors
/// The program is not to be started.
pub fn matches(
    command: Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<ArgMatches, ExitCode> {
    command.try_get_matches_from(arguments).map_err(|error| {
        // Where not even this can be written there is nobody to tell.
        let _ = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_tells_what_it_is_and_takes_nothing_it_does_not_know() {
        let asked = |arguments: &[&str]| {
            let arguments = arguments.iter().map(OsString::from);
            let command = command("longshore-store", "Writes events to the database");
            command.try_get_matches_from(arguments)
        };
        assert!(asked(&["longshore-store"]).is_ok());
        let help = asked(&["longshore-store", "--help"]).unwrap_err();
        assert_eq!(help.exit_code(), 0);
        let text = help.to_string();
        for words in [
            "Writes events",
            "Usage: longshore-store",
            "LONGSHORE_CONFIG",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        let version = asked(&["longshore-store", "--version"]).unwrap_err();
        assert_eq!(
            version.to_string(),
            format!("longshore-store {}\n", env!("CARGO_PKG_VERSION"))
        );
        for wrong in ["--destination", "crm"] {
            let refused = asked(&["longshore-store", wrong]).unwrap_err();
            assert_eq!(refused.exit_code(), 2, "{wrong}");
        }
    }
}
