//! Keeps the books on what Meta answers: pins what was uploaded, buries what was deleted, rewrites URLs that would lead callers
//! round the gateway, reads settings anew after they were changed.
//!
//! It sits below Enforce, so that only what was permitted is ever booked, and it turns every failure of an exchange into
//! what the caller may safely do next.

use std::error::Error as _;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use arc_swap::ArcSwap;
use bytes::Bytes;
use curfew_policies::{
    Enforcement, MOST_REGISTRATION_CALLS, MediaId, Minute, NumberPolicy, Origin, PhoneNumberId, Pin,
    PolicySet, Reason, SendClass, StorageMode, Subject, Timestamp, TtlMinutes, WabaId,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio_util::task::TaskTracker;
use tower::{Layer, Service};

use super::ask::Asker;
use super::enforce::{Exchange, Form, Permitted};
use super::graph_token::{caller_key, caller_tag};
use super::once::Ticket;
use super::pace::Paced;
use super::pass_on::{passed, tell_observed, whole};
use super::reuse::{NewUpload, Reuse};
use super::{BoxFuture, download};
use crate::call::{Answer, Context, Credential, Destination, Purpose};
use crate::clock::Clock;
use crate::error::GatewayError;
use crate::graph::answer::{self, MediaContent};
use crate::graph::links::{Links, MediaLinks};
use crate::graph::media_host::MediaHosts;
use crate::graph::media_url::media_url;
use crate::guard::Guard;
use crate::stores::limits::SendLimits;
use crate::stores::media_cache::{MediaCache, PurgeOrder, Scope};
use crate::stores::{
    Claims, Grant, MediaPins, Note, RegistrationCall, Registrations, SettingsReadings, TemplateClasses,
    UrlGrants, UrlSigner,
};
use crate::upstream::{ExchangeError, MetaAnswer, collect};

/// When an uploaded medium ends, for callers: the time that Meta does not tell. RFC 3339.
pub const CURFEW_MEDIA_EXPIRES: HeaderName = HeaderName::from_static("curfew-media-expires");
/// Under `enforcement = "monitor"`: the rule that would have refused the request.
pub const CURFEW_OBSERVED: HeaderName = HeaderName::from_static("curfew-observed");

/// The largest answer that is read whole: a page of a list.
const PAGE_BYTES: usize = 8 * 1024 * 1024;
/// The largest answer to an upload, a metadata read or a settings call.
const SMALL_ANSWER_BYTES: usize = 256 * 1024;

/// Everything that answers change or need.
#[derive(Clone)]
pub struct Books {
    /// Whose each medium is.
    pub pins: MediaPins,
    /// The settings that were read.
    pub readings: SettingsReadings,
    /// The registrations that were made.
    pub registrations: Registrations,
    /// What stands behind the gateway's media URLs.
    pub grants: UrlGrants,
    /// Copies of media.
    pub media_cache: MediaCache,
    /// The policies in force, which say how long a copy may be kept.
    pub policies: Arc<ArcSwap<PolicySet>>,
    /// Knows uploads again.
    pub reuse: Reuse,
    /// Signs them.
    pub signer: Arc<UrlSigner>,
    /// Where media bytes may come from.
    pub media_hosts: MediaHosts,
    /// The Graph API's origin, as it begins links in answers.
    pub graph_origin: String,
    /// The time.
    pub clock: Clock,
    /// The length of a minute of storage.
    pub minute: Minute,
    /// Exchanges that go on when their callers hang up. Whoever ends the gateway waits for them.
    pub exchanges: TaskTracker,
    /// Hears what Meta makes of sends.
    pub limits: SendLimits,
    /// Knows which tokens Meta has taken.
    pub guard: Guard,
    /// Learns from reads of templates.
    pub templates: TemplateClasses,
}

/// The layer.
#[derive(Clone)]
pub struct BooksLayer<M> {
    books: Arc<Books>,
    asker: Asker<M>,
}

impl<M> BooksLayer<M> {
    /// Keeps these books, and asks through `asker`.
    #[must_use]
    pub const fn new(books: Arc<Books>, asker: Asker<M>) -> Self {
        Self { books, asker }
    }
}

impl<M: Clone> Layer<M> for BooksLayer<M> {
    type Service = KeepBooks<M>;

    fn layer(&self, inner: M) -> KeepBooks<M> {
        KeepBooks {
            inner,
            books: Arc::clone(&self.books),
            asker: self.asker.clone(),
        }
    }
}

/// The service.
#[derive(Clone)]
pub struct KeepBooks<M> {
    inner: M,
    books: Arc<Books>,
    asker: Asker<M>,
}

impl<M> Service<Permitted> for KeepBooks<M>
where
    M: Service<Exchange, Response = MetaAnswer, Error = ExchangeError> + Clone + Send + Sync + 'static,
    M::Future: Send,
{
    type Response = Answer;
    type Error = GatewayError;
    type Future = BoxFuture<Result<Answer, GatewayError>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), GatewayError>> {
        self.inner
            .poll_ready(cx)
            .map_err(|error| failed(Purpose::Other, error))
    }

    fn call(&mut self, mut permitted: Permitted) -> Self::Future {
        let ready = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, ready);
        let keeper = Keeper {
            books: Arc::clone(&self.books),
            asker: self.asker.clone(),
            inner,
        };
        Box::pin(async move {
            let record = Arc::clone(&permitted.context().record);
            let purpose = permitted.purpose();
            let ticket = permitted.take_ticket();
            let paced = permitted.take_paced();
            // What Meta makes of a send teaches about those that come after it, whoever still waits for its answer.
            let goes_on = purpose.outlives_its_caller() || ticket.is_some() || paced.is_some();
            let mut answer = if goes_on {
                // A caller who hangs up ends this future, not the task.
                let hung_up = keeper.books.forget_reading(purpose);
                let exchanges = keeper.books.exchanges.clone();
                let kept = exchanges.spawn(keeper.keep(permitted, ticket, paced)).await;
                // The task has forgotten what was to be forgotten.
                if let Some(hung_up) = hung_up {
                    hung_up.defuse();
                }
                kept.map_err(|_| broken(purpose))??
            } else {
                keeper.keep(permitted, None, None).await?
            };
            tell_observed(&mut answer, &record);
            Ok(answer)
        })
    }
}

struct Keeper<M> {
    books: Arc<Books>,
    asker: Asker<M>,
    inner: M,
}

impl<M> Keeper<M>
where
    M: Service<Exchange, Response = MetaAnswer, Error = ExchangeError> + Clone + Send + Sync + 'static,
    M::Future: Send,
{
    async fn keep(
        mut self,
        permitted: Permitted,
        mut ticket: Option<Box<Ticket>>,
        mut paced: Option<Box<Paced>>,
    ) -> Result<Answer, GatewayError> {
        if let Destination::MediaHost { claims, wanted } = permitted.destination() {
            let (claims, wanted) = (*claims, wanted.clone());
            return download::fetch(self.inner, self.asker, self.books, permitted, claims, &wanted).await;
        }
        let context = permitted.context().clone();
        if let Destination::Known(stand_in) = permitted.destination() {
            return Ok(stand_in.answer(&context));
        }
        let purpose = permitted.purpose();
        let templates_of = permitted.templates_of();
        self.books.forget_uploads(purpose);
        let noted = self.note_registration(&context, purpose).await?;

        // Counted from before the first byte leaves: the earliest moment at which Meta can begin to count.
        let started = self.books.clock.now();
        let (clock, readings) = (self.books.clock.clone(), self.books.readings.clone());
        let (exchange, form_end) = permitted.into_exchange(clock, readings, &self.books.reuse)?;
        // Whatever comes of it but Meta's word that nothing did: it may have changed something.
        let forgets = self.books.forget_reading(purpose);
        if let (Purpose::ChangeStorage { number, .. }, Credential::Gateway) = (purpose, &context.credential) {
            // Nobody goes by what was read before while it is under way. Not in pass-through, where anybody may try.
            self.books.readings.forget(number);
        }
        if let Some(ticket) = &mut ticket {
            ticket.sets_out();
        }
        if let Some(paced) = &mut paced {
            paced.sets_out();
        }
        let answer = match upload_policy(&context, purpose) {
            None => self.inner.call(exchange).await,
            Some(policy) => {
                let ask = || self.asker.settings(&context, policy.phone_number_id);
                tokio::select! {
                    answer = self.inner.call(exchange) => answer,
                    never = self.books.readings.keep_good(policy, ask) => match never {},
                }
            }
        };
        // Once more: an upload may have come to its end while it was under way.
        self.books.forget_uploads(purpose);
        let (ttl_minutes, becomes) = match form_end.map(super::enforce::FormEnd::outcome) {
            Some(Form::Stopped(error)) => return Err(error),
            Some(Form::Known(stand_in)) => return Ok(stand_in.answer(&context)),
            Some(Form::Written { ttl_minutes, becomes }) => (ttl_minutes, becomes),
            Some(Form::NotEnded) | None => (None, None),
        };
        if let Purpose::DeleteMedia { media } = purpose {
            return self.book_deletion(&context, media, answer).await;
        }
        let is_outcome_unknown = match &answer {
            Ok(answer) => answer.status().is_redirection(),
            Err(error) => !error.is_unsent(),
        };
        if is_outcome_unknown {
            self.books.purge_deregistered(purpose);
        }
        if let Err(error) = &answer
            && error.is_unsent()
        {
            if let Some(ticket) = ticket.take() {
                ticket.free();
            }
            if let Some(paced) = paced.take() {
                paced.give_back();
            }
            if let (Purpose::ChangeStorage { number, .. }, Some((call, at))) = (purpose, noted) {
                // Meta does not count what it never saw.
                let taken_back = self.books.registrations.take_back(number, call, at).await;
                taken_back.map_err(|_| GatewayError::StoreUnavailable)?;
            }
        }
        let answer = answer.map_err(|error| failed(purpose, error))?;
        if answer.status().is_redirection() {
            return Err(match purpose {
                // It may be Meta's way to say that it is done.
                Purpose::Send => GatewayError::OutcomeUnknown,
                _ => GatewayError::UnusableAnswer("a redirect"),
            });
        }
        match purpose {
            Purpose::Upload { number } => {
                let life = (ttl_minutes, started);
                self.pin_upload(&context, number, life, becomes, answer).await
            }
            Purpose::ReadMedia { media, number } => {
                let (parts, body) = whole(answer, SMALL_ANSWER_BYTES).await?;
                if !parts.status.is_success() || answer::error_code(&body).is_some() {
                    // It may have been deleted by another way than through the gateway.
                    self.books.reuse.known.forget_media(media);
                    if context.principal.index.is_some() && answer::is_gone(&body) {
                        self.books.let_go(media);
                    }
                    let body = self.books.led_back(&context, MediaLinks::Kept, body)?;
                    return Ok(passed(parts, body));
                }
                let metadata = answer::media_metadata(&body)
                    .filter(|metadata| metadata.id == media)
                    .ok_or(GatewayError::UnusableAnswer(
                        "its metadata does not say where the media is",
                    ))?;
                let content = metadata.content.clone().ok_or(GatewayError::UnusableAnswer(
                    "its metadata does not say what the media is",
                ))?;
                let url = self
                    .books
                    .give_out_url(&context, media, number, &metadata.url, content)
                    .await?;
                let rewritten = metadata.rewritten(&body, &url);
                let body = self.books.led_back(&context, MediaLinks::Kept, rewritten)?;
                Ok(passed(parts, body))
            }
            Purpose::ChangeStorage { number, .. } => {
                // Only a refusal of the caller's own token takes nothing for granted: all else is forgotten at once.
                let is_pass_through = context.principal.index.is_none();
                let spares = forgets.filter(|_| is_pass_through && !answer.status().is_success());
                let answer = whole(answer, SMALL_ANSWER_BYTES).await;
                if !did_nothing(&answer) {
                    self.books.purge_deregistered(purpose);
                }
                let (parts, body) = answer?;
                // Whoever has no token of Meta's for a number neither stops it nor brings it nearer to a lock-out.
                if is_pass_through && answer::is_authorization_refusal(parts.status, &body) {
                    if let Some(spares) = spares {
                        spares.defuse();
                    }
                    if let Some((call, at)) = noted {
                        let taken_back = self.books.registrations.take_back(number, call, at).await;
                        taken_back.map_err(|_| GatewayError::StoreUnavailable)?;
                    }
                    return Ok(passed(parts, body));
                }
                drop(spares);
                if answer::success(&body) == Some(true) {
                    self.books.open_registered(purpose);
                }
                if let Some(policy) = context
                    .principal
                    .policies
                    .numbers
                    .get(&number)
                    .filter(|policy| policy.storage.is_restricted())
                {
                    self.books
                        .readings
                        .current(policy, || self.asker.settings(&context, number))
                        .await;
                }
                let body = self.books.led_back(&context, MediaLinks::Kept, body)?;
                Ok(passed(parts, body))
            }
            Purpose::Read | Purpose::DeleteMedia { .. } | Purpose::Other => {
                let (parts, body) = whole(answer, PAGE_BYTES).await?;
                if let Some(account) = templates_of {
                    self.books.learn_templates(account, &body);
                }
                if let Some(paced) = paced {
                    paced.hear(&parts, &body);
                }
                let media = MediaLinks::Emptied(&self.books.media_hosts);
                Ok(passed(parts, self.books.led_back(&context, media, body)?))
            }
            Purpose::ReadUnknownMedia => {
                let (parts, body) = whole(answer, SMALL_ANSWER_BYTES).await?;
                Ok(passed(
                    parts,
                    self.books.led_back(&context, MediaLinks::Kept, body)?,
                ))
            }
            Purpose::Send => {
                let (parts, body) = answer.into_parts();
                // Read whole before anything of it is told: broken off, it does not say what became of the send.
                let body = collect(body, PAGE_BYTES)
                    .await
                    .map_err(|_| GatewayError::OutcomeUnknown)?;
                if let Some(paced) = paced {
                    paced.hear(&parts, &body);
                }
                let body = self
                    .books
                    .led_back(&context, MediaLinks::Kept, body)
                    .map_err(|_| GatewayError::OutcomeUnknown)?;
                if let Some(ticket) = ticket {
                    ticket.book(&parts, &body).await;
                }
                Ok(passed(parts, body))
            }
        }
    }

    /// Counts a registration before it goes out: if the gateway dies on the way, it is counted all the same.
    async fn note_registration(
        &self,
        context: &Context,
        purpose: Purpose,
    ) -> Result<Option<(RegistrationCall, Timestamp)>, GatewayError> {
        let Purpose::ChangeStorage {
            number,
            registration: Some(kind),
        } = purpose
        else {
            return Ok(None);
        };
        let most = match context.principal.policies.enforcement {
            Enforcement::Enforce => MOST_REGISTRATION_CALLS,
            Enforcement::Monitor => u32::MAX,
        };
        let noted = self.books.registrations.note(number, kind, most).await;
        match noted.map_err(|_| GatewayError::StoreUnavailable)? {
            Note::Taken { at, .. } => Ok(Some((kind, at))),
            // Two calls may have been judged at once, with one place left.
            Note::Full { calls } => {
                let reason = Reason::RegistrationLockout { calls };
                Err(GatewayError::denied(reason, Subject::Number(number)))
            }
        }
    }

    /// Buries a medium unless Meta says that it is still there: what is not known to live is dead.
    ///
    /// That it is gone already is Meta's word only under the gateway's own token: any other may just not see it.
    async fn book_deletion(
        &self,
        context: &Context,
        media: MediaId,
        answer: Result<MetaAnswer, ExchangeError>,
    ) -> Result<Answer, GatewayError> {
        let purpose = Purpose::DeleteMedia { media };
        let answer = match answer {
            // Nothing of it reached Meta.
            Err(error) if error.is_unsent() => {
                return Err(failed(purpose, error));
            }
            Err(error) => Err(failed(purpose, error)),
            Ok(answer) if answer.status().is_redirection() => Err(GatewayError::UnusableAnswer("a redirect")),
            Ok(answer) => whole(answer, SMALL_ANSWER_BYTES).await,
        };
        let was_gone =
            context.principal.index.is_some() && answer.as_ref().is_ok_and(|(_, body)| answer::is_gone(body));
        if was_gone || !did_nothing(&answer) {
            let buried = self.books.pins.bury(media).await;
            // After the pin: a download that comes between finds either no pin, or no copy.
            self.books.let_go(media);
            buried.map_err(|_| GatewayError::StoreUnavailable)?;
        }
        answer.map(|(parts, body)| passed(parts, body))
    }

    /// Pins an uploaded medium before its id is told: no caller ever knows an id that the gateway does not.
    async fn pin_upload(
        &self,
        context: &Context,
        number: PhoneNumberId,
        (ttl_minutes, started): (Option<u32>, Timestamp),
        becomes: Option<NewUpload>,
        answer: MetaAnswer,
    ) -> Result<Answer, GatewayError> {
        let (mut parts, body) = whole(answer, SMALL_ANSWER_BYTES).await?;
        if !parts.status.is_success() || answer::error_code(&body).is_some() {
            let body = self.books.led_back(context, MediaLinks::Kept, body)?;
            return Ok(passed(parts, body));
        }
        let media = answer::uploaded_media(&body).ok_or(GatewayError::UnusableAnswer(
            "it does not name the uploaded media",
        ))?;
        let storage = context
            .principal
            .policies
            .numbers
            .get(&number)
            .map_or(StorageMode::NoStorage, |policy| policy.storage);
        // Without `ttl_minutes` a No Storage number's media live an hour, all others thirty days (Cloud API, "No Storage"
        // and "Media").
        let minutes = ttl_minutes.unwrap_or(match storage {
            StorageMode::NoStorage => TtlMinutes::MIN.minutes(),
            StorageMode::Default | StorageMode::InCountry(_) => TtlMinutes::MAX.minutes(),
        });
        let ends = started.after(self.books.minute.times(minutes));
        let pin = Pin {
            number,
            ends,
            origin: Origin::Upload,
        };
        let in_force = self
            .books
            .pins
            .record(media, pin)
            .await
            .map_err(|_| GatewayError::StoreUnavailable)?;
        if in_force.number != number {
            return Err(GatewayError::UnusableAnswer(
                "it names a media id of another number",
            ));
        }
        if context.principal.index.is_none() {
            let token = caller_key(&self.books.guard, &context.principal, &context.credential);
            self.books.guard.prove(token, number);
        }
        if let Some(becomes) = becomes {
            self.books.reuse.remember(becomes, media, in_force);
        }
        tell_end(&mut parts.headers, ends);
        let body = self.books.led_back(context, MediaLinks::Kept, body)?;
        Ok(passed(parts, body))
    }
}

/// Says until when a medium lives.
pub(super) fn tell_end(headers: &mut HeaderMap, ends: Timestamp) {
    if let Ok(ends) = HeaderValue::from_str(&ends.rfc3339()) {
        headers.insert(CURFEW_MEDIA_EXPIRES, ends);
    }
}

/// The policy of an upload's number, if its reading must stay good until the upload's end.
fn upload_policy(context: &Context, purpose: Purpose) -> Option<&NumberPolicy> {
    let Purpose::Upload { number } = purpose else {
        return None;
    };
    let policy = context.principal.policies.numbers.get(&number)?;
    policy.storage.is_restricted().then_some(policy)
}

/// Forgets a number's reading when it is dropped.
struct ForgetReading {
    readings: SettingsReadings,
    number: PhoneNumberId,
    is_armed: bool,
}

impl ForgetReading {
    /// Leaves the reading as it is.
    fn defuse(mut self) {
        self.is_armed = false;
    }
}

impl Drop for ForgetReading {
    fn drop(&mut self) {
        if self.is_armed {
            self.readings.forget(self.number);
        }
    }
}

impl Books {
    /// Ends the URLs and the copies of a medium that is, or may be, gone.
    fn let_go(&self, media: MediaId) {
        self.grants.forget_media(media);
        self.media_cache.purge(Scope::Media(media), PurgeOrder::Delete);
    }

    /// Ends the copies of a number that is, or may be, no longer registered.
    fn purge_deregistered(&self, purpose: Purpose) {
        if let Purpose::ChangeStorage {
            number,
            registration: Some(RegistrationCall::Deregister),
        } = purpose
        {
            self.media_cache
                .purge(Scope::Number(number), PurgeOrder::Deregistration);
        }
    }

    /// Learns the classes of an account's templates from a page of them.
    fn learn_templates(&self, account: WabaId, body: &[u8]) {
        let page = answer::templates(body);
        let classes = page
            .iter()
            .filter_map(|row| Some((&*row.name, SendClass::of_category(&row.category)?)));
        self.templates.learn(account, classes);
    }

    /// A number that was registered may send, whatever was said of it before.
    fn open_registered(&self, purpose: Purpose) {
        if let Purpose::ChangeStorage {
            number,
            registration: Some(RegistrationCall::Register),
        } = purpose
        {
            self.limits.registered(number);
        }
    }

    /// For a call that can change a number's settings: what forgets their reading once it is over.
    fn forget_reading(&self, purpose: Purpose) -> Option<ForgetReading> {
        match purpose {
            Purpose::ChangeStorage { number, .. } => Some(ForgetReading {
                readings: self.readings.clone(),
                number,
                is_armed: true,
            }),
            _ => None,
        }
    }

    /// For a call that ends media: no upload is answered with what may be gone. Even if Meta does nothing of it, forgetting costs
    /// one upload.
    fn forget_uploads(&self, purpose: Purpose) {
        match purpose {
            Purpose::DeleteMedia { media } => self.reuse.known.forget_media(media),
            Purpose::ChangeStorage { number, .. } => self.reuse.known.forget_number(number),
            _ => {}
        }
    }

    /// An answer that leads nobody round the gateway.
    fn led_back(&self, context: &Context, media: MediaLinks<'_>, body: Bytes) -> Result<Bytes, GatewayError> {
        let links = Links {
            graph: &self.graph_origin,
            origin: &context.origin,
            media,
        };
        match links.led_back(&body) {
            Ok(Some(rewritten)) => Ok(rewritten),
            Ok(None) => Ok(body),
            Err(_) => Err(GatewayError::UnusableAnswer(
                "it names an access token, and is no JSON that could be rid of it",
            )),
        }
    }

    /// A URL of the gateway's for a medium, remembering Meta's own behind it.
    async fn give_out_url(
        &self,
        context: &Context,
        media: MediaId,
        number: PhoneNumberId,
        upstream_url: &str,
        content: MediaContent,
    ) -> Result<String, GatewayError> {
        if self.media_hosts.check(upstream_url).is_none() {
            return Err(GatewayError::UnusableAnswer(
                "its media URL is on no host of upstream.media",
            ));
        }
        let token = match &context.credential {
            Credential::Gateway => None,
            Credential::Caller(token) => Some(token.clone()),
        };
        let caller = caller_tag(&self.signer, &context.principal, &context.credential);
        let unavailable = |_| GatewayError::StoreUnavailable;
        let grant = self
            .grants
            .put(Grant {
                media,
                number,
                caller,
                upstream_url: upstream_url.into(),
                content,
                token,
            })
            .map_err(unavailable)?;
        let now = self.clock.now();
        let media_ends = self.pins.look_up(media).await?.map_or(now, |pin| pin.ends);
        let claims = Claims {
            media,
            number,
            caller,
            grant,
            ends: self.signer.ends(now, media_ends),
        };
        Ok(media_url(&context.origin, &self.signer.sign(&claims)))
    }
}

/// Whether Meta plainly says that it did nothing of what it was asked to do. All else may have been done.
fn did_nothing(answer: &Result<(http::response::Parts, Bytes), GatewayError>) -> bool {
    answer.as_ref().is_ok_and(|(parts, body)| {
        parts.status.is_client_error()
            || answer::error_code(body).is_some()
            || answer::success(body) == Some(false)
    })
}

/// What a failed exchange means for the caller. A send whose bytes may have left is never called safe to repeat.
pub(super) fn failed(purpose: Purpose, error: ExchangeError) -> GatewayError {
    // Refusals are many, and told when the breaker opens.
    if !matches!(error, ExchangeError::Refused(_)) {
        let cause = error.source().map(ToString::to_string);
        tracing::warn!(%error, cause, "exchange with Meta failed");
    }
    match (error, purpose) {
        (ExchangeError::Refused(refusal), _) => refusal.into(),
        (ExchangeError::Unsent(_) | ExchangeError::NotBuilt, _) => GatewayError::Unreachable,
        (ExchangeError::Broken(_), purpose) => broken(purpose),
    }
}

/// What it means that an exchange came to no end.
const fn broken(purpose: Purpose) -> GatewayError {
    match purpose {
        Purpose::Send => GatewayError::OutcomeUnknown,
        _ => GatewayError::ExchangeBroken,
    }
}
