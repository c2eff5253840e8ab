//! How much memory JSON bodies may fill together, from before they are read until nobody needs them any more.
//!
//! Each body is bounded by `limits.json_bytes`, but callers can open many at once and let them wait.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that JSON bodies may fill together.
#[derive(Clone, Debug)]
pub struct JsonBudget(Arc<Semaphore>);

impl JsonBudget {
    /// 64 MiB: room for tens of thousands of ordinary sends, and for eight bodies of the largest size that can be
    /// configured.
    pub const BYTES: usize = 64 * 1024 * 1024;

    /// A budget of so many bytes.
    #[must_use]
    pub fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// Room for a body of at most `bytes`; `None` when that much is not free.
    #[must_use]
    pub fn take(&self, bytes: usize) -> Option<Room> {
        let bytes = u32::try_from(bytes).ok()?;
        Arc::clone(&self.0).try_acquire_many_owned(bytes).ok().map(Room)
    }
}

impl Default for JsonBudget {
    fn default() -> Self {
        Self::of(Self::BYTES)
    }
}

/// Room for one body.
#[derive(Debug)]
pub struct Room(OwnedSemaphorePermit);

impl Room {
    /// The body, which gives its room back when it is dropped. What it does not fill is given back now.
    #[must_use]
    pub fn hold(mut self, body: Bytes) -> Bytes {
        let spare = self.0.num_permits().saturating_sub(body.len());
        drop(self.0.split(spare));
        if body.is_empty() {
            return body;
        }
        Bytes::from_owner(Held { body, _room: self.0 })
    }
}

/// `body` in the room that `original` has, which is held for as long as `body` is.
#[must_use]
pub fn held_for(original: Bytes, body: Bytes) -> Bytes {
    struct InPlaceOf {
        body: Bytes,
        _original: Bytes,
    }

    impl AsRef<[u8]> for InPlaceOf {
        fn as_ref(&self) -> &[u8] {
            &self.body
        }
    }

    Bytes::from_owner(InPlaceOf {
        body,
        _original: original,
    })
}

struct Held {
    body: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_a_body_keeps_its_room() {
        let budget = JsonBudget::of(10);
        let body = budget.take(10).unwrap().hold(Bytes::from_static(b"0123456789"));
        let instead = held_for(body, Bytes::from_static(b"another"));
        assert_eq!(instead, "another");
        assert!(budget.take(1).is_none());
        drop(instead);
        assert!(budget.take(10).is_some());
    }

    #[test]
    fn bodies_fill_no_more_than_the_budget() {
        let budget = JsonBudget::of(100);
        let held = budget.take(90).unwrap().hold(Bytes::from(vec![b'x'; 60]));
        assert!(budget.take(41).is_none());
        let rest = budget.take(40).unwrap();
        let part = held.slice(..1);
        drop(held);
        drop(rest);
        assert!(budget.take(41).is_none(), "a part of the body is still there");
        drop(part);
        assert!(budget.take(100).is_some());
    }
}
