//! Promise: a number with a storage promise does only what is known to keep it. Decision 11's table, row by row: what passes reaches
//! Meta, what is refused does not.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;

mod storage;

use crate::common::form::Form;
use crate::common::{Client, NO_STORAGE, Reply, World, caller_table, log};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

/// Expected of a row: it passes, or this refuses it.
const PASS: &str = "";

/// The three modes, in the order of the table's columns.
const MODES: [&str; 3] = [
    r#"{ mode = "default" }"#,
    r#"{ mode = "in_country", region = "DE" }"#,
    r#"{ mode = "no_storage" }"#,
];

fn policy(storage: &str, more: &str) -> String {
    format!(
        r#"
[[number]]
phone_number_id = "1001"
waba_id = "5001"
storage = {storage}
{more}
[number.media]
links = {{ hosts = ["cdn.bank.example"] }}
"#
    )
}

/// A request.
struct Call {
    method: Method,
    target: String,
    content_type: Option<String>,
    body: Bytes,
}

impl Call {
    fn bare(method: Method, target: &str) -> Self {
        Self {
            method,
            target: target.to_owned(),
            content_type: None,
            body: Bytes::new(),
        }
    }

    fn get(target: &str) -> Self {
        Self::bare(Method::GET, target)
    }

    fn post(target: &str, body: &Value) -> Self {
        Self {
            content_type: Some("application/json".to_owned()),
            body: body.to_string().into(),
            ..Self::bare(Method::POST, target)
        }
    }

    /// A message of `/messages`, without recipient.
    fn send(message: Value) -> Self {
        let mut body = json!({ "messaging_product": "whatsapp", "to": "+15550100001" });
        if let (Value::Object(body), Value::Object(message)) = (&mut body, message) {
            body.extend(message);
        }
        Self::post("/v23.0/1001/messages", &body)
    }

    fn upload(form: &Form) -> Self {
        Self::form("/v23.0/1001/media", form)
    }

    fn form(target: &str, form: &Form) -> Self {
        Self {
            content_type: Some(form.content_type()),
            body: form.bytes(),
            ..Self::bare(Method::POST, target)
        }
    }

    fn of_type(mut self, content_type: &str, body: &'static [u8]) -> Self {
        self.content_type = Some(content_type.to_owned());
        self.body = Bytes::from_static(body);
        self
    }

    async fn run(&self, client: &Client) -> Reply {
        let headers: Vec<_> = self
            .content_type
            .iter()
            .map(|value| ("content-type", value.as_str()))
            .collect();
        client
            .send(self.method.clone(), &self.target, &headers, self.body.clone())
            .await
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }
}

/// Makes the call and compares what came of it: at the caller, and at Meta.
async fn check(world: &World, client: &Client, call: &Call, expected: &str, row: &str) {
    let before = world.reached().len();
    let reply = call.run(client).await;
    let row = format!("{row}: {} {}", call.method, call.target);
    assert_eq!(
        reply.reason().unwrap_or(PASS),
        expected,
        "{row}: {}",
        reply.text()
    );
    let reached = world.reached().split_off(before);
    if expected == PASS {
        assert_eq!(reached, [format!("{} {}", call.method, call.path())], "{row}");
    } else {
        assert!(reached.is_empty(), "{row}: {reached:?}");
    }
}

/// Every row's calls under every mode.
async fn check_rows(rows: &[(Call, [&str; 3])]) {
    for (column, storage) in MODES.into_iter().enumerate() {
        let world = World::of(&policy(storage, "")).await;
        for (call, expected) in rows {
            check(&world, &world.client(), call, expected[column], storage).await;
        }
    }
}

const EVERYWHERE: [&str; 3] = [PASS; 3];

const fn nowhere(slug: &str) -> [&str; 3] {
    [slug; 3]
}

const fn only_default(slug: &str) -> [&str; 3] {
    [PASS, slug, slug]
}

fn messages_of_every_type() -> Vec<Value> {
    let link = || json!({ "link": "https://cdn.bank.example/a" });
    vec![
        json!({ "type": "text", "text": { "body": "Hello" } }),
        json!({ "text": { "body": "Hello" } }),
        json!({ "type": "image", "image": link() }),
        json!({ "type": "audio", "audio": link() }),
        json!({ "type": "video", "video": link() }),
        json!({ "type": "document", "document": link() }),
        json!({ "type": "sticker", "sticker": link() }),
        json!({ "type": "location", "location": { "latitude": 1, "longitude": 2 } }),
        json!({ "type": "contacts", "contacts": [{ "name": { "formatted_name": "A" } }] }),
        json!({ "type": "reaction", "reaction": { "message_id": "wamid.x", "emoji": "" } }),
        json!({ "type": "interactive", "interactive": { "type": "button", "body": { "text": "?" }, "action": { "buttons": [] } } }),
        json!({ "type": "template", "template": { "name": "a", "language": { "code": "en" } } }),
        json!({ "recipient_type": "group", "type": "pin", "pin": { "type": "pin", "message_id": "wamid.x" } }),
    ]
}

#[tokio::test]
async fn every_documented_type_passes_everywhere() {
    let rows: Vec<_> = messages_of_every_type()
        .into_iter()
        .map(|message| (Call::send(message), EVERYWHERE))
        .collect();
    check_rows(&rows).await;
    for storage in MODES {
        let world = World::of(&policy(storage, "")).await;
        for message in messages_of_every_type() {
            let reply = Call::send(message).run(&world.client()).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        assert_eq!(world.emulator.sent().len(), messages_of_every_type().len());
    }
}

#[tokio::test]
async fn what_is_not_documented_of_a_message_passes_only_without_a_promise() {
    let text = |more: Value| {
        let mut message = json!({ "type": "text", "text": { "body": "x" } });
        message
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        Call::send(message)
    };
    let link = "https://cdn.bank.example/a";
    let image = |image: Value| Call::send(json!({ "type": "image", "image": image }));
    let no_type = only_default("unknown_message_type");
    let no_member = only_default("unknown_member");
    let no_place = only_default("undocumented_reference");
    check_rows(&[
        (Call::send(json!({ "type": "hologram", "hologram": {} })), no_type),
        (Call::send(json!({ "type": "Text", "text": { "body": "x" } })), no_type),
        (Call::send(json!({ "type": "", "text": { "body": "x" } })), no_type),
        (Call::send(json!({ "image": { "link": link } })), no_type),
        (Call::send(json!({ "text": { "body": "x" }, "image": { "link": link } })), no_type),
        (Call::send(json!({ "text": { "body": "x" }, "hologram": {} })), no_type),
        (image(json!({ "link": link, "thumbnail": "x" })), no_member),
        (image(json!({ "link": link, "Caption": "x" })), no_member),
        (text(json!({ "context": { "message_id": "wamid.x", "forwarded": true } })), no_member),
        (text(json!({ "text": { "body": "x", "link": link } })), no_place),
        (text(json!({ "footer": { "image": { "link": link } } })), no_place),
        (Call::send(json!({ "type": "interactive", "interactive": { "type": "button", "footer": { "image": { "link": link } } } })), no_place),
        (Call::send(json!({ "type": "template", "template": { "name": "a", "language": { "code": "en" },
            "components": [{ "type": "body", "parameters": [{ "type": "image", "image": { "link": link } }] }] } })), no_place),
    ])
    .await;
}

#[tokio::test]
async fn an_own_medium_where_meta_documents_none_passes_only_without_a_promise() {
    for (storage, expected) in MODES.into_iter().zip(only_default("undocumented_reference")) {
        let world = World::of(&policy(storage, "")).await;
        let id = world.client().upload(NO_STORAGE).await.to_string();
        for message in [
            json!({ "type": "text", "text": { "body": "x", "image": { "id": id } } }),
            json!({ "type": "text", "text": { "body": "x" }, "extra": [{ "document": { "id": id } }] }),
            json!({ "type": "interactive", "interactive": { "type": "carousel", "action": { "cards": [{ "header": { "image": { "id": id } } }] } } }),
        ] {
            check(&world, &world.client(), &Call::send(message), expected, storage).await;
        }
    }
}

fn marketing() -> Call {
    let body = json!({ "messaging_product": "whatsapp", "to": "+15550100001", "type": "template",
        "template": { "name": "sale", "language": { "code": "en" } } });
    Call::post("/v23.0/1001/marketing_messages", &body)
}

fn encrypted() -> Call {
    let body = json!({ "messaging_product": "whatsapp", "encrypted_contents": "eyJhbGciOiJSU0Et" });
    Call::post("/v23.0/1001/messages_encrypted", &body)
}

/// The calls behind each name of `allow_unverified`.
fn unverified() -> Vec<(&'static str, Call)> {
    let call = |more: &str| {
        let mut body = json!({ "messaging_product": "whatsapp", "to": "+15550100001", "action": "connect" });
        body[more] = json!({ "status": "ENABLED" });
        Call::post("/v23.0/1001/calls", &body)
    };
    let flow_json = Form::new()
        .file("application/json", b"{}")
        .field("name", "flow.json")
        .field("asset_type", "FLOW_JSON");
    let group = "/v23.0/Y2FwaV9ncm91cDoxNzA1NTU1MDEzOToxMjAzNjM0MDQ2OTQyMzM4MjAZD";
    vec![
        ("marketing_messages", marketing()),
        ("messages_encrypted", encrypted()),
        (
            "resumable_upload",
            Call::post(
                "/v23.0/77/uploads?file_name=a.png&file_length=5&file_type=image/png",
                &json!({}),
            ),
        ),
        (
            "resumable_upload",
            Call::bare(Method::POST, "/v23.0/upload:MTphdHRh").of_type("application/octet-stream", b"bytes"),
        ),
        ("resumable_upload", Call::get("/v23.0/upload:MTphdHRh")),
        (
            "flow_assets",
            Call::post(
                "/v23.0/5001/flows",
                &json!({ "name": "a", "categories": ["OTHER"] }),
            ),
        ),
        (
            "flow_assets",
            Call::post("/v23.0/5001/migrate_flows", &json!({ "source_waba_id": "5002" })),
        ),
        ("flow_assets", Call::form("/v23.0/77/assets", &flow_json)),
        ("flow_assets", Call::post("/v23.0/77/publish", &json!({}))),
        ("flow_assets", Call::post("/v23.0/77/deprecate", &json!({}))),
        (
            "group_picture",
            Call::post("/v23.0/1001/groups", &json!({ "subject": "a" })),
        ),
        ("group_picture", Call::post(group, &json!({ "description": "a" }))),
        ("group_picture", Call::form(group, &Form::image())),
        ("call_recording", call("recording")),
        ("call_recording", call("transcription")),
        (
            "signups",
            Call::post("/v23.0/5001/signups", &json!({ "confirmation_message": "a" })),
        ),
        (
            "welcome_sequences",
            Call::post("/v23.0/5001/welcome_message_sequences", &json!({ "name": "a" })),
        ),
    ]
}

#[tokio::test]
async fn what_is_not_documented_under_a_mode_is_refused_there() {
    let rows: Vec<_> = unverified()
        .into_iter()
        .map(|(name, call)| {
            let expected = match name {
                "marketing_messages" => [PASS, PASS, "forbidden_by_mode"],
                "messages_encrypted" => nowhere("forbidden_by_mode"),
                _ => only_default("forbidden_by_mode"),
            };
            (call, expected)
        })
        .collect();
    check_rows(&rows).await;
    // A call that is not recorded leaves nothing behind.
    let plain = json!({ "messaging_product": "whatsapp", "to": "+15550100001", "action": "connect" });
    check_rows(&[(Call::post("/v23.0/1001/calls", &plain), EVERYWHERE)]).await;
}

#[tokio::test]
async fn allow_unverified_opens_what_it_names_and_nothing_else() {
    let mut names: Vec<_> = unverified().into_iter().map(|(name, _)| name).collect();
    names.dedup();
    assert_eq!(names.len(), 8);
    for named in names {
        let world = World::of(&policy(MODES[2], &format!("allow_unverified = [\"{named}\"]"))).await;
        for (name, call) in unverified() {
            let expected = if name == named { PASS } else { "forbidden_by_mode" };
            check(&world, &world.client(), &call, expected, named).await;
        }
        let hologram = Call::send(json!({ "type": "hologram", "hologram": {} }));
        check(&world, &world.client(), &hologram, "unknown_message_type", named).await;
        let redirect = Call::post("/v23.0/77/subscriptions", &json!({}));
        check(&world, &world.client(), &redirect, "webhook_redirect", named).await;
    }
    let world = World::of(&policy(MODES[2], "allow_unverified = [\"hologram\"]")).await;
    let of_type = |kind: &str| Call::send(json!({ "type": kind, "hologram": {} }));
    check(&world, &world.client(), &of_type("hologram"), PASS, "hologram").await;
    for (call, expected) in [
        (of_type("Hologram"), "unknown_message_type"),
        (of_type("hologram2"), "unknown_message_type"),
        (marketing(), "forbidden_by_mode"),
        (
            Call::send(
                json!({ "type": "hologram", "hologram": { "image": { "link": "https://cdn.bank.example/a" } } }),
            ),
            "undocumented_reference",
        ),
    ] {
        check(&world, &world.client(), &call, expected, "hologram").await;
    }
    // Encrypted messages are opaque, so a default number needs the word as well.
    let world = World::of(&policy(MODES[0], "allow_unverified = [\"messages_encrypted\"]")).await;
    check(&world, &world.client(), &encrypted(), PASS, "default").await;
}

#[tokio::test]
async fn reads_and_management_pass_everywhere_without_expansion() {
    let template = json!({ "name": "a", "language": "en", "category": "UTILITY", "components": [] });
    let users = json!({ "messaging_product": "whatsapp", "block_users": [{ "user": "+15550100001" }] });
    let mut unblock = Call::post("/v23.0/1001/block_users", &users);
    unblock.method = Method::DELETE;
    let query = nowhere("query_not_allowed");
    check_rows(&[
        (Call::get("/v23.0/1001"), EVERYWHERE),
        (Call::get("/v23.0/1001?fields=id,status,throughput"), EVERYWHERE),
        (
            Call::get("/v23.0/1001/whatsapp_business_profile?fields=about,email"),
            EVERYWHERE,
        ),
        (Call::get("/v23.0/5001"), EVERYWHERE),
        (
            Call::get("/v23.0/5001/phone_numbers?fields=id,display_phone_number&limit=5"),
            EVERYWHERE,
        ),
        (
            Call::get("/v23.0/5001/message_templates?fields=name,status&limit=5"),
            EVERYWHERE,
        ),
        (Call::get("/v23.0/5001/subscribed_apps"), EVERYWHERE),
        (Call::post("/v23.0/5001/message_templates", &template), EVERYWHERE),
        (
            Call::bare(Method::DELETE, "/v23.0/5001/message_templates?name=a"),
            EVERYWHERE,
        ),
        (
            Call::post(
                "/v23.0/1001/whatsapp_business_profile",
                &json!({ "messaging_product": "whatsapp" }),
            ),
            EVERYWHERE,
        ),
        (Call::post("/v23.0/1001/block_users", &users), EVERYWHERE),
        (unblock, EVERYWHERE),
        (
            Call::bare(
                Method::POST,
                "/v23.0/1001/request_code?code_method=SMS&language=en_US",
            ),
            EVERYWHERE,
        ),
        (
            Call::bare(Method::POST, "/v23.0/1001/verify_code?code=123456"),
            EVERYWHERE,
        ),
        (Call::get("/v23.0/5001?fields=phone_numbers%7Bid%7D"), query),
        (Call::get("/v23.0/5001?fields=message_templates.limit(5)"), query),
        (
            Call::get("/v23.0/1001?fields=whatsapp_business_profile%7Babout%7D"),
            query,
        ),
        (Call::get("/v23.0/1001?fields=messages"), query),
        (Call::get("/v23.0/1001?metadata=1"), query),
    ])
    .await;
}

#[tokio::test]
async fn graphs_own_doors_are_shut_everywhere() {
    let unknown = nowhere("unknown_operation");
    let query = nowhere("query_not_allowed");
    check_rows(&[
        (Call::get("/debug_token?input_token=EAAG"), unknown),
        (Call::get("/v23.0/debug_token?input_token=EAAG"), unknown),
        (
            Call::get("/v23.0/oauth/access_token?grant_type=client_credentials"),
            unknown,
        ),
        (Call::get("/v23.0/me"), unknown),
        (Call::get("/me/accounts"), unknown),
        (Call::get("/"), unknown),
        (Call::get("/v23.0/"), unknown),
        (Call::get("/?ids=1001"), unknown),
        (Call::get("/?id=1001"), unknown),
        (Call::get("/messages?ids=1001"), unknown),
        (Call::post("/", &json!({ "batch": [] })), unknown),
        (Call::post("/v23.0", &json!({ "batch": [] })), unknown),
        (Call::get("/v23.0/1001?ids=1001"), query),
        (Call::get("/v23.0/1001?batch=%5B%5D"), query),
        (Call::get("/v23.0/1001?method=post"), query),
    ])
    .await;
}

/// A call whose path names no number is judged by the strictest mode among the caller's numbers.
#[tokio::test]
async fn what_names_no_number_is_judged_by_the_strictest_of_the_callers() {
    let number = |id: u64, storage: &str| {
        format!("[[number]]\nphone_number_id = \"{id}\"\nwaba_id = \"5001\"\nstorage = {storage}\n")
    };
    let all = ["send", "media", "read", "storage", "manage"];
    let policies = [
        number(1001, MODES[0]),
        number(1002, MODES[1]),
        number(1003, MODES[2]).replace("storage =", "allow_unverified = [\"signups\"]\nstorage ="),
        caller_table("plain", "plain-key", &[1001], &all),
        caller_table("mixed", "mixed-key", &[1001, 1002], &all),
        caller_table("strict", "strict-key", &[1003], &all),
        caller_table("every", "every-key", &[1001, 1002, 1003], &all),
    ]
    .concat();
    let world = World::of(&policies).await;
    let signup = Call::post("/v23.0/5001/signups", &json!({ "confirmation_message": "a" }));
    let flow = Call::post("/v23.0/77/publish", &json!({}));
    let no = "forbidden_by_mode";
    for (key, of_signup, of_flow) in [
        ("plain-key", PASS, PASS),
        ("mixed-key", no, no),
        ("strict-key", PASS, no),
        // Named by the one that is strictest, and not by the other that needs it.
        ("every-key", no, no),
    ] {
        check(&world, &world.caller(key), &signup, of_signup, key).await;
        check(&world, &world.caller(key), &flow, of_flow, key).await;
    }
}

#[tokio::test]
async fn each_use_of_allow_unverified_is_recorded() {
    const NUMBER: u64 = 7772;
    log::listen();
    let policies = policy(
        MODES[2],
        "allow_unverified = [\"marketing_messages\", \"hologram\"]",
    );
    let world = World::of(&policies.replace("1001", &NUMBER.to_string())).await;
    let hologram = json!({ "type": "hologram", "hologram": {} });
    for mut call in [
        marketing(),
        Call::send(hologram.clone()),
        Call::post("/v23.0/1001/marketing_messages", &hologram),
        Call::send(json!({ "text": { "body": "x" } })),
    ] {
        call.target = call.target.replace("1001", &NUMBER.to_string());
        call.run(&world.client()).await;
    }
    let uses: Vec<_> = log::about(NUMBER)
        .iter()
        .map(|line| line.get("unverified").cloned().unwrap_or_default())
        .collect();
    assert_eq!(
        uses,
        [
            json!("marketing_messages"),
            json!("message type hologram"),
            json!("marketing_messages, message type hologram"),
            Value::Null
        ]
    );
}
