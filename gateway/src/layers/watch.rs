//! Watches every request: one log line each, refusals and failures too.
//!
//! It is outermost. What it writes holds ids, names and durations; never a body, a recipient, a URL or a token.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

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
            line: Line {
                record,
                clock: self.clock.clone(),
                started,
                is_written: false,
            },
        }
    }
}

pin_project! {
    /// The answer, and its log line.
    pub struct WatchFuture<F> {
        #[pin]
        inner: F,
        line: Line,
    }
}

/// A request's log line, written once: when the answer is there, or when nobody waits for it any more. What the caller did
/// not wait for may have reached Meta all the same.
struct Line {
    record: Arc<Record>,
    clock: Clock,
    started: Moment,
    is_written: bool,
}

impl Line {
    /// Writes it, with status 0 where there was none.
    fn write(&mut self, status: u16, reason: Option<&str>, outcome: Option<&str>) {
        self.is_written = true;
        tracing::info!(
            caller = self.record.caller_name(),
            operation = self.record.operation_name(),
            number = self.record.number_id(),
            status,
            reason,
            outcome,
            observed = self.record.observed_slug(),
            unverified = self.record.unverified_use(),
            waited_micros = self.record.wait().map(micros),
            micros = micros(self.clock.monotonic().since(self.started)),
            "request"
        );
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.is_written {
            self.write(0, None, Some("caller gone"));
        }
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
        let record = &this.line.record;
        let reused = record.is_reused().then_some("reused");
        let outcome = reused.or(record.is_replayed().then_some("replayed"));
        this.line.write(answer.status().as_u16(), reason, outcome);
        Poll::Ready(Ok(answer))
    }
}
