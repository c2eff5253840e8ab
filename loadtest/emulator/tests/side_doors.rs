//! The Graph side doors really work, so that a bypass through a gateway would show.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use curfew_emulator::Via;
use http::Method;
use serde_json::{Value, json};
use support::{OTHER, PLAIN, PRODUCT, Part, file, start, text};

const TO: &str = "to=%2B4915112345678&messaging_product=whatsapp&type=text&text=%7B%22body%22%3A%22hi%22%7D";

fn batch(operations: &Value) -> Value {
    json!({ "batch": operations })
}

#[tokio::test]
async fn a_batch_sends_on_any_path_and_in_any_encoding() {
    let (emulator, client) = start().await;
    let operations = json!([
        {"method": "POST", "relative_url": format!("v24.0/{PLAIN}/messages"), "body": TO},
        {"method": "GET", "relative_url": format!("{PLAIN}?fields=id")},
        {"method": "GET", "relative_url": "9999"},
    ]);
    let answer = client.post("/", &batch(&operations)).await.ok().json();
    assert_eq!(answer[0]["code"], 200);
    assert!(answer[0]["body"].as_str().unwrap().contains("wamid."));
    assert_eq!(answer[1]["body"], format!("{{\"id\":\"{PLAIN}\"}}"));
    assert_eq!(answer[2]["code"], 400);
    let encoded = operations
        .to_string()
        .replace('%', "%25")
        .replace('&', "%26")
        .replace('+', "%2B");
    client
        .form("/v24.0", &format!("include_headers=false&batch={encoded}"))
        .await
        .ok();
    client
        .form(&format!("/v24.0/{OTHER}/messages"), &format!("batch={encoded}"))
        .await
        .ok();
    client
        .multipart(
            "/me",
            &[Part {
                name: "batch",
                file: None,
                body: operations.to_string().as_bytes(),
            }],
        )
        .await
        .ok();
    let sent = emulator.sent();
    assert_eq!(sent.len(), 4);
    assert!(
        sent.iter()
            .all(|sent| sent.via == Via::Batch && sent.phone_number_id == PLAIN)
    );
    assert_eq!(sent[0].recipient, "4915112345678");
}

#[tokio::test]
async fn a_batch_uploads_and_uses_its_own_results() {
    let (emulator, client) = start().await;
    let operations = json!([
        {"method": "POST", "relative_url": format!("{PLAIN}/media"), "body": "messaging_product=whatsapp",
            "attached_files": "picture", "name": "up"},
        {"method": "POST", "relative_url": format!("{PLAIN}/messages"), "access_token": "OTHER",
            "body": "messaging_product=whatsapp&to=%2B4915112345678&image[id]={result=up:$.id}"},
    ]);
    let operations = operations.to_string();
    let mut picture = file("image/png", b"x");
    picture.name = "picture";
    let parts = [
        Part {
            name: "batch",
            file: None,
            body: operations.as_bytes(),
        },
        picture,
    ];
    let answer = client.multipart("/v24.0/", &parts).await.ok().json();
    assert_eq!(answer[0], Value::Null, "a named operation's success is left out");
    assert_eq!(answer[1]["code"], 200, "{answer}");
    assert_eq!(emulator.sent()[0].media, [emulator.media()[0].id]);
}

#[tokio::test]
async fn a_batch_has_bounds() {
    let (_emulator, client) = start().await;
    let many: Vec<Value> = (0..51)
        .map(|_| json!({"method": "GET", "relative_url": "me"}))
        .collect();
    assert_eq!(client.post("/", &batch(&json!(many))).await.code(), 100);
    assert_eq!(client.post("/", &batch(&json!([]))).await.code(), 100);
}

#[tokio::test]
async fn the_method_can_be_overridden() {
    let (emulator, client) = start().await;
    for door in ["query", "form", "json", "get", "underscore", "header"] {
        let id = client.upload(PLAIN, None).await.ok().id();
        let path = format!("/v24.0/{id}");
        let answer = match door {
            "query" => client.form(&format!("{path}?method=delete"), "").await,
            "form" => client.form(&path, "method=DELETE").await,
            "json" => client.post(&path, &json!({"method": "delete"})).await,
            "get" => client.get(&format!("{path}?method=delete")).await,
            "underscore" => client.form(&path, "_method=DELETE").await,
            _ => {
                let headers = [
                    ("authorization", "Bearer T"),
                    ("x-http-method-override", "DELETE"),
                ];
                client.raw(Method::POST, &path, &headers, "").await.unwrap()
            }
        };
        assert_eq!(answer.json(), json!({"success": true}), "{door}");
        assert!(emulator.media().is_empty(), "{door}");
    }
    client
        .get(&format!("/v24.0/{PLAIN}/messages?method=post&{TO}"))
        .await
        .ok();
    assert_eq!(emulator.sent()[0].via, Via::MethodOverride);
}

#[tokio::test]
async fn nodes_can_be_named_by_parameter() {
    let (emulator, client) = start().await;
    let answer = client
        .post(
            &format!("/v24.0/messages?ids={PLAIN},{OTHER}"),
            &text("+4915112345678"),
        )
        .await
        .ok()
        .json();
    assert!(answer[PLAIN.to_string()]["messages"][0]["id"].is_string());
    let sent = emulator.sent();
    assert_eq!(
        sent.iter().map(|sent| sent.phone_number_id).collect::<Vec<_>>(),
        [PLAIN, OTHER]
    );
    assert!(sent.iter().all(|sent| sent.via == Via::Ids));
    let id = client.upload(PLAIN, None).await.ok().id();
    let answer = client.get(&format!("/?ids={id}")).await.ok().json();
    assert!(answer[id.to_string()]["url"].is_string());
    assert!(client.get(&format!("/v24.0?id={id}")).await.ok().json()["url"].is_string());
}

#[tokio::test]
async fn sends_can_be_forms_and_queries() {
    let (emulator, client) = start().await;
    let path = format!("/v24.0/{PLAIN}/messages");
    client.form(&path, TO).await.ok();
    client
        .form(
            &path,
            "messaging_product=whatsapp&to=%2B4915112345678&type=text&text[body]=hi",
        )
        .await
        .ok();
    let parts = [
        PRODUCT,
        Part {
            name: "to",
            file: None,
            body: b"+4915112345678",
        },
        Part {
            name: "text[body]",
            file: None,
            body: b"hi",
        },
    ];
    client.multipart(&path, &parts).await.ok();
    client
        .raw(Method::POST, &format!("{path}?{TO}&access_token=T"), &[], "")
        .await
        .unwrap()
        .ok();
    client
        .raw(Method::POST, &path, &[("content-type", "text/plain")], {
            let mut body = text("+4915112345678");
            body["access_token"] = json!("T");
            body.to_string()
        })
        .await
        .unwrap()
        .ok();
    let vias: Vec<_> = emulator.sent().into_iter().map(|sent| sent.via).collect();
    assert_eq!(vias, [Via::Form, Via::Form, Via::Form, Via::Query, Via::Direct]);
    for sent in emulator.sent() {
        assert!(sent.body.get("access_token").is_none());
        assert!(sent.body["text"]["body"].is_string());
    }
}

#[tokio::test]
async fn paths_are_taken_leniently() {
    let (emulator, client) = start().await;
    for path in [
        format!("/{PLAIN}/messages"),
        format!("/v24.0/{PLAIN}/messages/"),
        format!("/v3.1/{PLAIN}/messages"),
        format!("//v24.0//{PLAIN}//messages"),
        format!("/v24.0/{PLAIN}/%6Dessages"),
        format!("/v24.0/{PLAIN}%2Fmessages"),
        format!("/v24.0/{OTHER}/../{PLAIN}/messages"),
        format!("/v24.0/{PLAIN};x=y/messages"),
        format!("/v24.0/{PLAIN}/MESSAGES"),
        format!("/v24.0/000{PLAIN}/messages"),
    ] {
        client.post(&path, &text("+4915112345678")).await.ok();
    }
    assert!(emulator.sent().iter().all(|sent| sent.phone_number_id == PLAIN));
    assert_eq!(emulator.sent().len(), 10);
}

#[tokio::test]
async fn replies_change_their_shape() {
    let (_emulator, client) = start().await;
    let quiet = client.get("/v24.0/9999?suppress_http_code=1").await;
    assert_eq!((quiet.status, quiet.code()), (200, 100));
    let script = client
        .get(&format!("/v24.0/{PLAIN}?fields=id&callback=f"))
        .await
        .ok();
    assert_eq!(script.body, format!("/**/ f({{\"id\":\"{PLAIN}\"}});"));
    assert!(
        script.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/javascript")
    );
    let path = format!("/v24.0/{PLAIN}/media?fields=url");
    let written = client
        .multipart(&path, &[PRODUCT, file("image/png", b"x")])
        .await
        .ok()
        .json();
    assert!(written["url"].as_str().unwrap().contains("/attachments/"));
}

#[tokio::test]
async fn fields_expand_into_other_nodes() {
    let (_emulator, client) = start().await;
    let waba = curfew_emulator::DEFAULT_WABA;
    for name in ["one", "two", "three"] {
        let body = json!({"name": name, "language": "en", "category": "UTILITY", "components": []});
        client
            .post(&format!("/v24.0/{waba}/message_templates"), &body)
            .await
            .ok();
    }
    let fields = "name,phone_numbers%7Bdisplay_phone_number%7D,message_templates.limit(2)%7Bname%7D";
    let node = client
        .get(&format!("/v24.0/{waba}?fields={fields}"))
        .await
        .ok()
        .json();
    assert_eq!(node["phone_numbers"]["data"].as_array().unwrap().len(), 4);
    assert!(node["phone_numbers"]["data"][0].get("verified_name").is_none());
    assert_eq!(node["message_templates"]["data"].as_array().unwrap().len(), 2);
}
