//! Applications that take a base URL, by the requests that they make. They are not run here: what each one does that others do
//! not is written after its public source.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::common::form::{Form, PNG};
use crate::common::{DEFAULT, IN_COUNTRY, NO_STORAGE, World};
use crate::stage::{ACCOUNT, Between, Stage};

/// Posts a send and asserts that it arrived as it was written.
#[track_caller]
fn arrived(world: &World, body: &Value) {
    let sent = world.emulator.sent();
    assert_eq!(sent.last().map(|sent| &sent.body), Some(body));
}

#[tokio::test]
async fn chatwoots_requests_work_but_for_tokens_in_queries() {
    let world = World::pass_through().await;
    let messages = format!("/v13.0/{DEFAULT}/messages");
    // A message that answers none says so with null.
    for body in [
        json!({ "messaging_product": "whatsapp", "context": null, "to": "15550100001", "text": { "body": "Hello" }, "type": "text" }),
        json!({
            "messaging_product": "whatsapp", "context": null, "to": "15550100001", "type": "image",
            "image": { "link": "https://chat.bank.example/rails/a.png", "caption": "Yours" },
        }),
        json!({
            "messaging_product": "whatsapp", "recipient_type": "individual", "to": "15550100001", "type": "template",
            "template": { "name": "receipt", "language": { "policy": "deterministic", "code": "en_US" }, "components": [] },
        }),
    ] {
        let reply = world.client().post(&messages, &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        arrived(&world, &body);
    }
    for number in [NO_STORAGE, IN_COUNTRY] {
        let body = json!({ "messaging_product": "whatsapp", "context": null, "to": "15550100001", "text": { "body": "Hello" }, "type": "text" });
        let reply = world
            .client()
            .post(&format!("/v13.0/{number}/messages"), &body)
            .await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    let media = world
        .emulator
        .receive_media(IN_COUNTRY, "image/png", Bytes::from_static(PNG));
    let json = [("content-type", "application/json")];
    let target = format!("/v13.0/{media}?phone_number_id={IN_COUNTRY}");
    let metadata = world
        .client()
        .send(Method::GET, &target, &json, Bytes::new())
        .await;
    let url = metadata.json()["url"].as_str().expect("a URL").to_owned();
    let download = world.client().send(Method::GET, &url, &json, Bytes::new()).await;
    assert_eq!(download.body, PNG);

    // Its list of templates is asked for with the token in the query, and with nothing else.
    let templates = format!("/v14.0/{ACCOUNT}/message_templates?access_token=SECRET");
    let anonymous = world.client().anonymous();
    anonymous
        .get(&templates)
        .await
        .assert_refused(401, 190, "unknown_caller");
    let whole = format!("{:?}", world.emulator.received());
    assert!(!whole.contains("SECRET"), "{whole}");
}

#[tokio::test]
async fn typebots_requests_work_but_for_its_look_at_the_token() {
    // A caller with one number: Typebot names none when it fetches media.
    let stage = Stage::set(Between::Callers).await;
    let client = stage.world.caller(stage.token);
    let body = json!({
        "messaging_product": "whatsapp", "to": "15550100001", "type": "interactive",
        "interactive": {
            "type": "button",
            "body": { "text": "Which?" },
            "action": { "buttons": [{ "type": "reply", "reply": { "id": "a", "title": "This" } }] },
        },
    });
    let reply = client.post(&format!("/v17.0/{NO_STORAGE}/messages"), &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    arrived(&stage.world, &body);

    let number = client.get(&format!("/v17.0/{NO_STORAGE}")).await.json();
    assert!(number["display_phone_number"].is_string(), "{number}");
    let numbers = format!("/v17.0/{ACCOUNT}/phone_numbers?fields=id%2Cdisplay_phone_number&limit=100");
    assert_eq!(
        client.get(&numbers).await.json()["data"][0]["id"],
        NO_STORAGE.to_string()
    );

    let media = stage
        .emulator()
        .receive_media(NO_STORAGE, "image/png", Bytes::from_static(PNG));
    let metadata = client.get(&format!("/v17.0/{media}")).await.json();
    let googlebot = [("user-agent", "Mozilla/5.0 (compatible; Googlebot/2.1)")];
    let url = metadata["url"].as_str().expect("a URL");
    let download = client.send(Method::GET, url, &googlebot, Bytes::new()).await;
    assert_eq!(download.body, PNG);
    stage.assert_only_the_gateway_spoke();

    client
        .get("/v17.0/debug_token?input_token=x")
        .await
        .assert_refused(403, 131_005, "unknown_operation");
}

#[tokio::test]
async fn evolution_apis_uploads_work() {
    let world = World::pass_through().await;
    let form = Form::new()
        .file("image/png", PNG)
        .field("typeFile", "image/png")
        .field("messaging_product", "whatsapp");
    let reply = world
        .client()
        .post_form(&format!("/v20.0/{NO_STORAGE}/media"), &form)
        .await;
    let media = reply.media_id();
    let sent = world.client().send_image(NO_STORAGE, media).await;
    assert_eq!(sent.status, 200, "{}", sent.text());
    let uploads = world.emulator.received();
    let upload = uploads
        .iter()
        .find(|received| received.path.ends_with("/media"))
        .and_then(|received| received.body.as_deref())
        .map(String::from_utf8_lossy)
        .expect("an upload");
    assert!(!upload.contains("typeFile"), "{upload}");
}

#[tokio::test]
async fn camels_requests_work_but_for_its_upgrade_in_clear_text() {
    let world = World::pass_through().await;
    let messages = format!("/v13.0/{NO_STORAGE}/messages");
    let body = json!({ "messaging_product": "whatsapp", "recipient_type": "individual", "to": "15550100001", "type": "text", "text": { "preview_url": false, "body": "Hello" } });
    let reply = world.client().post(&messages, &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    arrived(&world, &body);

    let form = Form::new()
        .raw("Content-Disposition: form-data; name=\"file\"; filename=\"photo.png\"\r\nContent-Type: image/png", PNG)
        .field("messaging_product", "whatsapp");
    let reply = world
        .client()
        .post_form(&format!("/v13.0/{NO_STORAGE}/media"), &form)
        .await;
    assert_eq!(world.emulator.media_bytes(reply.media_id()).as_deref(), Some(PNG));

    // Java's client asks for HTTP/2 by an upgrade where there is no TLS. Over TLS it asks by ALPN.
    let upgrade = [
        ("connection", "Upgrade, HTTP2-Settings"),
        ("upgrade", "h2c"),
        (
            "http2-settings",
            "AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA",
        ),
        ("content-type", "application/json"),
    ];
    let body = Bytes::from(body.to_string());
    let reply = world.client().send(Method::POST, &messages, &upgrade, body).await;
    reply.assert_refused(400, 100, "upgrade");
}
