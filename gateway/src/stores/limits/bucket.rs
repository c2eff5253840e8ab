//! What is taken at one pace, and how much of it may still be given back.
//!
//! A bucket that was full since holds nothing of what was taken before, so giving that back would be a gift: after it, the
//! state must be what it would be had the send never been, or more. With one send less, every later one would have found
//! the backlog smaller by what that send took, and never below zero. So what can be given back is at most the lowest
//! backlog that any later one found, and those then found that much less.
//!
//! Remembered are the lowest backlogs by their size, in intervals doubled: what is put together counts with the lower backlog
//! and the later moment, which gives back less, never more.

use super::pace::Pace;

/// Nothing, less than one interval, than two, than four, than eight, and all that is more.
const SIZES: usize = 6;

/// How full it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    pub(super) state: u64,
    lows: [Low; SIZES],
}

/// The lowest backlog that was found up to a moment, since what is remembered in smaller sizes.
#[derive(Clone, Copy, Debug, Default)]
struct Low {
    /// The last time at which it was found; 0 = never.
    at: u64,
    backlog: u64,
}

impl Bucket {
    pub(super) fn of(state: u64) -> Self {
        Self {
            state,
            ..Self::default()
        }
    }

    /// Takes what [`Pace::test`] found that there is: `after` is the state that it named.
    pub(super) fn take(&mut self, pace: Pace, after: u64, now: u64) {
        self.found(pace, self.backlog(now), now);
        self.state = after;
    }

    /// Takes one whether there is one or not.
    pub(super) fn force(&mut self, pace: Pace, now: u64) {
        let before = self.backlog(now);
        let after = pace.force(self.state, now);
        if after < self.state.max(now).saturating_add(pace.interval()) {
            // The debt ends here whatever was sent before.
            self.found(pace, 0, now + 1);
        } else {
            self.found(pace, before, now);
        }
        self.state = after;
    }

    /// Gives back one that was taken at `at`, as far as it is still missing.
    pub(super) fn give_back(&mut self, pace: Pace, at: u64) {
        let later = || move |low: &&mut Low| low.at > at;
        let lowest = self.lows.iter_mut().filter(later()).map(|low| low.backlog).min();
        let given = lowest.unwrap_or(u64::MAX).min(pace.interval());
        for low in self.lows.iter_mut().filter(later()) {
            low.backlog -= given;
        }
        self.state = self.state.saturating_sub(given);
    }

    /// Time stood still here for `span` after `since`.
    pub(super) fn stood_still(&mut self, pace: Pace, since: u64, span: u64) {
        if self.state > since {
            self.found(pace, self.state - since, since);
            self.state += span;
        }
    }

    /// Adds the backlog of another one to this one's.
    pub(super) fn join(&mut self, pace: Pace, other: Self, now: u64) {
        self.found(pace, self.backlog(now), now);
        self.state = self.state.max(now) + other.backlog(now);
    }

    fn backlog(&self, now: u64) -> u64 {
        self.state.saturating_sub(now)
    }

    /// Somebody found a backlog at `at`, no earlier than any before.
    fn found(&mut self, pace: Pace, backlog: u64, at: u64) {
        // Of those that come at one moment it does not matter which was first, and the first found least.
        if let Some(low) = self.lows.iter_mut().find(|low| low.at >= at) {
            low.backlog = low.backlog.min(backlog);
            return;
        }
        let bits = u64::BITS - (backlog / pace.interval()).leading_zeros();
        let size = u32::from(backlog > 0) + bits;
        let size = usize::try_from(size).unwrap_or(SIZES).min(SIZES - 1);
        let mut low = Low { at, backlog };
        for larger in self.lows.iter_mut().skip(size).filter(|low| low.at > 0) {
            low.backlog = low.backlog.min(larger.backlog);
            *larger = Low::default();
        }
        if let Some(place) = self.lows.get_mut(size) {
            *place = low;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Take,
        Force,
        GiveBack(prop::sample::Index),
    }

    fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
        let gap = prop_oneof![3 => Just(0u64), 3 => 0u64..30_000_000, 1 => 0u64..3_000_000_000];
        let step = prop_oneof![
            6 => Just(Step::Take),
            1 => Just(Step::Force),
            3 => any::<prop::sample::Index>().prop_map(Step::GiveBack),
        ];
        vec((gap, step), 1..120)
    }

    /// The state after these alone: when each came, and whether it came without asking.
    fn state_of(pace: Pace, sent: &[(u64, bool)]) -> u64 {
        sent.iter().fold(0, |state, (at, is_forced)| {
            if *is_forced {
                pace.force(state, *at)
            } else {
                state.max(*at) + pace.interval()
            }
        })
    }

    proptest! {
        /// After each step the state is that of a bucket that never saw what was given back, or more.
        #[test]
        fn what_is_given_back_is_never_more_than_is_missing(
            rate in prop::sample::select(vec![1u32, 7, 80, 1_000]), burst in 1u32..40, steps in steps(),
        ) {
            let pace = Pace::per_second(rate, burst);
            let mut bucket = Bucket::default();
            let mut sent: Vec<(u64, bool)> = Vec::new();
            let mut now = 1;
            for (gap, step) in steps {
                now += gap;
                match step {
                    Step::Take => if let Ok(after) = pace.test(bucket.state, now) {
                        bucket.take(pace, after, now);
                        sent.push((now, false));
                    },
                    Step::Force => {
                        bucket.force(pace, now);
                        sent.push((now, true));
                    }
                    Step::GiveBack(which) => {
                        let taken: Vec<usize> = (0..sent.len()).filter(|nth| !sent[*nth].1).collect();
                        if !taken.is_empty() {
                            let (at, _) = sent.remove(*which.get(&taken));
                            bucket.give_back(pace, at);
                        }
                    }
                }
                prop_assert!(bucket.state.max(now) >= state_of(pace, &sent).max(now), "too much was given back");
            }
        }

        /// Of those that were sent at two moments, everything that is missing comes back.
        #[test]
        fn what_is_missing_is_given_back(first in 1usize..20, second in 0usize..20, gap in 0u64..500_000_000, given in 0usize..20) {
            let pace = Pace::per_second(80, 40);
            let mut bucket = Bucket::default();
            let mut sent = vec![(1, false); first];
            sent.extend(vec![(1 + gap, false); second]);
            for (at, _) in &sent {
                bucket.take(pace, pace.test(bucket.state, *at).unwrap(), *at);
            }
            for _ in 0..given.min(first) {
                let (at, _) = sent.remove(0);
                bucket.give_back(pace, at);
            }
            let now = 1 + gap;
            prop_assert_eq!(bucket.state.max(now), state_of(pace, &sent).max(now));
        }
    }

    #[test]
    fn a_bucket_that_was_full_since_gets_nothing_back() {
        let pace = Pace::per_second(80, 80);
        let mut bucket = Bucket::default();
        for now in [1, 1_000_000_001] {
            for _ in 0..80 {
                bucket.take(pace, pace.test(bucket.state, now).unwrap(), now);
            }
        }
        let before = bucket.state;
        for _ in 0..80 {
            bucket.give_back(pace, 1);
        }
        assert_eq!(bucket.state, before);
        bucket.give_back(pace, 1_000_000_001);
        assert_eq!(bucket.state, before - pace.interval());
    }
}
