//! Which events were counted already.
//!
//! Meta delivers webhooks again when it has not heard 200, and now and then when it has (Cloud API, "Webhooks overview"),
//! so what is counted is remembered, as keyed hashes, for one to two days. It is bounded: the oldest are forgotten early
//! when more than a quarter of a million come.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use curfew_policies::Minute;

use crate::clock::{Clock, Moment};

/// How many are remembered before the older half is forgotten. Both halves together take about 4 MB.
const MOST_A_HALF: usize = 131_072;
/// A day, in minutes.
const DAY_MINUTES: u32 = 1_440;

/// The events. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub struct SeenEvents {
    clock: Clock,
    minute: Minute,
    hasher: RandomState,
    halves: Arc<Mutex<Halves>>,
}

#[derive(Debug)]
struct Halves {
    newer: HashSet<u64>,
    older: HashSet<u64>,
    /// When `newer` was begun.
    begun: Moment,
}

impl SeenEvents {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(clock: Clock, minute: Minute) -> Self {
        let halves = Halves {
            newer: HashSet::new(),
            older: HashSet::new(),
            begun: clock.monotonic(),
        };
        Self {
            clock,
            minute,
            hasher: RandomState::new(),
            halves: Arc::new(Mutex::new(halves)),
        }
    }

    /// Whether the event of this name comes for the first time; from now on it does not.
    pub fn is_new(&self, name: &[&str]) -> bool {
        let hash = self.hasher.hash_one(name);
        let now = self.clock.monotonic();
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.since(halves.begun);
        let day = self.minute.times(DAY_MINUTES);
        if halves.newer.len() >= MOST_A_HALF || age >= day {
            halves.older = std::mem::take(&mut halves.newer);
            halves.begun = now;
            if age >= day * 2 {
                halves.older.clear();
            }
        }
        !halves.older.contains(&hash) && halves.newer.insert(hash)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use curfew_policies::Timestamp;

    use super::*;

    #[test]
    fn an_event_is_new_once_within_a_day() {
        let (clock, time) = Clock::manual(Timestamp::from_millis(0));
        let seen = SeenEvents::new(clock, Minute::REAL);
        assert!(seen.is_new(&["message", "a"]));
        assert!(!seen.is_new(&["message", "a"]));
        assert!(seen.is_new(&["failed", "a"]) && seen.is_new(&["messagea", ""]));
        time.advance(Duration::from_secs(86_399));
        assert!(!seen.is_new(&["message", "a"]));
        time.advance(Duration::from_secs(1));
        assert!(!seen.is_new(&["message", "a"]), "the older half still has it");
        time.advance(Duration::from_secs(2 * 86_400));
        assert!(seen.is_new(&["message", "a"]));
    }

    #[test]
    fn a_flood_makes_it_forget_no_more_than_the_oldest() {
        let (clock, _time) = Clock::manual(Timestamp::from_millis(0));
        let seen = SeenEvents::new(clock, Minute::REAL);
        for event in 0..3 * MOST_A_HALF {
            assert!(seen.is_new(&[&event.to_string()]));
        }
        let last = (3 * MOST_A_HALF - 1).to_string();
        assert!(!seen.is_new(&[&last]));
        let halves = seen.halves.lock().unwrap();
        assert!(halves.newer.len() + halves.older.len() <= 2 * MOST_A_HALF);
    }
}
