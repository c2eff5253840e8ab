//! How fast each number may send, and who goes first when many want to.
//!
//! Meta's limits belong to the number, the pair of number and recipient, and the portfolio (Cloud API, "Throughput",
//! "About the platform", "Messaging limits"), not to the service that sends, so they are kept here, where all sends meet.
//!
//! - **A send that is denied has spent nothing.** All limits are tested, then all are taken, under one lock a number.
//! - **Inbound counts.** What a number receives takes from the same throughput, also into debt; sends leave a share.
//! - **Meta's word counts more than ours**: what its answers say closes and slows, through [`SendLimits::observe`].
//! - **Waiting is fair and bounded**, see `queue.rs`; whoever hangs up frees their place, and what was taken for them.
//! - **`retry_after` is true**: a send that comes back then passes, if nothing else came after those who wait already.
//! - **Nobody is remembered**: recipients are keyed hashes, for as long as a limit needs them.
//!
//! Decisions go by our [`Clock`], monotonic, in whole nanoseconds; tokio's timer only wakes who has to look again. There is
//! one timer, [`SendLimits::run`], for all numbers. A pace is computed by governor, see `pace.rs` for what it can and
//! cannot do here.
//!
//! Instances that share a store share their limits, see `shared.rs`.
//!
//! What it deliberately does not do: send, parse, or outlast the process, but in a shared store. A restart begins with full
//! bursts.

mod aged;
mod bucket;
mod closures;
mod feedback;
mod lane;
mod ledger;
mod pace;
mod queue;
mod recipient;
mod seat;
mod shared;
mod snapshot;
#[cfg(test)]
mod tests;
mod uniques;
mod waiting;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use curfew_policies::{Minute, NumberPolicy, PhoneNumberId, PolicySet, SendClass};
use tokio::sync::Notify;

pub use closures::Place;
pub use feedback::{Outcome, Scope};
pub use queue::{Share, WaitingRoom};
pub use recipient::{CountryCode, Recipient, RecipientId, RecipientKey};
pub use shared::Sharing;
pub use snapshot::{ClosedNow, NumberNow, PortfolioNow, Snapshot, WaitingNow};
pub use waiting::{Admit, Grant};

use crate::clock::{Clock, Moment};
use closures::{Closure, Closures, FOREVER};
use lane::{Lane, Want};
use ledger::Wish;
use recipient::Identities;
use shared::{Mode, Together};
use uniques::Uniques;

/// A day, in minutes: the window of unique recipients, and how long a service window is open (Cloud API, "Messaging
/// limits", "Send messages").
const DAY_MINUTES: u32 = 1_440;

/// The limits of all numbers. Cheap to clone; clones share them.
#[derive(Clone)]
pub struct SendLimits(Arc<Shared>);

/// A send that wants to go out.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The number that sends.
    pub number: PhoneNumberId,
    /// What tells the app or token apart that Meta counts it for: one value where the gateway's own is used, in pass-through
    /// one for each caller's token.
    pub app: u64,
    /// On whose behalf, for fairness.
    pub share: Share,
    /// What it is.
    pub what: What<'a>,
    /// How much memory it takes while it waits.
    pub bytes: usize,
}

/// What a call to `/messages` is, as far as limits go.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// A message.
    Message {
        /// Whom it goes to.
        recipient: Recipient<'a>,
        /// What it is for.
        class: SendClass,
        /// Whether it is a template. Others are possible within a service window only, so they reach nobody outside of one.
        is_template: bool,
    },
    /// A read receipt or typing indicator: counts for throughput, is no message to anybody, and goes as `service`.
    Receipt,
}

/// What limits a send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limit {
    /// The number's messages a second (Meta's code 130429).
    Throughput,
    /// The pace towards one recipient (131056).
    Pair,
    /// The portfolio's unique recipients in 24 hours.
    UniqueRecipients,
    /// Meta has closed something.
    Closed {
        /// What.
        place: Place,
        /// Meta's code; 0 where a header alone said so.
        code: i64,
    },
    /// The number is not among those that limits are kept for.
    UnknownNumber,
}

impl Limit {
    /// Its name, as a label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Pair => "pair",
            Self::UniqueRecipients => "unique_recipients",
            Self::Closed { .. } => "closed",
            Self::UnknownNumber => "unknown_number",
        }
    }
}

/// A send that is told to come back later. Nothing was spent for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub struct Limited {
    /// The limit that has it wait longest.
    pub which: Limit,
    /// After how long it passes, if nothing comes after those who wait already; `None` = not before an operator opens what is
    /// closed.
    pub retry_after: Option<Duration>,
}

impl Limited {
    /// Limits are not kept for this number.
    pub const UNKNOWN_NUMBER: Self = Self {
        which: Limit::UnknownNumber,
        retry_after: None,
    };
}

/// Something that somebody should hear of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// Meta said that a number is too fast: its rate was lowered.
    Slowed {
        /// The number.
        number: PhoneNumberId,
        /// Messages a second from now on.
        per_second: u32,
    },
    /// Meta said that one recipient gets too many: the pair is closed.
    PairClosed {
        /// The number.
        number: PhoneNumberId,
        /// For how many seconds.
        seconds: u64,
    },
    /// Meta closed something for a while.
    Paused {
        /// What.
        place: Place,
        /// Meta's code; 0 where a header alone said so.
        code: i64,
        /// For how long.
        lasts: Duration,
    },
    /// An alarm: something is closed until an operator opens it.
    Stopped {
        /// What.
        place: Place,
        /// Meta's code.
        code: i64,
    },
    /// An alarm: somebody must look at it.
    Alarm {
        /// The number whose send was refused.
        number: PhoneNumberId,
        /// Meta's code.
        code: i64,
    },
    /// An operator opened what was closed.
    Opened {
        /// What.
        place: Place,
    },
}

impl Event {
    /// Whether somebody must act.
    #[must_use]
    pub const fn is_alarm(&self) -> bool {
        matches!(self, Self::Stopped { .. } | Self::Alarm { .. })
    }
}

/// What all who use the limits share.
struct Shared {
    clock: Clock,
    minute: Minute,
    /// The moment that nanoseconds are counted from.
    start: Moment,
    room: WaitingRoom,
    lanes: ArcSwap<HashMap<PhoneNumberId, Arc<Lane>>>,
    identities: Identities,
    closures: Closures,
    /// When which number has to be served next.
    agenda: Mutex<BTreeSet<(u64, PhoneNumberId)>>,
    /// Something has to be served earlier than what the driver sleeps for.
    earlier: Notify,
    /// How many drivers run.
    drivers: AtomicUsize,
    /// The store that decides together with other instances, if they share one.
    together: Option<Together>,
    on_event: Box<dyn Fn(&Event) + Send + Sync>,
}

impl fmt::Debug for SendLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendLimits")
            .field("lanes", &self.0.lanes.load().len())
            .finish_non_exhaustive()
    }
}

impl WaitingRoom {
    /// What a number has unless told otherwise: 4,096 sends and 16 MiB, four seconds of the upgraded throughput.
    pub const DEFAULT: Self = Self {
        sends: 4_096,
        bytes: 16 * 1024 * 1024,
    };
}

impl SendLimits {
    /// Limits for the numbers of `policies`, nothing of them spent. `on_event` is called without any lock held and must not
    /// block.
    #[must_use]
    pub fn new(
        policies: &PolicySet,
        key: RecipientKey,
        clock: Clock,
        minute: Minute,
        room: WaitingRoom,
        on_event: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Self {
        Self::of(policies, key, (clock, minute), room, None, Box::new(on_event))
    }

    /// Limits that are kept together with other instances, which have the same `key`. To be used within a tokio runtime; until
    /// [`run`](Self::run) has found the others, nothing is sent.
    #[must_use]
    pub fn shared(
        policies: &PolicySet,
        key: RecipientKey,
        (clock, minute): (Clock, Minute),
        room: WaitingRoom,
        sharing: Sharing,
        on_event: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Self {
        let together = Together::new(sharing, key.fingerprint());
        Self::of(
            policies,
            key,
            (clock, minute),
            room,
            Some(together),
            Box::new(on_event),
        )
    }

    fn of(
        policies: &PolicySet,
        key: RecipientKey,
        (clock, minute): (Clock, Minute),
        room: WaitingRoom,
        together: Option<Together>,
        on_event: Box<dyn Fn(&Event) + Send + Sync>,
    ) -> Self {
        let start = clock.monotonic();
        let limits = Self(Arc::new(Shared {
            clock,
            minute,
            start,
            room,
            lanes: ArcSwap::default(),
            identities: Identities::new(key),
            closures: Closures::default(),
            agenda: Mutex::default(),
            earlier: Notify::new(),
            drivers: AtomicUsize::new(0),
            together,
            on_event,
        }));
        limits.apply(policies);
        limits
    }

    /// Goes on under other policies: what is spent, closed and waiting stays. Whoever waits for a number that is gone is
    /// told so. Not to be called twice at once.
    pub fn apply(&self, policies: &PolicySet) {
        let shared = &self.0;
        let (now, day) = (shared.now(), shared.day());
        let before = shared.lanes.load_full();
        let seats = shared.together.as_ref().map(|together| together.sharing.seats());
        // All at once, so that no number still counts in a portfolio's old table while another one does in the new one. Nobody
        // else holds two of them.
        let mut held: HashMap<_, _> = before
            .iter()
            .map(|(number, lane)| (*number, lane.lock()))
            .collect();
        let mut portfolio_of: HashMap<PhoneNumberId, (Arc<Mutex<Uniques>>, PhoneNumberId)> = HashMap::new();
        for portfolio in &policies.portfolios {
            let tables = portfolio
                .numbers
                .iter()
                .filter_map(|number| held.get(number)?.uniques.clone());
            let mut tables: Vec<_> = tables.collect();
            let numbers = tables.len();
            tables.dedup_by(|one, other| Arc::ptr_eq(one, other));
            let in_table = |table| held.values().filter(|books| books.counts_in(table)).count();
            let counted = match tables.as_slice() {
                // The same numbers as before.
                [table] if numbers == portfolio.numbers.len() && numbers == in_table(table) => {
                    lock(table).set_limit(portfolio.unique_recipients_24h);
                    Arc::clone(table)
                }
                _ => {
                    let mut counted = Uniques::new(portfolio.unique_recipients_24h, day);
                    counted.take_over(&tables);
                    Arc::new(Mutex::new(counted))
                }
            };
            let Some(first) = portfolio.numbers.iter().min() else {
                continue;
            };
            for number in &portfolio.numbers {
                portfolio_of.insert(*number, (Arc::clone(&counted), *first));
            }
        }
        let lane = |policy: &NumberPolicy| {
            let number = policy.phone_number_id;
            let portfolio = match portfolio_of.get(&number) {
                Some((uniques, first)) => (Some(Arc::clone(uniques)), *first),
                None => (None, number),
            };
            let lane = match (before.get(&number), held.get_mut(&number)) {
                (Some(lane), Some(books)) => {
                    books.ledger.configure(&policy.sends, now);
                    books.configure(policy, portfolio);
                    shared.serve(lane.number, books);
                    Arc::clone(lane)
                }
                _ => Arc::new(Lane::new(policy, day, portfolio, seats)),
            };
            (number, lane)
        };
        let lanes: HashMap<_, _> = policies.numbers.values().map(lane).collect();
        shared.lanes.store(Arc::new(lanes));
        for (number, books) in &mut held {
            if !policies.numbers.contains_key(number) {
                books.dismiss();
                shared.schedule(*number, books, None);
            }
        }
    }

    /// Asks to send. The future resolves at once, or when the send's turn has come, or its time to wait is over; dropping it
    /// gives up the place in line.
    ///
    /// Nothing waits while [`run`](Self::run) does not: there would be nobody to wake it.
    pub fn admit(&self, ask: &Ask<'_>) -> Admit {
        let shared = &self.0;
        let Some(lane) = shared.lane(ask.number) else {
            return Admit::ready(Err(Limited::UNKNOWN_NUMBER));
        };
        let (class, wish) = match ask.what {
            What::Message {
                recipient,
                class,
                is_template,
            } => {
                let recipient = Some(self.identify(ask.number, recipient));
                let wish = Wish {
                    recipient,
                    is_template,
                };
                (class, wish)
            }
            What::Receipt => {
                let wish = Wish {
                    recipient: None,
                    is_template: false,
                };
                (SendClass::Service, wish)
            }
        };
        let want = Want { wish, app: ask.app };
        let place = queue::Place {
            class,
            share: ask.share,
            recipient: wish.recipient,
            bytes: ask.bytes,
            deadline: 0,
        };
        waiting::admit(shared, lane, want, place)
    }

    /// The hash of a recipient of `number`, for [`observe`](Self::observe).
    #[must_use]
    pub fn identify(&self, number: PhoneNumberId, recipient: Recipient<'_>) -> RecipientId {
        self.0.identities.find(number, recipient)
    }

    /// Names the country code of one of our numbers, such as its `display_phone_number` shows. Recipients without `+` and
    /// code are taken to be of that country until Meta says otherwise. It is learnt from Meta's answers as well.
    pub fn set_country(&self, number: PhoneNumberId, code: CountryCode) {
        self.0.identities.set_country(number, code);
    }

    /// Learns from Meta that whom `number` wrote to as `recipient` has this `wa_id`: `contacts[]` of an answer (Cloud API,
    /// "Send messages"), or of a webhook that names both. What was counted for two is one recipient's from now on; only
    /// sends that wait already go on under the name that they came with.
    pub fn learn(&self, number: PhoneNumberId, recipient: Recipient<'_>, wa_id: &str) {
        let shared = &self.0;
        let now = shared.now();
        let joined = shared.identities.learn(number, recipient, wa_id, now);
        let Some(joined) = joined else { return };
        for lane in shared.lanes.load().values() {
            let mut books = lane.lock();
            books.ledger.join(joined.before, joined.now, shared.now());
            if let Some(uniques) = &books.uniques {
                lock(uniques).join(joined.before, joined.now);
            }
            if shared.together.is_some() {
                let about = shared.about(&books, Some(joined.now));
                let before = joined.before.text();
                shared.tell_store(move |valkey, seat| async move {
                    valkey.join(&about.with(&seat), &before).await
                });
            }
        }
    }

    /// Learns the same from an answer to a send that was counted for `counted_as`: in the usual case that is who Meta says, and
    /// there is nothing to learn.
    pub fn learn_from_answer(
        &self,
        number: PhoneNumberId,
        recipient: Recipient<'_>,
        counted_as: RecipientId,
        wa_id: &str,
    ) {
        if self.0.identities.is_of(counted_as, wa_id) {
            return;
        }
        self.learn(number, recipient, wa_id);
    }

    /// Counts a message that `number` received, which opens the sender's service window.
    pub fn inbound(&self, number: PhoneNumberId, sender: Option<Recipient<'_>>) {
        let Some(lane) = self.0.lane(number) else {
            return;
        };
        let sender = sender.map(|sender| self.identify(number, sender));
        let mut books = lane.lock();
        let now = self.0.now();
        if self.0.mode() == Mode::Own {
            books.ledger.inbound(sender, now);
        } else if let Some(sender) = sender {
            books.ledger.open_window(sender, now);
        }
        if self.0.together.is_some() {
            let about = self.0.about(&books, sender);
            self.0
                .tell_store(move |valkey, seat| async move { valkey.inbound(&about.with(&seat)).await });
        }
    }

    /// Obeys what Meta said to a send of `number` to `recipient` (`None` for receipts) with `app`.
    pub fn observe(
        &self,
        number: PhoneNumberId,
        app: u64,
        recipient: Option<RecipientId>,
        outcome: &Outcome,
    ) {
        let shared = &self.0;
        let Some(lane) = shared.lane(number) else {
            return;
        };
        let now = shared.now();
        let place = |scope| match scope {
            Scope::Number => Place::Number(number),
            Scope::Account => lane.lock().account.map_or(Place::Number(number), Place::Account),
            Scope::App => Place::App(app),
        };
        let event = match *outcome {
            Outcome::Refused => None,
            Outcome::Accepted => {
                let mut books = lane.lock();
                if let Some(recipient) = recipient.filter(|recipient| books.ledger.has_strikes(*recipient)) {
                    books.ledger.accepted(recipient);
                    shared.store_hears(&books, Some(recipient), outcome);
                }
                None
            }
            Outcome::TooFast => {
                let mut books = lane.lock();
                let per_second = books.ledger.cut(shared.now());
                if per_second.is_some() {
                    shared.store_hears(&books, recipient, outcome);
                }
                per_second.map(|per_second| Event::Slowed { number, per_second })
            }
            Outcome::PairTooFast => recipient.and_then(|recipient| {
                let mut books = lane.lock();
                let seconds = books.ledger.strike(recipient, shared.now())?;
                shared.store_hears(&books, Some(recipient), outcome);
                Some(Event::PairClosed { number, seconds })
            }),
            Outcome::Pause { scope, code, minutes } => {
                let (place, lasts) = (place(scope), shared.minute.times(minutes));
                shared.close(place, code, now, now.saturating_add(nanos(lasts)));
                Some(Event::Paused { place, code, lasts })
            }
            Outcome::Stop { scope, code } => {
                let place = place(scope);
                shared.close(place, code, now, FOREVER);
                Some(Event::Stopped { place, code })
            }
            Outcome::Alarm { code } => Some(Event::Alarm { number, code }),
        };
        if let Some(event) = event {
            (shared.on_event)(&event);
        }
    }

    /// Opens a number that Meta closed because it was not registered, now that it is. What was closed for another reason
    /// stays so.
    pub fn registered(&self, number: PhoneNumberId) {
        let place = Place::Number(number);
        let closed = self.0.closures.of([place], self.0.now());
        if closed.is_some_and(|(_, closure)| matches!(closure.code, 131_045 | 133_010)) {
            self.open(place);
        }
    }

    /// Opens what is closed, by an operator's word; whether it was closed. What Meta then says may close it again.
    pub fn open(&self, place: Place) -> bool {
        let was_closed = self.0.closures.open(place, self.0.now());
        if was_closed {
            self.0
                .tell_store(move |valkey, _| async move { valkey.open(&place.text()).await });
            self.0.serve_all();
            (self.0.on_event)(&Event::Opened { place });
        }
        was_closed
    }
}

impl Shared {
    /// Nanoseconds since the start.
    fn now(&self) -> u64 {
        nanos(self.clock.monotonic().since(self.start))
    }

    /// A day, in nanoseconds.
    fn day(&self) -> u64 {
        nanos(self.minute.times(DAY_MINUTES))
    }

    fn lane(&self, number: PhoneNumberId) -> Option<Arc<Lane>> {
        self.lanes.load().get(&number).map(Arc::clone)
    }

    fn close(self: &Arc<Self>, place: Place, code: i64, since: u64, until: u64) {
        let closure = Closure { since, until, code };
        self.closures.close(place, closure);
        self.close_for_all(place, closure);
        // Those who cannot wait that long are told at once.
        self.serve_all();
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
