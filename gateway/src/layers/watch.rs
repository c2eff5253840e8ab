//! Watches every request: one log line each, figures and spans, refusals and failures too.
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

use super::download::CURFEW_CACHE;
use crate::call::{Answer, Seen};
use crate::error::CURFEW_REASON;
use crate::record::Record;
use crate::server::ConnInfo;
use crate::telemetry::{End, Telemetry};

/// The layer.
#[derive(Clone, Debug)]
pub struct WatchLayer {
    connection: Arc<ConnInfo>,
    telemetry: Telemetry,
}

impl WatchLayer {
    /// Watches the requests of one connection.
    #[must_use]
    pub const fn new(connection: Arc<ConnInfo>, telemetry: Telemetry) -> Self {
        Self {
            connection,
            telemetry,
        }
    }
}

impl<S> Layer<S> for WatchLayer {
    type Service = Watch<S>;

    fn layer(&self, inner: S) -> Watch<S> {
        Watch {
            inner,
            connection: Arc::clone(&self.connection),
            telemetry: self.telemetry.clone(),
        }
    }
}

/// The service.
#[derive(Clone, Debug)]
pub struct Watch<S> {
    inner: S,
    connection: Arc<ConnInfo>,
    telemetry: Telemetry,
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
        let record = Arc::new(self.telemetry.begin(request.method(), request.headers()));
        let inner = self.inner.call(Seen {
            request,
            record: Arc::clone(&record),
            connection: Arc::clone(&self.connection),
        });
        WatchFuture {
            inner,
            line: Line {
                record,
                telemetry: self.telemetry.clone(),
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

/// A request's log line, and what else is told of it, written once: when the answer is there, or when nobody waits for it any more. What the caller did
/// not wait for may have reached Meta all the same.
struct Line {
    record: Arc<Record>,
    telemetry: Telemetry,
    is_written: bool,
}

impl Line {
    /// Writes it, with status 0 where there was none.
    fn write(&mut self, end: End<'_>, outcome: Option<&str>) {
        self.is_written = true;
        let took = self.telemetry.end(&self.record, end);
        let trace = self.record.trace();
        let End { status, reason, .. } = end;
        tracing::info!(
            caller = self.record.caller_name(),
            operation = self.record.operation_name(),
            number = self.record.number_id(),
            status,
            reason,
            outcome,
            observed = self.record.observed_slug(),
            unverified = self.record.unverified_use(),
            waited_micros = self.record.wait().map(|(_, wait)| micros(wait)),
            micros = micros(took),
            trace_id = trace.map(|trace| tracing::field::display(trace.trace_id())),
            span_id = trace.map(|trace| tracing::field::display(trace.span_id())),
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
            let end = End {
                status: 0,
                reason: None,
                cache: None,
            };
            self.write(end, Some("caller gone"));
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
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let end = End {
            status: answer.status().as_u16(),
            reason: header(CURFEW_REASON),
            cache: header(CURFEW_CACHE),
        };
        let record = &this.line.record;
        let reused = record.is_reused().then_some("reused");
        let outcome = reused.or(record.is_replayed().then_some("replayed"));
        this.line.write(end, outcome);
        Poll::Ready(Ok(answer))
    }
}
