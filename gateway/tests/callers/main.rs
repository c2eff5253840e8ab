//! Promise: a caller does what the policy lets it do with its own numbers, and learns nothing of others'. Meta sees the
//! gateway's token and nothing of the caller's.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;

mod media;
mod mutual_tls;

use std::collections::BTreeSet;

use common::form::{Form, PNG};
use common::{Client, DEFAULT, IN_COUNTRY, NO_STORAGE, Reply, Setup, TOKEN, World, caller_table};
use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use serde_json::json;

const NUMBERS: &str = r#"
[[number]]
phone_number_id = "1001"
waba_id = "5001"
storage = { mode = "no_storage" }

[[number]]
phone_number_id = "1002"
waba_id = "5002"
storage = { mode = "in_country", region = "DE" }

[[number]]
phone_number_id = "1003"
waba_id = "5002"
storage = { mode = "default" }
"#;

/// Of one number, with sends and media.
const BILLING: &str = "billing-key-0123456789";
/// Of the two other numbers, with media and reads.
const ARCHIVE: &str = "archive-key-0123456789";
/// Of all numbers, with everything.
const ADMIN: &str = "admin-key-0123456789";

fn policies() -> String {
    let all = ["send", "media", "read", "storage", "manage"];
    [
        NUMBERS.to_owned(),
        caller_table("billing", BILLING, &[NO_STORAGE], &["send", "media"]),
        caller_table("archive", ARCHIVE, &[IN_COUNTRY, DEFAULT], &["media", "read"]),
        caller_table("admin", ADMIN, &[NO_STORAGE, IN_COUNTRY, DEFAULT], &all),
    ]
    .concat()
}

async fn world() -> World {
    World::of(&policies()).await
}

#[tokio::test]
async fn a_caller_is_known_by_its_key_alone() {
    let world = world().await;
    assert_eq!(world.caller(BILLING).send_text(NO_STORAGE).await.status, 200);
    world.emulator.clear_record();

    let hash = policies();
    let hash = hash
        .split("key_sha256 = \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap();
    for key in [
        "another-key",
        &BILLING.to_uppercase(),
        &BILLING[1..],
        &format!("{BILLING}0"),
        hash,
        TOKEN,
    ] {
        let reply = world.caller(key).send_text(NO_STORAGE).await;
        reply.assert_refused(401, 190, "unknown_caller");
        assert!(!reply.text().contains(key), "{}", reply.text());
    }
    let anonymous = world.client().anonymous();
    let bearer = format!("Bearer {BILLING}");
    for headers in [
        &[][..],
        &[("authorization", "Bearer ")],
        &[("authorization", "Bearer")],
        &[("authorization", BILLING)],
        &[("authorization", &format!("Basic {BILLING}"))],
        &[("authorization", &format!("Bearer {BILLING}, Bearer {BILLING}"))],
        &[("authorization", &format!("Bearer {BILLING} {BILLING}"))],
        &[("x-authorization", &bearer)],
        &[("cookie", &format!("access_token={BILLING}"))],
        // Two, of which one is right, in either order.
        &[
            ("authorization", &bearer),
            ("authorization", "Bearer another-key"),
        ],
        &[
            ("authorization", "Bearer another-key"),
            ("authorization", &bearer),
        ],
        &[("authorization", &bearer), ("authorization", &bearer)],
    ] {
        let body = text().to_string();
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        let reply = anonymous
            .send(Method::POST, "/v23.0/1001/messages", &all, body.into())
            .await;
        reply.assert_refused(401, 190, "unknown_caller");
    }
    let with_token = format!("/v23.0/1001/messages?access_token={BILLING}");
    anonymous
        .post(&with_token, &text())
        .await
        .assert_refused(401, 190, "unknown_caller");
    assert!(world.emulator.received().is_empty());
}

fn text() -> serde_json::Value {
    json!({ "messaging_product": "whatsapp", "to": "+15550100001", "type": "text", "text": { "body": "Hello" } })
}

#[tokio::test]
async fn the_schemes_name_may_be_written_in_any_case_and_as_the_resumable_upload_api_does() {
    let world = world().await;
    for scheme in ["bearer", "BEARER", "OAuth"] {
        let authorization = format!("{scheme} {BILLING}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
        ];
        let client = world.client().anonymous();
        let reply = client.send(
            Method::POST,
            "/v23.0/1001/messages",
            &headers,
            text().to_string().into(),
        );
        assert_eq!(reply.await.status, 200, "{scheme}");
    }
}

#[tokio::test]
async fn a_caller_stays_with_its_numbers_and_accounts() {
    let world = world().await;
    let billing = world.caller(BILLING);
    let archive = world.caller(ARCHIVE);
    let refused = |reply: Reply, number: &str| {
        reply.assert_refused(403, 131_005, "number_not_allowed");
        reply
            .text()
            .replace(number, "N")
            .replace(trace_id(&reply).as_str(), "T")
    };
    // A number that is somebody else's and one that is nobody's look alike.
    let theirs = refused(billing.send_text(DEFAULT).await, "1003");
    let nobodys = refused(billing.send_text(4242).await, "4242");
    assert_eq!(theirs, nobodys);
    let form = Form::image();
    refused(billing.post_form("/v23.0/1002/media", &form).await, "1002");
    refused(archive.get("/v23.0/1001/settings").await, "1001");
    // A number without an edge, too.
    refused(archive.get("/v23.0/1001").await, "1001");

    let reply = archive.get("/v23.0/5001/phone_numbers").await;
    reply.assert_refused(403, 131_005, "nothing_allowed");
    assert!(world.emulator.received().is_empty(), "{:?}", world.reached());
    assert_eq!(archive.get("/v23.0/5002/phone_numbers").await.status, 200);
    assert_eq!(archive.get("/v23.0/1003").await.status, 200);
}

fn trace_id(reply: &Reply) -> String {
    reply.json()["error"]["fbtrace_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_caller_stays_with_its_classes_of_calls() {
    let calls = [
        ("send", Method::POST, "/v23.0/1003/messages"),
        ("send", Method::POST, "/v23.0/1003/marketing_messages"),
        ("send", Method::POST, "/v23.0/1003/messages_encrypted"),
        ("media", Method::POST, "/v23.0/1003/media"),
        ("media", Method::GET, "/v23.0/77"),
        ("media", Method::DELETE, "/v23.0/77"),
        ("read", Method::GET, "/v23.0/1003"),
        ("read", Method::GET, "/v23.0/1003/settings"),
        ("read", Method::GET, "/v23.0/5002/message_templates"),
        ("storage", Method::POST, "/v23.0/1003/settings"),
        ("storage", Method::POST, "/v23.0/1003/register"),
        ("storage", Method::POST, "/v23.0/1003/deregister"),
        ("storage", Method::POST, "/v23.0/1003/request_code"),
        ("storage", Method::POST, "/v23.0/1003/verify_code"),
        ("manage", Method::POST, "/v23.0/1003"),
        ("manage", Method::POST, "/v23.0/1003/block_users"),
        ("manage", Method::POST, "/v23.0/5002/message_templates"),
        ("manage", Method::POST, "/v23.0/77/subscriptions"),
    ];
    let classes = ["send", "media", "read", "storage", "manage"];
    let tables: String = classes
        .map(|class| caller_table(class, &format!("{class}-key"), &[DEFAULT], &[class]))
        .concat();
    let world = World::of(&format!("{NUMBERS}{tables}")).await;
    for (needed, method, target) in calls {
        for class in classes {
            let client = world.caller(&format!("{class}-key"));
            let json = [("content-type", "application/json")];
            let reply = client
                .send(method.clone(), target, &json, Default::default())
                .await;
            if class == needed {
                assert_ne!(reply.reason(), Some("operation_not_allowed"), "{class} {target}");
            } else {
                reply.assert_refused(403, 131_005, "operation_not_allowed");
                reply.assert_names(&[&format!("\"{needed}\"")]);
            }
        }
    }
}

/// Everything that a caller can say of itself, and everything that must not come out on the other side.
#[tokio::test]
async fn meta_sees_the_gateways_token_and_nothing_of_the_callers() {
    let world = world().await;
    let admin = world.caller(ADMIN);
    let chatty = [
        ("cookie", "c_user=admin-cookie"),
        ("x-forwarded-for", "10.0.0.1"),
        ("forwarded", "for=10.0.0.1"),
        ("x-http-method-override", "DELETE"),
        ("x-hub-signature-256", "sha256=00"),
        ("referer", "http://intranet.bank.example/"),
        ("origin", "http://intranet.bank.example"),
        ("user-agent", "billing-service/7"),
        ("x-request-id", "intranet-42"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("accept-encoding", "gzip"),
        ("file_offset", "7"),
        ("proxy-authorization", "Basic eA=="),
        ("te", "trailers"),
        ("accept", "application/json"),
    ];
    let with = |content_type: &'static str| {
        let mut headers = chatty.to_vec();
        headers.push(("content-type", content_type));
        headers
    };
    let json = with("application/json");
    let form = Form::image();
    let multipart = form.content_type();
    let mut upload = chatty.to_vec();
    upload.push(("content-type", &multipart));

    let reply = admin
        .send(
            Method::POST,
            "/v23.0/1001/messages",
            &json,
            text().to_string().into(),
        )
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reply = admin
        .send(Method::POST, "/v23.0/1003/media", &upload, form.bytes())
        .await;
    let media = reply.media_id();
    let target = format!("/v23.0/{media}");
    let reply = admin.send(Method::GET, &target, &json, Default::default()).await;
    let url = reply.json()["url"].as_str().unwrap().to_owned();
    let glued = format!("{url}?access_token={ADMIN}");
    for url in [&url, &glued] {
        let reply = admin.send(Method::GET, url, &chatty, Default::default()).await;
        assert_eq!((reply.status, &reply.body[..]), (StatusCode::OK, PNG));
    }
    for target in ["/v23.0/1002", "/v23.0/5002/phone_numbers?limit=1"] {
        assert_eq!(
            admin
                .send(Method::GET, target, &json, Default::default())
                .await
                .status,
            200
        );
    }
    assert_eq!(
        admin
            .send(Method::DELETE, &target, &json, Default::default())
            .await
            .status,
        200
    );
    let settings = json!({ "calling": { "status": "DISABLED" } }).to_string();
    let reply = admin
        .send(Method::POST, "/v23.0/1002/settings", &json, settings.into())
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());

    let allowed: BTreeSet<&str> = [
        "accept",
        "authorization",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "user-agent",
    ]
    .into();
    let received = world.emulator.received();
    assert!(received.len() >= 10, "{:?}", world.reached());
    for request in received {
        let what = format!("{} {}", request.method, request.path);
        let names: BTreeSet<&str> = request.headers.keys().map(http::HeaderName::as_str).collect();
        assert!(names.is_subset(&allowed), "{what}: {names:?}");
        assert_eq!(names.len(), request.headers.len(), "{what}: a header twice");
        assert_eq!(
            request.header(AUTHORIZATION.as_str()),
            Some(&*format!("Bearer {TOKEN}")),
            "{what}"
        );
        assert!(
            request
                .header("user-agent")
                .is_some_and(|agent| agent.starts_with("curfew/")),
            "{what}"
        );
        let everything = format!(
            "{request:?}{}",
            String::from_utf8_lossy(request.body.as_deref().unwrap_or_default())
        );
        for secret in [
            ADMIN,
            "access_token",
            "admin-cookie",
            "10.0.0.1",
            "intranet",
            "billing-service",
        ] {
            assert!(!everything.contains(secret), "{what}: {secret} in {everything}");
        }
    }
}

/// A client of pass-through: its token goes on, and nothing else does.
#[tokio::test]
async fn in_pass_through_the_callers_own_token_goes_on() {
    let world = World::pass_through().await;
    let client = Client::new(world.gateway.addr).bearer(TOKEN);
    assert_eq!(client.send_text(DEFAULT).await.status, 200);
    let wrong = Client::new(world.gateway.addr)
        .bearer("another-token")
        .send_text(DEFAULT)
        .await;
    assert_eq!(
        (wrong.status.as_u16(), wrong.code(), wrong.reason()),
        (401, Some(190), None),
        "Meta's own answer"
    );
    let none = client.clone().anonymous().send_text(DEFAULT).await;
    none.assert_refused(401, 190, "unknown_caller");
    let tokens: Vec<_> = world
        .emulator
        .received()
        .iter()
        .map(|r| r.header("authorization").unwrap().to_owned())
        .collect();
    assert_eq!(
        tokens,
        [format!("Bearer {TOKEN}"), "Bearer another-token".to_owned()]
    );
}
