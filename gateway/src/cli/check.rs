//! `curfew check`: whether a configuration would start, without starting it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use curfew_policies::{
    CallerPolicy, Enforcement, Links, NumberPolicy, PolicySet, StorageMode, UnknownIds, WhenLimited, shown,
};

use crate::config::{self, Environment, Loaded, Problems};

/// Read the configuration and report everything that is wrong with it.
///
/// Reads curfew.toml, the policies that it names, its secrets, certificates and keys. Prints each problem as
/// FILE:LINE:COLUMN: KEY: MESSAGE to standard error and exits with 1, or prints what the policies say of each number and
/// exits with 0. Nothing is connected to, and nothing is written.
#[derive(Args, Debug)]
pub struct Check {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Runs `curfew check`: 0 if the configuration would start, 1 if not, or if the output cannot be written.
#[must_use]
pub fn run(args: &Check) -> ExitCode {
    let result = config::load(&args.config);
    match report(args, &result, &mut io::stdout().lock(), &mut io::stderr().lock()) {
        Ok(()) if result.is_ok() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing is left to be done where even this cannot be written.
            let _ = writeln!(
                io::stderr().lock(),
                "curfew: the report could not be written: {error}"
            );
            ExitCode::FAILURE
        }
    }
}

/// [`run`] with another environment and other streams; whether there was no problem.
///
/// # Errors
///
/// When a stream cannot be written.
pub fn check(
    args: &Check,
    environment: Environment<'_>,
    out: &mut impl Write,
    errors: &mut impl Write,
) -> io::Result<bool> {
    let result = config::load_with(&args.config, environment);
    report(args, &result, out, errors)?;
    Ok(result.is_ok())
}

fn report(
    args: &Check,
    result: &Result<Loaded, Problems>,
    out: &mut impl Write,
    errors: &mut impl Write,
) -> io::Result<()> {
    match result {
        Ok(Loaded { config, policies }) => {
            writeln!(
                out,
                "{} and {}: no problem",
                args.config.display(),
                config.policies.display()
            )?;
            write_policies(policies, out)?;
            out.flush()
        }
        Err(problems) => {
            writeln!(errors, "{problems}")?;
            errors.flush()
        }
    }
}

fn write_policies(policies: &PolicySet, out: &mut impl Write) -> io::Result<()> {
    let enforcement = match policies.enforcement {
        Enforcement::Enforce => "enforce",
        Enforcement::Monitor => "monitor (what a rule refuses is recorded and passes)",
    };
    writeln!(out, "enforcement: {enforcement}")?;
    if policies.is_pass_through() {
        writeln!(
            out,
            "callers: none declared; callers present their own Meta token"
        )?;
    }
    let mut numbers: Vec<_> = policies.numbers.values().collect();
    numbers.sort_unstable_by_key(|number| number.phone_number_id);
    for number in numbers {
        write_number(number, &policies.callers, out)?;
    }
    for portfolio in &policies.portfolios {
        let numbers: Vec<_> = portfolio.numbers.iter().map(ToString::to_string).collect();
        writeln!(
            out,
            "\nportfolio of {}: {} recipients in 24 hours",
            numbers.join(", "),
            portfolio.unique_recipients_24h
        )?;
    }
    Ok(())
}

fn write_number(number: &NumberPolicy, callers: &[CallerPolicy], out: &mut impl Write) -> io::Result<()> {
    let NumberPolicy {
        phone_number_id,
        storage,
        media,
        sends,
        ..
    } = number;
    writeln!(out, "\nnumber {phone_number_id}: {storage}")?;
    if *storage == StorageMode::NoStorage {
        let (ttl, default) = (&media.ttl, media.ttl.default());
        writeln!(out, "  media ttl: {ttl}, {default} where an upload says nothing")?;
    }
    let links = match &media.links {
        Links::Any => "any host".to_owned(),
        Links::Hosts(hosts) if hosts.is_empty() => "none".to_owned(),
        Links::Hosts(hosts) => hosts.join(", "),
    };
    writeln!(out, "  links: {links}")?;
    let unknown_ids = match media.unknown_ids {
        UnknownIds::Verify => "verify with Meta",
        UnknownIds::Deny => "deny",
        UnknownIds::Allow => "allow",
    };
    writeln!(out, "  unknown media ids: {unknown_ids}")?;
    let cache = match media.cache_minutes {
        0 => "never".to_owned(),
        minutes => format!("up to {minutes} minutes"),
    };
    writeln!(out, "  downloads cached: {cache}")?;
    if media.reuse {
        writeln!(
            out,
            "  uploads of a file that Meta has already: answered with its id"
        )?;
    }
    let limited = match sends.when_limited {
        WhenLimited::Wait => format!("wait up to {} ms", sends.max_wait_ms),
        WhenLimited::Reject => "reject".to_owned(),
    };
    writeln!(
        out,
        "  sends: {} a second, {} at once; to one recipient one in {} s, {} at once; above that {limited}",
        sends.per_second, sends.burst, sends.pair.seconds, sends.pair.burst
    )?;
    if sends.kept_for_inbound > 0 {
        writeln!(
            out,
            "  kept for inbound: {} of them a second",
            sends.kept_for_inbound
        )?;
    }
    if sends.settle_unknown {
        writeln!(
            out,
            "  sends of unknown outcome: settled by Meta's status webhooks"
        )?;
    }
    for (class, limited) in &sends.classes.when_limited {
        let limited = match limited {
            WhenLimited::Wait => "wait",
            WhenLimited::Reject => "reject",
        };
        writeln!(out, "  {} above the limit: {limited}", class.name())?;
    }
    if storage.is_restricted() {
        write_restricted(number, out)?;
    }
    let callers: Vec<_> = callers
        .iter()
        .filter(|caller| caller.may_use(*phone_number_id))
        .map(|caller| {
            let may: Vec<_> = caller.may.iter().map(|class| class.name()).collect();
            let once = caller.repeat_window_s.map_or_else(String::new, |seconds| {
                format!("; the same send within {seconds} s is sent once")
            });
            format!("{} ({}{once})", shown(&caller.name), may.join(", "))
        })
        .collect();
    if !callers.is_empty() {
        writeln!(out, "  callers: {}", callers.join("; "))?;
    }
    Ok(())
}

/// What is said only of numbers that have a promise to keep.
fn write_restricted(number: &NumberPolicy, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "  settings at Meta: verified every {} minutes",
        number.verify_settings_minutes
    )?;
    if number.allow_deregister {
        writeln!(out, "  deregister: allowed")?;
    }
    let unverified = &number.allow_unverified;
    let names: Vec<_> = unverified
        .operations
        .iter()
        .map(|operation| operation.name().into())
        .chain(unverified.message_types.iter().map(|name| shown(name)))
        .collect();
    if !names.is_empty() {
        writeln!(out, "  allowed though not verified: {}", names.join(", "))?;
    }
    Ok(())
}
