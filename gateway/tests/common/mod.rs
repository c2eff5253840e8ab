//! The whole gateway in front of the emulator, over real sockets: what every promise is tested on.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_imports,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "test code, of which each file uses a part; a failure here is a failed test"
)]

pub mod client;
pub mod form;
pub mod log;
pub mod outside;
#[cfg(unix)]
pub mod process;
pub mod raw;
#[cfg(unix)]
pub mod store_server;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use curfew::clock::{Clock, ManualTime};
use curfew::config::{CacheLimits, Config, Limits, StoreConfig, TlsFiles, Upstream, Webhooks};
use curfew::gateway::{Gateway, InForce};
use curfew::server::Drained;
use curfew_emulator::{Emulator, Options};
use curfew_policies::{Minute, Timestamp};
use secrecy::SecretString;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use client::{Client, Reply, exchange};

/// The token that the emulator takes, and in pass-through the one that callers present.
pub const TOKEN: &str = "EAAG-the-only-token";

/// What the emulator signs webhooks with.
pub const APP_SECRET: &str = "emulated-app-secret";

/// A No Storage number, a Local Storage number and a default one, in one account, without callers. Their pace stops nobody who
/// does not mean to test it.
pub const PASS_THROUGH: &str = r#"
[[number]]
phone_number_id = "1001"
waba_id = "5001"
storage = { mode = "no_storage" }
[number.media]
ttl_minutes = { min = 60, max = 1440, default = 120 }
[number.sends]
per_second = 1000
burst = 10000
pair = { seconds = 1, burst = 10000 }
when_limited = "reject"

[[number]]
phone_number_id = "1002"
waba_id = "5001"
storage = { mode = "in_country", region = "DE" }
[number.sends]
per_second = 1000
burst = 10000
pair = { seconds = 1, burst = 10000 }
when_limited = "reject"

[[number]]
phone_number_id = "1003"
waba_id = "5001"
storage = { mode = "default" }
[number.sends]
per_second = 1000
burst = 10000
pair = { seconds = 1, burst = 10000 }
when_limited = "reject"
"#;

/// Lines of a `[[number]]` whose pace stops nobody.
pub const UNPACED: &str =
    "[number.sends]\nper_second = 1000\nburst = 10000\npair = { seconds = 1, burst = 10000 }\n";

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The number of [`PASS_THROUGH`] with No Storage.
pub const NO_STORAGE: u64 = 1001;
/// The number of [`PASS_THROUGH`] with Local Storage in Germany.
pub const IN_COUNTRY: u64 = 1002;
/// The number of [`PASS_THROUGH`] with default storage.
pub const DEFAULT: u64 = 1003;

/// What a world is made of.
pub struct Setup {
    pub policies: String,
    pub store: StoreConfig,
    pub limits: Limits,
    pub tls: Option<TlsFiles>,
    pub emulator: Options,
    /// Where webhooks come in; then the gateway knows the emulator's app secret.
    pub webhooks: Option<Webhooks>,
    /// Where the gateway's clock stands at the start; it moves by [`World::time`] only.
    pub start: Timestamp,
    /// Whether the gateway has the system's clock instead.
    pub real_time: bool,
    /// The last word on the configuration.
    pub configure: fn(&mut Config),
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            policies: PASS_THROUGH.to_owned(),
            store: StoreConfig::Memory,
            limits: Limits::default(),
            tls: None,
            emulator: Options::default(),
            webhooks: None,
            start: Timestamp::from_millis(1_800_000_000_000),
            real_time: false,
            configure: |_| {},
        }
    }
}

/// A gateway and what it stands in front of. Dropped, both end.
pub struct World {
    pub emulator: Emulator,
    pub gateway: Running,
    pub time: ManualTime,
    clock: Clock,
    setup: Setup,
}

/// A gateway that serves.
pub struct Running {
    pub addr: SocketAddr,
    pub admin: SocketAddr,
    pub webhooks: Option<SocketAddr>,
    pub in_force: InForce,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Drained>,
}

impl Running {
    /// Lets requests under way end, then ends.
    pub async fn stop(mut self) -> Drained {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        self.served.await.expect("the gateway does not panic")
    }
}

impl World {
    /// A world of these policies.
    pub async fn of(policies: &str) -> Self {
        let setup = Setup {
            policies: policies.to_owned(),
            ..Setup::default()
        };
        Self::start(setup).await
    }

    /// A world of [`PASS_THROUGH`].
    pub async fn pass_through() -> Self {
        Self::start(Setup::default()).await
    }

    pub async fn start(mut setup: Setup) -> Self {
        let emulated = Options {
            numbers: Options::from_policies_toml(&setup.policies).expect("the emulator reads the policies"),
            tokens: vec![TOKEN.to_owned()],
            start: Some(setup.start.millis() / 1000),
            ..std::mem::take(&mut setup.emulator)
        };
        let emulator = Emulator::start(emulated).await.expect("the emulator starts");
        let (manual, time) = Clock::manual(setup.start);
        let clock = if setup.real_time { Clock::system() } else { manual };
        let gateway = run(&setup, &emulator.base_url(), clock.clone()).await;
        Self {
            emulator,
            gateway,
            time,
            clock,
            setup,
        }
    }

    /// Ends the gateway in good order, and starts another one on the same store and upstream.
    pub async fn restart(self) -> Self {
        let Self {
            emulator,
            gateway,
            time,
            clock,
            setup,
        } = self;
        gateway.stop().await;
        let gateway = run(&setup, &emulator.base_url(), clock.clone()).await;
        Self {
            emulator,
            gateway,
            time,
            clock,
            setup,
        }
    }

    /// A second gateway with the same configuration and clock on the same upstream, and a memory of its own.
    pub async fn another_gateway(&self) -> Running {
        self.gateway_on(StoreConfig::Memory).await
    }

    /// A second gateway that shares this one's store as well.
    pub async fn another_instance(&self) -> Running {
        self.gateway_on(self.setup.store.clone()).await
    }

    async fn gateway_on(&self, store: StoreConfig) -> Running {
        let setup = Setup {
            store,
            policies: self.setup.policies.clone(),
            limits: self.setup.limits.clone(),
            tls: self.setup.tls.clone(),
            configure: self.setup.configure,
            ..Setup::default()
        };
        run(&setup, &self.emulator.base_url(), self.clock.clone()).await
    }

    /// How often the number's settings were read at the emulator.
    pub fn settings_reads(&self, number: u64) -> usize {
        let calls = self.emulator.settings_calls();
        let reads = calls
            .iter()
            .filter(|call| call.phone_number_id == number && call.call == "read");
        reads.count()
    }

    /// Lets minutes pass, for the gateway and for the emulator.
    pub fn pass_minutes(&self, minutes: u64) {
        self.time.advance(Duration::from_secs(60 * minutes));
        self.emulator.advance(minutes);
    }

    /// A client that presents [`TOKEN`].
    pub fn client(&self) -> Client {
        Client::new(self.gateway.addr).bearer(TOKEN)
    }

    /// A client that presents this key.
    pub fn caller(&self, key: &str) -> Client {
        Client::new(self.gateway.addr).bearer(key)
    }

    /// Everything that reached the emulator but the gateway's own questions, as `METHOD path`.
    pub fn reached(&self) -> Vec<String> {
        self.emulator
            .received()
            .iter()
            .map(|received| format!("{} {}", received.method, received.path))
            .filter(|call| !(call.starts_with("GET") && call.ends_with("/settings")))
            .collect()
    }
}

/// Fails a test that would wait for ever.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it does not take for ever")
}

/// A `[[caller]]` of the policies, known by this key.
pub fn caller_table(name: &str, key: &str, numbers: &[u64], may: &[&str]) -> String {
    use aws_lc_rs::digest;
    use std::fmt::Write as _;
    let mut hash = String::new();
    for byte in digest::digest(&digest::SHA256, key.as_bytes()).as_ref() {
        write!(hash, "{byte:02x}").expect("text");
    }
    let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
    format!(
        "\n[[caller]]\nname = \"{name}\"\nkey_sha256 = \"{hash}\"\nnumbers = {numbers:?}\nmay = {may:?}\n"
    )
}

async fn run(setup: &Setup, upstream: &str, clock: Clock) -> Running {
    let policies = curfew_policies::parse(&setup.policies)
        .unwrap_or_else(|problems| panic!("the policies have problems: {problems:?}"));
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = Config {
        listen: loopback,
        admin_listen: loopback,
        policies: "policies.toml".into(),
        public_url: None,
        tls: setup.tls.clone(),
        upstream: Upstream {
            graph: upstream.parse().expect("an origin"),
            media: vec![upstream.parse().expect("an origin")],
            token: (!policies.is_pass_through()).then(|| SecretString::from(TOKEN)),
            app_secret: setup.webhooks.as_ref().map(|_| SecretString::from(APP_SECRET)),
            ca_file: None,
        },
        store: setup.store.clone(),
        cache: CacheLimits::DEFAULT,
        limits: setup.limits.clone(),
        audit: None,
        telemetry: None,
        webhooks: setup.webhooks.clone(),
    };
    (setup.configure)(&mut config);
    let gateway = Gateway::bind(&config, policies, Minute::REAL, clock)
        .await
        .expect("the gateway starts");
    let addr = gateway.address().expect("an address");
    let admin = gateway.admin_address().expect("an address");
    let webhooks = gateway.webhook_address().expect("an address");
    let in_force = gateway.policies();
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(gateway.serve(async {
        let _ = stopped.await;
    }));
    Running {
        addr,
        admin,
        webhooks,
        in_force,
        stop: Some(stop),
        served,
    }
}
