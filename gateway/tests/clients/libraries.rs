//! HTTP libraries as services use them without an SDK: whatever form they give an upload, however they download.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::common::NO_STORAGE;
use crate::common::form::PNG;
use crate::common::outside::program;
use crate::stage::{Between, Stage, bytes, node, python};

const GATEWAYS: [Between; 2] = [Between::PassThrough, Between::Callers];

#[tokio::test]
async fn pythons_http_libraries_work_in_all_their_forms() {
    let Some(python) = python() else { return };
    for between in GATEWAYS {
        let stage = Stage::set(between).await;
        let report = stage.play(&python, "http_libraries.py").await;
        let uploads = ["requests", "httpx", "aiohttp"]
            .into_iter()
            .map(|library| assert_works(&stage, library, &report[library]))
            .sum();
        assert_nothing_else_came(&stage, uploads);
    }
}

#[tokio::test]
async fn nodes_fetch_works_in_all_its_forms() {
    let Some(node) = node() else { return };
    for between in GATEWAYS {
        let stage = Stage::set(between).await;
        let report = stage.play(&node, "fetch.mjs").await;
        let uploads = assert_works(&stage, "fetch", &report["fetch"]);
        assert_nothing_else_came(&stage, uploads);
    }
}

#[tokio::test]
async fn curl_works_in_all_its_forms() {
    let Some(curl) = program("CURFEW_TEST_CURL", "curl", "curl 7.50 or later") else {
        return;
    };
    for between in GATEWAYS {
        let stage = Stage::set(between).await;
        let report = curls(&stage, &curl).await;
        let uploads = assert_works(&stage, "curl", &report);
        assert_nothing_else_came(&stage, uploads);
    }
}

/// What the scripts do, with curl; in the same form of report.
async fn curls(stage: &Stage, curl: &Path) -> Value {
    let graph = format!("{}/v23.0", stage.base_url);
    let media = format!("{graph}/{NO_STORAGE}/media");
    let unversioned = format!("{}/{NO_STORAGE}/media", stage.base_url);
    let bearer = format!("Authorization: Bearer {}", stage.token);
    let photo = "file=@photo.png;type=image/png";
    let whatsapp = "messaging_product=whatsapp";
    let ask = async |arguments: &[&str]| answer_to(stage, curl, arguments).await;
    let upload = async |arguments: &[&str]| ask(&[&["-H", &bearer], arguments].concat()).await;

    let fields_first = upload(&["-F", whatsapp, "-F", "type=image/png", "-F", photo, &media]).await;
    let file_first = upload(&["-F", photo, "-F", whatsapp, "-F", "ttl_minutes=90", &media]).await;
    let in_the_query = format!("{media}?{whatsapp}&type=image/png");
    let odd_name = format!("{photo};filename=\"Отчёт \\\"1\\\"; 50%.png\"");
    let chunked = "Transfer-Encoding: chunked";
    let uploads = json!({
        "fields first": fields_first,
        "file first": file_first,
        "in the query": upload(&["-F", photo, &in_the_query]).await,
        "unversioned": upload(&["-F", whatsapp, "-F", photo, &unversioned]).await,
        "odd name": upload(&["-F", whatsapp, "-F", &odd_name, &media]).await,
        "chunked": upload(&["-H", chunked, "-F", whatsapp, "-F", photo, &media]).await,
        "expect": upload(&["-H", "Expect: 100-continue", "-F", whatsapp, "-F", photo, &media]).await,
        "http/2": upload(&["--http2-prior-knowledge", "-F", whatsapp, "-F", photo, &media]).await,
    });

    let node = format!(
        "{graph}/{}",
        fields_first["json"]["id"].as_str().unwrap_or_default()
    );
    let metadata = ask(&["-H", &bearer, "-H", "Content-Type: application/json", &node]).await;
    let url = metadata["json"]["url"].as_str().expect("a URL");
    let glued = format!("{url}?access_token={}", stage.token);
    let downloads = json!({
        "bearer": ask(&["-H", &bearer, url]).await,
        "empty bearer": ask(&["-H", "Authorization: Bearer ", url]).await,
        "no bearer": ask(&[url]).await,
        "glued token": ask(&[&glued]).await,
        "foreign host": ask(&["-H", "Host: lookaside.fbsbx.com", url]).await,
        "no user agent": ask(&["-A", "", url]).await,
    });
    let deleted = ask(&[
        "-X",
        "DELETE",
        "-H",
        &bearer,
        "-H",
        "Content-Type: application/json",
        &node,
    ])
    .await;

    // Larger than all the buffers on the way. curl asks with `Expect: 100-continue` before it sends that much.
    std::fs::write(stage.folder.path().join("video.mp4"), vec![0; 16 << 20]).expect("a file");
    let video = "file=@video.mp4;type=video/mp4";
    let not_ours = format!("{graph}/9999/media");
    let no_expect = "Expect:";
    let ttl = "ttl_minutes=59";
    let refused = json!({
        "by its first part": upload(&["-H", no_expect, "-F", ttl, "-F", whatsapp, "-F", video, &media]).await,
        "by its path": upload(&["-F", whatsapp, "-F", video, &not_ours]).await,
    });
    json!({ "uploads": uploads, "downloads": downloads, "deleted": deleted, "refused": refused })
}

async fn answer_to(stage: &Stage, curl: &Path, arguments: &[&str]) -> Value {
    let mut command = Command::new(curl);
    command
        .args([
            "-q",
            "-sS",
            "--max-time",
            "30",
            "-o",
            "answer",
            "-w",
            "%{http_code}",
        ])
        .args(arguments);
    let status: u16 = String::from_utf8_lossy(&stage.run(command).await)
        .parse()
        .expect("a status");
    let answer = std::fs::read(stage.folder.path().join("answer")).expect("an answer");
    match serde_json::from_slice::<Value>(&answer) {
        Ok(json) => json!({ "status": status, "json": json }),
        Err(_) => json!({ "status": status, "bytes": STANDARD.encode(&answer) }),
    }
}

/// Asserts on one library's report, and that what it uploaded is at Meta. Returns how many uploads those were.
#[track_caller]
fn assert_works(stage: &Stage, library: &str, report: &Value) -> usize {
    let at_meta = stage.emulator().media();
    let deleted = &report["uploads"]["fields first"]["json"]["id"];
    assert!(deleted.is_string(), "{library}: {report}");
    for (form, upload) in members(&report["uploads"]) {
        assert_eq!(upload["status"], 200, "{library}, {form}: {upload}");
        let id: u64 = upload["json"]["id"]
            .as_str()
            .and_then(|id| id.parse().ok())
            .unwrap_or_else(|| panic!("{library}, {form}: {upload}"));
        let medium = at_meta.iter().find(|medium| medium.id == id);
        if upload["json"]["id"] == *deleted {
            assert!(medium.is_none(), "{library}, {form}: {medium:?}");
            continue;
        }
        let medium = medium.unwrap_or_else(|| panic!("{library}, {form}: {id} is not at Meta"));
        // aiohttp's forms all have one; where a form has none, the policy's default is written into it.
        let ttl_minutes = if form == "file first" || library == "aiohttp" {
            90
        } else {
            120
        };
        assert_eq!(medium.ttl_minutes, Some(ttl_minutes), "{library}, {form}");
        assert_eq!(medium.mime, "image/png", "{library}, {form}");
        assert_eq!(
            stage.emulator().media_bytes(id).as_deref(),
            Some(PNG),
            "{library}, {form}"
        );
    }
    for (form, download) in members(&report["downloads"]) {
        assert_eq!(download["status"], 200, "{library}, {form}: {download}");
        assert_eq!(bytes(&download["bytes"]), PNG, "{library}, {form}");
    }
    assert_eq!(
        report["deleted"]["json"]["success"], true,
        "{library}: {}",
        report["deleted"]
    );

    for (form, status, code) in [("by its first part", 400, 131_009), ("by its path", 403, 131_005)] {
        let refused = &report["refused"][form];
        assert_eq!(refused["status"], status, "{library}, {form}: {refused}");
        assert_eq!(
            refused["json"]["error"]["code"], code,
            "{library}, {form}: {refused}"
        );
    }
    members(&report["uploads"]).len()
}

/// Beside these uploads and the other number's, not a byte was ever stored; and nobody spoke to Meta but the gateway.
#[track_caller]
fn assert_nothing_else_came(stage: &Stage, uploads: usize) {
    let expected = PNG.len() * (uploads + 1);
    assert_eq!(usize::try_from(stage.emulator().media_bytes_kept()), Ok(expected));
    stage.assert_only_the_gateway_spoke();
}

#[track_caller]
fn members(object: &Value) -> &serde_json::Map<String, Value> {
    object
        .as_object()
        .filter(|members| !members.is_empty())
        .unwrap_or_else(|| panic!("nothing in {object}"))
}
