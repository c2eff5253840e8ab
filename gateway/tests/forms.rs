//! Promise: the other doors by which files get to Meta (Flow assets, group pictures, resumable uploads) are open where nothing was
//! promised, shut where something was, and what passes is what was judged.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use aws_lc_rs::digest;
use bytes::Bytes;
use common::form::{Form, PNG};
use common::raw::{Raw, upload_head};
use common::{Client, Reply, TOKEN, World, caller_table, log, soon};
use curfew_emulator::Received;
use http::Method;
use serde_json::{Value, json};

const PLAIN: &str = r#"{ mode = "default" }"#;
const RESTRICTED: [&str; 2] = [
    r#"{ mode = "in_country", region = "DE" }"#,
    r#"{ mode = "no_storage" }"#,
];

fn number(id: u64, storage: &str, more: &str) -> String {
    format!("[[number]]\nphone_number_id = \"{id}\"\nwaba_id = \"5001\"\nstorage = {storage}\n{more}\n")
}

/// A world with one Flow and one group, both made at Meta beside the gateway.
struct Stage {
    world: World,
    flow: String,
    group: String,
}

impl Stage {
    async fn of(policies: &str) -> Self {
        let world = World::of(policies).await;
        let meta = Client::new(world.emulator.addr()).bearer(TOKEN);
        let id = async |target: &str, body: Value| {
            let reply = meta.post(target, &body).await;
            reply.json()["id"].as_str().expect("an id").to_owned()
        };
        let flow = id(
            "/v23.0/5001/flows",
            json!({ "name": "a", "categories": ["OTHER"] }),
        )
        .await;
        let group = id("/v23.0/1001/groups", json!({ "subject": "a" })).await;
        world.emulator.clear_record();
        Self {
            flow: format!("/v23.0/{flow}/assets"),
            group: format!("/v23.0/{group}"),
            world,
        }
    }

    /// What was stored by other doors than `/media`: door and digest.
    fn stored(&self) -> Vec<(&'static str, String)> {
        let stored = self.world.emulator.other_content();
        stored
            .into_iter()
            .map(|content| (content.door, content.sha256))
            .collect()
    }

    /// The requests that came to Meta whole.
    fn whole(&self) -> Vec<Received> {
        let received = self.world.emulator.received();
        received
            .into_iter()
            .filter(|received| received.complete && !received.path.ends_with("/settings"))
            .collect()
    }
}

fn sha256(bytes: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, bytes);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

const FLOW_JSON: &[u8] = b"{\"version\":\"7.0\",\r\n--\"screens\":[]}\r\n";

fn part(name: &str, content_type: &str, content: &[u8]) -> (String, Vec<u8>) {
    let headers = format!(
        "Content-Type: {content_type}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"flow.json\""
    );
    (headers, content.to_vec())
}

fn field(name: &str, value: &str) -> (String, Vec<u8>) {
    let headers = format!("Content-Disposition: form-data; name=\"{name}\"");
    (headers, value.as_bytes().to_vec())
}

fn form(parts: &[(String, Vec<u8>)]) -> Form {
    parts
        .iter()
        .fold(Form::new(), |form, (headers, content)| form.raw(headers, content))
}

fn asset() -> [(String, Vec<u8>); 3] {
    [
        part("file", "application/json", FLOW_JSON),
        field("name", "flow.json"),
        field("asset_type", "FLOW_JSON"),
    ]
}

fn picture(name: &str) -> [(String, Vec<u8>); 2] {
    [
        field("messaging_product", "whatsapp"),
        part(name, "image/jpeg", PNG),
    ]
}

/// Every order of these parts.
fn orders(parts: &[(String, Vec<u8>)]) -> Vec<Vec<(String, Vec<u8>)>> {
    if parts.len() < 2 {
        return vec![parts.to_vec()];
    }
    (0..parts.len())
        .flat_map(|first| {
            let mut rest = parts.to_vec();
            let first = rest.remove(first);
            orders(&rest).into_iter().map(move |mut order| {
                order.insert(0, first.clone());
                order
            })
        })
        .collect()
}

/// The parts of a form as Meta got it, in the gateway's own order: what stands between its boundaries.
fn parts_of(received: &Received) -> Vec<String> {
    let content_type = received.header("content-type").expect("a type");
    let (_, boundary) = content_type.split_once("boundary=").expect("a boundary");
    let body = received.body.as_ref().expect("a body");
    let body = String::from_utf8_lossy(body).into_owned();
    let closed = format!("\r\n--{boundary}--\r\n");
    let inner = body.strip_suffix(&closed).expect("its closing boundary");
    let inner = inner
        .strip_prefix(&format!("--{boundary}\r\n"))
        .expect("its boundary");
    inner
        .split(&format!("\r\n--{boundary}\r\n"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn a_flow_asset_passes_byte_for_byte_in_any_order_of_parts() {
    let stage = Stage::of(&number(1001, PLAIN, "")).await;
    let client = stage.world.client();
    let orders = orders(&asset());
    assert_eq!(orders.len(), 6);
    for order in &orders {
        let reply = client.post_form(&stage.flow, &form(order)).await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()),
            (200, json!({ "success": true, "validation_errors": [] }))
        );
    }
    assert_eq!(stage.stored(), vec![("flow_assets", sha256(FLOW_JSON)); 6]);
    for received in stage.whole() {
        let file = String::from_utf8_lossy(FLOW_JSON);
        assert_eq!(
            parts_of(&received),
            [
                format!(
                    "Content-Disposition: form-data; name=\"file\"; filename=\"flow.json\"\r\n\
                     Content-Type: application/json\r\n\r\n{file}"
                ),
                "Content-Disposition: form-data; name=\"name\"\r\n\r\nflow.json".to_owned(),
                "Content-Disposition: form-data; name=\"asset_type\"\r\n\r\nFLOW_JSON".to_owned(),
            ]
        );
        assert!(
            !received
                .header("content-type")
                .expect("a type")
                .contains("a-callers-boundary")
        );
    }
    let listed = client.get(&stage.flow).await.json();
    assert_eq!(listed["data"][0]["asset_type"], "FLOW_JSON");
    assert_eq!(listed["data"][0]["download_url"], "");
}

#[tokio::test]
async fn a_group_takes_a_picture_under_either_name_and_its_texts_as_before() {
    let stage = Stage::of(&number(1001, PLAIN, "")).await;
    let client = stage.world.client();
    for name in ["file", "profile_picture_file"] {
        for order in orders(&picture(name)) {
            let reply = client.post_form(&stage.group, &form(&order)).await;
            assert_eq!(
                (reply.status.as_u16(), reply.json()),
                (200, json!({ "success": true }))
            );
            let parts = parts_of(stage.whole().last().expect("a request"));
            let head = format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"flow.json\"\r\n");
            assert!(parts[0].starts_with(&head), "{parts:?}");
            assert!(
                parts[1].ends_with("name=\"messaging_product\"\r\n\r\nwhatsapp"),
                "{parts:?}"
            );
        }
    }
    assert_eq!(stage.stored(), vec![("group_picture", sha256(PNG)); 4]);

    let texts = r#"{ "messaging_product": "whatsapp",  "subject":"new" }"#;
    let reply = client.post_text(&stage.group, texts).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let received = stage.whole().pop().expect("a request");
    assert_eq!(received.body.as_deref(), Some(texts.as_bytes()));
    assert_eq!(received.header("content-type"), Some("application/json"));
    let reply = client.get(&format!("{}?fields=subject", stage.group)).await;
    assert_eq!(reply.json()["subject"], "new");
    let other = [("content-type", "text/plain")];
    let reply = client
        .send(Method::POST, &stage.group, &other, Bytes::from_static(b"{}"))
        .await;
    reply.assert_refused(400, 100, "content_type");
    reply.assert_names(&["application/json", "multipart/form-data"]);
}

/// Forms that are more, or less, than this file with these fields, each with the reason for which it is refused.
fn hostile(file: &(String, Vec<u8>), own: &[(String, Vec<u8>)]) -> Vec<(Form, &'static str)> {
    let last = |more: (String, Vec<u8>)| form(&[std::slice::from_ref(file), own, &[more]].concat());
    let first = |more: (String, Vec<u8>)| form(&[&[more], own, std::slice::from_ref(file)].concat());
    let headers = |text: &str| (text.to_owned(), Vec::new());
    let doubled = || (own[0].0.clone(), b"other".to_vec());
    let nested =
        || headers("Content-Disposition: form-data; name=\"a\"\r\nContent-Type: multipart/mixed; boundary=x");
    let two_names = || headers("Content-Disposition: form-data; name=\"a\"; name=\"b\"");
    let mut forms = vec![
        (form(own), "form_file_missing"),
        (last(file.clone()), "form_field_twice"),
        (last(doubled()), "form_field_twice"),
        (first(doubled()), "form_field_twice"),
        (last(nested()), "form_nested_multipart"),
        (first(two_names()), "form_disposition_twice"),
    ];
    for name in [
        "batch",
        "method",
        "_method",
        "access_token",
        "ids",
        "include_headers",
        "ttl_minutes",
        "type",
        "subject",
        "File",
        "file[]",
        "endpoint_uri",
    ] {
        forms.push((last(field(name, "[]")), "form_field_unknown"));
        forms.push((first(field(name, "[]")), "form_field_unknown"));
        forms.push((last(part(name, "image/png", b"x")), "form_field_unknown"));
    }
    forms
}

#[tokio::test]
async fn a_form_with_anything_more_is_refused_and_nothing_of_it_is_whole_at_meta() {
    let stage = Stage::of(&number(1001, PLAIN, "")).await;
    let client = stage.world.client();
    let [json_file, name, kind] = asset();
    let [product, jpeg] = picture("file");
    let cases = hostile(&json_file, &[kind, name])
        .into_iter()
        .map(|(form, reason)| (&stage.flow, form, reason))
        .chain(
            hostile(&jpeg, &[product])
                .into_iter()
                .map(|(form, reason)| (&stage.group, form, reason)),
        );
    let mut tried = 0;
    for (target, form, reason) in cases {
        let reply = client.post_form(target, &form).await;
        reply.assert_refused(400, 100, reason);
        tried += 1;
    }
    assert_eq!(tried, 84);
    let both = form(&[&picture("file")[..], &picture("profile_picture_file")[1..]].concat());
    let reply = client.post_form(&stage.group, &both).await;
    reply.assert_refused(400, 100, "form_field_twice");
    reply.assert_names(&["profile_picture_file", "one file"]);
    let reply = client
        .post_form(
            &stage.flow,
            &form(&[&asset()[..], &[field("batch", "[]")]].concat()),
        )
        .await;
    reply.assert_names(&["\"batch\"", "a Flow asset", "file, name and asset_type"]);

    // Cut off, and in an encoding that is none.
    let whole = form(&asset()).bytes();
    let content_type = form(&asset()).content_type();
    for (content_type, body, reason) in [
        (
            content_type.as_str(),
            whole.slice(..whole.len() - 4),
            "form_cut_off",
        ),
        (
            "multipart/form-data; boundary=a; boundary=b",
            whole.clone(),
            "form_boundary_twice",
        ),
        ("multipart/mixed; boundary=a", whole.clone(), "content_type"),
        ("application/json", Bytes::from_static(b"{}"), "content_type"),
        (
            "application/x-www-form-urlencoded",
            Bytes::from_static(b"batch=[]"),
            "content_type",
        ),
    ] {
        let headers = [("content-type", content_type)];
        let reply = client.send(Method::POST, &stage.flow, &headers, body).await;
        reply.assert_refused(400, 100, reason);
    }
    for target in ["?batch=[]", "?method=DELETE", "?access_token=x", "?name=a"] {
        let target = format!("{}{target}", stage.flow);
        let reply = client.post_form(&target, &form(&asset())).await;
        reply.assert_refused(400, 100, "query_not_allowed");
    }
    assert!(stage.stored().is_empty());
    assert!(stage.whole().is_empty(), "{:?}", stage.whole());
}

#[tokio::test]
async fn a_file_longer_than_its_form_may_have_is_broken_off() {
    const MIB: usize = 1024 * 1024;
    let stage = Stage::of(&number(1001, PLAIN, "")).await;
    let client = stage.world.client();
    for (target, name, most) in [
        (&stage.flow, "file", 10 * MIB),
        (&stage.group, "profile_picture_file", 5 * MIB),
    ] {
        let of_length = |length| form(&[part(name, "image/jpeg", &vec![b'x'; length])]);
        let reply = client.post_form(target, &of_length(most + 1)).await;
        reply.assert_refused(400, 131_053, "form_file_too_long");
        reply.assert_names(&[&most.to_string()]);
        assert!(stage.whole().is_empty());
        let reply = client.post_form(target, &of_length(most)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        stage.world.emulator.clear_record();
    }
}

#[tokio::test]
async fn a_restricted_number_is_refused_before_a_byte_of_the_form_is_read() {
    for storage in RESTRICTED {
        let stage = Stage::of(&number(1001, storage, "")).await;
        for (target, form) in [
            (&stage.flow, form(&asset())),
            (&stage.group, form(&picture("file"))),
            (&stage.group, form(&picture("profile_picture_file"))),
        ] {
            let reply = stage.world.client().post_form(target, &form).await;
            reply.assert_refused(403, 131_005, "forbidden_by_mode");
            // Nor is anybody asked to send it.
            let mut caller = Raw::connect(stage.world.gateway.addr).await;
            caller
                .send(upload_head(target, 1 << 20, "Expect: 100-continue\r\n"))
                .await;
            let reply: Reply = soon(caller.answer()).await;
            reply.assert_refused(403, 131_005, "forbidden_by_mode");
        }
        assert!(stage.world.reached().is_empty(), "{:?}", stage.world.reached());
        assert!(stage.stored().is_empty());
    }
}

#[tokio::test]
async fn allow_unverified_opens_each_door_by_its_name_and_each_use_is_recorded() {
    log::listen();
    for (named, opened) in [("flow_assets", "flow"), ("group_picture", "group")] {
        let allow = format!("allow_unverified = [\"{named}\"]");
        let stage = Stage::of(&number(1001, RESTRICTED[1], &allow)).await;
        let client = stage.world.client();
        for (door, target, form, file) in [
            ("flow", &stage.flow, form(&asset()), FLOW_JSON),
            ("group", &stage.group, form(&picture("file")), PNG),
        ] {
            let reply = client.post_form(target, &form).await;
            if door == opened {
                assert_eq!(reply.status, 200, "{}", reply.text());
                assert_eq!(stage.stored(), [(named, sha256(file))]);
            } else {
                reply.assert_refused(403, 131_005, "forbidden_by_mode");
                reply.assert_names(&["allow_unverified"]);
            }
        }
        let uses = log::with("unverified", &json!(named));
        let statuses: Vec<_> = uses.iter().map(|line| line["status"].clone()).collect();
        assert_eq!(statuses, [json!(200)]);
    }
}

/// Neither path names a number: the strictest of the caller's numbers judges.
#[tokio::test]
async fn what_names_no_number_is_judged_by_the_strictest_of_the_callers() {
    let all = ["send", "media", "read", "storage", "manage"];
    let policies = [
        number(1001, PLAIN, ""),
        number(1002, RESTRICTED[0], ""),
        caller_table("plain", "plain-key", &[1001], &all),
        caller_table("mixed", "mixed-key", &[1001, 1002], &all),
        caller_table(
            "sender",
            "sender-key",
            &[1001],
            &["send", "media", "read", "storage"],
        ),
    ]
    .concat();
    let stage = Stage::of(&policies).await;
    for (target, form) in [
        (&stage.flow, form(&asset())),
        (&stage.group, form(&picture("file"))),
    ] {
        let of = async |key: &str| stage.world.caller(key).post_form(target, &form).await;
        assert_eq!(of("plain-key").await.status, 200);
        of("mixed-key")
            .await
            .assert_refused(403, 131_005, "forbidden_by_mode");
        of("sender-key")
            .await
            .assert_refused(403, 131_005, "operation_not_allowed");
        of("no-key").await.assert_refused(401, 190, "unknown_caller");
    }
    assert_eq!(stage.stored().len(), 2);
}

/// Starts a resumable upload of this many bytes.
async fn session(client: &Client, app: u64, length: usize) -> String {
    let target = format!("/v23.0/{app}/uploads?file_name=a.png&file_length={length}&file_type=image/png");
    let reply = client.post(&target, &json!({})).await;
    format!("/v23.0/{}", reply.json()["id"].as_str().expect("a session"))
}

#[tokio::test]
async fn a_resumable_upload_goes_on_where_it_stopped() {
    let stage = Stage::of(&number(1001, PLAIN, "")).await;
    let client = stage.world.client();
    let session = session(&client, curfew_emulator::Options::default().app_id, 10).await;
    let from = async |offset: &str, bytes: &'static [u8]| {
        let headers = [("file_offset", offset), ("content-type", "image/png")];
        client
            .send(Method::POST, &session, &headers, Bytes::from_static(bytes))
            .await
    };
    let first = from("0", b"01234").await;
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(client.get(&session).await.json()["file_offset"], 5);
    // It is Meta that knows where the session is.
    let again = from("0", b"01234").await;
    assert_eq!((again.code(), again.reason()), (Some(100), None));
    let whole = from("5", b"56789").await;
    assert!(
        whole.json()["h"]
            .as_str()
            .is_some_and(|handle| !handle.is_empty())
    );
    let offsets: Vec<_> = stage
        .whole()
        .iter()
        .filter(|received| received.method == Method::POST && received.path.contains("upload:"))
        .map(|received| received.header("file_offset").map(str::to_owned))
        .collect();
    assert_eq!(offsets, ["0", "0", "5"].map(|offset| Some(offset.to_owned())));
    let stored = stage.stored();
    let pieces = [b"01234", b"56789"].map(|piece| ("resumable_upload", sha256(piece)));
    assert_eq!(stored, pieces);
}

#[tokio::test]
async fn an_offset_that_is_no_plain_number_is_refused() {
    let stage = Stage::of(&number(1001, PLAIN, "")).await;
    let client = stage.world.client();
    let session = session(&client, curfew_emulator::Options::default().app_id, 10).await;
    stage.world.emulator.clear_record();
    for offsets in [
        &["-5"][..],
        &["+5"],
        &["05"],
        &["5.0"],
        &["5e0"],
        &["0x5"],
        &["5, 5"],
        &["5;0"],
        &["five"],
        &[""],
        &["1000000000000000"],
        &["18446744073709551621"],
        &["5", "5"],
        &["0", "5"],
    ] {
        for method in [Method::POST, Method::GET] {
            let headers: Vec<_> = offsets.iter().map(|offset| ("file_offset", *offset)).collect();
            let body = if method == Method::POST { "01234" } else { "" };
            let reply = client.send(method, &session, &headers, Bytes::from(body)).await;
            reply.assert_refused(400, 100, "file_offset");
            reply.assert_names(&["file_offset", "plain digits"]);
        }
    }
    assert!(stage.world.reached().is_empty());
    // Elsewhere it is a header like any other, which goes no further.
    let reply = client
        .send(Method::GET, "/v23.0/1001", &[("file_offset", "x")], Bytes::new())
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(stage.whole()[0].header("file_offset"), None);
}

/// Monitoring lets what a rule refuses pass, and tells; what has more than one meaning it never lets pass.
#[tokio::test]
async fn under_monitoring_a_file_passes_and_a_hostile_form_does_not() {
    let policies = format!("enforcement = \"monitor\"\n{}", number(1001, RESTRICTED[1], ""));
    let stage = Stage::of(&policies).await;
    let client = stage.world.client();
    for (target, good) in [
        (&stage.flow, form(&asset())),
        (&stage.group, form(&picture("file"))),
    ] {
        let reply = client.post_form(target, &good).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("curfew-observed"), Some("forbidden_by_mode"));
        let reply = client.post_form(target, &good.field("batch", "[]")).await;
        reply.assert_refused(400, 100, "form_field_unknown");
    }
    assert_eq!(stage.stored().len(), 2);
    assert_eq!(stage.whole().len(), 2);
}
