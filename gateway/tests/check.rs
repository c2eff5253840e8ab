//! `curfew check` tells, before anything starts, whether a configuration is right and what it means.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env::VarError;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use curfew::cli::check::{Check, check};

const POLICIES: &str = r#"
[[number]]
phone_number_id = "106540352242922"
waba_id = "102290129340398"
storage = { mode = "no_storage" }
allow_deregister = true
allow_unverified = ["marketing_messages"]
[number.media]
ttl_minutes = { min = 60, max = 1440, default = 120 }
links = { hosts = ["cdn.bank.example"] }

[[number]]
phone_number_id = "106540352242923"
storage = { mode = "in_country", region = "DE" }
[number.media]
unknown_ids = "deny"
cache_minutes = 0

[[number]]
phone_number_id = "106540352242924"
storage = { mode = "default" }
[number.sends]
per_second = 20
kept_for_inbound = 5
when_limited = "reject"
classes.utility.when_limited = "wait"

[[caller]]
name = "billing"
key_sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
numbers = ["106540352242922", "106540352242923"]
may = ["send", "media"]
repeat_window_s = 30

[[portfolio]]
numbers = ["106540352242922", "106540352242924"]
unique_recipients_24h = 2000
"#;

const CONFIG: &str = r#"
listen = "0.0.0.0:8443"
policies = "policies.toml"
public_url = "https://curfew.bank.example"
tls = { cert_file = "cert.pem", key_file = "key.pem" }
[upstream]
token = { env = "CURFEW_GRAPH_TOKEN" }
"#;

/// A command line that holds `check` alone.
#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    check: Check,
}

struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        let made = rcgen::generate_simple_self_signed(["curfew.bank.example".to_owned()]).unwrap();
        site.write("cert.pem", &made.cert.pem());
        site.write("key.pem", &made.signing_key.serialize_pem());
        site.write("curfew.toml", CONFIG);
        site.write("policies.toml", POLICIES);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Whether there was no problem, and what went to standard output and standard error.
    fn check(&self) -> (bool, String, String) {
        checked(&self.path("curfew.toml"))
    }
}

fn checked(config: &Path) -> (bool, String, String) {
    let environment = |name: &str| match name {
        "CURFEW_GRAPH_TOKEN" => Ok("EAAGtoken".to_owned()),
        _ => Err(VarError::NotPresent),
    };
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let args = Check {
        config: config.to_owned(),
    };
    let right = check(&args, &environment, &mut out, &mut errors).unwrap();
    (
        right,
        String::from_utf8(out).unwrap(),
        String::from_utf8(errors).unwrap(),
    )
}

#[test]
fn a_right_configuration_is_told_number_by_number() {
    let site = Site::new();
    let (right, out, errors) = site.check();
    assert!(right, "{errors}");
    assert_eq!(errors, "");
    let told = out.split_once('\n').unwrap().1;
    assert_eq!(
        told,
        "\
enforcement: enforce

number 106540352242922: no_storage
  media ttl: 60 to 1440 minutes, 120 where an upload says nothing
  links: cdn.bank.example
  unknown media ids: verify with Meta
  downloads cached: up to 60 minutes
  sends: 80 a second, 80 at once; to one recipient one in 6 s, 45 at once; above that wait up to 2000 ms
  settings at Meta: verified every 15 minutes
  deregister: allowed
  allowed though not verified: marketing_messages
  callers: billing (send, media; the same send within 30 s is sent once)

number 106540352242923: in_country (DE)
  links: none
  unknown media ids: deny
  downloads cached: never
  sends: 80 a second, 80 at once; to one recipient one in 6 s, 45 at once; above that wait up to 2000 ms
  settings at Meta: verified every 15 minutes
  callers: billing (send, media; the same send within 30 s is sent once)

number 106540352242924: default
  links: any host
  unknown media ids: verify with Meta
  downloads cached: up to 60 minutes
  sends: 20 a second, 20 at once; to one recipient one in 6 s, 45 at once; above that reject
  kept for inbound: 5 of them a second
  utility above the limit: wait

portfolio of 106540352242922, 106540352242924: 2000 recipients in 24 hours
"
    );
}

#[test]
fn a_policy_that_does_not_enforce_and_has_no_callers_says_so() {
    let site = Site::new();
    site.write(
        "curfew.toml",
        "listen = \"127.0.0.1:8080\"\npolicies = \"policies.toml\"\n",
    );
    let (numbers, _) = POLICIES.split_once("[[caller]]").unwrap();
    site.write("policies.toml", &format!("enforcement = \"monitor\"\n{numbers}"));
    let (right, out, errors) = site.check();
    assert!(right, "{errors}");
    assert!(
        out.contains("enforcement: monitor (what a rule refuses is recorded and passes)\n"),
        "{out}"
    );
    assert!(
        out.contains("callers: none declared; callers present their own Meta token\n"),
        "{out}"
    );
    assert!(!out.contains("  callers:"), "{out}");
}

#[test]
fn every_problem_of_every_file_is_one_line_with_its_place() {
    let site = Site::new();
    site.write(
        "curfew.toml",
        &format!("lsten = 1\n{CONFIG}graph = \"http://graph.facebook.com\"\n"),
    );
    site.write(
        "policies.toml",
        &POLICIES
            .replace("max = 1440", "max = 30")
            .replace("region = \"DE\"", "region = \"US\""),
    );
    site.write("key.pem", "not a key");
    let (right, out, errors) = site.check();
    assert!(!right);
    assert_eq!(out, "");
    let places: Vec<_> = errors
        .lines()
        .map(|line| {
            let rest = line
                .strip_prefix(&format!("{}/", site.0.path().display()))
                .unwrap();
            let mut parts = rest.splitn(5, ':').map(str::trim);
            let (file, at, column) = (
                parts.next().unwrap(),
                parts.next().unwrap(),
                parts.next().unwrap(),
            );
            assert!(
                at.parse::<u32>().unwrap() > 0 && column.parse::<u32>().unwrap() > 0,
                "{line}"
            );
            let key = parts.next().unwrap();
            assert!(!parts.next().unwrap().is_empty(), "{line}");
            (file, key)
        })
        .collect();
    assert_eq!(
        places,
        [
            ("curfew.toml", "lsten"),
            ("curfew.toml", "tls.key_file"),
            ("curfew.toml", "upstream.graph"),
            ("policies.toml", "number[0].media.ttl_minutes.max"),
            ("policies.toml", "number[1].storage.region"),
        ],
        "{errors}"
    );
}

#[test]
fn a_key_that_does_not_fit_the_certificate_is_found() {
    let (site, other) = (Site::new(), Site::new());
    fs::copy(other.path("key.pem"), site.path("key.pem")).unwrap();
    let (right, _, errors) = site.check();
    assert!(!right);
    assert!(
        errors.contains(":5:44: tls.key_file: names a file that is not the key of"),
        "{errors}"
    );
    assert_eq!(errors.lines().count(), 1);
}

#[test]
fn a_configuration_that_is_not_there_is_a_problem() {
    let site = Site::new();
    let (right, out, errors) = checked(&site.path("none.toml"));
    assert!(!right);
    assert_eq!(out, "");
    assert!(errors.contains("none.toml:1:1: cannot be read"), "{errors}");
}

#[test]
fn the_configuration_must_be_named() {
    let line = Line::try_parse_from(["check", "--config", "x.toml"]).unwrap();
    assert_eq!(line.check.config, Path::new("x.toml"));
    assert_eq!(Line::try_parse_from(["check"]).unwrap_err().exit_code(), 2);
}
