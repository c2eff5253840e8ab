//! Every type of send is accepted and recorded as it was meant.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use serde_json::{Value, json};
use support::{LOCAL, PLAIN, start};

fn with(more: &Value) -> Value {
    let mut body = json!({"messaging_product": "whatsapp", "to": "+4915112345678"});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn every_type_is_accepted() {
    let (emulator, client) = start().await;
    let path = format!("/v24.0/{PLAIN}/messages");
    let link = json!({"link": "https://cdn.test/x"});
    let bodies = [
        json!({"text": {"body": "no type"}}),
        json!({"type": "text", "text": {"body": "x", "preview_url": true}}),
        json!({"type": "image", "image": link}),
        json!({"type": "audio", "audio": {"link": "https://cdn.test/x", "voice": true}}),
        json!({"type": "video", "video": link}),
        json!({"type": "document", "document": {"link": "https://cdn.test/x", "filename": "a.pdf"}}),
        json!({"type": "sticker", "sticker": link}),
        json!({"type": "location", "location": {"latitude": 1.5, "longitude": "2"}}),
        json!({"type": "contacts", "contacts": [{"name": {"formatted_name": "A"}}]}),
        json!({"type": "reaction", "reaction": {"message_id": "wamid.x", "emoji": "👍"}}),
        json!({"type": "interactive", "interactive": {"type": "button", "body": {"text": "x"}, "action": {"buttons": []}}}),
        json!({"type": "template", "template": {"name": "t", "language": {"code": "de"}}}),
        json!({"type": "pin", "recipient_type": "group", "to": "group=", "pin": {"type": "pin", "message_id": "wamid.x"}}),
    ];
    for body in &bodies {
        let answer = client.post(&path, &with(body)).await.ok().json();
        assert_eq!(answer["messaging_product"], "whatsapp");
        assert!(
            answer["messages"][0]["id"]
                .as_str()
                .unwrap()
                .starts_with("wamid.")
        );
    }
    let sent = emulator.sent();
    assert_eq!(sent.len(), bodies.len());
    let mut ids: Vec<_> = sent.iter().map(|sent| sent.wamid.clone()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), bodies.len());
    assert_eq!(sent[5].body["document"]["filename"], "a.pdf");
}

#[tokio::test]
async fn recipients_are_answered_in_their_own_way() {
    let (emulator, client) = start().await;
    let path = format!("/v24.0/{PLAIN}/messages");
    let answer = client.text(PLAIN, "+49 151 1234-5678").await.ok().json();
    assert_eq!(
        answer["contacts"],
        json!([{"input": "+49 151 1234-5678", "wa_id": "4915112345678"}])
    );
    let user = json!({"messaging_product": "whatsapp", "recipient": "US.1349", "text": {"body": "x"}});
    let answer = client.post(&path, &user).await.ok().json();
    assert_eq!(
        answer["contacts"],
        json!([{"input": "US.1349", "user_id": "US.1349"}])
    );
    let mut both = user.clone();
    both["to"] = json!("+4915112345678");
    let answer = client.post(&path, &both).await.ok().json();
    assert_eq!(answer["contacts"][0]["wa_id"], "4915112345678");
    let group = json!({"messaging_product": "whatsapp", "recipient_type": "group", "to": "Y2Fw", "text": {"body": "x"}});
    let answer = client.post(&path, &group).await.ok().json();
    assert_eq!(answer["messages"][0]["group_id"], "Y2Fw");
    assert_eq!(emulator.sent().last().unwrap().recipient, "Y2Fw");
}

#[tokio::test]
async fn receipts_are_no_sends() {
    let (emulator, client) = start().await;
    let path = format!("/v24.0/{PLAIN}/messages");
    let mut receipt = json!({"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.x"});
    assert_eq!(
        client.post(&path, &receipt).await.ok().json(),
        json!({"success": true})
    );
    receipt["typing_indicator"] = json!({"type": "text"});
    client.post(&path, &receipt).await.ok();
    assert!(emulator.sent().is_empty());
}

#[tokio::test]
async fn the_other_edges_send_too() {
    let (emulator, client) = start().await;
    let template = with(&json!({"type": "template", "template": {"name": "t", "language": {"code": "de"}}}));
    client
        .post(&format!("/v24.0/{LOCAL}/marketing_messages"), &template)
        .await
        .ok();
    let text = with(&json!({"type": "text", "text": {"body": "x"}}));
    assert_eq!(
        client
            .post(&format!("/v24.0/{LOCAL}/marketing_messages"), &text)
            .await
            .code(),
        100
    );
    let sealed = json!({"messaging_product": "whatsapp", "encrypted_contents": "eyJ.a.b.c.d"});
    client
        .post(&format!("/v24.0/{LOCAL}/messages_encrypted"), &sealed)
        .await
        .ok();
    let call =
        json!({"messaging_product": "whatsapp", "to": "+4915112345678", "action": "connect", "session": {}});
    let answer = client
        .post(&format!("/v24.0/{LOCAL}/calls"), &call)
        .await
        .ok()
        .json();
    assert!(answer["calls"][0]["id"].as_str().unwrap().starts_with("wacid."));
    let edges: Vec<_> = emulator.sent().into_iter().map(|sent| sent.edge).collect();
    assert_eq!(edges, ["marketing_messages", "messages_encrypted", "calls"]);
}
