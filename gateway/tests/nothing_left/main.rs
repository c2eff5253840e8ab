//! Promise: one second after an exchange has ended, nothing of its content is in the gateway's memory, files, log or figures,
//! however it ended, though its connections are still open. `README.md` beside this file says what that proves.
//!
//! The real program is searched from outside, by the kernel's own account of its memory, so this runs on Linux only.
#![cfg(target_os = "linux")]
#![allow(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and shows its figures"
)]

#[path = "../common/mod.rs"]
mod common;

mod canary;
mod exchange;
mod scan;
mod world;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use curfew_emulator::{Effect, Fault, Operation};
use serde_json::json;
use tokio::sync::{Barrier, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, timeout};

use crate::canary::Canaries;
use crate::common::{Client, PATIENCE, soon};
use crate::exchange::{Act, End, Exchange, Live, exchanges};
use crate::scan::{Finding, Memory, search_bytes, search_folder, told};
use crate::world::{CACHING, Wires, World, cannot_read_memory};

/// How long content may be found after its exchange.
const PROMISED: Duration = Duration::from_secs(1);
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_in_clear_text() {
    nothing_is_left(Wires::ClearText).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_over_tls() {
    nothing_is_left(Wires::Tls).await;
}

async fn nothing_is_left(wires: Wires) {
    let mut world = World::start(wires).await;
    let Ok(memory) = Memory::open(world.gateway.program.id()) else {
        return cannot_read_memory();
    };
    let exchanges = exchanges();
    let canaries = Canaries::new(exchanges.len());
    // A reset may strike a connection that others share, so those that it is meant for come after the others.
    let (ordinary, broken): (Vec<_>, Vec<_>) = exchanges
        .iter()
        .copied()
        .enumerate()
        .partition(|(_, exchange)| exchange.end != End::MetaBreaksOff);
    let mut live = wave(&world, &memory, &canaries, &ordinary, &[]).await;
    let early = Effect::ResetReply { after_bytes: 10 };
    let half = Effect::ResetReply { after_bytes: 15_000 };
    let faults = [
        Fault::new(Operation::Send, early.clone()),
        Fault::new(Operation::Upload, early),
        Fault::new(Operation::MediaDownload, half),
    ];
    live.extend(wave(&world, &memory, &canaries, &broken, &faults).await);
    world.emulator.clear_faults();

    // A copy's life is longer than an exchange's; this is how it ends here.
    let operator = Client::new(world.gateway.admin).anonymous();
    let purged = operator
        .post("/purge", &json!({ "phone_number_id": CACHING.to_string() }))
        .await;
    assert_eq!(purged.status, 200, "{}", purged.text());

    // The clock is part of the promise: what is found a second after the end counts, whatever was there before.
    interval_at(Instant::now() + PROMISED, PROMISED).tick().await;
    let begun = Instant::now();
    let left = tokio::task::block_in_place(|| memory.search(&canaries));
    println!(
        "{wires:?}: {} exchanges, {} MiB searched in {} ms, {} copies",
        exchanges.len(),
        left.bytes >> 20,
        begun.elapsed().as_millis(),
        left.findings.len()
    );
    assert_none("memory", &exchanges, &left.findings);
    for live in &mut live {
        assert_ended_as_planned(live).await;
    }
    assert_none_outside_memory(&mut world, &memory, &canaries, &exchanges).await;
}

/// Lets these exchanges happen, all at once: first until the scan has seen each kind of them while they are under way, then with the ends
/// that are meant, which these faults help to.
async fn wave(
    world: &World,
    memory: &Memory,
    canaries: &Canaries,
    exchanges: &[(usize, Exchange)],
    faults: &[Fault],
) -> Vec<Live> {
    let (seen, seeing) = watch::channel(HashSet::new());
    let go = Arc::new(Barrier::new(exchanges.len() + 1));
    let mut prepared = Vec::new();
    // One after the other: about media that it does not know, the gateway asks Meta few questions at once.
    for (index, exchange) in exchanges {
        prepared.push(soon(exchange.prepare(world, canaries.canary(*index))).await);
    }
    let mut running = JoinSet::new();
    for prepared in prepared {
        running.spawn(prepared.run(seeing.clone(), Arc::clone(&go)));
    }
    let kinds: HashMap<_, _> = exchanges
        .iter()
        .map(|(index, exchange)| (*index, exchange.kind()))
        .collect();
    let mut missing: HashSet<_> = kinds.values().copied().collect();
    let saw_all = timeout(PATIENCE, async {
        while !missing.is_empty() {
            let scan = tokio::task::block_in_place(|| memory.search(canaries));
            for kind in scan
                .findings
                .iter()
                .filter_map(|finding| kinds.get(&finding.canary))
            {
                if missing.remove(kind) {
                    seen.send_modify(|seen| {
                        seen.insert(*kind);
                    });
                }
            }
            if let Some(ended) = running.try_join_next() {
                ended.expect("no exchange fails");
            }
            tokio::task::yield_now().await;
        }
    });
    if saw_all.await.is_err() {
        panic!("never found while under way, so that not finding it proves nothing: {missing:?}");
    }
    // Nobody rehearses any more.
    soon(go.wait()).await;
    for fault in faults {
        world.emulator.fault(fault.clone());
    }
    soon(go.wait()).await;
    soon(running.join_all()).await
}

async fn assert_none_outside_memory(
    world: &mut World,
    memory: &Memory,
    canaries: &Canaries,
    exchanges: &[Exchange],
) {
    let (names, findings) = memory.search_files(canaries);
    assert!(
        names.iter().any(|name| name.ends_with("curfew.db")),
        "the store's file is open: {names:?}"
    );
    assert_none("files open for writing", exchanges, &findings);
    let findings = search_folder(canaries, world.folder.path());
    assert_none("files in its folder", exchanges, &findings);
    let operator = Client::new(world.gateway.admin).anonymous();
    for path in ["/", "/livez", "/readyz", "/metrics"] {
        let reply = operator.get(path).await;
        let said = format!("{:?} {}", reply.headers, reply.text());
        assert_none(path, exchanges, &search_bytes(canaries, said.as_bytes(), path));
    }
    let log = world.gateway.program.lines_so_far().join("\n");
    assert!(log.contains("request"), "the log tells of requests");
    assert_none(
        "the log",
        exchanges,
        &search_bytes(canaries, log.as_bytes(), "the log"),
    );
}

#[track_caller]
fn assert_none(place: &str, exchanges: &[Exchange], findings: &[Finding]) {
    let told = told(findings, |canary| exchanges[canary].to_string());
    assert!(
        findings.is_empty(),
        "{} copies in {place}:\n{told}",
        findings.len()
    );
}

async fn assert_ended_as_planned(live: &mut Live) {
    let Exchange {
        act, end, protocol, ..
    } = live.exchange;
    let expected = match (act, end) {
        (Act::Download, End::MetaBreaksOff) => live.status.filter(|status| *status == 200),
        (_, End::Whole) | (Act::Download | Act::CachedDownload, _) => Some(200),
        (_, End::CallerLeaves) => None,
        (_, End::CallerStalls) => Some(408),
        (Act::Send, End::Refused) => Some(403),
        (Act::Upload, End::Refused) => Some(400),
        (Act::Send, End::MetaBreaksOff) => Some(409),
        (Act::Upload, End::MetaBreaksOff) => live.status.filter(|status| *status >= 500),
    };
    assert_eq!(live.status, expected, "{}", live.exchange);
    // What was searched had open connections, or it would have been too easy.
    if end == End::Whole || protocol == "h2" {
        assert!(
            live.serves().await,
            "{}: the connection is not open",
            live.exchange
        );
    }
}
