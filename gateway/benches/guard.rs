//! What the guard costs: every send passes two breakers and takes a place, and tells what came of it.
//!
//! Measured on two shared virtual cores (Debian 12), optimised, while other work kept both busy, medians: 0.70 µs; with two threads
//! at once, 2.4 µs.

use curfew::clock::Clock;
use curfew::guard::{Facts, Guard, Host, Traffic};
use curfew_policies::PhoneNumberId;
use divan::Bencher;
use futures_util::FutureExt as _;
use http::StatusCode;

fn main() {
    divan::main();
}

/// From a send's first question to its answer's end, by one thread and by two, each with a number of its own.
#[divan::bench(threads = [1, 2])]
fn send(bencher: Bencher<'_, '_>) {
    let guard = Guard::new(Clock::system(), 25);
    let numbers: Vec<PhoneNumberId> = (1_001_u64..1_101)
        .filter_map(|id| id.to_string().parse().ok())
        .collect();
    let token = vec![b'x'; 200];
    let next = std::sync::atomic::AtomicUsize::new(0);
    bencher.bench(|| {
        let turn = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let facts = Facts {
            traffic: Traffic::Send,
            host: Host::Graph,
            number: numbers.get(turn % numbers.len()).copied(),
            is_upload: false,
            caller: guard.caller_key(token.as_slice()),
        };
        if let Some(Ok(mut ticket)) = guard.admit(facts).now_or_never() {
            ticket.answered(StatusCode::OK);
            ticket.ended();
        }
    });
}
