//! The command line, shared by the `curfew-emulator` binary and the gateway's `emulator` subcommand.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;

use crate::control::Emulator;
use crate::options::{Error, NumberOptions, Options, Storage, parse_duration};

/// An emulator of the WhatsApp Cloud API, media host included.
#[derive(Clone, Debug, ClapArgs)]
pub struct Args {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8081")]
    pub listen: SocketAddr,
    /// How long one emulated minute lasts: 500ms, 1s, 1m
    #[arg(long, default_value = "1m", value_parser = parse_duration)]
    pub minute: Duration,
    /// The numbers of this policies.toml, registered with the storage it declares [default: two samples]
    #[arg(long)]
    pub policies: Option<PathBuf>,
    /// Ids follow from it
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where webhooks go; plain http
    #[arg(long)]
    pub webhook_url: Option<String>,
    /// The base URL under which callers reach it, for links in replies [default: the address]
    #[arg(long)]
    pub public_url: Option<String>,
    /// Enforce throughput and pair limits
    #[arg(long)]
    pub limits: bool,
    /// Entries kept in each record; 0 for load tests
    #[arg(long, default_value_t = 10_000)]
    pub record: usize,
    /// Keep only length and digest of uploads; downloads are zeros
    #[arg(long)]
    pub discard_media: bool,
}

impl Args {
    /// The options that the arguments stand for.
    ///
    /// # Errors
    /// The policies cannot be read or make no sense.
    pub fn options(&self) -> Result<Options, Error> {
        let numbers = match &self.policies {
            Some(path) => Options::from_policies_toml(&std::fs::read_to_string(path)?)?,
            None => vec![
                NumberOptions::new(106_540_352_242_922).storage(Storage::NoStorage),
                NumberOptions::new(106_540_352_242_933).storage(Storage::InCountry("DE".to_owned())),
            ],
        };
        Ok(Options {
            listen: self.listen,
            minute: self.minute,
            seed: self.seed,
            numbers,
            enforce_limits: self.limits,
            webhook_url: self.webhook_url.clone(),
            public_url: self.public_url.clone(),
            record: self.record,
            keep_media: !self.discard_media,
            ..Options::default()
        })
    }
}

/// Serves until the process is told to end (SIGINT, SIGTERM). Prints one line: the base URL.
///
/// # Errors
/// The policies cannot be read, the address cannot be bound, standard output is gone.
pub async fn run(args: Args) -> Result<(), Error> {
    let emulator = Emulator::start(args.options()?).await?;
    // Heard from before the address is told: whoever knows it may ask for the end at once.
    let told_to_end = told_to_end()?;
    writeln!(std::io::stdout(), "{}", emulator.base_url())?;
    told_to_end.await?;
    emulator.shutdown().await;
    Ok(())
}

#[cfg(unix)]
fn told_to_end() -> io::Result<impl Future<Output = io::Result<()>>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}

#[cfg(not(unix))]
fn told_to_end() -> io::Result<impl Future<Output = io::Result<()>>> {
    Ok(tokio::signal::ctrl_c())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn arguments_become_options() {
        let cli = Cli::try_parse_from([
            "x",
            "--listen",
            "127.0.0.1:0",
            "--minute",
            "1s",
            "--limits",
            "--record",
            "0",
        ]);
        let options = cli.unwrap().args.options().unwrap();
        assert_eq!(options.minute, Duration::from_secs(1));
        assert!(options.enforce_limits && options.keep_media);
        assert_eq!((options.numbers.len(), options.record), (2, 0));
        assert!(Cli::try_parse_from(["x", "--minute", "0s"]).is_err());
        let missing = Cli::try_parse_from(["x", "--policies", "/nowhere/policies.toml"]).unwrap();
        assert!(matches!(missing.args.options(), Err(Error::Io(_))));
    }
}
