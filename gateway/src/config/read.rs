//! From the document to [`Config`], and the conditions that concern more than one key.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use curfew_policies::{Credential, PolicySet, shown};
use secrecy::SecretString;

use super::document::{self, Place, Report, Table};
use super::origin::{Origin, PublicUrl};
use super::problem::{Problem, Problems};
use super::secret::{self, Environment};
use super::tls::{self, TlsFiles};
use super::{Audit, CacheLimits, Config, Limits, Loaded, StoreConfig, Telemetry, Upstream, ValkeyUrl, file};

mod webhooks;

pub use webhooks::{ReceiverUrl, Webhooks};

/// The most that `policies.toml` may have, in bytes: 100 000 numbers with everything written out.
const POLICIES_BYTES: u64 = 64 * 1024 * 1024;

const GRAPH: &str = "graph.facebook.com";
const MEDIA: &str = "lookaside.fbsbx.com";
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
/// The largest document, and the largest that users send (Cloud API, "Media").
const LARGEST_MEDIUM: u64 = 100 * MIB;
/// The most gateways that share one store.
const MOST_INSTANCES: u64 = 64;
const DATABASE: &str = "curfew.db";
const AUDIT: &str = "audit/";

/// Where an OTLP collector listens: the base to which a signal's path, such as `/v1/traces`, is added.
///
/// Scheme http or https, no user name, no query.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OtlpEndpoint(http::Uri);

impl OtlpEndpoint {
    /// The base.
    #[must_use]
    pub const fn uri(&self) -> &http::Uri {
        &self.0
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let uri: http::Uri = text.parse().map_err(|_| Self::WRONG)?;
        let scheme_is_right = matches!(uri.scheme_str(), Some("http" | "https"));
        let host_is_right = uri
            .authority()
            .is_some_and(|authority| !authority.as_str().contains('@') && !authority.host().is_empty());
        if scheme_is_right && host_is_right && uri.query().is_none() && !text.contains('#') {
            Ok(Self(uri))
        } else {
            Err(Self::WRONG)
        }
    }

    const WRONG: &str =
        "must be an http or https URL without user name, query or fragment, such as http://127.0.0.1:4318";
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Reads the text of the file `path`, and the policies that it names.
pub(super) fn read(path: &Path, text: &str, environment: Environment<'_>) -> Result<Loaded, Problems> {
    let mut report = Report::new(path, text);
    let root = document::parse(&mut report);
    let reader = Reader {
        directory: path.parent().unwrap_or(Path::new("")),
        environment,
        report,
    };
    if reader.report.is_empty() {
        reader.read(root)
    } else {
        Err(reader.give_up(root))
    }
}

/// What the policies file turned out to be.
enum Policies {
    Right(PathBuf, PolicySet),
    Wrong(Vec<Problem>),
    /// Reported in `curfew.toml`: not named, or not to be read.
    Missing,
}

/// What of `[upstream]` the conditions between keys need to know.
struct Found {
    upstream: Upstream,
    /// Where the token stands, even if it could not be read.
    token: Option<Place>,
    /// The same of the app secret.
    app_secret: Option<Place>,
    table: Place,
}

struct Reader<'a, 't> {
    directory: &'a Path,
    environment: Environment<'a>,
    report: Report<'t>,
}

impl<'t> Reader<'_, 't> {
    fn read(mut self, mut root: Table<'t>) -> Result<Loaded, Problems> {
        let report = &mut self.report;
        let listen = root
            .require("listen", "\"127.0.0.1:8080\"", report)
            .and_then(|entry| entry.parse(report, address));
        let admin_listen = self.admin_listen(&mut root, listen);
        let policies = self.policies(&mut root);
        let public_url = self.public_url(&mut root, listen);
        let tls = self.tls(&mut root);
        let found = self.upstream(&mut root);
        let store = self.store(&mut root);
        let cache = self.cache(&mut root);
        let limits = self.limits(&mut root);
        let audit = self.audit(&mut root);
        let telemetry = self.telemetry(&mut root);
        let right = match &policies {
            Policies::Right(_, policies) => Some(policies),
            Policies::Wrong(_) | Policies::Missing => None,
        };
        let others: Vec<_> = listen.into_iter().chain([admin_listen]).collect();
        let webhooks = self.webhooks(&mut root, &found, &others, right);
        if let Some(policies) = right {
            self.callers(policies, listen, &found, tls.as_ref(), root.place());
        }
        root.finish(&mut self.report);

        let problems = self.report.into_problems();
        match (listen, policies) {
            (Some(listen), Policies::Right(path, policies)) if problems.is_empty() => Ok(Loaded {
                config: Config {
                    listen,
                    admin_listen,
                    policies: path,
                    public_url,
                    tls,
                    upstream: found.upstream,
                    store,
                    cache,
                    limits,
                    audit,
                    telemetry,
                    webhooks,
                },
                policies,
            }),
            (_, Policies::Wrong(of_policies)) => Err(Problems::new(problems, of_policies)),
            _ => Err(Problems::new(problems, Vec::new())),
        }
    }

    /// The problems of a file that is not TOML, and those of the policies if it is clear which they are.
    fn give_up(self, mut root: Table<'t>) -> Problems {
        let policies = root.take("policies").and_then(|entry| {
            let path = self.directory.join(entry.as_text()?);
            let text = file::text(&path, POLICIES_BYTES).ok()?;
            parse_policies(&path, &text).err()
        });
        Problems::new(self.report.into_problems(), policies.unwrap_or_default())
    }

    fn admin_listen(&mut self, root: &mut Table<'t>, listen: Option<SocketAddr>) -> SocketAddr {
        let report = &mut self.report;
        let (place, admin_listen) = match root.take("admin_listen") {
            None => (root.place().child("admin_listen"), Config::ADMIN_LISTEN),
            Some(entry) => match entry.parse(report, address) {
                Some(admin_listen) => (entry.place().clone(), admin_listen),
                None => return Config::ADMIN_LISTEN,
            },
        };
        // Port 0 is another port each time.
        if listen == Some(admin_listen) && admin_listen.port() != 0 {
            report.add(
                &place,
                "must differ from listen: callers are not to reach the operator's pages",
            );
        }
        admin_listen
    }

    fn policies(&mut self, root: &mut Table<'t>) -> Policies {
        let report = &mut self.report;
        let Some(entry) = root.require("policies", "\"policies.toml\"", report) else {
            return Policies::Missing;
        };
        let Some(path) = entry.path(self.directory, report) else {
            return Policies::Missing;
        };
        match file::text(&path, POLICIES_BYTES) {
            Ok(text) => match parse_policies(&path, &text) {
                Ok(policies) => Policies::Right(path, policies),
                Err(problems) => Policies::Wrong(problems),
            },
            Err(why) => {
                report.add(entry.place(), format!("names a file that {why}"));
                Policies::Missing
            }
        }
    }

    fn public_url(&mut self, root: &mut Table<'t>, listen: Option<SocketAddr>) -> Option<PublicUrl> {
        let report = &mut self.report;
        match root.take("public_url") {
            Some(entry) => entry.parse(report, str::parse::<PublicUrl>),
            None if listen.is_none_or(is_loopback) => None,
            None => {
                report.add(
                    &root.place().child("public_url"),
                    "is missing: unless listen is on loopback, the gateway must be told how callers reach it; write \
                     public_url = \"https://curfew.bank.example\"",
                );
                None
            }
        }
    }

    fn tls(&mut self, root: &mut Table<'t>) -> Option<TlsFiles> {
        let (directory, report) = (self.directory, &mut self.report);
        let mut table = root.table("tls", report)?;
        let cert = table.require("cert_file", "\"cert.pem\"", report);
        let key = table.require("key_file", "\"key.pem\"", report);
        let client_ca = table.take("client_ca_file");
        let place = table.place().clone();
        table.finish(report);

        let cert_file = cert.as_ref().and_then(|entry| entry.path(directory, report));
        let key_file = key.as_ref().and_then(|entry| entry.path(directory, report));
        let client_ca_file = client_ca.as_ref().and_then(|entry| entry.path(directory, report));
        let files = TlsFiles {
            cert_file: cert_file?,
            key_file: key_file?,
            client_ca_file,
        };
        for error in files.server_config().err().unwrap_or_default() {
            let entry = [&cert, &key, &client_ca]
                .into_iter()
                .flatten()
                .find(|entry| entry.place().is(error.key()));
            report.add(
                entry.map_or(&place, |entry| entry.place()),
                format!("names a file that {error}"),
            );
        }
        Some(files)
    }

    fn upstream(&mut self, root: &mut Table<'t>) -> Found {
        let mut table = root.table_or_empty("upstream", &mut self.report);
        let report = &mut self.report;
        let graph = table
            .take("graph")
            .and_then(|entry| entry.parse(report, str::parse::<Origin>));
        let media = table.take("media").and_then(|entry| {
            let place = entry.place().clone();
            let media = entry.list(report)?;
            if media.is_empty() {
                report.add(
                    &place,
                    format!("must name at least one origin, such as [\"https://{MEDIA}\"]"),
                );
            }
            let media = media
                .iter()
                .filter_map(|entry| entry.parse(report, str::parse::<Origin>));
            Some(media.collect())
        });
        let ca_file = self.roots(&mut table);
        let mut places = Vec::new();
        let mut secret = |key| {
            let entry = table.take(key)?;
            places.push(entry.place().clone());
            secret::read(entry, self.directory, self.environment, &mut self.report).map(SecretString::from)
        };
        let token = secret("token");
        let app_secret = secret("app_secret");
        let found = Found {
            upstream: Upstream {
                graph: graph.unwrap_or_else(|| Origin::of_meta(GRAPH)),
                media: media.unwrap_or_else(|| vec![Origin::of_meta(MEDIA)]),
                token,
                app_secret,
                ca_file,
            },
            token: places.iter().find(|place| place.is("token")).cloned(),
            app_secret: places.iter().find(|place| place.is("app_secret")).cloned(),
            table: table.place().clone(),
        };
        table.finish(&mut self.report);
        found
    }

    /// The private roots that `ca_file` names.
    fn roots(&mut self, table: &mut Table<'t>) -> Option<PathBuf> {
        let report = &mut self.report;
        let entry = table.take("ca_file")?;
        let path = entry.path(self.directory, report)?;
        tls::roots(&path)
            .map_err(|why| report.add(entry.place(), format!("names a file that {why}")))
            .ok()?;
        Some(path)
    }

    fn store(&mut self, root: &mut Table<'t>) -> StoreConfig {
        let mut table = root.table_or_empty("store", &mut self.report);
        let report = &mut self.report;
        let kind = table.take("kind");
        let (path, url, instances) = (table.take("path"), table.take("url"), table.take("instances"));
        let place = table.place().clone();
        table.finish(report);

        let name = match &kind {
            None => Some("memory"),
            Some(entry) => entry.text(report),
        };
        let mut only_with = |key: &Option<document::Entry<'_>>, kind: &str| {
            if let Some(entry) = key {
                report.add(entry.place(), format!("belongs to kind = \"{kind}\" alone"));
            }
        };
        if name != Some("sqlite") {
            only_with(&path, "sqlite");
        }
        if name != Some("valkey") {
            only_with(&url, "valkey");
            only_with(&instances, "valkey");
        }
        match name {
            Some("memory") | None => StoreConfig::Memory,
            Some("sqlite") => {
                let path = match path {
                    Some(entry) => entry.path(self.directory, report),
                    None => Some(self.directory.join(DATABASE)),
                };
                path.map_or(StoreConfig::Memory, |path| StoreConfig::Sqlite { path })
            }
            Some("valkey") => {
                let store = self.valkey(&place, url, instances);
                store.unwrap_or_default()
            }
            Some(_) => {
                if let Some(entry) = &kind {
                    report.add(entry.place(), "must be \"memory\", \"sqlite\" or \"valkey\"");
                }
                StoreConfig::Memory
            }
        }
    }

    /// The store that instances share.
    fn valkey(
        &mut self,
        table: &Place,
        url: Option<document::Entry<'t>>,
        instances: Option<document::Entry<'t>>,
    ) -> Option<StoreConfig> {
        let report = &mut self.report;
        if url.is_none() {
            report.add(
                &table.child("url"),
                "is missing: write url = { env = \"CURFEW_STORE_URL\" }",
            );
        }
        let instances = match instances {
            Some(entry) => entry.whole(&(1..=MOST_INSTANCES), "instances", report),
            None => {
                report.add(
                    &table.child("instances"),
                    "is missing: say how many gateways share the store at most, as in instances = 2; while it is away, each \
                     sends that part of the limits",
                );
                None
            }
        };
        let url = url.and_then(|entry| {
            let place = entry.place().clone();
            let is_literal = entry.as_text().is_some();
            let url = match entry.as_text() {
                Some(text) => ValkeyUrl::parse(text),
                None => {
                    let text = secret::read(entry, self.directory, self.environment, &mut self.report)?;
                    ValkeyUrl::parse(&text)
                }
            };
            let report = &mut self.report;
            match url {
                Ok(url) if is_literal && url.has_password() => {
                    report.add(
                        &place,
                        "must not have a password in it: refer to it, as { env = \"NAME\" } or { file = \"PATH\" }",
                    );
                    None
                }
                Ok(url) => Some(url),
                Err(error) => {
                    report.add(&place, error.to_string());
                    None
                }
            }
        })?;
        let instances = NonZeroU32::new(u32::try_from(instances?).ok()?)?;
        Some(StoreConfig::Valkey { url, instances })
    }

    fn cache(&mut self, root: &mut Table<'t>) -> CacheLimits {
        let mut table = root.table_or_empty("cache", &mut self.report);
        let report = &mut self.report;
        let defaults = CacheLimits::DEFAULT;
        let max_bytes = table
            .take("max_bytes")
            .and_then(|entry| entry.whole(&(0..=64 * 1024 * MIB), "bytes", report))
            .unwrap_or(defaults.max_bytes);
        let object_bytes = table.take("object_bytes").and_then(|entry| {
            let bytes = entry.whole(&(KIB..=LARGEST_MEDIUM), "bytes", report)?;
            // Switched off, it keeps nothing of any size.
            if max_bytes > 0 && bytes > max_bytes {
                report.add(
                    entry.place(),
                    format!(
                        "must not be more than cache.max_bytes, which is {max_bytes}: one copy has to fit"
                    ),
                );
            }
            Some(bytes)
        });
        table.finish(report);
        CacheLimits {
            max_bytes,
            object_bytes: object_bytes.unwrap_or(defaults.object_bytes).min(max_bytes),
        }
    }

    fn limits(&mut self, root: &mut Table<'t>) -> Limits {
        let mut table = root.table_or_empty("limits", &mut self.report);
        let report = &mut self.report;
        let defaults = Limits::default();
        let mut whole =
            |key, bounds: RangeInclusive<u64>, unit| table.take(key)?.whole(&bounds, unit, report);
        let size = |number: Option<u64>, default| {
            number
                .and_then(|number| usize::try_from(number).ok())
                .unwrap_or(default)
        };
        let time = |number: Option<u64>, default| number.map_or(default, Duration::from_secs);
        let limits = Limits {
            head_bytes: size(whole("head_bytes", KIB..=64 * KIB, "bytes"), defaults.head_bytes),
            headers: size(whole("headers", 8..=256, "header fields"), defaults.headers),
            json_bytes: size(whole("json_bytes", KIB..=8 * MIB, "bytes"), defaults.json_bytes),
            upload_bytes: whole("upload_bytes", KIB..=1024 * MIB, "bytes").unwrap_or(defaults.upload_bytes),
            header_timeout: time(
                whole("header_timeout_s", 1..=600, "seconds"),
                defaults.header_timeout,
            ),
            body_idle_timeout: time(
                whole("body_idle_timeout_s", 1..=600, "seconds"),
                defaults.body_idle_timeout,
            ),
            keep_alive_idle: time(
                whole("keep_alive_idle_s", 1..=600, "seconds"),
                defaults.keep_alive_idle,
            ),
            body_min_bytes_per_s: whole("body_min_bytes_per_s", 0..=MIB, "bytes a second")
                .unwrap_or(defaults.body_min_bytes_per_s),
            caller_share_percent: whole("caller_share_percent", 1..=100, "percent")
                .and_then(|percent| u8::try_from(percent).ok())
                .unwrap_or(defaults.caller_share_percent),
        };
        table.finish(report);
        limits
    }

    fn audit(&mut self, root: &mut Table<'t>) -> Option<Audit> {
        let report = &mut self.report;
        let mut table = root.table("audit", report)?;
        let path = match table.take("path") {
            Some(entry) => entry.path(self.directory, report),
            None => Some(self.directory.join(AUDIT)),
        };
        table.finish(report);
        path.map(|path| Audit { path })
    }

    /// Without an endpoint there is no telemetry, whatever else the table says.
    fn telemetry(&mut self, root: &mut Table<'t>) -> Option<Telemetry> {
        let report = &mut self.report;
        let mut table = root.table("telemetry", report)?;
        let sample_ratio = table
            .take("sample_ratio")
            .and_then(|entry| entry.ratio(report))
            .unwrap_or(1.0);
        let otlp_endpoint = table
            .take("otlp_endpoint")
            .and_then(|entry| entry.parse(report, OtlpEndpoint::parse));
        table.finish(report);
        Some(Telemetry {
            otlp_endpoint: otlp_endpoint?,
            sample_ratio,
        })
    }

    /// What callers of the policies need of this file, and it of them.
    fn callers(
        &mut self,
        policies: &PolicySet,
        listen: Option<SocketAddr>,
        found: &Found,
        tls: Option<&TlsFiles>,
        root: &Place,
    ) {
        let report = &mut self.report;
        match &found.token {
            Some(token) if policies.is_pass_through() && !listen.is_none_or(is_loopback) => report.add(
                token,
                "would make an open relay: the policies name no [[caller]], so whoever reaches listen could send with \
                 this token; declare callers, or listen on loopback",
            ),
            None if !policies.is_pass_through() => report.add(
                &found.table.child("token"),
                "is missing: the policies name callers, whose own Authorization is never forwarded; write \
                 token = { env = \"CURFEW_GRAPH_TOKEN\" }",
            ),
            _ => {}
        }
        let by_certificate = policies
            .callers
            .iter()
            .find(|caller| matches!(caller.credential, Credential::TlsSan(_)));
        if let Some(caller) = by_certificate
            && tls.is_none_or(|tls| tls.client_ca_file.is_none())
        {
            report.add(
                &root.child("tls").child("client_ca_file"),
                format!(
                    "is missing: the caller {:?} is known by tls_san, which needs roots to check certificates with",
                    shown(&caller.name)
                ),
            );
        }
    }
}

/// An IP address and a port.
fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "must be an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080")
}

/// Whether only this machine can connect.
fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn parse_policies(path: &Path, text: &str) -> Result<PolicySet, Vec<Problem>> {
    curfew_policies::parse(text).map_err(|problems| {
        problems
            .into_iter()
            .map(|problem| Problem {
                file: path.to_owned(),
                line: problem.line,
                column: problem.column,
                key: problem.key,
                message: problem.message,
            })
            .collect()
    })
}
