use std::fs;
use std::pin::pin;
use std::time::Duration;

use curfew_policies::Origin;
use futures_util::FutureExt;
use futures_util::future::join_all;
use proptest::prelude::*;

use super::super::Stores;
use super::*;
use crate::stores::testing::{Bench, DAY, START};

impl Bench {
    fn refusal(&self) -> StoreError {
        self.open().expect_err("the file must be refused")
    }

    /// The file as an auditor's `sqlite3` sees it.
    fn auditor(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    fn record(&self, stores: &Stores, id: u64, pin: Pin) -> Result<Pin, StoreError> {
        self.runtime.block_on(stores.pins.record(media(id), pin))
    }
}

fn media(id: u64) -> MediaId {
    id.to_string().parse().unwrap()
}

fn number(id: u64) -> PhoneNumberId {
    id.to_string().parse().unwrap()
}

/// A file's notes are read in memory, at once.
fn recent(stores: &Stores, call: RegistrationCall) -> u32 {
    stores
        .registrations
        .recent(number(1), call)
        .now_or_never()
        .unwrap()
        .unwrap()
}

fn upload(by: u64) -> Pin {
    Pin {
        number: number(by),
        ends: START.after(DAY),
        origin: Origin::Upload,
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// At once, so that they meet in one transaction.
    Record(Vec<(u64, Pin)>),
    Bury(u64),
    Sweep,
    Pass(Duration),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let origin = prop_oneof![Just(Origin::Upload), Just(Origin::Inbound), Just(Origin::Webhook)];
    let pin = (1u64..4, 0u64..96, origin).prop_map(|(by, hours, origin)| Pin {
        number: number(by),
        ends: START.after(Duration::from_secs(hours * 3600)),
        origin,
    });
    let id = prop_oneof![1u64..6, Just(u64::MAX)];
    let records = proptest::collection::vec((id.clone(), pin), 1..6);
    let step = prop_oneof![
        6 => records.prop_map(Step::Record),
        2 => id.prop_map(Step::Bury),
        1 => Just(Step::Sweep),
        2 => (0u64..30).prop_map(|hours| Step::Pass(Duration::from_secs(hours * 3600))),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..15)
}

proptest! {
    // Each step waits for the disk.
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The memory store is the model: whatever is done, the file answers the same, now and after it was reopened.
    #[test]
    fn after_reopening_the_same_pins_are_there(steps in steps()) {
        let bench = Bench::new();
        let model = Stores::in_memory(&bench.clock, Minute::REAL).unwrap().pins;
        let mut stores = bench.open().unwrap();
        for step in steps.into_iter().chain([Step::Reopen]) {
            match step {
                Step::Record(records) => {
                    let written = records.iter().map(|(id, pin)| stores.pins.record(media(*id), *pin));
                    let written = bench.runtime.block_on(join_all(written));
                    for ((id, pin), written) in records.iter().zip(written) {
                        let expected = model.record(media(*id), *pin).now_or_never().unwrap();
                        prop_assert_eq!(written.unwrap(), expected.unwrap());
                    }
                }
                Step::Bury(id) => {
                    let buried = bench.runtime.block_on(stores.pins.bury(media(id))).unwrap();
                    let expected = model.bury(media(id)).now_or_never().unwrap();
                    prop_assert_eq!(buried, expected.unwrap());
                }
                Step::Sweep => {
                    let swept = bench.runtime.block_on(stores.pins.sweep()).unwrap();
                    prop_assert_eq!(swept, model.sweep().now_or_never().unwrap().unwrap());
                }
                Step::Pass(duration) => bench.time.advance(duration),
                Step::Reopen => {
                    drop(stores);
                    stores = bench.open().unwrap();
                }
            }
            prop_assert_eq!(stores.pins.len(), model.len());
            for id in (1..6).chain([u64::MAX]) {
                prop_assert_eq!(stores.pins.find(media(id)), model.find(media(id)));
            }
        }
    }
}

#[test]
fn registration_calls_survive_a_restart_and_end_after_72_hours() {
    let bench = Bench::new();
    let note = |stores: &Stores, call| {
        let noted = stores.registrations.note(number(1), call, u32::MAX);
        match bench.runtime.block_on(noted).unwrap() {
            Note::Taken { calls, .. } => calls,
            Note::Full { .. } => panic!("there is no limit"),
        }
    };
    let stores = bench.open().unwrap();
    assert_eq!(note(&stores, RegistrationCall::Register), 1);
    bench.time.advance(DAY);
    assert_eq!(note(&stores, RegistrationCall::Register), 2);
    assert_eq!(note(&stores, RegistrationCall::Deregister), 1);
    drop(stores);
    let stores = bench.open().unwrap();
    assert_eq!(recent(&stores, RegistrationCall::Register), 2);
    bench.time.advance(2 * DAY);
    assert_eq!(recent(&stores, RegistrationCall::Register), 1);
    assert_eq!(note(&stores, RegistrationCall::Register), 2);
    let rows: i64 = bench
        .auditor()
        .query_row("SELECT count(*) FROM registration_call", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 3, "the call that no longer counts is gone from the file");
}

#[test]
fn two_gateways_cannot_share_a_file_under_any_name() {
    let bench = Bench::new();
    let stores = bench.open().unwrap();
    assert!(matches!(bench.refusal(), StoreError::InUse { .. }));
    #[cfg(unix)]
    {
        let link = bench.folder.path().join("other.db");
        std::os::unix::fs::symlink(bench.path(), &link).unwrap();
        let refusal = Stores::open(&link, &bench.clock, Minute::REAL);
        assert!(matches!(refusal, Err(StoreError::InUse { .. })));
        // A link to what is not there yet would be locked under its own name.
        let dangling = bench.folder.path().join("dangling.db");
        std::os::unix::fs::symlink(bench.folder.path().join("later.db"), &dangling).unwrap();
        let refusal = Stores::open(&dangling, &bench.clock, Minute::REAL);
        assert!(matches!(refusal, Err(StoreError::Open { .. })));
    }
    let clone = stores.clone();
    drop(stores);
    assert!(matches!(bench.refusal(), StoreError::InUse { .. }));
    drop(clone);
    bench.open().unwrap();
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_left_as_it_was() {
    let bench = Bench::new();
    fs::write(bench.path(), "once upon a time, a text that SQLite did not write").unwrap();
    assert!(matches!(bench.refusal(), StoreError::NotADatabase { .. }));
    fs::remove_file(bench.path()).unwrap();

    let other = bench.auditor();
    other.execute_batch("CREATE TABLE customer (name TEXT)").unwrap();
    drop(other);
    let before = fs::read(bench.path()).unwrap();
    assert!(matches!(bench.refusal(), StoreError::Foreign { .. }));
    assert_eq!(fs::read(bench.path()).unwrap(), before);
}

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let bench = Bench::new();
    drop(bench.open().unwrap());
    bench.auditor().pragma_update(None, "user_version", 4).unwrap();
    assert!(matches!(
        bench.refusal(),
        StoreError::Newer {
            found: 4,
            known: 3,
            ..
        }
    ));
}

#[test]
fn a_file_of_an_older_version_keeps_what_it_holds() {
    for version in 1..file::MIGRATIONS.len() {
        let bench = Bench::new();
        let older = bench.auditor();
        for migration in file::MIGRATIONS.iter().take(version) {
            older.execute_batch(migration).unwrap();
        }
        older
            .pragma_update(None, "application_id", file::APPLICATION_ID)
            .unwrap();
        let number = i64::try_from(version).unwrap();
        older.pragma_update(None, "user_version", number).unwrap();
        let ends = i64::try_from(upload(1).ends.millis()).unwrap();
        let rows = [("71", "upload"), ("72", "inbound"), ("73", "deleted")];
        for (media, origin) in rows {
            let insert = "INSERT INTO pin VALUES (?1, '1', ?2, ?3)";
            older
                .execute(insert, rusqlite::params![media, ends, origin])
                .unwrap();
        }
        drop(older);
        for _ in 0..2 {
            let stores = bench.open().unwrap();
            for (id, origin) in [(71, Origin::Upload), (72, Origin::Inbound), (73, Origin::Deleted)] {
                let pin = Pin { origin, ..upload(1) };
                assert_eq!(stores.pins.find(media(id)), Some(pin), "from version {version}");
            }
        }
    }
}

#[test]
fn a_damaged_row_stops_the_start() {
    let bench = Bench::new();
    drop(bench.open().unwrap());
    let insert = "INSERT INTO pin VALUES ('0123', '1', 0, 'upload')";
    bench.auditor().execute(insert, []).unwrap();
    assert!(matches!(bench.refusal(), StoreError::Damaged { .. }));
}

#[test]
fn a_path_that_cannot_be_a_file_is_refused() {
    let bench = Bench::new();
    let missing = bench.folder.path().join("missing").join("curfew.db");
    for path in [missing.as_path(), bench.folder.path()] {
        let refusal = Stores::open(path, &bench.clock, Minute::REAL);
        assert!(matches!(refusal, Err(StoreError::Open { .. })), "{refusal:?}");
    }
}

#[test]
fn a_failed_write_is_an_error_and_the_store_goes_on_after_it() {
    let bench = Bench::new();
    let stores = bench.open().unwrap();
    bench.record(&stores, 1, upload(1)).unwrap();
    let auditor = bench.auditor();
    auditor
        .execute_batch(
            "CREATE TRIGGER full BEFORE INSERT ON pin WHEN new.media_id = '3'
             BEGIN SELECT raise(ABORT, 'database or disk is full'); END",
        )
        .unwrap();
    let together = [2, 3, 4].map(|id| stores.pins.record(media(id), upload(1)));
    let outcomes = bench.runtime.block_on(join_all(together));
    assert!(matches!(outcomes[1], Err(StoreError::Write { .. })));
    for (id, outcome) in [2, 3, 4].into_iter().zip(&outcomes) {
        assert_eq!(stores.pins.find(media(id)).is_some(), outcome.is_ok(), "{id}");
    }
    auditor.execute_batch("DROP TRIGGER full").unwrap();
    bench.record(&stores, 3, upload(1)).unwrap();
    drop(stores);
    let stores = bench.open().unwrap();
    assert_eq!(stores.pins.find(media(3)), Some(upload(1)));
    for (id, outcome) in [2, 4].into_iter().zip([&outcomes[0], &outcomes[2]]) {
        assert_eq!(stores.pins.find(media(id)).is_some(), outcome.is_ok(), "{id}");
    }
}

#[test]
fn an_auditor_can_read_while_the_gateway_writes() {
    let bench = Bench::new();
    let stores = bench.open().unwrap();
    bench.record(&stores, 17, upload(4)).unwrap();
    let auditor = bench.auditor();
    auditor.execute_batch("BEGIN; SELECT count(*) FROM pin").unwrap();
    bench.record(&stores, u64::MAX, upload(4)).unwrap();
    auditor.execute_batch("COMMIT").unwrap();
    let mut select = auditor
        .prepare("SELECT media_id, phone_number_id, datetime(ends_ms / 1000, 'unixepoch'), origin FROM pin")
        .unwrap();
    let rows = select.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]));
    let rows: Vec<[String; 4]> = rows.unwrap().map(Result::unwrap).collect();
    let row = |id: &str| [id, "4", "2027-01-16 08:00:00", "upload"].map(str::to_owned);
    assert_eq!(rows, [row("17"), row("18446744073709551615")]);
    let mode: String = auditor
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
}

#[test]
fn a_pin_is_written_even_if_nobody_waits_for_it_any_more() {
    let bench = Bench::new();
    let stores = bench.open().unwrap();
    {
        let mut record = pin!(stores.pins.record(media(1), upload(1)));
        // Polled once: it is queued, and may or may not be written yet.
        bench
            .runtime
            .block_on(async { futures_util::poll!(record.as_mut()).is_ready() });
    }
    drop(stores);
    let stores = bench.open().unwrap();
    assert_eq!(stores.pins.find(media(1)), Some(upload(1)));
}

#[test]
fn every_write_is_synced_before_it_is_answered() {
    let bench = Bench::new();
    drop(bench.open().unwrap());
    let connection = connect(&bench.path()).unwrap();
    let synchronous: i64 = connection
        .pragma_query_value(None, "synchronous", |row| row.get(0))
        .unwrap();
    assert_eq!(synchronous, 2, "FULL");
}

#[test]
#[cfg(unix)]
fn only_the_owner_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    let stores = bench.open().unwrap();
    bench.record(&stores, 1, upload(1)).unwrap();
    let mut seen = 0;
    for entry in fs::read_dir(bench.folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", entry.file_name());
        seen += 1;
    }
    assert!(seen >= 3, "database, write-ahead log and lock");
}

#[test]
fn what_was_taken_back_or_not_noted_is_not_in_the_file() {
    let bench = Bench::new();
    let stores = bench.open().unwrap();
    let call = RegistrationCall::Register;
    let note = || {
        bench
            .runtime
            .block_on(stores.registrations.note(number(1), call, 2))
    };
    let Note::Taken { calls: 1, at } = note().unwrap() else {
        panic!("there is room")
    };
    assert!(matches!(note().unwrap(), Note::Taken { calls: 2, .. }));
    assert_eq!(note().unwrap(), Note::Full { calls: 2 });
    let take_back = stores.registrations.take_back(number(1), call, at);
    bench.runtime.block_on(take_back).unwrap();
    assert_eq!(recent(&stores, call), 1);
    drop(stores);
    let stores = bench.open().unwrap();
    assert_eq!(recent(&stores, call), 1);
}
