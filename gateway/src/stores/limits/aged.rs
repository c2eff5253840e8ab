//! Values by recipient, in the order in which they were last touched.
//!
//! What forgets by age must find the oldest at once, and what is asked on every send must not search: a hash map over
//! the links of a list. Forgetting is the owner's to do; nothing here has a clock.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::recipient::RecipientId;

/// No link.
const END: u32 = u32::MAX;

/// The values.
#[derive(Debug)]
pub(super) struct Aged<V> {
    index: HashMap<RecipientId, u32, BuildHasherDefault<AsItIs>>,
    nodes: Vec<Node<V>>,
    free: Vec<u32>,
    oldest: u32,
    newest: u32,
}

#[derive(Debug)]
struct Node<V> {
    key: RecipientId,
    at: u64,
    older: u32,
    newer: u32,
    value: V,
}

/// A recipient's id is a keyed hash already, so nobody chooses where it falls.
#[derive(Debug, Default)]
pub(super) struct AsItIs(u64);

impl<V> Default for Aged<V> {
    fn default() -> Self {
        Self {
            index: HashMap::default(),
            nodes: Vec::new(),
            free: Vec::new(),
            oldest: END,
            newest: END,
        }
    }
}

impl<V: Copy> Aged<V> {
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The value, and when it was last touched.
    pub(super) fn get(&self, key: RecipientId) -> Option<(u64, V)> {
        let node = self.nodes.get(place(*self.index.get(&key)?))?;
        Some((node.at, node.value))
    }

    /// Puts `value` under `key`, as the newest; whether nothing was there before.
    pub(super) fn put(&mut self, key: RecipientId, at: u64, value: V) -> bool {
        if let Some(&link) = self.index.get(&key) {
            if link != self.newest {
                self.unlink(link);
                self.append(link);
            }
            if let Some(node) = self.nodes.get_mut(place(link)) {
                (node.at, node.value) = (at, value);
            }
            return false;
        }
        let node = Node {
            key,
            at,
            older: END,
            newer: END,
            value,
        };
        let link = match self.free.pop() {
            Some(link) => {
                if let Some(free) = self.nodes.get_mut(place(link)) {
                    *free = node;
                }
                link
            }
            None => {
                // Four thousand million recipients do not fit any memory: the last link is never reached.
                let link = u32::try_from(self.nodes.len()).unwrap_or(END);
                self.nodes.push(node);
                link
            }
        };
        self.index.insert(key, link);
        self.append(link);
        true
    }

    /// Makes the oldest the newest, as it is.
    pub(super) fn rotate(&mut self) {
        let oldest = self.oldest;
        if oldest != self.newest {
            self.unlink(oldest);
            self.append(oldest);
        }
    }

    /// Changes a value where it is.
    pub(super) fn set(&mut self, key: RecipientId, value: V) {
        let link = self.index.get(&key).copied().unwrap_or(END);
        if let Some(node) = self.nodes.get_mut(place(link)) {
            node.value = value;
        }
    }

    /// Gives what is under `from` the key `to`, where it stands in the order; what was under `to` is gone.
    pub(super) fn rename(&mut self, from: RecipientId, to: RecipientId) {
        if from == to {
            return;
        }
        let Some(link) = self.index.get(&from).copied() else {
            return;
        };
        self.remove(to);
        self.index.remove(&from);
        self.index.insert(to, link);
        if let Some(node) = self.nodes.get_mut(place(link)) {
            node.key = to;
        }
    }

    /// The one that was touched longest ago.
    pub(super) fn oldest(&self) -> Option<(RecipientId, u64, V)> {
        let node = self.nodes.get(place(self.oldest))?;
        Some((node.key, node.at, node.value))
    }

    /// All, the one that was touched longest ago first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RecipientId, u64, V)> {
        let mut next = self.oldest;
        std::iter::from_fn(move || {
            let node = self.nodes.get(place(next))?;
            next = node.newer;
            Some((node.key, node.at, node.value))
        })
    }

    pub(super) fn remove(&mut self, key: RecipientId) -> Option<(u64, V)> {
        let link = self.index.remove(&key)?;
        self.unlink(link);
        let removed = self.nodes.get(place(link)).map(|node| (node.at, node.value));
        if self.index.is_empty() {
            // Nothing is left of a busy hour.
            *self = Self::default();
        } else {
            self.free.push(link);
        }
        removed
    }

    fn append(&mut self, link: u32) {
        let newest = std::mem::replace(&mut self.newest, link);
        match self.nodes.get_mut(place(newest)) {
            Some(node) => node.newer = link,
            None => self.oldest = link,
        }
        if let Some(node) = self.nodes.get_mut(place(link)) {
            (node.older, node.newer) = (newest, END);
        }
    }

    fn unlink(&mut self, link: u32) {
        let Some((older, newer)) = self.nodes.get(place(link)).map(|node| (node.older, node.newer)) else {
            return;
        };
        match self.nodes.get_mut(place(older)) {
            Some(node) => node.newer = newer,
            None => self.oldest = newer,
        }
        match self.nodes.get_mut(place(newer)) {
            Some(node) => node.older = older,
            None => self.newest = older,
        }
    }
}

/// A link as a place in the nodes; [`END`] is beyond all of them.
fn place(link: u32) -> usize {
    usize::try_from(link).unwrap_or(usize::MAX)
}

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_list_in_the_order_of_touch(
            steps in proptest::collection::vec((0u64..20, 0u8..6), 0..200),
        ) {
            let mut aged = Aged::default();
            let mut model: Vec<(u64, u64, u64)> = Vec::new();
            for (at, (key, step)) in (0u64..).zip(steps) {
                let id = RecipientId::for_tests(key);
                let found = model.iter().position(|(other, ..)| *other == key);
                match step {
                    0 | 1 => {
                        if let Some(place) = found {
                            model.remove(place);
                        }
                        model.push((key, at, at * 2));
                        prop_assert_eq!(aged.put(id, at, at * 2), found.is_none());
                    }
                    2 => {
                        let removed = found.map(|place| model.remove(place));
                        prop_assert_eq!(aged.remove(id), removed.map(|(_, at, value)| (at, value)));
                    }
                    3 => {
                        if !model.is_empty() {
                            model.rotate_left(1);
                        }
                        aged.rotate();
                    }
                    4 => {
                        if let Some(place) = found {
                            model[place].2 = 7;
                        }
                        aged.set(id, 7);
                    }
                    _ => {
                        let to = (key + 1) % 20;
                        if found.is_some() {
                            model.retain(|(other, ..)| *other != to);
                            model.iter_mut().filter(|(other, ..)| *other == key).for_each(|entry| entry.0 = to);
                        }
                        aged.rename(id, RecipientId::for_tests(to));
                    }
                }
                prop_assert_eq!(aged.len(), model.len());
                let oldest = model.first().map(|(key, at, value)| (RecipientId::for_tests(*key), *at, *value));
                prop_assert_eq!(aged.oldest(), oldest);
                for (key, at, value) in &model {
                    prop_assert_eq!(aged.get(RecipientId::for_tests(*key)), Some((*at, *value)));
                }
            }
            let mut order = Vec::new();
            while let Some((id, at, value)) = aged.oldest() {
                order.push((id, at, value));
                aged.remove(id);
            }
            let expected: Vec<_> = model.iter().map(|(key, at, value)| (RecipientId::for_tests(*key), *at, *value)).collect();
            prop_assert_eq!(order, expected);
        }
    }
}
