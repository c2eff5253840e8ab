//! Promise: where the policy says `media.reuse`, a file that Meta has already is not stored a second time, and the id that
//! stands for it is one that the caller may have, of a medium that lives long enough.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;
mod digest;

use std::collections::HashSet;

use common::form::{Form, PNG};
use common::{Client, DEFAULT, IN_COUNTRY, NO_STORAGE, Reply, Setup, TOKEN, World, caller_table, log, soon};
use curfew_emulator::{Effect, Fault, Operation, Received, State, Storage};
use serde_json::json;

/// The numbers of pass-through, each of which reuses media.
const NUMBERS: &str = r#"
[[number]]
phone_number_id = "1001"
waba_id = "5001"
storage = { mode = "no_storage" }
[number.media]
ttl_minutes = { min = 60, max = 1440, default = 120 }
reuse = true

[[number]]
phone_number_id = "1002"
waba_id = "5001"
storage = { mode = "in_country", region = "DE" }
media = { reuse = true }

[[number]]
phone_number_id = "1003"
waba_id = "5001"
storage = { mode = "default" }
media = { reuse = true }
"#;

fn target(number: u64) -> String {
    format!("/v23.0/{number}/media")
}

fn image(ttl: &str) -> Form {
    Form::image().field("ttl_minutes", ttl)
}

/// A small PDF with these parts in its headers.
fn pdf(name: &str, content: &[u8]) -> Form {
    let headers = format!(
        "Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: application/pdf"
    );
    Form::new()
        .field("messaging_product", "whatsapp")
        .raw(&headers, content)
}

async fn upload(client: &Client, number: u64, form: &Form) -> Reply {
    let reply = client.post_form(&target(number), form).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply
}

fn is_reused(reply: &Reply) -> bool {
    let said = reply.header("curfew-reused");
    assert!(matches!(said, None | Some("true")), "{said:?}");
    said.is_some()
}

fn uploads(world: &World) -> Vec<Received> {
    let mut received = world.emulator.received();
    received.retain(|call| call.operation == Operation::Upload);
    received
}

/// How many uploads came to their end at Meta, once none is under way.
async fn completed(world: &World) -> usize {
    soon(
        world
            .emulator
            .until(|emulator| emulator.received().iter().all(|call| call.ended)),
    )
    .await;
    uploads(world).iter().filter(|upload| upload.complete).count()
}

#[tokio::test]
async fn the_same_file_is_stored_once() {
    for (number, first, second) in [
        (NO_STORAGE, image("1440"), image("60")),
        (IN_COUNTRY, Form::image(), Form::image()),
        (DEFAULT, Form::image(), Form::image()),
    ] {
        let world = World::of(NUMBERS).await;
        let client = world.client();
        let first = upload(&client, number, &first).await;
        let second = upload(&client, number, &second).await;
        assert_eq!((is_reused(&first), is_reused(&second)), (false, true), "{number}");
        // Nothing of Meta's answer is missing that callers read.
        assert_eq!(first.json(), second.json());
        assert_eq!(first.header("content-type"), second.header("content-type"));
        assert_eq!(
            first.header("curfew-media-expires"),
            second.header("curfew-media-expires"),
            "the end is the first one's"
        );
        assert_eq!(completed(&world).await, 1);
        assert_eq!(world.emulator.media().len(), 1);
        let sent = client.send_image(number, second.media_id()).await;
        assert_eq!(sent.status, 200, "{}", sent.text());
    }
}

#[tokio::test]
async fn a_duplicate_is_broken_off_before_it_is_complete() {
    let world = World::of(NUMBERS).await;
    // More than fits into any buffer on the way, so that Meta sees the second begin.
    let form = pdf("a.pdf", &vec![7; 8 * 1024 * 1024]);
    upload(&world.client(), DEFAULT, &form).await;
    assert!(is_reused(&upload(&world.client(), DEFAULT, &form).await));
    assert_eq!((completed(&world).await, uploads(&world).len()), (1, 2));
    let stored = world.emulator.media();
    assert_eq!(stored.len(), 1);
    assert_eq!(world.emulator.media_bytes_kept(), stored[0].len);
}

#[tokio::test]
async fn without_the_policys_word_every_upload_is_metas() {
    let world = World::pass_through().await;
    let client = world.client();
    let ids = [
        upload(&client, DEFAULT, &Form::image()).await.media_id(),
        upload(&client, DEFAULT, &Form::image()).await.media_id(),
    ];
    assert_ne!(ids[0], ids[1]);
    assert_eq!(completed(&world).await, 2);
}

#[tokio::test]
async fn what_differs_in_anything_that_meta_sees_is_another_file() {
    let world = World::of(NUMBERS).await;
    let client = world.client();
    let mut ids = HashSet::new();
    let same_type =
        "Content-Disposition: form-data; name=\"file\"; filename=\"a.pdf\"\r\nContent-Type: application/pdf";
    let no_name = same_type.replace("; filename=\"a.pdf\"", "");
    let with_parameter = format!("{same_type}; version=2");
    let product = || Form::new().field("messaging_product", "whatsapp");
    for (what, target, form) in [
        ("the first", target(DEFAULT), pdf("a.pdf", b"content")),
        ("another number", target(IN_COUNTRY), pdf("a.pdf", b"content")),
        ("another name", target(DEFAULT), pdf("b.pdf", b"content")),
        ("other bytes", target(DEFAULT), pdf("a.pdf", b"Content")),
        ("less of it", target(DEFAULT), pdf("a.pdf", b"conten")),
        ("another type", target(DEFAULT), {
            let headers = same_type.replace("application/pdf", "text/plain");
            product().raw(&headers, b"content")
        }),
        (
            "another parameter",
            target(DEFAULT),
            product().raw(&with_parameter, b"content"),
        ),
        ("no name", target(DEFAULT), product().raw(&no_name, b"content")),
        (
            "a declared type",
            target(DEFAULT),
            pdf("a.pdf", b"content").field("type", "application/pdf"),
        ),
        (
            "a type in the query",
            format!("{}?type=application/pdf", target(DEFAULT)),
            pdf("a.pdf", b"content"),
        ),
    ] {
        let reply = client.post_form(&target, &form).await;
        assert_eq!(reply.status, 200, "{what}: {}", reply.text());
        assert!(!is_reused(&reply), "{what}");
        assert!(ids.insert(reply.media_id()), "{what}");
    }
    // Where its parts stand, and which version is spoken, makes no other file.
    let turned = Form::new()
        .raw(same_type, b"content")
        .field("messaging_product", "whatsapp");
    for (target, form) in [
        ("/v24.0/1003/media", pdf("a.pdf", b"content")),
        ("/1003/media", turned),
    ] {
        let reply = client.post_form(target, &form).await;
        assert!(is_reused(&reply), "{}", reply.text());
    }
    // What Meta refuses, it refuses of a known file too.
    let wrong = Form::new()
        .field("messaging_product", "messenger")
        .raw(same_type, b"content");
    let reply = client.post_form(&target(DEFAULT), &wrong).await;
    assert_eq!(
        (reply.status.as_u16(), reply.reason()),
        (400, None),
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn what_is_not_for_messages_is_uploaded_each_time() {
    let world = World::of(NUMBERS).await;
    let form = Form::image().field("description", "of a business");
    for _ in 0..2 {
        assert!(!is_reused(&upload(&world.client(), DEFAULT, &form).await));
    }
}

#[tokio::test]
async fn a_medium_that_ends_too_early_for_what_is_asked_stands_for_nothing() {
    let world = World::of(NUMBERS).await;
    let client = world.client();
    let first = upload(&client, NO_STORAGE, &image("180")).await.media_id();
    world.pass_minutes(100);
    // Eighty minutes are left.
    let reply = upload(&client, NO_STORAGE, &image("80")).await;
    assert_eq!((is_reused(&reply), reply.media_id()), (true, first));
    let reply = upload(&client, NO_STORAGE, &Form::image()).await;
    assert!(!is_reused(&reply), "the policy's default is asked for: 120");
    let second = reply.media_id();
    // Of both, the one that ends later stands for the next.
    let reply = upload(&client, NO_STORAGE, &image("60")).await;
    assert_eq!((is_reused(&reply), reply.media_id()), (true, second));
    world.pass_minutes(60);
    assert!(is_reused(&upload(&client, NO_STORAGE, &image("60")).await));
    world.pass_minutes(6);
    assert!(!is_reused(&upload(&client, NO_STORAGE, &image("60")).await));
    assert_eq!(completed(&world).await, 3);
}

#[tokio::test]
async fn a_medium_without_ttl_stands_for_others_until_its_last_day() {
    let world = World::of(NUMBERS).await;
    let client = world.client();
    let first = upload(&client, DEFAULT, &Form::image()).await.media_id();
    world.pass_minutes(29 * 24 * 60);
    assert_eq!(upload(&client, DEFAULT, &Form::image()).await.media_id(), first);
    world.pass_minutes(1);
    assert_ne!(upload(&client, DEFAULT, &Form::image()).await.media_id(), first);
}

#[tokio::test]
async fn what_was_deleted_stands_for_nothing() {
    let world = World::of(NUMBERS).await;
    let client = world.client();
    let first = upload(&client, DEFAULT, &Form::image()).await.media_id();
    let deleted = client
        .delete(&format!("/v23.0/{first}?phone_number_id=1003"))
        .await;
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    let second = upload(&client, DEFAULT, &Form::image()).await;
    assert!(!is_reused(&second));
    // Behind the gateway's back it can be deleted too. It is known as soon as Meta denies it.
    let direct = Client::new(world.emulator.addr()).bearer(TOKEN);
    let media = format!("/v23.0/{}", second.media_id());
    assert_eq!(direct.delete(&media).await.status, 200);
    let read = client.get(&format!("{media}?phone_number_id=1003")).await;
    assert_eq!(read.status, 400, "{}", read.text());
    assert!(!is_reused(&upload(&client, DEFAULT, &Form::image()).await));
    assert_eq!(
        world
            .emulator
            .media()
            .iter()
            .filter(|media| media.owner == DEFAULT)
            .count(),
        1
    );
}

#[tokio::test]
async fn what_may_be_gone_with_a_registration_stands_for_nothing() {
    let policies = NUMBERS.replace(
        "storage = { mode = \"default\" }",
        "storage = { mode = \"default\" }\nallow_deregister = true",
    );
    let world = World::of(&policies).await;
    let client = world.client();
    upload(&client, DEFAULT, &Form::image()).await;
    upload(&client, IN_COUNTRY, &Form::image()).await;
    let reply = client.post("/v23.0/1003/deregister", &json!({})).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    world.emulator.set_state(DEFAULT, State::Registered);
    assert!(!is_reused(&upload(&client, DEFAULT, &Form::image()).await));
    assert!(is_reused(&upload(&client, IN_COUNTRY, &Form::image()).await));
}

#[tokio::test]
async fn what_an_operator_purges_stands_for_nothing() {
    let world = World::of(NUMBERS).await;
    let client = world.client();
    let operator = Client::new(world.gateway.admin);
    let first = upload(&client, DEFAULT, &Form::image()).await.media_id();
    for order in [
        json!({ "media_id": first.to_string() }),
        json!({ "phone_number_id": DEFAULT.to_string() }),
    ] {
        assert!(is_reused(&upload(&client, DEFAULT, &Form::image()).await));
        let reply = operator.post("/purge", &order).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(!is_reused(&upload(&client, DEFAULT, &Form::image()).await));
    }
}

#[tokio::test]
async fn a_restart_remembers_no_upload() {
    let world = World::of(NUMBERS).await;
    upload(&world.client(), DEFAULT, &Form::image()).await;
    let world = world.restart().await;
    assert!(!is_reused(
        &upload(&world.client(), DEFAULT, &Form::image()).await
    ));
}

#[tokio::test]
async fn an_upload_that_meta_did_not_take_stands_for_nothing() {
    let world = World::of(NUMBERS).await;
    let client = world.client();
    let error = Effect::Error {
        status: 400,
        code: 131_053,
        subcode: None,
        details: None,
    };
    for effect in [error, Effect::ResetReply { after_bytes: 30 }, Effect::Garbage] {
        world
            .emulator
            .fault(Fault::new(Operation::Upload, effect).times(1));
        let reply = client.post_form(&target(DEFAULT), &Form::image()).await;
        assert_ne!(reply.status, 200);
    }
    assert!(!is_reused(&upload(&client, DEFAULT, &Form::image()).await));
    assert!(is_reused(&upload(&client, DEFAULT, &Form::image()).await));
}

#[tokio::test]
async fn a_refused_upload_is_refused_though_its_file_is_known() {
    let world = World::of(NUMBERS).await;
    let client = world.client();
    upload(&client, NO_STORAGE, &image("1440")).await;
    for ttl in ["59", "1441", "060"] {
        let reply = client.post_form(&target(NO_STORAGE), &image(ttl)).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code()),
            (400, Some(131_009)),
            "{ttl}"
        );
    }
    let twice = Form::image().file("image/png", PNG);
    let reply = client.post_form(&target(NO_STORAGE), &twice).await;
    reply.assert_refused(400, 100, "form_field_twice");
    world.emulator.set_storage(NO_STORAGE, Storage::Default);
    world.pass_minutes(15);
    let reply = client.post_form(&target(NO_STORAGE), &image("60")).await;
    reply.assert_refused(503, 131_005, "settings_differ");
    assert_eq!(completed(&world).await, 1);
}

#[tokio::test]
async fn in_pass_through_a_file_is_known_for_the_same_token_only() {
    let world = World::of(NUMBERS).await;
    upload(&world.client(), DEFAULT, &Form::image()).await;
    let stranger = world.caller("EAAG-of-somebody-else");
    let reply = stranger.post_form(&target(DEFAULT), &Form::image()).await;
    assert_eq!(
        (reply.status.as_u16(), reply.reason()),
        (401, None),
        "Meta's own no: {}",
        reply.text()
    );
}

fn two_callers() -> String {
    format!(
        "{NUMBERS}{}{}{}",
        caller_table("billing", "key-of-billing", &[NO_STORAGE, DEFAULT], &["media"]),
        caller_table("support", "key-of-support", &[NO_STORAGE, DEFAULT], &["media"]),
        caller_table("otp", "key-of-otp", &[DEFAULT], &["send"]),
    )
}

#[tokio::test]
async fn callers_who_may_upload_for_a_number_share_its_files() {
    let world = World::of(&two_callers()).await;
    let first = upload(&world.caller("key-of-billing"), DEFAULT, &Form::image()).await;
    let second = upload(&world.caller("key-of-support"), DEFAULT, &Form::image()).await;
    assert_eq!(first.media_id(), second.media_id());
    let reply = world
        .caller("key-of-otp")
        .post_form(&target(DEFAULT), &Form::image())
        .await;
    reply.assert_refused(403, 131_005, "operation_not_allowed");
}

#[tokio::test]
async fn what_is_only_watched_passes_as_it_came() {
    let world = World::of(&format!("enforcement = \"monitor\"\n{NUMBERS}")).await;
    let client = world.client();
    upload(&client, NO_STORAGE, &image("1440")).await;
    for _ in 0..2 {
        let reply = upload(&client, NO_STORAGE, &image("1441")).await;
        assert!(!is_reused(&reply));
        assert_eq!(reply.header("curfew-observed"), Some("ttl_out_of_bounds"));
    }
    assert!(is_reused(&upload(&client, NO_STORAGE, &image("60")).await));
}

#[tokio::test]
async fn two_at_once_both_go_to_meta_and_the_third_to_neither() {
    let world = World::of(NUMBERS).await;
    let client = world.client();
    let form = Form::image();
    let (one, other) = tokio::join!(upload(&client, DEFAULT, &form), upload(&client, DEFAULT, &form));
    let third = upload(&client, DEFAULT, &form).await;
    assert!(is_reused(&third));
    assert!([one.media_id(), other.media_id()].contains(&third.media_id()));
}

#[tokio::test]
async fn the_log_says_that_an_upload_was_reused_and_nothing_of_the_file() {
    const NUMBER: u64 = 91_003;
    log::listen();
    let policies = NUMBERS.replace("\"1003\"", &format!("\"{NUMBER}\""));
    let world = World::start(Setup {
        policies,
        ..Setup::default()
    })
    .await;
    for _ in 0..2 {
        upload(&world.client(), NUMBER, &pdf("salary-list.pdf", b"content")).await;
    }
    let lines = log::about(NUMBER);
    let outcomes: Vec<_> = lines.iter().map(|line| line.get("outcome").cloned()).collect();
    assert_eq!(outcomes, [None, Some(json!("reused"))]);
    assert!(!format!("{lines:?}").contains("salary"));
}
