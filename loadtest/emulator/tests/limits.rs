//! Throughput and the pair limit are real.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use curfew_emulator::{NumberOptions, Options};
use serde_json::json;
use support::{PLAIN, start, start_with};

fn one_a_second() -> Options {
    let mut number = NumberOptions::new(PLAIN);
    number.throughput = 1;
    Options {
        numbers: vec![number],
        enforce_limits: true,
        ..Options::default()
    }
}

#[tokio::test]
async fn a_number_sends_no_faster_than_its_throughput() {
    let (emulator, client) = start_with(one_a_second()).await;
    client.text(PLAIN, "+4915112345678").await.ok();
    let refused = client.text(PLAIN, "+4915112345679").await;
    assert_eq!((refused.status, refused.code()), (400, 130_429));
    let receipt = json!({"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.x"});
    assert_eq!(
        client
            .post(&format!("/v24.0/{PLAIN}/messages"), &receipt)
            .await
            .code(),
        130_429
    );
    emulator.advance(1);
    client.text(PLAIN, "+4915112345679").await.ok();
    emulator.advance(1);
    let _ = emulator.inbound_text(PLAIN, "4915112345678", "in counts too");
    assert_eq!(client.text(PLAIN, "+4915112345679").await.code(), 130_429);
    assert_eq!(emulator.sent().len(), 2);
}

#[tokio::test]
async fn one_user_gets_45_at_once_however_it_is_written() {
    let mut number = NumberOptions::new(PLAIN);
    number.throughput = 1_000;
    let (emulator, client) = start_with(Options {
        numbers: vec![number],
        enforce_limits: true,
        ..Options::default()
    })
    .await;
    for n in 0..45 {
        let to = if n % 2 == 0 {
            "+49 151 1234-5678"
        } else {
            "4915112345678"
        };
        client.text(PLAIN, to).await.ok();
    }
    let refused = client.text(PLAIN, "+49 (151) 12345678").await;
    assert_eq!((refused.status, refused.code()), (400, 131_056));
    client.text(PLAIN, "+4915112345679").await.ok();
    emulator.advance(1);
    for _ in 0..10 {
        client.text(PLAIN, "+4915112345678").await.ok();
    }
}

#[tokio::test]
async fn limits_are_off_unless_asked_for() {
    let (emulator, client) = start().await;
    for _ in 0..100 {
        client.text(PLAIN, "+4915112345678").await.ok();
    }
    assert_eq!(emulator.sent().len(), 100);
}
