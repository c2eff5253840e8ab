//! With a file, all of it outlives `kill -9` of the gateway at any moment.

use std::collections::HashMap;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;

use common::TOKEN;
use common::process::{Gateway, write_config};
use curfew_emulator::{Emulator, Options};
use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::*;

const ROUNDS: u64 = 6;
const CALLERS: u64 = 8;

async fn start(folder: &Path) -> Emulator {
    let emulator = Emulator::start(Options {
        numbers: Options::from_policies_toml(PASS_THROUGH).expect("policies"),
        tokens: vec![TOKEN.to_owned()],
        ..Options::default()
    })
    .await
    .expect("the emulator starts");
    let store = "[store]\nkind = \"sqlite\"\npath = \"curfew.db\"\n";
    write_config(folder, &emulator.base_url(), PASS_THROUGH, store);
    emulator
}

/// The recipient of a key's send, so that the emulator's record says which was sent.
fn recipient(key: u64) -> String {
    format!("1555{key:07}")
}

async fn try_send(client: &Client, key: u64) -> Option<Reply> {
    let key_text = format!("canary-of-key-{key}");
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", key_text.as_str()),
    ];
    let body = Bytes::from(text(&recipient(key), "canary-of-body").to_string());
    client
        .try_send(Method::POST, &messages(DEFAULT), &headers, body)
        .await
        .ok()
}

/// Sends under new keys until the gateway is gone; says of each key what was told, if anything.
async fn send_on(client: Client, first: u64, told: mpsc::UnboundedSender<(u64, Option<Bytes>)>) {
    for turn in 0.. {
        let key = first + turn * CALLERS;
        let Some(reply) = try_send(&client, key).await else {
            let _ = told.send((key, None));
            return;
        };
        assert_eq!(reply.status, 200, "{}", reply.text());
        let _ = told.send((key, Some(reply.body)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_told_is_told_again_and_nothing_is_sent_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let emulator = start(folder.path()).await;
    let mut all = HashMap::new();
    for round in 0..ROUNDS {
        let gateway = Gateway::start(folder.path()).await;
        let client = Client::new(gateway.addr).bearer(TOKEN);
        let (tell, mut told) = mpsc::unbounded_channel();
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| tokio::spawn(send_on(client.clone(), round * 100_000 + caller, tell.clone())))
            .collect();
        drop(tell);
        let enough = usize::try_from(1 + RandomState::new().hash_one(round) % 60).expect("a small number");
        let before = all.len();
        while all.len() < before + enough {
            let (key, outcome) = soon(told.recv()).await.expect("callers go on");
            all.insert(key, outcome);
        }
        gateway.program.kill();
        for caller in join_all(callers).await {
            caller.expect("no caller was answered wrongly");
        }
        while let Some((key, outcome)) = told.recv().await {
            all.insert(key, outcome);
        }
    }

    let gateway = Gateway::start(folder.path()).await;
    let client = Client::new(gateway.addr).bearer(TOKEN);
    let (mut repeated, mut unknown, mut fresh) = (0, 0, 0);
    for (key, outcome) in &all {
        let reply = try_send(&client, *key).await.expect("an answer");
        match outcome {
            Some(body) => {
                assert!(is_replayed(&reply), "{key}: {}", reply.text());
                assert_eq!(&reply.body, body);
                repeated += 1;
            }
            // Nobody was told: kept but not told, not known, or not even begun.
            None if is_replayed(&reply) => repeated += 1,
            None if reply.status == 200 => fresh += 1,
            None => {
                reply.assert_refused(409, 131_000, "outcome_unknown");
                unknown += 1;
            }
        }
    }
    let mut sent: Vec<_> = emulator.sent().into_iter().map(|sent| sent.recipient).collect();
    let count = sent.len();
    sent.sort();
    sent.dedup();
    assert_eq!(sent.len(), count, "nothing was sent twice");
    assert!(count + unknown >= all.len());
    println!(
        "{} keys: {repeated} repeated, {unknown} unknown, {fresh} sent only now",
        all.len()
    );
    drop(gateway);
    assert_no_content(folder.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_with_meta_when_the_gateway_was_killed_is_not_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let emulator = start(folder.path()).await;
    emulator.fault(Fault::new(Operation::Send, Effect::Hang).times(1));
    let gateway = Gateway::start(folder.path()).await;
    let client = Client::new(gateway.addr).bearer(TOKEN);
    let asking = {
        let client = client.clone();
        tokio::spawn(async move { try_send(&client, 1).await.map(|reply| reply.status) })
    };
    let arrived = |emulator: &Emulator| {
        let received = emulator.received();
        received.iter().any(|call| call.operation == Operation::Send)
    };
    soon(emulator.until(arrived)).await;
    gateway.program.kill();
    assert_eq!(asking.await.expect("no panic"), None);

    for _ in 0..2 {
        let gateway = Gateway::start(folder.path()).await;
        let client = Client::new(gateway.addr).bearer(TOKEN);
        let reply = try_send(&client, 1).await.expect("an answer");
        reply.assert_refused(409, 131_000, "outcome_unknown");
        gateway.program.kill();
    }
    let received = emulator.received();
    let sends = received
        .iter()
        .filter(|call| call.operation == Operation::Send)
        .count();
    assert_eq!(sends, 1);
}

/// No key, recipient, body or answer is in any file that the gateways have left.
fn assert_no_content(folder: &Path) {
    let mut searched = 0;
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("a file").path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            continue;
        }
        let bytes = fs::read(&path).expect("a file");
        for canary in ["canary", "wamid.", "15550000", "15550100", TOKEN] {
            let found = memchr::memmem::find(&bytes, canary.as_bytes());
            assert!(found.is_none(), "{canary} in {}", path.display());
        }
        searched += bytes.len();
    }
    // The store among them.
    assert!(searched > 4096, "{searched}");
}
