//! Limits that several instances keep together, in a store that all of them reach.
//!
//! Who waits, and in which order, stays with each instance. Whose turn it is, the store is asked for: one script tests every
//! limit and then takes one of each, so that no two instances take the same. What is asked is under way while others are
//! asked for, up to [`MOST_ASKED`] a number; where the store has said that the number must wait, one at a time.
//!
//! **While the store is away** each instance goes by a share of its own, see [`Pace::share`](super::pace::Pace::share), and it
//! may never be that two count on the same: an instance holds a seat by a lease, the store gives out what belongs to the
//! seats that are held or free, and an instance begins with its share only when its lease must be over. So nothing is given
//! out twice whoever is cut off from whom, and nothing is saved up: what was not taken in one way is not had in the other.
//!
//! **A store that comes back empty** takes every bucket to have been empty when it began, and is told which recipients
//! were counted, by each instance what it has counted itself.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use aws_lc_rs::rand;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::closures::{Closure, FOREVER, Place};
use super::lane::{Asked, Lane};
use super::recipient::RecipientId;
use super::{Outcome, SendLimits, Shared, lock};
use crate::stores::valkey::Valkey;
use crate::stores::valkey::closed::{ClosedPlace, ClosedState};
use crate::stores::valkey::sends::{About, Beat, LEASE, RENEWAL, Seat, Taken, micros};
use crate::stores::{CryptoUnavailable, StoreError};

/// How often a seat's lease is renewed.
const BEAT: Duration = Duration::from_millis(100);
/// How many sends of one number the store is asked for at once.
pub(super) const MOST_ASKED: usize = 32;
/// How long after a renewal failed, though there was a connection, the next one is tried.
const RETRY: Duration = Duration::from_secs(2);
/// In how many beats the portfolios' recipients are counted once.
const BEATS_A_COUNT: u32 = 10;
/// For how long others may have gone on counting since a count was read, until this instance is on its own.
const COUNT_IS_OLD: u32 = 3;
/// How many recipients a store is reminded of at once.
const RECALLED: usize = 256;

/// A place among the instances that share a store.
#[derive(Clone, Debug)]
pub struct Sharing {
    valkey: Valkey,
    id: String,
}

impl Sharing {
    /// A new place.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub(in crate::stores) fn new(valkey: Valkey) -> Result<Self, CryptoUnavailable> {
        let id = random_name()?;
        Ok(Self { valkey, id })
    }

    /// A secret that all who share the store have, for those who have none of their own: the first one's random bytes. Whoever
    /// reads the store can find out with it whether a number that they know of was written to.
    ///
    /// # Errors
    ///
    /// When the store does not answer, or the system gives no random bytes.
    pub async fn secret(&self) -> Result<Vec<u8>, StoreError> {
        let new = random_name().map_err(|_| StoreError::Unfit {
            what: "the system gives no random bytes for its secret",
        })?;
        self.valkey.shared_secret("curfew:{secret}", new.as_bytes()).await
    }

    /// Among how many the limits are shared.
    pub(super) const fn seats(&self) -> u32 {
        self.valkey.seats().get()
    }
}

/// Who decides at the moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    /// This process, by what its ledger holds.
    Own,
    /// The store.
    Store,
    /// Nobody: the store does not answer, and others may still count on our share.
    Nobody,
}

impl Mode {
    const fn code(self) -> u8 {
        match self {
            Self::Own => 0,
            Self::Store => 1,
            Self::Nobody => 2,
        }
    }
}

/// What belongs to the sharing.
#[derive(Debug)]
pub(super) struct Together {
    pub(super) sharing: Sharing,
    /// What all must agree on: the recipients' key.
    key: String,
    mode: AtomicU8,
    /// As it was last renewed.
    seat: ArcSwapOption<Seat>,
    /// Whether it was given up for good.
    has_left: AtomicBool,
    broken: Notify,
    /// When this process last ceased to decide by itself, in nanoseconds: what it has for itself is as it was then.
    stands_at: AtomicU64,
}

impl Together {
    pub(super) fn new(sharing: Sharing, key: String) -> Self {
        Self {
            sharing,
            key,
            mode: AtomicU8::new(Mode::Nobody.code()),
            seat: ArcSwapOption::empty(),
            has_left: AtomicBool::new(false),
            broken: Notify::new(),
            stands_at: AtomicU64::new(0),
        }
    }

    pub(super) fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Acquire) {
            0 => Mode::Own,
            1 => Mode::Store,
            _ => Mode::Nobody,
        }
    }

    fn stands_at(&self) -> u64 {
        self.stands_at.load(Ordering::Acquire)
    }

    fn set_mode(&self, mode: Mode) {
        self.mode.store(mode.code(), Ordering::Release);
    }

    /// The store has not answered.
    fn lost(&self) {
        let (store, nobody) = (Mode::Store.code(), Mode::Nobody.code());
        if self
            .mode
            .compare_exchange(store, nobody, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
        {
            self.broken.notify_one();
        }
    }

    /// How many recipients a portfolio of so many may have while some of the seats are cut off.
    fn most_recipients(&self, limit: usize, seat: &Seat) -> u32 {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let seats = self.sharing.seats();
        let lost = seats.saturating_sub(seat.live);
        limit.saturating_sub(limit.div_ceil(seats).saturating_mul(lost))
    }
}

impl Shared {
    /// Who decides.
    pub(super) fn mode(&self) -> Mode {
        self.together
            .as_ref()
            .map_or(Mode::Own, |together| together.mode())
    }

    /// Asks the store for the turns of those who were taken out of line for it.
    pub(super) fn ask_store(self: &Arc<Self>, lane: &Arc<Lane>, asked: Vec<Asked>) {
        for mut asked in asked {
            let (shared, lane) = (Arc::clone(self), Arc::clone(lane));
            tokio::spawn(async move {
                let taken = shared.take_from_store(&lane, &mut asked).await;
                shared.store_answered(&lane, &asked, taken.as_ref().ok());
            });
        }
    }

    async fn take_from_store(&self, lane: &Lane, asked: &mut Asked) -> Result<Taken, StoreError> {
        let wish = asked.want.wish;
        let (Some(together), Some(seat)) = (&self.together, self.seat()) else {
            return Err(StoreError::Stopped);
        };
        let (about, limit) = {
            let mut books = lane.lock();
            asked.own_pair = wish.recipient.filter(|recipient| {
                seat.is_young(books.terms) && books.ledger.take_own_pair(*recipient, together.stands_at())
            });
            let limit = books.uniques.as_ref().map(|uniques| lock(uniques).limit());
            (self.about(&books, wish.recipient), limit)
        };
        let most = limit.map(|limit| together.most_recipients(limit, &seat));
        let valkey = &together.sharing.valkey;
        let may = (wish.is_template, asked.own_pair.is_some());
        valkey.take(&about.with(&seat), may, most).await
    }

    fn store_answered(self: &Arc<Self>, lane: &Arc<Lane>, asked: &Asked, taken: Option<&Taken>) {
        let mut books = lane.lock();
        let now = self.now();
        if let (Some(together), Some(recipient)) = (&self.together, asked.own_pair)
            // An answer that never came may have taken it all the same.
            && taken.is_some_and(|taken| !taken.is_taken || !taken.is_own_pair)
        {
            books.ledger.give_back_own_pair(recipient, together.stands_at());
        }
        match taken {
            Some(taken) => {
                if let Some(unused) = books.store_said(asked, taken, &self.closures, now) {
                    self.give_back_to_store(&books, unused);
                }
            }
            None => {
                books.queue.answered(asked.ticket);
                if let Some(together) = &self.together {
                    together.lost();
                }
            }
        }
        self.serve(lane.number, &mut books);
    }

    /// Gives back what was taken from the store and not used.
    pub(super) fn give_back_to_store(&self, books: &super::lane::Books, spent: super::ledger::Spent) {
        let about = self.about(books, spent.recipient);
        self.tell_store(move |valkey, seat| async move {
            valkey
                .give_back(
                    &about.with(&seat),
                    (spent.at, spent.cuts),
                    (spent.is_new_unique, spent.is_own_pair),
                )
                .await
        });
    }

    /// Tells the store something that nobody waits for. What it does not hear, it counts too strictly, or learns from
    /// Meta's next answer.
    pub(super) fn tell_store<F, O>(&self, tell: F)
    where
        F: FnOnce(Valkey, Arc<Seat>) -> O,
        O: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let (Some(together), Some(seat)) = (&self.together, self.seat()) else {
            return;
        };
        let told = tell(together.sharing.valkey.clone(), seat);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = told.await {
                    tracing::debug!(%error, "the shared store was not told of a limit");
                }
            });
        }
    }

    /// Has the store, and with it the other instances, obey what Meta said.
    pub(super) fn store_hears(
        &self,
        books: &super::lane::Books,
        recipient: Option<RecipientId>,
        outcome: &Outcome,
    ) {
        if self.together.is_none() {
            return;
        }
        let (about, outcome) = (self.about(books, recipient), *outcome);
        self.tell_store(move |valkey, seat| async move {
            let about = about.with(&seat);
            match outcome {
                Outcome::TooFast => valkey.cut(&about).await,
                Outcome::PairTooFast => valkey.strike(&about).await,
                _ => valkey.accepted(&about).await,
            }
        });
    }

    /// Has the other instances obey a closure.
    pub(super) fn close_for_all(&self, place: Place, closure: Closure) {
        let lasts =
            (closure.until < FOREVER).then(|| Duration::from_nanos(closure.until.saturating_sub(self.now())));
        self.tell_store(
            move |valkey, _| async move { valkey.close(&place.text(), lasts, closure.code).await },
        );
    }

    /// What a script about a number is told.
    pub(super) fn about(&self, books: &super::lane::Books, recipient: Option<RecipientId>) -> Told {
        Told {
            books: books.keys.clone(),
            terms: books.terms,
            recipient: recipient.map(RecipientId::text),
            day: self.minute.times(super::DAY_MINUTES),
        }
    }

    fn seat(&self) -> Option<Arc<Seat>> {
        self.together.as_ref()?.seat.load_full()
    }

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

impl SendLimits {
    /// Sends nothing any more, and lets the other instances have what was this one's share at once. To be called when a gateway
    /// ends in good order; one that does not leaves its share to nobody until another one takes its place.
    pub async fn leave(&self) {
        let Some(together) = &self.0.together else { return };
        together.has_left.store(true, Ordering::Release);
        together.set_mode(Mode::Nobody);
        let sharing = &together.sharing;
        // After a renewal that was under way, since one connection carries both.
        if let Err(error) = sharing.valkey.leave(&sharing.id).await {
            tracing::warn!(%error, "the shared store was not told that this gateway ends");
        }
    }
}

/// What a script about a number is told, but for the seat.
#[derive(Clone, Debug)]
pub(super) struct Told {
    books: crate::stores::valkey::sends::Books,
    terms: crate::stores::valkey::sends::Terms,
    recipient: Option<String>,
    day: Duration,
}

impl Told {
    pub(super) fn with<'a>(&'a self, seat: &'a Seat) -> About<'a> {
        About {
            books: &self.books,
            terms: self.terms,
            seat,
            recipient: self.recipient.clone(),
            day: self.day,
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

/// 128 random bits, in hexadecimal digits.
fn random_name() -> Result<String, CryptoUnavailable> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| CryptoUnavailable)?;
    let mut name = String::with_capacity(32);
    for byte in bytes {
        let _ = write!(name, "{byte:02x}");
    }
    Ok(name)
}
