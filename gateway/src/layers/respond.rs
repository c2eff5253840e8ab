//! Turns every refusal and failure into an answer.
//!
//! It sits just below the layer that watches, so that refusals are seen like any other answer; nothing above it can fail.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::body::ResponseBody;
use crate::call::{Answer, Seen};
use crate::error::GatewayError;

/// The layer.
#[derive(Clone, Copy, Debug)]
pub struct RespondLayer;

impl<S> Layer<S> for RespondLayer {
    type Service = Respond<S>;

    fn layer(&self, inner: S) -> Respond<S> {
        Respond { inner }
    }
}

/// The service.
#[derive(Clone, Debug)]
pub struct Respond<S> {
    inner: S,
}

impl<S> Service<Seen> for Respond<S>
where
    S: Service<Seen, Response = Answer, Error = GatewayError>,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = RespondFuture<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The services below are always ready: they shed or wait inside the call.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, seen: Seen) -> Self::Future {
        RespondFuture {
            inner: self.inner.call(seen),
        }
    }
}

pin_project! {
    /// The answer, or the error as an answer.
    pub struct RespondFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F> Future for RespondFuture<F>
where
    F: Future<Output = Result<Answer, GatewayError>>,
{
    type Output = Result<Answer, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.project().inner.poll(cx));
        Poll::Ready(Ok(
            result.unwrap_or_else(|error| error.to_response().map(ResponseBody::whole))
        ))
    }
}
