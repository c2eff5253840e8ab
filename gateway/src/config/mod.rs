//! `curfew.toml` and the `policies.toml` that it names, read into values that cannot be wrong.
//!
//! [`load`] reads both files and reports everything that is wrong with either at once; a [`Config`] exists only if
//! nothing was. Nothing here is served, connected or opened for writing.
//!
//! A secret is never in the file: the file says where it is. No message repeats a value of `curfew.toml`, and none shows
//! a source line, since that is where a secret lands by mistake.

mod document;
mod file;
mod origin;
mod problem;
mod read;
mod secret;
#[cfg(test)]
mod tests;
mod tls;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use curfew_policies::{PhoneNumberId, PolicySet};
use secrecy::SecretString;

use crate::guard::CALLER_SHARE_PERCENT;

pub use crate::stores::ValkeyUrl;
pub use crate::stores::media_cache::CacheLimits;
pub use file::Unreadable;
pub use origin::{Origin, OriginError, PublicUrl};
pub use problem::{Problem, Problems};
pub use read::{OtlpEndpoint, ReceiverUrl, Webhooks};
pub use secret::Environment;
pub use tls::{PemError, TlsError, TlsFiles, roots};

/// The most that `curfew.toml` may have, in bytes.
const CONFIG_BYTES: u64 = 1024 * 1024;

/// Both files, read and found right.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What engineers set.
    pub config: Config,
    /// What compliance officers set.
    pub policies: PolicySet,
}

/// What `curfew.toml` says, defaults filled in, paths resolved, secrets read.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where callers connect.
    pub listen: SocketAddr,
    /// Where `/livez`, `/readyz`, `/metrics` and the operator page are. Never the same as [`listen`](Self::listen).
    pub admin_listen: SocketAddr,
    /// The policies file.
    pub policies: PathBuf,
    /// What rewritten URLs begin with. `None` only when listening on loopback: then the request's own authority serves.
    pub public_url: Option<PublicUrl>,
    /// TLS of the listener; `None` is clear text.
    pub tls: Option<TlsFiles>,
    /// Meta.
    pub upstream: Upstream,
    /// Where pins and other metadata are kept.
    pub store: StoreConfig,
    /// How much of media may be kept, in memory.
    pub cache: CacheLimits,
    /// The front door's figures.
    pub limits: Limits,
    /// The audit trail, if one is kept.
    pub audit: Option<Audit>,
    /// Where traces and metrics are sent, if anywhere.
    pub telemetry: Option<Telemetry>,
    /// Where Meta's webhooks come in, if they do.
    pub webhooks: Option<Webhooks>,
}

impl Config {
    /// Where the operator's listener is unless the file says otherwise.
    pub const ADMIN_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
}

/// The first number, by its id, whose sends are to be settled by webhooks: that takes `[webhooks]` and its
/// `delivery_secret`.
pub(crate) fn settling_number(policies: &PolicySet) -> Option<PhoneNumberId> {
    let settling = policies
        .numbers
        .values()
        .filter(|number| number.sends.settle_unknown);
    settling.map(|number| number.phone_number_id).min()
}

/// How Meta is reached.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The Graph API.
    pub graph: Origin,
    /// The only origins that media bytes may come from; at least one.
    pub media: Vec<Origin>,
    /// The gateway's own access token: printable ASCII without spaces, fit for a header. Declared callers need it.
    pub token: Option<SecretString>,
    /// The Meta app's secret: the key of `appsecret_proof`, which is the HMAC of whichever token goes upstream.
    pub app_secret: Option<SecretString>,
    /// Private roots to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl CacheLimits {
    /// Unless the file says otherwise: 256 MiB, of which one copy may take 32 MiB. Meta's largest image, audio and video fit
    /// (5 and 16 MB; Cloud API, "Media", supported media types); its largest documents go past the cache.
    pub const DEFAULT: Self = Self {
        max_bytes: 256 * 1024 * 1024,
        object_bytes: 32 * 1024 * 1024,
    };
}

/// Where pins and other metadata are kept. Content is kept nowhere.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum StoreConfig {
    /// In this process; gone when it ends.
    #[default]
    Memory,
    /// In an SQLite file.
    Sqlite {
        /// The file.
        path: PathBuf,
    },
    /// In Valkey or Redis, where other instances keep theirs too.
    Valkey {
        /// Where it is.
        url: ValkeyUrl,
        /// How many gateways share it at most: 1 to 64. Each has that part of the limits while it is away.
        instances: NonZeroU32,
    },
}

/// What one request may take.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Largest head, request line and headers as received, in bytes: 1 KiB to 64 KiB.
    pub head_bytes: usize,
    /// Most header fields: 8 to 256.
    pub headers: usize,
    /// Largest JSON body, in bytes: 1 KiB to 8 MiB.
    pub json_bytes: usize,
    /// Largest upload, form and all, in bytes: 1 KiB to 1 GiB. The default is Meta's largest document, 100 MiB (Cloud API,
    /// "Media", supported media types), and 64 KiB for the form.
    pub upload_bytes: u64,
    /// How long a request's head may take: 1 s to 600 s.
    pub header_timeout: Duration,
    /// How long a body may pause: 1 s to 600 s.
    pub body_idle_timeout: Duration,
    /// How long a connection may be idle between requests: 1 s to 600 s.
    pub keep_alive_idle: Duration,
    /// What a body that is waited for must bring on average over `body_idle_timeout`, in bytes a second: 0 to 1 MiB. 0: one KiB in
    /// all that time is enough.
    pub body_min_bytes_per_s: u64,
    /// The part of what can be under way at once, of each kind, that one caller may have, in percent: 1 to 100.
    pub caller_share_percent: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 16_384,
            headers: 64,
            json_bytes: 1_048_576,
            upload_bytes: 104_923_136,
            header_timeout: Duration::from_secs(10),
            body_idle_timeout: Duration::from_secs(30),
            keep_alive_idle: Duration::from_secs(75),
            body_min_bytes_per_s: 1024,
            caller_share_percent: CALLER_SHARE_PERCENT,
        }
    }
}

/// The audit trail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Audit {
    /// The directory of its segments.
    pub path: PathBuf,
}

/// Where traces and metrics are sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// The collector.
    pub otlp_endpoint: OtlpEndpoint,
    /// Which share of traces is kept: 0.0 to 1.0.
    pub sample_ratio: f64,
}

/// Reads `path` and the policies that it names, with the process's environment.
///
/// # Errors
///
/// Every problem of both files. Where `curfew.toml` is not TOML, that alone is reported of it: what follows from a broken
/// line would mislead.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    load_with(path, &secret::process_environment)
}

/// [`load`] with another environment.
///
/// # Errors
///
/// As for [`load`].
pub fn load_with(path: &Path, environment: Environment<'_>) -> Result<Loaded, Problems> {
    let text = file::text(path, CONFIG_BYTES)
        .map_err(|why| Problems::new(vec![Problem::of_file(path, why.to_string())], Vec::new()))?;
    read::read(path, &text, environment)
}
