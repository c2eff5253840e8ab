//! The program prints its base URL, serves, and ends when told to.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use support::{Client, soon};

#[tokio::test]
async fn the_program_serves_until_it_is_terminated() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_curfew-emulator"))
        .args(["--listen", "127.0.0.1:0", "--minute", "1s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut base = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut base)
        .unwrap();
    let client = Client::new(base.trim_end());
    let numbers = client.get("/_emulator/numbers").await.ok().json();
    assert_eq!(numbers.as_array().map(Vec::len), Some(2));
    client.text(106_540_352_242_922, "+4915112345678").await.ok();
    let told = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(told.success());
    let ended = soon(tokio::task::spawn_blocking(move || child.wait()))
        .await
        .unwrap()
        .unwrap();
    assert!(ended.success());
}

#[test]
fn policies_that_make_no_sense_end_it() {
    let path = std::env::temp_dir().join(format!("emulator-policies-{}.toml", std::process::id()));
    std::fs::write(
        &path,
        "[[number]]\nphone_number_id = \"x\"\nstorage = { mode = \"default\" }",
    )
    .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_curfew-emulator"))
        .args(["--listen", "127.0.0.1:0", "--policies", path.to_str().unwrap()])
        .output()
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("`x` is not an id"));
}
