//! Bodies of answers, and how they are read whole.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::Sleep;

use super::drive::Driven;
use super::{ANSWER_TIMEOUT, Stalled};
use crate::body::BoxError;
use crate::telemetry::ExchangeNote;

/// The body of an answer. It breaks off when it makes no progress for too long: nobody waits for a stalled Meta for ever.
#[derive(Debug)]
pub struct AnswerBody<B = Driven> {
    body: B,
    /// Runs while the next frame is waited for. Most answers come in one piece with their head and need none.
    alarm: Option<Pin<Box<Sleep>>>,
    /// How often the request was begun anew.
    resent: u32,
    /// What is told of the exchange, which ends with the body.
    note: Option<ExchangeNote>,
}

impl<B> AnswerBody<B> {
    pub(super) const fn new(body: B) -> Self {
        Self {
            body,
            alarm: None,
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

    /// The same, and `note` is told what comes.
    #[must_use]
    pub fn noted(mut self, note: ExchangeNote) -> Self {
        self.note = Some(note);
        self
    }

    fn note(&mut self, frame: Option<&Result<Frame<Bytes>, BoxError>>) {
        match (frame, &mut self.note) {
            (_, None) => {}
            (Some(Ok(frame)), Some(note)) => {
                if let Some(data) = frame.data_ref() {
                    note.passed(data);
                }
            }
            (Some(Err(_)), Some(note)) => {
                note.broken();
                self.note = None;
            }
            (None, Some(_)) => self.note = None,
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
            Poll::Ready(frame) => {
                this.alarm = None;
                frame.map(|frame| frame.map_err(Into::into))
            }
            Poll::Pending => {
                let alarm = this
                    .alarm
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(ANSWER_TIMEOUT)));
                ready!(alarm.as_mut().poll(cx));
                Some(Err(BoxError::from(Stalled)))
            }
        };
        this.note(frame.as_ref());
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
}

/// Collects a body of at most `most` bytes. One that comes in one frame is not copied.
///
/// # Errors
///
/// When it is larger, or breaks off.
pub async fn collect<B>(mut body: B, most: usize) -> Result<Bytes, CollectError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
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
    use tokio::sync::mpsc;
    use tokio::time::Instant;

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
        tokio::spawn(async move {
            for _ in 0..5 {
                tokio::time::advance(ANSWER_TIMEOUT / 2).await;
                sender.send(Bytes::from_static(b"ab")).unwrap();
            }
        });
        assert_eq!(collect(body, 100).await.unwrap(), "ababababab");
    }
}
