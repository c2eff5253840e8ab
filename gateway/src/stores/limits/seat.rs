//! The seat that a process has among those who share a store: kept by a lease, and given up for a share of its own.
//!
//! Before a renewal goes out, nothing is taken on one's own any more; after the last that may have come true, nothing is until
//! its lease must be over. Between the two nobody decides, which takes less than a second.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::closures::{Closure, FOREVER, Place};
use super::shared::{Mode, Together};
use super::{Shared, lock};
use crate::stores::StoreError;
use crate::stores::valkey::closed::{ClosedPlace, ClosedState};
use crate::stores::valkey::sends::{Beat, LEASE, RENEWAL, micros};

/// How often a seat's lease is renewed.
const BEAT: Duration = Duration::from_millis(100);
/// In how many beats the portfolios' recipients are counted once.
const BEATS_A_COUNT: u32 = 10;
/// For how long others may have gone on counting since a count was read, until this instance is on its own.
const COUNT_IS_OLD: u32 = 3;
/// How many recipients a store is reminded of at once.
const RECALLED: usize = 256;
/// How long after a renewal failed, though there was a connection, the next one is tried.
const RETRY: Duration = Duration::from_secs(2);

impl Shared {
    /// Keeps the seat, and says who decides, for ever.
    pub(super) async fn keep_seat(self: &Arc<Self>) -> Infallible {
        let Some(together) = &self.together else {
            return std::future::pending().await;
        };
        let mut keeper = Keeper {
            shared: self,
            together,
            own_from: None,
            renewed: None,
            beats: 0,
            retry_at: None,
            was_together: 0,
            version: String::new(),
            refused: None,
        };
        loop {
            let next = Instant::now() + BEAT;
            keeper.beat().await;
            // Earlier where the store was found to be away: nobody is served meanwhile.
            let _ = timeout_at(next, together.broken.notified()).await;
            if together.mode() == Mode::Nobody
                && let Some(own_from) = keeper.own_from
                && own_from < Instant::now() + BEAT
            {
                sleep_until(own_from).await;
            }
        }
    }
}

/// Keeps the seat.
struct Keeper<'s> {
    shared: &'s Arc<Shared>,
    together: &'s Together,
    /// From when on nobody counts on our share; `None` before the first seat.
    own_from: Option<Instant>,
    /// The last renewal: when its answer came, and the server's time then.
    renewed: Option<(Instant, u64)>,
    beats: u32,
    /// After a renewal failed: when the next one is tried. Until then this process can be on its own.
    retry_at: Option<Instant>,
    /// When this process last went by what the store says, in nanoseconds.
    was_together: u64,
    /// What was read last of what is closed.
    version: String,
    /// Why there is no seat, as it was logged.
    refused: Option<&'static str>,
}

impl Keeper<'_> {
    async fn beat(&mut self) {
        if self.together.has_left.load(Ordering::Acquire) {
            return;
        }
        let mode = self.together.mode();
        let is_waiting = mode != Mode::Store && self.retry_at.is_some_and(|at| Instant::now() < at);
        if is_waiting || !self.together.sharing.valkey.is_reachable() {
            self.together.lost();
            if mode != Mode::Own && self.own_from.is_some_and(|from| Instant::now() >= from) {
                self.begin_own();
            }
            return;
        }
        if mode == Mode::Own {
            // Before anybody else may count on our share.
            self.end_own();
        }
        match self.renew().await {
            Ok(true) => {
                self.count().await;
                self.obey().await;
                if self.together.mode() != Mode::Store && !self.together.has_left.load(Ordering::Acquire) {
                    self.together.set_mode(Mode::Store);
                    self.shared.serve_all();
                }
            }
            // Without a seat there is no share either.
            Ok(false) => self.own_from = None,
            Err(_) => {
                self.retry_at = Some(Instant::now() + RETRY);
                self.together.lost();
            }
        }
    }

    /// Renews the lease, and tells a store that has forgotten all what it should know; whether there is a seat.
    async fn renew(&mut self) -> Result<bool, StoreError> {
        let sharing = &self.together.sharing;
        let server_now = match self.renewed {
            Some((at, server)) if self.together.mode() == Mode::Store => server + micros(at.elapsed()),
            _ => sharing.valkey.server_time().await?,
        };
        let sent = Instant::now();
        if self.own_from.is_some() {
            // It may be renewed although no answer comes.
            self.own_from = Some(sent + RENEWAL + LEASE);
        }
        let beat = sharing
            .valkey
            .beat(&sharing.id, &self.together.key, server_now + micros(RENEWAL));
        let seat = match beat.await? {
            Beat::Seat(seat) => seat,
            Beat::Refused(why) => {
                if self.refused != Some(why) {
                    tracing::error!(
                        why,
                        "the shared store has no place for this gateway: it sends nothing"
                    );
                }
                self.refused = Some(why);
                self.together.set_mode(Mode::Nobody);
                return Ok(false);
            }
        };
        let answered = Instant::now();
        self.own_from = Some(answered + LEASE);
        self.renewed = Some((answered, seat.at));
        self.refused = None;
        let is_another = self
            .together
            .seat
            .load()
            .as_ref()
            .is_some_and(|before| before.born != seat.born);
        if is_another {
            self.recall().await?;
            self.was_together = 0;
            self.version.clear();
        }
        self.together.seat.store(Some(Arc::new(seat)));
        Ok(true)
    }

    /// Nobody counts on our share any more: this process decides by itself.
    fn begin_own(&self) {
        let shared = self.shared;
        let now = shared.now();
        let seats = self.together.sharing.seats();
        for portfolio in shared.portfolios() {
            let mut uniques = lock(&portfolio.uniques);
            // Those that others may have counted since it was asked.
            let since = portfolio.paces.saturating_mul(u64::from(COUNT_IS_OLD));
            let left = uniques.shared_count.map_or(0, |count| {
                let counted = u64::from(count).saturating_add(since);
                u64::try_from(uniques.limit())
                    .unwrap_or(u64::MAX)
                    .saturating_sub(counted)
            });
            let own = usize::try_from(left / u64::from(seats)).unwrap_or(usize::MAX);
            uniques.on_its_own(Some(own), now);
        }
        for lane in shared.lanes.load().values() {
            let since = self.together.stands_at();
            lane.lock().ledger.stood_still(since, now.saturating_sub(since));
        }
        self.together.set_mode(Mode::Own);
        tracing::warn!(
            seats,
            "the shared store is away: sends go on at this gateway's share of the limits"
        );
        shared.serve_all();
    }

    fn end_own(&mut self) {
        self.together.set_mode(Mode::Nobody);
        let shared = self.shared;
        // Whoever decided by the old mode holds one of these locks.
        for lane in shared.lanes.load().values() {
            drop(lane.lock());
        }
        let now = shared.now();
        self.together.stands_at.store(now, Ordering::Release);
        for portfolio in shared.portfolios() {
            lock(&portfolio.uniques).on_its_own(None, now);
        }
    }

    /// Closes and opens here what was closed and opened elsewhere.
    async fn obey(&mut self) {
        let shared = self.shared;
        let now = shared.now();
        if self.together.mode() != Mode::Store {
            // What the store could not be told of.
            for (place, closure) in shared.closures.all(now) {
                if closure.since >= self.was_together {
                    shared.close_for_all(place, closure);
                }
            }
        }
        self.was_together = now;
        let Ok(closed) = self.together.sharing.valkey.closed(&mut self.version).await else {
            return;
        };
        for ClosedPlace { place, age, state } in &closed {
            let since = now.saturating_sub(super::nanos(*age));
            match (Place::named(place), *state) {
                (Some(place), ClosedState::Closed(lasts, code)) => {
                    let until = lasts.map_or(FOREVER, |lasts| now.saturating_add(super::nanos(lasts)));
                    shared.closures.close(place, Closure { since, until, code });
                }
                (Some(place), ClosedState::Open) => drop(shared.closures.open(place, now)),
                (None, _) => {}
            }
        }
        if !closed.is_empty() {
            shared.serve_all();
        }
    }

    /// Asks now and then how many recipients each portfolio has.
    async fn count(&mut self) {
        self.beats += 1;
        if self.beats % BEATS_A_COUNT != 1 {
            return;
        }
        for portfolio in self.shared.portfolios() {
            let count = self.together.sharing.valkey.count(&portfolio.books).await;
            lock(&portfolio.uniques).shared_count = count.ok();
        }
    }

    /// Tells a store that has forgotten them whom this process has counted.
    async fn recall(&self) -> Result<(), StoreError> {
        let shared = self.shared;
        let day = shared.minute.times(super::DAY_MINUTES);
        for portfolio in shared.portfolios() {
            let now = shared.now();
            let (known, all) = {
                let mut uniques = lock(&portfolio.uniques);
                let own = u32::try_from(uniques.count(now)).unwrap_or(u32::MAX);
                let since = portfolio.paces.saturating_mul(u64::from(COUNT_IS_OLD));
                let since = u32::try_from(since).unwrap_or(u32::MAX);
                let known = uniques
                    .shared_count
                    .map_or(own, |count| count.saturating_add(since).max(own));
                let age = |at: u64| Duration::from_nanos(now.saturating_sub(at));
                let all: Vec<_> = uniques.all().map(|(id, at)| (id.text(), age(at))).collect();
                (known, all)
            };
            let valkey = &self.together.sharing.valkey;
            let mut rest = all.as_slice();
            loop {
                let (some, more) = rest.split_at(rest.len().min(RECALLED));
                valkey.recall(&portfolio.books, known, day, some).await?;
                rest = more;
                if rest.is_empty() {
                    break;
                }
            }
        }
        tracing::warn!(
            "the shared store had forgotten what was sent: it was told of this gateway's recipients"
        );
        Ok(())
    }
}

/// A portfolio as the lanes know it.
struct Portfolio {
    uniques: Arc<std::sync::Mutex<super::uniques::Uniques>>,
    books: crate::stores::valkey::sends::Books,
    /// How many its numbers can message within a second, bursts included.
    paces: u64,
}

impl Shared {
    fn portfolios(&self) -> Vec<Portfolio> {
        let mut portfolios: Vec<Portfolio> = Vec::new();
        for lane in self.lanes.load().values() {
            let books = lane.lock();
            let Some(uniques) = &books.uniques else { continue };
            let pace = books.terms.most_in_a_second();
            match portfolios
                .iter_mut()
                .find(|known| Arc::ptr_eq(&known.uniques, uniques))
            {
                Some(portfolio) => portfolio.paces = portfolio.paces.saturating_add(pace),
                None => portfolios.push(Portfolio {
                    uniques: Arc::clone(uniques),
                    books: books.keys.clone(),
                    paces: pace,
                }),
            }
        }
        portfolios
    }
}
