//! The script that decides, against exact buckets, under a clock that the test moves.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::{ConnectionAddr, IntoConnectionInfo as _};

use super::*;

const NUMBER: &str = include_str!("../../src/stores/valkey/scripts/number.lua");
const TAKE: &str = include_str!("../../src/stores/valkey/scripts/take.lua");
const GIVE_BACK: &str = include_str!("../../src/stores/valkey/scripts/give_back.lua");
const INBOUND: &str = include_str!("../../src/stores/valkey/scripts/inbound.lua");
/// Where the test keeps the time, which the script then does not ask the server for.
const TIME: &str = "curfew:{sends:1}:time";
const SECOND: i128 = 1_000_000;
const DAY: i128 = 86_400 * SECOND;
/// When the clock of the limits began, by the server's.
const BEGAN: i128 = 1_700_000_000 * SECOND;

/// A bucket in microseconds: whoever takes pays an interval, and nothing is ever rounded.
#[derive(Clone, Copy)]
struct Bucket {
    interval: i128,
    most: i128,
    level: i128,
}

impl Bucket {
    /// Without what each of the seats has for itself, and empty.
    fn new(interval: i128, burst: u32, seats: u32) -> Self {
        let own = (burst / (8 * seats)).max(1) * seats;
        let burst = if burst > own { burst - own } else { burst };
        Self {
            interval,
            most: interval * i128::from(burst),
            level: 0,
        }
    }

    fn fill(&mut self, span: i128) {
        self.level = (self.level + span).min(self.most);
    }

    fn wait(&self) -> i128 {
        (self.interval - self.level).max(0)
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Send { to: usize, is_template: bool },
    Receipt,
    Inbound { from: usize },
}

#[derive(Clone, Copy, Debug)]
struct Terms {
    seats: u32,
    rate: u32,
    burst: u32,
    kept: u32,
    pair: (u32, u32),
    places: usize,
}

fn terms() -> impl Strategy<Value = Terms> {
    let rate = prop::sample::select(vec![1u32, 2, 5, 20, 80, 1_000]);
    (1u32..5, rate, 1u32..100, 0u32..5, (1u32..10, 1u32..50), 1usize..5).prop_map(
        |(seats, rate, burst, kept, pair, places)| Terms {
            seats,
            rate,
            burst,
            kept: kept.min(rate - 1),
            pair,
            places,
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let gap = prop_oneof![
        5 => 0u64..20_000,
        3 => 0u64..2_000_000,
        1 => 0u64..20_000_000,
        1 => 0u64..50_000_000_000,
    ];
    let step = prop_oneof![
        6 => (0usize..5, any::<bool>()).prop_map(|(to, is_template)| Step::Send { to, is_template }),
        1 => Just(Step::Receipt),
        1 => (0usize..5).prop_map(|from| Step::Inbound { from }),
    ];
    vec((gap, step), 1..60)
}

/// Which script is run.
#[derive(Clone, Copy, Debug)]
enum Call {
    Take { is_template: bool, places: usize },
    Inbound,
    GiveBack { at: i64, changes: i64 },
}

/// A server, and its scripts, which ask the test for the time.
struct Bench {
    connection: redis::Connection,
    take: redis::Script,
    inbound: redis::Script,
    give_back: redis::Script,
}

impl Bench {
    fn of(server: &StoreServer) -> Self {
        let address = ConnectionAddr::Unix(server.socket());
        let info = address.into_connection_info().expect("an address");
        let client = redis::Client::open(info).expect("a client");
        let with_time = |script: &str| {
            let text = format!("{NUMBER}{script}");
            let asks = "redis.call('TIME')";
            assert_eq!(text.matches(asks).count(), 1);
            redis::Script::new(&text.replace(asks, &format!("redis.call('LRANGE', '{TIME}', 0, 1)")))
        };
        Self {
            connection: client.get_connection().expect("it listens"),
            take: with_time(TAKE),
            inbound: with_time(INBOUND),
            give_back: with_time(GIVE_BACK),
        }
    }

    fn begin(&mut self) {
        redis::cmd("FLUSHALL").exec(&mut self.connection).expect("empty");
    }

    fn run(&mut self, terms: Terms, now: i128, recipient: &str, what: Call) -> Vec<i128> {
        let script = match what {
            Call::Take { .. } => &self.take,
            Call::Inbound => &self.inbound,
            Call::GiveBack { .. } => &self.give_back,
        };
        let keys = ["number:1", "pair:1:", "recipients", "windows:1", "lost"];
        let mut call = script.prepare_invoke();
        for key in keys {
            let of_pair = if key.ends_with(':') { recipient } else { "" };
            call.key(format!("curfew:{{sends:1}}:{key}{of_pair}"));
        }
        let began = i64::try_from(BEGAN).expect("a time");
        call.arg(0)
            .arg(began)
            .arg(i64::MAX / 1024)
            .arg(terms.seats)
            .arg(terms.seats);
        call.arg(terms.rate).arg(terms.burst).arg(terms.kept);
        call.arg(u64::from(terms.pair.0) * 1_000_000)
            .arg(terms.pair.1)
            .arg(recipient);
        call.arg(i64::try_from(DAY).expect("a day"));
        match what {
            Call::Take { is_template, places } => {
                call.arg(u8::from(is_template)).arg(places).arg(0);
            }
            Call::GiveBack { at, changes } => {
                call.arg(at).arg(changes).arg(0).arg(0);
            }
            Call::Inbound => {}
        }
        let micros = i64::try_from(now).expect("a time");
        redis::pipe()
            .cmd("DEL")
            .arg(TIME)
            .ignore()
            .cmd("RPUSH")
            .arg(TIME)
            .arg(micros / 1_000_000)
            .arg(micros % 1_000_000)
            .ignore()
            .exec(&mut self.connection)
            .expect("the time is set");
        let said: redis::Value = call.invoke(&mut self.connection).expect("it runs");
        match said {
            redis::Value::Array(values) => values
                .iter()
                .map(|value| {
                    redis::from_redis_value_ref::<i64>(value)
                        .expect("a number")
                        .into()
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// Every decision and every wait is the model's.
fn assert_models(bench: &mut Bench, terms: Terms, steps: &[(u64, Step)]) -> Result<(), TestCaseError> {
    bench.begin();
    let interval = |rate: u32| (SECOND + i128::from(rate) - 1) / i128::from(rate);
    let own_burst = terms.burst.saturating_sub(terms.kept).max(1);
    let mut all = Bucket::new(interval(terms.rate), terms.burst, terms.seats);
    let mut own = Bucket::new(interval(terms.rate - terms.kept), own_burst, terms.seats);
    // The state of a pair that nobody has used is that of all.
    let (seconds, pair_burst) = terms.pair;
    let mut pairs = [Bucket::new(i128::from(seconds) * SECOND, pair_burst, terms.seats); 5];
    let mut messaged: HashMap<usize, i128> = HashMap::new();
    let mut windows: HashMap<usize, i128> = HashMap::new();
    let mut now = BEGAN;
    for (gap, step) in steps {
        let gap = i128::from(*gap);
        now += gap;
        pairs
            .iter_mut()
            .chain([&mut all, &mut own])
            .for_each(|bucket| bucket.fill(gap));
        let (to, is_template) = match *step {
            Step::Inbound { from } => {
                bench.run(terms, now, &from.to_string(), Call::Inbound);
                all.level = (all.level - all.interval).max(-SECOND);
                windows.insert(from, now);
                continue;
            }
            Step::Send { to, is_template } => (Some(to), is_template),
            Step::Receipt => (None, false),
        };
        let recipient = to.map(|to| to.to_string()).unwrap_or_default();
        let take = Call::Take {
            is_template,
            places: terms.places,
        };
        let said = bench.run(terms, now, &recipient, take);
        let throughput = all.wait().max(own.wait());
        let pair = to.map_or(0, |to| pairs[to].wait());
        messaged.retain(|_, at| now - *at < DAY);
        let has_window = |to: &usize| windows.get(to).is_some_and(|at| now - at < DAY);
        let counted = to.filter(|to| is_template && !has_window(to));
        let is_full = |to: usize| messaged.len() >= terms.places && !messaged.contains_key(&to);
        let uniques = match counted {
            Some(to) if is_full(to) => messaged.values().min().map_or(0, |oldest| oldest + DAY - now),
            _ => 0,
        };
        let passes = throughput == 0 && pair == 0 && uniques == 0;
        prop_assert_eq!(said[0] == 1, passes, "{:?} at {}: {:?}", step, now - BEGAN, said);
        prop_assert_eq!((said[2], said[3]), (pair, uniques));
        if passes {
            for bucket in [&mut all, &mut own] {
                bucket.level -= bucket.interval;
            }
            if let Some(to) = to {
                pairs[to].level -= pairs[to].interval;
            }
            if let Some(to) = counted {
                messaged.insert(to, now);
            }
        }
        prop_assert_eq!(said[1], all.wait().max(own.wait()));
    }
    Ok(())
}

/// What is left of a limit after these sends alone: when each came.
fn level_after(mut bucket: Bucket, sent: impl Iterator<Item = i128>, now: i128) -> Bucket {
    let mut last = BEGAN;
    for at in sent {
        bucket.fill(at - last);
        bucket.level -= bucket.interval;
        last = at;
    }
    bucket.fill(now - last);
    bucket
}

#[derive(Clone, Copy, Debug)]
enum Delayed {
    Send { to: usize },
    GiveBack(prop::sample::Index),
}

fn delayed() -> impl Strategy<Value = Vec<(u64, Delayed)>> {
    let gap = prop_oneof![
        4 => 1u64..1_000,
        3 => 1u64..200_000,
        1 => 1u64..20_000_000,
    ];
    let step = prop_oneof![
        3 => (0usize..2).prop_map(|to| Delayed::Send { to }),
        2 => any::<prop::sample::Index>().prop_map(Delayed::GiveBack),
    ];
    vec((gap, step), 1..80)
}

/// Whatever is given back however late, what stays sent is within every limit.
fn assert_no_gifts(bench: &mut Bench, terms: Terms, steps: &[(u64, Delayed)]) -> Result<(), TestCaseError> {
    bench.begin();
    let take = Call::Take {
        is_template: false,
        places: 1,
    };
    let interval = |rate: u32| (SECOND + i128::from(rate) - 1) / i128::from(rate);
    let own_burst = terms.burst.saturating_sub(terms.kept).max(1);
    let all = Bucket::new(interval(terms.rate), terms.burst, terms.seats);
    let own = Bucket::new(interval(terms.rate - terms.kept), own_burst, terms.seats);
    let pair = Bucket::new(i128::from(terms.pair.0) * SECOND, terms.pair.1, terms.seats);
    let mut sent: Vec<(i128, usize, i64)> = Vec::new();
    // Every bucket begins empty.
    let mut now = BEGAN + 500 * SECOND;
    for (gap, step) in steps {
        now += i128::from(*gap);
        match *step {
            Delayed::Send { to } => {
                let said = bench.run(terms, now, &to.to_string(), take);
                if said[0] == 1 {
                    sent.push((now, to, i64::try_from(said[9]).expect("a count")));
                    let times = || sent.iter().map(|(at, ..)| *at);
                    let to_one = sent
                        .iter()
                        .filter(|(_, other, _)| *other == to)
                        .map(|(at, ..)| *at);
                    for left in [
                        level_after(all, times(), now),
                        level_after(own, times(), now),
                        level_after(pair, to_one, now),
                    ] {
                        prop_assert!(left.level >= 0, "above a limit after {}", now - BEGAN);
                    }
                }
            }
            Delayed::GiveBack(which) if !sent.is_empty() => {
                let (at, to, changes) = sent.remove(which.index(sent.len()));
                let at = i64::try_from(at).expect("a time");
                bench.run(terms, now, &to.to_string(), Call::GiveBack { at, changes });
            }
            Delayed::GiveBack(_) => {}
        }
    }
    Ok(())
}

/// Runs `holds` on every server there is.
fn on_every_server<S: Strategy>(
    steps: impl Fn() -> S,
    holds: impl Fn(&mut Bench, Terms, &S::Value) -> Result<(), TestCaseError>,
) {
    for kind in Kind::ALL {
        let Some(server) = StoreServer::start(kind) else {
            continue;
        };
        let bench = std::cell::RefCell::new(Bench::of(&server));
        let mut runner = TestRunner::new(Config {
            failure_persistence: None,
            ..Config::with_cases(300)
        });
        runner
            .run(&(terms(), steps()), |(terms, steps)| {
                holds(&mut bench.borrow_mut(), terms, &steps)
            })
            .unwrap_or_else(|failure| panic!("{kind:?}: {failure}"));
    }
}

#[test]
fn every_decision_of_the_script_is_the_models() {
    on_every_server(steps, |bench, terms, steps| assert_models(bench, terms, steps));
}

#[test]
fn what_the_script_gives_back_late_lets_nobody_above_a_limit() {
    on_every_server(delayed, |bench, terms, steps| {
        assert_no_gifts(bench, terms, steps)
    });
}

#[test]
fn what_was_taken_at_one_moment_is_given_back_whole() {
    for kind in Kind::ALL {
        let Some(server) = StoreServer::start(kind) else {
            continue;
        };
        let mut bench = Bench::of(&server);
        bench.begin();
        let terms = Terms {
            seats: 1,
            rate: 10,
            burst: 10,
            kept: 0,
            pair: (1, 20),
            places: 1,
        };
        let now = BEGAN + 100 * SECOND;
        let take = Call::Take {
            is_template: false,
            places: 1,
        };
        let burst = |bench: &mut Bench, now: i128| {
            let passes = |_: &i32| bench.run(terms, now, "1", take)[0] == 1;
            (0..12).take_while(passes).count()
        };
        let give_back = |bench: &mut Bench, at: i128, now: i128| {
            let at = i64::try_from(at).expect("a time");
            for _ in 0..9 {
                bench.run(terms, now, "1", Call::GiveBack { at, changes: 0 });
            }
        };
        // One of ten is the gateway's own.
        assert_eq!(burst(&mut bench, now), 9, "{kind:?}");
        give_back(&mut bench, now, now + 1);
        assert_eq!(burst(&mut bench, now + 2), 9, "{kind:?}");
        // A bucket that was full since gets nothing back.
        let later = now + 2 * SECOND;
        assert_eq!(burst(&mut bench, later), 9, "{kind:?}");
        give_back(&mut bench, now + 2, later);
        assert_eq!(burst(&mut bench, later), 0, "{kind:?}");
    }
}
