//! One rate and burst, by the generic cell rate algorithm as `governor` computes it.
//!
//! A limiter of governor's tests and takes in one step, and a decision about a send needs several limits: one that was
//! taken before another denies would be spent for nothing. So governor is given a state that it may fill in but that
//! nobody has to keep: [`Pace::test`] says what the state would be, and the ledger keeps it when all limits agreed. That
//! also gets round governor's own keyed stores, which never shrink, and `check_n`, whose outer error is not a denial.
//!
//! What governor has no word for stands beside it: what must count although it is too much, the wait behind others, and
//! a rate that changes.
//!
//! All in whole nanoseconds. The state is the "theoretical arrival time" of the algorithm: the moment until which what was
//! taken fills the rate. Zero is the state of what was never used.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

const SECOND: u64 = 1_000_000_000;

/// A rate and how many may come at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Pace {
    quota: Quota,
    /// What one takes, in nanoseconds.
    interval: u64,
    /// How far ahead of now the state may lie for one more to pass.
    tolerance: u64,
}

/// Governor's clock: it stands, because governor is given states as distances from now.
struct Standing;

/// A state that governor reads and fills in.
struct Draft {
    backlog: u64,
    after: Cell<u64>,
}

impl Pace {
    /// `count` a second, at least 1, and `burst` at once. Where a second does not divide by `count`, the pace is slower by
    /// less than a nanosecond a message, never faster.
    pub(super) fn per_second(count: u32, burst: u32) -> Self {
        Self::new(SECOND.div_ceil(u64::from(count.max(1))), burst)
    }

    /// One in `seconds`, at least 1, and `burst` at once.
    pub(super) fn every(seconds: u32, burst: u32) -> Self {
        Self::new(u64::from(seconds.max(1)) * SECOND, burst)
    }

    /// What one of `seats` has of it for itself: that part of the rate, and of the burst what none of them takes together
    /// with the others. `None` where the burst is too small to give each one.
    ///
    /// `scripts/number.lua` leaves the same out of what is common.
    pub(super) fn share(self, seats: u32) -> Option<Self> {
        let burst = self.quota.burst_size().get();
        let own = (burst / seats.saturating_mul(8)).max(1);
        (burst > own.saturating_mul(seats)).then(|| Self::new(self.interval * u64::from(seats), own))
    }

    fn new(interval: u64, burst: u32) -> Self {
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(Duration::from_nanos(interval));
        Self {
            quota: quota
                .unwrap_or(Quota::per_second(NonZeroU32::MIN))
                .allow_burst(burst),
            interval,
            tolerance: interval * u64::from(burst.get() - 1),
        }
    }

    /// The state after one more at `now`; or how long until one more passes. Nothing is taken.
    pub(super) fn test(self, state: u64, now: u64) -> Result<u64, u64> {
        let draft = Draft {
            backlog: state.saturating_sub(now),
            after: Cell::new(0),
        };
        let limiter = RateLimiter::<_, _, _, NoOpMiddleware<Nanos>>::new(self.quota, draft, Standing);
        match limiter.check() {
            Ok(()) => Ok(now.saturating_add(limiter.into_state_store().after.get())),
            Err(until) => Err(until.earliest_possible().as_u64()),
        }
    }

    /// How long until one passes after `ahead` others that pass as soon as they can.
    pub(super) const fn wait_behind(self, state: u64, now: u64, ahead: u64) -> u64 {
        let backlog = state.saturating_sub(now);
        let others = self.interval.saturating_mul(ahead);
        backlog.saturating_add(others).saturating_sub(self.tolerance)
    }

    /// The state after one that came and counts whether it passes or not. It runs into debt of one second at most: Meta
    /// measures by the second, so what was too much before is not held against what comes later.
    pub(super) fn force(self, state: u64, now: u64) -> u64 {
        let most = now + self.tolerance + self.interval + SECOND;
        (state.max(now) + self.interval).min(most.max(state))
    }

    /// What one takes, in nanoseconds.
    pub(super) const fn interval(self) -> u64 {
        self.interval
    }

    /// The state of which nothing is left: one passes after one interval.
    pub(super) const fn spent(self, now: u64) -> u64 {
        now + self.tolerance + self.interval
    }

    /// How many are taken of what may come at once; more where there is debt.
    pub(super) const fn taken(self, state: u64, now: u64) -> u64 {
        state.saturating_sub(now).div_ceil(self.interval)
    }

    /// `state`, of pace `from`, with as many left at this one: a higher limit is earned, not given.
    pub(super) fn rescale(self, from: Self, state: u64, now: u64) -> u64 {
        let whole = |pace: Self| i128::from(pace.tolerance) + i128::from(pace.interval);
        let left = whole(from) - i128::from(state.saturating_sub(now));
        let left = (left * i128::from(self.interval)).div_euclid(i128::from(from.interval));
        now.saturating_add(u64::try_from(whole(self) - left).unwrap_or(0))
    }
}

impl Clock for Standing {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::default()
    }
}

impl StateStore for Draft {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (outcome, after) = decide(Some(self.backlog.into()))?;
        self.after.set(after.into());
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pair_has_its_burst_and_then_its_pace() {
        let pair = Pace::every(6, 45);
        let mut state = 0;
        for _ in 0..45 {
            state = pair.test(state, 0).unwrap();
        }
        assert_eq!(pair.test(state, 0), Err(6 * SECOND));
        assert_eq!(pair.test(state, 6 * SECOND - 1), Err(1));
        state = pair.test(state, 6 * SECOND).unwrap();
        assert_eq!(pair.test(state, 6 * SECOND), Err(6 * SECOND));
        assert_eq!(pair.taken(state, 6 * SECOND), 45);
        assert_eq!(pair.taken(state, 6 * SECOND + 270 * SECOND), 0);
    }

    #[test]
    fn debt_ends_within_a_second() {
        let pace = Pace::per_second(80, 80);
        let mut state = 0;
        for _ in 0..1_000 {
            state = pace.force(state, 0);
        }
        assert_eq!(pace.test(state, 0), Err(SECOND + SECOND / 80));
    }

    proptest! {
        /// The state that governor fills in against the definition: a bucket of `burst` that fills one per interval.
        #[test]
        fn it_is_a_token_bucket(
            per_second in 1u32..1_000, burst in 1u32..100,
            gaps in proptest::collection::vec(0u64..50_000_000, 1..300),
        ) {
            let pace = Pace::per_second(per_second, burst);
            let full = u64::from(burst) * pace.interval;
            let (mut state, mut bucket, mut now) = (0, full, 0u64);
            for gap in gaps {
                now += gap;
                bucket = (bucket + gap).min(full);
                match pace.test(state, now) {
                    Ok(after) => {
                        prop_assert!(bucket >= pace.interval);
                        prop_assert_eq!(pace.wait_behind(state, now, 0), 0);
                        bucket -= pace.interval;
                        prop_assert_eq!(after, state.max(now) + pace.interval());
                        state = after;
                    }
                    Err(wait) => {
                        prop_assert_eq!(bucket + wait, pace.interval);
                        prop_assert_eq!(pace.wait_behind(state, now, 0), wait);
                    }
                }
                prop_assert_eq!(pace.taken(state, now), (full - bucket).div_ceil(pace.interval));
            }
        }

        #[test]
        fn the_wait_behind_others_is_when_they_have_passed(taken in 0u64..90, others in 0u64..20) {
            let pace = Pace::per_second(80, 80);
            let mut state = taken * pace.interval;
            let wait = pace.wait_behind(state, 0, others);
            let mut now = 0;
            for _ in 0..others {
                now += pace.test(state, now).err().unwrap_or(0);
                state = pace.test(state, now).unwrap();
            }
            prop_assert_eq!(wait, now + pace.test(state, now).err().unwrap_or(0));
        }

        #[test]
        fn a_change_of_rate_gives_nothing(taken in 0u64..90, rate in 1u32..200, burst in 1u32..200) {
            let (from, to) = (Pace::per_second(80, 80), Pace::per_second(rate, burst));
            let state = to.rescale(from, taken * from.interval, 0);
            let (left, most) = (80i64 - i64::try_from(taken).unwrap(), i64::from(burst));
            let now_left = most - i64::try_from(to.taken(state, 0)).unwrap();
            prop_assert_eq!(now_left, left.min(most));
        }
    }
}
