//! Which copies there are, what they weigh and when they end. The only file that knows moka.
//!
//! moka says who has to go when room is short, and finds copies by key. It does not say when memory is free (it evicts
//! when it comes round to it) nor when a copy ends (its clock is its own), so weights and deadlines are kept here too, all
//! under the one lock that the caller holds.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use curfew_policies::Timestamp;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::medium::{Identity, Medium};
use super::{EndReason, Ended, Life, MediaKey, Now, Scope};
use crate::clock::{Clock, Deadline, Moment};

/// What weights count in, in bytes: moka's are 32 bits wide. What a copy costs beside its bytes is less than one.
const UNIT: u64 = 1024;

pub(super) struct Books {
    /// Exactly the live copies.
    index: Cache<MediaKey, Arc<Medium>>,
    /// What moka pushed out, until it is dealt with.
    evicted: Arc<Mutex<Vec<Arc<Medium>>>>,
    live: HashMap<u64, Live>,
    by_moment: BTreeSet<(Moment, u64)>,
    by_wall: BTreeSet<(Timestamp, u64)>,
    capacity: u64,
    /// Of the live copies, at their full size from the start.
    weight: u64,
    /// Of those that are in use.
    weight_in_use: u64,
    next_serial: u64,
    /// The furthest that the wall clock was seen.
    furthest: Now,
    clock: Clock,
}

struct Live {
    medium: Arc<Medium>,
    /// Who reads it, and the fill that brings it.
    users: usize,
}

impl Books {
    pub(super) fn new(max_bytes: u64, clock: Clock) -> Self {
        let evicted: Arc<Mutex<Vec<Arc<Medium>>>> = Arc::default();
        let pushed_out = Arc::clone(&evicted);
        let capacity = max_bytes / UNIT;
        let index = Cache::builder()
            .max_capacity(capacity)
            // Whoever asks for something new gets it kept. The default policy may turn newcomers away, and then the
            // fetches that it was meant to save go on.
            .eviction_policy(EvictionPolicy::lru())
            .weigher(|_, medium: &Arc<Medium>| u32::try_from(weight(&medium.identity)).unwrap_or(u32::MAX))
            .eviction_listener(move |_, medium, cause| {
                if cause == RemovalCause::Size {
                    lock(&pushed_out).push(medium);
                }
            })
            .build();
        Self {
            index,
            evicted,
            live: HashMap::new(),
            by_moment: BTreeSet::new(),
            by_wall: BTreeSet::new(),
            capacity,
            weight: 0,
            weight_in_use: 0,
            next_serial: 0,
            furthest: Now::read(&clock),
            clock,
        }
    }

    pub(super) fn find(&self, key: MediaKey) -> Option<Arc<Medium>> {
        self.index.get(&key)
    }

    pub(super) fn serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }

    /// The end of `life` from `now` on both clocks; `None` if it has come.
    ///
    /// How long it is until the medium's end is counted from the furthest that the wall clock was ever seen: set back
    /// between the medium's upload and this, it must not make the copy's life longer either.
    pub(super) fn deadline(&mut self, life: Life, now: Now) -> Option<Deadline> {
        let left = life.ends.since(self.furthest(now)).min(life.at_most);
        let wall = life.ends.min(now.wall.after(life.at_most));
        let deadline = Deadline::new(wall, now.monotonic.after(left));
        (!left.is_zero() && !self.clock.is_past(deadline)).then_some(deadline)
    }

    /// Brings the end of `medium` forward if `life`, counted from when it was opened first, ends earlier.
    ///
    /// What one caller's facts allow must not be stretched by another's who came before. Says whether that makes it one of
    /// the next to end.
    pub(super) fn tighten(&mut self, medium: &Medium, life: Life, now: Now) -> bool {
        let wall = life.ends.min(medium.identity.begun.wall.after(life.at_most));
        let deadline = medium.deadline();
        if wall >= deadline.wall() {
            return false;
        }
        let left = wall.since(self.furthest(now));
        let monotonic = deadline.monotonic().min(now.monotonic.after(left));
        self.unschedule(medium);
        medium.set_deadline(Deadline::new(wall, monotonic));
        self.schedule(medium)
    }

    /// Takes `medium` up with one user, pushing out what it must, which `ended` gets the receipts of.
    ///
    /// Says whether it is one of the next to end; `None` if there is no room, because what is in use is not pushed out.
    pub(super) fn admit(&mut self, medium: &Arc<Medium>, ended: &mut Vec<Ended>) -> Option<bool> {
        let Identity { key, serial, .. } = medium.identity;
        let weight = weight(&medium.identity);
        if self.weight_in_use.saturating_add(weight) > self.capacity {
            return None;
        }
        let live = Live {
            medium: Arc::clone(medium),
            users: 1,
        };
        self.live.insert(serial, live);
        let is_next = self.schedule(medium);
        self.weight += weight;
        self.weight_in_use += weight;
        self.index.insert(key, Arc::clone(medium));
        self.make_room(ended);
        if self.weight > self.capacity {
            // moka has not come round to it. The bound is ours to keep, not moka's.
            self.strike(medium);
            return None;
        }
        Some(is_next)
    }

    /// One more uses `medium`.
    pub(super) fn lease(&mut self, medium: &Medium) {
        if let Some(live) = self.live.get_mut(&medium.identity.serial) {
            live.users += 1;
            if live.users == 1 {
                self.weight_in_use += weight(&medium.identity);
            }
        }
    }

    /// One less uses `medium`.
    pub(super) fn release(&mut self, medium: &Medium) {
        if let Some(live) = self.live.get_mut(&medium.identity.serial) {
            live.users = live.users.saturating_sub(1);
            if live.users == 0 {
                self.weight_in_use = self.weight_in_use.saturating_sub(weight(&medium.identity));
            }
        }
    }

    /// Ends `medium`; `None` if it has ended before.
    pub(super) fn end(&mut self, medium: &Arc<Medium>, reason: EndReason) -> Option<Ended> {
        let due = medium.deadline().wall();
        let bytes = medium.end(reason)?;
        self.strike(medium);
        Some(Ended {
            key: medium.identity.key,
            bytes,
            reason,
            due,
            at: self.clock.now(),
        })
    }

    /// One copy whose end has come by either clock.
    pub(super) fn due(&self, now: Now) -> Option<Arc<Medium>> {
        let by_moment = self.by_moment.first().filter(|(end, _)| *end <= now.monotonic);
        let by_wall = self.by_wall.first().filter(|(end, _)| *end <= now.wall);
        let serial = by_moment
            .map(|(_, serial)| serial)
            .or(by_wall.map(|(_, serial)| serial))?;
        self.live.get(serial).map(|live| Arc::clone(&live.medium))
    }

    /// How long it is until the next end, by the clock that comes first; `None` if there is no copy.
    pub(super) fn until_next(&self, now: Now) -> Option<Duration> {
        let by_moment = self.by_moment.first()?.0.since(now.monotonic);
        let by_wall = self.by_wall.first()?.0.since(now.wall);
        Some(by_moment.min(by_wall))
    }

    /// The copies that `scope` names.
    pub(super) fn named(&self, scope: Scope) -> Vec<Arc<Medium>> {
        let media = self.live.values().map(|live| &live.medium);
        let named = media.filter(|medium| scope.names(medium.identity.key));
        named.map(Arc::clone).collect()
    }

    /// Lets moka drop what it holds of copies that have ended.
    pub(super) fn tidy(&self) {
        self.index.run_pending_tasks();
    }

    pub(super) fn entries(&self) -> usize {
        self.live.len()
    }

    pub(super) const fn reserved_bytes(&self) -> u64 {
        self.weight.saturating_mul(UNIT)
    }

    /// Has moka push out until all fits. A copy that is in use goes back in, as the last to go: those who read it are not
    /// to suffer.
    fn make_room(&mut self, ended: &mut Vec<Ended>) {
        // Each round ends a copy or moves one in use behind those that are not, so it never takes more.
        for _ in 0..=self.live.len() {
            self.index.run_pending_tasks();
            let evicted = std::mem::take(&mut *lock(&self.evicted));
            if evicted.is_empty() {
                break;
            }
            for medium in evicted {
                let live = self.live.get(&medium.identity.serial);
                if live.is_some_and(|live| live.users > 0) {
                    self.index.insert(medium.identity.key, medium);
                } else {
                    ended.extend(self.end(&medium, EndReason::Evicted));
                }
            }
        }
    }

    fn strike(&mut self, medium: &Arc<Medium>) {
        self.unschedule(medium);
        let weight = weight(&medium.identity);
        if let Some(live) = self.live.remove(&medium.identity.serial) {
            self.weight = self.weight.saturating_sub(weight);
            if live.users > 0 {
                self.weight_in_use = self.weight_in_use.saturating_sub(weight);
            }
        }
        let key = &medium.identity.key;
        if self
            .index
            .get(key)
            .is_some_and(|found| Arc::ptr_eq(&found, medium))
        {
            self.index.invalidate(key);
        }
    }

    /// Says whether it is the next to end by one of the clocks.
    fn schedule(&mut self, medium: &Medium) -> bool {
        let (deadline, serial) = (medium.deadline(), medium.identity.serial);
        self.by_moment.insert((deadline.monotonic(), serial));
        self.by_wall.insert((deadline.wall(), serial));
        let next_by_moment = self.by_moment.first().map(|(_, serial)| *serial);
        let next_by_wall = self.by_wall.first().map(|(_, serial)| *serial);
        next_by_moment == Some(serial) || next_by_wall == Some(serial)
    }

    fn unschedule(&mut self, medium: &Medium) {
        let (deadline, serial) = (medium.deadline(), medium.identity.serial);
        self.by_moment.remove(&(deadline.monotonic(), serial));
        self.by_wall.remove(&(deadline.wall(), serial));
    }

    /// The wall-clock time, had the clock never been set back.
    fn furthest(&mut self, now: Now) -> Timestamp {
        let expected = self
            .furthest
            .wall
            .after(now.monotonic.since(self.furthest.monotonic));
        if now.wall < expected {
            return expected;
        }
        self.furthest = now;
        now.wall
    }
}

fn weight(identity: &Identity) -> u64 {
    identity.size.div_ceil(UNIT)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
