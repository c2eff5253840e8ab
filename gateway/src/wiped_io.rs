//! A socket beneath TLS that wipes what TLS has read and forgotten.
//!
//! rustls decrypts records in the buffer that it reads them into, and keeps that buffer for as long as the session lives. So
//! an idle session holds up to one record of plaintext that nobody needs any more, and that the wiping allocator does
//! not see, because nothing is freed. The part of the buffer that holds no unread bytes is what rustls offers to the socket to
//! read into: [`WipedIo`] overwrites it as soon as the socket has nothing more to give.
//!
//! The same holds for any reader that offers the unused part of a buffer that it keeps.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A socket that overwrites with zeros what its reader offers to read into, once for each time that it runs dry.
///
/// A busy connection pays for one `memset` of the unused buffer between two waits, an idle one nothing.
#[derive(Debug)]
pub struct WipedIo<S> {
    io: S,
    /// Something was read since the last wipe.
    soiled: bool,
}

impl<S> WipedIo<S> {
    /// Wraps a socket.
    pub const fn new(io: S) -> Self {
        Self { io, soiled: false }
    }

    /// The socket.
    pub const fn get_ref(&self) -> &S {
        &self.io
    }

    /// Whether something was read since the last wipe.
    #[cfg(test)]
    pub(crate) const fn is_soiled(&self) -> bool {
        self.soiled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WipedIo<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.io).poll_read(cx, out);
        if read.is_ready() {
            this.soiled = true;
        } else if this.soiled {
            out.initialize_unfilled().fill(0);
            this.soiled = false;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WipedIo<S> {
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;

    /// One read into the space after the first `used` bytes of a buffer that is kept, as rustls does it.
    async fn read(io: &mut WipedIo<tokio::io::DuplexStream>, buffer: &mut [u8], used: usize) -> Poll<usize> {
        poll_fn(|cx| {
            let mut space = ReadBuf::new(&mut buffer[used..]);
            let read = Pin::new(&mut *io).poll_read(cx, &mut space);
            Poll::Ready(read.map(|read| {
                read.unwrap();
                space.filled().len()
            }))
        })
        .await
    }

    #[tokio::test]
    async fn what_was_read_is_wiped_once_the_socket_is_dry() {
        let (mut peer, io) = duplex(64);
        let mut io = WipedIo::new(io);
        let mut buffer = [0xa5; 32];
        peer.write_all(b"content").await.unwrap();
        assert_eq!(read(&mut io, &mut buffer, 0).await, Poll::Ready(7));
        assert_eq!(&buffer[..7], b"content");
        assert_eq!(read(&mut io, &mut buffer, 0).await, Poll::Pending);
        assert_eq!(buffer, [0; 32]);
    }

    #[tokio::test]
    async fn what_is_not_yet_used_is_kept() {
        let (mut peer, io) = duplex(64);
        let mut io = WipedIo::new(io);
        let mut buffer = [0xa5; 32];
        peer.write_all(b"half a record").await.unwrap();
        assert_eq!(read(&mut io, &mut buffer, 0).await, Poll::Ready(13));
        assert_eq!(read(&mut io, &mut buffer, 13).await, Poll::Pending);
        assert_eq!(&buffer[..13], b"half a record");
        assert_eq!(buffer[13..], [0; 19]);
    }

    #[tokio::test]
    async fn a_dry_socket_is_not_wiped_for_again() {
        let (_peer, io) = duplex(64);
        let mut io = WipedIo::new(io);
        let mut buffer = [0xa5; 32];
        assert_eq!(read(&mut io, &mut buffer, 0).await, Poll::Pending);
        assert_eq!(buffer, [0xa5; 32]);
    }
}
