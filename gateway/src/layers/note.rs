//! Notes every exchange with Meta, also those of the gateway's own questions: how long it took, and what Meta said of it.
//!
//! It sits just above the token, so that what is measured is Meta's part and not the gateway's, and it is where Meta is told
//! the trace that its part belongs to, if the configuration says so.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::enforce::Exchange;
use crate::telemetry::{ExchangeNote, Telemetry};
use crate::upstream::{ExchangeError, MetaAnswer};

/// The layer.
#[derive(Clone, Debug)]
pub struct NoteLayer {
    telemetry: Telemetry,
}

impl NoteLayer {
    /// Tells `telemetry` what it sees.
    #[must_use]
    pub const fn new(telemetry: Telemetry) -> Self {
        Self { telemetry }
    }
}

impl<S> Layer<S> for NoteLayer {
    type Service = Note<S>;

    fn layer(&self, inner: S) -> Note<S> {
        Note {
            inner,
            telemetry: self.telemetry.clone(),
        }
    }
}

/// The service.
#[derive(Clone, Debug)]
pub struct Note<S> {
    inner: S,
    telemetry: Telemetry,
}

impl<S> Service<Exchange> for Note<S>
where
    S: Service<Exchange, Response = MetaAnswer, Error = ExchangeError>,
{
    type Response = MetaAnswer;
    type Error = ExchangeError;
    type Future = NoteFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut exchange: Exchange) -> Self::Future {
        let note = self.telemetry.exchange(exchange.record(), exchange.what());
        if let Some(header) = note.header() {
            exchange.continue_trace(header);
        }
        NoteFuture {
            inner: self.inner.call(exchange),
            note: Some(note),
        }
    }
}

pin_project! {
    /// The answer, with its note in its body.
    pub struct NoteFuture<F> {
        #[pin]
        inner: F,
        note: Option<ExchangeNote>,
    }
}

impl<F> Future for NoteFuture<F>
where
    F: Future<Output = Result<MetaAnswer, ExchangeError>>,
{
    type Output = Result<MetaAnswer, ExchangeError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx));
        let Some(mut note) = this.note.take() else {
            return Poll::Ready(answer);
        };
        Poll::Ready(match answer {
            Ok(answer) => {
                let resent = answer.body().resent();
                note.answered(answer.status(), answer.headers(), resent);
                Ok(answer.map(|body| body.noted(note)))
            }
            Err(error) => {
                note.failed(&error);
                Err(error)
            }
        })
    }
}
