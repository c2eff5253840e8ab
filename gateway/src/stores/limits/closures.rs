//! What Meta has closed: numbers, accounts, apps; until when, or until somebody opens it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use curfew_policies::{PhoneNumberId, WabaId};

/// The end of what ends only when an operator says so.
pub(super) const FOREVER: u64 = u64::MAX;
/// How many apps are remembered as closed: each caller's token is one in pass-through.
const MOST_APPS: usize = 4_096;

/// One that can be closed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Place {
    /// A number.
    Number(PhoneNumberId),
    /// An account, with all its numbers.
    Account(WabaId),
    /// The app or token of this tag.
    App(u64),
}

impl Place {
    /// As it is named where others close theirs.
    pub(super) fn text(self) -> String {
        match self {
            Self::Number(number) => format!("number:{number}"),
            Self::Account(account) => format!("account:{account}"),
            Self::App(app) => format!("app:{app}"),
        }
    }

    /// The place that is named so.
    pub(super) fn named(text: &str) -> Option<Self> {
        let (kind, id) = text.split_once(':')?;
        match kind {
            "number" => id.parse().ok().map(Self::Number),
            "account" => id.parse().ok().map(Self::Account),
            "app" => id.parse().ok().map(Self::App),
            _ => None,
        }
    }
}

/// One that is closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Closure {
    pub(super) since: u64,
    pub(super) until: u64,
    /// Meta's code.
    pub(super) code: i64,
}

/// All that are closed.
#[derive(Debug, Default)]
pub(super) struct Closures {
    table: Mutex<HashMap<Place, Closure>>,
    /// How many there are, so that in the usual case nobody locks.
    count: AtomicUsize,
}

impl Closures {
    /// Closes `place`; one that is closed for longer already stays so.
    pub(super) fn close(&self, place: Place, closure: Closure) {
        let mut table = self.lock();
        table.retain(|_, closed| closed.until > closure.since);
        let apps = || table.keys().filter(|place| matches!(place, Place::App(_)));
        if matches!(place, Place::App(_)) && !table.contains_key(&place) && apps().count() >= MOST_APPS {
            let first = table
                .iter()
                .filter(|(place, _)| matches!(place, Place::App(_)))
                .min_by_key(|(_, closed)| closed.until)
                .map(|(place, _)| *place);
            if let Some(first) = first {
                table.remove(&first);
            }
        }
        let closed = table.entry(place).or_insert(closure);
        if closure.until > closed.until {
            *closed = closure;
        }
        self.count.store(table.len(), Ordering::Release);
    }

    /// Opens `place`; whether it was closed.
    pub(super) fn open(&self, place: Place, now: u64) -> bool {
        let mut table = self.lock();
        let was = table.remove(&place).is_some_and(|closed| closed.until > now);
        self.count.store(table.len(), Ordering::Release);
        was
    }

    /// Which of `places` is closed for longest at `now`.
    pub(super) fn of(&self, places: impl IntoIterator<Item = Place>, now: u64) -> Option<(Place, Closure)> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let table = self.lock();
        let closed = places
            .into_iter()
            .filter_map(|place| table.get(&place).map(|closed| (place, *closed)));
        closed
            .filter(|(_, closed)| closed.until > now)
            .max_by_key(|(_, closed)| closed.until)
    }

    /// All that are closed at `now`.
    pub(super) fn all(&self, now: u64) -> Vec<(Place, Closure)> {
        let table = self.lock();
        let closed = table.iter().filter(|(_, closed)| closed.until > now);
        closed.map(|(place, closed)| (*place, *closed)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Closure>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
