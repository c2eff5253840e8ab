//! A medium that goes past the cache: straight through, and checked all the same.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aws_lc_rs::digest::{self, SHA256};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::MOST_BYTES;
use crate::body::BoxError;
use crate::clock::{Clock, Deadline};
use crate::graph::answer::MediaContent;
use crate::stores::media_cache::{EndReason, Failure, MediaKey};

/// A body of which each frame is given on when the next has come, and the last when the whole was found to be what Meta
/// says. So nothing short or wrong ever ends as if it were whole; and nothing comes after the medium's own end.
pub struct CheckedBody<B> {
    key: MediaKey,
    body: B,
    size: Option<u64>,
    sha256: Option<[u8; 32]>,
    /// The medium's end; `None` where it has passed, and does not count.
    deadline: Option<Deadline>,
    clock: Clock,
    digest: Option<digest::Context>,
    passed: u64,
    /// What has come, and waits for what comes after it.
    held: Option<Bytes>,
    /// What may be given on at once.
    next: Option<Bytes>,
    is_over: bool,
}

impl<B> CheckedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// The `body` of `key`, which is to be `content`, until `deadline`.
    pub(super) fn new(
        key: MediaKey,
        body: B,
        content: &MediaContent,
        deadline: Option<Deadline>,
        clock: Clock,
    ) -> Self {
        Self {
            key,
            body,
            size: content.size,
            sha256: content.sha256,
            deadline,
            clock,
            digest: content.sha256.map(|_| digest::Context::new(&SHA256)),
            passed: 0,
            held: None,
            next: None,
            is_over: false,
        }
    }

    /// Waits until there is something to give on, or the end: what fails before can still be answered as what it is.
    pub(super) async fn begin(&mut self) -> Result<(), EndReason> {
        match self.frame().await {
            Some(Ok(frame)) => self.next = frame.into_data().ok(),
            Some(Err(reason)) => return Err(reason),
            None => {}
        }
        Ok(())
    }

    fn poll_checked(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, EndReason>>> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(Some(Ok(next)));
        }
        while !self.is_over {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            if self.deadline.is_some_and(|deadline| self.clock.is_past(deadline)) {
                return Poll::Ready(self.fail(EndReason::Deadline));
            }
            match frame {
                Some(Ok(frame)) => {
                    let Ok(bytes) = frame.into_data() else { continue };
                    if bytes.is_empty() {
                        continue;
                    }
                    if let Err(failure) = self.take_in(&bytes) {
                        return Poll::Ready(self.fail(failure.into()));
                    }
                    if let Some(before) = self.held.replace(bytes) {
                        return Poll::Ready(Some(Ok(before)));
                    }
                }
                Some(Err(_)) => return Poll::Ready(self.fail(Failure::BrokenOff.into())),
                None => {
                    self.is_over = true;
                    if let Err(failure) = self.check() {
                        return Poll::Ready(self.fail(failure.into()));
                    }
                    return Poll::Ready(self.held.take().map(Ok));
                }
            }
        }
        Poll::Ready(None)
    }

    fn take_in(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.passed = self.passed.saturating_add(count);
        if self.passed > self.size.unwrap_or(MOST_BYTES) {
            return Err(Failure::TooLong);
        }
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), Failure> {
        if self.size.is_some_and(|size| self.passed < size) {
            return Err(Failure::TooShort);
        }
        let digest = self.digest.take().map(digest::Context::finish);
        match (&digest, &self.sha256) {
            (Some(digest), Some(expected)) if digest.as_ref() != expected => Err(Failure::WrongDigest),
            _ => Ok(()),
        }
    }

    fn fail(&mut self, reason: EndReason) -> Option<Result<Bytes, EndReason>> {
        self.is_over = true;
        self.held = None;
        if matches!(reason, EndReason::Failed(_)) {
            let MediaKey { number, media } = self.key;
            tracing::warn!(number = number.get(), media = media.get(), %reason, "media download broke off");
        }
        Some(Err(reason))
    }
}

impl<B> Body for CheckedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = EndReason;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EndReason>>> {
        self.get_mut()
            .poll_checked(cx)
            .map(|bytes| bytes.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over && self.next.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let taken = [&self.held, &self.next].into_iter().flatten();
        let waiting: u64 = taken
            .map(|bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            .sum();
        match self.size {
            Some(size) => SizeHint::with_exact(size.saturating_sub(self.passed).saturating_add(waiting)),
            None => SizeHint::default(),
        }
    }
}

impl<B> fmt::Debug for CheckedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedBody")
            .field("key", &self.key)
            .field("size", &self.size)
            .field("passed", &self.passed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use curfew_policies::Timestamp;
    use futures_util::FutureExt as _;
    use http::HeaderValue;
    use http_body_util::StreamBody;
    use proptest::prelude::*;

    use super::*;

    type Pieces = Vec<Vec<u8>>;

    fn key() -> MediaKey {
        MediaKey {
            number: "1".parse().unwrap(),
            media: "2".parse().unwrap(),
        }
    }

    fn content(bytes: &[u8], size: Option<u64>, is_right: bool) -> MediaContent {
        let mut sha256: [u8; 32] = digest::digest(&SHA256, bytes).as_ref().try_into().unwrap();
        if !is_right {
            sha256[7] ^= 1;
        }
        MediaContent {
            content_type: HeaderValue::from_static("image/png"),
            size,
            sha256: Some(sha256),
        }
    }

    /// What comes out, and whether it ends as if it were whole.
    fn through(pieces: &Pieces, content: &MediaContent) -> (Vec<u8>, Result<(), EndReason>) {
        let (clock, _time) = Clock::manual(Timestamp::from_millis(1_000_000));
        let frames: Vec<Result<_, Infallible>> = pieces
            .iter()
            .map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))))
            .collect();
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let mut body = CheckedBody::new(key(), body, content, None, clock);
        let mut out = Vec::new();
        if let Err(reason) = body.begin().now_or_never().unwrap() {
            return (out, Err(reason));
        }
        let announced = body.size_hint().exact();
        assert_eq!(announced, content.size);
        while let Some(frame) = body.frame().now_or_never().unwrap() {
            match frame {
                Ok(frame) => out.extend_from_slice(&frame.into_data().unwrap()),
                Err(reason) => return (out, Err(reason)),
            }
        }
        assert!(body.is_end_stream());
        (out, Ok(()))
    }

    proptest! {
        #[test]
        fn only_what_meta_describes_ends_as_if_it_were_whole(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8),
            size in proptest::option::of(-3i64..=3),
            is_right: bool,
        ) {
            let whole = pieces.concat();
            let len = i64::try_from(whole.len()).unwrap();
            let size = size.map(|off| u64::try_from((len + off).max(0)).unwrap());
            let is_size_right = size.is_none_or(|size| size == u64::try_from(whole.len()).unwrap());
            let (out, end) = through(&pieces, &content(&whole, size, is_right));
            prop_assert!(whole.starts_with(&out));
            if is_right && is_size_right {
                prop_assert_eq!(end, Ok(()));
                prop_assert_eq!(out, whole);
            } else {
                prop_assert!(matches!(end, Err(EndReason::Failed(failure)) if failure.is_of_integrity()));
                // What was held back is not nothing, unless there was nothing.
                prop_assert!(whole.is_empty() || out.len() < whole.len());
            }
        }
    }

    #[test]
    fn nothing_comes_after_the_mediums_end() {
        let (clock, time) = Clock::manual(Timestamp::from_millis(1_000_000));
        let frames: Vec<Result<_, Infallible>> = (0..4_u8)
            .map(|byte| Ok(Frame::data(Bytes::from(vec![byte; 10]))))
            .collect();
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let life = std::time::Duration::from_secs(1);
        let whole: Vec<u8> = (0..4).flat_map(|byte| vec![byte; 10]).collect();
        let content = content(&whole, Some(40), true);
        let mut body = CheckedBody::new(key(), body, &content, Some(clock.deadline(life)), clock);
        let mut frame = || body.frame().now_or_never().unwrap();
        assert_eq!(frame().unwrap().unwrap().into_data().unwrap()[..], [0; 10]);
        time.advance(life);
        assert_eq!(frame().unwrap().unwrap_err(), EndReason::Deadline);
        assert!(frame().is_none());
    }
}
