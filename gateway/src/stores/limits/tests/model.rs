//! Random traces against an exact integer model of what the limits are.
//!
//! A million traces: `PROPTEST_CASES=1000000 cargo test --release -p curfew --lib stores::limits::tests::model`.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const NANOS: i128 = 1_000_000_000;

/// A bucket of `burst` that fills `rate` in `per` nanoseconds, in units of `1/per` of a message: nothing is ever rounded.
#[derive(Clone, Copy)]
struct Bucket {
    rate: i128,
    per: i128,
    most: i128,
    level: i128,
    at: i128,
}

impl Bucket {
    fn new(rate: u32, per: i128, burst: u32) -> Self {
        let most = i128::from(burst) * per;
        Self {
            rate: rate.into(),
            per,
            most,
            level: most,
            at: 0,
        }
    }

    fn fill(&mut self, now: i128) {
        self.level = (self.level + (now - self.at) * self.rate).min(self.most);
        self.at = now;
    }

    /// What is left right after the last of these.
    fn after(mut self, sent: impl Iterator<Item = i128>) -> i128 {
        for at in sent {
            self.fill(at);
            self.level -= self.per;
        }
        self.level
    }

    fn has_one(&self) -> bool {
        self.level >= self.per
    }

    /// How long until there is one, in whole nanoseconds.
    fn wait(&self) -> i128 {
        let missing = (self.per - self.level).max(0);
        (missing + self.rate - 1) / self.rate
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Send { to: usize, is_template: bool },
    Receipt,
    Inbound { from: usize },
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let gap = prop_oneof![
        5 => 0u64..20_000_000,
        3 => 0u64..2_000_000_000,
        1 => 0u64..20_000_000_000,
        1 => 0u64..50_000_000_000_000,
    ];
    let step = prop_oneof![
        6 => (0usize..5, any::<bool>()).prop_map(|(to, is_template)| Step::Send { to, is_template }),
        1 => Just(Step::Receipt),
        1 => (0usize..5).prop_map(|from| Step::Inbound { from }),
    ];
    vec((gap, step), 1..60)
}

#[derive(Clone, Copy, Debug)]
enum Late {
    Send(usize),
    GiveBack(prop::sample::Index),
}

fn late_gap() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0u64), 4 => 0u64..20_000_000, 2 => 0u64..2_000_000_000, 1 => 0u64..60_000_000_000]
}

fn late_step() -> impl Strategy<Value = Late> {
    prop_oneof![
        3 => (0usize..3).prop_map(Late::Send),
        2 => any::<prop::sample::Index>().prop_map(Late::GiveBack),
    ]
}

const PEOPLE: [&str; 5] = [
    "+491511111111",
    "+491512222222",
    "+15551234567",
    "+5511912345678",
    "+819012345678",
];

const STRANGERS: [&str; 5] = ["+4911", "+4912", "+4913", "+4914", "+4915"];

proptest! {
    /// All limits together, at rates that divide a second: every decision and every wait is the model's.
    #[test]
    fn every_decision_is_the_models(
        rate in prop::sample::select(vec![1u32, 2, 5, 20, 80]),
        burst in 1u32..20,
        kept in 0u32..5,
        pair in (1u32..10, 1u32..5),
        places in 1usize..5,
        steps in steps(),
    ) {
        let kept = kept.min(rate - 1);
        let (pair_seconds, pair_burst) = pair;
        let sends = format!(
            "per_second = {rate}\nburst = {burst}\nkept_for_inbound = {kept}\n\
             pair = {{ seconds = {pair_seconds}, burst = {pair_burst} }}"
        );
        let portfolio = format!("[[portfolio]]\nnumbers = [\"1001\"]\nunique_recipients_24h = {places}");
        let world = world_with(&policies(&sends, &portfolio), WaitingRoom::DEFAULT);

        let mut all = Bucket::new(rate, NANOS, burst);
        // Not twice as much by another name: what is kept for inbound is missing from the rate and from the burst.
        let mut own = Bucket::new(rate - kept, NANOS, burst.saturating_sub(kept).max(1));
        // The engine keeps whole nanoseconds a message; where the share does not divide a second the model does so too.
        if NANOS % i128::from(rate - kept) != 0 {
            let interval = (NANOS + i128::from(rate - kept) - 1) / i128::from(rate - kept);
            own = Bucket::new(1, interval, burst.saturating_sub(kept).max(1));
        }
        let mut pairs: HashMap<usize, Bucket> = HashMap::new();
        let mut messaged: HashMap<usize, i128> = HashMap::new();
        let mut windows: HashMap<usize, i128> = HashMap::new();
        let day = i128::try_from(DAY.as_nanos()).unwrap();
        let mut now = 0i128;
        for (gap, step) in steps {
            world.time.advance_monotonic(Duration::from_nanos(gap));
            now += i128::from(gap);
            all.fill(now);
            own.fill(now);
            messaged.retain(|_, at| now - *at < day);
            let (to, is_template) = match step {
                Step::Inbound { from } => {
                    world.limits.inbound(number(NUMBER), Some(Recipient::Phone(PEOPLE[from])));
                    // Debt of one second at most.
                    all.level = (all.level - NANOS).max(-i128::from(rate) * NANOS);
                    windows.insert(from, now);
                    continue;
                }
                Step::Send { to, is_template } => (Some(to), is_template),
                Step::Receipt => (None, false),
            };
            let ask = match to {
                Some(to) if is_template => template(PEOPLE[to], SendClass::Utility),
                Some(to) => message(PEOPLE[to]),
                None => receipt(),
            };
            let throughput = all.wait().max(own.wait());
            let mut pair_wait = 0;
            let mut unique_wait = 0;
            if let Some(to) = to {
                let per = NANOS * i128::from(pair_seconds);
                let pair = pairs.entry(to).or_insert(Bucket::new(1, per, pair_burst));
                pair.fill(now);
                pair_wait = pair.wait();
                let passes_at = now + throughput.max(pair_wait);
                let window_ends = windows.get(&to).map_or(now, |at| at + day);
                if is_template && window_ends <= passes_at && messaged.len() >= places && !messaged.contains_key(&to) {
                    unique_wait = messaged.values().min().unwrap() + day - now;
                }
            }
            let wait = throughput.max(pair_wait).max(unique_wait);
            match world.now(&ask) {
                Ok(_) => {
                    prop_assert_eq!(wait, 0, "sent above the limit");
                    prop_assert!(all.has_one() && own.has_one());
                    all.level -= all.per;
                    own.level -= own.per;
                    if let Some(to) = to {
                        let pair = pairs.get_mut(&to).unwrap();
                        pair.level -= pair.per;
                        let is_in_window = windows.get(&to).is_some_and(|at| now - at < day);
                        if is_template && !is_in_window {
                            messaged.insert(to, now);
                        }
                    }
                }
                Err(limited) => {
                    let said = i128::try_from(limited.retry_after.unwrap().as_nanos()).unwrap();
                    prop_assert_eq!(said, wait, "{:?}", limited.which);
                    prop_assert!(wait > 0, "denied below the limit");
                }
            }
        }
        prop_assert_eq!(world.limits.snapshot().portfolios[0].counted, messaged.len());
    }

    /// Whatever is given back however late, what stays sent is within the exact limits.
    #[test]
    fn no_late_give_back_lets_anything_above_a_limit(
        rate in 1u32..200,
        burst in 1u32..40,
        kept in 0u32..5,
        pair in (1u32..10, 1u32..20),
        steps in vec((late_gap(), late_step()), 1..120),
    ) {
        let kept = kept.min(rate - 1);
        let (seconds, pair_burst) = pair;
        let world = world(&format!(
            "per_second = {rate}\nburst = {burst}\nkept_for_inbound = {kept}\nwhen_limited = \"reject\"\n\
             pair = {{ seconds = {seconds}, burst = {pair_burst} }}"
        ));
        let all = Bucket::new(rate, NANOS, burst);
        let own = Bucket::new(rate - kept, NANOS, burst.saturating_sub(kept).max(1));
        let to_one = Bucket::new(1, NANOS * i128::from(seconds), pair_burst);
        let mut sent: Vec<(i128, usize, Grant)> = Vec::new();
        let mut now = 0;
        for (gap, step) in steps {
            world.time.advance_monotonic(Duration::from_nanos(gap));
            now += i128::from(gap);
            match step {
                Late::Send(to) => {
                    let Ok(grant) = world.now(&message(PEOPLE[to])) else { continue };
                    sent.push((now, to, grant));
                    let times = || sent.iter().map(|(at, ..)| *at);
                    let pair = sent.iter().filter(|(_, other, _)| *other == to).map(|(at, ..)| *at);
                    prop_assert!(all.after(times()) >= 0 && own.after(times()) >= 0, "above the throughput");
                    prop_assert!(to_one.after(pair) >= 0, "above the pair limit");
                }
                Late::GiveBack(which) if !sent.is_empty() => sent.remove(which.index(sent.len())).2.give_back(),
                Late::GiveBack(_) => {}
            }
        }
    }

    /// Any rate: never above the exact limit, and never more than one below it.
    #[test]
    fn no_trace_is_above_the_limit_nor_more_than_one_below(
        rate in 1u32..1_000,
        burst in 1u32..50,
        gaps in vec(prop_oneof![4 => 0u64..3_000_000, 1 => 0u64..2_000_000_000], 1..300),
    ) {
        let world = world(&format!("per_second = {rate}\nburst = {burst}\nwhen_limited = \"reject\""));
        let mut admitted = Bucket::new(rate, NANOS, burst);
        let mut exact = admitted;
        let (mut sent, mut could) = (0, 0);
        let mut now = 0;
        for gap in gaps {
            world.time.advance_monotonic(Duration::from_nanos(gap));
            now += i128::from(gap);
            admitted.fill(now);
            exact.fill(now);
            if exact.has_one() {
                exact.level -= exact.per;
                could += 1;
            }
            if world.now(&receipt()).is_ok() {
                prop_assert!(admitted.has_one(), "above the limit");
                admitted.level -= admitted.per;
                sent += 1;
            }
            prop_assert!(sent + 1 >= could, "{sent} of {could}");
        }
    }

    /// Whoever comes back after `retry_after` passes, and a nanosecond earlier they do not.
    #[test]
    fn retry_after_is_true(
        steps in vec((0u64..500_000_000, 0usize..3), 1..80),
    ) {
        let sends = "per_second = 5\nburst = 7\nkept_for_inbound = 1\npair = { seconds = 2, burst = 3 }\nwhen_limited = \"reject\"";
        let portfolio = "[[portfolio]]\nnumbers = [\"1001\"]\nunique_recipients_24h = 2";
        let world = world_with(&policies(sends, portfolio), WaitingRoom::DEFAULT);
        for (gap, to) in steps {
            world.time.advance_monotonic(Duration::from_nanos(gap));
            let ask = template(PEOPLE[to], SendClass::Utility);
            if let Err(limited) = world.now(&ask) {
                let wait = limited.retry_after.unwrap();
                world.time.advance_monotonic(wait - Duration::from_nanos(1));
                prop_assert!(world.now(&ask).is_err());
                world.time.advance_monotonic(Duration::from_nanos(1));
                prop_assert!(world.now(&ask).is_ok(), "{limited:?}");
            }
        }
    }

    /// A denied send has spent nothing: with any number of denied ones in between, the same ones pass at the same times.
    #[test]
    fn a_denied_send_has_spent_nothing(steps in steps(), extra in vec(0usize..5, 60)) {
        let sends = "per_second = 2\nburst = 4\npair = { seconds = 3, burst = 2 }\nwhen_limited = \"reject\"";
        let portfolio = "[[portfolio]]\nnumbers = [\"1001\"]\nunique_recipients_24h = 3";
        let world = || world_with(&policies(sends, portfolio), WaitingRoom::DEFAULT);
        let (quiet, busy) = (world(), world());
        for ((gap, step), extra) in steps.into_iter().zip(extra) {
            for world in [&quiet, &busy] {
                world.time.advance_monotonic(Duration::from_nanos(gap));
            }
            let Step::Send { to, .. } = step else { continue };
            let ask = template(PEOPLE[to], SendClass::Marketing);
            let (one, other) = (quiet.now(&ask), busy.now(&ask));
            prop_assert_eq!(one.as_ref().err(), other.as_ref().err());
            // What passes is given back at once, so it has spent nothing either.
            let more = template(STRANGERS[extra], SendClass::Marketing);
            if let Ok(grant) = busy.now(&more) {
                grant.give_back();
            }
        }
    }
}

/// A bucket of 80 that is full holds 80, however many of those taken a second ago turn out not to have been sent.
#[test]
fn what_is_given_back_late_fills_no_bucket_above_its_burst() {
    let world = world("per_second = 80\nburst = 80\nwhen_limited = \"reject\"");
    let early: Vec<_> = (0..80)
        .map(|nth| world.now(&message(&format!("+49{nth:010}"))).unwrap())
        .collect();
    world.time.advance(SECOND);
    assert_eq!(world.burst(200), 80);
    // Their connections were never made; by now what they took has long come back.
    for grant in early {
        grant.give_back();
    }
    assert_eq!(world.burst(200), 0);
}

#[test]
fn unique_recipients_slide_by_the_nanosecond() {
    let sends = "when_limited = \"reject\"";
    let portfolio = "[[portfolio]]\nnumbers = [\"1001\", \"1003\"]\nunique_recipients_24h = 2";
    let world = world_with(&policies(sends, portfolio), WaitingRoom::DEFAULT);
    let send = |to: &str, from: &str| {
        let ask = Ask {
            number: number(from),
            ..template(to, SendClass::Marketing)
        };
        world
            .now(&ask)
            .map(drop)
            .map_err(|limited| limited.retry_after.unwrap())
    };
    let [a, b, c, ..] = PEOPLE;
    assert_eq!(send(a, "1001"), Ok(()));
    world.time.advance(SECOND);
    assert_eq!(send(b, "1003"), Ok(()));
    // The portfolio is full, for both of its numbers and for new recipients alone.
    assert_eq!(send(c, "1003"), Err(DAY - SECOND));
    assert_eq!(send(b, "1001"), Ok(()));
    assert_eq!(send(a, "1003"), Ok(()));
    // Both were messaged again a second after the start, so they count until a second after a day.
    world.time.advance(DAY - Duration::from_nanos(1));
    assert_eq!(send(c, "1001"), Err(Duration::from_nanos(1)));
    world.time.advance(Duration::from_nanos(1));
    assert_eq!(send(c, "1001"), Ok(()));
    assert_eq!(world.limits.snapshot().portfolios[0].counted, 1);
    // Who wrote first is not outside a service window, to the number that they wrote to.
    assert_eq!(send(a, "1001"), Ok(()));
    world
        .limits
        .inbound(number("1001"), Some(Recipient::Phone("819012345678")));
    world
        .limits
        .set_country(number("1001"), CountryCode::parse("81").unwrap());
    world
        .limits
        .inbound(number("1001"), Some(Recipient::Phone("90 1234 5678")));
    assert_eq!(send("+81 90-1234-5678", "1001"), Ok(()));
    assert!(send("+81 90-1234-5678", "1003").is_err());
    // Free-form messages reach nobody outside a service window.
    assert!(world.now(&message(b)).is_ok());
}

#[test]
fn idle_pairs_are_let_go() {
    let world = world("per_second = 1000\nburst = 1000\nwhen_limited = \"reject\"");
    for second in 0..60 {
        for nth in 0..1_000 {
            let to = format!("+1{:010}", second * 1_000 + nth);
            assert!(world.now(&message(&to)).is_ok());
        }
        world.time.advance(SECOND);
        // One message occupies its pair for six seconds.
        assert!(world.number_now().pairs <= 12_000, "{}", world.number_now().pairs);
    }
}
