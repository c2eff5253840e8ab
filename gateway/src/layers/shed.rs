//! Lets an exchange out only where an answer can be expected: breakers, bounds and the limit of the [`Guard`].
//!
//! It sits below Books, so that copies and repeated uploads are served while Meta does not answer, and above everything that
//! costs a connection. The gateway's own questions pass it as well: nobody waits for one that cannot be answered.

use std::task::{Context, Poll};

use tower::{Layer, Service};

use super::BoxFuture;
use super::enforce::Exchange;
use crate::guard::Guard;
use crate::upstream::{ExchangeError, MetaAnswer};

/// The layer.
#[derive(Clone, Debug)]
pub struct ShedLayer {
    guard: Guard,
}

impl ShedLayer {
    /// Lets out what `guard` lets out.
    #[must_use]
    pub const fn new(guard: Guard) -> Self {
        Self { guard }
    }
}

impl<S> Layer<S> for ShedLayer {
    type Service = Shed<S>;

    fn layer(&self, inner: S) -> Shed<S> {
        Shed {
            inner,
            guard: self.guard.clone(),
        }
    }
}

/// The service.
#[derive(Clone, Debug)]
pub struct Shed<S> {
    inner: S,
    guard: Guard,
}

impl<S> Service<Exchange> for Shed<S>
where
    S: Service<Exchange, Response = MetaAnswer, Error = ExchangeError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = MetaAnswer;
    type Error = ExchangeError;
    type Future = BoxFuture<Result<MetaAnswer, ExchangeError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, exchange: Exchange) -> Self::Future {
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let guard = self.guard.clone();
        Box::pin(async move {
            let facts = exchange.facts(&guard);
            let mut ticket = guard.admit(facts).await.map_err(ExchangeError::Refused)?;
            match inner.call(exchange).await {
                Ok(answer) => {
                    ticket.answered(answer.status());
                    Ok(answer.map(|body| body.watched(ticket)))
                }
                Err(error) => {
                    match &error {
                        ExchangeError::Unsent(_) => ticket.unsent(),
                        ExchangeError::Broken(_) => ticket.broken(),
                        // Not Meta's doing.
                        ExchangeError::NotBuilt | ExchangeError::Refused(_) => drop(ticket),
                    }
                    Err(error)
                }
            }
        })
    }
}
