//! Errors have their codes, statuses and shape; replies have their headers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use curfew_emulator::Options;
use http::Method;
use serde_json::json;
use support::{PLAIN, options, start, start_with, text};

#[tokio::test]
async fn an_unknown_node_is_the_same_as_one_that_may_not_be_seen() {
    let (_emulator, client) = start().await;
    let answer = client.get("/v24.0/999").await;
    let error = &answer.json()["error"];
    assert_eq!(answer.status, 400);
    assert_eq!(
        (error["code"].as_i64(), error["error_subcode"].as_i64()),
        (Some(100), Some(33))
    );
    assert_eq!(error["type"], "GraphMethodException");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .starts_with("Unsupported get request. Object with ID '999'")
    );
    assert_eq!(error["fbtrace_id"].as_str().map(str::len), Some(23));
    assert_eq!(
        client
            .post("/v24.0/999/messages", &text("+4915112345678"))
            .await
            .subcode(),
        33
    );
    assert_eq!(client.get("/v24.0/no/such/path").await.code(), 2500);
    assert_eq!(
        client
            .call(Method::PUT, &format!("/{PLAIN}"), "", "")
            .await
            .code(),
        100
    );
}

#[tokio::test]
async fn a_token_is_needed() {
    let (_emulator, client) = start_with(Options {
        tokens: vec!["RIGHT".to_owned()],
        ..options()
    })
    .await;
    let path = format!("/v24.0/{PLAIN}");
    for headers in [
        &[][..],
        &[("authorization", "Bearer ")],
        &[("authorization", "Bearer WRONG")],
        &[("authorization", "RIGHT")],
    ] {
        let answer = client.raw(Method::GET, &path, headers, "").await.unwrap();
        assert_eq!((answer.status, answer.code()), (401, 190), "{headers:?}");
    }
    for headers in [
        [("authorization", "Bearer RIGHT")],
        [("authorization", "OAuth RIGHT")],
    ] {
        client.raw(Method::GET, &path, &headers, "").await.unwrap().ok();
    }
    client
        .raw(Method::GET, &format!("{path}?access_token=RIGHT"), &[], "")
        .await
        .unwrap()
        .ok();
}

#[tokio::test]
async fn a_proof_can_be_required() {
    let (_emulator, client) = start_with(Options {
        require_proof: true,
        app_secret: "key".to_owned(),
        ..options()
    })
    .await;
    let path = format!("/v24.0/{PLAIN}");
    let get = |query: &str| {
        let path = format!("{path}{query}");
        let client = &client;
        async move {
            client
                .raw(Method::GET, &path, &[("authorization", "Bearer token")], "")
                .await
                .unwrap()
        }
    };
    assert_eq!(get("").await.code(), 100);
    assert_eq!(get("?appsecret_proof=00").await.code(), 100);
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"key");
    let tag = aws_lc_rs::hmac::sign(&key, b"token");
    let proof: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    get(&format!("?appsecret_proof={proof}")).await.ok();
}

#[tokio::test]
async fn bodies_that_make_no_sense_are_told() {
    let (emulator, client) = start().await;
    let path = format!("/v24.0/{PLAIN}/messages");
    let with = |more: serde_json::Value| {
        let mut body = json!({"messaging_product": "whatsapp", "to": "+4915112345678"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    for (body, code) in [
        (
            json!({"to": "+4915112345678", "type": "text", "text": {"body": "x"}}),
            100,
        ),
        (
            json!({"messaging_product": "whatsapp", "type": "text", "text": {"body": "x"}}),
            100,
        ),
        (with(json!({"type": "text"})), 131_008),
        (
            with(json!({"type": "text", "text": {"body": "x".repeat(4097)}})),
            100,
        ),
        (with(json!({"type": "hologram", "hologram": {}})), 131_051),
        (with(json!({"type": "image", "image": {}})), 131_008),
        (
            with(
                json!({"type": "image", "image": {"link": "https://x.test/a.png", "caption": "x".repeat(1025)}}),
            ),
            100,
        ),
        (
            with(json!({"type": "template", "template": {"name": "t"}})),
            131_008,
        ),
        (
            with(json!({"type": "pin", "pin": {"type": "pin", "message_id": "wamid.x"}})),
            131_009,
        ),
        (with(json!({"to": "nobody", "text": {"body": "x"}})), 131_009),
        (
            with(json!({"recipient_type": "crowd", "text": {"body": "x"}})),
            131_009,
        ),
        (
            with(json!({"to": "+1 555 078 0001", "text": {"body": "x"}})),
            131_021,
        ),
        (
            json!({"messaging_product": "whatsapp", "status": "read", "message_id": "x"}),
            131_009,
        ),
    ] {
        let answer = client.post(&path, &body).await;
        assert_eq!((answer.status, answer.code()), (400, code), "{body}");
    }
    for body in ["{", "[]", "{} {}"] {
        assert_eq!(
            client
                .call(Method::POST, &path, "application/json", body)
                .await
                .code(),
            100,
            "{body}"
        );
    }
    assert!(emulator.sent().is_empty());
}

#[tokio::test]
async fn templates_and_windows_can_be_required() {
    let (emulator, client) = start_with(Options {
        require_templates: true,
        enforce_window: true,
        ..options()
    })
    .await;
    let path = format!("/v24.0/{PLAIN}/messages");
    let template = json!({"messaging_product": "whatsapp", "to": "+4915112345678", "type": "template",
        "template": {"name": "order", "language": {"code": "de"}}});
    let answer = client.post(&path, &template).await;
    assert_eq!((answer.status, answer.code()), (404, 132_001));
    let body = json!({"name": "order", "language": "de", "category": "UTILITY"});
    client
        .post(
            &format!("/v24.0/{}/message_templates", curfew_emulator::DEFAULT_WABA),
            &body,
        )
        .await
        .ok();
    client.post(&path, &template).await.ok();
    let marketing = client
        .post(&format!("/v24.0/{PLAIN}/marketing_messages"), &template)
        .await;
    assert_eq!(marketing.code(), 134_100);
    assert_eq!(client.text(PLAIN, "+4915112345678").await.code(), 131_047);
    let _ = emulator.inbound_text(PLAIN, "4915112345678", "hello");
    client.text(PLAIN, "+4915112345678").await.ok();
    emulator.advance(24 * 60);
    assert_eq!(client.text(PLAIN, "+4915112345678").await.code(), 131_047);
}

#[tokio::test]
async fn replies_carry_metas_headers() {
    let (_emulator, client) = start().await;
    for (path, version) in [
        ("/v24.0", "v24.0"),
        ("", "v25.0"),
        ("/v3.2", "v18.0"),
        ("/v99.0", "v26.0"),
    ] {
        let answer = client.get(&format!("{path}/{PLAIN}")).await.ok();
        assert_eq!(answer.headers["facebook-api-version"], version, "{path}");
        for name in [
            "x-fb-request-id",
            "x-fb-trace-id",
            "x-fb-rev",
            "x-fb-debug",
            "x-fb-connection-quality",
            "alt-svc",
            "strict-transport-security",
            "cache-control",
            "pragma",
            "expires",
            "vary",
            "date",
        ] {
            assert!(answer.headers.contains_key(name), "{name}");
        }
        assert_eq!(answer.headers["content-type"], "application/json; charset=UTF-8");
    }
    let mut usage = 0;
    for _ in 0..32 {
        usage += usize::from(client.get("/v24.0/me").await.headers.contains_key("x-app-usage"));
    }
    assert_eq!(usage, 2);
}
