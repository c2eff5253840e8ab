//! Promise: a disk that is full makes a store say no, loses nothing that it said yes to, and is over when there is room.
//!
//! The system itself refuses the writes: a process of its own lowers the size to which its files may grow.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may panic")]

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use curfew::clock::Clock;
use curfew::stores::{StoreError, Stores};
use curfew_policies::{MediaId, Minute, Origin, Pin, Timestamp};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const STORE: &str = "CURFEW_TEST_DISK_FULL_STORE";
const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
/// How large a file may grow while the disk is "full", in bytes: room for the first pins and no more.
const FULL: u64 = 256 << 10;
/// By when writing must have failed.
const MANY: u64 = 20_000;

fn open(path: &Path) -> Stores {
    Stores::open(path, &Clock::manual(START).0, Minute::REAL).unwrap()
}

fn media(id: u64) -> MediaId {
    id.to_string().parse().unwrap()
}

fn pin() -> Pin {
    Pin {
        number: "106540352242922".parse().unwrap(),
        ends: START.after(Duration::from_secs(86_400)),
        origin: Origin::Upload,
    }
}

fn let_files_grow_to(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    let current = bytes.or(maximum);
    setrlimit(Resource::Fsize, Rlimit { current, maximum }).unwrap();
}

#[test]
#[ignore = "started by `a_full_disk_is_an_error_and_not_a_loss`, in a process whose files it may limit"]
fn filler() {
    let Some(path) = env::var_os(STORE).map(PathBuf::from) else {
        println!("nothing to do without {STORE}");
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let stores = open(&path);
    let record = |id| runtime.block_on(stores.pins.record(media(id), pin()));
    let_files_grow_to(Some(FULL));
    let (refused, error) = (1..MANY)
        .find_map(|id| record(id).err().map(|error| (id, error)))
        .unwrap();
    assert!(matches!(error, StoreError::Write { .. }), "{error:?}");
    assert!(refused > 10, "there was room for the first ones");
    assert_eq!(stores.pins.find(media(refused)), None);
    assert!(record(refused).is_err(), "there is still no room");
    let_files_grow_to(None);
    record(MANY).unwrap();
    drop(stores);
    let stores = open(&path);
    for id in (1..refused).chain([MANY]) {
        assert_eq!(stores.pins.find(media(id)), Some(pin()), "{id}");
    }
    println!("refused {refused}");
}

#[test]
fn a_full_disk_is_an_error_and_not_a_loss() {
    let folder = tempfile::tempdir().unwrap();
    // Ignored here and so in the child, the signal gives way to an error from the write, as from a disk that is full.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "filler", "--ignored", "--nocapture"])
        .env(STORE, folder.path().join("curfew.db"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("refused "), "{said}");
}
