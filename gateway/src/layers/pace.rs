//! Has sends keep their number's pace: lets them go, holds them for a while, or tells them when to come back.
//!
//! It sits below Enforce, so that only what policy permits takes from a limit, and above Books, which tells the limits what
//! Meta makes of a send. A caller that hangs up drops its future, and with it its place in line.
//!
//! Under `enforcement = "monitor"` nobody waits and nobody is turned away: what would have been is recorded.

use std::future::{Ready, ready};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use curfew_policies::{Enforcement, MediaFact, PhoneNumberId, SettingsFact};
use futures_util::FutureExt as _;
use futures_util::future::Either;
use http::StatusCode;
use tower::{Layer, Service};

use super::BoxFuture;
use super::enforce::Permitted;
use super::graph_token::caller_tag;
use crate::call::{Answer, Context, Paced, SendFacts};
use crate::clock::Clock;
use crate::error::GatewayError;
use crate::stores::limits::{Admit, Ask, Grant, Limited, Recipient, SendLimits, Share, What};
use crate::stores::{MediaPins, SettingsReadings, UrlSigner};

/// What sends are paced by.
#[derive(Clone, Debug)]
pub struct Pacer {
    /// The limits of all numbers.
    pub limits: SendLimits,
    /// Whose each medium is: one may end, or be deleted, while a send waits.
    pub pins: MediaPins,
    /// What settings were read as: a number's may change while a send waits.
    pub readings: SettingsReadings,
    /// Tells callers' tokens apart.
    pub signer: Arc<UrlSigner>,
    /// The time.
    pub clock: Clock,
}

impl Pacer {
    /// Asks for a send's turn.
    fn ask(
        &self,
        context: &Context,
        number: PhoneNumberId,
        send: &SendFacts,
        bytes: usize,
    ) -> (Paced, Admit) {
        let (share, app) = self.share(context);
        let what = match &send.recipient {
            Some(recipient) => What::Message {
                recipient: Recipient::of(recipient),
                class: send.class,
                is_template: send.is_template,
            },
            None => What::Receipt,
        };
        let ask = Ask {
            number,
            app,
            share,
            what,
            bytes,
        };
        let paced = Paced {
            number,
            app,
            recipient: None,
        };
        (paced, self.limits.admit(&ask))
    }

    /// On whose behalf a send goes, for fairness, and for which app or token Meta counts it: the gateway's own for all
    /// callers, in pass-through each token by itself.
    fn share(&self, context: &Context) -> (Share, u64) {
        let principal = &context.principal;
        let known = principal
            .index
            .and_then(|index| Some((index, principal.policies.callers.get(index)?)));
        if let Some((index, caller)) = known {
            let share = Share {
                caller: u64::try_from(index).unwrap_or(u64::MAX),
                weight: caller.weight,
            };
            return (share, 0);
        }
        let tag = caller_tag(&self.signer, principal, &context.credential);
        let half = tag.as_bytes().first_chunk();
        let caller = half.map_or(0, |half| u64::from_be_bytes(*half));
        let weight = NonZeroU32::MIN;
        (Share { caller, weight }, caller)
    }

    /// Judges a send that has waited once more, by what is known of its media and its number's settings now.
    async fn judge_again(&self, permitted: &Permitted) -> Result<(), GatewayError> {
        let mut media: Vec<_> = permitted.media().collect();
        for (id, fact) in &mut media {
            if matches!(fact, MediaFact::Pinned(_)) {
                let pin = self.pins.look_up(*id).await?;
                *fact = pin.map_or(MediaFact::Unknown, MediaFact::Pinned);
            }
        }
        let media: Vec<_> = media.into_iter().map(|(_, fact)| fact).collect();
        let settings = match permitted.settings() {
            SettingsFact::NotNeeded => SettingsFact::NotNeeded,
            _ => permitted
                .number()
                .map_or(SettingsFact::Unread, |number| self.readings.last(number)),
        };
        permitted.holds_by(self.clock.now(), &media, settings)
    }
}

/// The layer.
#[derive(Clone, Debug)]
pub struct PaceLayer {
    pacer: Arc<Pacer>,
}

impl PaceLayer {
    /// Paces by `pacer`.
    #[must_use]
    pub const fn new(pacer: Arc<Pacer>) -> Self {
        Self { pacer }
    }
}

impl<S> Layer<S> for PaceLayer {
    type Service = Pace<S>;

    fn layer(&self, inner: S) -> Pace<S> {
        Pace {
            inner,
            pacer: Arc::clone(&self.pacer),
        }
    }
}

/// The service.
#[derive(Clone, Debug)]
pub struct Pace<S> {
    inner: S,
    pacer: Arc<Pacer>,
}

type Refused = Ready<Result<Answer, GatewayError>>;

impl<S> Service<Permitted> for Pace<S>
where
    S: Service<Permitted, Response = Answer, Error = GatewayError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Answer;
    type Error = GatewayError;
    type Future = Either<Either<S::Future, Refused>, BoxFuture<Result<Answer, GatewayError>>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), GatewayError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut permitted: Permitted) -> Self::Future {
        let (Some(number), Some(send)) = (permitted.number(), permitted.send()) else {
            return Either::Left(Either::Left(self.inner.call(permitted)));
        };
        let context = permitted.context();
        let (mut paced, admit) = self.pacer.ask(context, number, send, permitted.body_bytes());
        if context.principal.policies.enforcement == Enforcement::Monitor {
            let ready = self.inner.clone();
            let mut inner = std::mem::replace(&mut self.inner, ready);
            let record = Arc::clone(&context.record);
            return Either::Right(Box::pin(async move {
                // Whoever would have had to wait passes as well: only a refusal is one.
                let grant = match admit.at_once().await {
                    Some(Ok(grant)) => Some(grant),
                    Some(Err(limited)) => {
                        let error = GatewayError::Limited { limited, number };
                        record.observed(error.slug());
                        None
                    }
                    None => None,
                };
                paced.recipient = grant.as_ref().and_then(Grant::recipient);
                permitted.paced(paced);
                send_with(inner.call(permitted), grant).await
            }));
        }
        if !admit.is_waiting() {
            // Looked at once, since it is there.
            let refused = |limited| Err(GatewayError::Limited { limited, number });
            return match admit.now_or_never() {
                Some(Ok(grant)) => {
                    paced.recipient = grant.recipient();
                    permitted.paced(paced);
                    Either::Right(Box::pin(send_with(self.inner.call(permitted), Some(grant))))
                }
                Some(Err(limited)) => Either::Left(Either::Right(ready(refused(limited)))),
                None => Either::Left(Either::Right(ready(refused(Limited::UNKNOWN_NUMBER)))),
            };
        }
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let pacer = Arc::clone(&self.pacer);
        Either::Right(Box::pin(async move {
            let since = pacer.clock.monotonic();
            let admitted = admit.await;
            let waited = pacer.clock.monotonic().since(since);
            permitted.context().record.waited(waited);
            let grant = admitted.map_err(|limited| GatewayError::Limited { limited, number })?;
            if let Err(error) = pacer.judge_again(&permitted).await {
                grant.give_back();
                return Err(error);
            }
            paced.recipient = grant.recipient();
            permitted.paced(paced);
            send_with(inner.call(permitted), Some(grant)).await
        }))
    }
}

/// Sends, and gives back what was taken where nothing of it counts: no byte reached Meta, or Meta did not take the token.
async fn send_with(
    sending: impl Future<Output = Result<Answer, GatewayError>>,
    grant: Option<Grant>,
) -> Result<Answer, GatewayError> {
    let answer = sending.await;
    let counts = match &answer {
        Ok(answer) => answer.status() != StatusCode::UNAUTHORIZED,
        Err(error) => !error.is_unsent(),
    };
    if !counts && let Some(grant) = grant {
        grant.give_back();
    }
    answer
}
