//! Promise: instances that share a store act as one, and when it is away they refuse or keep to their share.
//!
//! On the oldest server that is supported and on a current one, each a real process.

#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::collections::HashMap;
use std::time::Duration;

use common::store_server::{Kind, StoreServer};
use common::{Client, DEFAULT, NO_STORAGE, PASS_THROUGH, Setup, TOKEN, World, caller_table, soon};
use curfew::config::StoreConfig;
use futures_util::future::join_all;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// What two instances on `server` are.
fn pair_on(server: &StoreServer, policies: &str) -> Setup {
    Setup {
        policies: policies.to_owned(),
        store: server.config(2),
        // The store has a clock of its own, which nobody moves.
        real_time: true,
        ..Setup::default()
    }
}

const KEY: &str = "cfw_billing";

/// The policies of gateways with a token of their own, and one caller.
fn with_caller() -> String {
    let caller = caller_table("billing", KEY, &[NO_STORAGE, DEFAULT], &["send", "media"]);
    format!("{PASS_THROUGH}{caller}")
}

/// Two instances of the policies, on one store.
async fn two(server: &StoreServer, policies: &str) -> (World, Client, Client, common::Running) {
    two_of(pair_on(server, policies)).await
}

async fn two_of(setup: Setup) -> (World, Client, Client, common::Running) {
    let bearer = if setup.policies.contains("[[caller]]") {
        KEY
    } else {
        TOKEN
    };
    let world = World::start(setup).await;
    let other = world.another_instance().await;
    let clients = [world.gateway.addr, other.addr].map(|addr| Client::new(addr).bearer(bearer));
    for client in &clients {
        // An empty store takes every limit to have been used up when it began.
        soon(async { while client.send_text(DEFAULT).await.status != 200 {} }).await;
    }
    let [here, there] = clients;
    (world, here, there, other)
}

#[tokio::test]
async fn what_one_instance_pins_the_other_knows_and_what_it_deletes_is_gone_for_both() {
    for kind in Kind::ALL {
        let Some(server) = StoreServer::start(kind) else {
            continue;
        };
        let (_world, here, there, _other) = two(&server, &with_caller()).await;
        let media = here.upload(NO_STORAGE).await;
        let sent = there.send_image(NO_STORAGE, media).await;
        assert_eq!(sent.status, 200, "{}", sent.text());
        let reply = there.send_image(DEFAULT, media).await;
        reply.assert_refused(400, 100, "media_of_other_number");
        // The URL that one makes is good at the other, as long as the medium is there.
        let metadata = here
            .get(&format!("/v23.0/{media}?phone_number_id={NO_STORAGE}"))
            .await
            .json();
        let url: http::Uri = metadata["url"].as_str().expect("a URL").parse().expect("a URL");
        let path = url.path_and_query().expect("a path").as_str();
        assert_eq!(there.get(path).await.status, 200);
        let deleted = here.delete(&format!("/v23.0/{media}")).await;
        assert_eq!(deleted.status, 200, "{}", deleted.text());
        for client in [&here, &there] {
            let reply = client.send_image(NO_STORAGE, media).await;
            reply.assert_refused(400, 100, "media_ended");
        }
        there.get(path).await.assert_refused(400, 100, "media_ended");
    }
}

#[tokio::test]
async fn registrations_are_counted_by_all_instances_together() {
    for kind in Kind::ALL {
        let Some(server) = StoreServer::start(kind) else {
            continue;
        };
        let (world, here, there, _other) = two(&server, PASS_THROUGH).await;
        let body = json!({ "messaging_product": "whatsapp", "pin": "123456" });
        // All at once, so that some are judged before the others are counted.
        let calls = (0..24).map(|nth| {
            let client = if nth % 2 == 0 { &here } else { &there };
            client.post("/v23.0/1001/register", &body)
        });
        let replies = join_all(calls).await;
        let locked_out = |reply: &&common::Reply| reply.reason() == Some("registration_lockout");
        assert_eq!(replies.iter().filter(locked_out).count(), 14);
        let calls = world.emulator.settings_calls();
        let registered = calls.iter().filter(|call| call.call == "register");
        assert_eq!(registered.count(), 10);
    }
}

#[tokio::test]
async fn without_the_store_nothing_that_depends_on_a_pin_passes_and_with_it_all_does_again() {
    for kind in Kind::ALL {
        let Some(mut server) = StoreServer::start_durable(kind) else {
            continue;
        };
        let (world, here, there, _other) = two(&server, PASS_THROUGH).await;
        let media = here.upload(NO_STORAGE).await;
        server.kill();
        for client in [&here, &there] {
            let before = world.reached().len();
            let refused = client.send_image(NO_STORAGE, media).await;
            refused.assert_refused(503, 131_016, "store_unavailable");
            assert!(refused.header("retry-after").is_some());
            let form = common::form::Form::image();
            let refused = client.post_form("/v23.0/1001/media", &form).await;
            refused.assert_refused(503, 131_016, "store_unavailable");
            let refused = client.delete(&format!("/v23.0/{media}")).await;
            refused.assert_refused(503, 131_016, "store_unavailable");
            assert_eq!(world.reached().len(), before, "nothing of it went to Meta");
        }
        server.begin();
        for client in [&here, &there] {
            soon(async { while client.send_image(NO_STORAGE, media).await.status != 200 {} }).await;
        }
    }
}

#[tokio::test]
async fn a_store_that_comes_back_with_another_secret_is_not_gone_back_to() {
    for kind in Kind::ALL {
        let Some(mut server) = StoreServer::start(kind) else {
            continue;
        };
        let (_world, here, there, _other) = two(&server, PASS_THROUGH).await;
        let media = here.upload(NO_STORAGE).await;
        server.kill();
        here.send_image(NO_STORAGE, media)
            .await
            .assert_refused(503, 131_016, "store_unavailable");
        server.begin();
        // It has forgotten everything: it is told the secret, and both go on.
        for client in [&here, &there] {
            soon(async { while client.send_image(NO_STORAGE, media).await.status == 503 {} }).await;
        }
        server.kill();
        here.send_image(NO_STORAGE, media)
            .await
            .assert_refused(503, 131_016, "store_unavailable");
        there
            .send_image(NO_STORAGE, media)
            .await
            .assert_refused(503, 131_016, "store_unavailable");
        server.begin_with(b"SET curfew:{secret}:outcomes another");
        let until = Instant::now() + Duration::from_millis(500);
        while Instant::now() < until {
            here.send_image(NO_STORAGE, media)
                .await
                .assert_refused(503, 131_016, "store_unavailable");
        }
    }
}

#[tokio::test]
async fn a_gateway_does_not_start_without_its_store() {
    let Some(mut server) = StoreServer::start(Kind::Redis) else {
        return;
    };
    let config = server.config(2);
    server.kill();
    let StoreConfig::Valkey { url, instances } = config else {
        unreachable!()
    };
    let clock = curfew::clock::Clock::system();
    let minute = curfew_policies::Minute::REAL;
    let stores = curfew::stores::Stores::shared(&url, instances, &clock, minute).await;
    assert!(matches!(stores, Err(curfew::stores::StoreError::Away { .. })));
}

/// Sends from both for so long, and returns how many answers there were of each status.
async fn race(clients: [&Client; 2], lasts: Duration) -> HashMap<u16, usize> {
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for (nth, client) in clients.into_iter().enumerate() {
        for caller in 0..16 {
            let client = client.clone();
            callers.spawn(async move {
                let mut answers = Vec::new();
                while began.elapsed() < lasts {
                    let to = format!("+49151{nth}{caller:02}{:06}", answers.len());
                    let body = json!({ "messaging_product": "whatsapp", "to": to, "type": "text", "text": { "body": "x" } });
                    let reply = client.post(&format!("/v23.0/{DEFAULT}/messages"), &body).await;
                    answers.push(reply.status.as_u16());
                }
                answers
            });
        }
    }
    let mut counted = HashMap::new();
    for answer in callers.join_all().await.into_iter().flatten() {
        *counted.entry(answer).or_default() += 1;
    }
    counted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_keep_one_numbers_pace_whatever_becomes_of_the_store() {
    let policies = format!(
        "[[number]]\nphone_number_id = \"{DEFAULT}\"\nstorage = {{ mode = \"default\" }}\n\
         [number.sends]\nper_second = 80\nburst = 40\nmax_wait_ms = 1500\n"
    );
    for kind in Kind::ALL {
        let Some(mut server) = StoreServer::start(kind) else {
            continue;
        };
        let setup = Setup {
            // The emulator holds Meta's own limits.
            emulator: curfew_emulator::Options {
                enforce_limits: true,
                ..curfew_emulator::Options::default()
            },
            ..pair_on(&server, &policies)
        };
        let (world, here, there, _other) = two_of(setup).await;
        let race = tokio::spawn(async move { race([&here, &there], Duration::from_secs(6)).await });
        sleep(Duration::from_millis(1_500)).await;
        server.kill();
        sleep(Duration::from_millis(2_000)).await;
        server.begin();
        let answers = race.await.expect("it ends");
        println!("{kind:?}: answers by status {answers:?}");
        let sent = world.emulator.sent().len();
        let received = world.emulator.received();
        let sends = received
            .iter()
            .filter(|call| call.operation == curfew_emulator::Operation::Send);
        assert_eq!(sends.count(), sent, "Meta has refused none");
        assert!((350..=560).contains(&sent), "{sent} in six seconds at 80");
    }
}

/// Sends under a key `key-N`, to somebody else for each.
async fn send_once(client: &Client, key: &str, text: &str) -> common::Reply {
    let to = key.replace("key-", "+49151000");
    let body = json!({ "messaging_product": "whatsapp", "to": to, "type": "text", "text": { "body": text } });
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    let target = format!("/v23.0/{DEFAULT}/messages");
    loop {
        let body = body.to_string().into();
        let reply = client.send(http::Method::POST, &target, &headers, body).await;
        // On a busy machine the store is late now and then; what is limited was not sent.
        if reply.status != 429 {
            return reply;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_through_one_instance_is_not_sent_again_through_the_other() {
    for kind in Kind::ALL {
        let Some(mut server) = StoreServer::start_durable(kind) else {
            continue;
        };
        let (world, here, there, _other) = two(&server, PASS_THROUGH).await;
        let before = world.emulator.sent().len();
        const PAIRS: usize = 200;
        for nth in 0..PAIRS {
            let key = format!("key-{nth}");
            let (one, other) = tokio::join!(send_once(&here, &key, "x"), send_once(&there, &key, "x"));
            for reply in [&one, &other] {
                let is_running = reply.status == 409 && reply.code() == Some(100);
                assert!(reply.status == 200 || is_running, "{}", reply.text());
            }
            let again = send_once(if nth % 2 == 0 { &here } else { &there }, &key, "x").await;
            assert_eq!(again.status, 200, "{}", again.text());
            let first = if one.status == 200 { &one } else { &other };
            assert_eq!(again.json()["messages"], first.json()["messages"]);
        }
        assert_eq!(world.emulator.sent().len(), before + PAIRS);
        assert_eq!(send_once(&there, "key-0", "y").await.status, 422);
        server.kill();
        let refused = send_once(&there, "key-0", "x").await;
        refused.assert_refused(503, 131_016, "store_unavailable");
        assert_eq!(world.emulator.sent().len(), before + PAIRS);
        server.begin();
        soon(async { while send_once(&there, "key-0", "x").await.status != 200 {} }).await;
        assert_eq!(world.emulator.sent().len(), before + PAIRS);
    }
}
