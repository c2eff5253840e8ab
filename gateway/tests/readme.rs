//! Promise: what the README shows works as it stands there.
#![allow(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and shows its figures"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{TOKEN, World, outside};
use curfew_emulator::Operation;

/// The policies of the sandbox, with the numbers that the README's commands name.
const SANDBOX: &str = include_str!("../src/cli/sandbox.toml");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The README's code blocks in one language, in order.
fn blocks(language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("README.md")).expect("there is a README");
    let mut blocks = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some((info == language, String::new())),
            (Some((wanted, block)), Some(_)) => {
                if *wanted {
                    blocks.push(std::mem::take(block));
                }
                open = None;
            }
            (Some((_, block)), None) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

/// Runs a block as it stands there, but for where the gateway is and what its token is; returns what it writes.
async fn run(world: &World, block: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let script = block
        .replace("127.0.0.1:8080", &world.gateway.addr.to_string())
        .replace("sandbox-token", TOKEN);
    let output = tokio::task::spawn_blocking(move || {
        Command::new("sh")
            .arg("-ec")
            .arg(script)
            .current_dir(folder.path())
            .output()
            .expect("a shell")
    })
    .await
    .expect("it does not panic");
    assert!(
        output.status.success(),
        "{block}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

/// What makes the digest of the command that announces its body.
const OPENSSL: &str = "openssl";
/// What the command that is answered once has.
const KEY: &str = "Idempotency-Key";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_curl_commands_do_what_it_says() {
    let world = World::of(SANDBOX).await;
    let mut answers = Vec::new();
    for block in blocks("sh") {
        if block.contains("curl") && !block.contains(OPENSSL) && !block.contains(KEY) {
            answers.push(run(&world, &block).await);
        }
    }
    assert_eq!(answers.len(), 2);
    assert!(answers[0].contains("wamid."), "{}", answers[0]);
    let shown: serde_json::Value =
        serde_json::from_str(&blocks("json")[0]).expect("the shown answer is JSON");
    let came: serde_json::Value = serde_json::from_str(&answers[1]).expect("an answer");
    for field in ["code", "message", "type", "error_data"] {
        assert_eq!(came["error"][field], shown["error"][field], "{field}");
    }
    assert_eq!(world.emulator.media_bytes_kept(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_send_that_it_gives_a_key_happens_once() {
    let world = World::of(SANDBOX).await;
    let keyed: Vec<_> = blocks("sh")
        .into_iter()
        .filter(|block| block.contains(KEY))
        .collect();
    assert_eq!(keyed.len(), 1);
    let first = run(&world, &keyed[0]).await;
    assert!(first.contains("wamid."), "{first}");
    assert_eq!(run(&world, &keyed[0]).await, first);
    assert_eq!(world.emulator.sent().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upload_that_it_announces_is_made_once() {
    if outside::program("CURFEW_TEST_OPENSSL", OPENSSL, "apt-get install openssl").is_none() {
        return;
    }
    let policies = SANDBOX.replace("[number.media]\n", "[number.media]\nreuse = true\n");
    let world = World::of(&policies).await;
    let announced: Vec<_> = blocks("sh")
        .into_iter()
        .filter(|block| block.contains(OPENSSL))
        .collect();
    assert_eq!(announced.len(), 1);
    let first = run(&world, &announced[0]).await;
    assert_eq!(run(&world, &announced[0]).await, first);
    let uploads = world.emulator.received();
    let uploads = uploads.iter().filter(|call| call.operation == Operation::Upload);
    assert_eq!(uploads.count(), 1);
    let stored = world.emulator.media();
    assert_eq!(
        world.emulator.media_bytes(stored[0].id).as_deref(),
        Some(&b"any terms"[..])
    );
}

#[test]
fn its_first_policy_and_configuration_are_right() {
    let blocks = blocks("toml");
    let [policies, config, parts @ ..] = blocks.as_slice() else {
        panic!("a policy and a configuration are shown, and parts of them");
    };
    // Each part goes to the end of the file that has its tables.
    let (mut policies, mut config) = (policies.clone(), config.clone());
    for part in parts {
        let is_policy = ["[number.", "[[number", "[[caller", "[[portfolio"]
            .iter()
            .any(|table| part.starts_with(table));
        let file = if is_policy { &mut policies } else { &mut config };
        file.push('\n');
        file.push_str(part);
    }
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("policies.toml"), policies).expect("written");
    std::fs::write(folder.path().join("curfew.toml"), config).expect("written");
    let check = Command::new(env!("CARGO_BIN_EXE_curfew"))
        .args(["check", "--config"])
        .arg(folder.path().join("curfew.toml"))
        .env("CURFEW_GRAPH_TOKEN", "EAAG-any")
        .output()
        .expect("curfew runs");
    assert!(
        check.status.success(),
        "{}",
        String::from_utf8_lossy(&check.stderr)
    );
}

#[test]
fn its_links_lead_somewhere() {
    let text = std::fs::read_to_string(root().join("README.md")).expect("there is a README");
    let mut links = 0;
    for rest in text.split("](").skip(1) {
        let target = rest.split(')').next().unwrap_or_default();
        assert!(root().join(target).exists(), "{target}");
        links += 1;
    }
    assert!(links > 0);
}

#[test]
fn it_begins_with_the_two_commands() {
    let blocks = blocks("sh");
    assert_eq!(blocks[0].trim(), "cargo run --release -- sandbox");
    assert_eq!(blocks[1].trim(), "cargo test --workspace");
}
