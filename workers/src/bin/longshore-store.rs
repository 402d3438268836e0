//! The store worker.

use std::process::ExitCode;

fn main() -> ExitCode {
    common::bootstrap::without_arguments("longshore-store", workers::store::main)
}
