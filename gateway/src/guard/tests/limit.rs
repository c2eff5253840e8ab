//! The limit against servers that are simulated under a clock that is moved by hand: it follows what a server can do, and leaves alone
//! one that is only slow.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use curfew_policies::Timestamp;

use super::super::Traffic;
use super::super::adaptive::{Adaptive, LEAST};
use super::MILLI;
use crate::clock::{Clock, ManualTime, Moment};

/// A server with so many workers, each busy for a time with what it does: what comes while all are busy waits there.
struct Server {
    adaptive: Adaptive,
    time: ManualTime,
    clock: Clock,
    /// When each worker is free, in microseconds from the start.
    workers: BinaryHeap<Reverse<u64>>,
    /// Exchanges under way, by when they end, with when they began and among how many.
    under_way: BinaryHeap<Reverse<(u64, Moment, u32)>>,
    now: u64,
    /// Answered within what a caller waits for; answered later; refused.
    useful: u64,
    late: u64,
    shed: u64,
    seed: u64,
}

impl Server {
    const PATIENCE: u64 = 5_000_000;

    fn new(workers: usize) -> Self {
        let (clock, time) = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        Self {
            adaptive: Adaptive::new(Traffic::Send.most(), clock.monotonic()),
            time,
            clock,
            workers: std::iter::repeat_n(Reverse(0), workers).collect(),
            under_way: BinaryHeap::new(),
            now: 0,
            useful: 0,
            late: 0,
            shed: 0,
            seed: 7,
        }
    }

    /// xorshift; from 0 to 999.
    fn chance(&mut self) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % 1000
    }

    /// `seconds` of `rate` sends a second, each of which takes what `service` says, in microseconds, of a chance.
    fn run(&mut self, seconds: u64, rate: u64, service: impl Fn(u64, u64) -> u64) {
        let (step, end) = (1_000_000 / rate, self.now + seconds * 1_000_000);
        while self.now < end {
            self.time.advance_monotonic(Duration::from_micros(step));
            self.now += step;
            while let Some(Reverse((due, began, among))) = self.under_way.peek().copied()
                && due <= self.now
            {
                self.under_way.pop();
                let now = self.clock.monotonic();
                self.adaptive.observe(now, began, false, among, among);
                if now.since(began).as_micros() <= u128::from(Self::PATIENCE) {
                    self.useful += 1;
                } else {
                    self.late += 1;
                }
            }
            if self.under_way.len() >= usize::try_from(self.adaptive.limit()).unwrap() {
                self.shed += 1;
                continue;
            }
            let chance = self.chance();
            let takes = service(self.now, chance);
            let Reverse(free) = self.workers.pop().unwrap();
            let due = free.max(self.now) + takes;
            self.workers.push(Reverse(due));
            let among = u32::try_from(self.under_way.len()).unwrap() + 1;
            let began = self.clock.monotonic();
            self.under_way.push(Reverse((due, began, among)));
        }
    }

    fn counted(&mut self) -> (u64, u64, u64) {
        let counted = (self.useful, self.late, self.shed);
        (self.useful, self.late, self.shed) = (0, 0, 0);
        counted
    }
}

/// 200 to 500 ms.
fn jitter(chance: u64) -> u64 {
    200_000 + chance * 300
}

#[test]
fn a_healthy_meta_is_never_held_back() {
    let mut server = Server::new(8192);
    // Its pace swings up to threefold within a minute, in steps and slowly.
    server.run(30, 1_000, |_, chance| jitter(chance));
    server.run(30, 1_000, |_, chance| 3 * jitter(chance));
    server.run(60, 1_000, |now, chance| {
        let second = now / 1_000_000 % 60;
        jitter(chance) * (30 + 2 * second.min(60 - second)) / 30
    });
    assert_eq!(server.counted().2, 0);
}

#[test]
fn a_meta_that_is_slower_from_now_on_is_held_back_for_seconds_only() {
    let mut server = Server::new(16_384);
    server.run(30, 500, |_, chance| jitter(chance));
    assert_eq!(server.counted().2, 0);
    // Six times as slow, whoever asks.
    server.run(10, 500, |_, chance| 6 * jitter(chance));
    let (_, _, shed) = server.counted();
    server.run(60, 500, |_, chance| 6 * jitter(chance));
    let (_, _, later) = server.counted();
    assert!(shed < 3_000 && later == 0, "{shed}, then {later} of 30000");
}

#[test]
fn three_times_what_it_can_do_leaves_four_fifths_of_its_work_useful() {
    // 50 workers of 100 ms each: 500 a second.
    let service = |_, chance| 50_000 + chance * 100;
    let mut server = Server::new(50);
    server.run(20, 400, service);
    assert_eq!(server.counted().2, 0);
    // The first seconds are for finding out.
    server.run(10, 1_500, service);
    server.counted();
    server.run(60, 1_500, service);
    let (useful, late, shed) = server.counted();
    assert!(
        useful >= 60 * 500 * 8 / 10,
        "{useful} useful, {late} late, {shed} shed"
    );
    assert!(late * 100 < useful, "{late} late");
    // And when the load is gone, so is the limit.
    server.run(60, 300, service);
    server.counted();
    server.run(10, 450, service);
    assert_eq!(server.counted().2, 0);
}

#[test]
fn a_few_slow_sends_are_no_load() {
    let (clock, time) = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let mut adaptive = Adaptive::new(4096, clock.monotonic());
    for latency in [100, 100, 5_000, 20_000] {
        for _ in 0..100 {
            let began = clock.monotonic();
            time.advance_monotonic(MILLI * latency);
            adaptive.observe(clock.monotonic(), began, false, 20, 80);
        }
    }
    assert_eq!(adaptive.limit(), 4096);
}

#[test]
fn the_limit_keeps_its_bounds() {
    let (clock, time) = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let mut adaptive = Adaptive::new(4096, clock.monotonic());
    for _ in 0..10_000 {
        time.advance_monotonic(MILLI * 20);
        let limit = adaptive.limit();
        adaptive.observe(clock.monotonic(), clock.monotonic(), true, limit, limit);
        assert!(adaptive.limit() >= LEAST);
    }
    assert_eq!(adaptive.limit(), LEAST);
    for _ in 0..10_000 {
        time.advance_monotonic(MILLI * 20);
        let limit = adaptive.limit();
        adaptive.observe(clock.monotonic(), clock.monotonic(), false, limit, limit);
        assert!(adaptive.limit() <= 4096);
    }
    assert_eq!(adaptive.limit(), 4096);
}
