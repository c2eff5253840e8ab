//! Gathers what a decision needs: reads the body, looks up pins, asks Meta where the policy says so.
//!
//! It sits above Enforce, since Enforce decides on what is gathered here and on nothing else. Nothing of the caller's
//! request goes to Meta from here; the gateway's own questions do, each with a permit of its own.

use std::borrow::Cow;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use curfew_policies::{
    Decision, Facts, Generation, MediaFact, MediaId, Message, Minute, NodeId, NumberPolicy, Operation,
    Origin, PhoneNumberId, Pin, Request, SettingsFact, StorageMode, Subject, UnknownIds, UnverifiedOperation,
    Upload, decide,
};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tower::{Layer, Service};

use super::BoxFuture;
use super::ask::{Asker, Owned};
use super::download::Wanted;
use super::enforce::Exchange;
use super::graph_token::caller_tag;
use crate::body::Inbound;
use crate::budget::JsonBudget;
use crate::call::{Answer, Call, Classified, Context, Destination, Payload, Target};
use crate::clock::Clock;
use crate::error::GatewayError;
use crate::graph::classify::Head;
use crate::graph::json;
use crate::graph::message::{self, Body as MessageBody, MessageError};
use crate::graph::multipart::{Boundary, IntakeError, UploadForm, boundary_of};
use crate::graph::routes::{BodyKind, Kind, Route};
use crate::graph::settings::{STORAGE_NAMES, read_registration, read_settings};
use crate::server::{BodyReadError, FrontDoorRefusal};
use crate::stores::{
    Ask, Claims, DenialBudget, MediaPins, RegistrationCall, Registrations, SettingsReadings, UrlSigner,
};
use crate::upstream::{CollectError, ExchangeError, MetaAnswer, collect};

/// Inbound media live seven days, under No Storage one hour (Cloud API, "Media" and "No Storage").
const INBOUND_MINUTES: u32 = 7 * 24 * 60;
const INBOUND_NO_STORAGE_MINUTES: u32 = 60;

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
                self.judge_upload_start(&context, &head).await?;
                let (operation, payload) = self.read(&head, &parts.headers, body).await?;
                let request = Request {
                    subject: self.subject(&context, &head),
                    generation: head.generation(),
                    operation,
                };
                let destination = Destination::Graph {
                    method: parts.method,
                    target: head.upstream_target,
                };
                (request, destination, payload)
            }
        };
        context.record.operation(request.operation.name());

        // Pins last: asking for settings may take a while, and a medium may be deleted meanwhile.
        let settings = self.settings_fact(&context, &request).await;
        let media = match &destination {
            Destination::Graph { .. } => self.media_facts(&context, &request).await?,
            Destination::MediaHost { claims, .. } => vec![self.granted(claims)],
        };
        let recent_registrations = self.recent_registrations(&request);
        Ok(Call {
            context,
            request,
            media,
            settings,
            recent_registrations,
            destination,
            payload,
            accept,
        })
    }

    /// Judges an upload by what is known before its body: a number that may not upload now says so before the first byte.
    async fn judge_upload_start(&self, context: &Context, head: &Head) -> Result<(), GatewayError> {
        if head.route.kind != Kind::UploadMedia {
            return Ok(());
        }
        let request = Request {
            subject: head.subject,
            generation: head.generation(),
            operation: Operation::UploadMedia(Upload {
                declared_type: head.query("type").map(|value| Cow::Owned(value.to_owned())),
                ..Upload::default()
            }),
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

    /// Reads the body and makes the operation of it.
    async fn read(
        &self,
        head: &Head,
        headers: &HeaderMap,
        body: Inbound,
    ) -> Result<(Operation<'static>, Payload), GatewayError> {
        match head.route.body {
            BodyKind::None => {
                expect_no_body(body).await?;
                Ok((operation_without_body(head.route, head.node), Payload::Empty))
            }
            BodyKind::JsonOrNone if body.is_end_stream() => {
                Ok((operation_without_body(head.route, head.node), Payload::Empty))
            }
            // Over HTTP/2 a DELETE's end may come in a frame of its own: only then it is known to have no body.
            BodyKind::JsonOrNone if !headers.contains_key(CONTENT_TYPE) => {
                expect_no_body(body).await.map_err(|error| match error {
                    GatewayError::UnexpectedBody => wrong_content_type(headers, "application/json"),
                    error => error,
                })?;
                Ok((operation_without_body(head.route, head.node), Payload::Empty))
            }
            BodyKind::Json | BodyKind::JsonOrNone => {
                expect_content_type(headers, "application/json")?;
                let body = self.collect_json(headers, body).await?;
                if body.is_empty() && head.route.body == BodyKind::JsonOrNone {
                    return Ok((operation_without_body(head.route, head.node), Payload::Empty));
                }
                let operation = operation_of_json(head, &body)?;
                Ok((operation, Payload::Json(body)))
            }
            BodyKind::MediaForm => {
                let boundary = upload_boundary(headers)?;
                let form = UploadForm::new(&boundary, body).read_head().await;
                let form = form.map_err(|stopped| intake_error(stopped.reason))?;
                let upload = Upload {
                    complete: false,
                    ttl_minutes: form.fields().ttl_minutes.clone().map(Cow::Owned),
                    declared_type: form
                        .fields()
                        .media_type
                        .clone()
                        .or_else(|| head.query("type").map(str::to_owned))
                        .map(Cow::Owned),
                    file_type: form
                        .file()
                        .content_type
                        .as_ref()
                        .map(|value| Cow::Owned(value.to_string())),
                    use_case: form.fields().use_case.clone().map(Cow::Owned),
                    file_bytes: 0,
                };
                Ok((Operation::UploadMedia(upload), Payload::Form(Box::new(form))))
            }
            BodyKind::Raw => {
                let operation = operation_without_body(head.route, head.node);
                Ok((operation, Payload::Raw(body)))
            }
        }
    }

    async fn collect_json(&self, headers: &HeaderMap, body: Inbound) -> Result<Bytes, GatewayError> {
        let most = self.sources.json_bytes;
        let announced = headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse::<usize>().ok());
        if announced.is_some_and(|announced| announced > most) {
            return Err(GatewayError::JsonTooLarge(most));
        }
        // Before a byte of it is read: what is not read stays in the client's own memory.
        let room = self
            .sources
            .json_budget
            .take(announced.unwrap_or(most))
            .ok_or(GatewayError::Busy)?;
        let body = collect(body, most).await.map_err(|error| match error {
            CollectError::TooLarge => GatewayError::JsonTooLarge(most),
            CollectError::Broken(error) => read_failure(error.as_ref()),
        })?;
        Ok(room.hold(body))
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
    fn granted(&self, claims: &Claims) -> MediaFact {
        MediaFact::Pinned(claims.pin(&self.sources.pins))
    }

    fn pinned(&self, media: MediaId) -> MediaFact {
        self.sources
            .pins
            .find(media)
            .map_or(MediaFact::Unknown, MediaFact::Pinned)
    }

    async fn media_fact(
        &self,
        context: &Context,
        media: MediaId,
        number: Option<PhoneNumberId>,
    ) -> Result<MediaFact, GatewayError> {
        let caller = context.principal.caller();
        let known = self.pinned(media);
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
            Ok(_)
                if self
                    .sources
                    .pins
                    .find(media)
                    .is_some_and(|pin| pin.number != number) =>
            {
                question.denied();
                Ok(MediaFact::Denied)
            }
            Ok(Owned::Theirs(_)) => {
                question.give_back();
                let minutes = match policy.storage {
                    StorageMode::NoStorage => INBOUND_NO_STORAGE_MINUTES,
                    StorageMode::Default | StorageMode::InCountry(_) => INBOUND_MINUTES,
                };
                let pin = Pin {
                    number,
                    ends: asked_at.after(self.sources.minute.times(minutes)),
                    origin: Origin::Inbound,
                };
                self.sources
                    .pins
                    .record(media, pin)
                    .await
                    .map_err(|_| GatewayError::StoreUnavailable)?;
                Ok(self.pinned(media))
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

    fn recent_registrations(&self, request: &Request<'_>) -> u32 {
        let Subject::Number(number) = request.subject else {
            return 0;
        };
        match request.operation {
            Operation::Register(_) => self
                .sources
                .registrations
                .recent(number, RegistrationCall::Register),
            Operation::Deregister => self
                .sources
                .registrations
                .recent(number, RegistrationCall::Deregister),
            _ => 0,
        }
    }
}

pub(crate) fn operation_without_body(route: &Route, node: Option<NodeId>) -> Operation<'static> {
    let media = node.map(MediaId::from);
    match (route.kind, media) {
        (Kind::ReadMedia, Some(media)) => Operation::ReadMedia(media),
        (Kind::DeleteMedia, Some(media)) => Operation::DeleteMedia(media),
        (Kind::Deregister, _) => Operation::Deregister,
        (Kind::RequestCode, _) => Operation::RequestCode,
        (Kind::VerifyCode, _) => Operation::VerifyCode,
        (Kind::Unverified(operation), _) => Operation::Unverified(operation),
        (Kind::RedirectWebhooks, _) => Operation::RedirectWebhooks,
        (Kind::Read, _) => Operation::Read(route.name),
        _ => Operation::Manage(route.name),
    }
}

/// Makes the operation of a JSON body.
pub(crate) fn operation_of_json(head: &Head, body: &[u8]) -> Result<Operation<'static>, GatewayError> {
    let sends = |body| -> Result<Option<Message<'static>>, GatewayError> {
        match message::read(body)? {
            MessageBody::ReadReceipt => Ok(None),
            MessageBody::Send(message, _recipient) => Ok(Some(message.into_owned())),
        }
    };
    match head.route.kind {
        Kind::Messages => Ok(sends(body)?.map_or(Operation::MarkRead, Operation::SendMessage)),
        Kind::MarketingMessages => match sends(body)? {
            Some(message) => Ok(Operation::SendMarketing(message)),
            None => Err(MessageError::ReceiptMisplaced.into()),
        },
        kind => operation_of_management(head, kind, body),
    }
}

/// The members that send a number's or an account's webhooks elsewhere, wherever a body has them (Cloud API, "Webhooks
/// overrides"; Graph API, "Subscriptions").
const WEBHOOK_NAMES: [&str; 3] = ["webhook_configuration", "override_callback_uri", "callback_url"];

/// The members of a call that make Meta keep what is said.
const RECORDING_NAMES: [&str; 2] = ["recording", "transcription"];

/// Every name that is looked for at any depth of a body that manages something.
const WATCHED_NAMES: &[&str] = &[
    "webhook_configuration",
    "override_callback_uri",
    "callback_url",
    "verify_token",
    "storage_configuration",
    "data_localization_region",
    "meta_store_retention_minutes",
    "retention_minutes",
    "recording",
    "transcription",
];

fn operation_of_management(head: &Head, kind: Kind, body: &[u8]) -> Result<Operation<'static>, GatewayError> {
    let names = json::check_names(body, WATCHED_NAMES)?;
    let is_about_storage = matches!(kind, Kind::ChangeSettings | Kind::Register);
    // No other call is documented to have a member of storage: one that does would change it unseen.
    let misplaced = names
        .control_parameter()
        .or_else(|| names.find_anywhere(&STORAGE_NAMES));
    if let Some(key) = misplaced.filter(|_| !is_about_storage) {
        return Err(GatewayError::ControlMember(
            curfew_policies::shown(key).into_owned(),
        ));
    }
    let redirects = names.find_anywhere(&WEBHOOK_NAMES).is_some()
        || (kind == Kind::SubscribeApp && names.find_anywhere(&["verify_token"]).is_some());
    if redirects {
        return Ok(Operation::RedirectWebhooks);
    }
    Ok(match kind {
        Kind::ChangeSettings => Operation::ChangeSettings(read_settings(body)?.into_owned()),
        Kind::Register => Operation::Register(read_registration(body)?.into_owned()),
        Kind::Call if names.find_anywhere(&RECORDING_NAMES).is_some() => {
            Operation::Unverified(UnverifiedOperation::CallRecording)
        }
        _ => operation_without_body(head.route, head.node),
    })
}

async fn expect_no_body(mut body: Inbound) -> Result<(), GatewayError> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| read_failure(&error))?;
        if frame.data_ref().is_some_and(|data| !data.is_empty()) {
            return Err(GatewayError::UnexpectedBody);
        }
    }
    Ok(())
}

/// The boundary of an upload's form, from its one `Content-Type`.
pub(crate) fn upload_boundary(headers: &HeaderMap) -> Result<Boundary, GatewayError> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(wrong_content_type(headers, "multipart/form-data"));
    };
    let is_form = value
        .to_str()
        .is_ok_and(|value| curfew_policies::essence(value).eq_ignore_ascii_case("multipart/form-data"));
    if !is_form {
        return Err(wrong_content_type(headers, "multipart/form-data"));
    }
    Ok(boundary_of(value)?)
}

fn intake_error(error: IntakeError<BodyReadError>) -> GatewayError {
    match error {
        IntakeError::Form(error) => GatewayError::Form(error),
        IntakeError::Inbound(error) => read_failure(&error),
    }
}

/// Exactly one `Content-Type`, with this essence; `charset=utf-8` may follow.
pub(crate) fn expect_content_type(headers: &HeaderMap, expected: &'static str) -> Result<(), GatewayError> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(wrong_content_type(headers, expected));
    };
    let Ok(value) = value.to_str() else {
        return Err(wrong_content_type(headers, expected));
    };
    let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
    let parameters = parameters.trim_ascii();
    let charset_is_fine = parameters.is_empty()
        || parameters.eq_ignore_ascii_case("charset=utf-8")
        || parameters.eq_ignore_ascii_case("charset=\"utf-8\"");
    if essence.trim_ascii().eq_ignore_ascii_case(expected) && charset_is_fine {
        Ok(())
    } else {
        Err(wrong_content_type(headers, expected))
    }
}

fn wrong_content_type(headers: &HeaderMap, expected: &'static str) -> GatewayError {
    let came = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map_or_else(
            || "none".to_owned(),
            |value| format!("{:?}", curfew_policies::shown(value)),
        );
    GatewayError::ContentType { expected, came }
}

/// What broke a body: the front door, its pauses, or the connection.
pub(crate) fn read_failure(error: &(dyn std::error::Error + 'static)) -> GatewayError {
    match FrontDoorRefusal::of_error(error) {
        Some(refusal) => GatewayError::FrontDoor(refusal),
        None => GatewayError::BodyBroken,
    }
}
