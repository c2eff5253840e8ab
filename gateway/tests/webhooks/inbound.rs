//! Media that come in belong to their number from the webhook on, and end when Meta ends them.

use bytes::Bytes;
use serde_json::json;

use super::receiver::Answer;
use super::*;
use common::form::PNG;
use common::{DEFAULT, NO_STORAGE};

/// Two restricted numbers that never ask Meta whose a medium is.
const DENY: &str = r#"
[[number]]
phone_number_id = "1001"
waba_id = "5001"
storage = { mode = "no_storage" }
media = { unknown_ids = "deny" }

[[number]]
phone_number_id = "1002"
waba_id = "5001"
storage = { mode = "in_country", region = "DE" }
media = { unknown_ids = "deny" }
"#;

#[tokio::test]
async fn media_that_came_in_can_be_used_by_their_number_until_they_end() {
    for (number, other, minutes) in [(1001, 1002, 60), (1002, 1001, 7 * 24 * 60)] {
        let mut relayed = Relayed::of(DENY, None).await;
        let png = Bytes::from_static(PNG);
        let media = relayed.emulator().receive_media(number, "image/png", png);
        let got = relayed.receiver.next().await.value();
        assert_eq!(got["messages"][0]["image"]["id"], media.to_string());
        assert!(
            got["messages"][0]["image"]["url"].is_string(),
            "webhooks stay as they are"
        );

        let client = relayed.world.client();
        assert_eq!(client.send_image(number, media).await.status, 200);
        let refused = client.send_image(other, media).await;
        refused.assert_refused(400, 100, "media_of_other_number");
        relayed
            .world
            .time
            .advance(std::time::Duration::from_secs(60 * minutes - 1));
        assert_eq!(client.send_image(number, media).await.status, 200);
        relayed.world.time.advance(std::time::Duration::from_secs(1));
        let refused = client.send_image(number, media).await;
        refused.assert_refused(400, 100, "media_ended");
    }
}

#[tokio::test]
async fn the_end_of_what_came_in_is_counted_from_when_it_was_sent() {
    let relayed = Relayed::of(DENY, None).await;
    let webhook = |media: u64, sent: u64| {
        let message = json!({"from": "4915112345678", "id": format!("wamid.{media}"), "type": "image",
            "timestamp": sent.to_string(), "image": {"id": media.to_string(), "mime_type": "image/png"}});
        json!({"object": "whatsapp_business_account", "entry": [{"id": "5001", "changes": [{"field": "messages",
            "value": {"messaging_product": "whatsapp", "metadata": {"phone_number_id": NO_STORAGE.to_string()},
                "messages": [message]}}]}]})
        .to_string()
    };
    // The clock shows 1 800 000 000.
    let cases = [
        (71_u64, 1_800_000_000 - 3_599, true),
        (72, 1_800_000_000 - 3_600, false),
        (73, 1_800_000_000 + 9_999, true),
    ];
    for (media, sent, _) in cases {
        let reply = relayed.post_signed(webhook(media, sent).as_bytes()).await;
        assert_eq!(reply.status, 200);
    }
    let client = relayed.world.client();
    for (media, _, is_alive) in cases {
        let reply = client.send_image(NO_STORAGE, media).await;
        let slug = reply.header("curfew-reason");
        // The emulator knows none of them: what passes here is Meta's to refuse.
        assert_eq!(slug == Some("media_ended"), !is_alive, "{media}: {slug:?}");
    }
    // A time that lies ahead is not believed: it ends an hour from when it came.
    relayed.world.time.advance(std::time::Duration::from_secs(3_600));
    let reply = client.send_image(NO_STORAGE, 73).await;
    reply.assert_refused(400, 100, "media_ended");
}

#[tokio::test]
async fn copies_of_what_came_in_are_kept_until_it_ends_also_for_restricted_numbers() {
    let mut relayed = Relayed::of(DENY, None).await;
    let media = relayed
        .emulator()
        .receive_media(NO_STORAGE, "image/png", Bytes::from_static(PNG));
    relayed.receiver.next().await;
    let client = relayed.world.client();
    let target = format!("/v23.0/{media}?phone_number_id={NO_STORAGE}");
    let download = async || {
        let url = client.get(&target).await.json()["url"]
            .as_str()
            .unwrap()
            .to_owned();
        let reply = client.get(&url).await;
        assert_eq!((reply.status.as_u16(), reply.body.as_ref()), (200, PNG));
        reply.header("curfew-cache").unwrap().to_owned()
    };
    assert_eq!(download().await, "miss");
    assert_eq!(download().await, "hit");
    relayed.world.time.advance(std::time::Duration::from_secs(3_599));
    assert_eq!(download().await, "hit");
    relayed.world.time.advance(std::time::Duration::from_secs(1));
    client.get(&target).await.assert_refused(400, 100, "media_ended");
}

#[tokio::test]
async fn what_comes_in_counts_for_the_numbers_pace_once() {
    let mut relayed = Relayed::pass_through().await;
    let operator = Client::new(relayed.world.gateway.admin).anonymous();
    let limits = async || operator.get("/limits").await.json();
    relayed.receiver.answer(Answer::Status(500));
    let _ = relayed.emulator().inbound_text(DEFAULT, "4915112345678", "hello");
    relayed.receiver.next().await;
    assert_eq!(relayed.answered(1).await, [Some(502)]);
    relayed.receiver.answer(Answer::Status(200));
    relayed.emulator().advance(1);
    relayed.receiver.next().await;
    assert_eq!(relayed.answered(2).await, [Some(502), Some(200)]);
    let number = limits().await["numbers"][DEFAULT.to_string()].clone();
    assert_eq!(
        (&number["taken"], &number["service_windows"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        (&number["taken_by_sends"], &number["granted"]),
        (&json!(0), &json!(0))
    );

    // What Meta says of a message in a webhook closes a number as its answer would.
    let client = relayed.world.client();
    let sent = client.send_text(DEFAULT).await.json();
    for _ in 0..3 {
        relayed.receiver.next().await;
    }
    let wamid = sent["messages"][0]["id"].as_str().unwrap();
    assert!(relayed.emulator().fail_message(wamid, 131_048));
    relayed.receiver.next().await;
    relayed.answered(6).await;
    let closed = limits().await["closed"].clone();
    assert_eq!(
        (&closed[0]["what"], &closed[0]["code"]),
        (&json!("number"), &json!(131_048))
    );
    assert_eq!(
        client.send_text(DEFAULT).await.status,
        403,
        "until somebody opens it"
    );
}

#[tokio::test]
async fn numbers_of_no_policy_are_handed_on_and_not_acted_upon() {
    let mut relayed = Relayed::pass_through().await;
    let body = json!({"entry": [{"changes": [{"field": "messages", "value": {
        "metadata": {"phone_number_id": "9009", "display_phone_number": "4930123456"},
        "messages": [{"from": "49151", "id": "wamid.x", "type": "image", "timestamp": "1800000000",
            "image": {"id": "81"}}]}}]}]});
    assert_eq!(relayed.post_signed(body.to_string().as_bytes()).await.status, 200);
    relayed.receiver.next().await;
    let deny = relayed
        .world
        .client()
        .get(&format!("/v23.0/81?phone_number_id={DEFAULT}"))
        .await;
    assert_ne!(deny.status, 200);
    let asked = relayed.world.reached();
    assert_eq!(
        asked,
        ["GET /v23.0/81"],
        "it had to be asked about, so it was not pinned"
    );
}
