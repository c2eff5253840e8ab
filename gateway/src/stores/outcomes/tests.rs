use std::pin::pin;

use curfew_policies::Minute;
use futures_util::future::join_all;
use proptest::prelude::*;
use rusqlite::Connection;

use super::super::Stores;
use super::*;
use crate::stores::testing::{Bench, DAY, START};

const BILLING: Asker<'_> = Asker::Known("billing");

impl Bench {
    fn file(&self) -> Outcomes {
        self.open().unwrap().outcomes
    }

    fn memory(&self) -> Outcomes {
        Outcomes::in_memory(self.clock.clone(), Outcomes::MEMORY_BYTES).unwrap()
    }

    fn both(&self) -> [Outcomes; 2] {
        [self.memory(), self.file()]
    }

    fn begin_marked(&self, outcomes: &Outcomes, name: &Name, marker: Option<Marker>) -> Begin {
        self.runtime.block_on(outcomes.begin(name, DAY, marker)).unwrap()
    }

    fn begin(&self, outcomes: &Outcomes, name: &Name) -> Begin {
        self.begin_marked(outcomes, name, None)
    }

    fn entry(&self, outcomes: &Outcomes, name: &Name) -> Entry {
        match self.begin(outcomes, name) {
            Begin::Begun(entry) => entry,
            other => panic!("{other:?}"),
        }
    }

    fn finish(&self, entry: Entry, sealed: &[u8]) {
        self.runtime.block_on(entry.finish(sealed.into())).unwrap();
    }

    fn settle(&self, outcomes: &Outcomes, marker: Marker, settled: &Settled) -> bool {
        self.runtime
            .block_on(outcomes.settle(marker, settled.clone()))
            .unwrap()
    }

    fn sweep(&self, outcomes: &Outcomes) -> usize {
        self.runtime.block_on(outcomes.sweep()).unwrap()
    }
}

fn sending<'a>(key: &'a [u8], body: &'a [u8]) -> Sending<'a> {
    Sending {
        number: Some("1001".parse().unwrap()),
        key: Some(key),
        target: "/v23.0/1001/messages",
        body,
    }
}

fn name(outcomes: &Outcomes, key: &str) -> Name {
    outcomes.name(BILLING, &sending(key.as_bytes(), b"{}")).unwrap()
}

fn shown(begin: &Begin) -> String {
    match begin {
        Begin::Begun(_) => "begun".to_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_send_is_begun_once_and_its_outcome_is_kept_for_its_life() {
    let bench = Bench::new();
    for outcomes in bench.both() {
        let name = name(&outcomes, "k");
        let entry = bench.entry(&outcomes, &name);
        assert!(matches!(bench.begin(&outcomes, &name), Begin::Running));
        bench.finish(entry, b"sealed");
        for pass in [Duration::ZERO, DAY - Duration::from_millis(1)] {
            bench.time.advance(pass);
            let done = bench.begin(&outcomes, &name);
            assert!(
                matches!(&done, Begin::Done(Kept::Sealed(sealed)) if **sealed == *b"sealed"),
                "{done:?}"
            );
            assert_eq!(bench.sweep(&outcomes), 0);
        }
        bench.time.advance(Duration::from_millis(1));
        drop(bench.entry(&outcomes, &name));
    }
}

#[test]
fn another_body_under_the_same_key_is_another_send_and_refused_while_the_first_is_known() {
    let bench = Bench::new();
    for outcomes in bench.both() {
        let first = name(&outcomes, "k");
        let other = outcomes.name(BILLING, &sending(b"k", b"{ }")).unwrap();
        let mut entry = bench.entry(&outcomes, &first);
        assert!(matches!(bench.begin(&outcomes, &other), Begin::OtherBody));
        entry.sets_out();
        drop(entry);
        assert!(matches!(bench.begin(&outcomes, &other), Begin::OtherBody));
        assert!(matches!(bench.begin(&outcomes, &first), Begin::Unknown));
        bench.time.advance(DAY);
        drop(bench.entry(&outcomes, &other));
    }
}

#[test]
fn what_was_dropped_before_it_set_out_is_free_and_afterwards_unknown() {
    let bench = Bench::new();
    for outcomes in bench.both() {
        let name = name(&outcomes, "k");
        for _ in 0..3 {
            drop(bench.entry(&outcomes, &name));
        }
        let mut entry = bench.entry(&outcomes, &name);
        entry.sets_out();
        entry.free();
        let mut entry = bench.entry(&outcomes, &name);
        entry.sets_out();
        drop(entry);
        assert!(matches!(bench.begin(&outcomes, &name), Begin::Unknown));
    }
}

#[test]
fn who_stops_waiting_for_a_begin_leaves_nothing_begun() {
    let bench = Bench::new();
    for outcomes in bench.both() {
        for turn in 0..200 {
            let name = name(&outcomes, "k");
            bench.runtime.block_on(async {
                let mut begin = pin!(outcomes.begin(&name, DAY, None));
                // Polled once: asked for, and answered by now or later.
                let _ = futures_util::poll!(begin.as_mut());
            });
            // What it asked for comes first; the next one finds it given back, or is the first to see that.
            let again = bench.begin(&outcomes, &name);
            match again {
                Begin::Begun(entry) => drop(entry),
                Begin::Running => while matches!(bench.begin(&outcomes, &name), Begin::Running) {},
                other => panic!("{turn}: {other:?}"),
            }
        }
    }
}

#[test]
fn what_is_under_way_does_not_end() {
    let bench = Bench::new();
    for outcomes in bench.both() {
        let name = name(&outcomes, "k");
        let entry = bench.entry(&outcomes, &name);
        bench.time.advance(2 * DAY);
        assert_eq!(bench.sweep(&outcomes), 0);
        assert!(matches!(bench.begin(&outcomes, &name), Begin::Running));
        bench.finish(entry, b"sealed");
        bench.time.advance(DAY - Duration::from_millis(1));
        assert!(matches!(bench.begin(&outcomes, &name), Begin::Done(_)));
    }
}

#[test]
fn a_webhook_settles_what_is_unknown_and_nothing_else() {
    let bench = Bench::new();
    let accepted = Settled::Accepted {
        wamid: "wamid.1".into(),
    };
    let failed = Settled::Failed { code: 131_026 };
    for outcomes in bench.both() {
        for (turn, (settled, other)) in (0..).zip([(&accepted, &failed), (&failed, &accepted)]) {
            let marker = Marker([turn; 16]);
            let name = name(&outcomes, &format!("k{turn}"));
            assert!(
                !bench.settle(&outcomes, marker, settled),
                "nothing has this marker"
            );
            let Begin::Begun(mut entry) = bench.begin_marked(&outcomes, &name, Some(marker)) else {
                panic!("it is the first");
            };
            entry.sets_out();
            drop(entry);
            assert!(matches!(bench.begin(&outcomes, &name), Begin::Unknown));
            assert!(bench.settle(&outcomes, marker, settled));
            assert!(!bench.settle(&outcomes, marker, other), "the first word counts");
            let done = bench.begin(&outcomes, &name);
            assert!(
                matches!(&done, Begin::Done(Kept::Settled(kept)) if kept == settled),
                "{done:?}"
            );
        }
        // While it is under way the webhook waits for the answer, which says more.
        let marker = Marker([9; 16]);
        let name = name(&outcomes, "k9");
        let Begin::Begun(entry) = bench.begin_marked(&outcomes, &name, Some(marker)) else {
            panic!("it is the first");
        };
        assert!(bench.settle(&outcomes, marker, &accepted));
        assert!(matches!(bench.begin(&outcomes, &name), Begin::Running));
        bench.finish(entry, b"sealed");
        assert!(matches!(
            bench.begin(&outcomes, &name),
            Begin::Done(Kept::Sealed(_))
        ));
        assert!(!bench.settle(&outcomes, marker, &accepted));
    }
}

#[test]
fn a_sweep_forgets_what_has_ended_and_makes_room() {
    let bench = Bench::new();
    let full = Stores::open_within(
        &bench.folder.path().join("small.db"),
        &bench.clock,
        Minute::REAL,
        400 << 10,
    );
    let small = Outcomes::in_memory(bench.clock.clone(), 300 * 1000).unwrap();
    for outcomes in [small, full.unwrap().outcomes] {
        let mut count = 0;
        let refused = loop {
            let name = name(&outcomes, &format!("k{count}"));
            match bench.begin(&outcomes, &name) {
                Begin::Begun(entry) => bench.finish(entry, &[7; 600]),
                Begin::Full(_) => break name,
                other => panic!("{other:?}"),
            }
            count += 1;
        };
        assert!((200..600).contains(&count), "{count}");
        // Nothing that has not ended makes room.
        assert_eq!(bench.sweep(&outcomes), 0);
        assert!(matches!(bench.begin(&outcomes, &refused), Begin::Full(_)));
        let first = name(&outcomes, "k0");
        assert!(matches!(bench.begin(&outcomes, &first), Begin::Done(_)));
        bench.time.advance(DAY);
        assert_eq!(bench.sweep(&outcomes), count);
        drop(bench.entry(&outcomes, &refused));
    }
}

#[test]
fn outcomes_in_memory_take_no_more_than_they_are_counted_for() {
    let bench = Bench::new();
    let outcomes = bench.memory();
    let Keeper::Memory(table) = &outcomes.keeper else {
        panic!("in memory");
    };
    for turn in 0..3 {
        let name = name(&outcomes, &format!("k{turn}"));
        bench.finish(bench.entry(&outcomes, &name), b"sealed");
    }
    assert_eq!(table.len(), 3);
    bench.time.advance(DAY);
    assert_eq!((bench.sweep(&outcomes), table.len()), (3, 0));
}

#[test]
fn a_wall_clock_that_steps_ends_no_window_in_memory() {
    let bench = Bench::new();
    let outcomes = bench.memory();
    let name = name(&outcomes, "k");
    bench.finish(bench.entry(&outcomes, &name), b"sealed");
    bench.time.set_wall(START.after(10 * DAY));
    assert!(matches!(bench.begin(&outcomes, &name), Begin::Done(_)));
}

#[test]
fn what_was_begun_and_never_ended_is_unknown_after_a_restart() {
    let bench = Bench::new();
    let outcomes = bench.file();
    let (ended, dropped, settled) = (name(&outcomes, "a"), name(&outcomes, "b"), name(&outcomes, "c"));
    bench.finish(bench.entry(&outcomes, &ended), b"sealed");
    let freed = name(&outcomes, "d");
    drop(bench.entry(&outcomes, &freed));
    let mut entry = bench.entry(&outcomes, &dropped);
    entry.sets_out();
    drop(entry);
    let marker = Marker([3; 16]);
    drop(match bench.begin_marked(&outcomes, &settled, Some(marker)) {
        Begin::Begun(mut entry) => {
            entry.sets_out();
            entry
        }
        other => panic!("{other:?}"),
    });
    let under_way = name(&outcomes, "e");
    // As a process that is killed: its claims never come back.
    std::mem::forget(bench.entry(&outcomes, &under_way));
    let copy = bench.folder.path().join("copy.db");
    let vacuum = Connection::open(bench.path()).unwrap();
    vacuum
        .execute("VACUUM INTO ?1", [copy.to_str().unwrap()])
        .unwrap();

    let outcomes = Stores::open(&copy, &bench.clock, Minute::REAL).unwrap().outcomes;
    // The names are the file's: they hold after a restart.
    assert!(matches!(
        bench.begin(&outcomes, &name(&outcomes, "a")),
        Begin::Done(Kept::Sealed(_))
    ));
    for unknown in [&dropped, &settled, &under_way] {
        assert!(matches!(bench.begin(&outcomes, unknown), Begin::Unknown));
    }
    let accepted = Settled::Accepted {
        wamid: "wamid.1".into(),
    };
    assert!(bench.settle(&outcomes, marker, &accepted));
    assert!(matches!(
        bench.begin(&outcomes, &settled),
        Begin::Done(Kept::Settled(_))
    ));
    drop(bench.entry(&outcomes, &freed));
}

#[test]
fn a_failed_write_begins_nothing_and_loses_no_outcome_silently() {
    let bench = Bench::new();
    let outcomes = bench.file();
    let (first, second) = (name(&outcomes, "a"), name(&outcomes, "b"));
    let entry = bench.entry(&outcomes, &first);
    let auditor = Connection::open(bench.path()).unwrap();
    auditor
        .execute_batch(
            "CREATE TRIGGER full BEFORE INSERT ON outcome BEGIN SELECT raise(ABORT, 'disk is full'); END;
             CREATE TRIGGER fuller BEFORE UPDATE ON outcome BEGIN SELECT raise(ABORT, 'disk is full'); END;",
        )
        .unwrap();
    let begin = || bench.runtime.block_on(outcomes.begin(&second, DAY, None));
    assert!(matches!(begin(), Err(StoreError::Write { .. })));
    let finished = bench.runtime.block_on(entry.finish(b"sealed".as_slice().into()));
    assert!(matches!(finished, Err(StoreError::Write { .. })));
    auditor
        .execute_batch("DROP TRIGGER full; DROP TRIGGER fuller")
        .unwrap();
    assert!(matches!(begin().unwrap(), Begin::Begun(_)));
    assert!(matches!(bench.begin(&outcomes, &first), Begin::Unknown));
}

#[test]
fn a_file_of_before_outcomes_is_brought_up_to_date() {
    let bench = Bench::new();
    drop(bench.file());
    let old = Connection::open(bench.path()).unwrap();
    old.execute_batch("DROP TABLE outcome; DROP TABLE secret; PRAGMA user_version = 1")
        .unwrap();
    old.execute_batch("INSERT INTO pin VALUES ('17', '1001', 1800000000000, 'upload')")
        .unwrap();
    drop(old);
    let stores = bench.open().unwrap();
    assert_eq!(stores.pins.len(), 1);
    let name = name(&stores.outcomes, "k");
    bench.finish(bench.entry(&stores.outcomes, &name), b"sealed");
    drop(stores);
    let again = bench.file();
    assert!(matches!(bench.begin(&again, &name), Begin::Done(_)));
}

#[test]
fn neither_key_nor_body_nor_answer_is_in_the_file() {
    let bench = Bench::new();
    let outcomes = bench.file();
    let sending = sending(b"canary-of-the-key", br#"{"to":"canary-of-the-recipient"}"#);
    let name = outcomes
        .name(Asker::Token(b"canary-of-the-token"), &sending)
        .unwrap();
    let answer = FirstAnswer {
        status: http::StatusCode::OK,
        content_type: None,
        body: "canary-of-the-answer".into(),
    };
    bench.finish(bench.entry(&outcomes, &name), &name.seal(&answer).unwrap());
    drop(outcomes);
    let outcomes = bench.file();
    let Begin::Done(Kept::Sealed(sealed)) = bench.begin(&outcomes, &name) else {
        panic!("it is there");
    };
    assert_eq!(name.open(&sealed), Some(answer));
    let mut searched = 0;
    for entry in std::fs::read_dir(bench.folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        searched += bytes.len();
        assert!(memchr::memmem::find(&bytes, b"canary").is_none());
        assert!(memchr::memmem::find(&bytes, b"billing").is_none());
    }
    assert!(searched > 4096);
}

/// 10,000 pairs under one key each, the two of a pair at once.
fn race(bench: &Bench, outcomes: &Outcomes) {
    const PAIRS: usize = 10_000;
    const AT_ONCE: usize = 500;
    let mut begun = 0;
    for first in (0..PAIRS).step_by(AT_ONCE) {
        let pairs = (first..first + AT_ONCE).map(|pair| {
            let two = [0, 1].map(|_| {
                let outcomes = outcomes.clone();
                let key = format!("pair-{pair}");
                bench.runtime.spawn(async move {
                    let name = name(&outcomes, &key);
                    match outcomes.begin(&name, DAY, None).await.unwrap() {
                        Begin::Begun(mut entry) => {
                            entry.sets_out();
                            tokio::task::yield_now().await;
                            entry.finish(b"sealed".as_slice().into()).await.unwrap();
                            1
                        }
                        Begin::Running | Begin::Done(_) => 0,
                        other => panic!("{other:?}"),
                    }
                })
            });
            join_all(two)
        });
        for pair in bench.runtime.block_on(join_all(pairs)) {
            let sends: usize = pair.into_iter().map(Result::unwrap).sum();
            assert_eq!(sends, 1);
            begun += sends;
        }
    }
    assert_eq!(begun, PAIRS);
}

#[test]
fn of_ten_thousand_racing_pairs_each_sends_once_in_memory() {
    let bench = Bench::new();
    race(&bench, &bench.memory());
}

#[test]
fn of_ten_thousand_racing_pairs_each_sends_once_in_a_file() {
    let bench = Bench::new();
    race(&bench, &bench.file());
}

#[derive(Clone, Debug)]
enum Step {
    /// Begins a key with a body, and ends it this way.
    Send(u8, u8, End),
    Settle(u8, bool),
    Sweep,
    PassHours(u64),
    Reopen,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Finish,
    Free,
    Unknown,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = prop_oneof![Just(End::Finish), Just(End::Free), Just(End::Unknown)];
    let step = prop_oneof![
        6 => (0u8..4, 0u8..2, end).prop_map(|(key, body, end)| Step::Send(key, body, end)),
        2 => (0u8..4, any::<bool>()).prop_map(|(key, accepted)| Step::Settle(key, accepted)),
        1 => Just(Step::Sweep),
        2 => (1u64..30).prop_map(Step::PassHours),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..20)
}

proptest! {
    // Each step waits for the disk.
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// The memory store is the model: whatever is done, the file answers the same, now and after it was reopened.
    #[test]
    fn a_file_and_memory_answer_the_same(steps in steps()) {
        let bench = Bench::new();
        let model = bench.memory();
        let mut file = bench.file();
        for step in steps {
            match step {
                Step::Send(key, body, end) => {
                    let answers = [&model, &file].map(|outcomes| {
                        let (key, body) = ([key], [body]);
                        let name = outcomes.name(BILLING, &sending(&key, &body)).unwrap();
                        let begun = bench.begin_marked(outcomes, &name, Some(Marker([key[0]; 16])));
                        let shown = shown(&begun);
                        if let Begin::Begun(mut entry) = begun {
                            match end {
                                End::Finish => bench.finish(entry, &body),
                                End::Free => entry.free(),
                                End::Unknown => entry.sets_out(),
                            }
                        }
                        shown
                    });
                    prop_assert_eq!(&answers[0], &answers[1]);
                }
                Step::Settle(key, is_accepted) => {
                    let settled = if is_accepted {
                        Settled::Accepted { wamid: "wamid.1".into() }
                    } else {
                        Settled::Failed { code: 131_026 }
                    };
                    let settle = |outcomes| bench.settle(outcomes, Marker([key; 16]), &settled);
                    prop_assert_eq!(settle(&model), settle(&file));
                }
                Step::Sweep => prop_assert_eq!(bench.sweep(&model), bench.sweep(&file)),
                Step::PassHours(hours) => bench.time.advance(Duration::from_secs(3600 * hours)),
                Step::Reopen => {
                    drop(file);
                    file = bench.file();
                }
            }
        }
    }
}

#[test]
fn a_caller_fills_its_share_of_the_memory_and_is_told_when_there_is_room() {
    let bench = Bench::new();
    let outcomes = Outcomes::in_memory(bench.clock.clone(), 100_000).unwrap();
    let keys = crate::guard::Guard::new(bench.clock.clone(), 25);
    let of = |caller: &str, nth: usize| {
        let share = Share {
            caller: keys.caller_key(caller),
            percent: 25,
        };
        name(&outcomes, &format!("{caller} {nth}")).within(share)
    };
    let mut filled = 0;
    let wait = loop {
        match bench.begin(&outcomes, &of("busy", filled)) {
            Begin::Begun(entry) => bench.runtime.block_on(entry.finish(Box::default())).unwrap(),
            Begin::Full(wait) => break wait,
            other => panic!("{other:?}"),
        }
        filled += 1;
        bench.time.advance(Duration::from_secs(1));
    };
    assert!((20..100).contains(&filled), "{filled}");
    assert_eq!(wait, DAY - Duration::from_secs(u64::try_from(filled).unwrap()));
    // Others have room, and what is theirs is not the busy one's.
    drop(bench.begin(&outcomes, &of("other", 0)));
    bench.time.advance(wait);
    assert_eq!(bench.sweep(&outcomes), 1);
    assert!(matches!(
        bench.begin(&outcomes, &of("busy", filled)),
        Begin::Begun(_)
    ));
}
