//! The `longhaul` binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    longhaul::cli::main()
}
