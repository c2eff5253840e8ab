//! What a caller reads a medium through.

use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use curfew_policies::Timestamp;
use http::HeaderValue;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::futures::OwnedNotified;

use super::medium::{Over, Read, bytes_in};
use super::{EndReason, Lease};

/// Reads one medium, or a range of it, as a response body.
///
/// Independent of every other reader: it holds no bytes but those that it has just given, so it may be as slow as it likes
/// or go away. It reads while the medium still comes, but gets its last piece only when all was checked.
///
/// It ends with an error when the medium ends, at whatever byte it is. What it gave before is lent, and wiped when the last
/// borrower drops it: whoever keeps such bytes has to drop them when the medium [ends](Self::ended).
pub struct MediumReader {
    pub(super) lease: Lease,
    range: Range<u64>,
    waiting: Option<Pin<Box<OwnedNotified>>>,
}

impl MediumReader {
    pub(super) fn new(lease: Lease) -> Self {
        let range = 0..lease.medium.identity.size;
        Self {
            lease,
            range,
            waiting: None,
        }
    }

    /// The `Content-Type` of the whole medium.
    #[must_use]
    pub fn content_type(&self) -> &HeaderValue {
        &self.lease.medium.content_type
    }

    /// The size of the whole medium, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.lease.medium.identity.size
    }

    /// The SHA-256 of the whole medium, as Meta gave it; what is read to its end has it.
    #[must_use]
    pub fn sha256(&self) -> Option<[u8; 32]> {
        self.lease.medium.identity.sha256
    }

    /// How long ago it was opened first: the `Age` of RFC 9111, section 5.1, to be rounded down to seconds.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.lease
            .clock()
            .monotonic()
            .since(self.lease.medium.identity.begun.monotonic)
    }

    /// When the copy ends at the latest, by the wall clock.
    #[must_use]
    pub fn due(&self) -> Timestamp {
        self.lease.medium.deadline().wall()
    }

    /// Whether all of it is there and was checked.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.lease.medium.is_whole()
    }

    /// Reads only these bytes, counted from the medium's first; what lies beyond its end is left out.
    ///
    /// An empty range reads nothing, and waits for nothing.
    #[must_use]
    pub fn range(mut self, range: Range<u64>) -> Self {
        self.range = range.start..range.end.min(self.size());
        self
    }

    /// Waits until there is something to read.
    ///
    /// To be awaited before the head of a response is sent: what fails before that, such as every failed fetch of a
    /// medium of 64 KiB or less, can then still be answered as what it is.
    ///
    /// # Errors
    ///
    /// When the medium has ended before.
    pub async fn ready(&mut self) -> Result<(), EndReason> {
        poll_fn(|cx| self.poll_ready(cx)).await
    }

    /// Waits until the medium ends, without holding on to anything that reads it.
    ///
    /// For whoever holds bytes that this reader gave and that nobody takes, such as the connection of a stalled client.
    pub fn ended(&self) -> impl Future<Output = EndReason> + Send + 'static + use<> {
        let medium = Arc::clone(&self.lease.medium);
        async move { medium.ended().await }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EndReason>> {
        loop {
            if self.range.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let Range { start, end } = self.range;
            match self.lease.medium.is_readable(start, end, self.lease.clock()) {
                Ok(true) => return Poll::Ready(Ok(())),
                Ok(false) => ready!(self.poll_changed(cx)),
                Err(over) => return Poll::Ready(Err(self.over(over))),
            }
        }
    }

    /// Ready when it is worth looking again. The first call is: the bell is hung up before the look, lest a change be missed.
    fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(waiting) = &mut self.waiting {
            ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
        } else {
            self.waiting = Some(Box::pin(self.lease.medium.changed()));
        }
        Poll::Ready(())
    }

    fn over(&mut self, over: Over) -> EndReason {
        self.range.start = self.range.end;
        self.lease.over(over)
    }
}

impl fmt::Debug for MediumReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MediumReader")
            .field("key", &self.lease.medium.identity.key)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

impl Body for MediumReader {
    type Data = Bytes;
    type Error = EndReason;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EndReason>>> {
        let this = &mut *self;
        loop {
            if this.range.is_empty() {
                return Poll::Ready(None);
            }
            let Range { start, end } = this.range;
            match this.lease.medium.read(start, end, this.lease.clock()) {
                Read::Bytes(bytes) => {
                    this.waiting = None;
                    this.range.start += bytes_in(&bytes);
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Read::Later => ready!(this.poll_changed(cx)),
                Read::Gone(over) => return Poll::Ready(Some(Err(this.over(over)))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.range.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.range.end.saturating_sub(self.range.start))
    }
}
