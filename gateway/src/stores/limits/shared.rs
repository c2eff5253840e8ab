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

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use aws_lc_rs::rand;
use tokio::sync::Notify;

use super::closures::{Closure, FOREVER, Place};
use super::lane::{Asked, Lane};
use super::recipient::RecipientId;
use super::{Outcome, SendLimits, Shared, lock};
use crate::stores::valkey::sends::{About, Seat, Taken};
use crate::stores::valkey::{Valkey, hexadecimal};
use crate::stores::{CryptoUnavailable, StoreError};

/// How many sends of one number the store is asked for at once.
pub(super) const MOST_ASKED: usize = 32;

/// A place among the instances that share a store.
#[derive(Clone, Debug)]
pub struct Sharing {
    pub(super) valkey: Valkey,
    pub(super) id: String,
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
        self.valkey
            .shared_secret("curfew:{secret}:recipients", new.into_bytes())
            .await
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
    pub(super) key: String,
    mode: AtomicU8,
    /// As it was last renewed.
    pub(super) seat: ArcSwapOption<Seat>,
    /// Whether it was given up for good.
    pub(super) has_left: AtomicBool,
    pub(super) broken: Notify,
    /// When this process last ceased to decide by itself, in nanoseconds: what it has for itself is as it was then.
    pub(super) stands_at: AtomicU64,
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

    pub(super) fn stands_at(&self) -> u64 {
        self.stands_at.load(Ordering::Acquire)
    }

    pub(super) fn set_mode(&self, mode: Mode) {
        self.mode.store(mode.code(), Ordering::Release);
    }

    /// The store has not answered.
    pub(super) fn lost(&self) {
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
            let at = together.stands_at();
            let own_pair = wish
                .recipient
                .filter(|recipient| seat.is_young(books.terms) && books.ledger.take_own_pair(*recipient, at));
            asked.own_pair = own_pair.map(|recipient| (recipient, at));
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
        if let (Some(together), Some((recipient, at))) = (&self.together, asked.own_pair)
            // An answer that never came may have taken it all the same.
            && taken.is_some_and(|taken| !taken.is_taken || !taken.is_own_pair)
        {
            books
                .ledger
                .give_back_own_pair(recipient, at, together.stands_at());
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
                    (spent.at, spent.changes),
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

/// 128 random bits, in hexadecimal digits.
fn random_name() -> Result<String, CryptoUnavailable> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| CryptoUnavailable)?;
    Ok(hexadecimal(&bytes))
}
