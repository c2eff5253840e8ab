//! Promise: whatever a caller does, what went to Meta is in the log and in the books.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::raw::Raw;
use common::{DEFAULT, NO_STORAGE, TOKEN, World, log, soon};
use curfew_emulator::{Effect, Fault, Operation};
use serde_json::json;

/// Sends a request, waits until it is at Meta, and hangs up.
async fn hang_up_on(world: &World, request: &str, on: Operation) {
    let mut caller = Raw::connect(world.gateway.addr).await;
    caller.send(request).await;
    let arrived = |emulator: &curfew_emulator::Emulator| {
        let received = emulator.received();
        received.iter().any(|call| call.operation == on)
    };
    soon(world.emulator.until(arrived)).await;
    drop(caller);
}

#[tokio::test]
async fn a_send_whose_caller_hangs_up_has_one_line_in_the_log() {
    const NUMBER: u64 = 7773;
    log::listen();
    let world = World::of(&common::PASS_THROUGH.replace("1003", &NUMBER.to_string())).await;
    let fault = Fault::new(Operation::Send, Effect::Hang).times(1);
    world.emulator.fault(fault);
    let body =
        json!({ "messaging_product": "whatsapp", "to": "15550100001", "text": { "body": "x" } }).to_string();
    let request = format!(
        "POST /v23.0/{NUMBER}/messages HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    hang_up_on(&world, &request, Operation::Send).await;
    soon(async {
        while log::about(NUMBER).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(world.client().send_text(NUMBER).await.status, 200);
    let lines: Vec<_> = log::about(NUMBER)
        .iter()
        .map(|line| {
            let of = |field| line.get(field).cloned().unwrap_or_default();
            (of("operation"), of("status"), of("outcome"))
        })
        .collect();
    let sent = json!("send_message");
    assert_eq!(
        lines,
        [
            (sent.clone(), json!(0), json!("caller gone")),
            (sent, json!(200), json!(null)),
        ]
    );
}

#[tokio::test]
async fn what_was_deleted_is_dead_though_nobody_waits_for_the_answer() {
    let world = World::pass_through().await;
    let client = world.client();
    let media = client.upload(NO_STORAGE).await;
    let metadata = client.get(&format!("/v23.0/{media}")).await.json();
    let url = metadata["url"].as_str().expect("a URL").to_owned();
    let fault = Fault::new(Operation::MediaDelete, Effect::Latency { millis: 50 });
    world.emulator.fault(fault);
    let request =
        format!("DELETE /v23.0/{media} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    hang_up_on(&world, &request, Operation::MediaDelete).await;
    soon(async {
        while client.send_image(NO_STORAGE, media).await.reason() != Some("media_ended") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(client.get(&url).await.reason().is_some());
}

#[tokio::test]
async fn what_may_have_been_deleted_is_dead() {
    for number in [NO_STORAGE, DEFAULT] {
        for effect in [
            Effect::TruncateReply { after_bytes: 5 },
            Effect::ResetReply { after_bytes: 20 },
            Effect::ResetRequest { after_bytes: 0 },
            Effect::Garbage,
            Effect::Redirect {
                location: "http://127.0.0.1:9/".to_owned(),
            },
        ] {
            let world = World::pass_through().await;
            let client = world.client();
            let media = client.upload(number).await;
            let metadata = client.get(&format!("/v23.0/{media}")).await.json();
            let url = metadata["url"].as_str().expect("a URL").to_owned();
            let fault = Fault::new(Operation::MediaDelete, effect.clone());
            world.emulator.fault(fault.times(1));
            client.delete(&format!("/v23.0/{media}")).await;
            let reply = client.send_image(number, media).await;
            reply.assert_refused(400, 100, "media_ended");
            assert!(client.get(&url).await.reason().is_some(), "{effect:?}");
        }
    }
}

#[tokio::test]
async fn what_was_not_deleted_for_lack_of_leave_lives_on() {
    let world = World::pass_through().await;
    let media = world.client().upload(NO_STORAGE).await;
    let reply = world
        .caller("EAAG-not-a-token")
        .delete(&format!("/v23.0/{media}"))
        .await;
    assert_eq!((reply.status.is_client_error(), reply.reason()), (true, None));
    let reply = world.client().send_image(NO_STORAGE, media).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}
