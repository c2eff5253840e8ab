//! The emulator speaks HTTP/1.1 and HTTP/2, and its handles work over HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use curfew_emulator::Emulator;
use serde_json::{Value, json};
use support::{BARE, Client, PLAIN, start};

#[tokio::test]
async fn http2_with_prior_knowledge_works() {
    let (emulator, _client) = start().await;
    let client = Client::http2(&emulator.base_url());
    let (one, two) = tokio::join!(
        client.text(PLAIN, "+4915112345678"),
        client.upload(BARE, Some("60"))
    );
    one.ok();
    let id = two.ok().id();
    client.get(&format!("/v24.0/{id}")).await.ok();
    assert!(
        emulator
            .received()
            .iter()
            .all(|request| request.version == http::Version::HTTP_2)
    );
    assert!(emulator.received().iter().all(|request| request.complete));
}

#[tokio::test]
async fn the_record_keeps_the_newest() {
    let options = curfew_emulator::Options {
        record: 2,
        ..support::options()
    };
    let (emulator, client) = support::start_with(options).await;
    for n in 0..4 {
        client.text(PLAIN, &format!("+491511234567{n}")).await.ok();
    }
    let serials: Vec<_> = emulator
        .received()
        .into_iter()
        .map(|request| request.serial)
        .collect();
    assert_eq!(serials, [3, 4]);
    assert_eq!(emulator.sent().len(), 2);
    emulator.clear_record();
    assert!(emulator.received().is_empty() && emulator.sent().is_empty());
    let options = curfew_emulator::Options {
        record: 0,
        ..support::options()
    };
    let (emulator, client) = support::start_with(options).await;
    client.text(PLAIN, "+4915112345678").await.ok();
    assert!(emulator.received().is_empty() && emulator.sent().is_empty());
}

#[tokio::test]
async fn the_handles_work_over_http() {
    let (emulator, client) = start().await;
    let get = |path: &str| {
        let path = format!("/_emulator/{path}");
        let client = &client;
        async move { client.get(&path).await.ok().json() }
    };
    let post = |path: &str, body: Value| {
        let path = format!("/_emulator/{path}");
        let client = &client;
        async move { client.post(&path, &body).await }
    };
    client.text(PLAIN, "+4915112345678").await.ok();
    assert_eq!(get("received").await[0]["operation"], "send");
    let sent = get("sent").await;
    assert_eq!(
        (sent[0]["via"].as_str(), sent[0]["body"]["text"]["body"].as_str()),
        (Some("direct"), Some("hello"))
    );
    let media = json!({"phone_number_id": BARE, "mime_type": "image/png", "data_base64": "eA=="});
    let id = post("receive_media", media).await.ok().id();
    assert_eq!(get("media").await["media"][0]["id"], id);
    post("advance", json!({"minutes": 60})).await.ok();
    assert_eq!(get("media").await, json!({"media": [], "bytes_kept": 1}));
    post(
        "storage",
        json!({"phone_number_id": BARE, "storage": {"mode": "in_country", "region": "DE"}}),
    )
    .await
    .ok();
    post("state", json!({"phone_number_id": BARE, "state": "verified"}))
        .await
        .ok();
    let numbers = get("numbers").await;
    let bare = numbers
        .as_array()
        .unwrap()
        .iter()
        .find(|number| number["phone_number_id"] == BARE)
        .unwrap();
    assert_eq!(bare["storage"], json!({"mode": "in_country", "region": "DE"}));
    assert_eq!(bare["state"], "verified");
    let fault = json!({"on": "send", "times": 1, "effect": {"error": {"status": 500, "code": 131_000}}});
    post("faults", fault).await.ok();
    assert_eq!(client.text(PLAIN, "+4915112345678").await.code(), 131_000);
    post("faults", json!({"on": "any", "effect": "hang"})).await.ok();
    assert_eq!(get("faults").await[0]["effect"], "hang");
    client.delete("/_emulator/faults").await.ok();
    assert!(emulator.faults().is_empty());
    post(
        "inbound_text",
        json!({"phone_number_id": PLAIN, "from": "4915112345678", "body": "x"}),
    )
    .await
    .ok();
    let wamid = sent[0]["wamid"].as_str().unwrap();
    assert_eq!(
        post("fail", json!({"wamid": wamid, "code": 131_036}))
            .await
            .ok()
            .json()["success"],
        true
    );
    for path in ["webhooks", "settings_calls", "other_content", "health"] {
        get(path).await;
    }
    client.delete("/_emulator/record").await.ok();
    assert!(emulator.sent().is_empty());
    assert_eq!(post("advance", json!({"hours": 1})).await.status, 400);
    assert_eq!(post("nothing", json!({})).await.status, 404);
}

#[tokio::test]
async fn shutdown_frees_the_address() {
    let (emulator, client) = start().await;
    client.text(PLAIN, "+4915112345678").await.ok();
    let address = emulator.addr();
    emulator.shutdown().await;
    let options = curfew_emulator::Options {
        listen: address,
        ..support::options()
    };
    let again = Emulator::start(options).await.unwrap();
    assert_eq!(again.addr(), address);
    assert!(again.sent().is_empty());
}
