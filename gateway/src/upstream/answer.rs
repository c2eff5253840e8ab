//! Bodies of answers, and how they are read whole.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::drive::Driven;
use super::{ANSWER_TIMEOUT, Stalled};
use crate::body::BoxError;
use crate::guard::Ticket;
use crate::server::Trickle;
use crate::telemetry::ExchangeNote;

/// What an answer must bring, or end, within [`ANSWER_TIMEOUT`] of being waited for, in bytes: one KiB a second. Meta's answers but
/// pages and media are smaller, so these are whole by then.
const LEAST_BYTES: u64 = 60 * 1024;

/// The body of an answer. It breaks off when it comes too slowly: nobody waits for a stalled Meta for ever.
#[derive(Debug)]
pub struct AnswerBody<B = Driven> {
    body: B,
    trickle: Trickle,
    /// The exchange's place, and what is told of it. It ends with the body.
    ticket: Option<Ticket>,
    /// How often the request was begun anew.
    resent: u32,
    /// What is told of the exchange, which ends with the body.
    note: Option<ExchangeNote>,
}

impl<B> AnswerBody<B> {
    pub(super) const fn new(body: B) -> Self {
        Self {
            body,
            trickle: Trickle::new(ANSWER_TIMEOUT, LEAST_BYTES),
            ticket: None,
            resent: 0,
            note: None,
        }
    }

    /// The same, of a request that was begun anew so often.
    pub(super) const fn after(mut self, resent: u32) -> Self {
        self.resent = resent;
        self
    }

    /// How often the request was begun anew, before a byte of it was written.
    #[must_use]
    pub const fn resent(&self) -> u32 {
        self.resent
    }

    /// The same, and `ticket` is told what comes of it.
    #[must_use]
    pub fn watched(mut self, ticket: Ticket) -> Self {
        self.ticket = Some(ticket);
        self
    }

    /// The same, and `note` is told what comes of it.
    #[must_use]
    pub fn noted(mut self, note: ExchangeNote) -> Self {
        self.note = Some(note);
        self
    }

    fn tell(&mut self, frame: Option<&Result<Frame<Bytes>, BoxError>>) {
        match frame {
            Some(Ok(frame)) => {
                let Some(data) = frame.data_ref() else { return };
                if let Some(ticket) = &mut self.ticket {
                    ticket.passed(data);
                }
                if let Some(note) = &mut self.note {
                    note.passed(data);
                }
            }
            Some(Err(_)) => {
                if let Some(ticket) = self.ticket.take() {
                    ticket.broken();
                }
                if let Some(mut note) = self.note.take() {
                    note.broken();
                }
            }
            None => {
                if let Some(ticket) = self.ticket.take() {
                    ticket.ended();
                }
                self.note = None;
            }
        }
    }
}

impl<B> Body for AnswerBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => frame.map(|frame| frame.map_err(Into::into)),
            Poll::Pending if this.trickle.is_late(cx) => Some(Err(BoxError::from(Stalled))),
            Poll::Pending => return Poll::Pending,
        };
        if let Some(Ok(frame)) = &frame {
            this.trickle.came(frame.data_ref().map_or(0, Bytes::len));
        }
        this.tell(frame.as_ref());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Why a body was not collected.
#[derive(Debug)]
pub enum CollectError {
    /// It is larger than allowed.
    TooLarge,
    /// It broke off.
    Broken(BoxError),
    /// There is no room for more of it.
    NoRoom,
}

/// Collects a body of at most `most` bytes. One that comes in one frame is not copied.
///
/// # Errors
///
/// When it is larger, or breaks off.
pub async fn collect<B>(body: B, most: usize) -> Result<Bytes, CollectError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    collect_within(body, most, |_| true).await
}

/// The same, as long as there is room: before each frame is read, `has_room` is asked whether there is for what was read so far, in
/// bytes, and what comes next.
///
/// # Errors
///
/// When it is larger, breaks off, or finds no room.
pub async fn collect_within<B>(
    mut body: B,
    most: usize,
    mut has_room: impl FnMut(usize) -> bool,
) -> Result<Bytes, CollectError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        if !has_room(first.len() + rest.len()) {
            return Err(CollectError::NoRoom);
        }
        let Some(frame) = body.frame().await else { break };
        let frame = frame.map_err(|error| CollectError::Broken(error.into()))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > most {
            return Err(CollectError::TooLarge);
        }
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
                first = Bytes::new();
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::StreamBody;
    use std::time::Duration;
    use tokio::sync::mpsc;
    use tokio::time::{Instant, sleep};

    use super::*;

    /// A body of what is sent to it.
    fn body() -> (
        mpsc::UnboundedSender<Bytes>,
        AnswerBody<impl Body<Data = Bytes, Error = Infallible> + Unpin>,
    ) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let frames =
            futures_util::stream::unfold(receiver, |mut receiver: mpsc::UnboundedReceiver<Bytes>| async {
                let data = receiver.recv().await?;
                Some((Ok(Frame::data(data)), receiver))
            });
        (sender, AnswerBody::new(StreamBody::new(Box::pin(frames))))
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_answer_is_not_waited_for_for_ever() {
        let (sender, body) = body();
        sender.send(Bytes::from_static(b"{")).unwrap();
        let start = Instant::now();
        let collected = collect(body, 100).await;
        assert!(matches!(collected, Err(CollectError::Broken(_))));
        assert_eq!(start.elapsed(), ANSWER_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_comes_whole() {
        let (sender, body) = body();
        let piece = Bytes::from(vec![b'x'; 31 * 1024]);
        tokio::spawn(async move {
            for _ in 0..10 {
                sleep(ANSWER_TIMEOUT / 2 - Duration::from_secs(1)).await;
                sender.send(piece.clone()).unwrap();
            }
        });
        assert_eq!(collect(body, 1 << 20).await.unwrap().len(), 310 * 1024);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_not_waited_for_for_ever() {
        let (sender, body) = body();
        tokio::spawn(async move {
            while sender.send(Bytes::from_static(b"x")).is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        let start = Instant::now();
        assert!(matches!(collect(body, 1000).await, Err(CollectError::Broken(_))));
        assert_eq!(start.elapsed(), ANSWER_TIMEOUT);
    }
}
