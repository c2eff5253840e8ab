//! The commands, one a file: each has its arguments and a `run`.

pub mod check;
pub mod explain;
pub mod key;
mod log;
pub mod run;
pub mod sandbox;
mod signals;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use curfew_policies::Minute;

/// A compliance gateway for Meta's WhatsApp Cloud API.
///
/// Services change their base URL from `https://graph.facebook.com` to the gateway's, and from then on cannot break their number's
/// storage policy.
#[derive(Debug, Parser)]
#[command(version, about, long_about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Sandbox(sandbox::Sandbox),
    Run(run::Run),
    /// Stand in for the WhatsApp Cloud API, media host included, without the gateway.
    Emulator(curfew_emulator::cli::Args),
    Check(check::Check),
    Explain(explain::Explain),
    Key(key::Key),
}

/// Runs the command line, and returns what the process exits with: 0 for success, 1 for failure (2 is for usage).
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Sandbox(args) => served(sandbox::run(args)),
        Command::Run(args) => served(run::run(args)),
        Command::Emulator(args) => served(async { Ok(curfew_emulator::cli::run(args).await?) }),
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Key(args) => key::run(&args),
    }
}

/// Any failure of a command, with its sources.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Keeps the process's memory to itself, and tells what of that could not be had.
fn harden() {
    for warning in crate::hardening::harden() {
        tracing::warn!("{warning}");
    }
}

fn served(command: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(failure.as_ref());
            ExitCode::FAILURE
        }
    }
}

/// Tells a person what went wrong, sources and all.
fn complain(failure: &(dyn std::error::Error + 'static)) {
    use std::io::Write as _;
    let mut text = format!("curfew: {failure}");
    let mut source = failure.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    // Without standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Reads `--minute`.
fn parse_minute(text: &str) -> Result<Minute, String> {
    let length = curfew_emulator::parse_duration(text).map_err(|error| error.to_string())?;
    Minute::lasting(length).ok_or_else(|| "a minute lasts from 1ms to 60s".to_owned())
}
