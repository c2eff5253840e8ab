//! Waiting for one's turn, and the one timer that wakes whose turn it is.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use curfew_policies::PhoneNumberId;
use futures_util::FutureExt as _;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::lane::{Answer, Books, Lane, Want};
use super::ledger::Spent;
use super::queue::{Place, Ticket};
use super::recipient::RecipientId;
use super::shared::Mode;
use super::{Limited, SendLimits, Shared, lock};

/// How long the driver sleeps at most while somebody waits: a machine that was suspended is noticed that late.
const TICK: Duration = Duration::from_secs(1);

/// How long one that would not wait for a limit waits for a shared store to say whether there is one, in nanoseconds.
const ASKING: u64 = 500_000_000;

/// How long a shared store is waited for by those who wait for nothing else.
const AT_ONCE: Duration = Duration::from_millis(50);

/// Leave to send one message, once. Dropping it leaves it spent.
#[derive(Debug)]
#[must_use]
pub struct Grant {
    place: Held,
    spent: Spent,
}

impl Grant {
    /// Whom it is for; `None` for receipts.
    #[must_use]
    pub const fn recipient(&self) -> Option<RecipientId> {
        self.spent.recipient
    }

    /// Gives it back: not one byte of the send has left, so nothing was spent.
    pub fn give_back(self) {
        self.place.give_back(self.spent);
    }
}

/// What [`SendLimits::admit`] comes to.
#[derive(Debug)]
#[must_use]
pub struct Admit(State);

#[derive(Debug)]
enum State {
    Ready(Option<Result<Grant, Limited>>),
    Waiting {
        place: Held,
        ticket: Ticket,
        answer: oneshot::Receiver<Answer>,
    },
}

/// A number's books, from outside.
#[derive(Clone)]
struct Held {
    shared: Arc<Shared>,
    lane: Arc<Lane>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Held").field(&self.lane.number).finish()
    }
}

impl Held {
    fn give_back(&self, spent: Spent) {
        let mut books = self.lane.lock();
        if spent.is_shared {
            books.granted -= 1;
            self.shared.give_back_to_store(&books, spent);
        } else {
            books.give_back(spent);
        }
        self.shared.serve(self.lane.number, &mut books);
    }

    fn grant(&self, spent: Spent) -> Grant {
        Grant {
            place: self.clone(),
            spent,
        }
    }
}

/// Takes what `want` needs, or puts it in line.
pub(super) fn admit(shared: &Arc<Shared>, lane: Arc<Lane>, want: Want, place: Place) -> Admit {
    let held = Held {
        shared: Arc::clone(shared),
        lane,
    };
    let mut books = held.lane.lock();
    // Read under the lock: to a thread that was held up in between, what others took since would look like a debt.
    let now = shared.now();
    if books.is_gone {
        return Admit::ready(Err(Limited::UNKNOWN_NUMBER));
    }
    books.queue.back_in_line(now);
    let is_first = !books.queue.has_ready();
    let mode = shared.mode();
    if mode == Mode::Own
        && is_first
        && let Ok(spent) = books.take(want, &shared.closures, now)
    {
        drop(books);
        return Admit::ready(Ok(held.grant(spent)));
    }
    let blocked = books.blocked(want, &shared.closures, mode, now);
    let max_wait = books
        .max_wait(place.class)
        .filter(|max_wait| shared.is_driven() && blocked.is_within(*max_wait));
    // One that does not wait may still be more urgent than those who do; and a store may be asked, if it has not said no.
    let is_asked = mode == Mode::Store && blocked.longest() == 0;
    if max_wait.is_none() && is_first && !is_asked {
        let limited = books.refuse(blocked.limited());
        return Admit::ready(Err(limited));
    }
    let until = now.saturating_add(max_wait.unwrap_or(0));
    let place = Place {
        deadline: if is_asked { until.max(now + ASKING) } else { until },
        ..place
    };
    let enqueued = books.enqueue(want, place, until, shared.room, (&shared.closures, mode, now));
    let Some((ticket, mut answer)) = enqueued else {
        let limited = books.refuse(blocked.limited());
        return Admit::ready(Err(limited));
    };
    shared.serve(held.lane.number, &mut books);
    drop(books);
    match answer.try_recv() {
        Ok(Ok(spent)) => Admit::ready(Ok(held.grant(spent))),
        Ok(Err(limited)) => Admit::ready(Err(limited)),
        Err(_) => Admit(State::Waiting {
            place: held,
            ticket,
            answer,
        }),
    }
}

impl Admit {
    /// What it comes to without waiting for a limit; `None` where it would have to. A shared store is waited for.
    pub async fn at_once(self) -> Option<Result<Grant, Limited>> {
        let is_shared = match &self.0 {
            State::Waiting { place, .. } => place.shared.together.is_some(),
            State::Ready(_) => false,
        };
        if is_shared {
            timeout(AT_ONCE, self).await.ok()
        } else {
            self.now_or_never()
        }
    }

    /// Whether it has to wait; if not, its answer is there.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        matches!(self.0, State::Waiting { .. })
    }

    pub(super) fn ready(answer: Result<Grant, Limited>) -> Self {
        Self(State::Ready(Some(answer)))
    }
}

impl Future for Admit {
    type Output = Result<Grant, Limited>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Ready(answer) => Poll::Ready(answer.take().unwrap_or(Err(Limited::UNKNOWN_NUMBER))),
            State::Waiting { place, answer, .. } => {
                let answer = std::task::ready!(Pin::new(answer).poll(cx));
                let grant = answer
                    .unwrap_or(Err(Limited::UNKNOWN_NUMBER))
                    .map(|spent| place.grant(spent));
                self.0 = State::Ready(None);
                Poll::Ready(grant)
            }
        }
    }
}

impl Drop for Admit {
    fn drop(&mut self) {
        match &mut self.0 {
            State::Ready(answer) => {
                // Nobody saw it, so nobody sends.
                if let Some(Ok(grant)) = answer.take() {
                    grant.give_back();
                }
            }
            State::Waiting {
                place,
                ticket,
                answer,
            } => {
                if place.lane.lock().queue.remove(*ticket).is_none()
                    && let Ok(Ok(spent)) = answer.try_recv()
                {
                    place.give_back(spent);
                }
            }
        }
    }
}

impl SendLimits {
    /// Wakes whose turn has come, for ever; to be run beside the listener, once.
    pub async fn run(&self) -> Infallible {
        let driven = self.drive();
        match &self.0.together {
            None => driven.await,
            Some(_) => tokio::select! {
                never = driven => never,
                never = Box::pin(self.0.keep_seat()) => never,
            },
        }
    }

    async fn drive(&self) -> Infallible {
        let _driving = Driving::begin(&self.0);
        loop {
            let next = self.0.serve_due();
            let earlier = self.0.earlier.notified();
            match next {
                Some(left) => {
                    tokio::select! {
                        () = tokio::time::sleep(left.min(TICK)) => {}
                        () = earlier => {}
                    }
                }
                None => earlier.await,
            }
        }
    }
}

impl Shared {
    /// Serves whoever waits for `number` and can be served now.
    pub(super) fn serve(self: &Arc<Self>, number: PhoneNumberId, books: &mut Books) {
        let now = self.now();
        let due = match self.mode() {
            _ if books.queue.len() == 0 => None,
            Mode::Own => books.serve(&self.closures, now),
            Mode::Nobody => books.wait_on(&self.closures, now),
            Mode::Store => {
                let (asked, due) = books.serve_from_store(&self.closures, now);
                if let Some(lane) = self.lane(number).filter(|_| !asked.is_empty()) {
                    self.ask_store(&lane, asked);
                }
                due
            }
        };
        self.schedule(number, books, due);
    }

    /// Has the driver come back to `number` at `due`.
    pub(super) fn schedule(&self, number: PhoneNumberId, books: &mut Books, due: Option<u64>) {
        if books.due == due {
            return;
        }
        let mut agenda = lock(&self.agenda);
        if let Some(before) = books.due {
            agenda.remove(&(before, number));
        }
        if let Some(due) = due {
            agenda.insert((due, number));
            if agenda.first() == Some(&(due, number)) {
                self.earlier.notify_one();
            }
        }
        books.due = due;
    }

    /// Serves every number whose time has come; says how long until the next one's.
    pub(super) fn serve_due(self: &Arc<Self>) -> Option<Duration> {
        loop {
            let now = self.now();
            let (due, number) = lock(&self.agenda).first().copied()?;
            if due > now {
                return Some(Duration::from_nanos(due - now));
            }
            match self.lane(number) {
                Some(lane) => {
                    let mut books = lane.lock();
                    // Served, and never put on the agenda again for what is past.
                    self.schedule(number, &mut books, None);
                    self.serve(number, &mut books);
                }
                None => {
                    lock(&self.agenda).remove(&(due, number));
                }
            }
        }
    }

    /// Looks at all who wait anew: what they wait for may have changed.
    pub(super) fn serve_all(self: &Arc<Self>) {
        for lane in self.lanes.load().values() {
            let mut books = lane.lock();
            if books.queue.len() > 0 {
                books.queue.all_in_line();
                self.serve(lane.number, &mut books);
            }
        }
    }

    fn is_driven(&self) -> bool {
        self.drivers.load(Ordering::Acquire) > 0
    }
}

/// Says that there is somebody to wake those who wait.
pub(super) struct Driving<'s>(&'s Shared);

impl<'s> Driving<'s> {
    pub(super) fn begin(shared: &'s Shared) -> Self {
        shared.drivers.fetch_add(1, Ordering::AcqRel);
        Self(shared)
    }
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        self.0.drivers.fetch_sub(1, Ordering::AcqRel);
    }
}
