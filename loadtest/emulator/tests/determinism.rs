//! The same calls under the same seed get the same answers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use curfew_emulator::Options;
use serde_json::Value;
use support::{BARE, PLAIN, options, start_with};

/// A little of everything that makes ids.
async fn answers(seed: u64) -> Vec<Value> {
    let (emulator, client) = start_with(Options {
        seed,
        start: Some(1_790_000_000),
        ..options()
    })
    .await;
    let media = client.upload(BARE, Some("90")).await.ok();
    let id = media.id();
    let mut answers = vec![media.json(), client.image(BARE, id).await.ok().json()];
    answers.push(client.text(PLAIN, "+4915112345678").await.ok().json());
    answers.push(client.get("/v24.0/999").await.json());
    answers.push(Value::from(emulator.receive_media(
        PLAIN,
        "image/png",
        bytes::Bytes::from_static(b"x"),
    )));
    answers
}

#[tokio::test]
async fn a_seed_decides_all_ids() {
    let first = answers(7).await;
    assert_eq!(first, answers(7).await);
    let other = answers(8).await;
    assert!(first.iter().zip(&other).all(|(one, two)| one != two));
}

#[tokio::test]
async fn the_clock_starts_where_it_is_told() {
    let (emulator, client) = start_with(Options {
        start: Some(1_790_000_000),
        ..options()
    })
    .await;
    client.upload(PLAIN, None).await.ok();
    let medium = emulator.media().remove(0);
    assert!((1_790_000_000..1_790_000_060).contains(&medium.created));
    emulator.advance(10);
    assert!((1_790_000_600..1_790_000_660).contains(&emulator.now()));
}
