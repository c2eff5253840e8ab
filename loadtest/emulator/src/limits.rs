//! Throughput and the pair limit as token buckets that borrow from the future.
//!
//! Meta says 80 messages a second (Throughput) and one in six seconds to one user with bursts up to 45 (About the
//! platform), not how it measures. A bucket of one second's worth, or of 45, refilled evenly, gives both statements;
//! [`TOLERANCE_NS`] is what the way over the wire may shift.

/// How much earlier than its slot a message may come.
pub(crate) const TOLERANCE_NS: u64 = 100_000_000;

const SECOND_NS: u64 = 1_000_000_000;

/// A rate and how many may come at once.
#[derive(Clone, Copy)]
pub(crate) struct Rate {
    interval_ns: u64,
    burst: u64,
}

impl Rate {
    /// One message in six seconds to one user, 45 at once.
    pub(crate) const PAIR: Self = Self {
        interval_ns: 6 * SECOND_NS,
        burst: 45,
    };

    /// So many a second, a second's worth at once.
    pub(crate) fn per_second(count: u32) -> Self {
        let count = u64::from(count.max(1));
        Self {
            interval_ns: SECOND_NS / count,
            burst: count,
        }
    }

    /// Takes one; `next_ns` is when the bucket is full again. Nothing is taken where there is no room.
    pub(crate) fn take(self, next_ns: &mut u64, now_ns: u64) -> bool {
        if !self.has_room(*next_ns, now_ns) {
            return false;
        }
        *next_ns = (*next_ns).max(now_ns) + self.interval_ns;
        true
    }

    pub(crate) fn has_room(self, next_ns: u64, now_ns: u64) -> bool {
        let ahead = next_ns.saturating_sub(now_ns);
        ahead <= (self.burst - 1) * self.interval_ns + TOLERANCE_NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_has_its_burst_and_then_its_pace() {
        let mut next = 0;
        let taken = (0..60).filter(|_| Rate::PAIR.take(&mut next, 0)).count();
        assert_eq!(taken, 45);
        assert!(!Rate::PAIR.take(&mut next, 5 * SECOND_NS));
        assert!(Rate::PAIR.take(&mut next, 6 * SECOND_NS));
        assert!(!Rate::PAIR.take(&mut next, 6 * SECOND_NS));
    }

    #[test]
    fn throughput_holds_over_a_minute() {
        let rate = Rate::per_second(80);
        let mut next = 0;
        let taken = (0..60_000)
            .filter(|&ms| rate.take(&mut next, ms * 1_000_000))
            .count();
        assert!((60 * 80..=61 * 80 + 8).contains(&taken), "{taken}");
    }
}
