//! One number's sends: what is spent, and who waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use curfew_policies::{NumberPolicy, PhoneNumberId, SendClass, WabaId, WhenLimited};
use tokio::sync::oneshot;

use super::closures::{Closures, FOREVER, Place as Closable};
use super::ledger::{Ahead, Ledger, Spent, Waits, Wish};
use super::queue::{Place, Queue, Ticket, WaitingRoom};
use super::recipient::RecipientId;
use super::shared::{MOST_ASKED, Mode};
use super::uniques::{Awaited, Uniques};
use super::{Limit, Limited, lock, nanos};
use crate::stores::valkey::sends::{Books as Keys, Taken, Terms};

const SECOND: u64 = 1_000_000_000;
/// What is said to those who come while nobody decides, in nanoseconds: by then somebody does.
const NOBODY_DECIDES: u64 = SECOND;

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
    /// What the shared store said last, if there is one.
    pub(super) view: View,
    /// By which keys it knows this number.
    pub(super) keys: Keys,
    /// What it is told that the policy says.
    pub(super) terms: Terms,
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

/// What a shared store said of a number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct View {
    /// When the next one passes, as far as is known.
    passes_at: u64,
    /// Whether somebody had to wait for the throughput since the line was last empty.
    is_tight: bool,
    /// How many are taken of the burst: of all messages, and of sends.
    pub(super) taken: (u64, u64),
    /// Messages a second; 0 before the first answer.
    pub(super) rate: u32,
}

/// One that a shared store is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) ticket: Ticket,
    pub(super) want: Want,
    /// Whose pair was taken from what this process has for itself, and when, should the store let it.
    pub(super) own_pair: Option<(RecipientId, u64)>,
}

#[derive(Debug)]
pub(super) struct Waiter {
    want: Want,
    /// Until when it waits for a limit. It may wait longer for a shared store to say whether it has to.
    until: u64,
    answer: oneshot::Sender<Answer>,
    /// Where it may take one of a portfolio's places.
    awaited: Option<Awaited>,
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
    pub(super) fn new(
        policy: &NumberPolicy,
        window: u64,
        portfolio: (Option<Arc<Mutex<Uniques>>>, PhoneNumberId),
        seats: Option<u32>,
    ) -> Self {
        let (uniques, tag) = portfolio;
        let mut books = Books {
            number: policy.phone_number_id,
            account: None,
            uniques: None,
            when_limited: BTreeMap::new(),
            max_wait: 0,
            ledger: Ledger::new(&policy.sends, window, seats),
            queue: Queue::default(),
            is_gone: false,
            due: None,
            view: View::default(),
            keys: Keys {
                number: policy.phone_number_id,
                tag,
            },
            terms: Terms::of(&policy.sends),
            granted: 0,
            limited: BTreeMap::new(),
        };
        books.configure(policy, (uniques, tag));
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
    pub(super) fn configure(
        &mut self,
        policy: &NumberPolicy,
        (uniques, tag): (Option<Arc<Mutex<Uniques>>>, PhoneNumberId),
    ) {
        let classes = SendClass::ALL.map(|class| (class, policy.sends.when_limited(class)));
        self.when_limited = classes.into();
        self.max_wait = u64::from(policy.sends.max_wait_ms) * 1_000_000;
        self.account = policy.waba_id;
        for waiter in self.queue.all_mut() {
            let awaited = waiter.awaited.take().zip(uniques.as_ref());
            waiter.awaited = awaited.map(|(before, uniques)| Awaited::new(uniques, before.recipient));
        }
        self.uniques = uniques;
        self.keys.tag = tag;
        self.terms = Terms::of(&policy.sends);
    }

    /// Whether this number's recipients are counted in `table`.
    pub(super) fn counts_in(&self, table: &Arc<Mutex<Uniques>>) -> bool {
        self.uniques
            .as_ref()
            .is_some_and(|uniques| Arc::ptr_eq(uniques, table))
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
    pub(super) fn blocked(&mut self, want: Want, closures: &Closures, mode: Mode, now: u64) -> Blocked {
        let ahead = Ahead {
            of_number: u64::try_from(self.queue.len()).unwrap_or(u64::MAX),
            of_pair: want
                .wish
                .recipient
                .map_or(0, |recipient| self.queue.of_recipient(recipient)),
            of_portfolio: true,
        };
        let closed = self.closed(want, closures, now);
        let alone = match mode {
            Mode::Own => self.ledger.throughput_wait(0, now),
            Mode::Store => self.view.passes_at.saturating_sub(now),
            Mode::Nobody => NOBODY_DECIDES,
        };
        let waits = match mode {
            Mode::Own => self.ledger.waits(want.wish, self.uniques.as_deref(), ahead, now),
            Mode::Store | Mode::Nobody => {
                // Whoever is asked for while nobody has to wait is ahead of nobody.
                let ahead = if self.view.is_tight { ahead.of_number } else { 0 };
                let behind = (SECOND / u64::from(self.view.rate.max(1))).saturating_mul(ahead);
                Waits {
                    throughput: alone.saturating_add(behind),
                    ..Waits::default()
                }
            }
        };
        Blocked { waits, alone, closed }
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
        until: u64,
        room: WaitingRoom,
        (closures, mode, now): (&Closures, Mode, u64),
    ) -> Option<(Ticket, oneshot::Receiver<Answer>)> {
        if place.bytes > room.bytes {
            return None;
        }
        while !self.queue.has_room(room, place.bytes) {
            let least = self.queue.least(place)?;
            self.turn_away(least, closures, mode, now);
        }
        let (answer, receiver) = oneshot::channel();
        let places = self
            .uniques
            .as_ref()
            .zip(self.ledger.outside_window(want.wish, now));
        let waiter = Waiter {
            want,
            until,
            answer,
            awaited: places.map(|(uniques, recipient)| Awaited::new(uniques, recipient)),
        };
        let ticket = self.queue.push(place, waiter);
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
                    self.turn_away(ticket, closures, Mode::Own, now);
                }
                Err(blocked) if blocked.own() > 0 => self.queue.set_aside(ticket, now + blocked.own()),
                Err(blocked) => {
                    passes_at = Some(now.saturating_add(blocked.longest()));
                    break;
                }
            }
        }
        self.next_look(passes_at, closures, Mode::Own, now)
    }

    /// Takes those out of line whose turn a shared store is to be asked for, and lets those go whose time is over. Says when
    /// to come back.
    pub(super) fn serve_from_store(&mut self, closures: &Closures, now: u64) -> (Vec<Asked>, Option<u64>) {
        self.queue.back_in_line(now);
        let mut asked = Vec::new();
        let passes_at = self.view.passes_at;
        while passes_at <= now
            && self.queue.asked() < if self.view.is_tight { 1 } else { MOST_ASKED }
            && let Some((ticket, _)) = self.queue.next()
        {
            let Some((want, until)) = self.queue.get(ticket).map(|waiter| (waiter.want, waiter.until)) else {
                break;
            };
            match self.closed(want, closures, now) {
                None => {
                    self.queue.ask(ticket);
                    asked.push(Asked {
                        ticket,
                        want,
                        own_pair: None,
                    });
                }
                Some((.., wait)) if wait > until.saturating_sub(now) => {
                    self.turn_away(ticket, closures, Mode::Store, now);
                }
                Some((.., wait)) => self.queue.set_aside(ticket, now + wait),
            }
        }
        let passes_at = (passes_at > now).then_some(passes_at);
        (asked, self.next_look(passes_at, closures, Mode::Store, now))
    }

    /// What a shared store said of one that it was asked for. What was taken for nobody is to be given back.
    pub(super) fn store_said(
        &mut self,
        asked: &Asked,
        taken: &Taken,
        closures: &Closures,
        now: u64,
    ) -> Option<Spent> {
        let [throughput, pair, uniques] = [taken.throughput, taken.pair, taken.uniques].map(nanos);
        self.view.passes_at = now.saturating_add(throughput);
        self.view.is_tight |= throughput > 0;
        (self.view.taken, self.view.rate) = (taken.taken, taken.rate);
        self.ledger.adopt_rate(taken.rate, now);
        let recipient = asked.want.wish.recipient;
        if taken.is_taken {
            if let Some(recipient) = recipient {
                self.ledger.adopt_strikes(recipient, taken.strikes, now);
            }
            if let (Some(recipient), Some(counted)) = (recipient.filter(|_| taken.count > 0), &self.uniques) {
                lock(counted).count_in(recipient, now);
            }
            let spent = Spent {
                recipient,
                at: taken.at,
                changes: taken.changes,
                is_new_unique: taken.is_new_unique,
                is_shared: true,
                is_own_pair: taken.is_own_pair,
            };
            self.granted += 1;
            let waiter = self.queue.serve(asked.ticket);
            self.view.is_tight &= self.queue.has_ready();
            let unused = match waiter {
                Some(waiter) => waiter.answer.send(Ok(spent)).err().and_then(Result::ok),
                None => Some(spent),
            };
            self.granted -= u64::from(unused.is_some());
            return unused;
        }
        let until = self.queue.get(asked.ticket)?.until;
        let waits = Waits {
            throughput,
            pair,
            uniques,
        };
        let blocked = Blocked {
            waits,
            alone: throughput,
            closed: self.closed(asked.want, closures, now),
        };
        if blocked.own() > until.saturating_sub(now) || until <= now {
            self.answer_limited(asked.ticket, blocked);
        } else {
            self.queue.answered(asked.ticket);
            if blocked.own() > 0 {
                self.queue.set_aside(asked.ticket, now + blocked.own());
            }
        }
        None
    }

    /// Nobody decides: lets those go whose time is over. Says when to come back.
    pub(super) fn wait_on(&mut self, closures: &Closures, now: u64) -> Option<u64> {
        self.next_look(None, closures, Mode::Nobody, now)
    }

    /// Lets those go whose time is over, and says when somebody can be served next.
    fn next_look(
        &mut self,
        passes_at: Option<u64>,
        closures: &Closures,
        mode: Mode,
        now: u64,
    ) -> Option<u64> {
        while let Some((deadline, ticket)) = self.queue.next_deadline()
            && deadline <= now
        {
            self.turn_away(ticket, closures, mode, now);
        }
        let passes_at = passes_at.filter(|_| self.queue.has_ready());
        let deadline = self.queue.next_deadline().map(|(deadline, _)| deadline);
        let back = self.queue.next_back().filter(|_| mode != Mode::Nobody);
        [passes_at, back, deadline].into_iter().flatten().min()
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

    fn turn_away(&mut self, ticket: Ticket, closures: &Closures, mode: Mode, now: u64) {
        let Some(want) = self.queue.get(ticket).map(|waiter| waiter.want) else {
            return;
        };
        // Not behind itself.
        let waiter = self.queue.remove(ticket);
        let blocked = self.blocked(want, closures, mode, now);
        self.tell_limited(waiter, blocked);
    }

    fn answer_limited(&mut self, ticket: Ticket, blocked: Blocked) {
        let waiter = self.queue.remove(ticket);
        self.tell_limited(waiter, blocked);
    }

    fn tell_limited(&mut self, waiter: Option<(Place, Waiter)>, blocked: Blocked) {
        let Some((_, waiter)) = waiter else { return };
        let limited = self.refuse(blocked.limited());
        // Whoever hung up need not be told.
        let _ = waiter.answer.send(Err(limited));
    }
}
