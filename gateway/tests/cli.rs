//! Promise: the commands do what their help says, what they print works when pasted, and what they complain of can be
//! found.
#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use common::form::{Form, PNG};
use common::process::{Gateway, Program, has_tools, paste, run, write_config};
use common::{Client, TOKEN, soon};
use serde_json::Value;
use tempfile::TempDir;

const SANDBOX: [&str; 5] = [
    "sandbox",
    "--listen",
    "127.0.0.1:0",
    "--admin-listen",
    "127.0.0.1:0",
];

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn sandbox(folder: &Path, more: &[&str]) -> Program {
    let args: Vec<_> = SANDBOX.iter().chain(more).copied().collect();
    Program::start(folder, &args)
}

/// What `sandbox --json` says.
async fn told(program: &mut Program) -> Value {
    serde_json::from_str(&program.out_line().await).expect("one line of JSON")
}

fn text<'a>(value: &'a Value, at: &str) -> &'a str {
    let text = value.pointer(at).and_then(Value::as_str);
    text.unwrap_or_else(|| panic!("no {at} in {value}"))
}

/// A client of the gateway that this says how to reach.
fn client_of(told: &Value) -> Client {
    let (_, addr) = text(told, "/base_url").split_once("://").expect("a URL");
    Client::new(addr.parse().expect("an address")).bearer(text(told, "/token"))
}

#[tokio::test]
async fn the_sandbox_says_in_json_how_to_reach_it_and_its_curl_works() {
    if !has_tools(&["curl"]) {
        return;
    }
    let folder = folder();
    let mut program = sandbox(folder.path(), &["--json"]);
    let told = told(&mut program).await;
    let modes: Vec<_> = told["numbers"]
        .as_array()
        .expect("numbers")
        .iter()
        .map(|number| text(number, "/storage"))
        .collect();
    assert_eq!(modes, ["no_storage", "in_country"]);
    let pasted = paste(folder.path(), text(&told, "/curl"));
    let answer: Value = serde_json::from_str(&pasted.out).unwrap_or_else(|_| panic!("{pasted:?}"));
    assert!(text(&answer, "/messages/0/id").starts_with("wamid."));

    let (_, admin) = text(&told, "/admin_url").split_once("://").expect("a URL");
    let operator = Client::new(admin.parse().expect("an address"));
    assert_eq!(operator.get("/readyz").await.status, 200);
    let health = format!("{}/_emulator/health", text(&told, "/emulator_url"));
    assert_eq!(operator.get(&health).await.status, 200);
    let left: Vec<_> = fs::read_dir(folder.path()).expect("a folder").collect();
    assert!(left.is_empty(), "nothing on disk: {left:?}");
    program.terminate();
    assert_eq!(program.ended().await.code(), Some(0));
}

#[tokio::test]
async fn what_the_sandbox_prints_works_when_it_is_pasted() {
    if !has_tools(&["curl", "base64", "tee", "sed"]) {
        return;
    }
    let folder = folder();
    let mut program = sandbox(folder.path(), &[]);
    let mut script = String::new();
    loop {
        let line = program.out_line().await;
        script.push_str(&line);
        script.push('\n');
        if line.contains("ttl_minutes=43200") {
            break;
        }
    }
    let (said, script) = script
        .split_once("Paste these into another terminal.\n")
        .expect("what to paste");
    for part in ["base URL", "admin", "token", "no_storage", "in_country"] {
        assert!(said.contains(part), "{said}");
    }
    let pasted = paste(folder.path(), script);
    let answers: Vec<Value> = pasted
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{pasted:?}")))
        .collect();
    let [sent, sent_image, refused_send, refused_upload] = answers.as_slice() else {
        panic!("{pasted:?}")
    };
    let uploaded: Value = serde_json::from_str(pasted.err.trim()).unwrap_or_else(|_| panic!("{pasted:?}"));
    assert!(text(&uploaded, "/id").parse::<u64>().is_ok());
    for sent in [sent, sent_image] {
        assert!(text(sent, "/messages/0/id").starts_with("wamid."));
    }
    for (refused, code, part) in [
        (refused_send, 100, text(&uploaded, "/id")),
        (refused_upload, 131_009, "43200"),
    ] {
        assert_eq!(text(refused, "/error/type"), "CurfewPolicyException");
        assert_eq!(refused["error"]["code"], code);
        assert!(
            text(refused, "/error/error_data/details").contains(part),
            "{refused}"
        );
    }
    assert_eq!(
        fs::read(folder.path().join("picture.png")).expect("a picture"),
        PNG
    );
}

#[tokio::test]
async fn with_short_minutes_a_medium_can_be_watched_ending() {
    let folder = folder();
    let mut program = sandbox(folder.path(), &["--json", "--minute", "20ms"]);
    let told = told(&mut program).await;
    let client = client_of(&told);
    let number: u64 = text(&told, "/numbers/0/phone_number_id").parse().expect("an id");
    let form = Form::image().field("ttl_minutes", "60");
    let reply = client.post_form(&format!("/v23.0/{number}/media"), &form).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let media = reply.media_id();
    assert_eq!(client.send_image(number, media).await.status, 200);
    let target = format!("/v23.0/{media}?phone_number_id={number}");
    soon(async { while client.get(&target).await.status == 200 {} }).await;
    let last = client.send_image(number, media).await;
    last.assert_refused(400, 100, "media_ended");
}

#[test]
fn the_sandbox_is_for_this_machine_alone() {
    let folder = folder();
    for (listen, admin) in [("0.0.0.0:0", "127.0.0.1:0"), ("127.0.0.1:0", "0.0.0.0:0")] {
        let ran = run(
            folder.path(),
            &["sandbox", "--listen", listen, "--admin-listen", admin],
        );
        assert_eq!(ran.code, Some(1));
        assert!(ran.out.is_empty() && ran.err.contains("loopback"), "{}", ran.err);
    }
}

#[tokio::test]
async fn the_sandbox_takes_policies_and_names_what_is_wrong_with_them() {
    let folder = folder();
    let policies =
        "[[number]]\nphone_number_id = \"7\"\nstorage = { mode = \"in_country\", region = \"IN\" }\n";
    fs::write(folder.path().join("mine.toml"), policies).expect("a file");
    let mut program = sandbox(folder.path(), &["--json", "--policies", "mine.toml"]);
    let told = told(&mut program).await;
    assert_eq!(text(&told, "/numbers/0/phone_number_id"), "7");
    assert_eq!(client_of(&told).send_text(7).await.status, 200);

    fs::write(folder.path().join("mine.toml"), policies.replace("IN", "US")).expect("a file");
    let ran = run(
        folder.path(),
        &["sandbox", "--listen", "127.0.0.1:0", "--policies", "mine.toml"],
    );
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.contains("mine.toml:3:") && ran.err.contains("storage.region"),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn the_emulator_alone_is_a_cloud_api() {
    let folder = folder();
    let mut program = Program::start(folder.path(), &["emulator", "--listen", "127.0.0.1:0"]);
    let base_url = program.out_line().await;
    let (_, addr) = base_url.split_once("://").expect("a URL");
    let client = Client::new(addr.parse().expect("an address")).bearer("any");
    let reply = client.send_text(106_540_352_242_922).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    program.terminate();
    assert_eq!(program.ended().await.code(), Some(0));
}

const WRONG_CONFIG: &str = "listen = \"127.0.0.1:0\"\npolicies = \"policies.toml\"\nlisten_on = 3\n\
                            [upstream]\ntoken = \"EAAG-a-secret\"\n";
const WRONG_POLICIES: &str = "[[number]]\nphone_number_id = \"1001\"\nstorage = { mode = \"no_storag\" }\n";

#[test]
fn check_and_run_name_file_line_and_key_of_everything_that_is_wrong() {
    let folder = folder();
    fs::write(folder.path().join("curfew.toml"), WRONG_CONFIG).expect("a file");
    fs::write(folder.path().join("policies.toml"), WRONG_POLICIES).expect("a file");
    for command in ["check", "run"] {
        let ran = run(folder.path(), &[command, "--config", "curfew.toml"]);
        assert_eq!(ran.code, Some(1), "{command}");
        assert!(ran.out.is_empty(), "{}", ran.out);
        for place in [
            "curfew.toml:3:1: listen_on: ",
            "curfew.toml:5:9: upstream.token: ",
            "policies.toml:3:20: number[0].storage.mode: ",
        ] {
            assert!(
                ran.err.contains(place),
                "{command}: {place} is not in\n{}",
                ran.err
            );
        }
        assert!(!ran.err.contains("EAAG-a-secret") && !ran.err.contains("listening"));
    }
}

#[test]
fn check_says_what_the_policies_mean() {
    let folder = folder();
    write_config(
        folder.path(),
        "http://127.0.0.1:9",
        common::PASS_THROUGH,
        "[store]\nkind = \"sqlite\"\npath = \"curfew.db\"\n",
    );
    let ran = run(folder.path(), &["check", "--config", "curfew.toml"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    for part in [
        "no problem",
        "number 1001: no_storage",
        "60 to 1440 minutes",
        "number 1003: default",
    ] {
        assert!(ran.out.contains(part), "{part} is not in\n{}", ran.out);
    }
    assert!(!folder.path().join("curfew.db").exists(), "nothing is written");
}

#[tokio::test]
async fn a_gateway_that_cannot_keep_its_promises_does_not_start() {
    let folder = folder();
    let held = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = format!("listen = \"{}\"\n", held.local_addr().expect("an address"));
    let right = "listen = \"127.0.0.1:0\"\n";
    let rest = "admin_listen = \"127.0.0.1:0\"\npolicies = \"policies.toml\"\n";
    fs::write(folder.path().join("policies.toml"), common::PASS_THROUGH).expect("a file");
    fs::write(folder.path().join("not-a-store"), "text").expect("a file");
    for (config, args, part) in [
        (format!("{taken}{rest}"), &[][..], "cannot listen on"),
        (
            format!("{right}{rest}"),
            &["--minute", "1s"][..],
            "--minute shortens every TTL",
        ),
        (
            format!("{right}{rest}[upstream]\ngraph = \"http://127.0.0.1:9\"\n"),
            &["--minute", "1s"][..],
            "loopback",
        ),
        (
            format!("{right}{rest}[store]\nkind = \"sqlite\"\npath = \"nowhere/curfew.db\"\n"),
            &[][..],
            "nowhere/curfew.db",
        ),
        (
            format!("{right}{rest}[store]\nkind = \"sqlite\"\npath = \"not-a-store\"\n"),
            &[][..],
            "is not a SQLite database",
        ),
        (
            format!("{right}{rest}[audit]\npath = \"audit/\"\n"),
            &[][..],
            "[audit]",
        ),
        (
            format!("{right}{rest}[upstream]\nca_file = \"missing.pem\"\n"),
            &[][..],
            "upstream.ca_file",
        ),
    ] {
        fs::write(folder.path().join("curfew.toml"), &config).expect("a file");
        let args: Vec<_> = ["run", "--config", "curfew.toml"]
            .iter()
            .chain(args)
            .copied()
            .collect();
        let ran = run(folder.path(), &args);
        assert_eq!(ran.code, Some(1), "{config}");
        assert!(ran.err.contains(part), "{part} is not in\n{}", ran.err);
        assert!(!ran.err.contains("listening"), "{}", ran.err);
    }
    let ran = run(folder.path(), &["run", "--config", "nowhere.toml"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("nowhere.toml"), "{}", ran.err);
}

#[tokio::test]
async fn two_gateways_do_not_share_a_store_file() {
    let folder = folder();
    let store = "[store]\nkind = \"sqlite\"\npath = \"curfew.db\"\n";
    write_config(folder.path(), "http://127.0.0.1:9", common::PASS_THROUGH, store);
    let first = Gateway::start(folder.path()).await;
    let ran = run(folder.path(), &["run", "--config", "curfew.toml"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("in use by another gateway"), "{}", ran.err);
    // Nobody is behind it, and it says so.
    let reply = Client::new(first.addr).bearer(TOKEN).send_text(1003).await;
    reply.assert_refused(503, 131_016, "upstream_unreachable");
}

#[test]
fn a_key_goes_to_the_service_and_its_hash_into_the_policies() {
    let folder = folder();
    let ran = run(folder.path(), &["key", "new"]);
    let lines: Vec<_> = ran.out.lines().collect();
    let [key, line] = lines.as_slice() else {
        panic!("{}", ran.out)
    };
    assert_eq!((ran.code, key.len()), (Some(0), 47));
    assert!(common::caller_table("billing", key, &[], &[]).contains(line));
    let json = run(folder.path(), &["key", "new", "--json"]);
    let made: Value = serde_json::from_str(&json.out).expect("one line of JSON");
    let again = text(&made, "/key");
    assert_ne!(again, *key);
    assert!(common::caller_table("billing", again, &[], &[]).contains(text(&made, "/key_sha256")));
}

#[test]
fn every_command_has_a_help_text() {
    let folder = folder();
    let all = run(folder.path(), &["--help"]);
    assert_eq!(all.code, Some(0));
    for (command, parts) in [
        (
            &["sandbox"][..],
            &[
                "--listen",
                "--admin-listen",
                "--minute",
                "--policies",
                "--json",
                "127.0.0.1:8080",
            ][..],
        ),
        (&["run"][..], &["--config", "--minute", "SIGTERM", "loopback"][..]),
        (&["emulator"][..], &["--listen", "--minute", "--policies"][..]),
        (&["check"][..], &["--config", "FILE:LINE:COLUMN"][..]),
        (
            &["explain"][..],
            &["--policies", "--caller", "--settings", "--media", "<REQUEST>"][..],
        ),
        (&["key"][..], &["new"][..]),
        (&["key", "new"][..], &["--json", "key_sha256"][..]),
    ] {
        assert!(all.out.contains(command[0]), "{}", all.out);
        let args: Vec<_> = command.iter().chain(&["--help"]).copied().collect();
        let ran = run(folder.path(), &args);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{command:?}");
        for part in parts {
            assert!(
                ran.out.contains(part),
                "{command:?}: {part} is not in\n{}",
                ran.out
            );
        }
    }
    let version = run(folder.path(), &["--version"]);
    assert_eq!(version.out.trim(), concat!("curfew ", env!("CARGO_PKG_VERSION")));
    for args in [
        &[][..],
        &["bogus"],
        &["run"],
        &["run", "--config", "c", "--minute", "0s"],
        &["run", "--config", "c", "--minute", "61s"],
        &["sandbox", "--minute", "soon"],
        &["sandbox", "--listen", "here"],
        &["explain"],
        &["key"],
    ] {
        let ran = run(folder.path(), args);
        assert_eq!(ran.code, Some(2), "{args:?}");
        assert!(
            ran.err.contains("Usage") || ran.err.contains("--help"),
            "{}",
            ran.err
        );
    }
}
