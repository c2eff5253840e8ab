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

use curfew_policies::{Enforcement, MediaFact, PhoneNumberId, SettingsFact, WabaId};
use futures_util::FutureExt as _;
use futures_util::future::Either;
use http::response::Parts;
use tower::{Layer, Service};

use super::BoxFuture;
use super::enforce::Permitted;
use super::graph_token::caller_key;
use crate::call::{Answer, Context, SendFacts};
use crate::clock::Clock;
use crate::error::GatewayError;
use crate::graph::{answer, message};
use crate::guard::{CallerKey, Guard};
use crate::stores::limits::{
    Admit, Ask, Grant, Limited, Outcome, Recipient, RecipientId, SendLimits, Share, What,
};
use crate::stores::{MediaPins, SettingsReadings};

/// What sends are paced by.
#[derive(Clone, Debug)]
pub struct Pacer {
    /// The limits of all numbers.
    pub limits: SendLimits,
    /// Whose each medium is: one may end, or be deleted, while a send waits.
    pub pins: MediaPins,
    /// What settings were read as: a number's may change while a send waits.
    pub readings: SettingsReadings,
    /// Tells callers' tokens apart, and knows which of them Meta has taken.
    pub guard: Guard,
    /// The time.
    pub clock: Clock,
}

impl Pacer {
    /// Asks for a send's turn.
    fn ask(&self, asker: Asker, number: PhoneNumberId, send: &SendFacts, bytes: usize) -> Admit {
        let what = match &send.recipient {
            Some(recipient) => What::Message {
                recipient: Recipient::of(recipient),
                class: send.class,
                is_template: send.is_template,
            },
            None => What::Receipt,
        };
        self.limits.admit(&Ask {
            number,
            app: asker.app,
            share: asker.share,
            what,
            bytes,
        })
    }

    /// On whose behalf a send goes.
    fn asker(&self, context: &Context) -> Asker {
        let principal = &context.principal;
        let known = principal
            .index
            .and_then(|index| Some((index, principal.policies.callers.get(index)?)));
        if let Some((index, caller)) = known {
            let share = Share {
                caller: u64::try_from(index).unwrap_or(u64::MAX),
                weight: caller.weight,
            };
            return Asker {
                share,
                app: 0,
                token: None,
            };
        }
        let token = caller_key(&self.guard, principal, &context.credential);
        let share = Share {
            caller: self.guard.share_of_token(token).get(),
            weight: NonZeroU32::MIN,
        };
        Asker {
            share,
            app: token.get(),
            token: Some(token),
        }
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
        let asker = self.pacer.asker(context);
        let admit = self.pacer.ask(asker, number, send, permitted.body_bytes());
        let refused = move |limited| GatewayError::Limited { limited, number };
        let is_monitored = context.principal.policies.enforcement == Enforcement::Monitor;
        if !is_monitored && !admit.is_waiting() {
            // Looked at once, since it is there.
            let admitted = admit.now_or_never().unwrap_or(Err(Limited::UNKNOWN_NUMBER));
            return Either::Left(match admitted {
                Ok(grant) => {
                    self.pacer.let_go(&mut permitted, asker, number, Some(grant));
                    Either::Left(self.inner.call(permitted))
                }
                Err(limited) => Either::Right(ready(Err(refused(limited)))),
            });
        }
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let pacer = Arc::clone(&self.pacer);
        Either::Right(Box::pin(async move {
            let grant = if is_monitored {
                // Whoever would have had to wait passes as well: only a refusal is one.
                match admit.at_once().await {
                    Some(Err(limited)) => {
                        permitted.context().record.observed(refused(limited).slug());
                        None
                    }
                    admitted => admitted.and_then(Result::ok),
                }
            } else {
                let since = pacer.clock.monotonic();
                let admitted = admit.await;
                let waited = pacer.clock.monotonic().since(since);
                permitted.context().record.waited(waited);
                Some(admitted.map_err(refused)?)
            };
            pacer.let_go(&mut permitted, asker, number, grant);
            if !is_monitored {
                pacer.judge_again(&permitted).await?;
            }
            inner.call(permitted).await
        }))
    }
}

/// On whose behalf a send goes, for fairness, and for which app or token Meta counts it: the gateway's own for all callers, in
/// pass-through each token by itself.
#[derive(Clone, Copy, Debug)]
struct Asker {
    share: Share,
    app: u64,
    /// In pass-through.
    token: Option<CallerKey>,
}

/// A send that was let go: what it took, and what its answer teaches. Dropped before it set out, it gives back what it took.
#[derive(Debug)]
pub struct Paced {
    pacer: Arc<Pacer>,
    number: PhoneNumberId,
    account: Option<WabaId>,
    asker: Asker,
    recipient: Option<message::Recipient<'static>>,
    /// Under which name the recipient was counted.
    counted_as: Option<RecipientId>,
    grant: Option<Grant>,
    has_set_out: bool,
}

impl Pacer {
    /// Notes as what a send is let go.
    fn let_go(
        self: &Arc<Self>,
        permitted: &mut Permitted,
        asker: Asker,
        number: PhoneNumberId,
        grant: Option<Grant>,
    ) {
        let policies = &permitted.context().principal.policies;
        let account = policies.numbers.get(&number).and_then(|policy| policy.waba_id);
        let recipient = permitted.take_recipient();
        permitted.paced(Paced {
            pacer: Arc::clone(self),
            number,
            account,
            asker,
            recipient,
            counted_as: grant.as_ref().and_then(Grant::recipient),
            grant,
            has_set_out: false,
        });
    }
}

impl Paced {
    /// Its bytes may leave from now on.
    pub const fn sets_out(&mut self) {
        self.has_set_out = true;
    }

    /// No byte of it left.
    pub fn give_back(mut self) {
        self.has_set_out = false;
    }

    /// Tells the limits what Meta makes of it, and whom it reached.
    pub fn hear(mut self, parts: &Parts, body: &[u8]) {
        let Pacer { limits, guard, .. } = &*self.pacer;
        let number = self.number;
        let outcome = Outcome::of(parts.status, &parts.headers, body, self.account);
        if outcome == Outcome::Accepted
            && let Some(token) = self.asker.token
        {
            guard.prove(token, number);
        }
        let is_stranger = self
            .asker
            .token
            .is_some_and(|token| !guard.is_proven_for(token, number));
        let heard = if is_stranger {
            outcome.of_a_stranger()
        } else {
            outcome
        };
        limits.observe(number, self.asker.app, self.counted_as, &heard);
        if outcome == Outcome::Accepted
            && let (Some(recipient), Some(counted_as)) = (&self.recipient, self.counted_as)
            && let Some(wa_id) = answer::recipient_wa_id(body)
        {
            limits.learn_from_answer(number, Recipient::of(recipient), counted_as, &wa_id);
        }
        // Whom Meta does not let send has sent nothing that it counts.
        if outcome != Outcome::Accepted
            && (answer::is_authorization_refusal(parts.status, body) || answer::is_gone(body))
        {
            self.has_set_out = false;
        }
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        if !self.has_set_out
            && let Some(grant) = self.grant.take()
        {
            grant.give_back();
        }
    }
}
