//! The ingress.

use std::process::ExitCode;

fn main() -> ExitCode {
    producer::main()
}
