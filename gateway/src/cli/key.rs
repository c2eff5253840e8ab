//! `curfew key`: the keys that internal services present to the gateway.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};

/// What every key begins with, so that people and secret scanners know one when they see it.
const PREFIX: &str = "cfw_";

/// How many random bytes are in a key.
const RANDOM_BYTES: usize = 32;

/// Make the keys that internal services present to the gateway.
#[derive(Args, Debug)]
pub struct Key {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a caller's key and its hash.
    ///
    /// Prints two lines: the key, which the internal service presents as `Authorization: Bearer KEY`, and the line to
    /// paste into its [[caller]] of policies.toml. The key is kept nowhere: whoever loses it makes another.
    New(New),
}

#[derive(Args, Debug)]
struct New {
    /// Print one line of JSON instead: {"key":"…","key_sha256":"…"}.
    #[arg(long)]
    json: bool,
}

/// Runs `curfew key`: 0, or 1 if the system has no randomness to give or the output cannot be written.
#[must_use]
pub fn run(args: &Key) -> ExitCode {
    let KeyCommand::New(new) = &args.command;
    match write_new(new, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to be done where even this cannot be written.
            let _ = writeln!(io::stderr().lock(), "curfew: no key was made: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A caller's key and what `policies.toml` knows of it.
///
/// The key is `cfw_` and 32 random bytes in base64url without padding (RFC 4648, section 5): 47 characters, each of
/// which a header may hold. The hash is the SHA-256 of all 47, as 64 lower-case hexadecimal digits. 256 random bits need
/// no salt and no slow hash.
struct CallerKey {
    key: String,
    sha256: String,
}

impl CallerKey {
    fn random() -> io::Result<Self> {
        let mut bytes = [0; RANDOM_BYTES];
        rand::fill(&mut bytes).map_err(|_| io::Error::other("the system gave no random bytes"))?;
        Ok(Self::of(bytes))
    }

    fn of(bytes: [u8; RANDOM_BYTES]) -> Self {
        let key = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
        let digest = digest::digest(&digest::SHA256, key.as_bytes());
        let mut sha256 = String::with_capacity(64);
        for byte in digest.as_ref() {
            // Writing into a `String` does not fail.
            let _ = write!(sha256, "{byte:02x}");
        }
        Self { key, sha256 }
    }
}

fn write_new(args: &New, out: &mut impl io::Write) -> io::Result<()> {
    let CallerKey { key, sha256 } = CallerKey::random()?;
    if args.json {
        writeln!(out, "{}", serde_json::json!({ "key": key, "key_sha256": sha256 }))?;
    } else {
        writeln!(out, "{key}\nkey_sha256 = \"{sha256}\"")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_of_the_key_as_it_is_presented() {
        // `printf %s cfw_AAAA… | sha256sum`
        let CallerKey { key, sha256 } = CallerKey::of([0; RANDOM_BYTES]);
        assert_eq!(key, format!("cfw_{}", "A".repeat(43)));
        assert_eq!(
            sha256,
            "233e054bec10be7cf36bfc0df5c1be0c431faa40cf3a3d90c1b0e142823bcba1"
        );
    }

    #[test]
    fn no_two_keys_are_the_same() {
        let (one, other) = (CallerKey::random().unwrap(), CallerKey::random().unwrap());
        assert_ne!(one.key, other.key);
        assert_eq!(one.key.len(), 47);
    }

    #[test]
    fn plain_output_is_the_key_and_the_line_to_paste() {
        let mut out = Vec::new();
        write_new(&New { json: false }, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        let lines: Vec<_> = out.lines().collect();
        let [key, line] = lines[..] else { panic!("{out}") };
        assert!(key.starts_with("cfw_"));
        let pasted: toml::Table = line.parse().unwrap();
        assert_eq!(pasted["key_sha256"].as_str().map(str::len), Some(64));
    }

    #[test]
    fn json_output_is_one_line_with_both() {
        let mut out = Vec::new();
        write_new(&New { json: true }, &mut out).unwrap();
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["key"].as_str().map(str::len), Some(47));
        assert_eq!(value["key_sha256"].as_str().map(str::len), Some(64));
    }
}
