//! Promise: under `enforcement = "monitor"` the rules decide and record, and requests pass. Who may call, what is unknown and
//! what is malformed stay refused.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::form::{Form, PNG};
use common::{Client, DEFAULT, IN_COUNTRY, NO_STORAGE, PASS_THROUGH, Reply, World, caller_table, log};
use curfew_emulator::{Effect, Fault, Operation, Storage};
use http::Method;
use serde_json::{Value, json};

const MONITOR: &str = "enforcement = \"monitor\"\n";

async fn monitored() -> World {
    World::of(&format!("{MONITOR}{PASS_THROUGH}")).await
}

fn message(body: &Value) -> Value {
    let mut message = json!({ "messaging_product": "whatsapp", "to": "+15550100001" });
    message
        .as_object_mut()
        .unwrap()
        .extend(body.as_object().unwrap().clone());
    message
}

/// What Meta answered, and the rule that would have refused.
#[track_caller]
fn assert_observed(reply: &Reply, slug: &str) {
    assert_eq!(
        (reply.header("curfew-observed"), reply.reason()),
        (Some(slug), None),
        "{}",
        reply.text()
    );
    assert_ne!(reply.json()["error"]["type"], "CurfewPolicyException");
}

async fn upload(client: &Client, number: u64, form: Form) -> Reply {
    client.post_form(&format!("/v23.0/{number}/media"), &form).await
}

#[tokio::test]
async fn what_keeps_the_rules_is_not_spoken_of() {
    let world = monitored().await;
    let client = world.client();
    let form = Form::image().field("ttl_minutes", "60");
    for reply in [
        client.send_text(NO_STORAGE).await,
        upload(&client, NO_STORAGE, form).await,
        upload(&client, NO_STORAGE, Form::image()).await,
        client.get("/v23.0/1001").await,
    ] {
        assert_eq!(
            (reply.status.as_u16(), reply.header("curfew-observed")),
            (200, None),
            "{}",
            reply.text()
        );
    }
    assert_eq!(
        world
            .emulator
            .media()
            .iter()
            .map(|medium| medium.ttl_minutes)
            .collect::<Vec<_>>(),
        [Some(60), Some(120)]
    );
}

#[tokio::test]
async fn an_upload_passes_with_the_ttl_that_it_asked_for_wherever_that_stands() {
    let world = monitored().await;
    let client = world.client();
    let first = Form::new()
        .field("ttl_minutes", "43200")
        .field("messaging_product", "whatsapp")
        .file("image/png", PNG);
    let last = Form::image().field("ttl_minutes", "43200");
    for form in [first, last] {
        let reply = upload(&client, NO_STORAGE, form).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_observed(&reply, "ttl_out_of_bounds");
        assert_eq!(
            reply.header("curfew-media-expires"),
            Some("2027-02-14T08:00:00.000Z")
        );
        let stored = world.emulator.media();
        assert_eq!(stored.last().map(|medium| medium.ttl_minutes), Some(Some(43_200)));
        assert_eq!(client.send_image(NO_STORAGE, reply.media_id()).await.status, 200);
    }
    // Meta's own bounds are Meta's to hold.
    let reply = upload(&client, NO_STORAGE, Form::image().field("ttl_minutes", "59")).await;
    assert_observed(&reply, "ttl_out_of_bounds");
    assert_eq!((reply.status.as_u16(), reply.code()), (400, Some(131_009)));
    for number in [IN_COUNTRY, DEFAULT] {
        let reply = upload(&client, number, Form::image().field("ttl_minutes", "60")).await;
        assert_observed(&reply, "ttl_without_no_storage");
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}

#[tokio::test]
async fn files_that_meta_would_not_take_are_metas_to_refuse() {
    let world = monitored().await;
    let client = world.client();
    let form = |mime: &str, bytes: &[u8]| {
        Form::new()
            .field("messaging_product", "whatsapp")
            .file(mime, bytes)
    };
    let large = vec![b'x'; 500 * 1024 + 1];
    for (form, slug) in [
        (form("image/gif", PNG), "media_type_not_taken"),
        (form("image/webp", &large), "file_too_large"),
    ] {
        let reply = upload(&client, NO_STORAGE, form).await;
        assert_observed(&reply, slug);
        assert_eq!((reply.status.as_u16(), reply.code()), (400, Some(131_053)));
    }
    let reply = upload(
        &client,
        NO_STORAGE,
        form("image/png", PNG).field("type", "image/jpeg"),
    )
    .await;
    assert_observed(&reply, "media_types_disagree");
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn what_a_rule_would_refuse_passes_and_is_told() {
    let world = monitored().await;
    let client = world.client();
    let theirs = client.upload(DEFAULT).await;
    let links = message(&json!({ "type": "image", "image": { "link": "https://elsewhere.example/a.png" } }));
    let image = |image: Value| message(&json!({ "type": "image", "image": image }));
    let text = json!({ "type": "text", "text": { "body": "Hello" } });
    let template =
        message(&json!({ "type": "template", "template": { "name": "sale", "language": { "code": "en" } } }));
    let register = json!({ "messaging_product": "whatsapp", "pin": "123456" });
    for (target, body, slug) in [
        (
            "/v23.0/1001/messages",
            image(json!({ "id": theirs.to_string() })),
            "media_of_other_number",
        ),
        (
            "/v23.0/1001/messages",
            image(json!({ "id": "123" })),
            "media_not_usable",
        ),
        (
            "/v23.0/1001/messages",
            image(json!({ "id": theirs.to_string(), "link": "https://a.example" })),
            "media_of_other_number",
        ),
        ("/v23.0/1001/messages", links, "link_not_allowed"),
        (
            "/v23.0/1001/messages",
            message(&json!({ "type": "hologram", "hologram": {} })),
            "unknown_message_type",
        ),
        (
            "/v23.0/1001/messages",
            message(&json!({ "context": { "forwarded": true }, "text": text["text"], "type": "text" })),
            "unknown_member",
        ),
        (
            "/v23.0/1001/messages",
            message(&json!({ "type": "text", "text": { "body": "x", "image": { "id": theirs } } })),
            "media_of_other_number",
        ),
        ("/v23.0/1001/marketing_messages", template, "forbidden_by_mode"),
        (
            "/v23.0/1003/messages_encrypted",
            json!({ "messaging_product": "whatsapp", "encrypted_contents": "x" }),
            "forbidden_by_mode",
        ),
        (
            "/v23.0/1002/calls",
            json!({ "action": "connect", "to": "+1", "recording": {} }),
            "forbidden_by_mode",
        ),
        (
            "/v23.0/1001/settings",
            json!({ "storage_configuration": { "status": "DEFAULT" } }),
            "settings_contradict_policy",
        ),
        (
            "/v20.0/1001/register",
            register,
            "registration_contradicts_policy",
        ),
        (
            "/v23.0/1001",
            json!({ "webhook_configuration": { "override_callback_uri": "", "verify_token": "x" } }),
            "webhook_redirect",
        ),
        ("/v23.0/1002/deregister", json!({}), "deregister_not_allowed"),
    ] {
        let before = world.reached();
        let reply = client.post(target, &body).await;
        assert_observed(&reply, slug);
        let reached = world.reached();
        assert_eq!(
            reached.last().map(String::as_str),
            Some(&*format!("POST {target}")),
            "{slug}"
        );
        assert!(reached.len() > before.len());
        let last = world
            .emulator
            .received()
            .into_iter()
            .rfind(|r| r.method == Method::POST)
            .unwrap();
        assert_eq!(last.body.as_deref(), Some(body.to_string().as_bytes()), "{slug}");
    }
}

#[tokio::test]
async fn real_settings_are_looked_at_and_stop_nothing() {
    let world = monitored().await;
    world.emulator.set_storage(NO_STORAGE, Storage::Default);
    let reply = world.client().send_text(NO_STORAGE).await;
    assert_observed(&reply, "settings_differ");
    assert_eq!(reply.status, 200);
    let fault = Effect::Error {
        status: 500,
        code: 131_000,
        subcode: None,
        details: None,
    };
    world.emulator.fault(Fault::new(Operation::Settings, fault));
    let reply = world.client().send_text(IN_COUNTRY).await;
    assert_observed(&reply, "settings_unverified");
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn the_eleventh_registration_is_metas_to_refuse() {
    let world = monitored().await;
    let client = world.client();
    let register = json!({ "messaging_product": "whatsapp", "pin": "123456" });
    for _ in 0..10 {
        assert_eq!(client.post("/v23.0/1003/register", &register).await.status, 200);
    }
    let reply = client.post("/v23.0/1003/register", &register).await;
    assert_observed(&reply, "registration_lockout");
    assert_eq!(reply.code(), Some(133_016));
}

#[tokio::test]
async fn who_is_unknown_and_what_is_malformed_stays_refused() {
    let caller = caller_table("billing", "billing-key", &[NO_STORAGE], &["send", "media"]);
    let world = World::of(&format!("{MONITOR}{PASS_THROUGH}{caller}")).await;
    let client = world.caller("billing-key");
    let messages = "/v23.0/1001/messages";
    world
        .caller("another-key")
        .send_text(NO_STORAGE)
        .await
        .assert_refused(401, 190, "unknown_caller");
    client
        .send_text(DEFAULT)
        .await
        .assert_refused(403, 131_005, "number_not_allowed");
    client
        .get("/v23.0/1001")
        .await
        .assert_refused(403, 131_005, "operation_not_allowed");
    client
        .get("/v23.0/me")
        .await
        .assert_refused(403, 131_005, "unknown_operation");
    client
        .post_text(messages, "{]")
        .await
        .assert_refused(400, 100, "json_syntax");
    client
        .post_text(messages, r#"{"to":"1","to":"2"}"#)
        .await
        .assert_refused(400, 100, "json_duplicate_key");
    client
        .post_text(messages, r#"{"batch":[]}"#)
        .await
        .assert_refused(400, 100, "control_parameter");
    client
        .post(&format!("{messages}?method=delete"), &json!({}))
        .await
        .assert_refused(400, 100, "query_not_allowed");
    let reply = client
        .send(
            Method::POST,
            messages,
            &[("content-type", "text/plain")],
            "{}".into(),
        )
        .await;
    reply.assert_refused(400, 100, "content_type");
    // A life that is no number is malformed, and may not be guessed at.
    for ttl in ["an hour", "60.0", ""] {
        for form in [
            Form::image().field("ttl_minutes", ttl),
            Form::new()
                .field("messaging_product", "whatsapp")
                .field("ttl_minutes", ttl)
                .file("image/png", PNG),
        ] {
            let reply = upload(&client, NO_STORAGE, form).await;
            reply.assert_refused(400, 131_009, "ttl_not_whole");
        }
    }
    let twice = Form::image()
        .field("ttl_minutes", "60")
        .field("ttl_minutes", "60");
    upload(&client, NO_STORAGE, twice)
        .await
        .assert_refused(400, 131_009, "form_field_twice");
    assert_eq!(world.emulator.media_bytes_kept(), 0);
    assert!(
        world
            .reached()
            .iter()
            .all(|call| call == "POST /v23.0/1001/media"),
        "{:?}",
        world.reached()
    );
}

#[tokio::test]
async fn what_may_be_another_callers_medium_stays_refused() {
    let policies = [
        MONITOR.to_owned(),
        PASS_THROUGH.to_owned(),
        caller_table("billing", "billing-key", &[NO_STORAGE], &["send", "media"]),
        caller_table("archive", "archive-key", &[IN_COUNTRY], &["send", "media"]),
    ]
    .concat();
    let world = World::of(&policies).await;
    let media = world.caller("archive-key").upload(IN_COUNTRY).await;
    let client = world.caller("billing-key");
    for reply in [
        client.get(&format!("/v23.0/{media}")).await,
        client.delete(&format!("/v23.0/{media}")).await,
        client.send_image(NO_STORAGE, media).await,
        client.get("/v23.0/123").await,
    ] {
        reply.assert_refused(400, 100, "media_not_usable");
    }
    assert!(world.emulator.media_bytes(media).is_some());
    assert!(world.emulator.sent().is_empty());
}

#[tokio::test]
async fn what_was_observed_is_in_the_record_with_everything_else() {
    const NUMBER: u64 = 7771;
    log::listen();
    let policies = PASS_THROUGH.replace("1001", &NUMBER.to_string());
    let world = World::of(&format!("{MONITOR}{policies}")).await;
    let client = world.client();
    upload(&client, NUMBER, Form::image().field("ttl_minutes", "1441")).await;
    client.send_text(NUMBER).await;
    let receipt = json!({ "messaging_product": "whatsapp", "status": "read", "message_id": "wamid.x" });
    client.post("/v23.0/7771/messages", &receipt).await;
    let redirect = json!({ "webhook_configuration": { "override_callback_uri": "" } });
    client.post("/v23.0/7771", &redirect).await;
    client.post_text("/v23.0/7771/messages", "{]").await;
    let lines = log::about(NUMBER);
    let of = |field: &str| {
        lines
            .iter()
            .map(|line| line.get(field).cloned().unwrap_or_default())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of("operation"),
        [
            "upload_media",
            "send_message",
            "mark_read",
            "redirect_webhooks",
            "send_message"
        ]
    );
    let none = Value::Null;
    assert_eq!(
        of("observed"),
        [
            json!("ttl_out_of_bounds"),
            none.clone(),
            none.clone(),
            json!("webhook_redirect"),
            none.clone()
        ]
    );
    assert_eq!(
        of("reason"),
        [
            none.clone(),
            none.clone(),
            none.clone(),
            none,
            json!("json_syntax")
        ]
    );
    assert_eq!(of("status"), [200, 200, 200, 200, 400]);
    assert_eq!(of("caller"), ["pass-through"; 5]);
}
