//! `curfew sandbox`: gateway and emulator in one process, to try things out without a Meta account.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use curfew_emulator::{Emulator, Options};
use curfew_policies::{Minute, PolicySet, StorageMode};
use secrecy::SecretString;

use super::{Failure, harden, log, parse_minute, signals};
use crate::clock::Clock;
use crate::config::{CacheLimits, Config, Limits, OtlpEndpoint, StoreConfig, Telemetry, Upstream};
use crate::gateway::Gateway;

/// The policy of a sandbox without `--policies`: one number of each restricted mode.
const SAMPLE_POLICIES: &str = include_str!("sandbox.toml");

/// What stands for a Meta token in the sandbox. It opens nothing but the emulator in the same process.
const SANDBOX_TOKEN: &str = "sandbox-token";

/// Try the gateway in front of an emulated Cloud API, in one process.
///
/// No Meta account is needed and nothing is written to disk. Prints a base URL, the numbers, a token and commands that work
/// when pasted.
#[derive(Args, Debug)]
pub struct Sandbox {
    /// Where services connect.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where operators connect.
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "ADDRESS")]
    admin_listen: SocketAddr,
    /// How long one minute of every TTL lasts, such as 1s.
    #[arg(long, value_name = "LENGTH", value_parser = parse_minute)]
    minute: Option<Minute>,
    /// Another policy than the sample.
    #[arg(long, value_name = "FILE")]
    policies: Option<PathBuf>,
    /// Where traces and metrics are sent, by OTLP over HTTP, such as http://127.0.0.1:4318.
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<OtlpEndpoint>,
    /// Print one line of JSON instead.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Sandbox) -> Result<(), Failure> {
    if !args.listen.ip().is_loopback() || !args.admin_listen.ip().is_loopback() {
        return Err("the sandbox listens on loopback only: anybody may use it".into());
    }
    log::to_stderr();
    harden();
    let text = match &args.policies {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?
        }
        None => SAMPLE_POLICIES.to_owned(),
    };
    let policies = curfew_policies::parse(&text).map_err(|problems| {
        let file = args
            .policies
            .as_ref()
            .map_or_else(|| "sample".into(), |path| path.display().to_string());
        let lines: Vec<_> = problems
            .iter()
            .map(|problem| {
                format!(
                    "{file}:{}:{}: {}: {}",
                    problem.line, problem.column, problem.key, problem.message
                )
            })
            .collect();
        lines.join("\n")
    })?;
    let minute = args.minute.unwrap_or(Minute::REAL);
    let emulator = Emulator::start(Options {
        minute: minute.length(),
        numbers: Options::from_policies_toml(&text)?,
        tokens: vec![SANDBOX_TOKEN.to_owned()],
        ..Options::default()
    })
    .await?;
    let config = config(&args, &policies, &emulator)?;
    let gateway = Gateway::bind(&config, policies.clone(), minute, Clock::system()).await?;
    let base_url = format!("http://{}", gateway.address()?);
    let admin_url = format!("http://{}", gateway.admin_address()?);
    let told = if args.json {
        as_json(&base_url, &admin_url, &emulator.base_url(), &policies)
    } else {
        as_text(&base_url, &admin_url, &policies)
    };
    let told_to_end = signals::told_to_end();
    {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{told}")?;
        out.flush()?;
    }
    gateway.serve(told_to_end).await;
    emulator.shutdown().await;
    Ok(())
}

fn config(args: &Sandbox, policies: &PolicySet, emulator: &Emulator) -> Result<Config, Failure> {
    let upstream = emulator.base_url();
    Ok(Config {
        listen: args.listen,
        admin_listen: args.admin_listen,
        policies: args.policies.clone().unwrap_or_default(),
        public_url: None,
        tls: None,
        upstream: Upstream {
            graph: upstream.parse()?,
            media: vec![upstream.parse()?],
            token: (!policies.is_pass_through()).then(|| SecretString::from(SANDBOX_TOKEN)),
            app_secret: None,
            ca_file: None,
        },
        store: StoreConfig::Memory,
        cache: CacheLimits::DEFAULT,
        limits: Limits::default(),
        audit: None,
        telemetry: Telemetry {
            otlp_endpoint: args.otlp_endpoint.clone(),
            ..Telemetry::default()
        },
        webhooks: None,
    })
}

/// The numbers, restricted ones first, in the order of their ids.
fn numbers(policies: &PolicySet) -> Vec<(String, StorageMode)> {
    let mut numbers: Vec<_> = policies
        .numbers
        .values()
        .map(|number| (number.phone_number_id, number.storage))
        .collect();
    numbers.sort_by_key(|(id, storage)| (!storage.is_restricted(), *id));
    numbers
        .into_iter()
        .map(|(id, storage)| (id.to_string(), storage))
        .collect()
}

fn token(policies: &PolicySet) -> &'static str {
    if policies.is_pass_through() {
        SANDBOX_TOKEN
    } else {
        "YOUR-CALLER-KEY"
    }
}

fn send_text(base_url: &str, number: &str, token: &str) -> String {
    format!(
        "curl -sS -w '\\n' {base_url}/v23.0/{number}/messages -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \
         -d '{{\"messaging_product\":\"whatsapp\",\"to\":\"+15550100001\",\"type\":\"text\",\"text\":{{\"body\":\"Hello\"}}}}'"
    )
}

fn as_json(base_url: &str, admin_url: &str, emulator_url: &str, policies: &PolicySet) -> String {
    let token = token(policies);
    let numbers = numbers(policies);
    let curl = numbers
        .first()
        .map(|(number, _)| send_text(base_url, number, token));
    serde_json::json!({
        "base_url": base_url,
        "admin_url": admin_url,
        "emulator_url": emulator_url,
        "token": token,
        "numbers": numbers
            .iter()
            .map(|(id, storage)| serde_json::json!({ "phone_number_id": id, "storage": storage.name() }))
            .collect::<Vec<_>>(),
        "curl": curl,
    })
    .to_string()
}

fn as_text(base_url: &str, admin_url: &str, policies: &PolicySet) -> String {
    use std::fmt::Write as _;
    let token = token(policies);
    let numbers = numbers(policies);
    let mut text = format!(
        "Curfew is in front of an emulated WhatsApp Cloud API. Ctrl-C ends both.\n\nbase URL  {base_url}\nadmin     {admin_url}/readyz\ntoken     {token}\n"
    );
    for (number, storage) in &numbers {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "number    {number}  {storage}");
    }
    let Some((first, storage)) = numbers.first() else {
        return text;
    };
    let auth = format!("-H 'Authorization: Bearer {token}'");
    let json = "-H 'Content-Type: application/json'";
    let _ = write!(
        text,
        "\nPaste these into another terminal.\n\n# a text\n{}\n",
        send_text(base_url, first, token)
    );
    if *storage != StorageMode::NoStorage {
        return text;
    }
    let upload = |ttl: &str| {
        format!(
            "curl -sS -w '\\n' {base_url}/v23.0/{first}/media {auth} -F messaging_product=whatsapp -F 'file=@picture.png;type=image/png' -F ttl_minutes={ttl}"
        )
    };
    let send_image = |number: &str| {
        format!(
            "curl -sS -w '\\n' {base_url}/v23.0/{number}/messages {auth} {json} -d '{{\"messaging_product\":\"whatsapp\",\"to\":\"+15550100001\",\"type\":\"image\",\"image\":{{\"id\":\"'$MEDIA'\"}}}}'"
        )
    };
    let _ = write!(
        text,
        "\n# an image that lives two hours, and its id\nprintf 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==' | base64 -d > picture.png\n\
         MEDIA=$({} | tee /dev/stderr | sed -E 's/.*\"id\" *: *\"([0-9]+)\".*/\\1/')\n\n# its send\n{}\n",
        upload("120"),
        send_image(first)
    );
    if let Some((second, _)) = numbers.get(1) {
        let _ = write!(
            text,
            "\n# refused: another number sends it\n{}\n",
            send_image(second)
        );
    }
    let _ = write!(
        text,
        "\n# refused: it would live thirty days\n{}\n",
        upload("43200")
    );
    text
}
