//! How much memory JSON bodies may fill together, from before they are read until nobody needs them any more.
//!
//! Each body is bounded by `limits.json_bytes`, but callers can open many at once and let them wait: each has a share of the room,
//! and takes of it what has come, not what was announced.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::guard::CallerKey;

/// How much room is taken ahead of what has come, in bytes, or as much as has come: a buffer that grows doubles.
const STEP: usize = 16 * 1024;

/// Bytes that JSON bodies may fill together.
#[derive(Clone, Debug)]
pub struct JsonBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes: usize,
    share: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_caller: HashMap<CallerKey, usize>,
}

impl JsonBudget {
    /// 64 MiB: room for tens of thousands of ordinary sends, and for eight bodies of the largest size that can be
    /// configured.
    pub const BYTES: usize = 64 * 1024 * 1024;

    /// A budget of so many bytes, of which one caller may fill `share`.
    #[must_use]
    pub fn of(bytes: usize, share: usize) -> Self {
        Self(Arc::new(Shared {
            bytes,
            share,
            taken: Mutex::default(),
        }))
    }

    /// A budget of [`Self::BYTES`], of which one caller may fill `share_percent`, and one body of `most` bytes at least.
    #[must_use]
    pub fn shared(share_percent: u8, most: usize) -> Self {
        let share = Self::BYTES / 100 * usize::from(share_percent);
        Self::of(Self::BYTES, share.max(most))
    }

    /// Room for a body of at most `expected` bytes: none yet.
    #[must_use]
    pub fn open(&self, caller: CallerKey, expected: usize) -> Room {
        Room {
            budget: Arc::clone(&self.0),
            caller,
            expected,
            bytes: 0,
        }
    }
}

impl Default for JsonBudget {
    /// One that nobody has only a share of.
    fn default() -> Self {
        Self::of(Self::BYTES, Self::BYTES)
    }
}

impl Shared {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, caller: CallerKey, bytes: usize) -> bool {
        let mut taken = self.taken();
        let all = taken.all.saturating_add(bytes);
        let own = taken.by_caller.get(&caller).copied().unwrap_or(0);
        let own = own.saturating_add(bytes);
        if all > self.bytes || own > self.share {
            return false;
        }
        taken.all = all;
        taken.by_caller.insert(caller, own);
        true
    }

    fn give_back(&self, caller: CallerKey, bytes: usize) {
        let mut taken = self.taken();
        taken.all = taken.all.saturating_sub(bytes);
        if let Some(own) = taken.by_caller.get_mut(&caller) {
            *own = own.saturating_sub(bytes);
            if *own == 0 {
                taken.by_caller.remove(&caller);
            }
        }
    }
}

/// Room for one body, given back when it is dropped.
#[derive(Debug)]
pub struct Room {
    budget: Arc<Shared>,
    caller: CallerKey,
    /// How large the body may become.
    expected: usize,
    bytes: usize,
}

impl Room {
    /// Whether there is room for the `read` bytes that came and, if more are expected, for more; takes what it lacks.
    #[must_use]
    pub fn reaches_past(&mut self, read: usize) -> bool {
        let next = read.saturating_add(1).min(self.expected).max(read);
        if self.bytes >= next {
            return true;
        }
        let ahead = read.saturating_add(read.max(STEP)).min(self.expected).max(read);
        let has_taken = self.budget.take(self.caller, ahead - self.bytes);
        if has_taken {
            self.bytes = ahead;
        }
        has_taken
    }

    /// The body, which gives its room back when it is dropped. What it does not fill is given back now.
    #[must_use]
    pub fn hold(mut self, body: Bytes) -> Bytes {
        let spare = self.bytes.saturating_sub(body.len());
        if spare > 0 {
            self.budget.give_back(self.caller, spare);
            self.bytes -= spare;
        }
        if body.is_empty() {
            return body;
        }
        Bytes::from_owner(Held { body, _room: self })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.give_back(self.caller, self.bytes);
        }
    }
}

/// `body` in the room that `original` has, which is held for as long as `body` is.
#[must_use]
pub fn held_for(original: Bytes, body: Bytes) -> Bytes {
    struct InPlaceOf {
        body: Bytes,
        _original: Bytes,
    }

    impl AsRef<[u8]> for InPlaceOf {
        fn as_ref(&self) -> &[u8] {
            &self.body
        }
    }

    Bytes::from_owner(InPlaceOf {
        body,
        _original: original,
    })
}

struct Held {
    body: Bytes,
    _room: Room,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::guard::Guard;

    const ONE: CallerKey = CallerKey::STRANGERS;

    fn other() -> CallerKey {
        Guard::new(Clock::system(), 100).caller_key("other")
    }

    /// Room for a body that is there as a whole.
    fn take(budget: &JsonBudget, caller: CallerKey, bytes: usize) -> Option<Room> {
        let mut room = budget.open(caller, bytes);
        room.reaches_past(bytes).then_some(room)
    }

    #[test]
    fn what_stands_for_a_body_keeps_its_room() {
        let budget = JsonBudget::of(10, 10);
        let room = take(&budget, ONE, 10).unwrap();
        let body = room.hold(Bytes::from_static(b"0123456789"));
        let instead = held_for(body, Bytes::from_static(b"another"));
        assert_eq!(instead, "another");
        assert!(take(&budget, ONE, 1).is_none());
        drop(instead);
        assert!(take(&budget, ONE, 10).is_some());
    }

    #[test]
    fn bodies_fill_no_more_than_the_budget() {
        let budget = JsonBudget::of(100, 100);
        let held = take(&budget, ONE, 90).unwrap().hold(Bytes::from(vec![b'x'; 60]));
        assert!(take(&budget, ONE, 41).is_none());
        let rest = take(&budget, ONE, 40).unwrap();
        let part = held.slice(..1);
        drop(held);
        drop(rest);
        assert!(
            take(&budget, ONE, 41).is_none(),
            "a part of the body is still there"
        );
        drop(part);
        assert!(take(&budget, ONE, 100).is_some());
    }

    #[test]
    fn a_caller_fills_its_share() {
        let budget = JsonBudget::of(100, 25);
        let own = take(&budget, ONE, 25).unwrap();
        assert!(take(&budget, ONE, 1).is_none());
        let theirs = take(&budget, other(), 25).unwrap();
        drop(own);
        assert!(take(&budget, ONE, 25).is_some());
        drop(theirs);
        assert!(budget.0.taken().by_caller.is_empty());
    }

    #[test]
    fn who_announces_much_and_sends_little_takes_little() {
        let budget = JsonBudget::shared(25, 1 << 20);
        let mut slow: Vec<_> = (0..1_000).map(|_| budget.open(ONE, 1 << 20)).collect();
        assert!(slow.iter_mut().all(|room| room.reaches_past(100)));
        assert!(take(&budget, other(), 15 << 20).is_some());
        // What comes takes room, before more of it is read.
        let full = slow
            .iter_mut()
            .filter_map(|room| room.reaches_past(64 << 10).then_some(()))
            .count();
        assert!((1..=1_000 / 4).contains(&full), "{full}");
        assert!(take(&budget, other(), 15 << 20).is_some());
    }

    #[test]
    fn a_small_share_has_room_for_one_body() {
        let budget = JsonBudget::shared(1, 1 << 20);
        let one = take(&budget, ONE, 1 << 20).unwrap();
        assert!(take(&budget, ONE, 1).is_none());
        drop(one);
    }
}
