//! Webhooks are signed, repeated inside their window, and go where overrides say.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use bytes::Bytes;
use curfew_emulator::{Emulator, Options};
use serde_json::json;
use support::{BARE, Client, PLAIN, Receiver, options, soon, start_with};

async fn with_receiver() -> (Emulator, Client, Receiver) {
    let receiver = Receiver::start().await;
    let options = Options {
        webhook_url: Some(receiver.url.clone()),
        app_secret: "secret".to_owned(),
        ..options()
    };
    let (emulator, client) = start_with(options).await;
    (emulator, client, receiver)
}

fn signature(body: &[u8]) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"secret");
    let tag = aws_lc_rs::hmac::sign(&key, body);
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

#[tokio::test]
async fn a_send_is_sent_delivered_and_read() {
    let (_emulator, client, mut receiver) = with_receiver().await;
    let body = json!({"messaging_product": "whatsapp", "to": "+4915112345678", "text": {"body": "x"},
        "biz_opaque_callback_data": "mine"});
    let wamid = client
        .post(&format!("/v24.0/{PLAIN}/messages"), &body)
        .await
        .ok()
        .wamid();
    for wanted in ["sent", "delivered", "read"] {
        let hook = receiver.next().await;
        assert_eq!(hook.headers["x-hub-signature-256"], signature(&hook.body));
        assert_eq!(hook.headers["content-type"], "application/json");
        let value = hook.value();
        assert_eq!(value["metadata"]["phone_number_id"], PLAIN.to_string());
        let status = &value["statuses"][0];
        assert_eq!(
            (status["status"].as_str(), status["id"].as_str()),
            (Some(wanted), Some(wamid.as_str()))
        );
        assert_eq!(status["recipient_id"], "4915112345678");
        assert_eq!(status["biz_opaque_callback_data"], "mine");
    }
}

#[tokio::test]
async fn users_messages_and_media_arrive() {
    let (emulator, client, mut receiver) = with_receiver().await;
    let wamid = emulator.inbound_text(PLAIN, "+49 151 12345678", "hello");
    let value = receiver.next().await.value();
    assert_eq!(value["contacts"][0]["wa_id"], "4915112345678");
    assert_eq!(value["messages"][0]["id"], wamid);
    assert_eq!(value["messages"][0]["text"]["body"], "hello");
    let id = emulator.receive_media(PLAIN, "image/jpeg", Bytes::from_static(b"jpeg"));
    let message = receiver.next().await.value()["messages"][0].clone();
    assert_eq!(
        (message["type"].as_str(), message["image"]["id"].as_str()),
        (Some("image"), Some(id.to_string().as_str()))
    );
    let bytes = client.get(message["image"]["url"].as_str().unwrap()).await.ok();
    assert_eq!(bytes.body, "jpeg");
}

#[tokio::test]
async fn delivery_is_tried_again_until_it_is_heard() {
    let (emulator, _client, mut receiver) = with_receiver().await;
    receiver.answer(500);
    let _ = emulator.inbound_text(PLAIN, "4915112345678", "hello");
    let first = receiver.next().await;
    soon(emulator.until(|emulator| !emulator.webhooks().is_empty())).await;
    receiver.answer(200);
    emulator.advance(1);
    let second = receiver.next().await;
    assert_eq!(first.body, second.body);
    soon(emulator.until(|emulator| emulator.webhooks().len() == 2)).await;
    let attempts: Vec<_> = emulator
        .webhooks()
        .into_iter()
        .map(|hook| (hook.attempt, hook.status))
        .collect();
    assert_eq!(attempts, [(1, Some(500)), (2, Some(200))]);
}

#[tokio::test]
async fn under_no_storage_content_is_dropped_after_an_hour_and_that_is_told() {
    let (emulator, _client, mut receiver) = with_receiver().await;
    receiver.answer(503);
    let _ = emulator.inbound_text(BARE, "4915112345678", "secret words");
    receiver.next().await;
    soon(emulator.until(|emulator| !emulator.webhooks().is_empty())).await;
    receiver.answer(200);
    emulator.advance(60);
    let value = receiver.next().await.value();
    assert_eq!(value["errors"][0]["code"], 131_035);
    assert!(value.get("messages").is_none() && value.get("contacts").is_none());
}

#[tokio::test]
async fn without_no_storage_delivery_is_tried_for_seven_days_and_then_dropped() {
    let (emulator, _client, mut receiver) = with_receiver().await;
    receiver.answer(500);
    let _ = emulator.inbound_text(PLAIN, "4915112345678", "hello");
    receiver.next().await;
    soon(emulator.until(|emulator| emulator.webhooks().len() == 1)).await;
    emulator.advance(6 * 24 * 60);
    receiver.next().await;
    soon(emulator.until(|emulator| emulator.webhooks().len() == 2)).await;
    receiver.answer(200);
    emulator.advance(24 * 60);
    // The dropped one is not told: the next to arrive is another.
    let _ = emulator.inbound_text(PLAIN, "4915112345678", "later");
    assert_eq!(
        receiver.next().await.value()["messages"][0]["text"]["body"],
        "later"
    );
}

#[tokio::test]
async fn a_lost_payload_is_a_failed_status() {
    let (emulator, client, mut receiver) = with_receiver().await;
    let wamid = client.text(BARE, "+4915112345678").await.ok().wamid();
    for _ in 0..3 {
        receiver.next().await;
    }
    assert!(emulator.fail_message(&wamid, 131_036));
    let status = receiver.next().await.value()["statuses"][0].clone();
    assert_eq!(
        (status["status"].as_str(), status["id"].as_str()),
        (Some("failed"), Some(wamid.as_str()))
    );
    assert_eq!(status["errors"][0]["code"], 131_036);
    assert_eq!(
        status["errors"][0]["error_data"]["details"],
        "Message payload not found"
    );
    assert!(!emulator.fail_message("wamid.unknown", 131_036));
}

#[tokio::test]
async fn overrides_lead_webhooks_away() {
    let (emulator, client, mut receiver) = with_receiver().await;
    let mut number = Receiver::start().await;
    let mut account = Receiver::start().await;
    let waba = curfew_emulator::DEFAULT_WABA;
    let body = |url: &str| json!({"override_callback_uri": url, "verify_token": "right"});
    client
        .post(&format!("/v24.0/{waba}/subscribed_apps"), &body(&account.url))
        .await
        .ok();
    let _ = emulator.inbound_text(PLAIN, "4915112345678", "1");
    account.next().await;
    client
        .post(
            &format!("/v24.0/{PLAIN}"),
            &json!({"webhook_configuration": body(&number.url)}),
        )
        .await
        .ok();
    let _ = emulator.inbound_text(PLAIN, "4915112345678", "2");
    number.next().await;
    let read = client
        .get(&format!("/v24.0/{PLAIN}?fields=webhook_configuration"))
        .await
        .json();
    let wanted = json!({"phone_number": number.url, "whatsapp_business_account": account.url, "application": receiver.url});
    assert_eq!(read["webhook_configuration"], wanted);
    let clear = json!({"webhook_configuration": {"override_callback_uri": "", "verify_token": ""}});
    client.post(&format!("/v24.0/{PLAIN}"), &clear).await.ok();
    client
        .call(
            http::Method::POST,
            &format!("/v24.0/{waba}/subscribed_apps"),
            "application/json",
            "",
        )
        .await
        .ok();
    let _ = emulator.inbound_text(PLAIN, "4915112345678", "3");
    assert_eq!(receiver.next().await.value()["messages"][0]["text"]["body"], "3");
    let app = json!({"object": "whatsapp_business_account", "callback_url": account.url, "verify_token": "right", "fields": "messages"});
    client
        .post(
            &format!("/v24.0/{}/subscriptions", Options::default().app_id),
            &app,
        )
        .await
        .ok();
    assert_eq!(
        emulator.number(PLAIN).unwrap().callback,
        Some(account.url.clone())
    );
    client
        .delete(&format!("/v24.0/{waba}/subscribed_apps"))
        .await
        .ok();
    assert_eq!(emulator.number(PLAIN).unwrap().callback, None);
}

#[tokio::test]
async fn an_override_to_another_machine_is_seen_but_not_delivered() {
    let (emulator, client, _receiver) = with_receiver().await;
    let body = json!({"webhook_configuration": {"override_callback_uri": "http://192.0.2.1/x", "verify_token": "t"}});
    client.post(&format!("/v24.0/{PLAIN}"), &body).await.ok();
    let _ = emulator.inbound_text(PLAIN, "4915112345678", "x");
    soon(emulator.until(|emulator| !emulator.webhooks().is_empty())).await;
    let attempt = &emulator.webhooks()[0];
    assert_eq!(
        (attempt.url.as_str(), attempt.status),
        ("http://192.0.2.1/x", None)
    );
}

#[tokio::test]
async fn a_callback_proves_itself_by_the_challenge() {
    let (emulator, _client, receiver) = with_receiver().await;
    assert!(emulator.verify_callback(&receiver.url, "right").await);
    assert!(!emulator.verify_callback(&receiver.url, "wrong").await);
    receiver.answer(403);
    assert!(!emulator.verify_callback(&receiver.url, "right").await);
    let https = Options {
        webhook_url: Some("https://x.test".to_owned()),
        ..options()
    };
    assert!(Emulator::start(https).await.is_err());
}
