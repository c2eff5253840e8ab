//! Watches every request: one log line each, refusals and failures too.
//!
//! It is outermost. What it writes holds ids, names and durations; never a body, a recipient, a URL or a token.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::call::{Answer, Seen};
use crate::clock::{Clock, Moment};
use crate::error::CURFEW_REASON;
use crate::record::Record;
use crate::server::ConnInfo;

/// The layer.
#[derive(Clone, Debug)]
pub struct WatchLayer {
    clock: Clock,
    connection: Arc<ConnInfo>,
}

impl WatchLayer {
    /// Watches the requests of one connection.
    #[must_use]
    pub fn new(clock: Clock, connection: Arc<ConnInfo>) -> Self {
        Self { clock, connection }
    }
}

impl<S> Layer<S> for WatchLayer {
    type Service = Watch<S>;

    fn layer(&self, inner: S) -> Watch<S> {
        Watch {
            inner,
            clock: self.clock.clone(),
            connection: Arc::clone(&self.connection),
        }
    }
}

/// The service.
#[derive(Clone, Debug)]
pub struct Watch<S> {
    inner: S,
    clock: Clock,
    connection: Arc<ConnInfo>,
}

impl<S> Service<http::Request<Incoming>> for Watch<S>
where
    S: Service<Seen, Response = Answer, Error = Infallible>,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = WatchFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Incoming>) -> Self::Future {
        let record = Arc::new(Record::default());
        let started = self.clock.monotonic();
        let inner = self.inner.call(Seen {
            request,
            record: Arc::clone(&record),
            connection: Arc::clone(&self.connection),
        });
        WatchFuture {
            inner,
            record,
            clock: self.clock.clone(),
            started,
        }
    }
}

pin_project! {
    /// The answer, and its log line.
    pub struct WatchFuture<F> {
        #[pin]
        inner: F,
        record: Arc<Record>,
        clock: Clock,
        started: Moment,
    }
}

impl<F> Future for WatchFuture<F>
where
    F: Future<Output = Result<Answer, Infallible>>,
{
    type Output = Result<Answer, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(answer) = ready!(this.inner.poll(cx));
        let reason = answer
            .headers()
            .get(CURFEW_REASON)
            .and_then(|value| value.to_str().ok());
        tracing::info!(
            caller = this.record.caller_name(),
            operation = this.record.operation_name(),
            number = this.record.number_id(),
            status = answer.status().as_u16(),
            reason,
            observed = this.record.observed_slug(),
            unverified = this.record.unverified_use(),
            micros =
                u64::try_from(this.clock.monotonic().since(*this.started).as_micros()).unwrap_or(u64::MAX),
            "request"
        );
        Poll::Ready(Ok(answer))
    }
}
