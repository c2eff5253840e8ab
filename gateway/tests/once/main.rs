//! Promise: a send with an `Idempotency-Key` happens once. Whoever asks again with the same key and body gets the first outcome
//! again, for a day; what may have been sent and is not known is never sent again; what was not sent may be.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and shows its figures"
)]

#[path = "../common/mod.rs"]
mod common;

#[cfg(unix)]
mod kill;
mod races;
mod unknown;
mod window;

use bytes::Bytes;
use common::{
    Client, DEFAULT, IN_COUNTRY, NO_STORAGE, PASS_THROUGH, Reply, Setup, World, caller_table, log, soon,
};
use curfew::config::StoreConfig;
use curfew_emulator::{Effect, Fault, Operation};
use http::Method;
use serde_json::{Value, json};

/// The target of sends of a number.
fn messages(number: u64) -> String {
    format!("/v23.0/{number}/messages")
}

/// A text to a recipient.
fn text(to: &str, body: &str) -> Value {
    json!({ "messaging_product": "whatsapp", "to": to, "type": "text", "text": { "body": body } })
}

async fn send_to(client: &Client, target: &str, keys: &[&str], body: &Value) -> Reply {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(keys.iter().map(|key| ("idempotency-key", *key)));
    let body = Bytes::from(body.to_string());
    soon(client.send(Method::POST, target, &headers, body)).await
}

/// Sends a text from [`DEFAULT`] under a key.
async fn send(client: &Client, key: &str) -> Reply {
    send_to(client, &messages(DEFAULT), &[key], &text("+15550100001", "Hello")).await
}

fn is_replayed(reply: &Reply) -> bool {
    reply.header("idempotency-replayed") == Some("true")
}

/// Asserts that this is the first answer once more.
#[track_caller]
fn assert_repeats(reply: &Reply, first: &Reply) {
    assert!(is_replayed(reply) && !is_replayed(first), "{}", reply.text());
    assert_eq!((reply.status, &reply.body), (first.status, &first.body));
    assert_eq!(reply.header("content-type"), first.header("content-type"));
    assert_eq!(reply.reason(), None);
}

/// Waits until as many sends as this have reached Meta.
async fn until_received(world: &World, count: usize) {
    let received = |emulator: &curfew_emulator::Emulator| {
        let received = emulator.received();
        received
            .iter()
            .filter(|call| call.operation == Operation::Send)
            .count()
            >= count
    };
    soon(world.emulator.until(received)).await;
}

/// Asks until the send is no longer under way.
async fn once_over(client: &Client, key: &str) -> Reply {
    loop {
        let reply = send(client, key).await;
        if reply.reason() != Some("idempotency_running") {
            return reply;
        }
    }
}

#[tokio::test]
async fn the_first_outcome_is_answered_again_for_a_day() {
    for store in ["memory", "sqlite"] {
        let folder = tempfile::tempdir().expect("a folder");
        let world = World::start(Setup {
            store: match store {
                "memory" => StoreConfig::Memory,
                _ => StoreConfig::Sqlite {
                    path: folder.path().join("curfew.db"),
                },
            },
            ..Setup::default()
        })
        .await;
        let client = world.client();
        let first = send(&client, "k").await;
        assert_eq!(first.status, 200, "{}", first.text());
        for _ in 0..3 {
            assert_repeats(&send(&client, "k").await, &first);
        }
        world.time.advance(std::time::Duration::from_secs(24 * 3600 - 1));
        assert_repeats(&send(&client, "k").await, &first);
        assert_eq!(world.emulator.sent().len(), 1, "{store}");
        world.time.advance(std::time::Duration::from_secs(1));
        let second = send(&client, "k").await;
        assert_eq!((second.status.as_u16(), is_replayed(&second)), (200, false));
        assert_eq!(world.emulator.sent().len(), 2);
        assert_ne!(second.body, first.body);
        // Without a key everything is sent.
        for _ in 0..2 {
            assert_eq!(client.send_text(DEFAULT).await.status, 200);
        }
        assert_eq!(world.emulator.sent().len(), 4);
    }
}

#[tokio::test]
async fn another_body_or_path_under_the_same_key_is_refused() {
    let world = World::pass_through().await;
    let client = world.client();
    let first = send(&client, "k").await;
    let body = text("+15550100001", "Hello");
    for (target, body) in [
        (messages(DEFAULT), text("+15550100001", "Hello!")),
        (messages(DEFAULT), text("+15550100002", "Hello")),
        (format!("/v22.0/{DEFAULT}/messages"), body.clone()),
    ] {
        let reply = send_to(&client, &target, &["k"], &body).await;
        reply.assert_refused(422, 100, "idempotency_other_body");
        assert!(!is_replayed(&reply));
    }
    assert_repeats(&send(&client, "k").await, &first);
    assert_eq!(world.emulator.sent().len(), 1);
    // Another number's send, or another key, is another send.
    for (number, key) in [
        (NO_STORAGE, "k"),
        (IN_COUNTRY, "k"),
        (DEFAULT, "K"),
        (DEFAULT, "\"k\""),
    ] {
        let reply = send_to(&client, &messages(number), &[key], &body).await;
        assert_eq!((reply.status.as_u16(), is_replayed(&reply)), (200, false));
    }
    assert_eq!(world.emulator.sent().len(), 5);
}

#[tokio::test]
async fn callers_have_keys_of_their_own() {
    let policies = format!(
        "{PASS_THROUGH}{}{}",
        caller_table("a", "key-of-a", &[DEFAULT], &["send"]),
        caller_table("b", "key-of-b", &[DEFAULT], &["send"])
    );
    let world = World::of(&policies).await;
    for caller in ["key-of-a", "key-of-b"] {
        let client = world.caller(caller);
        let first = send(&client, "k").await;
        assert_eq!(first.status, 200, "{}", first.text());
        assert_repeats(&send(&client, "k").await, &first);
    }
    assert_eq!(world.emulator.sent().len(), 2);
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_and_nothing_is_sent() {
    let world = World::pass_through().await;
    let client = world.client();
    let body = text("+15550100001", "Hello");
    let long = "k".repeat(256);
    for keys in [
        &[""][..],
        &["two words"],
        &[&long],
        &["one", "two"],
        &["one", "one"],
        &["na\u{ef}ve"],
    ] {
        let reply = send_to(&client, &messages(DEFAULT), keys, &body).await;
        reply.assert_refused(400, 100, "idempotency_key");
        reply.assert_names(&["Idempotency-Key", "255"]);
    }
    assert!(world.emulator.sent().is_empty());
    let most = "~".repeat(255);
    let reply = send_to(&client, &messages(DEFAULT), &[&most], &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn on_a_call_that_is_no_send_the_header_is_ignored() {
    let world = World::pass_through().await;
    let client = world.client();
    let headers = [("idempotency-key", "two words")];
    let target = format!("/v23.0/{DEFAULT}?fields=id");
    let reply = client.send(Method::GET, &target, &headers, Bytes::new()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sent = send(&client, "k").await.json();
    let wamid = &sent["messages"][0]["id"];
    let receipt = json!({ "messaging_product": "whatsapp", "status": "read", "message_id": wamid });
    let mut told = Vec::new();
    for _ in 0..2 {
        let reply = send_to(&client, &messages(DEFAULT), &["r"], &receipt).await;
        assert!(!is_replayed(&reply));
        told.push(reply.status);
    }
    assert_eq!(told[0], told[1]);
    let sends = world
        .reached()
        .iter()
        .filter(|call| call.ends_with("/messages"))
        .count();
    assert_eq!(sends, 3);
}

#[tokio::test]
async fn another_call_that_reaches_a_user_happens_once_as_well() {
    let world = World::pass_through().await;
    let client = world.client();
    let target = format!("/v23.0/{DEFAULT}/calls");
    let call = json!({ "messaging_product": "whatsapp", "to": "+15550100001", "action": "connect" });
    let first = send_to(&client, &target, &["c"], &call).await;
    assert_repeats(&send_to(&client, &target, &["c"], &call).await, &first);
    let terminate = json!({ "messaging_product": "whatsapp", "call_id": "c1", "action": "terminate" });
    let reply = send_to(&client, &target, &["c"], &terminate).await;
    reply.assert_refused(422, 100, "idempotency_other_body");
    let reply = send_to(&client, &target, &["two words"], &call).await;
    reply.assert_refused(400, 100, "idempotency_key");
    let calls = || {
        world
            .reached()
            .iter()
            .filter(|call| call.ends_with("/calls"))
            .count()
    };
    assert_eq!(calls(), 1);
    // Without a key each is one of its own.
    for _ in 0..2 {
        assert!(!is_replayed(&send_to(&client, &target, &[], &call).await));
    }
    assert_eq!(calls(), 3);
}

#[tokio::test]
async fn while_it_is_under_way_whoever_asks_again_is_told_so() {
    let world = World::pass_through().await;
    let client = world.client();
    let fault = Fault::new(Operation::Send, Effect::Latency { millis: 300 });
    world.emulator.fault(fault.times(1));
    let first = {
        let client = client.clone();
        tokio::spawn(async move { send(&client, "k").await })
    };
    until_received(&world, 1).await;
    let reply = send(&client, "k").await;
    reply.assert_refused(409, 100, "idempotency_running");
    assert_eq!(reply.header("retry-after"), Some("1"));
    let first = first.await.expect("no panic");
    assert_eq!(first.status, 200);
    assert_repeats(&send(&client, "k").await, &first);
    assert_eq!(world.emulator.sent().len(), 1);
}

/// Faults Meta's answer to the next send.
fn refuse_next(world: &World, status: u16, code: i64) {
    let effect = Effect::Error {
        status,
        code,
        subcode: None,
        details: None,
    };
    world.emulator.fault(Fault::new(Operation::Send, effect).times(1));
}

#[tokio::test]
async fn what_meta_refused_for_a_while_may_be_sent_again() {
    for (status, code) in [
        (400, 130_429),
        (400, 131_056),
        (400, 4),
        (401, 190),
        (403, 200),
        (500, 131_057),
    ] {
        let world = World::pass_through().await;
        let client = world.client();
        refuse_next(&world, status, code);
        let refused = send(&client, "k").await;
        assert_eq!((refused.status.as_u16(), refused.code()), (status, Some(code)));
        // While its number is paused the gateway itself may refuse it, and keeps nothing of that either.
        let early = send(&client, "early").await;
        assert!(early.status == 200 || early.reason().is_some_and(|reason| reason.starts_with("limited")));
        world.time.advance(std::time::Duration::from_secs(300));
        let sent = send(&client, "k").await;
        assert_eq!(
            (sent.status.as_u16(), is_replayed(&sent)),
            (200, false),
            "{}",
            sent.text()
        );
        assert_repeats(&send(&client, "k").await, &sent);
        let early = send(&client, "early").await;
        assert_eq!(early.status, 200, "{}", early.text());
        assert_eq!(world.emulator.sent().len(), 2);
    }
}

#[tokio::test]
async fn any_other_answer_of_metas_is_the_outcome() {
    for (status, code) in [
        (400, 131_026),
        (400, 100),
        (403, 368),
        (500, 131_000),
        (503, 2),
        (200, 131_009),
    ] {
        let world = World::pass_through().await;
        let client = world.client();
        refuse_next(&world, status, code);
        let first = send(&client, "k").await;
        assert_eq!((first.status.as_u16(), first.code()), (status, Some(code)));
        // Also where the answer has stopped the number's sends.
        for _ in 0..2 {
            assert_repeats(&send(&client, "k").await, &first);
        }
        assert!(world.emulator.sent().is_empty());
    }
}

#[tokio::test]
async fn a_send_that_policy_refuses_leaves_its_key_free() {
    let world = World::pass_through().await;
    let client = world.client();
    let refused = json!({
        "messaging_product": "whatsapp", "to": "+15550100001", "type": "image", "image": { "id": "4711" },
    });
    for _ in 0..2 {
        let reply = send_to(&client, &messages(NO_STORAGE), &["k"], &refused).await;
        assert_eq!(reply.status.as_u16(), 400, "{}", reply.text());
        assert!(reply.reason().is_some() && !is_replayed(&reply));
    }
    let reply = send_to(
        &client,
        &messages(NO_STORAGE),
        &["k"],
        &text("+15550100001", "Hello"),
    )
    .await;
    assert_eq!((reply.status.as_u16(), is_replayed(&reply)), (200, false));
}

#[tokio::test]
async fn a_monitored_send_happens_once_as_well() {
    let policies = format!("enforcement = \"monitor\"\n{PASS_THROUGH}");
    let world = World::of(&policies).await;
    let client = world.client();
    let body = json!({
        "messaging_product": "whatsapp", "to": "+15550100001", "type": "image",
        "image": { "link": "https://elsewhere.example/a.png" },
    });
    let first = send_to(&client, &messages(NO_STORAGE), &["k"], &body).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let observed = first
        .header("curfew-observed")
        .expect("it would have been refused");
    let reply = send_to(&client, &messages(NO_STORAGE), &["k"], &body).await;
    assert_repeats(&reply, &first);
    assert_eq!(reply.header("curfew-observed"), Some(observed));
    assert_eq!(world.emulator.sent().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("curfew.db");
    let world = World::start(Setup {
        store: StoreConfig::Sqlite { path: path.clone() },
        ..Setup::default()
    })
    .await;
    let full = rusqlite::Connection::open(path).expect("the store");
    full.execute_batch(
        "CREATE TRIGGER full BEFORE INSERT ON outcome BEGIN SELECT raise(ABORT, 'disk is full'); END",
    )
    .expect("a trigger");
    let client = world.client();
    for _ in 0..2 {
        let reply = send(&client, "k").await;
        reply.assert_refused(503, 131_016, "store_unavailable");
    }
    assert!(world.emulator.sent().is_empty());
    // Sends that ask for nothing to be kept go on.
    assert_eq!(client.send_text(DEFAULT).await.status, 200);
    full.execute_batch("DROP TRIGGER full").expect("the trigger");
    assert_eq!(send(&client, "k").await.status, 200);
    assert_eq!(world.emulator.sent().len(), 2);
}

#[tokio::test]
async fn the_log_says_that_an_outcome_was_repeated_and_no_key() {
    const NUMBER: u64 = 7774;
    log::listen();
    let world = World::of(&PASS_THROUGH.replace("1003", &NUMBER.to_string())).await;
    let body = text("+15550100001", "Hello");
    for _ in 0..2 {
        let reply = send_to(&world.client(), &messages(NUMBER), &["canary-of-the-key"], &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let lines = log::about(NUMBER);
    let outcomes: Vec<_> = lines
        .iter()
        .map(|line| line.get("outcome").and_then(Value::as_str))
        .collect();
    assert_eq!(outcomes, [None, Some("replayed")]);
    assert!(!format!("{lines:?}").contains("canary"));
}
