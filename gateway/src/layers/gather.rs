//! Gathers what a decision needs: has the body read, looks up pins, asks Meta where the policy says so.
//!
//! It sits above Enforce, since Enforce decides on what is gathered here and on nothing else. Nothing of the caller's
//! request goes to Meta from here; the gateway's own questions do, each with a permit of its own.

use std::borrow::Cow;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use curfew_policies::{
    Decision, Facts, Generation, MediaFact, MediaId, MessageKind, Minute, NumberPolicy, Operation, Origin,
    PhoneNumberId, Pin, Request, SendClass, SettingsFact, Subject, UnknownIds, UnverifiedOperation, Upload,
    decide,
};
use http::HeaderMap;
use http::header::ACCEPT;
use tower::{Layer, Service};

use super::BoxFuture;
use super::ask::{Asker, Owned};
use super::download::Wanted;
use super::enforce::Exchange;
use super::graph_token::{caller_tag, share_key};
use super::reading::{
    Addressed, JsonRoom, expect_no_body, file_offset, form_kind, operation_without_body, read,
};
use super::reuse::{Recalled, Reuse};
use crate::budget::JsonBudget;
use crate::call::{Answer, Call, Classified, Context, Destination, Payload, Purpose, SendFacts, Target};
use crate::clock::Clock;
use crate::error::GatewayError;
use crate::graph::classify::Head;
use crate::graph::digest::announced_digest;
use crate::graph::idempotency_key::IdempotencyKey;
use crate::graph::routes::Kind;
use crate::guard::Guard;
use crate::stores::{
    Ask, Claims, DenialBudget, MediaPins, RegistrationCall, Registrations, SettingsReadings, TemplateClasses,
    UploadTag, UrlSigner,
};
use crate::upstream::{ExchangeError, MetaAnswer};

/// The stores that facts come from.
#[derive(Clone)]
pub struct Sources {
    /// Whose each medium is.
    pub pins: MediaPins,
    /// How often Meta may be asked about unknown media.
    pub denials: DenialBudget,
    /// Tells callers' tokens apart.
    pub signer: Arc<UrlSigner>,
    /// What settings were read as.
    pub readings: SettingsReadings,
    /// How often numbers were registered.
    pub registrations: Registrations,
    /// The time.
    pub clock: Clock,
    /// The length of a minute of storage.
    pub minute: Minute,
    /// The largest JSON body, in bytes.
    pub json_bytes: usize,
    /// What JSON bodies under way may fill together.
    pub json_budget: JsonBudget,
    /// Knows callers.
    pub guard: Guard,
    /// Knows uploads again.
    pub reuse: Reuse,
    /// What reads of templates have taught.
    pub templates: TemplateClasses,
}

/// The layer.
#[derive(Clone)]
pub struct GatherLayer<M> {
    sources: Arc<Sources>,
    asker: Asker<M>,
}

impl<M> GatherLayer<M> {
    /// Gathers from these stores, and asks through `asker`.
    #[must_use]
    pub const fn new(sources: Arc<Sources>, asker: Asker<M>) -> Self {
        Self { sources, asker }
    }
}

impl<S, M: Clone> Layer<S> for GatherLayer<M> {
    type Service = Gather<S, M>;

    fn layer(&self, inner: S) -> Gather<S, M> {
        Gather {
            inner,
            sources: Arc::clone(&self.sources),
            asker: self.asker.clone(),
        }
    }
}

/// The service.
#[derive(Clone)]
pub struct Gather<S, M> {
    inner: S,
    sources: Arc<Sources>,
    asker: Asker<M>,
}

impl<S, M> Service<Classified> for Gather<S, M>
where
    S: Service<Call, Response = Answer, Error = GatewayError> + Clone + Send + 'static,
    S::Future: Send,
    M: Service<Exchange, Response = MetaAnswer, Error = ExchangeError> + Clone + Send + Sync + 'static,
    M::Future: Send,
{
    type Response = Answer;
    type Error = GatewayError;
    type Future = BoxFuture<Result<Answer, GatewayError>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), GatewayError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, classified: Classified) -> Self::Future {
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let gatherer = Gatherer {
            sources: Arc::clone(&self.sources),
            asker: self.asker.clone(),
        };
        Box::pin(async move {
            let call = gatherer.gather(classified).await?;
            inner.call(call).await
        })
    }
}

/// An upload that is known by its head: its body is not read.
fn known(context: Context, head: &Head, recalled: Recalled, settings: SettingsFact) -> Call {
    let request = Request {
        subject: head.subject,
        generation: head.generation(),
        operation: Operation::UploadMedia(recalled.upload),
    };
    context.record.operation(request.operation.name());
    Call {
        context,
        request,
        media: Vec::new(),
        settings,
        recent_registrations: 0,
        destination: Destination::Known(recalled.stand_in),
        payload: Payload::Empty,
        accept: None,
        announced: None,
        idempotency_key: None,
        send: None,
    }
}

struct Gatherer<M> {
    sources: Arc<Sources>,
    asker: Asker<M>,
}

impl<M> Gatherer<M>
where
    M: Service<Exchange, Response = MetaAnswer, Error = ExchangeError> + Clone + Send + Sync,
    M::Future: Send,
{
    async fn gather(&self, classified: Classified) -> Result<Call, GatewayError> {
        let Classified {
            request,
            context,
            target,
        } = classified;
        let (parts, body) = request.into_parts();
        let accept = parts.headers.get(ACCEPT).cloned();
        let (mut announced, mut addressed) = (None, None);
        let mut idempotency_key = None;
        let (request, destination, payload) = match target {
            Target::Download(claims) => {
                expect_no_body(body).await?;
                let subject = Subject::Media {
                    number: Some(claims.number),
                };
                let request = Request {
                    subject,
                    generation: Generation::Unversioned,
                    operation: Operation::DownloadMedia(claims.media),
                };
                let destination = Destination::MediaHost {
                    claims,
                    wanted: Wanted::of(&parts.method, &parts.headers),
                };
                (request, destination, Payload::Empty)
            }
            Target::Graph(head) => {
                self.judge_form_start(&context, &head, &parts.headers).await?;
                let file_offset = file_offset(head.route, &parts.headers)?;
                announced = self.announced(&context, &head, &parts.headers)?;
                let recalled = match announced {
                    Some(tag) => self.recall(&context, &head, tag).await?,
                    None => None,
                };
                if let Some((recalled, settings)) = recalled {
                    // Nothing is waited for between this and the answer: what stands for the upload now still does then.
                    return Ok(known(context, &head, recalled, settings));
                }
                let room = JsonRoom {
                    most: self.sources.json_bytes,
                    budget: &self.sources.json_budget,
                    caller: share_key(&self.sources.guard, &context.principal, &context.credential),
                };
                let read = read(&head, &parts.headers, body, &room).await?;
                addressed = read.addressed;
                if Purpose::of(&read.operation, None, &[]) == Purpose::Send
                    && matches!(read.payload, Payload::Json(_))
                {
                    idempotency_key = IdempotencyKey::of(&parts.headers)?;
                }
                let request = Request {
                    subject: self.subject(&context, &head),
                    generation: head.generation(),
                    operation: read.operation,
                };
                let destination = Destination::Graph {
                    method: parts.method,
                    target: head.upstream_target,
                    file_offset,
                };
                (request, destination, read.payload)
            }
        };
        context.record.operation(request.operation.name());

        // Pins last: asking for settings may take a while, and a medium may be deleted meanwhile.
        let settings = self.settings_fact(&context, &request).await;
        let media = match &destination {
            Destination::Graph { .. } => self.media_facts(&context, &request).await?,
            Destination::MediaHost { claims, .. } => vec![self.granted(claims).await?],
            Destination::Known(_) => Vec::new(),
        };
        let recent_registrations = self.recent_registrations(&request).await?;
        let send = self.send_facts(&context, &request, addressed);
        Ok(Call {
            context,
            request,
            media,
            settings,
            recent_registrations,
            destination,
            payload,
            accept,
            announced,
            idempotency_key,
            send,
        })
    }

    /// What the pace of the call goes by, if it counts towards a number's limits.
    fn send_facts(
        &self,
        context: &Context,
        request: &Request<'_>,
        addressed: Option<Addressed>,
    ) -> Option<SendFacts> {
        let Subject::Number(number) = request.subject else {
            return None;
        };
        let (recipient, template) = match addressed {
            Some(Addressed { recipient, template }) => (recipient, template),
            None => (None, None),
        };
        let (is_template, class) = match &request.operation {
            Operation::SendMarketing(_) => (true, SendClass::Marketing),
            Operation::SendMessage(message) => {
                // What is of no known type may be a template as well.
                let is_template = match message.kind {
                    MessageKind::Known(kind) => kind == "template",
                    MessageKind::ImpliedText => false,
                    MessageKind::Unknown(_) | MessageKind::Missing => true,
                };
                let class = if is_template {
                    self.template_class(context, number, template.as_deref())
                } else {
                    SendClass::Service
                };
                (is_template, class)
            }
            Operation::MarkRead => (false, SendClass::Service),
            // Meta's throughput is of all messages, whoever can read them.
            Operation::Unverified(UnverifiedOperation::MessagesEncrypted) => (true, SendClass::Marketing),
            _ => return None,
        };
        Some(SendFacts {
            recipient,
            class,
            is_template,
        })
    }

    /// The class of a template: the policy's word, else what a read of the account's templates has shown.
    fn template_class(&self, context: &Context, number: PhoneNumberId, template: Option<&str>) -> SendClass {
        let known = || {
            let policy = context.principal.policies.numbers.get(&number)?;
            let name = template?;
            let listed = policy.sends.classes.templates.get(name).copied();
            listed.or_else(|| self.sources.templates.find(policy.waba_id?, name))
        };
        known().unwrap_or(SendClass::Marketing)
    }

    /// By what an upload that announces its digest would be known again.
    fn announced(
        &self,
        context: &Context,
        head: &Head,
        headers: &HeaderMap,
    ) -> Result<Option<UploadTag>, GatewayError> {
        if head.route.kind != Kind::UploadMedia {
            return Ok(None);
        }
        let digest = announced_digest(headers)?;
        Ok(digest.and_then(|digest| self.sources.reuse.request_tag(context, head, headers, digest)))
    }

    /// The upload that this one repeats, byte for byte, and the settings by which it was permitted once more.
    async fn recall(
        &self,
        context: &Context,
        head: &Head,
        tag: UploadTag,
    ) -> Result<Option<(Recalled, SettingsFact)>, GatewayError> {
        let reuse = &self.sources.reuse;
        let (Some(number), Some(known)) = (head.number(), reuse.known.find(tag)) else {
            return Ok(None);
        };
        let pin = reuse.pins.look_up(known.media).await?;
        // From here on nothing is waited for.
        let settings = self.sources.readings.last(number);
        let recalled = reuse.recall(context, head, settings, &known, pin);
        Ok(recalled.map(|recalled| (recalled, settings)))
    }

    /// Judges a form by what is known before its body: a number that may not upload now says so before the first byte.
    async fn judge_form_start(
        &self,
        context: &Context,
        head: &Head,
        headers: &HeaderMap,
    ) -> Result<(), GatewayError> {
        if form_kind(head.route.body, headers).is_none() {
            return Ok(());
        }
        if head.route.kind == Kind::UploadMedia && !self.sources.pins.is_reachable() {
            // Meta would store what nobody could be told of.
            return Err(GatewayError::StoreUnavailable);
        }
        let operation = match head.route.kind {
            Kind::UploadMedia => Operation::UploadMedia(Upload {
                declared_type: head.query("type").map(|value| Cow::Owned(value.to_owned())),
                ..Upload::default()
            }),
            _ => operation_without_body(head.route, head.node),
        };
        let request = Request {
            subject: head.subject,
            generation: head.generation(),
            operation,
        };
        let facts = Facts {
            now: self.sources.clock.now(),
            media: &[],
            settings: self.settings_fact(context, &request).await,
            recent_registrations: 0,
        };
        let principal = &context.principal;
        // The permit opens nothing: the form's beginning and end are judged again.
        match decide(&principal.policies, principal.caller(), &request, &facts) {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(reason) => Err(GatewayError::denied(reason, head.subject)),
        }
    }

    /// A media call without `phone_number_id` from a caller with one number can only mean that number.
    fn subject(&self, context: &Context, head: &Head) -> Subject {
        match head.subject {
            Subject::Media { number } => Subject::Media {
                number: number.or_else(|| context.principal.only_number()),
            },
            subject => subject,
        }
    }

    /// What is known of each medium that the request names.
    async fn media_facts(
        &self,
        context: &Context,
        request: &Request<'_>,
    ) -> Result<Vec<MediaFact>, GatewayError> {
        match &request.operation {
            Operation::SendMessage(message) | Operation::SendMarketing(message) => {
                let Subject::Number(number) = request.subject else {
                    return Ok(Vec::new());
                };
                let mut facts = Vec::new();
                for media in message.media_ids() {
                    facts.push(self.media_fact(context, media, Some(number)).await?);
                }
                Ok(facts)
            }
            Operation::ReadMedia(media) | Operation::DeleteMedia(media) => {
                let Subject::Media { number } = request.subject else {
                    return Ok(Vec::new());
                };
                Ok(vec![self.media_fact(context, *media, number).await?])
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The pin behind one of the gateway's own URLs. A download of what no pin is known of asks Meta for the medium's address
    /// anew, naming the number, so what was deleted elsewhere stays gone.
    async fn granted(&self, claims: &Claims) -> Result<MediaFact, GatewayError> {
        let pin = claims.pin(&self.sources.pins).await?;
        Ok(MediaFact::Pinned(pin))
    }

    async fn pinned(&self, media: MediaId) -> Result<MediaFact, GatewayError> {
        let pin = self.sources.pins.look_up(media).await?;
        Ok(pin.map_or(MediaFact::Unknown, MediaFact::Pinned))
    }

    async fn media_fact(
        &self,
        context: &Context,
        media: MediaId,
        number: Option<PhoneNumberId>,
    ) -> Result<MediaFact, GatewayError> {
        let caller = context.principal.caller();
        let known = self.pinned(media).await?;
        if matches!(known, MediaFact::Pinned(pin) if caller.may_use(pin.number)) {
            return Ok(known);
        }
        // From here on a medium of numbers that the caller may not use is treated as one that nobody has: what it may not
        // know must not show by what is asked, how long that takes, or whether it counts.
        let policies = &context.principal.policies;
        let Some(policy) = number
            .filter(|number| caller.may_use(*number))
            .and_then(|number| policies.numbers.get(&number))
        else {
            return Ok(known);
        };
        if policy.media.unknown_ids != UnknownIds::Verify {
            return Ok(known);
        }
        let verified = self.verify(context, media, policy).await?;
        // The rules have the same words for both, but must know the one from the other: under `monitor` they let only what is
        // nobody's pass.
        Ok(if known == MediaFact::Unknown {
            verified
        } else {
            known
        })
    }

    /// Asks Meta whether an unknown medium is the number's, ten wrong ids an hour at most: a service that guesses could have
    /// the number's downloads blocked.
    async fn verify(
        &self,
        context: &Context,
        media: MediaId,
        policy: &NumberPolicy,
    ) -> Result<MediaFact, GatewayError> {
        let number = policy.phone_number_id;
        // In pass-through each token has a budget of its own, or a stranger's guesses, which Meta denies whatever they are,
        // would hide from others what is theirs.
        let is_pass_through = context.principal.index.is_none();
        let asker = is_pass_through
            .then(|| caller_tag(&self.sources.signer, &context.principal, &context.credential));
        let question = match self.sources.denials.may_ask(number, asker, media) {
            Ask::Yes(question) => question,
            Ask::AlreadyDenied | Ask::BudgetSpent => return Ok(MediaFact::Denied),
        };
        // The life of inbound media is counted from before the question. That is later than Meta counts from, and the only
        // moment that is known; under No Storage it is the shortest life that a medium can have.
        let asked_at = self.sources.clock.now();
        match self.asker.media(context, media, number).await {
            // A pin stands, whatever Meta says: the only one that gets here is of a number that the caller may not use.
            Ok(_) if self.is_of_another(media, number).await? => {
                question.denied();
                Ok(MediaFact::Denied)
            }
            Ok(Owned::Theirs(_)) => {
                question.give_back();
                let minutes = policy.storage.inbound_media_minutes();
                let pin = Pin {
                    number,
                    ends: asked_at.after(self.sources.minute.times(minutes)),
                    origin: Origin::Inbound,
                };
                self.sources.pins.record(media, pin).await?;
                self.pinned(media).await
            }
            Ok(Owned::No) => {
                question.denied();
                Ok(MediaFact::Denied)
            }
            Err(error) => {
                question.give_back();
                Err(error)
            }
        }
    }

    /// Whether a pin says that `media` is not this number's.
    async fn is_of_another(&self, media: MediaId, number: PhoneNumberId) -> Result<bool, GatewayError> {
        let pin = self.sources.pins.look_up(media).await?;
        Ok(pin.is_some_and(|pin| pin.number != number))
    }

    async fn settings_fact(&self, context: &Context, request: &Request<'_>) -> SettingsFact {
        let Subject::Number(number) = request.subject else {
            return SettingsFact::NotNeeded;
        };
        let Some(policy) = context.principal.policies.numbers.get(&number) else {
            return SettingsFact::NotNeeded;
        };
        if !policy.storage.is_restricted()
            || !request.operation.carries_content()
            || !context.principal.caller().may_use(number)
        {
            return SettingsFact::NotNeeded;
        }
        self.sources
            .readings
            .current(policy, || self.asker.settings(context, number))
            .await
    }

    async fn recent_registrations(&self, request: &Request<'_>) -> Result<u32, GatewayError> {
        let Subject::Number(number) = request.subject else {
            return Ok(0);
        };
        let call = match request.operation {
            Operation::Register(_) => RegistrationCall::Register,
            Operation::Deregister => RegistrationCall::Deregister,
            _ => return Ok(0),
        };
        Ok(self.sources.registrations.recent(number, call).await?)
    }
}
