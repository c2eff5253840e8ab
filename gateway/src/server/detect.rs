//! Tells HTTP/2 from HTTP/1 by the first bytes, and nothing else.
//!
//! hyper-util's detection hands everything that is not the HTTP/2 preface to its HTTP/1 parser; ours hands it to
//! the strict front door.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

/// The client's connection preface (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the first bytes of a connection are.
#[derive(Debug)]
pub(super) enum Detected {
    Http2,
    /// Anything else, with the bytes that were read.
    Http1(Vec<u8>),
    /// Not enough came in time to tell.
    TimedOut,
    /// The client closed before it said what it speaks.
    Gone,
}

/// Reads no more than the preface, and no further than the first byte that differs from it.
pub(super) async fn detect<S: AsyncRead + Unpin>(io: &mut S, deadline: Instant) -> io::Result<Detected> {
    let mut received = Vec::with_capacity(PREFACE.len());
    loop {
        let missing = u64::try_from(PREFACE.len() - received.len()).unwrap_or(0);
        let Ok(read) = timeout_at(deadline, (&mut *io).take(missing).read_buf(&mut received)).await else {
            return Ok(Detected::TimedOut);
        };
        if read? == 0 {
            return Ok(Detected::Gone);
        }
        if received == PREFACE {
            return Ok(Detected::Http2);
        }
        if !PREFACE.starts_with(&received) {
            return Ok(Detected::Http1(received));
        }
    }
}

/// A connection whose preface has been read and is read once more.
#[derive(Debug)]
pub(super) struct Rewound<S> {
    preface: &'static [u8],
    io: S,
}

impl<S> Rewound<S> {
    pub(super) fn new(io: S) -> Self {
        Self { preface: PREFACE, io }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.preface.is_empty() {
            return Pin::new(&mut this.io).poll_read(cx, out);
        }
        let (now, later) = this.preface.split_at(this.preface.len().min(out.remaining()));
        out.put_slice(now);
        this.preface = later;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
