//! One number's sends: what is spent, and who waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use curfew_policies::{NumberPolicy, PhoneNumberId, SendClass, WabaId, WhenLimited};
use tokio::sync::oneshot;

use super::closures::{Closures, FOREVER, Place as Closable};
use super::ledger::{Ahead, Ledger, Spent, Waits, Wish};
use super::queue::{Place, Queue, Ticket, WaitingRoom};
use super::uniques::Uniques;
use super::{Limit, Limited};

/// What comes of waiting.
pub(super) type Answer = Result<Spent, Limited>;

/// One number.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) number: PhoneNumberId,
    books: Mutex<Books>,
}

/// What is known of it.
#[derive(Debug)]
pub(super) struct Books {
    number: PhoneNumberId,
    pub(super) account: Option<WabaId>,
    pub(super) uniques: Option<Arc<Mutex<Uniques>>>,
    when_limited: BTreeMap<SendClass, WhenLimited>,
    max_wait: u64,
    pub(super) ledger: Ledger,
    pub(super) queue: Queue<Waiter>,
    /// Whether the policy knows the number no more: nobody may wait any longer.
    pub(super) is_gone: bool,
    /// For when the driver is told to come back.
    pub(super) due: Option<u64>,
    pub(super) granted: u64,
    /// How many were told to come back later, by limit.
    pub(super) limited: BTreeMap<&'static str, u64>,
}

/// What a send needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    pub(super) wish: Wish,
    pub(super) app: u64,
}

#[derive(Debug)]
pub(super) struct Waiter {
    want: Want,
    answer: oneshot::Sender<Answer>,
}

/// Why something was not taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocked {
    waits: Waits,
    /// What the throughput would have it wait if nobody were ahead.
    alone: u64,
    closed: Option<(Closable, i64, u64)>,
}

impl Blocked {
    /// How long until the send itself may pass, whatever the number's throughput.
    pub(super) fn own(&self) -> u64 {
        let closed = self.closed.map_or(0, |(.., wait)| wait);
        self.waits.pair.max(self.waits.uniques).max(closed)
    }

    /// Whether the send may pass within `max_wait`: its own limits behind those who wait for the same, and the throughput
    /// for one alone, since the order of those who wait may favour it.
    pub(super) fn is_within(&self, max_wait: u64) -> bool {
        self.own() <= max_wait && self.alone <= max_wait
    }

    pub(super) fn longest(&self) -> u64 {
        self.own().max(self.waits.throughput)
    }

    /// What is to be said of it.
    pub(super) fn limited(&self) -> Limited {
        let waits = self.waits;
        let longest = self.longest();
        let which = match self.closed {
            Some((place, code, wait)) if wait == longest => Limit::Closed { place, code },
            _ if waits.throughput == longest => Limit::Throughput,
            _ if waits.uniques == longest => Limit::UniqueRecipients,
            _ => Limit::Pair,
        };
        Limited {
            which,
            retry_after: (longest < FOREVER).then(|| Duration::from_nanos(longest)),
        }
    }
}

impl Lane {
    pub(super) fn new(policy: &NumberPolicy, window: u64, uniques: Option<Arc<Mutex<Uniques>>>) -> Self {
        let mut books = Books {
            number: policy.phone_number_id,
            account: None,
            uniques: None,
            when_limited: BTreeMap::new(),
            max_wait: 0,
            ledger: Ledger::new(&policy.sends, window),
            queue: Queue::default(),
            is_gone: false,
            due: None,
            granted: 0,
            limited: BTreeMap::new(),
        };
        books.configure(policy, uniques);
        Self {
            number: policy.phone_number_id,
            books: Mutex::new(books),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// Takes over what the policy says, but for the ledger's part.
    pub(super) fn configure(&mut self, policy: &NumberPolicy, uniques: Option<Arc<Mutex<Uniques>>>) {
        let classes = SendClass::ALL.map(|class| (class, policy.sends.when_limited(class)));
        self.when_limited = classes.into();
        self.max_wait = u64::from(policy.sends.max_wait_ms) * 1_000_000;
        self.account = policy.waba_id;
        self.uniques = uniques;
    }

    /// How long a send of `class` may wait.
    pub(super) fn max_wait(&self, class: SendClass) -> Option<u64> {
        let waits = self.when_limited.get(&class) == Some(&WhenLimited::Wait);
        (waits && self.max_wait > 0).then_some(self.max_wait)
    }

    /// Takes what `want` needs, or nothing.
    pub(super) fn take(&mut self, want: Want, closures: &Closures, now: u64) -> Result<Spent, Blocked> {
        let closed = self.closed(want, closures, now);
        if closed.is_some() {
            let waits = self
                .ledger
                .waits(want.wish, self.uniques.as_deref(), Ahead::default(), now);
            let alone = waits.throughput;
            return Err(Blocked { waits, alone, closed });
        }
        let taken = self
            .ledger
            .take(want.wish, self.uniques.as_deref(), now)
            .map_err(|waits| Blocked {
                waits,
                alone: waits.throughput,
                closed,
            });
        self.granted += u64::from(taken.is_ok());
        taken
    }

    /// Why `want` could not be taken when all who wait have gone, and when it could.
    pub(super) fn blocked(&mut self, want: Want, closures: &Closures, now: u64) -> Blocked {
        let ahead = Ahead {
            of_number: u64::try_from(self.queue.len()).unwrap_or(u64::MAX),
            of_pair: want
                .wish
                .recipient
                .map_or(0, |recipient| self.queue.of_recipient(recipient)),
        };
        let waits = self.ledger.waits(want.wish, self.uniques.as_deref(), ahead, now);
        Blocked {
            waits,
            alone: self.ledger.throughput_wait(0, now),
            closed: self.closed(want, closures, now),
        }
    }

    fn closed(&self, want: Want, closures: &Closures, now: u64) -> Option<(Closable, i64, u64)> {
        let places = [Closable::Number(self.number), Closable::App(want.app)];
        let account = self.account.map(Closable::Account);
        let (place, closure) = closures.of(places.into_iter().chain(account), now)?;
        let wait = match closure.until {
            FOREVER => FOREVER,
            until => until - now,
        };
        Some((place, closure.code, wait))
    }

    /// Puts a send in line, if there is room or somebody less urgent or greedier has to go for it.
    pub(super) fn enqueue(
        &mut self,
        want: Want,
        place: Place,
        room: WaitingRoom,
        closures: &Closures,
        now: u64,
    ) -> Option<(Ticket, oneshot::Receiver<Answer>)> {
        if place.bytes > room.bytes {
            return None;
        }
        while !self.queue.has_room(room, place.bytes) {
            let least = self.queue.least(place)?;
            self.turn_away(least, closures, now);
        }
        let (answer, receiver) = oneshot::channel();
        let ticket = self.queue.push(place, Waiter { want, answer });
        Some((ticket, receiver))
    }

    /// Serves whoever can be served at `now` and lets those go whose time is over. Says when to come back.
    pub(super) fn serve(&mut self, closures: &Closures, now: u64) -> Option<u64> {
        self.queue.back_in_line(now);
        let mut passes_at = None;
        while let Some((ticket, place)) = self.queue.next() {
            let Some(want) = self.queue.get(ticket).map(|waiter| waiter.want) else {
                break;
            };
            match self.take(want, closures, now) {
                Ok(spent) => {
                    let waiter = self.queue.serve(ticket);
                    if let Some(Err(Ok(spent))) = waiter.map(|waiter| waiter.answer.send(Ok(spent))) {
                        self.give_back(spent);
                    }
                }
                Err(blocked) if blocked.own() > place.deadline.saturating_sub(now) => {
                    self.turn_away(ticket, closures, now);
                }
                Err(blocked) if blocked.own() > 0 => self.queue.set_aside(ticket, now + blocked.own()),
                Err(blocked) => {
                    passes_at = Some(now.saturating_add(blocked.longest()));
                    break;
                }
            }
        }
        while let Some((deadline, ticket)) = self.queue.next_deadline()
            && deadline <= now
        {
            self.turn_away(ticket, closures, now);
        }
        let passes_at = passes_at.filter(|_| self.queue.has_ready());
        let deadline = self.queue.next_deadline().map(|(deadline, _)| deadline);
        [passes_at, self.queue.next_back(), deadline]
            .into_iter()
            .flatten()
            .min()
    }

    /// The number is gone: tells all who wait.
    pub(super) fn dismiss(&mut self) {
        self.is_gone = true;
        while let Some((_, ticket)) = self.queue.next_deadline() {
            if let Some((_, waiter)) = self.queue.remove(ticket) {
                let _ = waiter.answer.send(Err(Limited::UNKNOWN_NUMBER));
            }
        }
    }

    /// Gives back what was not used.
    pub(super) fn give_back(&mut self, spent: Spent) {
        self.granted -= 1;
        self.ledger.give_back(spent, self.uniques.as_deref());
    }

    /// Counts a send that is told to come back later, and says so.
    pub(super) fn refuse(&mut self, limited: Limited) -> Limited {
        *self.limited.entry(limited.which.name()).or_default() += 1;
        limited
    }

    fn turn_away(&mut self, ticket: Ticket, closures: &Closures, now: u64) {
        let Some((_, waiter)) = self.queue.remove(ticket) else {
            return;
        };
        let limited = self.blocked(waiter.want, closures, now).limited();
        let limited = self.refuse(limited);
        // Whoever hung up need not be told.
        let _ = waiter.answer.send(Err(limited));
    }
}
