//! The `curfew` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    curfew::cli::main()
}
