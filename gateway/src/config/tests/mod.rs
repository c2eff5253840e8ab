//! Both files as people write them: what they become, and what is said when they are wrong.

use std::env::VarError;
use std::fs;
use std::path::PathBuf;

use super::*;

mod example;
mod problems;
mod secrets;

/// One number, no callers.
const PASS_THROUGH: &str = r#"
[[number]]
phone_number_id = "106540352242922"
storage = { mode = "no_storage" }
"#;

/// The same number, and a caller that is known by its key.
const BY_KEY: &str = r#"
[[number]]
phone_number_id = "106540352242922"
storage = { mode = "no_storage" }
[[caller]]
name = "billing"
key_sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
numbers = ["106540352242922"]
may = ["send"]
"#;

/// The same number, and a caller that is known by its certificate.
const BY_CERTIFICATE: &str = r#"
[[number]]
phone_number_id = "106540352242922"
storage = { mode = "no_storage" }
[[caller]]
name = "billing"
tls_san = "billing.bank.example"
numbers = ["106540352242922"]
may = ["send"]
"#;

const TOKEN: &str = "EAAGm0PX4ZCpsBAtokenForTests";

/// A directory with everything that a configuration can name.
struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        let made = rcgen::generate_simple_self_signed(["curfew.bank.example".to_owned()]).unwrap();
        site.write("policies.toml", PASS_THROUGH);
        site.write("by_key.toml", BY_KEY);
        site.write(
            "settling.toml",
            &format!("{PASS_THROUGH}[number.sends]\nsettle_unknown = true\n"),
        );
        site.write("by_certificate.toml", BY_CERTIFICATE);
        site.write("wrong_policies.toml", "enforcement = \"perhaps\"\nnumbre = []\n");
        for name in ["tls/cert.pem", "tls/client-ca.pem", "tls/upstream-ca.pem"] {
            site.write(name, &made.cert.pem());
        }
        site.write("tls/key.pem", &made.signing_key.serialize_pem());
        site.write("secrets/app-secret", "0123456789abcdef0123456789abcdef\n");
        site.write("tls/receiver-ca.pem", &made.cert.pem());
        site.write("secrets/delivery-secret", "fedcba9876543210fedcba9876543210\n");
        site.write("secrets/empty", "\n");
        site.write("secrets/two-lines", "one\ntwo\n");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn load(&self, text: &str) -> Result<Loaded, Problems> {
        self.write("curfew.toml", text);
        load_with(&self.path("curfew.toml"), &environment)
    }

    fn problems(&self, text: &str) -> Problems {
        self.load(text).map(|loaded| loaded.config).unwrap_err()
    }
}

fn environment(name: &str) -> Result<String, VarError> {
    match name {
        "CURFEW_GRAPH_TOKEN" => Ok(TOKEN.to_owned()),
        "CURFEW_VERIFY_TOKEN" => Ok("a-verify-token".to_owned()),
        "CURFEW_STORE_URL" => Ok("redis://curfew:secret@valkey.bank.example:6379/0".to_owned()),
        "EMPTY" => Ok(String::new()),
        "SPACED" => Ok(format!("Bearer {TOKEN}")),
        _ => Err(VarError::NotPresent),
    }
}

#[test]
fn what_is_not_said_has_the_documented_default() {
    let site = Site::new();
    let Config {
        listen,
        admin_listen,
        policies,
        public_url,
        tls,
        upstream,
        store,
        cache,
        limits,
        audit,
        telemetry,
        webhooks,
    } = site
        .load("listen = \"127.0.0.1:8080\"\npolicies = \"policies.toml\"\n")
        .unwrap()
        .config;
    assert_eq!(listen.to_string(), "127.0.0.1:8080");
    assert_eq!(admin_listen.to_string(), "127.0.0.1:9090");
    assert_eq!(policies, site.path("policies.toml"));
    assert_eq!((public_url, tls, audit, telemetry), (None, None, None, None));
    assert!(webhooks.is_none());
    assert_eq!(upstream.graph.to_string(), "https://graph.facebook.com");
    assert_eq!(upstream.media, ["https://lookaside.fbsbx.com".parse().unwrap()]);
    assert!(upstream.token.is_none() && upstream.app_secret.is_none() && upstream.ca_file.is_none());
    assert_eq!(store, StoreConfig::Memory);
    assert_eq!(
        cache,
        CacheLimits {
            max_bytes: 268_435_456,
            object_bytes: 33_554_432,
        }
    );
    assert_eq!(
        limits,
        Limits {
            head_bytes: 16384,
            headers: 64,
            json_bytes: 1_048_576,
            upload_bytes: 104_923_136,
            header_timeout: Duration::from_secs(10),
            body_idle_timeout: Duration::from_secs(30),
            keep_alive_idle: Duration::from_secs(75),
            body_min_bytes_per_s: 1024,
            caller_share_percent: 25,
        }
    );
}

#[test]
fn empty_tables_have_the_documented_defaults_too() {
    let site = Site::new();
    let text = "listen = \"[::1]:0\"\npolicies = \"policies.toml\"\nstore = { kind = \"sqlite\" }\n[upstream]\n[cache]\n[limits]\n[audit]\n[telemetry]\n";
    let config = site.load(text).unwrap().config;
    assert_eq!(
        config.store,
        StoreConfig::Sqlite {
            path: site.path("curfew.db")
        }
    );
    assert_eq!(
        config.audit,
        Some(Audit {
            path: site.path("audit/")
        })
    );
    assert_eq!(config.telemetry, None);
    assert_eq!(config.cache, CacheLimits::DEFAULT);
    assert_eq!(config.limits, Limits::default());
}

#[test]
fn everything_can_be_set() {
    let site = Site::new();
    let config = site
        .load(
            r#"
listen = "0.0.0.0:8443"
admin_listen = "127.0.0.1:9443"
policies = "by_certificate.toml"
public_url = "https://curfew.bank.example"
tls = { cert_file = "tls/cert.pem", key_file = "tls/key.pem", client_ca_file = "tls/client-ca.pem" }
[upstream]
graph = "http://127.0.0.1:4000"
media = ["http://localhost:4000", "https://cdn.example:8443"]
token = { env = "CURFEW_GRAPH_TOKEN" }
app_secret = { file = "secrets/app-secret" }
ca_file = "tls/upstream-ca.pem"
[store]
kind = "sqlite"
path = "/var/lib/curfew/pins.db"
[cache]
max_bytes = 68_719_476_736
object_bytes = 104_857_600
[limits]
head_bytes = 1024
headers = 256
json_bytes = 0x2000
upload_bytes = 1_073_741_824
header_timeout_s = 1
body_idle_timeout_s = 600
keep_alive_idle_s = 5
body_min_bytes_per_s = 0
caller_share_percent = 100
[audit]
path = "trail"
[telemetry]
otlp_endpoint = "http://collector:4318/base"
sample_ratio = 0.25
"#,
        )
        .unwrap()
        .config;
    assert_eq!(
        config.public_url.unwrap().to_string(),
        "https://curfew.bank.example"
    );
    assert_eq!(
        config.tls.unwrap().client_ca_file,
        Some(site.path("tls/client-ca.pem"))
    );
    assert!(config.upstream.graph.is_loopback());
    assert_eq!(config.upstream.media[1].to_string(), "https://cdn.example:8443");
    assert!(config.upstream.token.is_some() && config.upstream.app_secret.is_some());
    assert_eq!(config.upstream.ca_file, Some(site.path("tls/upstream-ca.pem")));
    assert_eq!(
        config.store,
        StoreConfig::Sqlite {
            path: "/var/lib/curfew/pins.db".into()
        }
    );
    assert_eq!(
        (config.cache.max_bytes, config.cache.object_bytes),
        (68_719_476_736, 104_857_600)
    );
    assert_eq!(config.limits.json_bytes, 8192);
    assert_eq!(config.limits.body_idle_timeout, Duration::from_secs(600));
    assert_eq!(
        (
            config.limits.body_min_bytes_per_s,
            config.limits.caller_share_percent
        ),
        (0, 100)
    );
    assert_eq!(
        config.audit,
        Some(Audit {
            path: site.path("trail")
        })
    );
    let telemetry = config.telemetry.unwrap();
    assert_eq!(telemetry.otlp_endpoint.to_string(), "http://collector:4318/base");
    assert!((telemetry.sample_ratio - 0.25).abs() < f64::EPSILON);
}

#[test]
fn a_small_cache_keeps_what_fits_and_one_of_no_size_keeps_nothing() {
    let site = Site::new();
    for (lines, max_bytes, object_bytes) in [
        ("max_bytes = 0", 0, 0),
        ("max_bytes = 0\nobject_bytes = 1024", 0, 0),
        ("max_bytes = 1_048_576", 1_048_576, 1_048_576),
        ("max_bytes = 1_048_576\nobject_bytes = 1024", 1_048_576, 1024),
    ] {
        let config = site.load(&format!("{HEAD}[cache]\n{lines}\n")).unwrap().config;
        let cache = (config.cache.max_bytes, config.cache.object_bytes);
        assert_eq!(cache, (max_bytes, object_bytes), "{lines}");
    }
}

#[test]
fn paths_start_from_the_file_that_names_them() {
    let site = Site::new();
    site.write("etc/curfew.toml", "listen = \"127.0.0.1:1\"\npolicies = \"../policies.toml\"\nstore = { kind = \"sqlite\", path = \"x.db\" }\n");
    let config = load_with(&site.path("etc/curfew.toml"), &environment)
        .unwrap()
        .config;
    assert_eq!(config.policies, site.path("etc/../policies.toml"));
    assert_eq!(
        config.store,
        StoreConfig::Sqlite {
            path: site.path("etc/x.db")
        }
    );
}

#[test]
fn the_token_may_serve_a_pass_through_gateway_on_loopback() {
    let site = Site::new();
    for listen in [
        "127.0.0.1:8080",
        "127.3.2.1:8080",
        "[::1]:8080",
        "[::ffff:127.0.0.1]:8080",
    ] {
        let text = format!(
            "listen = \"{listen}\"\npolicies = \"policies.toml\"\nupstream.token = {{ env = \"CURFEW_GRAPH_TOKEN\" }}\n"
        );
        assert!(site.load(&text).is_ok(), "{listen}");
    }
}

#[test]
fn webhooks_are_read() {
    let text = "listen = \"127.0.0.1:1\"\npolicies = \"settling.toml\"\nupstream.app_secret = { file = \"secrets/app-secret\" }\n\
        [webhooks]\nlisten = \"[::1]:8081\"\npath = \"/hooks/meta\"\nverify_token = { env = \"CURFEW_VERIFY_TOKEN\" }\n\
        deliver_to = \"https://receiver.bank.example:8443/webhook?team=care\"\nca_file = \"tls/receiver-ca.pem\"\n\
        delivery_secret = { file = \"secrets/delivery-secret\" }\ntls = { cert_file = \"tls/cert.pem\", key_file = \"tls/key.pem\" }\n";
    let site = Site::new();
    let loaded = site.load(text).unwrap();
    assert!(settling_number(&loaded.policies).is_some());
    let webhooks = loaded.config.webhooks.unwrap();
    assert_eq!(
        (webhooks.listen.port(), webhooks.path.as_str()),
        (8081, "/hooks/meta")
    );
    assert_eq!(
        webhooks.deliver_to.uri().to_string(),
        "https://receiver.bank.example:8443/webhook?team=care"
    );
    assert!(webhooks.deliver_to.is_https() && webhooks.tls.is_some() && webhooks.delivery_secret.is_some());
    assert_eq!(webhooks.ca_file, Some(site.path("tls/receiver-ca.pem")));
    let debugged = format!("{webhooks:?}");
    assert!(
        !debugged.contains("a-verify-token") && !debugged.contains("fedcba"),
        "{debugged}"
    );
}

#[test]
fn the_app_secret_needs_no_token_of_the_gateways_own() {
    let text = "listen = \"127.0.0.1:1\"\npolicies = \"policies.toml\"\nupstream.app_secret = { file = \"secrets/app-secret\" }\n";
    let config = Site::new().load(text).unwrap().config;
    assert!(config.upstream.app_secret.is_some() && config.upstream.token.is_none());
}

/// Two lines that are right; the tests add to them.
const HEAD: &str = "listen = \"127.0.0.1:8080\"\npolicies = \"policies.toml\"\n";
