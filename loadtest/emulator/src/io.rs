//! The connection under HTTP: TCP that can break where a fault says.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// One connection's handle for the requests on it.
pub(crate) struct Control {
    /// Counted from 1 in the order of acceptance.
    pub(crate) serial: u64,
    written: AtomicU64,
    /// Count of written bytes at which writing fails; `u64::MAX` is never.
    cut_at: AtomicU64,
    reset: AtomicBool,
    killed: Notify,
}

impl Control {
    pub(crate) fn new(serial: u64) -> Arc<Self> {
        Arc::new(Self {
            serial,
            written: AtomicU64::new(0),
            cut_at: AtomicU64::new(u64::MAX),
            reset: AtomicBool::new(false),
            killed: Notify::new(),
        })
    }

    /// Resets the connection at once.
    pub(crate) fn reset(&self) {
        self.reset.store(true, Ordering::Release);
        self.killed.notify_one();
    }

    /// Resets the connection when `bytes` more were written.
    pub(crate) fn reset_after(&self, bytes: u64) {
        let cut = self.written.load(Ordering::Acquire).saturating_add(bytes);
        self.cut_at.store(cut, Ordering::Release);
    }

    pub(crate) async fn killed(&self) {
        self.killed.notified().await;
    }

    /// How much may still be written; none when the cut is reached.
    fn room(&self) -> Option<usize> {
        let cut = self.cut_at.load(Ordering::Acquire);
        if cut == u64::MAX {
            return Some(usize::MAX);
        }
        let left = cut.saturating_sub(self.written.load(Ordering::Acquire));
        usize::try_from(left).ok().filter(|&left| left > 0)
    }
}

pub(crate) struct Socket {
    stream: TcpStream,
    control: Arc<Control>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, control: Arc<Control>) -> Self {
        Self { stream, control }
    }

    fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = result {
            self.control
                .written
                .fetch_add(u64::try_from(count).unwrap_or(0), Ordering::AcqRel);
        }
        result
    }

    fn cut(&self) -> Poll<io::Result<usize>> {
        self.control.reset();
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.control.reset.load(Ordering::Acquire) {
            // Closing with a zero linger sends RST instead of FIN. A socket that refuses is closed all the same.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Some(room) = self.control.room() else {
            return self.cut();
        };
        let buf = buf.get(..room).unwrap_or(buf);
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(room) = self.control.room() else {
            return self.cut();
        };
        let result = if room == usize::MAX {
            Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
        } else {
            let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
            Pin::new(&mut self.stream).poll_write(cx, first.get(..room).unwrap_or(first))
        };
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A cut that falls on the reply's end would never be met by another write.
        if self.control.room().is_none() {
            return self.cut().map_ok(|_| ());
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
