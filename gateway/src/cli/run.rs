//! `curfew run`: the gateway.

use std::path::{Path, PathBuf};

use clap::Args;
use curfew_policies::Minute;

use super::{Failure, harden, log, parse_minute, signals};
use crate::clock::Clock;
use crate::config;
use crate::gateway::{Gateway, InForce};

/// Run the gateway.
///
/// Reads curfew.toml and the policies that it names, and starts only if both are right. SIGTERM or SIGINT lets requests
/// under way end, for at most 30 seconds. SIGHUP reads both again: if they are right, the policies are in force for requests
/// from then on; if not, nothing changes.
#[derive(Args, Debug)]
pub struct Run {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How long one minute of every storage duration lasts, such as 1s; only where every upstream is on loopback.
    #[arg(long, value_name = "LENGTH", value_parser = parse_minute)]
    minute: Option<Minute>,
}

pub(super) async fn run(args: Run) -> Result<(), Failure> {
    log::to_stderr();
    harden();
    let loaded = config::load(&args.config)?;
    log::set_format(loaded.config.telemetry.log);
    let upstream = &loaded.config.upstream;
    let on_loopback = std::iter::once(&upstream.graph)
        .chain(&upstream.media)
        .all(config::Origin::is_loopback);
    if args.minute.is_some() && !on_loopback {
        return Err("--minute shortens every TTL; it is only for an upstream on loopback".into());
    }
    let minute = args.minute.unwrap_or(Minute::REAL);
    let gateway = Gateway::bind(&loaded.config, loaded.policies, minute, Clock::system()).await?;
    let told_to_end = signals::told_to_end();
    let in_force = gateway.policies();
    let reloads = signals::at_each_reload(|| reload(&args.config, &in_force));
    tracing::info!(address = %gateway.address()?, admin = %gateway.admin_address()?, "listening");
    if let Some(address) = gateway.webhook_address()? {
        tracing::info!(%address, "listening for webhooks");
    }
    let drained = tokio::select! {
        drained = gateway.serve(told_to_end) => drained,
        never = reloads => match never {},
    };
    tracing::info!(cut_off = drained.cut_off, "stopped");
    Ok(())
}

const NOT_RELOADED: &str = "policies not reloaded: what was in force stays in force";

/// Reads the policies anew. What else curfew.toml says takes a restart, but it has to be right: a policy is judged beside it.
async fn reload(config: &Path, in_force: &InForce) {
    let path = config.to_owned();
    match tokio::task::spawn_blocking(move || config::load(&path)).await {
        Ok(Ok(loaded)) => {
            let (numbers, callers) = (loaded.policies.numbers.len(), loaded.policies.callers.len());
            match in_force.replace(loaded.policies) {
                Ok(()) => tracing::info!(numbers, callers, "policies reloaded"),
                Err(problem) => tracing::error!(%problem, "{NOT_RELOADED}"),
            }
        }
        Ok(Err(problems)) => {
            for problem in problems.iter() {
                tracing::error!(%problem, "{NOT_RELOADED}");
            }
        }
        Err(_) => tracing::error!("policies not reloaded: reading them failed"),
    }
}
