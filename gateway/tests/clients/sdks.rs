//! The three SDKs: what works without the gateway works through it, and what the policy forbids is each SDK's own error.

use curfew_emulator::SentMessage;
use serde_json::{Value, json};

use crate::common::form::PNG;
use crate::common::{DEFAULT, IN_COUNTRY, NO_STORAGE};
use crate::stage::{ACCOUNT, Between, Runtime, Stage, bytes, node, python};

const EVERY_WAY: [Between; 3] = [Between::Nothing, Between::PassThrough, Between::Callers];

/// One SDK.
struct Sdk {
    script: &'static str,
    /// The version that it puts into its paths.
    version: &'static str,
    /// The `ttl_minutes` that the medium must have at Meta, if the gateway is between: the SDK's own, or the policy's.
    ttl_minutes: u64,
    /// Whether its plain download brings a token. Without one, the media host serves nothing; the gateway does.
    downloads_with_token: bool,
}

const PYWA: Sdk = Sdk {
    script: "pywa_sdk.py",
    version: "v24.0",
    ttl_minutes: 180,
    downloads_with_token: true,
};
const HEYOO: Sdk = Sdk {
    script: "heyoo_sdk.py",
    version: "v20.0",
    ttl_minutes: 120,
    downloads_with_token: true,
};
const KAPSO: Sdk = Sdk {
    script: "kapso_sdk.mjs",
    version: "v24.0",
    ttl_minutes: 120,
    downloads_with_token: false,
};

#[tokio::test]
async fn pywa_works_with_another_base_url_alone() {
    let Some(python) = python() else { return };
    for between in EVERY_WAY {
        let (stage, report) = works(&PYWA, &python, between).await;
        let numbers = [NO_STORAGE, IN_COUNTRY, DEFAULT].map(|number| number.to_string());
        assert_eq!(
            report["reads"],
            json!({
                "number": NO_STORAGE.to_string(),
                "numbers": numbers,
                "storage": "NO_STORAGE_ENABLED",
                "account": ACCOUNT,
            })
        );
        if between != Between::Nothing {
            pywas_errors(&stage, &report["refused"]);
        }
    }
}

fn pywas_errors(stage: &Stage, refused: &Value) {
    let refusal = |name: &str, class: &str, status: u16, code: u32, details: &[&str]| {
        let seen = &refused[name];
        assert_members(seen, &json!({ "class": class, "status": status, "code": code }));
        assert_eq!(seen["type"], "CurfewPolicyException", "{seen}");
        assert_details(&seen["details"], details);
        seen.clone()
    };
    let ttl = refusal("ttl", "InvalidParameter", 400, 131_009, &["60", "1440", "2880"]);
    assert_eq!(ttl["family"], "SendMessageError");
    let others = refusal("others_media", "WhatsAppError", 400, 100, &others_details(stage));
    assert_eq!(others["subcode"], 33);
    let deleted = refusal("deleted_media", "WhatsAppError", 400, 100, &[]);
    assert_eq!(deleted["subcode"], 33);
    refusal("unknown_operation", "AccessDenied", 403, 131_005, &["GET", "/me"]);
    let stranger = &refused["stranger"];
    assert_members(
        stranger,
        &json!({ "class": "ExpiredAccessToken", "family": "AuthorizationError", "status": 401, "code": 190 }),
    );
}

#[tokio::test]
async fn heyoo_works_with_other_base_urls_alone() {
    let Some(python) = python() else { return };
    for between in EVERY_WAY {
        let (stage, report) = works(&HEYOO, &python, between).await;
        if between != Between::Nothing {
            heyoos_returns(&stage, &report["refused"]);
        }
    }
}

/// heyoo raises nothing: a refused send returns the error, everything else returns nothing, and the log has the details.
fn heyoos_returns(stage: &Stage, refused: &Value) {
    let logged = |name: &str, code: u32, details: &[&str]| {
        let seen = &refused[name];
        assert_eq!(seen["returned"], Value::Null, "{seen}");
        assert_details(
            &seen["logged"],
            &[&format!("'code': {code}"), "CurfewPolicyException"],
        );
        assert_details(&seen["logged"], details);
    };
    logged("type", 131_053, &["text/html"]);
    logged("deleted_media", 100, &["'error_subcode': 33"]);
    logged("unknown_operation", 131_005, &["/me"]);
    let others = &refused["others_media"]["returned"]["error"];
    assert_members(
        others,
        &json!({ "code": 100, "error_subcode": 33, "type": "CurfewPolicyException" }),
    );
    assert_details(&others["error_data"]["details"], &others_details(stage));
    assert_eq!(refused["stranger"]["returned"]["error"]["code"], 190);
}

#[tokio::test]
async fn kapso_works_with_another_base_url_alone() {
    let Some(node) = node() else { return };
    for between in EVERY_WAY {
        let (stage, report) = works(&KAPSO, &node, between).await;
        assert_eq!(
            report["reads"],
            json!({ "storage": "NO_STORAGE_ENABLED", "templates": true })
        );
        let download_url = report["metadata"]["download_url"].as_str();
        assert!(
            download_url.is_some_and(|url| url.starts_with(&stage.base_url)),
            "{report}"
        );
        if between != Between::Nothing {
            kapsos_errors(&stage, &report["refused"]);
        }
    }
}

fn kapsos_errors(stage: &Stage, refused: &Value) {
    let refusal = |name: &str, category: &str, status: u16, code: u32, details: &[&str]| {
        let seen = &refused[name];
        let expected = json!({
            "class": "GraphApiError",
            "is_graph_api_error": true,
            "status": status,
            "code": code,
            "type": "CurfewPolicyException",
            "category": category,
            // Not `retry`, which would repeat what can only be refused again.
            "action": "fix_and_retry",
        });
        assert_members(seen, &expected);
        assert_details(&seen["details"], details);
        seen.clone()
    };
    refusal("ttl", "parameter", 400, 131_009, &["60", "1440", "2880"]);
    refusal("type", "media", 400, 131_053, &["application/octet-stream"]);
    let others = refusal("others_media", "parameter", 400, 100, &others_details(stage));
    assert_eq!(others["subcode"], 33);
    refusal("deleted_media", "parameter", 400, 100, &[]);
    refusal("unknown_operation", "permission", 403, 131_005, &["GET", "/me"]);
    assert_members(
        &refused["stranger"],
        &json!({ "is_graph_api_error": true, "status": 401, "code": 190, "category": "authorization", "action": "refresh_token" }),
    );
}

/// Plays an SDK's script and asserts on all that should have come of it, whatever stands between.
async fn works(sdk: &Sdk, runtime: &Runtime, between: Between) -> (Stage, Value) {
    let stage = Stage::set(between).await;
    let report = stage.play(runtime, sdk.script).await;
    let context = format!("{} with {between:?} between: {report}", sdk.script);

    let media = report["media"].as_str().unwrap_or_else(|| panic!("{context}"));
    let sent = stage.emulator().sent();
    let of_report: Vec<_> = ["text", "image", "template"]
        .into_iter()
        .map(|name| report[name].as_str().unwrap_or_default())
        .collect();
    let wamids: Vec<_> = sent.iter().map(|sent| sent.wamid.as_str()).collect();
    // Without the gateway, the sends that it refuses come after these.
    assert_eq!(wamids.get(..3), Some(of_report.as_slice()), "{context}");
    arrived(&sent, media);

    let url = report["metadata"]["url"].as_str().unwrap_or_default();
    assert!(url.starts_with(&stage.base_url), "{context}");
    if report["metadata"].get("sha256").is_some() {
        assert_members(
            &report["metadata"],
            &json!({ "mime_type": "image/png", "file_size": PNG.len(), "sha256": sha256() }),
        );
    }
    let served = sdk.downloads_with_token || between != Between::Nothing;
    assert_eq!(bytes(&report["bytes"]) == PNG, served, "{context}");
    if report.get("saved").is_some() {
        assert_eq!(bytes(&report["saved"]), PNG, "{context}");
    }
    assert_eq!(report["deleted"], true, "{context}");

    if between != Between::Nothing {
        assert_eq!(sent.len(), 3, "{context}");
        kept_to_the_policy(&stage, sdk);
    }
    (stage, report)
}

/// The sends arrived as the SDK wrote them.
fn arrived(sent: &[SentMessage], media: &str) {
    let [text, image, template, ..] = sent else {
        panic!("{sent:?}");
    };
    for sent in [text, image, template] {
        assert_eq!(sent.phone_number_id, NO_STORAGE, "{sent:?}");
    }
    assert_eq!(text.body["text"]["body"], "Hello");
    assert_eq!(image.body["image"], json!({ "id": media, "caption": "Yours" }));
    let template = &template.body["template"];
    assert_eq!(template["name"], "receipt");
    assert_eq!(template["language"]["code"], "en_US");
    assert_eq!(template["components"][0]["parameters"][0]["image"]["id"], media);
}

/// What reached Meta is what the policy allows, and came from the gateway.
fn kept_to_the_policy(stage: &Stage, sdk: &Sdk) {
    stage.assert_only_the_gateway_spoke();
    // Deleted; and of what was refused, nothing was kept.
    let kept: Vec<_> = stage.emulator().media().iter().map(|media| media.id).collect();
    assert_eq!(kept, [stage.others_media]);
    let uploads: Vec<_> = stage
        .emulator()
        .received()
        .into_iter()
        .filter(|received| received.path == format!("/{}/{NO_STORAGE}/media", sdk.version))
        .collect();
    let whole: Vec<_> = uploads.iter().filter(|upload| upload.complete).collect();
    let [upload] = whole.as_slice() else {
        panic!("{} uploads reached Meta whole: {uploads:?}", whole.len());
    };
    let form = String::from_utf8_lossy(upload.body.as_deref().unwrap_or_default()).into_owned();
    let ttl = format!("name=\"ttl_minutes\"\r\n\r\n{}\r\n", sdk.ttl_minutes);
    assert!(form.contains(&ttl), "{form}");
}

/// What the caller may learn: where the medium belongs, if the caller may use that number as well.
fn others_details(stage: &Stage) -> Vec<&'static str> {
    match stage.between {
        Between::Callers => vec!["1001"],
        Between::Nothing | Between::PassThrough => vec!["1001", "1003"],
    }
}

#[track_caller]
fn assert_members(seen: &Value, expected: &Value) {
    let expected = expected.as_object().expect("an object");
    for (name, value) in expected {
        assert_eq!(seen.get(name), Some(value), "{name} of {seen}");
    }
}

#[track_caller]
fn assert_details(seen: &Value, words: &[&str]) {
    let text = seen.as_str().unwrap_or_default();
    assert!(!text.is_empty(), "a developer is told nothing");
    for word in words {
        assert!(text.contains(word), "no {word} in: {text}");
    }
}

fn sha256() -> String {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, PNG)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
