//! What the limits cost: every send takes one decision.
//!
//! Measured on two shared virtual cores (Debian 12), optimised, while other work kept both busy; means of a thousand. A send
//! that passes all limits, among 100,000 recipients in no order: best 0.93 µs, medians of two runs 1.08 and
//! 1.48 µs, with two threads at one number 2.4 µs; one by one p50 0.98 µs, p99 1.6 µs, the slowest of 200,000 1.9 ms. A third of it, 0.33 to 0.43 µs, is the hash that says who the recipient is; most of the
//! rest waits for memory. One that is denied: best 0.64 µs, median 0.75 µs.

#![allow(clippy::print_stdout, reason = "a benchmark tells what it measured")]

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use curfew::clock::Clock;
use curfew::stores::limits::{Ask, Recipient, RecipientKey, SendLimits, Share, WaitingRoom, What};
use curfew_policies::{Minute, PhoneNumberId, PolicySet, SendClass, Timestamp, parse};
use divan::Bencher;
use futures_util::FutureExt as _;

/// How many recipients there are.
const RECIPIENTS: u64 = 100_000;
/// How much time passes before each send: slower than a thousand a second, and each recipient's turn comes every
/// two hundred seconds.
const STEP: Duration = Duration::from_millis(2);

fn main() {
    divan::main();
    tail();
}

/// Prints how long the slowest of many decisions take, one by one: a mean hides them.
fn tail() {
    const DECISIONS: u64 = 200_000;
    let Some(scene) = scene(1_000) else { return };
    let clock = Clock::system();
    let mut took: Vec<Duration> = (0..DECISIONS)
        .map(|nth| {
            scene.time.advance_monotonic(STEP);
            let began = clock.monotonic();
            scene.send(nth);
            clock.monotonic().since(began)
        })
        .collect();
    took.sort_unstable();
    let at = |percent: usize| {
        took.get((took.len() - 1) * percent / 100)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "of {DECISIONS} decisions: p50 {:?}, p99 {:?}, slowest {:?}",
        at(50),
        at(99),
        at(100)
    );
}

/// Limits under a clock that the benchmark moves.
struct Scene {
    limits: SendLimits,
    time: curfew::clock::ManualTime,
    number: Option<PhoneNumberId>,
    recipients: Vec<String>,
    next: AtomicU64,
}

fn policies(per_second: u32) -> PolicySet {
    let text = format!(
        "[[number]]\nphone_number_id = \"1001\"\nstorage = {{ mode = \"default\" }}\n\
         [number.sends]\nper_second = {per_second}\nburst = {per_second}\nkept_for_inbound = 10\nwhen_limited = \"reject\"\n\
         [[portfolio]]\nnumbers = [\"1001\"]\nunique_recipients_24h = 100000\n"
    );
    parse(&text).unwrap_or_default()
}

fn scene(per_second: u32) -> Option<Scene> {
    let (clock, time) = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let key = RecipientKey::derived_from(b"a secret of the benchmarks").ok()?;
    let limits = SendLimits::new(
        &policies(per_second),
        key,
        clock,
        Minute::REAL,
        WaitingRoom::DEFAULT,
        |_| {},
    );
    Some(Scene {
        limits,
        time,
        number: "1001".parse().ok(),
        recipients: (0..RECIPIENTS).map(|nth| format!("+49151{nth:08}")).collect(),
        next: AtomicU64::new(0),
    })
}

impl Scene {
    /// One send of a template; whether it passed.
    fn send(&self, nth: u64) -> bool {
        let to = usize::try_from(nth * 7_919 % RECIPIENTS)
            .ok()
            .and_then(|at| self.recipients.get(at));
        let (Some(number), Some(to)) = (self.number, to) else {
            return false;
        };
        let ask = Ask {
            number,
            app: 0,
            share: Share {
                caller: 1,
                weight: NonZeroU32::MIN,
            },
            what: What::Message {
                recipient: Recipient::Phone(to),
                class: SendClass::Utility,
                is_template: true,
            },
            bytes: 500,
        };
        matches!(self.limits.admit(&ask).now_or_never(), Some(Ok(_)))
    }

    fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// One send that passes all limits: throughput, share, pair and unique recipients, among 100,000 recipients.
#[divan::bench(threads = [1, 2], sample_count = 200, sample_size = 1_000)]
fn admitted(bencher: Bencher<'_, '_>) {
    let Some(scene) = scene(1_000) else { return };
    // All are known to the portfolio, as on any day after the first minutes.
    for nth in 0..RECIPIENTS {
        scene.time.advance_monotonic(STEP);
        scene.send(nth);
    }
    bencher.bench(|| {
        scene.time.advance_monotonic(STEP);
        assert!(scene.send(scene.next()), "every send passes");
    });
}

/// The part of it that says who the recipient is.
#[divan::bench(sample_count = 200, sample_size = 1_000)]
fn identified(bencher: Bencher<'_, '_>) {
    let Some(scene) = scene(1_000) else { return };
    let Some(number) = scene.number else { return };
    bencher.bench(|| scene.limits.identify(number, Recipient::Phone("+49 151 1234567")));
}

/// One send that is told to come back later, the number's throughput being used up.
#[divan::bench(sample_count = 200, sample_size = 1_000)]
fn denied(bencher: Bencher<'_, '_>) {
    let Some(scene) = scene(20) else { return };
    while scene.send(scene.next()) {}
    bencher.bench(|| assert!(!scene.send(scene.next()), "no send passes"));
}
