//! Promise: nothing acknowledged is lost by `kill -9`.
//!
//! A process of its own records, and says so only after the store has answered; it is killed after a random number of
//! such lines, and the file must hold all that it said. What this cannot show is a loss of power: for that the store
//! relies on SQLite's `synchronous=FULL`.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "what a test cannot go on without may panic")]

use std::collections::HashMap;
use std::env;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use curfew::clock::Clock;
use curfew::stores::{Note, RegistrationCall, Stores};
use curfew_policies::{MediaId, Minute, Origin, PhoneNumberId, Pin, Timestamp};
use futures_util::FutureExt as _;

const ROUNDS: u64 = 25;
/// Ids of one round, so that no two rounds record the same.
const IDS: u64 = 1_000_000;
const WRITERS: u64 = 16;
const SIGKILL: i32 = 9;
const STORE: &str = "CURFEW_TEST_KILL_STORE";
const FIRST_ID: &str = "CURFEW_TEST_KILL_FIRST_ID";

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn open(path: &Path) -> Stores {
    // Both processes stand at the same time, so that all that they say stays comparable.
    Stores::open(path, &Clock::manual(START).0, Minute::REAL).unwrap()
}

fn media(id: u64) -> MediaId {
    id.to_string().parse().unwrap()
}

fn number(id: u64) -> PhoneNumberId {
    id.to_string().parse().unwrap()
}

/// What is recorded for a medium follows from its id.
fn pin(id: u64) -> Pin {
    Pin {
        number: number(id % WRITERS + 1),
        ends: START.after(Duration::from_secs(86_400 + id)),
        origin: Origin::Upload,
    }
}

#[test]
#[ignore = "started by `nothing_acknowledged_is_lost_by_kill_9`, which kills it"]
fn recorder() {
    let (Some(path), Some(first_id)) = (env::var_os(STORE), env::var_os(FIRST_ID)) else {
        println!("nothing to do without {STORE} and {FIRST_ID}");
        return;
    };
    let first_id: u64 = first_id.to_str().unwrap().parse().unwrap();
    let stores = open(&PathBuf::from(path));
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    runtime.block_on(async {
        let writers = (0..WRITERS).map(|writer| tokio::spawn(write(stores.clone(), first_id, writer)));
        futures_util::future::join_all(writers).await;
    });
}

/// Records until it is killed, and reports each step once the store has answered.
async fn write(stores: Stores, first_id: u64, writer: u64) {
    for id in (first_id + writer..first_id + IDS).step_by(usize::try_from(WRITERS).unwrap()) {
        assert_eq!(stores.pins.record(media(id), pin(id)).await.unwrap(), pin(id));
        say(&format!("pinned {id}"));
        if id % 5 == 0 {
            stores.pins.bury(media(id)).await.unwrap();
            say(&format!("buried {id}"));
        }
        if id % 7 == 0 {
            let noted = stores
                .registrations
                .note(number(writer + 1), RegistrationCall::Register, u32::MAX);
            let Note::Taken { calls, .. } = noted.await.unwrap() else {
                unreachable!("there is no limit");
            };
            say(&format!("noted {} {calls}", writer + 1));
        }
    }
}

/// In one piece, on a line of its own whatever the test harness prints beside it.
fn say(line: &str) {
    io::stdout()
        .lock()
        .write_all(format!("\n{line}\n").as_bytes())
        .unwrap();
}

/// What the killed processes have said.
#[derive(Default)]
struct Said {
    pins: HashMap<u64, Origin>,
    /// The most calls that were said to be noted, by number.
    calls: HashMap<u64, u32>,
    lines: usize,
}

impl Said {
    fn take(&mut self, line: &str) {
        let words: Vec<_> = line.trim().split(' ').collect();
        match words.as_slice() {
            ["pinned", id] => drop(self.pins.insert(id.parse().unwrap(), Origin::Upload)),
            ["buried", id] => drop(self.pins.insert(id.parse().unwrap(), Origin::Deleted)),
            ["noted", number, count] => {
                let most = self.calls.entry(number.parse().unwrap()).or_default();
                *most = count.parse::<u32>().unwrap().max(*most);
            }
            _ => return,
        }
        self.lines += 1;
    }

    fn check(&self, stores: &Stores) {
        for (id, origin) in &self.pins {
            let found = stores.pins.find(media(*id));
            let said = Pin {
                origin: *origin,
                ..pin(*id)
            };
            // The burial may have been written without having been said.
            let buried = Pin {
                origin: Origin::Deleted,
                ..said
            };
            assert!(
                found == Some(said) || found == Some(buried),
                "{id}: {found:?}, not {said:?}"
            );
        }
        for (id, count) in &self.calls {
            let found = stores
                .registrations
                .recent(number(*id), RegistrationCall::Register)
                .now_or_never()
                .and_then(Result::ok);
            assert!(found >= Some(*count), "{found:?} calls of {id}, not {count}");
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("curfew.db");
    let mut said = Said::default();
    for round in 0..ROUNDS {
        let mut recorder = Command::new(env::current_exe().unwrap())
            .args(["--exact", "recorder", "--ignored", "--nocapture"])
            .env(STORE, &path)
            .env(FIRST_ID, (1 + round * IDS).to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(recorder.stdout.take().unwrap());
        let enough = said.lines + usize::try_from(1 + RandomState::new().hash_one(round) % 300).unwrap();
        let mut is_killed = false;
        let mut line = String::new();
        while lines.read_line(&mut line).unwrap() > 0 {
            // Without its end, a line may be cut inside a number.
            if line.ends_with('\n') {
                said.take(&line);
            }
            line.clear();
            if said.lines >= enough && !is_killed {
                recorder.kill().unwrap();
                is_killed = true;
            }
        }
        let status = recorder.wait().unwrap();
        assert_eq!(status.signal(), Some(SIGKILL), "round {round}: {status}");
        said.check(&open(&path));
    }
    assert!(said.pins.len() > usize::try_from(ROUNDS).unwrap() && !said.calls.is_empty());
}
