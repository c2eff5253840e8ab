//! Which files Meta has already: by what an upload is known again, and as which medium.
//!
//! What was uploaded is remembered as a keyed hash, the key made for this process alone, so that neither this memory nor a
//! copy of it tells whether somebody's file was among the uploads. Nothing of it is written to disk: a restart forgets
//! all, and the next upload goes to Meta again.
//!
//! What it deliberately does not do: judge. Whether a medium that is found here may stand for another upload is decided
//! by its pin and by policy, at the moment of the answer.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use curfew_policies::{MediaId, PhoneNumberId, Pin, Timestamp, Upload};

use super::CryptoUnavailable;
use crate::clock::{Clock, Deadline};

/// Stands for an upload, without saying what was uploaded. Made by [`KnownUploads::tag`].
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct UploadTag([u8; 32]);

impl fmt::Debug for UploadTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UploadTag(…)")
    }
}

/// The uploads whose media live. Cheap to clone; clones share them.
///
/// Bounded: when it is full, the medium that ends first is forgotten, and its next upload goes to Meta.
#[derive(Clone, Debug)]
pub struct KnownUploads {
    table: Arc<Mutex<HashMap<UploadTag, Known>>>,
    key: hmac::Key,
    clock: Clock,
    capacity: NonZeroUsize,
}

#[derive(Clone, Debug)]
struct Known {
    media: MediaId,
    number: PhoneNumberId,
    ends: Deadline,
    upload: Arc<Upload<'static>>,
}

/// An upload that is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownUpload {
    /// The medium that it made.
    pub media: MediaId,
    /// When that ends: by its pin, or earlier where the wall clock was set back since.
    pub ends: Timestamp,
    /// What policy read of it.
    pub upload: Arc<Upload<'static>>,
}

impl KnownUploads {
    /// How many tags are kept unless told otherwise; an upload has one or two, of less than half a kilobyte each.
    pub const CAPACITY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);

    /// Room for `capacity` tags, under a new key.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub fn new(clock: Clock, capacity: NonZeroUsize) -> Result<Self, CryptoUnavailable> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Ok(Self {
            table: Arc::default(),
            key: key.map_err(|_| CryptoUnavailable)?,
            clock,
            capacity,
        })
    }

    /// The tag of what these parts say together. A part that is missing is another than an empty one.
    #[must_use]
    pub fn tag(&self, parts: &[Option<&[u8]>]) -> UploadTag {
        let mut mac = hmac::Context::with_key(&self.key);
        for part in parts {
            // Each part's length first: no two lists of parts are the same bytes.
            let length = part.map_or(u64::MAX, |part| u64::try_from(part.len()).unwrap_or(u64::MAX));
            mac.update(&length.to_be_bytes());
            mac.update(part.unwrap_or_default());
        }
        let mut tag = [0; 32];
        for (to, from) in tag.iter_mut().zip(mac.sign().as_ref()) {
            *to = *from;
        }
        UploadTag(tag)
    }

    /// Remembers an upload under `tags`, as the medium that is pinned by `pin`, until that ends. Of two media under one tag the
    /// one that ends later is kept.
    pub fn remember(
        &self,
        tags: impl IntoIterator<Item = UploadTag>,
        media: MediaId,
        pin: Pin,
        upload: Arc<Upload<'static>>,
    ) {
        let left = pin.ends.since(self.clock.now());
        let known = Known {
            media,
            number: pin.number,
            ends: Deadline::new(pin.ends, self.clock.monotonic().after(left)),
            upload,
        };
        if self.clock.is_past(known.ends) {
            return;
        }
        let mut table = self.lock();
        for tag in tags {
            let held = table.get(&tag).filter(|held| !self.clock.is_past(held.ends));
            if held.is_some_and(|held| held.ends.wall() > known.ends.wall()) {
                continue;
            }
            if table.len() >= self.capacity.get() && !table.contains_key(&tag) {
                self.make_room(&mut table);
            }
            table.insert(tag, known.clone());
        }
    }

    /// The upload that `tag` stands for, unless its medium has ended or it was forgotten.
    #[must_use]
    pub fn find(&self, tag: UploadTag) -> Option<KnownUpload> {
        let table = self.lock();
        let known = table.get(&tag)?;
        let left = known.ends.monotonic().since(self.clock.monotonic());
        (!self.clock.is_past(known.ends)).then(|| KnownUpload {
            media: known.media,
            ends: known.ends.wall().min(self.clock.now().after(left)),
            upload: Arc::clone(&known.upload),
        })
    }

    /// Forgets the uploads of `media`, which is to be deleted.
    pub fn forget_media(&self, media: MediaId) {
        self.lock().retain(|_, known| known.media != media);
    }

    /// Forgets the uploads of `number`, whose media may be gone with its registration or its settings.
    pub fn forget_number(&self, number: PhoneNumberId) {
        self.lock().retain(|_, known| known.number != number);
    }

    /// Forgets every upload.
    pub fn forget_all(&self) {
        self.lock().clear();
    }

    /// Frees what has ended. To be called on a timer; look-ups do not depend on it.
    pub fn sweep(&self) {
        self.drop_ended(&mut self.lock());
    }

    /// How many tags are held, also such as have ended and were not swept yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether no tag is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the whole table, which only an upload to a full one has to wait for.
    fn make_room(&self, table: &mut HashMap<UploadTag, Known>) {
        self.drop_ended(table);
        if table.len() < self.capacity.get() {
            return;
        }
        let first = table.iter().min_by_key(|(_, known)| known.ends.wall());
        if let Some(tag) = first.map(|(tag, _)| *tag) {
            table.remove(&tag);
        }
    }

    fn drop_ended(&self, table: &mut HashMap<UploadTag, Known>) {
        table.retain(|_, known| !self.clock.is_past(known.ends));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UploadTag, Known>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
