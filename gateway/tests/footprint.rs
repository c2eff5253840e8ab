//! Promise: 100,000 pins cost the process at most 15 MiB, the file's buffers included.
//!
//! Alone in its process, since it measures the process.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may panic")]

use std::fs;
use std::time::Duration;

use curfew::clock::Clock;
use curfew::stores::Stores;
use curfew_policies::{MediaId, Minute, Origin, Pin, Timestamp};
use futures_util::future::join_all;

const PINS: u64 = 100_000;
const AT_ONCE: u64 = 1_000;
const LIMIT_KIB: u64 = 15 << 10;
const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// The memory of this process that is resident, in KiB.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}

fn media(id: u64) -> MediaId {
    (1_000_000_000_000_000 + id * 7_919).to_string().parse().unwrap()
}

#[test]
fn a_hundred_thousand_pins_fit_into_15_mib() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("curfew.db");
    let clock = Clock::manual(START).0;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let pin = Pin {
        number: "106540352242922".parse().unwrap(),
        ends: START.after(Duration::from_secs(86_400)),
        origin: Origin::Upload,
    };
    let before = resident_kib();
    let open = || Stores::open(&path, &clock, Minute::REAL).unwrap();

    let stores = open();
    for first in (0..PINS).step_by(usize::try_from(AT_ONCE).unwrap()) {
        let ids = first..first + AT_ONCE;
        let records = runtime.block_on(join_all(ids.map(|id| stores.pins.record(media(id), pin))));
        assert!(records.into_iter().all(|recorded| recorded.unwrap() == pin));
    }
    let recorded = resident_kib() - before;
    drop(stores);
    let stores = open();
    let reopened = resident_kib() - before;

    assert_eq!(stores.pins.len(), usize::try_from(PINS).unwrap());
    println!("{recorded} KiB after recording, {reopened} KiB after opening again");
    assert!(recorded <= LIMIT_KIB, "{recorded} KiB after recording");
    assert!(reopened <= LIMIT_KIB, "{reopened} KiB after opening again");
}
