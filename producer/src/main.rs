//! `longshore-producer`: the ingress.

use std::process::ExitCode;

fn main() -> ExitCode {
    producer::main(std::env::args_os())
}
