//! Rinses the buffers of an HTTP/2 connection that has fallen quiet.
//!
//! The HTTP/2 library keeps one buffer for what it reads and one for what it writes as long as the connection lives, and in them
//! what passed last. They cannot be dropped as those of HTTP/1 are, for the state of a connection (its compression tables) is
//! in the library too, and closing each connection that pauses would cost every caller a handshake. But they can be overwritten
//! from outside, by bytes that mean nothing:
//!
//! - frames of an unknown type, full of zeros, which a receiver must ignore (RFC 9113 section 5.5), go through what is read into;
//! - PING frames, which it must answer (section 6.7), make it overwrite what it writes from. The answers are taken out again, so
//!   that the client, which has asked nothing, sees nothing.
//!
//! Both are made up here and never cross the network. They come between two whole frames, never within a header block.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::alarm::Alarm;
use super::limits::PAUSE;

/// Length of a frame's head (RFC 9113 section 4.1).
const HEAD_BYTES: usize = 9;
/// The largest payload that everybody must take (section 4.2).
const PAYLOAD_BYTES: usize = 16_384;
/// The head of a frame with that payload and a type that nobody has defined.
const ZEROS_HEAD: [u8; HEAD_BYTES] = [0, 0x40, 0, 0xfb, 0, 0, 0, 0, 0];
/// What distinguishes our own PING from the client's. If a client should send the same, the answers are the same as well, and it
/// does not matter which is taken out.
const OPAQUE: [u8; 8] = *b"\0rinse\0\0";
/// The head of an answer to a PING (section 6.7).
const PONG_HEAD: [u8; HEAD_BYTES] = [0, 0, 8, 6, 1, 0, 0, 0, 0];
const PONG: [u8; 17] = ping(1);
const PING: [u8; 17] = ping(0);
/// A GOAWAY as from a client that has finished (section 6.8).
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The longest payload of a frame that speaks of the connection alone, in bytes: SETTINGS with all settings that there are.
const MOST_OF_CONTROL: usize = 64;

/// What h2 begins with as its buffer for writing.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;
/// h2 takes no further frame when less than this is free, so that only a frame with content can reach into it.
const WRITE_RESERVE_BYTES: usize = 1024 + HEAD_BYTES;

const fn ping(flags: u8) -> [u8; 17] {
    let [a, b, c, d, e, f, g, h] = OPAQUE;
    [0, 0, 8, 6, flags, 0, 0, 0, 0, a, b, c, d, e, f, g, h]
}

/// A socket, after the connection preface, between an HTTP/2 client and the library that serves it.
#[derive(Debug)]
pub(super) struct Rinsed<S> {
    io: S,
    inbound: Seam,
    outbound: Seam,
    /// Something that may be content has passed since the last rinse.
    soiled: bool,
    /// Something has passed since the quiet was last looked at.
    stirred: bool,
    quiet: Alarm,
    /// The largest space that was offered to read into.
    space: usize,
    /// The most that came to be written from one buffer, and since the last rinse.
    most_written: usize,
    most_written_lately: usize,
    /// What the library reads at the moment instead of the socket.
    rinse: Option<Rinse>,
    /// Answers to our own PINGs are looked for.
    sifting: bool,
    pongs_due: usize,
    /// What was left when they were taken out.
    held: Vec<u8>,
}

impl<S> Rinsed<S> {
    pub(super) fn new(io: S) -> Self {
        Self {
            io,
            inbound: Seam::default(),
            outbound: Seam::default(),
            soiled: false,
            stirred: false,
            quiet: Alarm::default(),
            space: 0,
            most_written: 0,
            most_written_lately: 0,
            rinse: None,
            sifting: false,
            pongs_due: 0,
            held: Vec::new(),
        }
    }

    /// Something has passed: a rinse is worth its while only if it may have been content.
    fn stir(&mut self) {
        self.soiled |= std::mem::take(&mut self.inbound.carried) | std::mem::take(&mut self.outbound.carried);
        self.stirred = true;
    }

    /// Whether the connection has been quiet for long enough, and is between two frames.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        while self.soiled && self.quiet.rings(cx, PAUSE) {
            self.quiet.clear();
            let stirred = std::mem::take(&mut self.stirred);
            if !stirred && !self.sifting && self.inbound.is_whole() && self.outbound.is_whole() {
                return true;
            }
        }
        false
    }

    fn begin(&mut self) {
        // A buffer is at most twice the largest space in it, for the library makes room by doubling. Twice again, because what is read
        // need not begin at its front.
        let zeros = (4 * self.space).div_ceil(PAYLOAD_BYTES);
        let brimful = self.most_written_lately > WRITE_BUFFER_BYTES - WRITE_RESERVE_BYTES;
        let after = if brimful {
            // Content may stand where no answer to a PING reaches. That takes 16 KiB of small answers at once, so it is rare
            // enough to end the connection for, in good order, as the client itself would.
            Frames {
                frame: GOAWAY,
                count: 1,
            }
        } else {
            let size = WRITE_BUFFER_BYTES.max(2 * self.most_written);
            Frames {
                frame: PING,
                count: size.div_ceil(PING.len()),
            }
        };
        if !brimful {
            self.pongs_due = after.count;
            self.sifting = true;
        }
        self.soiled = false;
        self.most_written_lately = 0;
        self.rinse = Some(Rinse { zeros, after, at: 0 });
    }

    fn note_write(&mut self, cx: &mut Context<'_>, first: usize) {
        self.stir();
        self.most_written = self.most_written.max(first);
        self.most_written_lately = self.most_written_lately.max(first);
        // Who writes last may not read again before the connection falls quiet.
        while self.quiet.rings(cx, PAUSE) {
            self.quiet.clear();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rinsed<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.rinse.is_none() {
            this.space = this.space.max(out.remaining());
            let before = out.filled().len();
            if let Poll::Ready(read) = Pin::new(&mut this.io).poll_read(cx, out) {
                let fresh = out.filled().get(before..).unwrap_or_default();
                this.inbound.pass(fresh, &mut 0, |_| {});
                this.stir();
                return Poll::Ready(read);
            }
            if !this.is_due(cx) {
                return Poll::Pending;
            }
            this.begin();
        }
        if let Some(rinse) = &mut this.rinse {
            rinse.fill(out);
            if rinse.is_over() {
                this.rinse = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Rinsed<S> {
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.drain(..written);
        }
        self.held = Vec::new();
        Poll::Ready(Ok(()))
    }

    /// Takes everything, and passes on what is not an answer to our own PING.
    fn poll_sift(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.poll_held(cx))?;
        let mut taken = 0;
        for slice in slices {
            let held = &mut self.held;
            self.outbound
                .pass(slice, &mut self.pongs_due, |kept| held.extend_from_slice(kept));
            taken += slice.len();
        }
        self.sifting = self.pongs_due > 0 || !self.outbound.is_between_heads();
        self.soiled |= std::mem::take(&mut self.outbound.carried);
        // What the socket does not take now is taken with the next write or flush.
        if let Poll::Ready(Err(error)) = self.poll_held(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(taken))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rinsed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.sifting {
            return this.poll_sift(cx, slices);
        }
        // What the library writes from its buffer begins with a frame; what is written from elsewhere is a frame's payload.
        let from_buffer = slices.first().filter(|_| this.outbound.is_between_frames());
        this.note_write(cx, from_buffer.map_or(0, |first| first.len()));
        ready!(this.poll_held(cx))?;
        let written = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, slices))?;
        let mut left = written;
        for slice in slices {
            let (now, _) = slice.split_at(left.min(slice.len()));
            this.outbound.pass(now, &mut 0, |_| {});
            left -= now.len();
        }
        this.stir();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_held(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_held(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

/// What is read instead of the socket: frames of zeros, then small frames.
#[derive(Debug)]
struct Rinse {
    zeros: usize,
    after: Frames,
    /// How far the present frame is.
    at: usize,
}

#[derive(Debug)]
struct Frames {
    frame: [u8; 17],
    count: usize,
}

impl Rinse {
    const fn is_over(&self) -> bool {
        self.zeros == 0 && self.after.count == 0
    }

    fn fill(&mut self, out: &mut ReadBuf<'_>) {
        while out.remaining() > 0 && !self.is_over() {
            let (fixed, length) = if self.zeros > 0 {
                (&ZEROS_HEAD[..], HEAD_BYTES + PAYLOAD_BYTES)
            } else {
                (&self.after.frame[..], self.after.frame.len())
            };
            let now = if let Some(rest) = fixed.get(self.at..).filter(|rest| !rest.is_empty()) {
                let (now, _) = rest.split_at(rest.len().min(out.remaining()));
                out.put_slice(now);
                now.len()
            } else {
                let now = (length - self.at).min(out.remaining());
                out.initialize_unfilled_to(now).fill(0);
                out.advance(now);
                now
            };
            self.at += now;
            if self.at == length {
                self.at = 0;
                let count = if self.zeros > 0 {
                    &mut self.zeros
                } else {
                    &mut self.after.count
                };
                *count -= 1;
            }
        }
    }
}

/// Follows one direction of a connection from frame to frame.
#[derive(Debug, Default)]
struct Seam {
    /// The head that is passing; an answer to a PING, whole.
    frame: [u8; 17],
    have: usize,
    /// What is to come of the payload.
    left: usize,
    /// Only a CONTINUATION may follow.
    in_header_block: bool,
    /// The frame that is passing may carry content.
    carries: bool,
    /// Such a frame has passed, or a part of one.
    carried: bool,
}

impl Seam {
    /// Whether another frame could come now.
    const fn is_whole(&self) -> bool {
        self.is_between_frames() && !self.in_header_block
    }

    const fn is_between_frames(&self) -> bool {
        self.is_between_heads() && self.left == 0
    }

    /// Whether no part of a head is kept.
    const fn is_between_heads(&self) -> bool {
        self.have == 0
    }

    /// Follows these bytes, and gives them to `keep`, but for as many of our own PING's answers as are `due`.
    fn pass(&mut self, mut bytes: &[u8], due: &mut usize, mut keep: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let (now, later) = bytes.split_at(self.left.min(bytes.len()));
                keep(now);
                self.left -= now.len();
                self.carried |= self.carries;
                bytes = later;
                continue;
            }
            let wanted = if self.frame.get(..self.have) == Some(&PONG_HEAD[..]) || self.have > HEAD_BYTES {
                PONG.len()
            } else {
                HEAD_BYTES
            };
            let (now, later) = bytes.split_at((wanted - self.have).min(bytes.len()));
            bytes = later;
            for (place, byte) in self.frame.iter_mut().skip(self.have).zip(now) {
                *place = *byte;
            }
            self.have += now.len();
            let seen = self.frame.get(..self.have).unwrap_or_default();
            if self.have < wanted || seen == PONG_HEAD {
                continue;
            }
            if *due > 0 && seen == PONG {
                *due -= 1;
            } else {
                keep(seen);
            }
            self.follow();
        }
    }

    /// Takes the length and what may come next from a head.
    fn follow(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.frame;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.left = length - (self.have - HEAD_BYTES).min(length);
        self.have = 0;
        // PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY and WINDOW_UPDATE speak of the connection (sections 6.3 to 6.9). Long ones
        // may carry anything.
        self.carries = !matches!(kind, 2..=4 | 6..=8) || length > MOST_OF_CONTROL;
        self.carried |= self.carries;
        // HEADERS, PUSH_PROMISE, CONTINUATION and their END_HEADERS (sections 6.2, 6.6, 6.10).
        if matches!(kind, 1 | 5 | 9) {
            self.in_header_block = flags & 4 == 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::{Instant, sleep, timeout};

    use super::*;

    const DATA: &[u8] = b"\0\0\x07\0\0\0\0\0\x01content";
    const OPEN_HEADERS: &[u8] = b"\0\0\x01\x01\0\0\0\0\x01x";

    async fn rinsed(bytes: &[u8]) -> (DuplexStream, Rinsed<DuplexStream>) {
        let (mut client, io) = duplex(1 << 20);
        client.write_all(bytes).await.unwrap();
        let mut rinsed = Rinsed::new(io);
        let mut read = vec![0; bytes.len()];
        rinsed.read_exact(&mut read).await.unwrap();
        assert_eq!(read, bytes);
        (client, rinsed)
    }

    /// All that is read without waiting for more than a moment.
    async fn rinse(rinsed: &mut Rinsed<DuplexStream>) -> Vec<u8> {
        let mut read = Vec::new();
        let mut buffer = vec![0xa5; 8192];
        while let Ok(count) = timeout(2 * PAUSE, rinsed.read(&mut buffer)).await {
            read.extend_from_slice(&buffer[..count.unwrap()]);
        }
        read
    }

    /// The heads of these frames, and how many of each follow each other.
    fn heads(mut bytes: &[u8]) -> Vec<(Vec<u8>, usize)> {
        let mut heads: Vec<(Vec<u8>, usize)> = Vec::new();
        while let Some((head, rest)) = bytes.split_at_checked(HEAD_BYTES) {
            let length = usize::from(head[1]) << 8 | usize::from(head[2]);
            match heads.last_mut() {
                Some((last, count)) if last == head => *count += 1,
                _ => heads.push((head.to_vec(), 1)),
            }
            bytes = &rest[length..];
        }
        assert!(bytes.is_empty(), "a frame is not whole");
        heads
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_connection_reads_frames_that_say_nothing_once() {
        let (_client, mut io) = rinsed(DATA).await;
        let start = Instant::now();
        let heads = heads(&rinse(&mut io).await);
        assert!(start.elapsed() < Duration::from_secs(2));
        let (zeros, pings) = (&heads[0], &heads[1]);
        assert_eq!(zeros.0, ZEROS_HEAD);
        assert!(zeros.1 * PAYLOAD_BYTES >= 4 * 8192);
        assert_eq!(pings.0, PING[..HEAD_BYTES]);
        assert!(pings.1 * PING.len() >= WRITE_BUFFER_BYTES);
        assert_eq!(heads.len(), 2);
        sleep(Duration::from_secs(60)).await;
        assert!(rinse(&mut io).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_speaks_of_the_connection_alone_needs_no_rinse() {
        let ping = b"\0\0\x08\x06\0\0\0\0\0opaque..";
        let settings = b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\xff\xff";
        let (_client, mut quiet) = rinsed(&[&ping[..], &settings[..]].concat()).await;
        quiet.write_all(b"\0\0\0\x04\x01\0\0\0\0").await.unwrap();
        assert!(rinse(&mut quiet).await.is_empty());
        // A long one does.
        let long = [&b"\0\0\x50\x07\0\0\0\0\0"[..], &[0x61; 0x50]].concat();
        let (_client, mut soiled) = rinsed(&long).await;
        assert!(!rinse(&mut soiled).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_comes_between_the_parts_of_a_frame_or_of_a_header_block() {
        for part in [&DATA[..4], &DATA[..12], OPEN_HEADERS] {
            let (mut client, mut io) = rinsed(part).await;
            assert!(rinse(&mut io).await.is_empty(), "{part:?}");
            let rest: &[u8] = match part.len() {
                10 => b"\0\0\0\x09\x04\0\0\0\x01",
                some => &DATA[some..],
            };
            client.write_all(rest).await.unwrap();
            assert!(rinse(&mut io).await.len() > rest.len(), "{part:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_client_sees_no_answer_to_what_it_did_not_ask() {
        let (mut client, mut io) = rinsed(DATA).await;
        let heads = heads(&rinse(&mut io).await);
        let mut clients = PONG;
        clients[9] = b'c';
        // In pieces that cut frames, with the client's own PING answered in the middle.
        let half = PONG.repeat(heads[1].1 / 2);
        let rest = PONG.repeat(heads[1].1 - heads[1].1 / 2);
        let written = [&half[..], &clients, &rest, DATA].concat();
        for piece in written.chunks(13) {
            io.write_all(piece).await.unwrap();
        }
        io.write_all(&PONG).await.unwrap();
        io.flush().await.unwrap();
        let expected = [&clients[..], DATA, &PONG].concat();
        let mut read = vec![0; expected.len()];
        client.read_exact(&mut read).await.unwrap();
        assert_eq!(read, expected);
        assert!(timeout(PAUSE, client.read_u8()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_written_last_is_rinsed_too() {
        let (_client, mut io) = rinsed(DATA).await;
        let due = heads(&rinse(&mut io).await)[1].1;
        io.write_all(&PONG.repeat(due)).await.unwrap();
        io.write_all(DATA).await.unwrap();
        assert!(!rinse(&mut io).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_brimful_buffer_ends_the_connection_in_good_order() {
        let (_client, mut io) = rinsed(DATA).await;
        let mut large = ZEROS_HEAD.to_vec();
        large.resize(HEAD_BYTES + PAYLOAD_BYTES, 0);
        io.write_all(&large).await.unwrap();
        let heads = heads(&rinse(&mut io).await);
        assert_eq!(heads[1], (GOAWAY[..HEAD_BYTES].to_vec(), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_payload_fills_no_buffer() {
        let (_client, mut io) = rinsed(DATA).await;
        io.write_all(&ZEROS_HEAD).await.unwrap();
        io.write_all(&[0; PAYLOAD_BYTES]).await.unwrap();
        let heads = heads(&rinse(&mut io).await);
        assert_eq!(heads[1].0, PING[..HEAD_BYTES]);
    }
}
