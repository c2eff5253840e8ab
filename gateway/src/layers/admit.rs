//! Bounds how many requests the gateway has under way, and how many of one caller.
//!
//! It sits just below Authenticate, where callers are known and nothing was read of a body yet: an excess costs a head, and is
//! answered at once.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::Either;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::graph_token::share_key;
use crate::call::{Answer, Identified};
use crate::error::GatewayError;
use crate::guard::{Admission, Guard};

/// The layer.
#[derive(Clone, Debug)]
pub struct AdmitLayer {
    guard: Guard,
}

impl AdmitLayer {
    /// Admits as many as `guard` does.
    #[must_use]
    pub const fn new(guard: Guard) -> Self {
        Self { guard }
    }
}

impl<S> Layer<S> for AdmitLayer {
    type Service = Admit<S>;

    fn layer(&self, inner: S) -> Admit<S> {
        Admit {
            inner,
            guard: self.guard.clone(),
        }
    }
}

/// The service.
#[derive(Clone, Debug)]
pub struct Admit<S> {
    inner: S,
    guard: Guard,
}

impl<S> Service<Identified> for Admit<S>
where
    S: Service<Identified, Response = Answer, Error = GatewayError>,
{
    type Response = Answer;
    type Error = GatewayError;
    type Future = Either<Admitted<S::Future>, Ready<Result<Answer, GatewayError>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), GatewayError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, identified: Identified) -> Self::Future {
        let caller = match &identified.media_url {
            // It names its caller, and need not come with a credential.
            Some(claims) => self.guard.caller_key(claims.caller),
            None => share_key(&self.guard, &identified.principal, &identified.credential),
        };
        match self.guard.admit_request(caller) {
            Ok(admission) => Either::Left(Admitted {
                inner: self.inner.call(identified),
                admission,
            }),
            Err(refusal) => Either::Right(ready(Err(refusal.into()))),
        }
    }
}

pin_project! {
    /// The answer, and the place of its request until it is there.
    pub struct Admitted<F> {
        #[pin]
        inner: F,
        admission: Admission,
    }
}

impl<F: Future> Future for Admitted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().inner.poll(cx)
    }
}
