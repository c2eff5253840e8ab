//! Which number each medium belongs to, and until when it lives.
//!
//! Looked up on every send that names a medium, so a look-up touches memory only, but where several instances share a store. Written once a medium, and then
//! durable before it is visible: what [`MediaPins::look_up`] has shown is still there after a crash.
//!
//! What it deliberately does not do: judge. A pin that has ended is still found, so that the rules can tell "ended" from
//! "unknown"; it is forgotten a day later, by [`MediaPins::sweep`].

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use curfew_policies::{MediaId, Minute, Origin, Pin, Timestamp};

use super::StoreError;
use super::sqlite::Writer;
use super::valkey::Valkey;
use crate::clock::Clock;

/// How long a pin is kept after its end, in minutes: a day.
const KEPT_MINUTES: u32 = 24 * 60;

/// How many pins one step of a sweep forgets, so that records need not wait for the whole of it.
const SWEEP_STEP: usize = 1000;

/// The pins. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub struct MediaPins {
    pins: Arc<PinMap>,
    keeper: Keeper,
    clock: Clock,
    kept: Duration,
}

#[derive(Clone, Debug)]
enum Keeper {
    Memory,
    File(Arc<Writer>),
    Shared(Valkey),
}

impl MediaPins {
    /// Pins that last as long as the process.
    #[must_use]
    pub fn in_memory(clock: Clock, minute: Minute) -> Self {
        Self {
            pins: Arc::default(),
            keeper: Keeper::Memory,
            clock,
            kept: minute.times(KEPT_MINUTES),
        }
    }

    pub(super) fn kept_by(writer: Arc<Writer>, pins: Arc<PinMap>, clock: Clock, minute: Minute) -> Self {
        Self {
            pins,
            keeper: Keeper::File(writer),
            clock,
            kept: minute.times(KEPT_MINUTES),
        }
    }

    pub(super) fn shared(store: Valkey, clock: Clock, minute: Minute) -> Self {
        Self {
            pins: Arc::default(),
            keeper: Keeper::Shared(store),
            clock,
            kept: minute.times(KEPT_MINUTES),
        }
    }

    /// The pin of `media`, which may have ended or be a gravestone; `None` if none is known. What another instance has
    /// recorded or buried is seen at once, so a shared store is asked each time; the others answer without waiting.
    ///
    /// # Errors
    ///
    /// When a shared store does not answer. That is not "none is known": the caller must refuse.
    pub async fn look_up(&self, media: MediaId) -> Result<Option<Pin>, StoreError> {
        match &self.keeper {
            Keeper::Memory | Keeper::File(_) => Ok(self.find(media)),
            Keeper::Shared(store) => store.pin(media).await,
        }
    }

    /// Whether a look-up has a chance to be answered: false while a shared store is away.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        match &self.keeper {
            Keeper::Memory | Keeper::File(_) => true,
            Keeper::Shared(store) => store.is_reachable(),
        }
    }

    /// The same as [`look_up`](Self::look_up) of what this process itself remembers, for where nothing can be waited for: nothing of a shared store.
    ///
    /// Neither allocates nor waits for I/O.
    #[must_use]
    pub fn find(&self, media: MediaId) -> Option<Pin> {
        self.pins.find(media)
    }

    /// Pins `media`, and returns the pin that is now in force: durable, and visible to [`look_up`](Self::look_up).
    ///
    /// That is not always `pin`. What is known already can be narrowed, never widened:
    ///
    /// - a live pin's owner never changes;
    /// - a gravestone never becomes a pin again, even after its end: it stands until a sweep forgets it, a day later;
    /// - what Meta's answer to an upload has pinned is never replaced by what a webhook tells, nor that by what is taken as
    ///   inbound, even after its end;
    /// - for the same owner the earlier end counts.
    ///
    /// So compare the owner of what is returned before telling a caller that the medium is its own. An end beyond
    /// `i64::MAX` milliseconds is kept as that. Once asked, the write happens even if the future is dropped.
    ///
    /// # Errors
    ///
    /// When the pin could not be made durable; then nothing is visible of it either, and the caller must not learn of
    /// the medium.
    pub async fn record(&self, media: MediaId, pin: Pin) -> Result<Pin, StoreError> {
        let pin = Pin {
            ends: pin.ends.min(LAST_END),
            ..pin
        };
        match &self.keeper {
            Keeper::Memory => {
                let now = self.clock.now();
                let mut shard = self.pins.write(media);
                let pin = merged(shard.get(&media).copied(), pin, now);
                shard.insert(media, pin);
                Ok(pin)
            }
            Keeper::File(writer) => writer.record(media, pin).await,
            Keeper::Shared(store) => store.record_pin(media, pin, self.clock.now(), self.kept).await,
        }
    }

    /// Turns the pin of `media` into a gravestone, which stands as long as the pin would have, and returns it; `None` if
    /// no pin is known, in which case there is nothing to bury. Burying twice is burying once.
    ///
    /// # Errors
    ///
    /// When the gravestone could not be made durable; the pin then stays as it was.
    pub async fn bury(&self, media: MediaId) -> Result<Option<Pin>, StoreError> {
        match &self.keeper {
            Keeper::Memory => Ok(self.pins.write(media).get_mut(&media).map(|pin| {
                *pin = buried(*pin);
                *pin
            })),
            Keeper::File(writer) => writer.bury(media).await,
            Keeper::Shared(store) => store.bury_pin(media, self.clock.now(), self.kept).await,
        }
    }

    /// Forgets the pins that ended more than a day ago, and returns how many they were. To be called on a timer.
    ///
    /// A wall clock that is wrong by days makes it forget too early; such media are then unknown, which refuses or asks
    /// Meta.
    ///
    /// # Errors
    ///
    /// When the file could not be written. What was forgotten until then stays forgotten.
    pub async fn sweep(&self) -> Result<usize, StoreError> {
        let mut forgotten = 0;
        let now = self.clock.now().millis();
        let kept = u64::try_from(self.kept.as_millis()).unwrap_or(u64::MAX);
        let Some(limit) = now.checked_sub(kept).map(Timestamp::from_millis) else {
            return Ok(0);
        };
        loop {
            let ended = self.pins.ended_by(limit, SWEEP_STEP);
            if ended.is_empty() {
                return Ok(forgotten);
            }
            forgotten += match &self.keeper {
                Keeper::Memory => {
                    // Looked at again: a record may have come between.
                    let is_due = |pin: &Pin| pin.ends <= limit;
                    let due = ended
                        .into_iter()
                        .filter(|media| self.pins.remove_if(*media, is_due));
                    due.count()
                }
                Keeper::File(writer) => writer.forget(ended, limit).await?,
                // It forgets by itself, and nothing is held here.
                Keeper::Shared(_) => 0,
            };
        }
    }

    /// How many pins are held, ended ones and gravestones too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pins.len()
    }

    /// Whether no pin is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The last end that SQLite's signed integers can hold.
const LAST_END: Timestamp = Timestamp::from_millis(i64::MAX.unsigned_abs());

/// What is in force once `new` is recorded over `held`.
pub(super) fn merged(held: Option<Pin>, new: Pin, now: Timestamp) -> Pin {
    let Some(held) = held else { return new };
    if weight(new.origin) < weight(held.origin) {
        return held;
    }
    if held.number == new.number {
        return Pin {
            ends: held.ends.min(new.ends),
            ..new
        };
    }
    if held.ends > now { held } else { new }
}

/// The gravestone of `pin`.
pub(super) fn buried(pin: Pin) -> Pin {
    Pin {
        origin: Origin::Deleted,
        ..pin
    }
}

/// How much an origin counts against another: that a medium was deleted is certain, that it was uploaded through us
/// too, and that Meta's webhook named it; "inbound" is what we assume of all else.
fn weight(origin: Origin) -> u8 {
    match origin {
        Origin::Inbound => 0,
        Origin::Webhook => 1,
        Origin::Upload => 2,
        Origin::Deleted => 3,
    }
}

/// What an origin is called where it is kept.
pub(super) fn name_of_origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Upload => "upload",
        Origin::Inbound => "inbound",
        Origin::Webhook => "webhook",
        Origin::Deleted => "deleted",
    }
}

/// The origin that is called so.
pub(super) fn origin_named(name: &str) -> Option<Origin> {
    [Origin::Upload, Origin::Inbound, Origin::Webhook, Origin::Deleted]
        .into_iter()
        .find(|origin| name_of_origin(*origin) == name)
}

/// How many bits of a media id's hash choose its shard.
const SHARD_BITS: u32 = 6;

type Shard = HashMap<MediaId, Pin>;

/// The map that look-ups read, split so that writers seldom stand in a reader's way.
#[derive(Debug)]
pub(super) struct PinMap {
    shards: [RwLock<Shard>; 1 << SHARD_BITS],
}

impl Default for PinMap {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
        }
    }
}

impl PinMap {
    pub(super) fn find(&self, media: MediaId) -> Option<Pin> {
        read(self.shard(media)).get(&media).copied()
    }

    pub(super) fn insert(&self, media: MediaId, pin: Pin) {
        self.write(media).insert(media, pin);
    }

    /// Up to `at_most` media whose pins ended at `limit` or before.
    fn ended_by(&self, limit: Timestamp, at_most: usize) -> Vec<MediaId> {
        let mut ended = Vec::new();
        for shard in &self.shards {
            let shard = read(shard);
            let here = shard.iter().filter(|(_, pin)| pin.ends <= limit);
            ended.extend(here.map(|(media, _)| *media).take(at_most - ended.len()));
            if ended.len() == at_most {
                break;
            }
        }
        ended
    }

    pub(super) fn remove(&self, media: MediaId) {
        self.remove_if(media, |_| true);
    }

    /// Drops the pin of `media` if `is_due`, and says whether it did.
    fn remove_if(&self, media: MediaId, is_due: impl FnOnce(&Pin) -> bool) -> bool {
        let mut shard = self.write(media);
        if !shard.get(&media).is_some_and(is_due) {
            return false;
        }
        shard.remove(&media);
        // Only well below, or a map that breathes would be copied again and again.
        if shard.len() < shard.capacity() / 4 {
            let twice = shard.len() * 2;
            shard.shrink_to(twice);
        }
        true
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|shard| read(shard).len()).sum()
    }

    fn write(&self, media: MediaId) -> RwLockWriteGuard<'_, Shard> {
        // A map whose writer panicked is still a map: every change is one insertion or removal.
        self.shard(media).write().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, media: MediaId) -> &RwLock<Shard> {
        // Fibonacci hashing: consecutive ids spread over the high bits. The maps inside have a keyed hash of their own.
        let hash = media.get().wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let index = usize::try_from(hash >> (u64::BITS - SHARD_BITS)).unwrap_or(0);
        #[expect(
            clippy::indexing_slicing,
            reason = "there is a shard for each value of SHARD_BITS bits"
        )]
        &self.shards[index]
    }
}

fn read(shard: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
