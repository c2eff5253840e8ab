//! Promise: `curfew explain` shows what the policies make of a recorded request, as the gateway would decide, and sends nothing.
#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::fs;

use common::process::{run, run_with_input};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

const WRONG_POLICIES: &str = "[[number]]\nphone_number_id = \"1001\"\nstorage = { mode = \"no_storag\" }\n";

const RULES: [&str; 11] = [
    "callers",
    "numbers",
    "modes",
    "ttl",
    "pins",
    "links",
    "message_shape",
    "settings",
    "registration",
    "real_settings",
    "media_types",
];

fn request(head: &str, body: &str) -> String {
    format!("{head} HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\n\r\n{body}")
}

fn upload_request(ttl: &str) -> String {
    format!(
        "POST /v23.0/1001/media HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n\
         --b\r\nContent-Disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n\
         --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\n\
         two\nlines\r\n{ttl}--b--\r\n"
    )
}

fn flow_asset() -> String {
    "POST /v23.0/77/assets HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n\
     --b\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nflow.json\r\n\
     --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n{}\r\n--b--\r\n"
        .to_owned()
}

#[test]
fn explain_shows_every_verdict_and_exits_with_the_decision() {
    let folder = folder();
    let policies = common::PASS_THROUGH.replace(
        "[number.media]",
        "allow_unverified = [\"marketing_messages\"]\n[number.media]",
    );
    fs::write(folder.path().join("policies.toml"), policies).expect("a file");
    let image = |id: &str| {
        request(
            "POST /v23.0/1001/messages",
            &format!(
                "{{\"messaging_product\":\"whatsapp\",\"to\":\"1\",\"type\":\"image\",\"image\":{{\"id\":\"{id}\"}}}}"
            ),
        )
    };
    let template = "{\"messaging_product\":\"whatsapp\",\"to\":\"1\",\"type\":\"template\",\"template\":{\"name\":\"t\",\"language\":{\"code\":\"en\"}}}";
    let ttl =
        |text: &str| format!("--b\r\nContent-Disposition: form-data; name=\"ttl_minutes\"\r\n\r\n{text}\r\n");
    let media = ["--media", "5=1001", "--media", "6=1003"];
    for (recorded, more, code, parts) in [
        (
            image("5"),
            &media[..],
            0,
            &[
                "send_message (class send)",
                "1001 no_storage",
                "decision   allowed",
            ][..],
        ),
        (
            image("6"),
            &media[..],
            1,
            &["REFUSED media_of_other_number", "HTTP 400"][..],
        ),
        (image("7"), &media[..], 1, &["REFUSED media_not_usable"][..]),
        (
            image("5"),
            &["--media", "5=1001", "--settings", "unread"][..],
            1,
            &["REFUSED settings_unverified", "HTTP 503"][..],
        ),
        (
            image("6"),
            &["--settings", "default"][..],
            1,
            &[
                "REFUSED media_not_usable",
                "REFUSED settings_differ",
                "HTTP 400, media_not_usable",
            ][..],
        ),
        (
            upload_request(""),
            &[][..],
            0,
            &["passed, ttl_minutes 120", "upload_media"][..],
        ),
        (
            upload_request(&ttl("90")),
            &[][..],
            0,
            &["passed, ttl_minutes 90"][..],
        ),
        (
            flow_asset(),
            &[][..],
            1,
            &["flow_assets (class manage)", "REFUSED forbidden_by_mode"][..],
        ),
        (
            upload_request(&ttl("1441")),
            &[][..],
            1,
            &["REFUSED ttl_out_of_bounds", "came 1441"][..],
        ),
        (
            request("POST /v23.0/1001/marketing_messages", template),
            &[][..],
            0,
            &["passed by allow_unverified: marketing_messages"][..],
        ),
        (
            request(
                "POST /v23.0/1002/register",
                "{\"data_localization_region\":\"IN\"}",
            ),
            &[][..],
            1,
            &["REFUSED registration_contradicts_policy", "HTTP 403"][..],
        ),
    ] {
        for text in [recorded.clone(), recorded.replace("\r\n", "\n")] {
            fs::write(folder.path().join("request"), &text).expect("a file");
            let args: Vec<_> = ["explain", "--policies", "policies.toml"]
                .iter()
                .chain(more)
                .chain(&["request"])
                .copied()
                .collect();
            let ran = run(folder.path(), &args);
            assert_eq!(ran.code, Some(code), "{text}\n{}{}", ran.out, ran.err);
            for part in parts {
                assert!(ran.out.contains(part), "{part} is not in\n{}", ran.out);
            }
            for rule in RULES {
                let lines = ran.out.lines();
                let verdicts = lines.filter(|line| line.trim_start().starts_with(&format!("{rule} ")));
                assert_eq!(verdicts.count(), 1, "{rule}:\n{}", ran.out);
            }
        }
    }
}

#[test]
fn explain_says_what_is_refused_before_any_rule() {
    let folder = folder();
    fs::write(folder.path().join("policies.toml"), common::PASS_THROUGH).expect("a file");
    for (text, slug) in [
        (request("POST /v23.0/1001/unheard_of", "{}"), "unknown_operation"),
        (request("GET /v23.0//1001", ""), "empty_segment"),
        (
            upload_request("").replace("\"messaging_product\"", "\"batch\""),
            "form_field_unknown",
        ),
        (
            flow_asset().replace("name=\"name\"", "name=\"method\""),
            "form_field_unknown",
        ),
        (
            "POST /v23.0/upload:MTphdHRh HTTP/1.1\r\nfile_offset: 0x5\r\n\r\nbytes".to_owned(),
            "file_offset",
        ),
        (
            request("POST /v23.0/1001/messages?method=get", "{}"),
            "query_not_allowed",
        ),
        (
            request(
                "POST /v23.0/1001/messages",
                "{\"type\":\"text\",\"type\":\"image\"}",
            ),
            "json",
        ),
        (
            request("POST /v23.0/1001/messages", "{}").replace("application/json", "text/plain"),
            "content_type",
        ),
    ] {
        let ran = run_with_input(
            folder.path(),
            &["explain", "--policies", "policies.toml", "-"],
            text.as_bytes(),
        );
        assert_eq!(ran.code, Some(1), "{text}\n{}", ran.out);
        let (_, reason) = ran
            .out
            .split_once("decision   refused before any rule: ")
            .unwrap_or_else(|| panic!("{}{}", ran.out, ran.err));
        assert!(
            reason.replace('-', "_").contains(slug),
            "{slug} is not in {reason}"
        );
    }
}

#[test]
fn explain_decides_for_a_caller_and_under_monitoring_as_the_gateway_does() {
    let folder = folder();
    let caller = common::caller_table("billing", "key", &[1001], &["read"]);
    let declared = format!("{}{caller}", common::PASS_THROUGH);
    let send = request(
        "POST /v23.0/1001/messages",
        "{\"messaging_product\":\"whatsapp\",\"to\":\"1\",\"type\":\"text\",\"text\":{\"body\":\"x\"}}",
    );
    fs::write(folder.path().join("send"), send).expect("a file");
    fs::write(folder.path().join("declared.toml"), &declared).expect("a file");
    let explain = ["explain", "--policies", "declared.toml"];
    for (more, part) in [
        (&["send"][..], "--caller is needed"),
        (&["--caller", "nobody", "send"][..], "billing"),
        (
            &["--caller", "billing", "send"][..],
            "REFUSED operation_not_allowed",
        ),
    ] {
        let args: Vec<_> = explain.iter().chain(more).copied().collect();
        let ran = run(folder.path(), &args);
        assert_eq!(ran.code, Some(1));
        let said = format!("{}{}", ran.out, ran.err);
        assert!(said.contains(part), "{part} is not in\n{said}");
    }

    let monitored = format!("enforcement = \"monitor\"\n{}", common::PASS_THROUGH);
    fs::write(folder.path().join("monitored.toml"), monitored).expect("a file");
    let args = [
        "explain",
        "--policies",
        "monitored.toml",
        "--settings",
        "default",
        "send",
    ];
    let ran = run(folder.path(), &args);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    assert!(
        ran.out.contains("REFUSED settings_differ") && ran.out.contains("monitor"),
        "{}",
        ran.out
    );
}

#[test]
fn explain_names_what_it_cannot_read() {
    let folder = folder();
    fs::write(folder.path().join("policies.toml"), common::PASS_THROUGH).expect("a file");
    fs::write(folder.path().join("wrong.toml"), WRONG_POLICIES).expect("a file");
    fs::write(folder.path().join("request"), "nonsense").expect("a file");
    for (policies, request, parts) in [
        ("nowhere.toml", "request", &["nowhere.toml"][..]),
        (
            "wrong.toml",
            "request",
            &["wrong.toml", "line 3", "storage.mode"][..],
        ),
        ("policies.toml", "missing", &["missing"][..]),
        ("policies.toml", "request", &["HTTP/1.1"][..]),
    ] {
        let ran = run(folder.path(), &["explain", "--policies", policies, request]);
        assert_eq!(ran.code, Some(1));
        for part in parts {
            assert!(ran.err.contains(part), "{part} is not in\n{}", ran.err);
        }
    }
}
