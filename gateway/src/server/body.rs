//! The request body as layers read it: bounded in size, and in how slowly it may come.

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::FrontDoorRefusal;
use super::limits::FrontDoorLimits;
use super::trickle::Trickle;

/// Fewer bytes than this within one idle timeout are no progress, so that a client cannot hold a connection by
/// sending a byte now and then.
const PROGRESS_BYTES: u64 = 1024;

pin_project! {
    /// A request body that fails when, within [`body_idle_timeout`](FrontDoorLimits::body_idle_timeout) of being waited for, it
    /// brings fewer bytes than [`body_min_bytes_per_s`](FrontDoorLimits::body_min_bytes_per_s) makes of that time, or less than 1 KiB,
    /// and not its end; or when it brings more than [`upload_bytes`](FrontDoorLimits::upload_bytes) in all. Trailers are dropped.
    ///
    /// Only waiting counts, so that a slow reader does not make the client late.
    #[derive(Debug)]
    pub struct IdleTimeoutBody<B> {
        #[pin]
        inner: B,
        trickle: Trickle,
        bytes_left: u64,
        ended: bool,
    }
}

impl<B> IdleTimeoutBody<B> {
    /// Bounds `inner` by `limits`.
    pub fn new(inner: B, limits: &FrontDoorLimits) -> Self {
        let millis = u64::try_from(limits.body_idle_timeout.as_millis()).unwrap_or(u64::MAX);
        let least = limits.body_min_bytes_per_s.saturating_mul(millis) / 1000;
        Self {
            inner,
            trickle: Trickle::new(limits.body_idle_timeout, least.max(PROGRESS_BYTES)),
            bytes_left: limits.upload_bytes,
            ended: false,
        }
    }
}

/// Why a request body ended early.
#[derive(Debug)]
pub enum BodyReadError {
    /// The body broke a rule of the front door; the connection will close.
    Refused(FrontDoorRefusal),
    /// The client went away or the connection broke.
    Broken(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for BodyReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Broken(_) => f.write_str("the request body ended early"),
        }
    }
}

impl Error for BodyReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Broken(error) => Some(error.as_ref()),
        }
    }
}

impl<B> Body for IdleTimeoutBody<B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = B::Data;
    type Error = BodyReadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BodyReadError>>> {
        let mut this = self.project();
        let error = loop {
            if *this.ended {
                return Poll::Ready(None);
            }
            match this.inner.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Some(data) = frame.data_ref() else { continue };
                    let len = data.remaining();
                    this.trickle.came(len);
                    match this
                        .bytes_left
                        .checked_sub(u64::try_from(len).unwrap_or(u64::MAX))
                    {
                        Some(left) => *this.bytes_left = left,
                        None => break BodyReadError::Refused(FrontDoorRefusal::BodyTooLarge),
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Err(error))) => {
                    let error = error.into();
                    break match FrontDoorRefusal::of_error(error.as_ref()) {
                        Some(refusal) => BodyReadError::Refused(refusal),
                        None => BodyReadError::Broken(error),
                    };
                }
                Poll::Ready(None) => *this.ended = true,
                Poll::Pending if this.trickle.is_late(cx) => {
                    break BodyReadError::Refused(FrontDoorRefusal::BodyTimeout);
                }
                Poll::Pending => return Poll::Pending,
            }
        };
        *this.ended = true;
        Poll::Ready(Some(Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.ended {
            SizeHint::with_exact(0)
        } else {
            self.inner.size_hint()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures_util::{StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    fn limits() -> FrontDoorLimits {
        FrontDoorLimits {
            upload_bytes: 1024 * 1024,
            ..FrontDoorLimits::default()
        }
    }

    /// A body of pieces of `size` bytes, each `pause` after the one before.
    fn trickle(size: usize, pause: Duration, count: usize) -> impl Body<Data = Bytes, Error = Infallible> {
        let frames = stream::iter(0..count).then(move |_| async move {
            sleep(pause).await;
            Ok(Frame::data(Bytes::from(vec![b'x'; size])))
        });
        StreamBody::new(frames)
    }

    async fn collect(body: impl Body<Data = Bytes, Error = Infallible>) -> Result<usize, FrontDoorRefusal> {
        let body = IdleTimeoutBody::new(Box::pin(body), &limits());
        match body.collect().await {
            Ok(collected) => Ok(collected.to_bytes().len()),
            Err(BodyReadError::Refused(refusal)) => Err(refusal),
            Err(BodyReadError::Broken(error)) => panic!("{error}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_makes_progress_may_take_long() {
        let piece = 16 * 1024;
        assert_eq!(
            collect(trickle(piece, Duration::from_secs(14), 20)).await,
            Ok(20 * piece)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_below_the_least_rate_ends_after_the_time_that_it_is_reckoned_over() {
        let start = Instant::now();
        assert_eq!(
            collect(trickle(1000, Duration::from_secs(1), 1000)).await,
            Err(FrontDoorRefusal::BodyTimeout)
        );
        assert_eq!(start.elapsed().as_secs(), 30);
        // Until then it may be as slow as it likes.
        assert_eq!(collect(trickle(10, Duration::from_secs(1), 29)).await, Ok(290));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_least_rate_some_progress_is_enough() {
        let limits = FrontDoorLimits {
            body_min_bytes_per_s: 0,
            ..limits()
        };
        let body = IdleTimeoutBody::new(Box::pin(trickle(1024, Duration::from_secs(29), 4)), &limits);
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 4096);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_body_ends_at_the_idle_timeout() {
        let start = Instant::now();
        let silent = trickle(1, Duration::from_secs(3600), 1);
        assert_eq!(collect(silent).await, Err(FrontDoorRefusal::BodyTimeout));
        assert_eq!(start.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_no_progress() {
        let start = Instant::now();
        assert_eq!(
            collect(trickle(10, Duration::from_secs(7), 100)).await,
            Err(FrontDoorRefusal::BodyTimeout)
        );
        assert_eq!(start.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_pauses_does_not_make_the_client_late() {
        let body = IdleTimeoutBody::new(Box::pin(trickle(2048, Duration::from_secs(1), 2)), &limits());
        let mut body = std::pin::pin!(body);
        assert!(body.frame().await.unwrap().is_ok());
        sleep(Duration::from_secs(120)).await;
        assert!(body.frame().await.unwrap().is_ok());
        assert!(body.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_size_of_a_body_is_bounded_exactly() {
        let most = 1024 * 1024;
        assert_eq!(collect(trickle(most, Duration::ZERO, 1)).await, Ok(most));
        assert_eq!(
            collect(trickle(most + 1, Duration::ZERO, 1)).await,
            Err(FrontDoorRefusal::BodyTooLarge)
        );
        assert_eq!(
            collect(trickle(most / 3 + 1, Duration::ZERO, 3)).await,
            Err(FrontDoorRefusal::BodyTooLarge)
        );
    }

    #[tokio::test]
    async fn trailers_are_dropped() {
        let frames = [
            Ok(Frame::data(Bytes::from_static(b"x"))),
            Ok::<_, Infallible>(Frame::trailers(Default::default())),
        ];
        let collected = IdleTimeoutBody::new(StreamBody::new(stream::iter(frames)), &limits())
            .collect()
            .await
            .unwrap();
        assert!(collected.trailers().is_none());
        assert_eq!(collected.to_bytes(), "x");
    }
}
