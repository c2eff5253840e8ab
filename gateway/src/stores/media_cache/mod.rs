//! Copies of media, for exactly as long as they may be kept.
//!
//! Fifty services fetch the same brochure, and Meta's media calls are slow and rationed; so a medium that was fetched once
//! is kept, in memory only, and one that is being fetched is fetched once for all who ask meanwhile. The promises:
//!
//! - **No copy outlives its end**, the earlier of the medium's own and the policy's. The end is asked of our [`Clock`] at
//!   each read; setting the wall clock back does not put it off, nor does suspending the machine. [`MediaCache::reap`]
//!   overwrites the bytes within a second of it, typically within milliseconds, whoever still holds a reader.
//! - **Every end has one receipt**, an [`Ended`], after the bytes were overwritten.
//! - **Nothing short or wrong is ever whole**: readers get their last piece only after size and SHA-256 were found to be
//!   what Meta says.
//! - **Bounded**: what is held, also of media that are still coming, never exceeds [`CacheLimits::max_bytes`]. Nobody's
//!   download breaks off for that: what is in use is not pushed out, and what finds no room goes past the cache.
//!
//! What it deliberately does not do: fetch, judge who may read what (the key names the number, but the check comes before
//! the look-up), answer ranges and conditions of HTTP, or remember failures.

mod books;
mod ended;
mod fill;
mod medium;
mod reader;
mod wiping;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use curfew_policies::{MediaId, PhoneNumberId, Timestamp};
use tokio::sync::Notify;

pub use ended::{EndReason, Ended, Failure, PurgeOrder};
pub use fill::Fill;
pub use reader::MediumReader;

use crate::clock::{Clock, Moment};
use crate::graph::answer::MediaContent;
use books::Books;
use medium::{Identity, Medium, Over};

/// How long the reaper sleeps at most while there is a copy: a wall clock that was set forth, and a machine that wakes up,
/// are noticed that late at worst. A quarter of what is promised is left for a busy machine.
const TICK: Duration = Duration::from_millis(250);

/// The copies. Cheap to clone; clones share them.
#[derive(Clone)]
pub struct MediaCache(Arc<Shared>);

/// How much may be kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CacheLimits {
    /// Of all copies together, in bytes; each counts with its whole size from its first byte, rounded up to a kibibyte.
    pub max_bytes: u64,
    /// Of one copy, in bytes. What is larger is not kept, nor fetched for several at once.
    pub object_bytes: u64,
}

/// What a copy is found by: a number's media are never found by another.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct MediaKey {
    /// Whose it is.
    pub number: PhoneNumberId,
    /// The medium.
    pub media: MediaId,
}

/// How long a copy may be kept.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// The medium's own end.
    pub ends: Timestamp,
    /// The policy's bound (`cache_minutes`), counted from when the copy is first opened; zero: no copy.
    pub at_most: Duration,
}

/// How a medium is to be had.
#[derive(Debug)]
#[must_use]
pub enum Opened {
    /// There is a whole copy.
    Hit(MediumReader),
    /// It is being fetched; read along.
    Joined(MediumReader),
    /// Nobody fetches it: the caller has to, for all who join, itself among them.
    Lead(Fill, MediumReader),
    /// It is not kept: the caller has to fetch it, for itself alone.
    Bypass(Bypass),
}

/// Why a medium is not kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bypass {
    /// Its size is not known, so neither can room be kept for it nor its end be told from a body that broke off.
    SizeUnknown,
    /// It has no bytes: nothing to gain.
    Empty,
    /// It is larger than one copy may be.
    TooLarge,
    /// Its end has come, or the policy allows no copy.
    NoTime,
    /// What is being fetched or read takes all the room.
    NoRoom,
    /// There is a copy, of another size or SHA-256 than Meta now says.
    Disagrees,
}

/// Which copies a purge means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// One number's copy of one medium.
    Entry(MediaKey),
    /// Every number's copy of a medium.
    Media(MediaId),
    /// All copies of a number.
    Number(PhoneNumberId),
    /// All.
    All,
}

/// What a purge did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Purged {
    /// How many copies it ended, also such as were still coming.
    pub entries: u64,
    /// How many bytes of them it overwrote.
    pub bytes: u64,
}

/// What happened since the start, and what is there now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CacheStats {
    /// Opened and found whole.
    pub hits: u64,
    /// Opened while it was being fetched.
    pub joins: u64,
    /// Opened and not found: each is one fetch.
    pub leads: u64,
    /// Opened and not kept.
    pub bypasses: u64,
    /// Ends by reason, in the order of [`EndReason::SLUGS`].
    pub ended: [u64; EndReason::SLUGS.len()],
    /// Copies that are there or coming.
    pub entries: u64,
    /// The room that is taken by them, in bytes; at most [`CacheLimits::max_bytes`].
    pub reserved_bytes: u64,
    /// The bytes that are in fact held.
    pub held_bytes: u64,
}

/// What the cache and its readers and fills share.
struct Shared {
    books: Mutex<Books>,
    clock: Clock,
    object_bytes: u64,
    on_end: Box<dyn Fn(&Ended) + Send + Sync>,
    /// An end has come to be the next.
    earlier: Notify,
    held: Arc<AtomicU64>,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    hits: AtomicU64,
    joins: AtomicU64,
    leads: AtomicU64,
    bypasses: AtomicU64,
    ended: [AtomicU64; EndReason::SLUGS.len()],
}

/// A use of a medium: while there is one, the medium is not pushed out by others.
struct Lease {
    cache: Arc<Shared>,
    medium: Arc<Medium>,
}

/// What both clocks say.
#[derive(Clone, Copy, Debug)]
struct Now {
    wall: Timestamp,
    monotonic: Moment,
}

impl MediaCache {
    /// An empty cache. `on_end` gets the receipt of every end, at once and on the thread that ended the copy: it must not
    /// block, and may call the cache.
    ///
    /// Ends are kept by [`reap`](Self::reap), which must be running.
    pub fn new(limits: CacheLimits, clock: Clock, on_end: impl Fn(&Ended) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            books: Mutex::new(Books::new(limits.max_bytes, clock.clone())),
            clock,
            object_bytes: limits.object_bytes.min(limits.max_bytes),
            on_end: Box::new(on_end),
            earlier: Notify::new(),
            held: Arc::default(),
            counters: Counters::default(),
        }))
    }

    /// How `key` is to be had, given what Meta says of it now and how long a copy may live.
    ///
    /// A copy that is there lives no longer than `life` allows, whatever it was opened with first. The caller has checked
    /// that its number may read the medium. Look at the pin and the policy once more *after* this call: a purge that came
    /// between the first look and this call did not find what this call began.
    pub fn open(&self, key: MediaKey, content: &MediaContent, life: Life) -> Opened {
        let mut ended = Vec::new();
        let opened = self.0.open(key, content, life, &mut ended);
        self.0.publish(&ended);
        let counters = &self.0.counters;
        let counter = match &opened {
            Opened::Hit(_) => &counters.hits,
            Opened::Joined(_) => &counters.joins,
            Opened::Lead(..) => &counters.leads,
            Opened::Bypass(_) => &counters.bypasses,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        opened
    }

    /// A reader of `key` if there is a copy or one is coming; begins nothing, and counts as nothing.
    #[must_use]
    pub fn find(&self, key: MediaKey) -> Option<MediumReader> {
        let mut books = self.0.lock();
        let medium = books.find(key)?;
        if self.0.clock.is_past(medium.deadline()) {
            drop(books);
            self.0.end(&medium, EndReason::Deadline);
            return None;
        }
        Some(MediumReader::new(self.0.lease(&mut books, medium)))
    }

    /// Ends the copies that `scope` names, those that are coming as well. When it returns, their bytes are overwritten.
    pub fn purge(&self, scope: Scope, order: PurgeOrder) -> Purged {
        let named = self.0.lock().named(scope);
        let mut purged = Purged::default();
        for medium in named {
            // One lock for each: overwriting takes its time, and others want to read.
            let ended = self.0.lock().end(&medium, EndReason::Purged(order));
            if let Some(ended) = ended {
                purged.entries += 1;
                purged.bytes += ended.bytes;
                self.0.publish(&[ended]);
            }
        }
        self.0.lock().tidy();
        purged
    }

    /// Ends the copies whose end has come, and says how long it is until the next one's; `None` if there is no copy.
    ///
    /// [`reap`](Self::reap) calls it when it is due.
    pub fn sweep(&self) -> Option<Duration> {
        let mut has_ended_any = false;
        loop {
            let now = Now::read(&self.0.clock);
            let ended = {
                let mut books = self.0.lock();
                let Some(medium) = books.due(now) else {
                    if has_ended_any {
                        books.tidy();
                    }
                    return books.until_next(now);
                };
                books.end(&medium, EndReason::Deadline)
            };
            has_ended_any = true;
            self.0.publish(ended.as_slice());
        }
    }

    /// Ends each copy at its end, for as long as it is polled. To be run once, in a task that nothing blocks. Needs
    /// tokio's timer.
    pub async fn reap(&self) -> Infallible {
        loop {
            let next = self.sweep();
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

    /// What happened since the start, and what is there now.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.0.counters;
        let books = self.0.lock();
        CacheStats {
            hits: count(&counters.hits),
            joins: count(&counters.joins),
            leads: count(&counters.leads),
            bypasses: count(&counters.bypasses),
            ended: counters.ended.each_ref().map(count),
            entries: u64::try_from(books.entries()).unwrap_or(u64::MAX),
            reserved_bytes: books.reserved_bytes(),
            held_bytes: count(&self.0.held),
        }
    }
}

impl fmt::Debug for MediaCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MediaCache").field(&self.stats()).finish()
    }
}

impl Scope {
    fn names(self, key: MediaKey) -> bool {
        match self {
            Self::Entry(entry) => key == entry,
            Self::Media(media) => key.media == media,
            Self::Number(number) => key.number == number,
            Self::All => true,
        }
    }
}

impl Now {
    fn read(clock: &Clock) -> Self {
        Self {
            wall: clock.now(),
            monotonic: clock.monotonic(),
        }
    }
}

impl Shared {
    fn open(
        self: &Arc<Self>,
        key: MediaKey,
        content: &MediaContent,
        life: Life,
        ended: &mut Vec<Ended>,
    ) -> Opened {
        let now = Now::read(&self.clock);
        let mut books = self.lock();
        if let Some(medium) = books.find(key) {
            if books.tighten(&medium, life, now) {
                self.earlier.notify_one();
            }
            if self.clock.is_past(medium.deadline()) {
                ended.extend(books.end(&medium, EndReason::Deadline));
            } else if content.size != Some(medium.identity.size) || content.sha256 != medium.identity.sha256 {
                return Opened::Bypass(Bypass::Disagrees);
            } else {
                let is_filling = medium.is_filling();
                let reader = MediumReader::new(self.lease(&mut books, medium));
                return if is_filling {
                    Opened::Joined(reader)
                } else {
                    Opened::Hit(reader)
                };
            }
        }
        let size = match content.size {
            None => return Opened::Bypass(Bypass::SizeUnknown),
            Some(0) => return Opened::Bypass(Bypass::Empty),
            Some(size) if size > self.object_bytes => return Opened::Bypass(Bypass::TooLarge),
            Some(size) => size,
        };
        let Some(deadline) = books.deadline(life, now) else {
            return Opened::Bypass(Bypass::NoTime);
        };
        let identity = Identity {
            key,
            serial: books.serial(),
            size,
            sha256: content.sha256,
            begun: now,
        };
        let medium = Medium::new(
            identity,
            content.content_type.clone(),
            deadline,
            Arc::clone(&self.held),
        );
        let medium = Arc::new(medium);
        match books.admit(&medium, ended) {
            None => return Opened::Bypass(Bypass::NoRoom),
            Some(true) => self.earlier.notify_one(),
            Some(false) => {}
        }
        let reader = MediumReader::new(self.lease(&mut books, Arc::clone(&medium)));
        let admitted = Lease {
            cache: Arc::clone(self),
            medium,
        };
        Opened::Lead(Fill::new(admitted), reader)
    }

    fn lease(self: &Arc<Self>, books: &mut Books, medium: Arc<Medium>) -> Lease {
        books.lease(&medium);
        Lease {
            cache: Arc::clone(self),
            medium,
        }
    }

    /// Ends `medium`, and says why it has ended: for `reason`, or for an earlier one.
    fn end(&self, medium: &Arc<Medium>, reason: EndReason) -> EndReason {
        let ended = self.lock().end(medium, reason);
        self.publish(ended.as_slice());
        medium.end_reason().unwrap_or(reason)
    }

    /// Tells of ends; not under the lock, which whoever is told may want.
    fn publish(&self, ended: &[Ended]) {
        for ended in ended {
            let slug = ended.reason.slug();
            let at = EndReason::SLUGS.iter().position(|known| *known == slug);
            if let Some(counter) = at.and_then(|at| self.counters.ended.get(at)) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
            (self.on_end)(ended);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    fn clock(&self) -> &Clock {
        &self.cache.clock
    }

    fn end(&self, reason: EndReason) -> EndReason {
        self.cache.end(&self.medium, reason)
    }

    fn over(&self, over: Over) -> EndReason {
        match over {
            Over::Ended(reason) => reason,
            Over::Due => self.end(EndReason::Deadline),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.cache.lock().release(&self.medium);
    }
}
