//! Sends once what is asked for more than once: under the same `Idempotency-Key`, or, where the policy says so, with the same
//! body within a few seconds.
//!
//! It sits below Enforce, so that a refused send leaves no trace, and above all that limits sends, so that a repeated one
//! spends nothing. What it begins, [`super::books`] ends: the [`Ticket`] travels with the send, and whoever drops it on the
//! way gives it back. A send with neither key nor window passes untouched.

mod ticket;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use curfew_policies::{Caller, Minute};
use futures_util::future::Either;
use http::{HeaderName, HeaderValue};
use tower::{Layer, Service};

use self::ticket::{repeated, settled_answer};
use super::BoxFuture;
use super::enforce::Permitted;
use super::graph_token::{outcome_name, share_key};
use super::pass_on::tell_observed;
use crate::call::Answer;
use crate::error::GatewayError;
use crate::graph::marker::MarkerKey;
use crate::guard::Guard;
use crate::stores::outcomes::{Begin, Kept, Name, Sending, Share};
use crate::stores::{Outcomes, StoreError};

pub use self::ticket::Ticket;

/// Says that an answer is the one that an earlier send had.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// How long the outcome of a send with a key is kept, in minutes: a day.
const KEPT_MINUTES: u32 = 24 * 60;

/// What came of sends that may be asked for again.
pub struct Once {
    /// Of those with a key.
    pub outcomes: Outcomes,
    /// Of those without, for callers with a window. In memory: it does not last longer than an hour.
    pub repeats: Outcomes,
    /// The length of a minute of storage.
    pub minute: Minute,
    /// Marks sends, so that a webhook can say what came of one whose answer was lost; `None` where none are taken.
    pub markers: Option<MarkerKey>,
    /// Knows callers.
    pub guard: Guard,
    /// How much of the memory for outcomes one caller may fill, in percent.
    pub share_percent: u8,
}

impl Once {
    /// How much memory the sends of callers' windows may take, in bytes: 64 MiB.
    pub const REPEATS_BYTES: usize = 64 << 20;

    /// A send whose outcome is looked for and kept, where, and for how long; `None`: nowhere.
    fn place<'a>(&'a self, permitted: &'a Permitted) -> Option<(&'a Outcomes, Duration, Sending<'a>)> {
        let sending = permitted.as_send()?;
        if sending.key.is_some() {
            return Some((&self.outcomes, self.minute.times(KEPT_MINUTES), sending));
        }
        let Caller::Known(caller) = permitted.context().principal.caller() else {
            return None;
        };
        let seconds = caller.repeat_window_s.map(NonZeroU32::get)?;
        Some((&self.repeats, Duration::from_secs(seconds.into()), sending))
    }
}

fn unavailable(error: &StoreError) -> GatewayError {
    tracing::warn!(%error, "a send could not be written down, so it was not sent");
    GatewayError::StoreUnavailable
}

/// The layer.
#[derive(Clone)]
pub struct OnceLayer {
    once: Arc<Once>,
}

impl OnceLayer {
    /// Keeps outcomes here.
    #[must_use]
    pub const fn new(once: Arc<Once>) -> Self {
        Self { once }
    }
}

impl<S> Layer<S> for OnceLayer {
    type Service = SendOnce<S>;

    fn layer(&self, inner: S) -> SendOnce<S> {
        SendOnce {
            inner,
            once: Arc::clone(&self.once),
        }
    }
}

/// The service.
#[derive(Clone)]
pub struct SendOnce<S> {
    inner: S,
    once: Arc<Once>,
}

impl<S> Service<Permitted> for SendOnce<S>
where
    S: Service<Permitted, Response = Answer, Error = GatewayError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Answer;
    type Error = GatewayError;
    type Future = Either<S::Future, BoxFuture<Result<Answer, GatewayError>>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), GatewayError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut permitted: Permitted) -> Self::Future {
        let Some((outcomes, life, sending)) = self.once.place(&permitted) else {
            return Either::Left(self.inner.call(permitted));
        };
        let share = Share {
            caller: share_key(
                &self.once.guard,
                &permitted.context().principal,
                &permitted.context().credential,
            ),
            percent: self.once.share_percent,
        };
        let name = outcome_name(outcomes, permitted.context(), &sending).map(|name| name.within(share));
        let outcomes = outcomes.clone();
        // Known again by its body as it came, sent with the marker in it.
        let marker = self.once.markers.as_ref().and_then(|key| permitted.mark(key));
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        Either::Right(Box::pin(async move {
            let name = name.map_err(|_| GatewayError::StoreUnavailable)?;
            let begun = outcomes.begin(&name, life, marker).await;
            match begun.map_err(|error| unavailable(&error))? {
                Begin::Begun(entry) => inner.call(permitted.on(Ticket::new(entry, name))).await,
                Begin::Done(kept) => replay(&permitted, &name, kept),
                Begin::Running => Err(GatewayError::StillRunning),
                Begin::OtherBody => Err(GatewayError::OtherBody),
                Begin::Unknown => Err(GatewayError::OutcomeUnknown),
                Begin::Full(wait) => Err(GatewayError::OutcomesFull {
                    retry_after: u32::try_from(wait.as_millis().div_ceil(1000))
                        .unwrap_or(u32::MAX)
                        .max(1),
                }),
            }
        }))
    }
}

/// Answers with what came of the first one.
fn replay(permitted: &Permitted, name: &Name, kept: Kept) -> Result<Answer, GatewayError> {
    let recipient = permitted.send().and_then(|send| send.recipient.as_ref());
    let first = match kept {
        // Not readable, though it is the same request: that it was sent is all that is left to say.
        Kept::Sealed(sealed) => name.open(&sealed).ok_or(GatewayError::OutcomeUnknown)?,
        Kept::Settled(settled) => settled_answer(&settled, recipient),
    };
    let mut answer = repeated(first);
    answer
        .headers_mut()
        .insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    let record = &permitted.context().record;
    record.replayed();
    tell_observed(&mut answer, record);
    Ok(answer)
}

#[cfg(test)]
mod tests;
