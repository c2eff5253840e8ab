//! Promise: what may be sent goes to Meta byte for byte, and Meta's answer comes back as it is. What a message names is judged
//! wherever it names it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and hands over the JSON that it makes"
)]

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod places;

use serde_json::{Value, json};

use crate::common::{Client, DEFAULT, IN_COUNTRY, NO_STORAGE, Reply, UNPACED, World};

const HOST: &str = "cdn.bank.example";

/// The three numbers of the harness, each with one host from which media may come.
async fn world() -> World {
    let number = |id: u64, storage: &str| {
        format!(
            "[[number]]\nphone_number_id = \"{id}\"\nwaba_id = \"5001\"\nstorage = {{ {storage} }}\n\
             [number.media]\nlinks = {{ hosts = [\"{HOST}\"] }}\n{UNPACED}"
        )
    };
    let numbers = [
        number(NO_STORAGE, "mode = \"no_storage\""),
        number(IN_COUNTRY, "mode = \"in_country\", region = \"DE\""),
        number(DEFAULT, "mode = \"default\""),
    ];
    World::of(&numbers.concat()).await
}

/// A message with everything beside its type.
fn message(content: &Value) -> Value {
    let mut message =
        json!({ "messaging_product": "whatsapp", "recipient_type": "individual", "to": "+1 (555) 010-0001" });
    message
        .as_object_mut()
        .unwrap()
        .extend(content.as_object().unwrap().clone());
    message
}

async fn send(client: &Client, number: u64, body: &str) -> Reply {
    client.post_text(&format!("/v23.0/{number}/messages"), body).await
}

/// One of each type (Cloud API, "Messages").
fn one_of_each_type() -> Vec<Value> {
    let link = |name: &str| json!({ "link": format!("https://{HOST}/{name}") });
    let mut document = link("a.pdf");
    document["caption"] = json!("Ihre Rechnung \u{1f4c4}");
    document["filename"] = json!("Rechnung M\u{e4}rz.pdf");
    let mut voice = link("a.ogg");
    voice["voice"] = json!(true);
    vec![
        json!({ "type": "text", "text": { "body": "Gr\u{fc}\u{df}e\nhttps://bank.example/", "preview_url": true } }),
        json!({ "text": { "body": "no type" } }),
        json!({ "type": "image", "image": link("a.png"), "context": { "message_id": "wamid.x" } }),
        json!({ "type": "audio", "audio": voice }),
        json!({ "type": "video", "video": link("a.mp4") }),
        json!({ "type": "document", "document": document }),
        json!({ "type": "sticker", "sticker": link("a.webp") }),
        json!({ "type": "location", "location": { "latitude": 52.5, "longitude": -13.4, "name": "Filiale", "address": "1 Main St" } }),
        json!({ "type": "contacts", "contacts": [{ "name": { "formatted_name": "A", "first_name": "A" },
            "phones": [{ "phone": "+15550100002", "type": "WORK" }], "urls": [{ "url": "https://bank.example/" }],
            "org": { "company": "Bank" }, "birthday": "2000-01-01" }] }),
        json!({ "type": "reaction", "reaction": { "message_id": "wamid.x", "emoji": "\u{1f600}" } }),
        json!({ "type": "interactive", "interactive": { "type": "list", "body": { "text": "?" },
            "action": { "button": "Choose", "sections": [{ "title": "A", "rows": [{ "id": "123", "title": "One" }] }] } } }),
        json!({ "type": "interactive", "interactive": { "type": "button", "header": { "type": "image", "image": link("b.png") },
            "body": { "text": "?" }, "action": { "buttons": [{ "type": "reply", "reply": { "id": "yes", "title": "Yes" } }] } } }),
        json!({ "type": "interactive", "interactive": { "type": "cta_url", "body": { "text": "?" },
            "action": { "name": "cta_url", "parameters": { "display_text": "Go", "url": "https://elsewhere.example/" } } } }),
        json!({ "type": "interactive", "interactive": { "type": "flow", "body": { "text": "?" }, "action": { "name": "flow",
            "parameters": { "flow_id": "77", "flow_cta": "Go", "flow_action_payload": { "screen": "A", "data": { "id": "7", "name": "x" } } } } } }),
        json!({ "type": "interactive", "interactive": { "type": "product", "body": { "text": "?" },
            "action": { "catalog_id": "77", "product_retailer_id": "a" } } }),
        json!({ "type": "interactive", "interactive": { "type": "location_request_message", "body": { "text": "?" },
            "action": { "name": "send_location" } } }),
        json!({ "type": "template", "template": { "name": "invoice", "language": { "policy": "deterministic", "code": "de" },
            "components": [
                { "type": "header", "parameters": [{ "type": "document", "document": link("c.pdf") }] },
                { "type": "body", "parameters": [{ "type": "text", "text": "7" },
                    { "type": "currency", "currency": { "fallback_value": "7 EUR", "code": "EUR", "amount_1000": 7000 } }] },
                { "type": "button", "sub_type": "quick_reply", "index": "0", "parameters": [{ "type": "payload", "payload": "x" }] },
            ] } }),
        json!({ "recipient_type": "group", "to": "Y2FwaV9ncm91cA", "type": "pin",
            "pin": { "type": "pin", "message_id": "wamid.x", "expiration_days": 7 } }),
        json!({ "type": "text", "text": { "body": "x" }, "biz_opaque_callback_data": "tracking-7",
            "recipient_identity_key_hash": "abc", "messaging_account_id": "9" }),
    ]
}

#[tokio::test]
async fn every_type_goes_out_byte_for_byte_and_its_answer_comes_back() {
    let world = world().await;
    for number in [NO_STORAGE, IN_COUNTRY, DEFAULT] {
        for content in one_of_each_type() {
            let body = message(&content);
            world.emulator.clear_record();
            let reply = send(&world.client(), number, &body.to_string()).await;
            assert_eq!(
                (reply.status.as_u16(), reply.reason()),
                (200, None),
                "{content}: {}",
                reply.text()
            );
            let sent = world.emulator.sent();
            assert_eq!(sent.len(), 1, "{content}");
            assert_eq!((sent[0].phone_number_id, &sent[0].body), (number, &body));
            let received = world.emulator.received();
            let last = received.last().unwrap();
            assert_eq!(
                last.body.as_deref(),
                Some(body.to_string().as_bytes()),
                "{content}"
            );
            assert_eq!(last.header("content-type"), Some("application/json"));
            assert_eq!(reply.json()["messages"][0]["id"], *sent[0].wamid);
        }
    }
}

/// What a parser may do with a document, and a forwarder that writes it anew would: none of it happens.
#[tokio::test]
async fn the_very_bytes_that_came_go_on() {
    let world = world().await;
    let bodies = [
        "{ \"to\" : \"+15550100001\" ,\r\n\t\"messaging_product\":\"whatsapp\",\"type\":\"text\",\"text\":{\"body\":\"x\"} }\n\n",
        r#"{"messaging_product":"whatsapp","to":"+15550100001","type":"text","text":{"body":"\u0047r\u00fc\u00DFe \ud83d\ude00 \/ \" \\ \b\f"}}"#,
        "{\"messaging_product\":\"whatsapp\",\"to\":\"+15550100001\",\"type\":\"text\",\"text\":{\"body\":\"\u{feff}\u{202e}\u{0}\"}}".replace('\0', "\\u0000").leak(),
        r#"{"messaging_product":"whatsapp","to":15550100001,"type":"location","location":{"latitude":1.00,"longitude":-1e-1}}"#,
        r#"{"messaging_product":"whatsapp","to":"+15550100001","type":"text","text":{"body":"{\"image\":{\"caption\":\"no media\"}}"}}"#,
        r#"{"z":null,"messaging_product":"whatsapp","to":"+15550100001","type":"text","text":{"body":"x"},"a":123456789012345678901234567890}"#,
    ];
    for body in bodies {
        let reply = send(&world.client(), NO_STORAGE, body).await;
        assert_eq!(reply.status, 200, "{body}: {}", reply.text());
        let received = world.emulator.received();
        assert_eq!(received.last().unwrap().body.as_deref(), Some(body.as_bytes()));
    }
    let content_types = [
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
        "application/json; charset=\"utf-8\"",
    ];
    for content_type in content_types {
        let headers = [("content-type", content_type)];
        let body = bodies[0].to_owned().into();
        let reply = world
            .client()
            .send(http::Method::POST, "/v23.0/1001/messages", &headers, body)
            .await;
        assert_eq!(reply.status, 200, "{content_type}: {}", reply.text());
    }
}

#[tokio::test]
async fn recipients_of_every_kind_are_metas_to_understand() {
    let world = world().await;
    let text = json!({ "messaging_product": "whatsapp", "type": "text", "text": { "body": "x" } });
    for recipient in [
        json!({ "to": "15550100001" }),
        json!({ "to": "+49 (151) 123-4567" }),
        json!({ "recipient": "US.13491208655302741918" }),
        json!({ "recipient": "US.ENT.11815799212886844830" }),
        json!({ "to": "15550100001", "recipient": "US.13491208655302741918" }),
        json!({ "to": "Y2FwaV9ncm91cA", "recipient_type": "group" }),
    ] {
        let mut body = text.clone();
        body.as_object_mut()
            .unwrap()
            .extend(recipient.as_object().unwrap().clone());
        let reply = send(&world.client(), NO_STORAGE, &body.to_string()).await;
        assert_eq!(
            (reply.status.as_u16(), reply.reason()),
            (200, None),
            "{recipient}: {}",
            reply.text()
        );
    }
}

#[tokio::test]
async fn receipts_and_typing_are_no_sends() {
    let world = world().await;
    let client = world.client();
    let receipt = json!({ "messaging_product": "whatsapp", "status": "read", "message_id": "wamid.x" });
    let mut typing = receipt.clone();
    typing["typing_indicator"] = json!({ "type": "text" });
    // They carry no content, so a number whose real settings are wrong may still make them.
    world
        .emulator
        .set_storage(NO_STORAGE, curfew_emulator::Storage::Default);
    for number in [NO_STORAGE, IN_COUNTRY, DEFAULT] {
        for body in [&receipt, &typing] {
            let reply = send(&client, number, &body.to_string()).await;
            assert_eq!(
                (reply.status.as_u16(), reply.text().as_str()),
                (200, "{\"success\":true}")
            );
            let received = world.emulator.received();
            assert_eq!(
                received.last().unwrap().body.as_deref(),
                Some(body.to_string().as_bytes())
            );
        }
    }
    assert!(world.emulator.sent().is_empty());
    assert!(
        world.emulator.settings_calls().is_empty(),
        "nothing was asked for them"
    );
    // What is both is a send, and is judged as one.
    let mut both = receipt.clone();
    both.as_object_mut().unwrap().extend(
        message(&json!({ "type": "text", "text": { "body": "x" } }))
            .as_object()
            .unwrap()
            .clone(),
    );
    send(&client, NO_STORAGE, &both.to_string())
        .await
        .assert_refused(503, 131_005, "settings_differ");
    for more in [
        json!({ "to": "+15550100001" }),
        json!({ "text": { "body": "x" } }),
        json!({ "recipient": "US.1" }),
    ] {
        let mut body = receipt.clone();
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let reply = send(&client, NO_STORAGE, &body.to_string()).await;
        assert!(reply.reason().is_some(), "{body}: {}", reply.text());
    }
    assert!(world.emulator.sent().is_empty());
}

#[tokio::test]
async fn marketing_messages_are_judged_like_others() {
    let world = world().await;
    let client = world.client();
    let body = |image: Value| {
        message(
            &json!({ "type": "template", "product_policy": "STRICT", "message_activity_sharing": true,
            "template": { "name": "sale", "language": { "code": "en" },
                "components": [{ "type": "header", "parameters": [{ "type": "image", "image": image }] }] } }),
        )
    };
    for number in [IN_COUNTRY, DEFAULT] {
        let target = format!("/v23.0/{number}/marketing_messages");
        let own = client.upload(number).await;
        let other = client
            .upload(if number == DEFAULT { IN_COUNTRY } else { NO_STORAGE })
            .await;
        let good = body(json!({ "id": own.to_string() }));
        let reply = client.post(&target, &good).await;
        assert_eq!(
            (reply.status.as_u16(), reply.reason()),
            (200, None),
            "{}",
            reply.text()
        );
        let sent = world.emulator.sent();
        let last = sent.last().unwrap();
        assert_eq!(
            (last.edge, &last.body, &last.media[..]),
            ("marketing_messages", &good, &[own][..])
        );
        let reply = client
            .post(&target, &body(json!({ "id": other.to_string() })))
            .await;
        reply.assert_refused(400, 100, "media_of_other_number");
        let reply = client
            .post(&target, &body(json!({ "link": "https://elsewhere.example/" })))
            .await;
        reply.assert_refused(403, 131_005, "link_not_allowed");
        assert_eq!(world.emulator.sent().len(), sent.len());
    }
    let reply = client
        .post("/v23.0/1001/marketing_messages", &body(json!({ "id": "1" })))
        .await;
    reply.assert_refused(403, 131_005, "forbidden_by_mode");
}

#[tokio::test]
async fn links_lead_to_listed_hosts_or_nowhere() {
    let world = world().await;
    let client = world.client();
    let image = |link: &str| message(&json!({ "type": "image", "image": { "link": link } })).to_string();
    for link in [
        "https://cdn.bank.example/a.png",
        "https://CDN.bank.example/a?b=c#d",
        "https://cdn.bank.example",
        "https://cdn.bank.example:443/@x",
    ] {
        for number in [NO_STORAGE, IN_COUNTRY, DEFAULT] {
            let reply = send(&client, number, &image(link)).await;
            assert_eq!(
                (reply.status.as_u16(), reply.reason()),
                (200, None),
                "{link}: {}",
                reply.text()
            );
        }
    }
    let sent = world.emulator.sent().len();
    for link in [
        "https://elsewhere.example/a.png",
        "https://cdn.bank.example.elsewhere.example/",
        "https://x.cdn.bank.example/",
        "https://bank.example/",
        "https://cdn.bank.example@elsewhere.example/",
        "https://elsewhere.example\\@cdn.bank.example/",
        "https://elsewhere.example#@cdn.bank.example/",
        "https://elsewhere.example?@cdn.bank.example/",
        "https://cdn.bank.example:8443/",
        "https://cdn.bank.example./",
        "https://cdn\u{3002}bank\u{3002}example/",
        "https://cdn.bank.\texample/",
        " https://cdn.bank.example/",
        "http://cdn.bank.example/",
        "HTTPS://cdn.bank.example/",
        "https:/cdn.bank.example/",
        "https:cdn.bank.example/",
        "//cdn.bank.example/",
        "https:///cdn.bank.example/",
        "ftp://cdn.bank.example/",
        "data:image/png;base64,AAAA",
        "file:///etc/passwd",
        "https://127.0.0.1/",
        "https://[::1]/",
        "",
    ] {
        for number in [NO_STORAGE, IN_COUNTRY, DEFAULT] {
            let reply = send(&client, number, &image(link)).await;
            reply.assert_refused(403, 131_005, "link_not_allowed");
        }
    }
    assert_eq!(world.emulator.sent().len(), sent);
}

/// Without a list, a default number sends from anywhere, and a restricted one from nowhere.
#[tokio::test]
async fn without_a_list_of_hosts_it_is_the_mode_that_counts() {
    let world = World::pass_through().await;
    let client = world.client();
    let image = message(&json!({ "type": "image", "image": { "link": "http://elsewhere.example/a.png" } }))
        .to_string();
    assert_eq!(send(&client, DEFAULT, &image).await.status, 200);
    for number in [NO_STORAGE, IN_COUNTRY] {
        send(&client, number, &image)
            .await
            .assert_refused(403, 131_005, "link_not_allowed");
    }
}
