//! Promise: told to end (SIGTERM), the gateway takes nothing new, finishes what it has begun, and exits with 0.
#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::Bytes;
use common::form::Form;
use common::process::{Gateway, write_config};
use common::raw::{Raw, upload_head};
use common::{Client, DEFAULT, NO_STORAGE, PASS_THROUGH, TOKEN, soon};
use curfew_emulator::{Effect, Emulator, Fault, Operation, Options};
use futures_util::future::join_all;
use http::Method;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;

async fn start() -> (Emulator, TempDir, Gateway) {
    let emulator = Emulator::start(Options {
        numbers: Options::from_policies_toml(PASS_THROUGH).expect("policies"),
        tokens: vec![TOKEN.to_owned()],
        ..Options::default()
    })
    .await
    .expect("the emulator starts");
    let folder = tempfile::tempdir().expect("a folder");
    let store = "[store]\nkind = \"sqlite\"\npath = \"curfew.db\"\n";
    write_config(folder.path(), &emulator.base_url(), PASS_THROUGH, store);
    let gateway = Gateway::start(folder.path()).await;
    (emulator, folder, gateway)
}

async fn has_begun(emulator: &Emulator, operation: Operation) {
    soon(emulator.until(|emulator| {
        let received = emulator.received();
        received.iter().any(|call| call.operation == operation)
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_under_way_end_readiness_ends_first_and_nothing_new_is_taken() {
    let (emulator, _folder, gateway) = start().await;
    let operator = Client::new(gateway.admin).anonymous();
    let ready = operator.get("/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.text().trim()), (200, "ready"));

    let body = Form::image().field("ttl_minutes", "60").bytes();
    let (begin, end) = body.split_at(300);
    let mut upload = Raw::connect(gateway.addr).await;
    upload
        .send(upload_head("/v23.0/1001/media", body.len(), ""))
        .await;
    upload.send(begin).await;
    has_begun(&emulator, Operation::Upload).await;
    let mut idle = Raw::connect(gateway.addr).await;
    idle.send("GET /v23.0/1001?fields=id HTTP/1.1\r\nHost: g\r\n\r\n")
        .await;
    assert_eq!(idle.answer().await.status, 401);

    gateway.program.terminate();
    let not_ready = soon(async {
        loop {
            let reply = operator.get("/readyz").await;
            if reply.status != 200 {
                break reply;
            }
        }
    })
    .await;
    assert_eq!(
        (not_ready.status.as_u16(), not_ready.text().trim()),
        (503, "not ready")
    );
    assert_eq!(operator.get("/livez").await.status, 200);
    soon(async { while TcpStream::connect(gateway.addr).await.is_ok() {} }).await;
    assert!(idle.is_closed().await);

    upload.send(end).await;
    let reply = upload.answer().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(emulator.media().len(), 1);
    assert_eq!(gateway.program.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_whatever_meta_took_is_told() {
    let (emulator, folder, gateway) = start().await;
    let client = Client::new(gateway.addr).bearer(TOKEN);
    let send_on = |number: u64| {
        let client = client.clone();
        async move {
            let target = format!("/v23.0/{number}/messages");
            let headers = [("content-type", "application/json")];
            let body =
                json!({ "messaging_product": "whatsapp", "to": "+15550100001", "text": { "body": "x" } });
            let body = Bytes::from(body.to_string());
            let mut told = 0;
            while let Ok(reply) = client
                .try_send(Method::POST, &target, &headers, body.clone())
                .await
            {
                assert_eq!(reply.status, 200, "{}", reply.text());
                told += 1;
            }
            told
        }
    };
    let callers: Vec<_> = [NO_STORAGE, DEFAULT, NO_STORAGE, DEFAULT]
        .map(|number| tokio::spawn(send_on(number)))
        .into();
    soon(emulator.until(|emulator| emulator.sent().len() > 40)).await;
    // Some are with Meta at the moment of the signal.
    emulator.fault(Fault::new(Operation::Send, Effect::Latency { millis: 40 }));
    soon(emulator.until(|emulator| emulator.sent().len() > 44)).await;
    gateway.program.terminate();
    let told: usize = soon(join_all(callers))
        .await
        .into_iter()
        .map(|caller| caller.expect("no caller was answered wrongly"))
        .sum();
    assert_eq!(gateway.program.ended().await.code(), Some(0));
    assert_eq!(told, emulator.sent().len());

    // What it left behind is in order: the next one starts on it.
    let gateway = Gateway::start(folder.path()).await;
    emulator.clear_faults();
    let reply = Client::new(gateway.addr)
        .bearer(TOKEN)
        .send_text(NO_STORAGE)
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// A caller may be gone while Meta still does what was asked: what came of it is booked before the gateway ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_for_a_caller_who_hung_up_is_booked_before_the_end() {
    let (emulator, folder, gateway) = start().await;
    let media = Client::new(gateway.addr).bearer(TOKEN).upload(NO_STORAGE).await;
    emulator.fault(Fault::new(
        Operation::MediaDelete,
        Effect::Latency { millis: 700 },
    ));
    let mut caller = Raw::connect(gateway.addr).await;
    caller
        .send(format!(
            "DELETE /v23.0/{media} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        ))
        .await;
    has_begun(&emulator, Operation::MediaDelete).await;
    drop(caller);
    gateway.program.terminate();
    assert_eq!(gateway.program.ended().await.code(), Some(0));

    let gateway = Gateway::start(folder.path()).await;
    let reply = Client::new(gateway.addr)
        .bearer(TOKEN)
        .send_image(NO_STORAGE, media)
        .await;
    reply.assert_refused(400, 100, "media_ended");
}
