//! How many different recipients a portfolio messaged outside a service window in the last 24 hours, exactly.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::aged::Aged;
use super::lock;
use super::recipient::RecipientId;

/// What is said where there is no place at all, in nanoseconds: that is so only while a shared store is away.
const NO_PLACE: u64 = 1_000_000_000;

/// The recipients of one portfolio's moving 24 hours.
#[derive(Debug)]
pub(super) struct Uniques {
    limit: usize,
    /// The length of the window, in nanoseconds.
    window: u64,
    recipients: Aged<()>,
    /// To whom sends wait, of any of its numbers, and how many.
    waiting: HashMap<RecipientId, u64>,
    /// How many may be counted here while a shared store is away.
    own_limit: Option<usize>,
    /// How many a shared store counted when it was last asked.
    pub(super) shared_count: Option<u32>,
}

/// A send to a recipient who may be a new one, for as long as it waits.
#[derive(Debug)]
pub(super) struct Awaited {
    uniques: Arc<Mutex<Uniques>>,
    pub(super) recipient: RecipientId,
}

impl Awaited {
    pub(super) fn new(uniques: &Arc<Mutex<Uniques>>, recipient: RecipientId) -> Self {
        *lock(uniques).waiting.entry(recipient).or_default() += 1;
        Self {
            uniques: Arc::clone(uniques),
            recipient,
        }
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        let waiting = &mut lock(&self.uniques).waiting;
        if let Some(count) = waiting.get_mut(&self.recipient) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.recipient);
            }
        }
    }
}

impl Uniques {
    pub(super) fn new(limit: u32, window: u64) -> Self {
        Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            window,
            recipients: Aged::default(),
            waiting: HashMap::new(),
            own_limit: None,
            shared_count: None,
        }
    }

    /// Counts all that `others` count: the numbers of this portfolio were in theirs.
    pub(super) fn take_over(&mut self, others: &[Arc<Mutex<Self>>]) {
        let mut all: Vec<_> = others
            .iter()
            .flat_map(|other| lock(other).all().collect::<Vec<_>>())
            .collect();
        all.sort_unstable_by_key(|(_, at)| *at);
        for (recipient, at) in all {
            self.recipients.put(recipient, at, ());
        }
    }

    pub(super) fn set_limit(&mut self, limit: u32) {
        self.limit = usize::try_from(limit).unwrap_or(usize::MAX);
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Counts here alone, up to `more` beside those that are counted already; `None` ends it.
    pub(super) fn on_its_own(&mut self, more: Option<usize>, now: u64) {
        let count = self.count(now);
        self.own_limit = more.map(|more| count.saturating_add(more));
    }

    /// All that are counted, and when they were last, the oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = (RecipientId, u64)> {
        self.recipients.iter().map(|(recipient, at, ())| (recipient, at))
    }

    /// How many are counted at `now`.
    pub(super) fn count(&mut self, now: u64) -> usize {
        while let Some((oldest, at, ())) = self.recipients.oldest()
            && now.saturating_sub(at) >= self.window
        {
            self.recipients.remove(oldest);
        }
        self.recipients.len()
    }

    /// How long until there is a place for `recipient`: 0 if they are counted already, or there is one now. `is_behind`
    /// all new recipients to whom sends wait, or before them.
    pub(super) fn wait(&mut self, recipient: RecipientId, is_behind: bool, now: u64) -> u64 {
        let count = self.count(now);
        let most = self.own_limit.unwrap_or(self.limit);
        let is_new = |id: RecipientId| self.recipients.get(id).is_none();
        if !is_new(recipient) || count.saturating_add(self.waiting.len()) < most {
            return 0;
        }
        if most == 0 {
            return NO_PLACE;
        }
        let others = || self.waiting.keys().filter(|id| **id != recipient && is_new(**id));
        let mut ahead = if is_behind { others().count() } else { 0 };
        // Whoever takes a place has it for a whole window.
        let mut wait = 0;
        loop {
            let Some(nth) = (count + ahead).checked_sub(most) else {
                return wait;
            };
            if let Some((_, at, ())) = self.recipients.iter().nth(nth) {
                return wait + (at + self.window).saturating_sub(now);
            }
            ahead = nth - count;
            wait += self.window;
        }
    }

    /// Counts `recipient` from now on; whether they were not before.
    pub(super) fn count_in(&mut self, recipient: RecipientId, now: u64) -> bool {
        self.recipients.put(recipient, now, ())
    }

    /// Uncounts a recipient whose first message was not sent after all; `at` is when they were counted.
    pub(super) fn give_back(&mut self, recipient: RecipientId, at: u64) {
        if self.recipients.get(recipient) == Some((at, ())) {
            self.recipients.remove(recipient);
        }
    }

    /// `before` and `now` are one recipient, who counts once, from the later message on.
    pub(super) fn join(&mut self, before: RecipientId, now: RecipientId) {
        let at = |id| self.recipients.get(id).map(|(at, ())| at);
        if at(before) > at(now) {
            self.recipients.rename(before, now);
        } else {
            self.recipients.remove(before);
        }
    }
}
