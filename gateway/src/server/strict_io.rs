//! The HTTP/1 front door: stands between the socket and hyper and lets only strictly valid bytes through.
//!
//! hyper repairs or drops some ambiguous framing before any handler can see it (a length beside a coding, for
//! one), so the check has to come before it. A head is held back until it is complete and judged. A body
//! is checked while it passes, in the buffer that hyper reads into. What follows a body is a new head.
//!
//! A refused head never reaches hyper. In its place comes one synthesized request, [`REFUSED_METHOD`] with the
//! reason as its path, which no real request can equal: so the refusal is answered by the same stack as all
//! requests, in order after earlier pipelined ones, and the connection closes.
//!
//! Between requests, hyper would keep its buffers, and in them the last request and answer. So to hyper the connection ends soon
//! after each pause begins, while it stays open to the client: its owner drops hyper's part, waits with
//! [`StrictIo::poll_wake`], which needs no buffer, and begins with a new one.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::{Activity, HeadProgress};
use super::alarm::Alarm;
use super::chunked::ChunkFilter;
use super::head::{BodyFraming, Head, HeadScanner};
use super::limits::{FrontDoorLimits, PAUSE};
use super::{FrontDoorRefusal, REFUSED_METHOD};

/// A connection of which only strictly valid HTTP/1 can be read.
#[derive(Debug)]
pub(super) struct StrictIo<S> {
    io: S,
    limits: Arc<FrontDoorLimits>,
    activity: Arc<Activity>,
    phase: Phase,
    scanner: HeadScanner,
    /// How many heads have been handed on.
    heads: u64,
    peer_closed: bool,
    /// Received and not yet judged or handed on.
    pending: Vec<u8>,
    /// Judged and to be handed on before anything else.
    staged: Vec<u8>,
    head_wait: Alarm,
    pause_wait: Alarm,
    write_wait: Alarm,
    /// hyper has more to write, or has not said that this was all.
    writing: bool,
    linger: Option<Linger>,
}

#[derive(Debug)]
enum Phase {
    Head,
    /// Between requests, for longer than a moment: who reads is told of an end, and the socket is left open.
    Resting,
    Sized(u64),
    Chunked(ChunkFilter),
    /// The synthesized request is staged or handed on; nothing follows.
    Refused(FrontDoorRefusal),
    /// The body broke the rules: whoever reads it gets an error.
    Broken(FrontDoorRefusal),
    Ended,
}

impl<S: AsyncRead + AsyncWrite + Unpin> StrictIo<S> {
    /// Wraps `io`, of which `received` has been read already.
    pub(super) fn new(
        io: S,
        received: Vec<u8>,
        limits: Arc<FrontDoorLimits>,
        activity: Arc<Activity>,
    ) -> Self {
        Self {
            io,
            limits,
            activity,
            phase: Phase::Head,
            scanner: HeadScanner::default(),
            heads: 0,
            peer_closed: false,
            pending: received,
            staged: Vec::new(),
            head_wait: Alarm::default(),
            pause_wait: Alarm::default(),
            write_wait: Alarm::default(),
            writing: false,
            linger: None,
        }
    }

    /// Ends the reading of requests with a refusal.
    pub(super) fn refuse(&mut self, refusal: FrontDoorRefusal) {
        self.pending = Vec::new();
        self.activity.set_head(HeadProgress::Nothing);
        if self.heads == 0 && refusal == FrontDoorRefusal::NotHttp {
            // Whoever this is does not speak HTTP/1 and could not read an answer.
            self.phase = Phase::Ended;
            return;
        }
        self.phase = Phase::Refused(refusal);
        self.staged = format!(
            "{REFUSED_METHOD} /{} HTTP/1.1\r\nhost: refused\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            refusal.slug()
        )
        .into_bytes();
    }

    /// Reads until a head is judged; then either something is staged or the phase is no longer `Head`.
    fn poll_head(&mut self, cx: &mut Context<'_>, scratch: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.pending.is_empty() {
                match self.scanner.advance(&self.pending, &self.limits) {
                    Ok(Some(head)) => {
                        self.hand_on(&head);
                        return Poll::Ready(Ok(()));
                    }
                    Ok(None) => self.activity.set_head(HeadProgress::Partial),
                    Err(refusal) => {
                        self.refuse(refusal);
                        return Poll::Ready(Ok(()));
                    }
                }
            }
            // hyper's own buffer serves as scratch space, so that an idle connection needs none of ours.
            let before = scratch.filled().len();
            match Pin::new(&mut self.io).poll_read(cx, scratch) {
                Poll::Ready(result) => result?,
                Poll::Pending => {
                    let awaited = self.heads == 0 || !self.pending.is_empty();
                    if awaited && self.head_wait.rings(cx, self.limits.header_timeout) {
                        self.refuse(FrontDoorRefusal::HeaderTimeout);
                        return Poll::Ready(Ok(()));
                    }
                    if !awaited && self.pauses(cx) {
                        self.phase = Phase::Resting;
                        return Poll::Ready(Ok(()));
                    }
                    return Poll::Pending;
                }
            }
            let received = scratch.filled().get(before..).unwrap_or_default();
            if received.is_empty() {
                self.peer_closed = true;
                self.phase = Phase::Ended;
                return Poll::Ready(Ok(()));
            }
            if self.pending.is_empty() {
                self.head_wait.clear();
            }
            self.pending.extend_from_slice(received);
            scratch.set_filled(before);
        }
    }

    /// Whether nothing has happened for a moment. Looks at it now and then, not at each request.
    fn pauses(&mut self, cx: &mut Context<'_>) -> bool {
        while self.pause_wait.rings(cx, PAUSE) {
            self.pause_wait.clear();
            // An answer counts as given once hyper has it, and hyper gives up what it holds when it reads an end.
            if !self.writing && self.activity.has_been_idle_for(PAUSE) {
                return true;
            }
        }
        false
    }

    /// Closes the connection in good order.
    ///
    /// The write side first; then it is read on for a while, because closing a socket with unread bytes resets it, and the reset can
    /// destroy the answer before the client has read it. hyper's part is to be dropped before: it may hold half an
    /// upload.
    pub(super) async fn close(mut self) {
        if self.is_resting() {
            self.phase = Phase::Head;
        }
        // What goes wrong now is nobody's loss: nothing is left to be written.
        if poll_fn(|cx| Pin::new(&mut self).poll_shutdown(cx)).await.is_err() {
            return;
        }
        if let Some(linger) = &mut self.linger
            && !self.peer_closed
        {
            poll_fn(|cx| linger.poll_discard(cx, &mut self.io)).await;
        }
    }

    /// Whether the end that was read last is a pause, and not the end.
    pub(super) const fn is_resting(&self) -> bool {
        matches!(self.phase, Phase::Resting)
    }

    /// Waits for a resting connection's next byte, or its end; then it can be read from again.
    pub(super) fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // One byte: more would need a buffer, and in TLS as well this is how one waits for bytes without taking them.
        let mut first = [0];
        let mut read = ReadBuf::new(&mut first);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
        if read.filled().is_empty() {
            self.peer_closed = true;
            self.phase = Phase::Ended;
        } else {
            self.pending.extend_from_slice(read.filled());
            self.phase = Phase::Head;
        }
        Poll::Ready(Ok(()))
    }

    fn hand_on(&mut self, head: &Head) {
        let rest = self.pending.split_off(head.len.min(self.pending.len()));
        let raw = std::mem::replace(&mut self.pending, rest);
        self.staged = if head.version == Version::HTTP_10 {
            without_persistence(&raw)
        } else {
            raw
        };
        self.phase = match head.framing {
            BodyFraming::Length(0) => Phase::Head,
            BodyFraming::Length(length) => Phase::Sized(length),
            BodyFraming::Chunked => Phase::Chunked(ChunkFilter::new(&self.limits)),
        };
        self.heads = self.heads.saturating_add(1);
        let open_body = if matches!(self.phase, Phase::Head) {
            None
        } else {
            NonZeroU64::new(self.heads)
        };
        self.activity.set_open_body(open_body);
        self.scanner = HeadScanner::default();
        self.head_wait.clear();
        self.activity.set_head(HeadProgress::Nothing);
    }

    /// Moves staged bytes to `out`; false if there are none.
    fn emit_staged(&mut self, out: &mut ReadBuf<'_>) -> bool {
        if self.staged.is_empty() {
            return false;
        }
        if self.staged.len() <= out.remaining() {
            out.put_slice(&self.staged);
            self.staged = Vec::new();
        } else {
            let rest = self.staged.split_off(out.remaining());
            out.put_slice(&self.staged);
            self.staged = rest;
        }
        true
    }

    /// Reads body bytes into `out`, directly from the socket unless some came together with the head. What
    /// belongs to the next head goes to `pending`.
    fn poll_body(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        if self.pending.is_empty() {
            ready!(Pin::new(&mut self.io).poll_read(cx, out))?;
            if out.filled().len() == before {
                self.peer_closed = true;
                self.phase = Phase::Ended;
                return Poll::Ready(Ok(()));
            }
        } else {
            let rest = self.pending.split_off(out.remaining().min(self.pending.len()));
            out.put_slice(&self.pending);
            self.pending = rest;
        }
        let fresh = out.filled_mut().get_mut(before..).unwrap_or_default();
        let (kept, consumed) = self.phase.pass(fresh);
        if matches!(self.phase, Phase::Head) {
            self.activity.set_open_body(None);
        }
        if let Some(surplus) = fresh.get(consumed..)
            && !surplus.is_empty()
        {
            let mut surplus = surplus.to_vec();
            surplus.append(&mut self.pending);
            self.pending = surplus;
        }
        out.set_filled(before + kept);
        Poll::Ready(Ok(()))
    }
}

impl Phase {
    /// Judges body bytes in place: how many at the front may be handed on, and how many were read.
    fn pass(&mut self, fresh: &mut [u8]) -> (usize, usize) {
        match self {
            Self::Sized(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(fresh.len());
                *left -= u64::try_from(taken).unwrap_or(u64::MAX);
                if *left == 0 {
                    *self = Self::Head;
                }
                (taken, taken)
            }
            Self::Chunked(filter) => {
                let filtered = filter.filter(fresh);
                match filtered.end {
                    None => {}
                    Some(Ok(())) => *self = Self::Head,
                    Some(Err(refusal)) => *self = Self::Broken(refusal),
                }
                (filtered.kept, filtered.consumed)
            }
            Self::Head | Self::Resting | Self::Refused(_) | Self::Broken(_) | Self::Ended => (0, 0),
        }
    }
}

/// An HTTP/1.0 head without the lines that ask for a persistent connection: HTTP/1.0 gets one answer.
fn without_persistence(head: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(head.len());
    for line in head.split_inclusive(|&byte| byte == b'\n') {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        if !name.eq_ignore_ascii_case(b"connection") && !name.eq_ignore_ascii_case(b"keep-alive") {
            kept.extend_from_slice(line);
        }
    }
    kept
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for StrictIo<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        loop {
            if out.remaining() == 0 || this.emit_staged(out) {
                return Poll::Ready(Ok(()));
            }
            match &this.phase {
                Phase::Head => ready!(this.poll_head(cx, out))?,
                Phase::Sized(_) | Phase::Chunked(_) => {
                    ready!(this.poll_body(cx, out))?;
                    // Nothing handed on would mean the end: after a mere extension, read on.
                    if out.filled().len() > before {
                        return Poll::Ready(Ok(()));
                    }
                }
                // Not the end, for that would make hyper give up the requests that it is still answering. The
                // synthesized request closes the connection, so nobody has to be woken.
                Phase::Refused(_) => return Poll::Pending,
                Phase::Broken(refusal) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, *refusal)));
                }
                Phase::Resting | Phase::Ended => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> StrictIo<S> {
    /// Bounds how long a client may refuse to take bytes.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_wait.clear();
        } else if self.write_wait.rings(cx, self.limits.body_idle_timeout) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        written
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for StrictIo<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.writing = true;
        let written = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.bounded(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.writing = true;
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, slices);
        this.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            // hyper flushes only what it has written to the end.
            this.writing = false;
        }
        this.bounded(cx, flushed)
    }

    /// Closes the write side, unless the connection only rests.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_resting() || this.linger.is_some() {
            return Poll::Ready(Ok(()));
        }
        let shut = Pin::new(&mut this.io).poll_shutdown(cx);
        ready!(this.bounded(cx, shut))?;
        this.linger = Some(Linger::after(&this.phase, !this.pending.is_empty(), &this.limits));
        this.pending = Vec::new();
        Poll::Ready(Ok(()))
    }
}

/// The rest of a connection after its last answer.
#[derive(Debug)]
struct Linger {
    /// Whether the client is known to be sending.
    expecting: bool,
    bytes_left: u64,
    gap: Duration,
    total: Duration,
    gap_wait: Alarm,
    total_wait: Alarm,
}

impl Linger {
    fn after(phase: &Phase, has_pending: bool, limits: &FrontDoorLimits) -> Self {
        let (expecting, whole_body) = match phase {
            Phase::Sized(_) | Phase::Chunked(_) => (true, true),
            Phase::Refused(refusal) | Phase::Broken(refusal) => (true, !refusal.doubts_framing()),
            Phase::Ended => (true, false),
            Phase::Head | Phase::Resting => (has_pending, false),
        };
        let (bytes_left, gap, total) = if whole_body {
            // A client in the middle of an upload often reads only after it has written all.
            (
                limits.upload_bytes,
                Duration::from_secs(5),
                Duration::from_secs(30),
            )
        } else {
            (256 * 1024, Duration::from_secs(1), Duration::from_secs(1))
        };
        Self {
            expecting,
            bytes_left,
            gap,
            total,
            gap_wait: Alarm::default(),
            total_wait: Alarm::default(),
        }
    }

    fn poll_discard<S: AsyncRead + Unpin>(&mut self, cx: &mut Context<'_>, io: &mut S) -> Poll<()> {
        // Not on the stack, where what is discarded would stay: it may be content.
        let mut scratch = vec![0; 8192];
        loop {
            let mut discarded = ReadBuf::new(&mut scratch);
            match Pin::new(&mut *io).poll_read(cx, &mut discarded) {
                // The answer is written; what goes wrong now is nobody's loss.
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => {
                    let len = u64::try_from(discarded.filled().len()).unwrap_or(u64::MAX);
                    if len == 0 || len >= self.bytes_left {
                        return Poll::Ready(());
                    }
                    self.bytes_left -= len;
                    self.expecting = true;
                    self.gap_wait.clear();
                    if self.total_wait.rings(cx, self.total) {
                        return Poll::Ready(());
                    }
                }
                Poll::Pending => {
                    let over = !self.expecting
                        || self.gap_wait.rings(cx, self.gap)
                        || self.total_wait.rings(cx, self.total);
                    return if over { Poll::Ready(()) } else { Poll::Pending };
                }
            }
        }
    }
}
