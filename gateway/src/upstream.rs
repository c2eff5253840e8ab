//! The connection to Meta: one pooled client, no silent retries, no redirects.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use thiserror::Error;
use tokio::time::Sleep;
use tower::Service;

use crate::body::{BoxError, Outbound};

/// What Meta answers, its body still coming.
pub type MetaAnswer = http::Response<AnswerBody>;

/// How long a TCP connection to Meta may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an exchange may make no progress: Meta takes no byte of the request, and its answer does not begin.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an unused connection is kept. Content lingers in a connection's buffers, so this is far below the hour of
/// No Storage.
const POOL_IDLE: Duration = Duration::from_secs(60);
/// How often a request that no byte was written of is tried again: pooled connections may have died unseen.
const UNSENT_TRIES: usize = 3;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ExchangeError {
    /// No byte of the request was written.
    #[error("no connection to Meta")]
    Unsent(#[source] BoxError),
    /// Some byte may have been written, and no whole answer came.
    #[error("the exchange with Meta broke off")]
    Broken(#[source] BoxError),
}

/// The client.
#[derive(Clone)]
pub struct Upstream {
    client: Client<HttpsConnector<HttpConnector>, Watched>,
}

impl Upstream {
    /// A client that trusts what `tls` trusts, and speaks clear text where a URL says `http` (the configuration allows
    /// that on loopback only).
    #[must_use]
    pub fn new(tls: rustls::ClientConfig) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            // Ours to decide: only what was not written at all is sent again.
            .retry_canceled_requests(false)
            .http1_max_buf_size(64 * 1024)
            .set_host(true)
            .build(connector);
        Self { client }
    }

    async fn exchange(self, request: Request<Outbound>) -> Result<MetaAnswer, ExchangeError> {
        let (parts, body) = request.into_parts();
        let (mut body, spare) = match body {
            Outbound::Empty => (Outbound::Empty, Some(Bytes::new())),
            Outbound::Whole(body) => {
                let bytes = whole(body);
                (Outbound::json(bytes.clone()), Some(bytes))
            }
            streamed => (streamed, None),
        };
        let mut tries = UNSENT_TRIES;
        loop {
            let (body_now, progress) = Watched::new(body);
            let answer = self.client.request(Request::from_parts(parts.clone(), body_now));
            let error = match in_time(answer, &progress).await {
                Ok(Ok(answer)) => return Ok(answer.map(AnswerBody::new)),
                Ok(Err(error)) => error,
                Err(stalled) => return Err(ExchangeError::Broken(stalled.into())),
            };
            if error.is_connect() {
                return Err(ExchangeError::Unsent(error.into()));
            }
            tries -= 1;
            match &spare {
                Some(bytes) if was_not_written(&error) && tries > 0 => {
                    body = if bytes.is_empty() {
                        Outbound::Empty
                    } else {
                        Outbound::json(bytes.clone())
                    };
                }
                _ if was_not_written(&error) => return Err(ExchangeError::Unsent(error.into())),
                _ => return Err(ExchangeError::Broken(error.into())),
            }
        }
    }
}

/// How many frames of a request body were taken.
type Progress = Arc<AtomicU64>;

/// A request body whose progress can be seen from outside.
struct Watched {
    body: Outbound,
    progress: Progress,
}

impl Watched {
    fn new(body: Outbound) -> (Self, Progress) {
        let progress = Progress::default();
        let watched = Self {
            body,
            progress: Arc::clone(&progress),
        };
        (watched, progress)
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        if frame.is_ready() {
            this.progress.fetch_add(1, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer. It breaks off when it makes no progress for too long: nobody waits for a stalled Meta for ever.
#[derive(Debug)]
pub struct AnswerBody<B = Incoming> {
    body: B,
    /// Runs while the next frame is waited for. Most answers come in one piece with their head and need none.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<B> AnswerBody<B> {
    const fn new(body: B) -> Self {
        Self { body, alarm: None }
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
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.alarm = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let alarm = this
            .alarm
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(ANSWER_TIMEOUT)));
        alarm
            .as_mut()
            .poll(cx)
            .map(|()| Some(Err(BoxError::from(Stalled))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// Waits for an answer as long as the exchange makes progress.
async fn in_time<F: Future>(answer: F, progress: &Progress) -> Result<F::Output, Stalled> {
    let mut answer = pin!(answer);
    let mut seen = 0;
    loop {
        if let Ok(output) = tokio::time::timeout(ANSWER_TIMEOUT, &mut answer).await {
            return Ok(output);
        }
        let now = progress.load(Ordering::Relaxed);
        if now == seen {
            return Err(Stalled);
        }
        seen = now;
    }
}

/// An exchange made no progress for too long.
#[derive(Debug, Error)]
#[error("no progress for {} seconds", ANSWER_TIMEOUT.as_secs())]
struct Stalled;

/// Whether hyper gave the request back before it had taken any of it: the connection was found dead.
fn was_not_written(error: &ClientError) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return error.is_canceled();
        }
        source = error.source();
    }
    false
}

fn whole(body: http_body_util::Full<Bytes>) -> Bytes {
    use futures_util::FutureExt as _;
    // A `Full` body is always ready.
    body.collect()
        .now_or_never()
        .and_then(Result::ok)
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default()
}

impl Service<Request<Outbound>> for Upstream {
    type Response = MetaAnswer;
    type Error = ExchangeError;
    type Future = Pin<Box<dyn Future<Output = Result<MetaAnswer, ExchangeError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Outbound>) -> Self::Future {
        Box::pin(self.clone().exchange(request))
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

    use http_body::Frame;
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
