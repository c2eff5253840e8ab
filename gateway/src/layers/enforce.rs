//! Decides, and obeys. The only place that mints a [`Permitted`], and with it an [`Exchange`]: without one, nothing
//! reaches Meta.
//!
//! It sits below Gather, which finds the facts, and above everything that talks to Meta. An upload is judged twice: here,
//! when its file begins, and by the judge that its body carries, when its form has ended.

use std::borrow::Cow;
use std::future::{Ready, ready};
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll};

use curfew_policies::{
    Caller, Decision, Enforcement, Facts, Generation, MediaFact, MediaId, MediaType, Operation, Permit,
    PhoneNumberId, Pin, Question, Reason, Request, SettingsFact, Subject, Timestamp, Upload, WabaId, decide,
};
use futures_util::future::Either;
use http::{HeaderValue, Method};
use tower::{Layer, Service};

use super::graph_token::share_key;
use super::once::Ticket;
use super::pace::Paced;
use super::reuse::{Candidate, NewUpload, Reuse, StandIn};
use crate::body::{Inbound, Judge, Outbound};
use crate::budget::held_for;
use crate::call::{Answer, Call, Context, Credential, Destination, Payload, Principal, Purpose, SendFacts};
use crate::clock::Clock;
use crate::error::GatewayError;
use crate::graph::file_offset::FileOffset;
use crate::graph::marker::{Marker, MarkerKey};
use crate::graph::media_host::MediaUrl;
use crate::graph::message::Recipient;
use crate::graph::multipart::{
    self, AbortReason, FileTerms, FormField, FormFields, FormKind, MultipartError, OpenForm, UploadOutcome,
    UploadVerdict, WholeForm, WireBoundary,
};
use crate::graph::routes::READ_TEMPLATES;
use crate::guard::{Facts as GuardFacts, Guard, Host, Traffic};
use crate::stores::SettingsReadings;
use crate::stores::outcomes::Sending;

/// The version that the gateway's own questions speak: storage is part of `settings` from v21.0 on.
const QUESTION_VERSION: &str = "v23.0";

/// Why a form that had ended was not completed at Meta.
#[derive(Debug)]
pub enum Withheld {
    /// Policy refused it.
    Denied(Reason),
    /// This medium stands for it.
    Known(StandIn),
}

impl From<Reason> for Withheld {
    fn from(reason: Reason) -> Self {
        Self::Denied(reason)
    }
}

/// A request that policy allowed, with the permit that says so. Only this module makes one, so a permit cannot be paired with
/// another request.
///
/// ```compile_fail
/// use curfew::{call::Call, layers::enforce::Permitted};
/// fn paired(permit: curfew_policies::Permit, call: Call) -> Permitted {
///     Permitted { permit, call, paced: None, ticket: None }
/// }
/// ```
#[derive(Debug)]
pub struct Permitted {
    #[expect(
        dead_code,
        reason = "held, not read: it is the proof that policy allowed the call"
    )]
    permit: Permit,
    call: Call,
    ticket: Option<Box<Ticket>>,
    paced: Option<Box<Paced>>,
}

impl Permitted {
    /// What the answer's layers need to know.
    #[must_use]
    pub const fn context(&self) -> &Context {
        &self.call.context
    }

    /// What the answer means for the gateway's books.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        Purpose::of(&self.call.request.operation, self.number(), &self.call.media)
    }

    /// The number that it is about, if it names one.
    #[must_use]
    pub const fn number(&self) -> Option<PhoneNumberId> {
        match self.call.request.subject {
            Subject::Number(number) => Some(number),
            Subject::Media { number } => number,
            Subject::Account(_) | Subject::Other => None,
        }
    }

    /// What its pace goes by, for what counts towards a number's limits.
    #[must_use]
    pub const fn send(&self) -> Option<&SendFacts> {
        self.call.send.as_ref()
    }

    /// Notes as what it was let go.
    pub fn paced(&mut self, paced: Paced) {
        self.paced = Some(Box::new(paced));
    }

    /// Takes whom it reaches: it is not judged by that.
    pub fn take_recipient(&mut self) -> Option<Recipient<'static>> {
        self.call.send.as_mut().and_then(|send| send.recipient.take())
    }

    /// Takes as what it was let go.
    pub fn take_paced(&mut self) -> Option<Box<Paced>> {
        self.paced.take()
    }

    /// The account whose templates it reads, if that is what it does.
    #[must_use]
    pub fn templates_of(&self) -> Option<WabaId> {
        match (&self.call.request.operation, self.call.request.subject) {
            (Operation::Read(READ_TEMPLATES), Subject::Account(account)) => Some(account),
            _ => None,
        }
    }

    /// How much memory its body takes, as far as it was read.
    #[must_use]
    pub const fn body_bytes(&self) -> usize {
        match &self.call.payload {
            Payload::Json(body) => body.len(),
            Payload::Empty | Payload::Form(_) | Payload::Raw(_) => 0,
        }
    }

    /// The media that it names, and what was known of each when it was permitted.
    pub fn media(&self) -> impl Iterator<Item = (MediaId, MediaFact)> {
        let ids = match &self.call.request.operation {
            Operation::SendMessage(message) | Operation::SendMarketing(message) => Some(message.media_ids()),
            _ => None,
        };
        ids.into_iter().flatten().zip(self.call.media.iter().copied())
    }

    /// What was known of its number's settings when it was permitted.
    #[must_use]
    pub const fn settings(&self) -> SettingsFact {
        self.call.settings
    }

    /// Writes a new marker into a message whose number's policy lets webhooks settle it, if there is room for one. Of what was
    /// judged nothing else changes.
    pub fn mark(&mut self, key: &MarkerKey) -> Option<Marker> {
        let (Operation::SendMessage(_) | Operation::SendMarketing(_)) = &self.call.request.operation else {
            return None;
        };
        let number = self.as_send()?.number?;
        let policy = self.call.context.principal.policies.numbers.get(&number)?;
        let Payload::Json(body) = &mut self.call.payload else {
            return None;
        };
        if !policy.sends.settle_unknown {
            return None;
        }
        let marker = Marker::random().ok()?;
        let stamped = key.stamped(number, &marker, body)?;
        *body = held_for(body.clone(), stamped);
        Some(marker)
    }

    /// The send that it is, and by which key its caller will know it again; `None` if it is no send.
    #[must_use]
    pub fn as_send(&self) -> Option<Sending<'_>> {
        self.call.as_send()
    }

    /// The same, with the ticket that it travels on.
    #[must_use]
    pub fn on(mut self, ticket: Ticket) -> Self {
        self.ticket = Some(Box::new(ticket));
        self
    }

    /// The ticket that it travels on: whoever sends it must [book](Ticket::book) what comes of it.
    pub const fn take_ticket(&mut self) -> Option<Box<Ticket>> {
        self.ticket.take()
    }

    /// Where it goes.
    #[must_use]
    pub const fn destination(&self) -> &Destination {
        &self.call.destination
    }

    /// The exchange with the Graph API that was permitted, and for uploads a handle on how the form ends.
    ///
    /// A form is judged again when it has ended, at the time that `clock` shows then and by what `readings` know
    /// then: it may have taken long, and what held at its beginning may hold no more. An upload that `reuse` knows by then is not
    /// completed.
    ///
    /// # Errors
    ///
    /// When no random boundary can be drawn.
    pub fn into_exchange(
        self,
        clock: Clock,
        readings: SettingsReadings,
        reuse: &Reuse,
    ) -> Result<(Exchange, Option<FormEnd>), GatewayError> {
        let (number, purpose) = (self.number(), self.purpose());
        let Self { call, .. } = self;
        let Call {
            context,
            request,
            destination,
            payload,
            accept,
            announced,
            ..
        } = call;
        let (method, target, file_offset) = match destination {
            Destination::Graph {
                method,
                target,
                file_offset,
            } => (method, target, file_offset),
            Destination::MediaHost { .. } => return Err(GatewayError::MediaUrlInvalid),
            Destination::Known(_) => return Err(GatewayError::ExchangeBroken),
        };
        let principal = context.principal.clone();
        let (body, content_type, form_end) = match payload {
            Payload::Empty => (Outbound::Empty, None, None),
            Payload::Json(bytes) => {
                let body = Outbound::json(bytes);
                (body, Some(HeaderValue::from_static("application/json")), None)
            }
            Payload::Form(form) => {
                let judging = Judging {
                    candidate: reuse.watch(&context, &request, &target, announced),
                    context: context.clone(),
                    request,
                    clock,
                    readings,
                };
                let (body, content_type, end) = open_form(*form, judging)?;
                (body, Some(content_type), Some(end))
            }
            // Under a name that nothing parses: as a form, unjudged bytes could hold parameters that make another call of it.
            Payload::Raw(body) => {
                let content_type = HeaderValue::from_static("application/octet-stream");
                (Outbound::Raw(body), Some(content_type), None)
            }
        };
        let traffic = match (&body, purpose) {
            (Outbound::Upload(_) | Outbound::Raw(_), _) => Traffic::Stream,
            (Outbound::Empty | Outbound::Whole(_), Purpose::Send) => Traffic::Send,
            (Outbound::Empty | Outbound::Whole(_), _) => Traffic::Call,
        };
        let exchange = Exchange {
            traffic,
            number,
            principal,
            method,
            destination: ExchangeTarget::Graph(target),
            body,
            content_type,
            accept,
            file_offset,
            credential: context.credential,
        };
        Ok((exchange, form_end))
    }

    /// Judges the same request once more, by what is known of its medium at `now`: between the permit and what follows from
    /// it the medium may have been deleted, or have ended.
    ///
    /// # Errors
    ///
    /// When policy would refuse it now.
    pub fn still_holds(&self, now: Timestamp, medium: Pin) -> Result<(), GatewayError> {
        self.holds_by(now, &[MediaFact::Pinned(medium)], self.call.settings)
    }

    /// Judges the same request once more, by what is known of its media and its number's settings at `now`.
    ///
    /// # Errors
    ///
    /// When policy would refuse it now.
    pub fn holds_by(
        &self,
        now: Timestamp,
        media: &[MediaFact],
        settings: SettingsFact,
    ) -> Result<(), GatewayError> {
        let call = &self.call;
        let facts = Facts {
            now,
            media,
            settings,
            recent_registrations: call.recent_registrations,
        };
        let principal = &call.context.principal;
        match decide(&principal.policies, principal.caller(), &call.request, &facts) {
            Decision::Deny(reason) => Err(GatewayError::denied(reason, call.request.subject)),
            // It opens nothing that the first one does not.
            Decision::Allow(_permit) => Ok(()),
        }
    }

    /// One fetch of a medium's bytes. A download may need a second one, under a fresh URL: it is still the one that was
    /// permitted.
    #[must_use]
    pub fn fetch(&self, url: &MediaUrl, credential: Credential) -> Exchange {
        Exchange {
            traffic: Traffic::Stream,
            number: self.number(),
            principal: self.call.context.principal.clone(),
            method: Method::GET,
            destination: ExchangeTarget::Media(url.clone()),
            body: Outbound::Empty,
            content_type: None,
            accept: None,
            file_offset: None,
            credential,
        }
    }
}

/// Permits one of the gateway's own questions.
///
/// # Errors
///
/// When policy refuses it, which only an unknown number makes it do.
pub fn permit_question(
    context: &Context,
    question: Question,
    number: PhoneNumberId,
) -> Result<Exchange, GatewayError> {
    let request = Request {
        subject: Subject::Number(number),
        generation: Generation::FromV21,
        operation: Operation::Ask(question),
    };
    let facts = Facts {
        now: Timestamp::from_millis(0),
        media: &[],
        settings: SettingsFact::NotNeeded,
        recent_registrations: 0,
    };
    match decide(&context.principal.policies, Caller::Gateway, &request, &facts) {
        Decision::Deny(reason) => Err(GatewayError::denied(reason, request.subject)),
        Decision::Allow(_permit) => Ok(Exchange {
            traffic: Traffic::Question,
            number: Some(number),
            principal: context.principal.clone(),
            method: Method::GET,
            destination: ExchangeTarget::Graph(match question {
                Question::Settings => format!("/{QUESTION_VERSION}/{number}/settings"),
                Question::Media(media) => format!("/{QUESTION_VERSION}/{media}?phone_number_id={number}"),
            }),
            body: Outbound::Empty,
            content_type: None,
            accept: None,
            file_offset: None,
            credential: context.credential.clone(),
        }),
    }
}

/// One exchange with Meta: everything of it but the token. Private fields: it comes from a permit or not at all.
///
/// ```compile_fail
/// use curfew::layers::enforce::{Exchange, ExchangeTarget};
/// fn forged(principal: curfew::call::Principal) -> Exchange {
///     Exchange {
///         traffic: curfew::guard::Traffic::Call,
///         number: None,
///         principal,
///         method: http::Method::GET,
///         destination: ExchangeTarget::Graph("/me".to_owned()),
///         body: curfew::body::Outbound::Empty,
///         content_type: None,
///         accept: None,
///         file_offset: None,
///         credential: curfew::call::Credential::Gateway,
///     }
/// }
/// ```
pub struct Exchange {
    traffic: Traffic,
    number: Option<PhoneNumberId>,
    principal: Principal,
    method: Method,
    destination: ExchangeTarget,
    body: Outbound,
    content_type: Option<HeaderValue>,
    accept: Option<HeaderValue>,
    file_offset: Option<FileOffset>,
    credential: Credential,
}

/// Where an exchange goes.
#[derive(Clone, Debug)]
pub enum ExchangeTarget {
    /// The Graph API: path and query.
    Graph(String),
    /// A URL of the media host.
    Media(MediaUrl),
}

/// An exchange's parts, for the layer that adds the token and builds the request.
pub struct ExchangeParts {
    /// Method.
    pub method: Method,
    /// Where it goes.
    pub destination: ExchangeTarget,
    /// Body.
    pub body: Outbound,
    /// The body's encoding.
    pub content_type: Option<HeaderValue>,
    /// What the caller would read.
    pub accept: Option<HeaderValue>,
    /// Where the file of a resumable upload goes on.
    pub file_offset: Option<FileOffset>,
    /// Whose token goes with it.
    pub credential: Credential,
}

impl Exchange {
    /// What it is for those who let it out.
    #[must_use]
    pub fn facts(&self, guard: &Guard) -> GuardFacts {
        GuardFacts {
            traffic: self.traffic,
            host: match self.destination {
                ExchangeTarget::Graph(_) => Host::Graph,
                ExchangeTarget::Media(_) => Host::Media,
            },
            number: self.number,
            is_upload: matches!(self.body, Outbound::Upload(_) | Outbound::Raw(_)),
            caller: share_key(guard, &self.principal, &self.credential),
        }
    }

    /// Takes it apart.
    #[must_use]
    pub fn into_parts(self) -> ExchangeParts {
        let Self {
            traffic: _,
            number: _,
            principal: _,
            method,
            destination,
            body,
            content_type,
            accept,
            file_offset,
            credential,
        } = self;
        ExchangeParts {
            method,
            destination,
            body,
            content_type,
            accept,
            file_offset,
            credential,
        }
    }
}

/// How a form ended: the handle that its sender keeps.
pub struct FormEnd {
    kind: &'static FormKind,
    verdict: UploadVerdict<Inbound, Withheld>,
    mime: Option<&'static MediaType>,
    subject: Subject,
    becomes: Option<Arc<OnceLock<NewUpload>>>,
}

/// What came of a form.
#[derive(Debug)]
pub enum Form {
    /// It went out whole, with this life in minutes.
    Written {
        /// `ttl_minutes` as written.
        ttl_minutes: Option<u32>,
        /// By what it will be known again, where its number reuses media.
        becomes: Option<NewUpload>,
    },
    /// It was broken off, because this medium stands for it.
    Known(StandIn),
    /// It was broken off, for this reason.
    Stopped(GatewayError),
    /// Meta stopped taking it before it had ended.
    NotEnded,
}

impl FormEnd {
    /// What came of the form. To be asked once the exchange has ended.
    pub fn outcome(mut self) -> Form {
        match self.verdict.try_take() {
            Some(UploadOutcome::Written(written)) => Form::Written {
                // The judge wrote it from a number.
                ttl_minutes: written
                    .fields
                    .get(FormField::TtlMinutes)
                    .and_then(|minutes| minutes.parse().ok()),
                becomes: self.becomes.and_then(|becomes| becomes.get().cloned()),
            },
            Some(UploadOutcome::Aborted(aborted)) => match aborted.reason {
                AbortReason::Refused(Withheld::Denied(reason)) => {
                    Form::Stopped(GatewayError::denied(reason, self.subject))
                }
                AbortReason::Refused(Withheld::Known(stand_in)) => Form::Known(stand_in),
                AbortReason::FileTooLarge { max_bytes } if self.kind.max_file_bytes().is_some() => {
                    let form = self.kind;
                    Form::Stopped(MultipartError::FileTooLong { form, max_bytes }.into())
                }
                AbortReason::FileTooLarge { max_bytes } => {
                    let mime = self.mime.map_or("", |mime| mime.mime);
                    let reason = Reason::FileTooLarge { mime, max_bytes };
                    Form::Stopped(GatewayError::denied(reason, self.subject))
                }
                AbortReason::Form(error) => Form::Stopped(GatewayError::Form(error)),
                AbortReason::Inbound(error) => Form::Stopped(super::reading::read_failure(&error)),
                AbortReason::Abandoned => Form::NotEnded,
            },
            None => Form::NotEnded,
        }
    }
}

/// What the second judgement of a form needs.
struct Judging {
    context: Context,
    request: Request<'static>,
    clock: Clock,
    readings: SettingsReadings,
    candidate: Option<Candidate>,
}

impl Judging {
    fn judge(self, form: WholeForm<'_>) -> Result<FormFields, Withheld> {
        let fields = form.fields;
        let text = |field| fields.get(field).map(Cow::Borrowed);
        let operation = match &self.request.operation {
            Operation::UploadMedia(begun) => Operation::UploadMedia(Upload {
                complete: true,
                ttl_minutes: text(FormField::TtlMinutes),
                declared_type: text(FormField::Type).or(begun.declared_type.clone()),
                use_case: text(FormField::UseCase),
                file_bytes: form.file_bytes,
                ..begun.clone()
            }),
            other => other.clone(),
        };
        let request = Request {
            operation,
            ..self.request
        };
        let settings = match request.subject {
            Subject::Number(number) => self.readings.last(number),
            Subject::Media { .. } | Subject::Account(_) | Subject::Other => SettingsFact::NotNeeded,
        };
        let facts = Facts {
            now: self.clock.now(),
            media: &[],
            settings,
            recent_registrations: 0,
        };
        let principal = &self.context.principal;
        match decide(&principal.policies, principal.caller(), &request, &facts) {
            Decision::Deny(reason) => Err(reason.into()),
            Decision::Allow(permit) => {
                // Only what is permitted: knowing a file excuses nothing.
                let stand_in = self
                    .candidate
                    .and_then(|candidate| candidate.judge(&self.context, &request, form, &permit));
                if let Some(stand_in) = stand_in {
                    return Err(Withheld::Known(stand_in));
                }
                let came = fields.get(FormField::TtlMinutes);
                let ttl_minutes: Option<u32> = match (permit.ttl(), permit.observed(), came) {
                    (Some(ttl), ..) => Some(ttl.minutes()),
                    (None, None, _) | (None, _, None) => None,
                    // Monitored: what the caller wrote passes, if it is a number at all.
                    (None, Some(reason), Some(text)) => Some(text.parse().map_err(|_| reason.clone())?),
                };
                if let Some(reason) = permit.observed() {
                    self.context.record.observed(reason.slug());
                }
                // The others as they came: whether they are right, or may be missing, is Meta's to say.
                Ok(fields.clone().with(
                    FormField::TtlMinutes,
                    ttl_minutes.map(|minutes| minutes.to_string()),
                ))
            }
        }
    }
}

fn open_form(
    form: OpenForm<Inbound>,
    judging: Judging,
) -> Result<(Outbound, HeaderValue, FormEnd), GatewayError> {
    let boundary = WireBoundary::random().map_err(|_| GatewayError::StoreUnavailable)?;
    let content_type = boundary.content_type();
    let file_type = form.file().content_type.clone();
    let declared = match &judging.request.operation {
        Operation::UploadMedia(upload) => upload.declared_type.clone(),
        _ => None,
    };
    let mime = file_type
        .as_ref()
        .map(multipart::MediaType::essence)
        .or(declared.as_deref())
        .and_then(MediaType::of);
    let subject = judging.request.subject;
    let enforced = judging.context.principal.policies.enforcement == Enforcement::Enforce;
    let kind = form.kind();
    let of_type = || mime.filter(|_| enforced).map(|mime| mime.max_bytes);
    let terms = FileTerms {
        max_file_bytes: kind.max_file_bytes().or_else(of_type).unwrap_or(u64::MAX),
        content_type: file_type,
        is_hashed: judging.candidate.is_some(),
    };
    let becomes = judging.candidate.as_ref().map(Candidate::becomes);
    let judge: Judge = Box::new(move |form: WholeForm<'_>| judging.judge(form));
    let (body, verdict) = form.into_body(boundary, terms, judge);
    Ok((
        Outbound::Upload(Box::new(body)),
        content_type,
        FormEnd {
            kind,
            verdict,
            mime,
            subject,
            becomes,
        },
    ))
}

/// The layer.
#[derive(Clone, Debug)]
pub struct EnforceLayer {
    clock: Clock,
}

impl EnforceLayer {
    /// Decides at the time that `clock` shows.
    #[must_use]
    pub const fn new(clock: Clock) -> Self {
        Self { clock }
    }
}

impl<S> Layer<S> for EnforceLayer {
    type Service = Enforce<S>;

    fn layer(&self, inner: S) -> Enforce<S> {
        Enforce {
            inner,
            clock: self.clock.clone(),
        }
    }
}

/// The service.
#[derive(Clone, Debug)]
pub struct Enforce<S> {
    inner: S,
    clock: Clock,
}

impl<S> Service<Call> for Enforce<S>
where
    S: Service<Permitted, Response = Answer, Error = GatewayError>,
{
    type Response = Answer;
    type Error = GatewayError;
    type Future = Either<S::Future, Ready<Result<Answer, GatewayError>>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), GatewayError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let facts = Facts {
            now: self.clock.now(),
            media: &call.media,
            settings: call.settings,
            recent_registrations: call.recent_registrations,
        };
        let principal = &call.context.principal;
        match decide(&principal.policies, principal.caller(), &call.request, &facts) {
            Decision::Deny(reason) => {
                let denied = GatewayError::denied(reason, call.request.subject);
                Either::Right(ready(Err(denied)))
            }
            Decision::Allow(permit) => {
                let record = &call.context.record;
                if let Some(reason) = permit.observed() {
                    record.observed(reason.slug());
                }
                let uses = permit.unverified_uses();
                if !uses.is_empty() {
                    let uses: Vec<_> = uses.iter().map(ToString::to_string).collect();
                    record.unverified(uses.join(", "));
                }
                let permitted = Permitted {
                    permit,
                    call,
                    paced: None,
                    ticket: None,
                };
                Either::Left(self.inner.call(permitted))
            }
        }
    }
}
