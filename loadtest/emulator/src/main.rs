//! The emulator as a program of its own.

use std::process::ExitCode;

use clap::Parser;
use curfew_emulator::cli;

#[derive(Parser)]
#[command(name = "curfew-emulator", version, about)]
struct Cli {
    #[command(flatten)]
    args: cli::Args,
}

#[tokio::main]
async fn main() -> ExitCode {
    match cli::run(Cli::parse().args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            // A standard error that is gone leaves the exit code to speak.
            let _ = writeln!(std::io::stderr(), "curfew-emulator: {error}");
            ExitCode::FAILURE
        }
    }
}
