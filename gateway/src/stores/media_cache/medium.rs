//! One medium's bytes, as they come and until they end.
//!
//! The bytes lie in chunks behind a lock. A whole chunk is lent to readers as it is, since copying and wiping it anew for each
//! would cost as much as sending it; one that is still coming is copied. At the end all chunks are dropped, which wipes
//! them, whoever holds the medium: all but those that are lent at that moment, each wiped when the last borrower drops it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use tokio::sync::Notify;

use super::wiping::WipingBuffer;
use super::{EndReason, MediaKey, Now};
use crate::clock::{Clock, Deadline};

/// The size of a chunk, but for a medium's last, in bytes: one allocation, and one write to a socket. With an eighth of it,
/// a download costs twice the CPU, nearly all of it the system's work for each write.
pub(super) const CHUNK: u64 = 512 * 1024;

/// What a medium's end is held back in until all was checked, and the most that is copied at once of a chunk that is still
/// coming: what each of many readers may hold of its own. In bytes.
const PIECE: u64 = 64 * 1024;

/// What a copy is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub(super) key: MediaKey,
    /// Tells two copies of the same medium apart.
    pub(super) serial: u64,
    /// In bytes; never zero.
    pub(super) size: u64,
    pub(super) sha256: Option<[u8; 32]>,
    /// When it was opened first.
    pub(super) begun: Now,
}

pub(super) struct Medium {
    pub(super) identity: Identity,
    pub(super) content_type: http::HeaderValue,
    state: RwLock<State>,
    changed: Arc<Notify>,
    /// All bytes that all copies hold.
    held: Arc<AtomicU64>,
}

struct State {
    deadline: Deadline,
    phase: Phase,
    /// Each wiped when it is dropped.
    whole: Vec<Bytes>,
    /// The chunk that is coming.
    tail: Option<WipingBuffer>,
    len: u64,
}

#[derive(Clone, Copy)]
enum Phase {
    /// The bytes are coming.
    Filling,
    /// All are there and were checked.
    Whole,
    /// All were overwritten.
    Ended(EndReason),
}

/// What a reader gets.
pub(super) enum Read {
    /// The next bytes, wiped when the last holder drops them.
    Bytes(Bytes),
    /// Nothing yet; something changes before there is.
    Later,
    /// Nothing any more.
    Gone(Over),
}

/// Why a medium gives and takes no more.
#[derive(Clone, Copy)]
pub(super) enum Over {
    /// Its deadline has come, and it was not ended yet: to be done by whoever sees it.
    Due,
    /// It has ended.
    Ended(EndReason),
}

impl Medium {
    pub(super) fn new(
        identity: Identity,
        content_type: http::HeaderValue,
        deadline: Deadline,
        held: Arc<AtomicU64>,
    ) -> Self {
        let state = State {
            deadline,
            phase: Phase::Filling,
            whole: Vec::new(),
            tail: None,
            len: 0,
        };
        Self {
            identity,
            content_type,
            state: RwLock::new(state),
            changed: Arc::default(),
            held,
        }
    }

    pub(super) fn deadline(&self) -> Deadline {
        self.read_state().deadline
    }

    pub(super) fn set_deadline(&self, deadline: Deadline) {
        self.write_state().deadline = deadline;
    }

    pub(super) fn is_whole(&self) -> bool {
        matches!(self.read_state().phase, Phase::Whole)
    }

    pub(super) fn is_filling(&self) -> bool {
        matches!(self.read_state().phase, Phase::Filling)
    }

    /// The bytes from `from` to at most `until`, no further than to the end of their chunk.
    pub(super) fn read(&self, from: u64, until: u64, clock: &Clock) -> Read {
        let state = self.read_state();
        let limit = match state.limit(until, clock) {
            Ok(limit) => limit,
            Err(over) => return Read::Gone(over),
        };
        if from >= limit {
            return Read::Later;
        }
        let start = index(from % CHUNK);
        let end = start.saturating_add(index((limit - from).min(CHUNK - from % CHUNK)));
        if let Some(chunk) = state.whole.get(index(from / CHUNK)) {
            // `limit` is within what came, so this is within the chunk: `slice` would panic otherwise.
            return Read::Bytes(chunk.slice(start.min(chunk.len())..end.min(chunk.len())));
        }
        let coming = state.tail.as_ref().map(AsRef::as_ref);
        let end = end.min(start.saturating_add(index(PIECE)));
        let Some(bytes) = coming.and_then(|chunk: &[u8]| chunk.get(start..end)) else {
            return Read::Later;
        };
        let mut copy = WipingBuffer::for_up_to(bytes.len());
        copy.append(bytes);
        Read::Bytes(Bytes::from_owner(copy))
    }

    /// Whether [`read`](Self::read) would give bytes; an error once it gives none any more.
    pub(super) fn is_readable(&self, from: u64, until: u64, clock: &Clock) -> Result<bool, Over> {
        self.read_state().limit(until, clock).map(|limit| from < limit)
    }

    /// Appends `bytes`, which must not go beyond the medium's size.
    pub(super) fn push(&self, bytes: &[u8], clock: &Clock) -> Result<(), Over> {
        // In steps, so that readers wait for one piece at most.
        for piece in bytes.chunks(index(PIECE)) {
            {
                let mut state = self.write_state();
                if let Phase::Ended(reason) = state.phase {
                    return Err(Over::Ended(reason));
                }
                if clock.is_past(state.deadline) {
                    return Err(Over::Due);
                }
                state.append(piece, self.identity.size);
                self.held.fetch_add(bytes_in(piece), Ordering::Relaxed);
            }
            self.changed.notify_waiters();
        }
        Ok(())
    }

    /// Says that the bytes are all there and are the right ones. Not before that do readers get their last piece.
    pub(super) fn settle(&self, clock: &Clock) -> Result<(), Over> {
        {
            let mut state = self.write_state();
            if let Phase::Ended(reason) = state.phase {
                return Err(Over::Ended(reason));
            }
            if clock.is_past(state.deadline) {
                return Err(Over::Due);
            }
            state.phase = Phase::Whole;
            state.close_tail();
        }
        self.changed.notify_waiters();
        Ok(())
    }

    /// Overwrites all bytes that are not lent and says how many there were; `None` if that was done before.
    pub(super) fn end(&self, reason: EndReason) -> Option<u64> {
        let bytes = {
            let mut state = self.write_state();
            if matches!(state.phase, Phase::Ended(_)) {
                return None;
            }
            state.phase = Phase::Ended(reason);
            let bytes = std::mem::take(&mut state.len);
            state.whole = Vec::new();
            state.tail = None;
            self.held.fetch_sub(bytes, Ordering::Relaxed);
            bytes
        };
        self.changed.notify_waiters();
        Some(bytes)
    }

    pub(super) fn end_reason(&self) -> Option<EndReason> {
        match self.read_state().phase {
            Phase::Ended(reason) => Some(reason),
            Phase::Filling | Phase::Whole => None,
        }
    }

    /// Rings once at the next change after this call.
    pub(super) fn changed(&self) -> tokio::sync::futures::OwnedNotified {
        Arc::clone(&self.changed).notified_owned()
    }

    /// Waits for the end.
    pub(super) async fn ended(&self) -> EndReason {
        loop {
            let changed = self.changed();
            if let Some(reason) = self.end_reason() {
                return reason;
            }
            changed.await;
        }
    }

    /// Where the chunks lie, for tests that look there once they are gone.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn places(&self) -> Vec<(usize, usize)> {
        let state = self.read_state();
        let whole = state.whole.iter().map(AsRef::as_ref);
        let chunks = whole.chain(state.tail.iter().map(AsRef::as_ref));
        chunks
            .map(|chunk: &[u8]| (chunk.as_ptr().addr(), chunk.len()))
            .collect()
    }

    fn read_state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_state(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Up to where a reader that wants the bytes before `until` may read.
    ///
    /// Until all was checked, a reader's last piece is held back: so a body that turns out to be short or wrong reaches
    /// nobody whole, and one of a single piece reaches nobody at all.
    fn limit(&self, until: u64, clock: &Clock) -> Result<u64, Over> {
        if let Phase::Ended(reason) = self.phase {
            return Err(Over::Ended(reason));
        }
        if clock.is_past(self.deadline) {
            return Err(Over::Due);
        }
        Ok(match self.phase {
            Phase::Whole => until.min(self.len),
            Phase::Filling | Phase::Ended(_) => {
                let last_piece = until.saturating_sub(1) / PIECE * PIECE;
                last_piece.min(self.len)
            }
        })
    }

    fn append(&mut self, mut bytes: &[u8], size: u64) {
        self.len = self.len.saturating_add(bytes_in(bytes));
        while !bytes.is_empty() {
            let begun = CHUNK.saturating_mul(u64::try_from(self.whole.len()).unwrap_or(u64::MAX));
            // Never zero, whatever the caller does: the loop must end.
            let len = || index(size.saturating_sub(begun).clamp(1, CHUNK));
            let tail = self.tail.get_or_insert_with(|| WipingBuffer::for_up_to(len()));
            bytes = tail.append(bytes);
            if tail.is_full() {
                self.close_tail();
            }
        }
    }

    fn close_tail(&mut self) {
        self.whole.extend(self.tail.take().map(Bytes::from_owner));
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

pub(super) fn bytes_in(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
