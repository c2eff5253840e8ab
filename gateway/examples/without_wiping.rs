//! The `curfew` command without its wiping allocator, to measure what wiping costs (`loadtest/peers/wiping.py`). Not for
//! real traffic: what it frees stays in memory.

use std::process::ExitCode;

fn main() -> ExitCode {
    curfew::cli::main()
}
