//! What one number has spent of its limits, and the one place that spends: all limits are tested, then all are taken.

use std::sync::{Mutex, MutexGuard, PoisonError};

use curfew_policies::SendsPolicy;

use super::aged::Aged;
use super::bucket::Bucket;
use super::pace::Pace;
use super::recipient::RecipientId;
use super::uniques::Uniques;

const SECOND: u64 = 1_000_000_000;
/// After 130429 no second one lowers the rate again for this long: what was under way comes back with the same answer.
const CUT_PAUSE: u64 = SECOND;
/// How long a lowered rate stays before each step up.
const STEP: u64 = 10 * SECOND;
/// In how many steps the whole rate would come back.
const STEPS: u32 = 8;
/// The most failures that count for 4^n: Meta names no end, 4^6 s are 68 minutes.
const MOST_STRIKES: u32 = 6;
/// How long after the end of its last closing a pair's failures are forgotten.
const STRIKES_LAST: u64 = 3_600 * SECOND;
/// How many service windows are remembered for a number; a recipient whose window is forgotten counts as outside of one.
const MOST_WINDOWS: usize = 262_144;

/// What is asked of a ledger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// Whom it goes to; `None` for read receipts and typing indicators, which count for throughput only.
    pub(super) recipient: Option<RecipientId>,
    /// Whether it is a template: only these leave a service window.
    pub(super) is_template: bool,
}

/// How many wait before one who asks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ahead {
    pub(super) of_number: u64,
    pub(super) of_pair: u64,
    /// Whether those who wait for a place in the same portfolio do.
    pub(super) of_portfolio: bool,
}

/// What was taken, to be given back if it is not used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spent {
    pub(super) recipient: Option<RecipientId>,
    pub(super) at: u64,
    /// How often the paces had changed then.
    pub(super) changes: u64,
    pub(super) is_new_unique: bool,
    /// Whether it was taken from a shared store, by whose clock `at` then is.
    pub(super) is_shared: bool,
    /// Whether then the pair was taken here all the same.
    pub(super) is_own_pair: bool,
}

/// How long each limit would have one wait, in nanoseconds; 0 where it has room.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Waits {
    pub(super) throughput: u64,
    pub(super) pair: u64,
    pub(super) uniques: u64,
}

/// One number's books.
#[derive(Debug)]
pub(super) struct Ledger {
    policy: Base,
    /// Messages a second at present; below the policy's while Meta has its way.
    rate: u32,
    /// How often the paces changed: what was taken at another pace is not given back.
    changes: u64,
    /// When the rate was last cut.
    cut_at: Option<u64>,
    next_step: u64,
    /// Inbound and outbound together.
    all: Meter,
    /// Outbound alone, without what is kept for inbound.
    sends: Meter,
    pair: Pace,
    /// Whether anything may be taken: not where a share of the limits would be less than one message.
    has_share: bool,
    pairs: Aged<Pair>,
    /// When each recipient wrote last.
    windows: Aged<()>,
    /// The length of a service window, in nanoseconds.
    window: u64,
}

/// What the policy says.
#[derive(Clone, Copy, Debug)]
struct Base {
    per_second: u32,
    burst: u32,
    kept_for_inbound: u32,
    /// Among how many this is shared; `None`: not at all.
    seats: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Meter {
    pace: Pace,
    bucket: Bucket,
}

#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    bucket: Bucket,
    closed_until: u64,
    strikes: u32,
}

impl Base {
    fn of(policy: &SendsPolicy, seats: Option<u32>) -> Self {
        Self {
            seats,
            per_second: policy.per_second,
            burst: policy.burst,
            kept_for_inbound: policy.kept_for_inbound,
        }
    }

    /// The paces of all messages and of sends at `rate`, a part of the policy's: burst and share shrink with it.
    fn paces(self, rate: u32) -> (Pace, Pace) {
        let part = |whole: u32| {
            let part = u64::from(whole) * u64::from(rate) / u64::from(self.per_second.max(1));
            u32::try_from(part).unwrap_or(whole)
        };
        let kept = self.kept_for_inbound.min(self.per_second - 1);
        let kept = if kept == 0 { 0 } else { part(kept).max(1) };
        let burst = part(self.burst).max(1);
        let all = Pace::per_second(rate, burst);
        let sends = Pace::per_second(
            rate.saturating_sub(kept).max(1),
            burst.saturating_sub(kept).max(1),
        );
        (self.own(all).unwrap_or(all), self.own(sends).unwrap_or(sends))
    }

    /// What of `pace` is this process's own.
    fn own(self, pace: Pace) -> Option<Pace> {
        match self.seats {
            None => Some(pace),
            Some(seats) => pace.share(seats),
        }
    }

    /// Whether the bursts are large enough for each process to have a share.
    fn has_share(self, rate: u32, pair: Pace) -> bool {
        let whole = Self { seats: None, ..self };
        let (all, sends) = whole.paces(rate);
        [all, sends, pair]
            .into_iter()
            .all(|pace| self.own(pace).is_some())
    }
}

impl Meter {
    fn new(pace: Pace) -> Self {
        Self {
            pace,
            bucket: Bucket::default(),
        }
    }

    fn take(&mut self, after: u64, now: u64) {
        self.bucket.take(self.pace, after, now);
    }
}

impl Ledger {
    /// A ledger of all that `policy` allows, or of the share of one of `seats`.
    pub(super) fn new(policy: &SendsPolicy, window: u64, seats: Option<u32>) -> Self {
        let base = Base::of(policy, seats);
        let pair = Pace::every(policy.pair.seconds, policy.pair.burst);
        let (all, sends) = base.paces(base.per_second);
        Self {
            policy: base,
            rate: base.per_second,
            changes: 0,
            cut_at: None,
            next_step: 0,
            all: Meter::new(all),
            sends: Meter::new(sends),
            pair: base.own(pair).unwrap_or(pair),
            has_share: base.has_share(base.per_second, pair),
            pairs: Aged::default(),
            windows: Aged::default(),
            window,
        }
    }

    /// Goes on under another policy; what is spent stays spent.
    pub(super) fn configure(&mut self, policy: &SendsPolicy, now: u64) {
        let was_whole = self.rate == self.policy.per_second;
        self.policy = Base::of(policy, self.policy.seats);
        let whole = self.policy.per_second;
        self.set_rate(if was_whole { whole } else { self.rate.min(whole) }, now);
        let pair = Pace::every(policy.pair.seconds, policy.pair.burst);
        let own = self.policy.own(pair).unwrap_or(pair);
        self.changes += u64::from(own != self.pair);
        self.pair = own;
        self.has_share = self.policy.has_share(whole, pair);
    }

    /// Takes one of every limit, if every limit has one, and nothing otherwise.
    pub(super) fn take(
        &mut self,
        wish: Wish,
        uniques: Option<&Mutex<Uniques>>,
        now: u64,
    ) -> Result<Spent, Waits> {
        self.recover(now);
        let all = self.all.pace.test(self.all.bucket.state, now);
        let sends = self.sends.pace.test(self.sends.bucket.state, now);
        let before = wish.recipient.map(|recipient| self.pair(recipient));
        let pair = match before {
            Some(pair) if pair.closed_until > now => Err(pair.closed_until - now),
            Some(pair) => self.pair.test(pair.bucket.state, now),
            None => Ok(0),
        };
        // Held from the test to the taking, so that two numbers of a portfolio do not both take its last place.
        let mut counted = uniques
            .zip(self.outside_window(wish, now))
            .map(|(uniques, recipient)| (lock(uniques), recipient));
        let has_place = counted
            .as_mut()
            .is_none_or(|(uniques, recipient)| uniques.wait(*recipient, false, now) == 0);
        let (Ok(all), Ok(sends), Ok(pair), true) = (all, sends, pair, has_place && self.has_share) else {
            drop(counted);
            return Err(self.waits(wish, uniques, Ahead::default(), now));
        };
        self.all.take(all, now);
        self.sends.take(sends, now);
        let is_new_unique = counted.is_some_and(|(mut uniques, recipient)| uniques.count_in(recipient, now));
        if let (Some(recipient), Some(mut before)) = (wish.recipient, before) {
            before.bucket.take(self.pair, pair, now);
            self.pairs.put(recipient, now, before);
            self.sweep(now);
        }
        Ok(Spent {
            recipient: wish.recipient,
            at: now,
            changes: self.changes,
            is_new_unique,
            is_shared: false,
            is_own_pair: false,
        })
    }

    /// How long each limit would have `wish` wait at `now`, behind those `ahead`.
    pub(super) fn waits(
        &mut self,
        wish: Wish,
        uniques: Option<&Mutex<Uniques>>,
        ahead: Ahead,
        now: u64,
    ) -> Waits {
        self.recover(now);
        let mut waits = Waits {
            throughput: self.throughput_wait(ahead.of_number, now),
            ..Waits::default()
        };
        let Some(recipient) = wish.recipient else {
            return waits;
        };
        let pair = self.pair(recipient);
        let pace = self.pair.wait_behind(pair.bucket.state, now, ahead.of_pair);
        waits.pair = pace.max(pair.closed_until.saturating_sub(now));
        // A service window that ends while one waits is none when the wait is over.
        let passes_at = now.saturating_add(waits.throughput.max(waits.pair));
        if let Some(uniques) = uniques
            && self.outside_window(wish, passes_at).is_some()
        {
            waits.uniques = lock(uniques).wait(recipient, ahead.of_portfolio, now);
        }
        waits
    }

    /// Whom `wish` reaches outside of a service window, if it does.
    pub(super) fn outside_window(&self, wish: Wish, now: u64) -> Option<RecipientId> {
        wish.recipient
            .filter(|recipient| wish.is_template && self.window_ends(*recipient) <= now)
    }

    /// How long the throughput alone would have one wait behind `ahead` others.
    pub(super) fn throughput_wait(&self, ahead: u64, now: u64) -> u64 {
        let meter = |meter: Meter| meter.pace.wait_behind(meter.bucket.state, now, ahead);
        let wait = meter(self.all).max(meter(self.sends));
        if self.has_share { wait } else { wait.max(SECOND) }
    }

    /// Nothing was taken from here for `span` up to now, since what was taken was taken elsewhere: what was spent here before
    /// is as long ago as it was then.
    pub(super) fn stood_still(&mut self, since: u64, span: u64) {
        for meter in [&mut self.all, &mut self.sends] {
            meter.bucket.stood_still(meter.pace, since, span);
        }
        let spent: Vec<_> = self
            .pairs
            .iter()
            .filter(|(.., pair)| pair.bucket.state > since)
            .collect();
        for (recipient, _, mut pair) in spent {
            pair.bucket.stood_still(self.pair, since, span);
            self.pairs.set(recipient, pair);
        }
    }

    /// Takes one of what this process has of a pair for itself; whether there was one.
    pub(super) fn take_own_pair(&mut self, recipient: RecipientId, now: u64) -> bool {
        let mut pair = self.pair(recipient);
        match self.pair.test(pair.bucket.state, now) {
            Ok(after) if self.has_share => {
                pair.bucket.take(self.pair, after, now);
                self.pairs.put(recipient, now, pair);
                true
            }
            _ => false,
        }
    }

    /// Gives back one that was taken so at `at`.
    pub(super) fn give_back_own_pair(&mut self, recipient: RecipientId, at: u64, now: u64) {
        let Some((_, mut pair)) = self.pairs.get(recipient) else {
            return;
        };
        pair.bucket.give_back(self.pair, at);
        if pair.bucket.state <= now && pair.closed_until <= now && pair.strikes == 0 {
            self.pairs.remove(recipient);
        } else {
            self.pairs.set(recipient, pair);
        }
    }

    /// Meta had its way with the rate elsewhere.
    pub(super) fn adopt_rate(&mut self, rate: u32, now: u64) {
        if rate != self.rate {
            self.set_rate(rate.clamp(1, self.policy.per_second.max(1)), now);
            self.next_step = now + STEP;
        }
    }

    /// Whether failures of this recipient count.
    pub(super) fn has_strikes(&self, recipient: RecipientId) -> bool {
        self.pair(recipient).strikes > 0
    }

    /// Failures of this recipient were counted elsewhere.
    pub(super) fn adopt_strikes(&mut self, recipient: RecipientId, strikes: u32, now: u64) {
        let pair = self.pair(recipient);
        if pair.strikes != strikes {
            self.pairs.put(recipient, now, Pair { strikes, ..pair });
        }
    }

    /// Gives back what was taken for a send of which nothing went out.
    pub(super) fn give_back(&mut self, spent: Spent, uniques: Option<&Mutex<Uniques>>) {
        // What was left when the rate was cut is gone for good, and one message is not the same at another pace.
        let is_same_pace = spent.changes == self.changes;
        if is_same_pace {
            for meter in [&mut self.all, &mut self.sends] {
                meter.bucket.give_back(meter.pace, spent.at);
            }
        }
        let Some(recipient) = spent.recipient else {
            return;
        };
        if is_same_pace && let Some((_, mut pair)) = self.pairs.get(recipient) {
            pair.bucket.give_back(self.pair, spent.at);
            self.pairs.set(recipient, pair);
        }
        if let Some(uniques) = uniques.filter(|_| spent.is_new_unique) {
            lock(uniques).give_back(recipient, spent.at);
        }
    }

    /// Counts a message that a recipient sent, and opens their service window.
    pub(super) fn inbound(&mut self, recipient: Option<RecipientId>, now: u64) {
        self.recover(now);
        self.all.bucket.force(self.all.pace, now);
        if let Some(recipient) = recipient {
            self.open_window(recipient, now);
        }
    }

    /// Opens the service window of one who wrote.
    pub(super) fn open_window(&mut self, recipient: RecipientId, now: u64) {
        while let Some((oldest, at, ())) = self.windows.oldest()
            && (self.windows.len() >= MOST_WINDOWS || at + self.window <= now)
        {
            self.windows.remove(oldest);
        }
        self.windows.put(recipient, now, ());
    }

    /// Meta said that the number's throughput is used up: halves the rate, and nothing is left of it for now. Says the new
    /// rate; `None` where it was lowered within the last second.
    pub(super) fn cut(&mut self, now: u64) -> Option<u32> {
        self.recover(now);
        if self.cut_at.is_some_and(|cut_at| now < cut_at + CUT_PAUSE) {
            return None;
        }
        self.changes += 1;
        self.cut_at = Some(now);
        self.next_step = now + STEP;
        self.set_rate((self.rate / 2).max(1), now);
        for meter in [&mut self.all, &mut self.sends] {
            meter.bucket = Bucket::of(meter.bucket.state.max(meter.pace.spent(now)));
        }
        Some(self.rate)
    }

    /// Meta said that this recipient got too many: closes the pair for 4^n seconds and says for how many. A failure that
    /// comes while it is closed is of a send that left before: `None`.
    pub(super) fn strike(&mut self, recipient: RecipientId, now: u64) -> Option<u64> {
        let mut pair = self.pair(recipient);
        if pair.closed_until > now {
            return None;
        }
        if pair.closed_until + STRIKES_LAST <= now {
            pair.strikes = 0;
        }
        let seconds = 4u64.pow(pair.strikes);
        pair.strikes = (pair.strikes + 1).min(MOST_STRIKES);
        pair.closed_until = now + seconds * SECOND;
        self.pairs.put(recipient, now, pair);
        Some(seconds)
    }

    /// Meta accepted a message to this recipient: its failures are over.
    pub(super) fn accepted(&mut self, recipient: RecipientId) {
        if let Some((_, mut pair)) = self.pairs.get(recipient)
            && pair.strikes > 0
        {
            pair.strikes = 0;
            self.pairs.set(recipient, pair);
        }
    }

    /// `before` is the same recipient as `id`: what was taken under both counts together.
    pub(super) fn join(&mut self, before: RecipientId, id: RecipientId, now: u64) {
        if let Some((_, other)) = self.pairs.remove(before) {
            let pair = self.pair(id);
            let mut bucket = pair.bucket;
            bucket.join(self.pair, other.bucket, now);
            let joined = Pair {
                bucket,
                closed_until: pair.closed_until.max(other.closed_until),
                strikes: pair.strikes.max(other.strikes),
            };
            self.pairs.put(id, now, joined);
        }
        let at = |id| self.windows.get(id).map(|(at, ())| at);
        if at(before) > at(id) {
            self.windows.rename(before, id);
        } else {
            self.windows.remove(before);
        }
    }

    /// Messages a second at present, and what the policy allows.
    pub(super) fn rate(&mut self, now: u64) -> (u32, u32) {
        self.recover(now);
        (self.rate, self.policy.per_second)
    }

    /// How many of the burst are taken: of all messages, and of sends alone.
    pub(super) fn taken(&self, now: u64) -> (u64, u64) {
        let taken = |meter: Meter| meter.pace.taken(meter.bucket.state, now);
        (taken(self.all), taken(self.sends))
    }

    /// How many recipients are remembered: of pairs, and of service windows.
    pub(super) fn remembered(&self) -> (usize, usize) {
        (self.pairs.len(), self.windows.len())
    }

    fn pair(&self, recipient: RecipientId) -> Pair {
        self.pairs
            .get(recipient)
            .map_or(Pair::default(), |(_, pair)| pair)
    }

    /// When the service window of `recipient` ends; 0 if none is known.
    fn window_ends(&self, recipient: RecipientId) -> u64 {
        self.windows.get(recipient).map_or(0, |(at, ())| at + self.window)
    }

    /// Lets go a pair that says nothing any more. Called with each that is put, and looking at two each time, it goes round
    /// them faster than they come: what is held is little more than what is in use.
    fn sweep(&mut self, now: u64) {
        for _ in 0..2 {
            let Some((oldest, _, pair)) = self.pairs.oldest() else {
                return;
            };
            let is_idle = pair.bucket.state <= now
                && pair.closed_until <= now
                && (pair.strikes == 0 || pair.closed_until + STRIKES_LAST <= now);
            if is_idle {
                self.pairs.remove(oldest);
            } else {
                self.pairs.rotate();
            }
        }
    }

    /// Lets a lowered rate come back by the steps that are due.
    fn recover(&mut self, now: u64) {
        while self.rate < self.policy.per_second && self.next_step <= now {
            let step = self.policy.per_second.div_ceil(STEPS);
            let rate = self.rate.saturating_add(step).min(self.policy.per_second);
            self.set_rate(rate, self.next_step);
            self.next_step += STEP;
        }
    }

    fn set_rate(&mut self, rate: u32, now: u64) {
        self.rate = rate;
        let (all, sends) = self.policy.paces(rate);
        for (meter, pace) in [(&mut self.all, all), (&mut self.sends, sends)] {
            if meter.pace != pace {
                let state = pace.rescale(meter.pace, meter.bucket.state, now);
                (meter.pace, meter.bucket) = (pace, Bucket::of(state));
                self.changes += 1;
            }
        }
    }
}

fn lock(uniques: &Mutex<Uniques>) -> MutexGuard<'_, Uniques> {
    uniques.lock().unwrap_or_else(PoisonError::into_inner)
}
