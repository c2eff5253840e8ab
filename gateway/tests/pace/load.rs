//! Many callers at once, in real time: never above the limit, and close below it.
//!
//! Two seconds in the usual run, `CURFEW_PACE_SECONDS` for as long as a figure is worth: the bound is asserted, what was
//! reached is printed.

#![allow(
    clippy::disallowed_methods,
    reason = "how long it runs is a matter of the one who runs it"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use curfew_emulator::{Operation, Options};
use tokio::time::Instant;

use super::*;
use crate::common::Setup;

const CALLERS: usize = 8;

fn seconds() -> Duration {
    let seconds = std::env::var("CURFEW_PACE_SECONDS").ok();
    Duration::from_secs(seconds.map_or(2, |seconds| seconds.parse().expect("seconds")))
}

/// A gateway on the system's clock, before an emulator that holds Meta's limits.
async fn real_world(sends: &str) -> World {
    let callers: String = (0..CALLERS)
        .map(|nth| caller_table(&format!("caller{nth}"), &key(nth), &[DEFAULT], &["send"]))
        .collect();
    World::start(Setup {
        policies: policies(sends, &callers),
        real_time: true,
        emulator: Options {
            enforce_limits: true,
            record: 1_000_000,
            ..Options::default()
        },
        ..Setup::default()
    })
    .await
}

fn key(nth: usize) -> String {
    format!("the-key-of-{nth}")
}

/// Has every caller send for so long, `at_once` each, to ever new recipients. Answers by code: 0 for those that were taken.
async fn race(world: &World, lasts: Duration, at_once: usize) -> (Vec<(i64, u64)>, Duration) {
    let recipient = Arc::new(AtomicU64::new(15_550_000_000));
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for nth in 0..CALLERS * at_once {
        let client = world.caller(&key(nth % CALLERS));
        let recipient = Arc::clone(&recipient);
        tasks.spawn(async move {
            let mut codes = std::collections::BTreeMap::new();
            while began.elapsed() < lasts {
                let to = format!("+{}", recipient.fetch_add(1, Ordering::Relaxed));
                let reply = send(&client, &text(&to)).await;
                *codes.entry(reply.code().unwrap_or(0)).or_insert(0_u64) += 1;
            }
            codes
        });
    }
    let mut all = std::collections::BTreeMap::new();
    while let Some(codes) = tasks.join_next().await {
        for (code, count) in codes.unwrap() {
            *all.entry(code).or_insert(0) += count;
        }
    }
    (all.into_iter().collect(), began.elapsed())
}

fn count(codes: &[(i64, u64)], code: i64) -> u64 {
    codes
        .iter()
        .find(|(of, _)| *of == code)
        .map_or(0, |(_, count)| *count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_race_for_one_number_get_what_it_has_and_no_more() {
    const LIMIT: u32 = 80;
    let world = real_world("per_second = 80\nmax_wait_ms = 2000").await;
    let (codes, lasted) = race(&world, seconds(), 4).await;
    let admitted = u64::try_from(world.emulator.sent().len()).unwrap();
    let most = f64::from(LIMIT) * lasted.as_secs_f64() + f64::from(LIMIT);
    eprintln!("admitted {admitted} of at most {most:.1} in {lasted:?}; answers by code {codes:?}");
    assert!(u32::try_from(admitted).is_ok_and(|admitted| f64::from(admitted) <= most));
    assert_eq!(
        codes,
        [(0, admitted)],
        "everybody has a turn in time, and Meta refuses nobody"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_three_times_the_limit_nobody_hears_of_metas_limits() {
    // 240 a second want to go where 80 may: each of the many that wait leaves again when its time is over.
    // Meta counts when a message arrives, not when it was let go: what of the burst is left unused is for the way.
    let world = real_world("per_second = 80\nburst = 40\nmax_wait_ms = 1000").await;
    let (codes, lasted) = race(&world, seconds(), 30).await;
    let sent = u64::try_from(world.emulator.sent().len()).unwrap();
    eprintln!("{sent} sent in {lasted:?}; answers by code {codes:?}");
    assert!(sent > 80, "a burst, and what comes after it");
    assert_eq!(count(&codes, 0), sent);
    // The gateway tells callers itself when to come back: of what reached Meta, nothing was refused.
    let received = world.emulator.received();
    let reached = received
        .iter()
        .filter(|received| received.operation == Operation::Send);
    assert_eq!(u64::try_from(reached.count()), Ok(sent));
}
