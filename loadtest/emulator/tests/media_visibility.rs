//! Media of a Local Storage number is that number's alone; other media is the whole business's.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use support::{BARE, LOCAL, OTHER, PLAIN, start};

#[tokio::test]
async fn siblings_share_media_but_not_local_storages() {
    let (emulator, client) = start().await;
    let shared = client.upload(PLAIN, None).await.ok().id();
    let bare = client.upload(BARE, None).await.ok().id();
    let local = client.upload(LOCAL, None).await.ok().id();
    for number in [PLAIN, OTHER, BARE, LOCAL] {
        client.image(number, shared).await.ok();
        client.image(number, bare).await.ok();
    }
    client.image(LOCAL, local).await.ok();
    for number in [PLAIN, OTHER, BARE] {
        let refused = client.image(number, local).await;
        assert_eq!(
            (refused.status, refused.code(), refused.subcode()),
            (400, 100, 33)
        );
    }
    assert_eq!(emulator.sent().len(), 9);
    assert_eq!(emulator.sent()[8].media, [local]);
}

#[tokio::test]
async fn a_named_number_sees_only_its_own_media() {
    let (emulator, client) = start().await;
    let id = client.upload(PLAIN, None).await.ok().id();
    client
        .get(&format!("/v24.0/{id}?phone_number_id={PLAIN}"))
        .await
        .ok();
    client.get(&format!("/v24.0/{id}")).await.ok();
    assert_eq!(
        client
            .get(&format!("/v24.0/{id}?phone_number_id={OTHER}"))
            .await
            .subcode(),
        33
    );
    assert_eq!(
        client
            .delete(&format!("/v24.0/{id}?phone_number_id={OTHER}"))
            .await
            .subcode(),
        33
    );
    assert_eq!(
        client.get(&format!("/v24.0/{id}?phone_number_id=x")).await.code(),
        100
    );
    assert_eq!(emulator.media().len(), 1);
    let deleted = client
        .delete(&format!("/v24.0/{id}?phone_number_id={PLAIN}"))
        .await
        .ok();
    assert_eq!(deleted.json()["success"], true);
    assert!(emulator.media().is_empty());
    assert_eq!(client.image(PLAIN, id).await.subcode(), 33);
}

#[tokio::test]
async fn late_errors_come_by_webhook_where_asked_for() {
    let mut receiver = support::Receiver::start().await;
    let options = curfew_emulator::Options {
        late_media_errors: true,
        webhook_url: Some(receiver.url.clone()),
        ..support::options()
    };
    let (_emulator, client) = support::start_with(options).await;
    let id = client.upload(LOCAL, None).await.ok().id();
    let wamid = client.image(PLAIN, id).await.ok().wamid();
    let status = receiver.next().await.value()["statuses"][0].clone();
    assert_eq!(
        (status["id"].as_str(), status["status"].as_str()),
        (Some(wamid.as_str()), Some("failed"))
    );
    assert_eq!(status["errors"][0]["code"], 131_053);
}

#[tokio::test]
async fn media_of_the_wrong_kind_is_refused() {
    let (_emulator, client) = start().await;
    let id = client.upload(PLAIN, None).await.ok().id();
    let send = |kind: &str| serde_json::json!({"messaging_product": "whatsapp", "to": "+4915112345678", "type": kind, kind: {"id": id}});
    let path = format!("/v24.0/{PLAIN}/messages");
    assert_eq!(client.post(&path, &send("video")).await.code(), 131_053);
    client.post(&path, &send("document")).await.ok();
    client.post(&path, &send("image")).await.ok();
}
