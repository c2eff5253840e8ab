//! Outcomes in memory, for as long as the process lasts.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::name::{Fingerprint, OutcomeId};
use super::{Begin, Kept, Marker, Opening, Row, Settled, Share, judge};
use crate::clock::{Clock, Moment};
use crate::guard::CallerKey;

/// What one record takes beside its answer at most, when its tables have just grown.
const RECORD_BYTES: usize = 448;
/// How many records are looked at for the first one of a caller.
const MOST_LOOKED_AT: usize = 1024;

/// The records.
#[derive(Debug)]
pub(in crate::stores) struct Table {
    clock: Clock,
    capacity: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    records: HashMap<OutcomeId, Record>,
    /// Those that are not under way, in the order in which they end.
    order: BTreeSet<(Moment, OutcomeId)>,
    markers: HashMap<Marker, OutcomeId>,
    bytes: usize,
    /// What of them those fill who have a share.
    by_caller: HashMap<CallerKey, usize>,
}

#[derive(Debug)]
struct Record {
    fingerprint: Fingerprint,
    life: Duration,
    /// `None` while it is under way.
    ends: Option<Moment>,
    sealed: Option<Box<[u8]>>,
    settled: Option<Settled>,
    marker: Option<Marker>,
    caller: Option<CallerKey>,
}

impl Record {
    fn bytes(&self) -> usize {
        RECORD_BYTES + self.sealed.as_ref().map_or(0, |sealed| sealed.len())
    }
}

impl Table {
    /// Room for records of about so many bytes.
    pub(super) fn new(clock: Clock, capacity: usize) -> Self {
        Self {
            clock,
            capacity,
            inner: Mutex::default(),
        }
    }

    pub(super) fn begin(&self, opening: &Opening) -> Begin<()> {
        let now = self.clock.monotonic();
        let mut inner = self.lock();
        let held = inner.records.get(&opening.id).map(|record| Row {
            is_same_body: record.fingerprint == opening.fingerprint,
            is_running: record.ends.is_none(),
            has_ended: record.ends.is_some_and(|ends| ends <= now),
            kept: Kept::of(record.sealed.clone(), record.settled.clone()),
        });
        if let Some(found) = judge(held) {
            return found;
        }
        inner.remove(opening.id);
        if inner.bytes >= self.capacity {
            return Begin::Full(inner.until_one_ends(now, None));
        }
        let caller = opening.share.map(|share| share.caller);
        if let Some(Share { caller, percent }) = opening.share {
            let filled = inner.by_caller.get(&caller).copied().unwrap_or(0);
            if filled >= self.capacity / 100 * usize::from(percent) {
                return Begin::Full(inner.until_one_ends(now, Some(caller)));
            }
        }
        let record = Record {
            fingerprint: opening.fingerprint,
            life: opening.life,
            ends: None,
            sealed: None,
            settled: None,
            marker: opening.marker,
            caller,
        };
        inner.fill(caller, record.bytes());
        if let Some(marker) = record.marker {
            inner.markers.insert(marker, opening.id);
        }
        inner.records.insert(opening.id, record);
        Begin::Begun(())
    }

    /// Keeps what came of it, and begins its life anew.
    pub(super) fn finish(&self, id: OutcomeId, sealed: Box<[u8]>) {
        let mut inner = self.lock();
        let Some(record) = inner.records.get_mut(&id) else {
            return;
        };
        let more = sealed.len();
        record.sealed = Some(sealed);
        let caller = record.caller;
        inner.fill(caller, more);
        self.end_of_run(&mut inner, id);
    }

    /// It is no longer under way, and nobody knows what came of it; its life begins anew.
    pub(super) fn leave_unknown(&self, id: OutcomeId) {
        self.end_of_run(&mut self.lock(), id);
    }

    /// Nothing came of it.
    pub(super) fn free(&self, id: OutcomeId) {
        let mut inner = self.lock();
        if inner
            .records
            .get(&id)
            .is_some_and(|record| record.settled.is_some())
        {
            self.end_of_run(&mut inner, id);
        } else {
            inner.remove(id);
        }
    }

    pub(super) fn settle(&self, marker: Marker, settled: Settled) -> bool {
        let mut inner = self.lock();
        let Some(id) = inner.markers.get(&marker).copied() else {
            return false;
        };
        let record = inner.records.get_mut(&id);
        let Some(record) = record.filter(|record| record.sealed.is_none() && record.settled.is_none()) else {
            return false;
        };
        record.settled = Some(settled);
        true
    }

    /// Forgets what has ended, and says how many that were.
    pub(super) fn sweep(&self) -> usize {
        let now = self.clock.monotonic();
        let mut swept = 0;
        // Let go between any two of them: a send never waits for more than one.
        while let Some((_, id)) = self.first_ended(now) {
            let mut inner = self.lock();
            let has_ended = |record: &Record| record.ends.is_some_and(|ends| ends <= now);
            if inner.records.get(&id).is_some_and(has_ended) {
                inner.remove(id);
                swept += 1;
            }
        }
        swept
    }

    fn first_ended(&self, now: Moment) -> Option<(Moment, OutcomeId)> {
        self.lock()
            .order
            .first()
            .copied()
            .filter(|(ends, _)| *ends <= now)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().records.len()
    }

    fn end_of_run(&self, inner: &mut Inner, id: OutcomeId) {
        if let Some(record) = inner.records.get_mut(&id) {
            let ends = self.clock.monotonic().after(record.life);
            record.ends = Some(ends);
            inner.order.insert((ends, id));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn fill(&mut self, caller: Option<CallerKey>, bytes: usize) {
        self.bytes += bytes;
        if let Some(caller) = caller {
            *self.by_caller.entry(caller).or_insert(0) += bytes;
        }
    }

    /// After how long an outcome of this caller's, or of anybody's, makes room; not before, where its first one is further down
    /// the order than is worth looking.
    fn until_one_ends(&self, now: Moment, caller: Option<CallerKey>) -> Duration {
        let mut last = now;
        for (ends, id) in self.order.iter().take(MOST_LOOKED_AT) {
            last = *ends;
            let is_it = |record: &Record| caller.is_none() || record.caller == caller;
            if self.records.get(id).is_some_and(is_it) {
                break;
            }
        }
        last.since(now)
    }

    fn remove(&mut self, id: OutcomeId) {
        let Some(record) = self.records.remove(&id) else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(record.bytes());
        if let Some(caller) = record.caller
            && let Some(filled) = self.by_caller.get_mut(&caller)
        {
            *filled = filled.saturating_sub(record.bytes());
            if *filled == 0 {
                self.by_caller.remove(&caller);
            }
        }
        if let Some(ends) = record.ends {
            self.order.remove(&(ends, id));
        }
        if let Some(marker) = record.marker {
            self.markers.remove(&marker);
        }
    }
}
