//! The `portcullis` binary: everything happens in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    portcullis::commands::run(std::env::args_os())
}
