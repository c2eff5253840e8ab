//! Whether a key came before.

use std::borrow::Cow;
use std::collections::HashSet;

/// From so many keys on, the keys of one object are looked up in a set instead of one after the other.
const FEW_KEYS: usize = 16;

/// The keys that one object had so far.
pub(super) struct Keys<'a> {
    /// Where its run in the list of all open objects' keys starts.
    start: usize,
    /// All of them, once they are many.
    many: Option<HashSet<Cow<'a, str>>>,
    /// Whether one has an upper-case letter.
    pub(super) mixed_case: bool,
}

impl<'a> Keys<'a> {
    /// No keys yet; `all` are those of the objects round it.
    pub(super) fn new(all: &[Cow<'a, str>]) -> Self {
        Self {
            start: all.len(),
            many: None,
            mixed_case: false,
        }
    }

    fn run<'k>(&self, all: &'k [Cow<'a, str>]) -> &'k [Cow<'a, str>] {
        all.get(self.start..).unwrap_or_default()
    }

    /// Whether it has `key`.
    pub(super) fn has(&self, all: &[Cow<'a, str>], key: &str) -> bool {
        match &self.many {
            Some(many) => many.contains(key),
            None => self.run(all).iter().any(|other| other == key),
        }
    }

    /// Whether it has `key` in whatever letter case.
    pub(super) fn has_in_other_case(&self, all: &[Cow<'a, str>], key: &str) -> bool {
        let same = |other: &Cow<'a, str>| other.eq_ignore_ascii_case(key);
        match &self.many {
            Some(many) => many.iter().any(same),
            None => self.run(all).iter().any(same),
        }
    }

    /// Takes in one more.
    pub(super) fn remember(&mut self, all: &mut Vec<Cow<'a, str>>, key: Cow<'a, str>) {
        if let Some(many) = &mut self.many {
            many.insert(key);
            return;
        }
        all.push(key);
        if self.run(all).len() >= FEW_KEYS {
            self.many = Some(all.drain(self.start..).collect());
        }
    }

    /// Takes its keys off the list.
    pub(super) fn forget(self, all: &mut Vec<Cow<'a, str>>) {
        all.truncate(self.start);
    }
}
