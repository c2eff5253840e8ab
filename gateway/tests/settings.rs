//! Promise: a number with a storage promise sends and uploads only while its settings at Meta are known to keep it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::form::Form;
use common::raw::{Raw, upload_head};
use common::{Client, DEFAULT, IN_COUNTRY, NO_STORAGE, Reply, Setup, TOKEN, World, soon};
use curfew_emulator::{Effect, Fault, Operation, Storage};
use futures_util::future::join_all;

fn declared(number: u64) -> Storage {
    if number == NO_STORAGE {
        Storage::NoStorage
    } else {
        Storage::InCountry("DE".to_owned())
    }
}

async fn upload(client: &Client, number: u64) -> Reply {
    client
        .post_form(&format!("/v23.0/{number}/media"), &Form::image())
        .await
}

#[track_caller]
fn assert_stopped(reply: &Reply, reason: &str) {
    reply.assert_refused(503, 131_005, reason);
    let seconds = reply
        .header("retry-after")
        .and_then(|text| text.parse::<u32>().ok());
    assert!(seconds.is_some_and(|seconds| seconds > 0), "{:?}", reply.headers);
}

/// Sends and uploads are stopped, and nothing of them goes to Meta.
async fn assert_is_stopped(world: &World, number: u64, reason: &str) {
    let before = world.reached();
    let kept = world.emulator.media_bytes_kept();
    assert_stopped(&world.client().send_text(number).await, reason);
    assert_stopped(&upload(&world.client(), number).await, reason);
    assert_eq!(world.reached(), before);
    assert_eq!(world.emulator.media_bytes_kept(), kept);
}

async fn assert_works(world: &World, number: u64) {
    let reply = world.client().send_text(number).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    world.client().upload(number).await;
}

#[tokio::test]
async fn settings_changed_behind_the_gateways_back_stop_sends_and_uploads_in_time() {
    for (number, changed) in [
        (NO_STORAGE, Storage::Default),
        (NO_STORAGE, Storage::InCountry("DE".to_owned())),
        (IN_COUNTRY, Storage::Default),
        (IN_COUNTRY, Storage::NoStorage),
        (IN_COUNTRY, Storage::InCountry("IN".to_owned())),
    ] {
        let world = World::pass_through().await;
        assert_works(&world, number).await;
        assert_eq!(world.settings_reads(number), 1);
        world.emulator.set_storage(number, changed);
        world.pass_minutes(14);
        assert_works(&world, number).await;
        assert_eq!(
            world.settings_reads(number),
            1,
            "a reading is good for 15 minutes"
        );
        world.pass_minutes(1);
        assert_is_stopped(&world, number, "settings_differ").await;
        assert_eq!(world.settings_reads(number), 2, "a stopped number asks seldom");

        world.emulator.set_storage(number, declared(number));
        world.pass_minutes(1);
        assert_works(&world, number).await;
    }
}

#[tokio::test]
async fn how_long_a_reading_is_good_is_the_policys_choice() {
    let policies = "[[number]]\nphone_number_id = \"1001\"\nverify_settings_minutes = 1\nstorage = { mode = \"no_storage\" }\n";
    let world = World::of(policies).await;
    assert_works(&world, NO_STORAGE).await;
    world.emulator.set_storage(NO_STORAGE, Storage::Default);
    world.time.advance(std::time::Duration::from_millis(59_999));
    assert_works(&world, NO_STORAGE).await;
    world.time.advance(std::time::Duration::from_millis(1));
    assert_is_stopped(&world, NO_STORAGE, "settings_differ").await;
}

#[tokio::test]
async fn a_wall_clock_set_back_stretches_no_reading() {
    let world = World::pass_through().await;
    assert_works(&world, NO_STORAGE).await;
    world.emulator.set_storage(NO_STORAGE, Storage::Default);
    world
        .time
        .set_wall(curfew_policies::Timestamp::from_millis(1_700_000_000_000));
    world
        .time
        .advance_monotonic(std::time::Duration::from_secs(15 * 60));
    assert_is_stopped(&world, NO_STORAGE, "settings_differ").await;
}

#[tokio::test]
async fn settings_that_cannot_be_read_stop_sends_and_uploads() {
    let error = |status, code| Effect::Error {
        status,
        code,
        subcode: None,
        details: None,
    };
    for (effect, reason) in [
        (error(500, 131_000), "settings_unverified"),
        (error(400, 80_008), "settings_unverified"),
        (error(401, 190), "settings_unverified"),
        (error(200, 100), "settings_differ"),
        (Effect::ResetRequest { after_bytes: 0 }, "settings_unverified"),
        (Effect::ResetReply { after_bytes: 40 }, "settings_unverified"),
        (Effect::TruncateReply { after_bytes: 20 }, "settings_unverified"),
        (Effect::Garbage, "settings_differ"),
        (
            Effect::Redirect {
                location: "http://127.0.0.1:9/".to_owned(),
            },
            "settings_unverified",
        ),
    ] {
        let world = World::pass_through().await;
        world.emulator.fault(Fault::new(Operation::Settings, effect));
        for number in [NO_STORAGE, IN_COUNTRY] {
            assert_is_stopped(&world, number, reason).await;
        }
        assert_works(&world, DEFAULT).await;
        world.emulator.clear_faults();
        world.pass_minutes(1);
        assert_works(&world, NO_STORAGE).await;
        assert_works(&world, IN_COUNTRY).await;
    }
}

#[tokio::test]
async fn a_caller_whose_token_cannot_read_the_settings_stops_nobody_else() {
    let world = World::pass_through().await;
    let stranger = world.caller("EAAG-not-a-token");
    for _ in 0..3 {
        assert_stopped(&stranger.send_text(NO_STORAGE).await, "settings_unverified");
        assert_works(&world, NO_STORAGE).await;
        world.pass_minutes(15);
    }
    assert_eq!(world.emulator.sent().len(), 3);
}

#[tokio::test]
async fn settings_calls_without_a_right_to_the_number_stop_nobody() {
    let world = World::pass_through().await;
    let stranger = world.caller("EAAG-not-a-token");
    let settings = serde_json::json!({
        "storage_configuration": { "status": "NO_STORAGE_ENABLED", "retention_minutes": 60 },
    });
    assert_works(&world, NO_STORAGE).await;
    for _ in 0..3 {
        let reply = stranger.post("/v23.0/1001/settings", &settings).await;
        assert_eq!(
            (reply.code(), reply.reason()),
            (Some(190), None),
            "{}",
            reply.text()
        );
        assert_works(&world, NO_STORAGE).await;
    }
    assert_eq!(world.settings_reads(NO_STORAGE), 1);
}

#[tokio::test]
async fn twenty_sends_at_once_read_the_settings_once() {
    let world = World::pass_through().await;
    world
        .emulator
        .fault(Fault::new(Operation::Settings, Effect::Latency { millis: 50 }));
    let client = world.client();
    let replies = join_all((0..20).map(|_| client.send_text(NO_STORAGE))).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(world.settings_reads(NO_STORAGE), 1);
    assert_eq!(world.emulator.sent().len(), 20);
    let received = world.emulator.received();
    assert!(
        received[0].path.ends_with("/settings"),
        "read before the first send"
    );
}

#[tokio::test]
async fn default_numbers_settings_are_never_read() {
    let world = World::pass_through().await;
    for _ in 0..3 {
        assert_works(&world, DEFAULT).await;
        world.pass_minutes(60);
    }
    assert_eq!(world.emulator.settings_calls().len(), 0);
}

#[tokio::test]
async fn what_carries_no_content_needs_no_reading() {
    let world = World::pass_through().await;
    world.emulator.set_storage(NO_STORAGE, Storage::Default);
    let reply = world.client().get("/v23.0/1001?fields=verified_name").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(world.settings_reads(NO_STORAGE), 0);
}

#[tokio::test]
async fn a_settings_call_through_the_gateway_reads_them_anew_at_once() {
    let world = World::pass_through().await;
    world.emulator.set_storage(NO_STORAGE, Storage::Default);
    world
        .emulator
        .set_state(NO_STORAGE, curfew_emulator::State::Verified);
    assert_stopped(&world.client().send_text(NO_STORAGE).await, "settings_differ");
    let right = serde_json::json!({
        "storage_configuration": { "status": "NO_STORAGE_ENABLED", "retention_minutes": 60 },
    });
    let reply = world.client().post("/v23.0/1001/settings", &right).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let calls: Vec<_> = world
        .emulator
        .settings_calls()
        .iter()
        .map(|call| call.call)
        .collect();
    assert_eq!(calls, ["read", "settings", "read"]);
    let register = serde_json::json!({ "messaging_product": "whatsapp", "pin": "123456" });
    let reply = world.client().post("/v23.0/1001/register", &register).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_works(&world, NO_STORAGE).await;
}

#[tokio::test]
async fn a_deregistration_through_the_gateway_stops_the_number_at_once() {
    let policies = common::PASS_THROUGH.replace("waba_id", "allow_deregister = true\nwaba_id");
    let world = World::start(Setup {
        policies,
        ..Setup::default()
    })
    .await;
    for number in [NO_STORAGE, IN_COUNTRY] {
        assert_works(&world, number).await;
        let reply = world
            .client()
            .send(
                http::Method::POST,
                &format!("/v23.0/{number}/deregister"),
                &[],
                bytes::Bytes::new(),
            )
            .await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_is_stopped(&world, number, "settings_differ").await;
    }
}

#[tokio::test]
async fn a_deregistration_whose_caller_hangs_up_is_not_forgotten() {
    let policies = common::PASS_THROUGH.replace("waba_id", "allow_deregister = true\nwaba_id");
    let world = World::of(&policies).await;
    assert_works(&world, NO_STORAGE).await;
    let fault = Fault::new(Operation::Settings, Effect::Hang).times(1);
    world.emulator.fault(fault);
    let mut caller = Raw::connect(world.gateway.addr).await;
    caller
        .send(format!(
            "POST /v23.0/1001/deregister HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 0\r\n\r\n"
        ))
        .await;
    let arrived = |emulator: &curfew_emulator::Emulator| {
        let received = emulator.received();
        received.iter().any(|call| call.path.ends_with("/deregister"))
    };
    soon(world.emulator.until(arrived)).await;
    drop(caller);
    soon(async {
        while world.settings_reads(NO_STORAGE) == 1 {
            world.client().send_text(NO_STORAGE).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_outlasts_a_reading_is_judged_by_what_is_known_at_its_end() {
    let world = World::pass_through().await;
    let body = Form::new()
        .field("messaging_product", "whatsapp")
        .file("application/pdf", &[0x25; 300_000])
        .bytes();
    let (begin, end) = body.split_at(200_000);
    let mut caller = Raw::connect(world.gateway.addr).await;
    caller
        .send(upload_head("/v23.0/1001/media", body.len(), ""))
        .await;
    caller.send(begin).await;
    soon(
        world
            .emulator
            .until(|emulator| emulator.received().iter().any(|r| r.path.ends_with("/media"))),
    )
    .await;
    world.emulator.set_storage(NO_STORAGE, Storage::Default);
    world.pass_minutes(16);
    caller.send(end).await;
    let reply = caller.answer().await;
    assert_eq!(
        (reply.status.as_u16(), reply.code()),
        (503, Some(131_005)),
        "{}",
        reply.text()
    );
    assert_eq!(world.emulator.media_bytes_kept(), 0);
}
