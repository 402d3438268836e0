//! The archive worker.

use std::process::ExitCode;

fn main() -> ExitCode {
    common::bootstrap::without_arguments("longshore-archive", workers::archive::main)
}
