//! The operator's listener: is the process alive, does it take requests, what is kept; and the order to keep it no longer.
//!
//! It never shares a port with callers, asks nobody who they are, and says nothing of what passed: it is for operators
//! alone, on loopback or a network of their own.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use curfew_policies::{MediaId, PhoneNumberId};
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tower::Service;

use crate::body::{BoxError, Inbound};
use crate::graph::json;
use crate::graph::routes::BodyKind;
use crate::guard::Guard;
use crate::layers::BoxFuture;
use crate::layers::reading::expect_json;
use crate::server::{FrontDoorLimits, FrontDoorRefusal, refusal_of};
use crate::stores::KnownUploads;
use crate::stores::limits::{Place, SendLimits};
use crate::stores::media_cache::{EndReason, MediaCache, MediaKey, PurgeOrder, Scope};
use crate::telemetry::Telemetry;
use crate::upstream::{CollectError, collect};

/// The largest order, in bytes: two ids and room for blanks.
const ORDER_BYTES: usize = 1024;

const READ: &str = "GET, HEAD";
const POST: &str = "POST";

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Prometheus's text format ("Exposition formats").
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Whether the gateway takes requests: true from the moment it listens until it drains.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Sets it.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The service behind the operator's listener.
#[derive(Clone, Debug)]
pub struct Admin {
    readiness: Readiness,
    limits: FrontDoorLimits,
    media_cache: MediaCache,
    known_uploads: KnownUploads,
    send_limits: SendLimits,
    guard: Guard,
    telemetry: Telemetry,
}

/// What an operator is told.
struct Said {
    status: StatusCode,
    text: String,
    content_type: HeaderValue,
    /// The methods that would do, where the one that came does not.
    allow: Option<&'static str>,
}

impl Said {
    fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
            content_type: TEXT,
            allow: None,
        }
    }

    fn json(value: &serde_json::Value) -> Self {
        Self {
            content_type: JSON,
            ..Self::text(StatusCode::OK, value.to_string())
        }
    }

    /// What something is like now: numbers, ids and names alone.
    fn state(now: impl Serialize) -> Self {
        match serde_json::to_value(now) {
            Ok(value) => Self::json(&value),
            Err(error) => Self::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }

    fn only(methods: &'static str) -> Self {
        Self {
            allow: Some(methods),
            ..Self::text(StatusCode::METHOD_NOT_ALLOWED, format!("here only: {methods}"))
        }
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let Self {
            status,
            mut text,
            content_type,
            allow,
        } = self;
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, content_type);
        if let Some(methods) = allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        response
    }
}

impl Admin {
    /// Answers with what `readiness` says and `media_cache` keeps.
    #[must_use]
    pub const fn new(
        readiness: Readiness,
        limits: FrontDoorLimits,
        media_cache: MediaCache,
        known_uploads: KnownUploads,
        send_limits: SendLimits,
        guard: Guard,
        telemetry: Telemetry,
    ) -> Self {
        Self {
            readiness,
            limits,
            media_cache,
            known_uploads,
            send_limits,
            guard,
            telemetry,
        }
    }

    async fn answer(self, request: Request<Incoming>) -> Said {
        if let Some(refusal) = refusal_of(&request, &self.limits) {
            return Said::text(refusal.status(), refusal.details());
        }
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/livez" | "/readyz" | "/cache" | "/limits" | "/upstream" | "/metrics" if !reads => {
                Said::only(READ)
            }
            "/purge" | "/open" if *request.method() != Method::POST => Said::only(POST),
            "/livez" => Said::text(StatusCode::OK, "alive"),
            "/readyz" if self.readiness.is_ready() => Said::text(StatusCode::OK, "ready"),
            "/readyz" => Said::text(StatusCode::SERVICE_UNAVAILABLE, "not ready"),
            "/cache" => Said::json(&self.kept()),
            "/upstream" => Said::state(self.guard.snapshot()),
            "/purge" => self.purge(request).await,
            "/limits" => Said::state(self.send_limits.snapshot()),
            "/open" => self.open(request).await,
            "/metrics" => self.metrics(),
            _ => Said::text(
                StatusCode::NOT_FOUND,
                "here are /livez, /readyz, /cache, /limits, /upstream, /metrics, POST /purge and POST /open",
            ),
        }
    }

    /// What the cache holds and did: numbers only.
    fn kept(&self) -> serde_json::Value {
        let stats = self.media_cache.stats();
        let ended: serde_json::Map<_, _> = EndReason::SLUGS
            .iter()
            .zip(stats.ended)
            .map(|(reason, count)| ((*reason).to_owned(), count.into()))
            .collect();
        serde_json::json!({
            "entries": stats.entries,
            "bytes": stats.held_bytes,
            "reserved_bytes": stats.reserved_bytes,
            "hits": stats.hits,
            "joined": stats.joins,
            "misses": stats.leads,
            "bypasses": stats.bypasses,
            "ended": ended,
        })
    }

    /// Ends the copies that the order names, and lets no new upload be answered with those media. When it is answered, the
    /// copies' bytes are overwritten.
    async fn purge(self, request: Request<Incoming>) -> Said {
        let scope = match self.order(request, PurgeOrderBody::scope).await {
            Ok(scope) => scope,
            Err(said) => return said,
        };
        match scope {
            Scope::Entry(MediaKey { media, .. }) | Scope::Media(media) => {
                self.known_uploads.forget_media(media)
            }
            Scope::Number(number) => self.known_uploads.forget_number(number),
            Scope::All => self.known_uploads.forget_all(),
        }
        let purged = self.media_cache.purge(scope, PurgeOrder::Request);
        Said::json(&serde_json::json!({ "entries": purged.entries, "bytes": purged.bytes }))
    }

    /// What is counted, for Prometheus.
    fn metrics(&self) -> Said {
        match self.telemetry.page() {
            Ok(page) => Said {
                content_type: METRICS,
                ..Said::text(StatusCode::OK, page)
            },
            Err(error) => Said::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }

    /// Opens a number or an account that Meta's word has closed.
    async fn open(self, request: Request<Incoming>) -> Said {
        let place = match self.order(request, OpenOrder::place).await {
            Ok(place) => place,
            Err(said) => return said,
        };
        Said::json(&serde_json::json!({ "was_closed": self.send_limits.open(place) }))
    }

    /// Reads an order, and makes of it what it means.
    async fn order<O: DeserializeOwned, T>(
        &self,
        request: Request<Incoming>,
        meaning: impl FnOnce(O) -> Result<T, &'static str>,
    ) -> Result<T, Said> {
        let wrong = |why: String| Said::text(StatusCode::BAD_REQUEST, why);
        let (parts, body) = request.into_parts();
        check_content_type(&parts.headers)?;
        let body = Inbound::new(body, &self.limits);
        let too_large = || {
            let why = format!("the order is larger than {ORDER_BYTES} bytes");
            Said::text(StatusCode::PAYLOAD_TOO_LARGE, why)
        };
        // Before a byte of it is read.
        if body.size_hint().lower() > u64::try_from(ORDER_BYTES).unwrap_or(u64::MAX) {
            return Err(too_large());
        }
        let body = collect(body, ORDER_BYTES).await.map_err(|error| match error {
            CollectError::TooLarge | CollectError::NoRoom => too_large(),
            CollectError::Broken(error) => broken(&error),
        })?;
        json::check_object(&body).map_err(|error| wrong(error.to_string()))?;
        let order = serde_json::from_slice(&body).map_err(|error| wrong(error.to_string()))?;
        meaning(order).map_err(|why| wrong(why.to_owned()))
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Said> {
    expect_json(headers, BodyKind::Json)
        .map_err(|error| Said::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.to_string()))
}

fn broken(error: &BoxError) -> Said {
    match FrontDoorRefusal::of_error(error.as_ref()) {
        Some(refusal) => Said::text(refusal.status(), refusal.details()),
        None => Said::text(StatusCode::BAD_REQUEST, "the order broke off before its end"),
    }
}

/// The body of `POST /purge`. Ids are strings, as in Meta's own bodies.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PurgeOrderBody {
    #[serde(default, deserialize_with = "given")]
    phone_number_id: Option<String>,
    #[serde(default, deserialize_with = "given")]
    media_id: Option<String>,
}

/// A member that is there has a value: a null would say less than is meant, and do more.
fn given<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    String::deserialize(value).map(Some)
}

/// The body of `POST /open`: one of the two.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenOrder {
    #[serde(default, deserialize_with = "given")]
    phone_number_id: Option<String>,
    #[serde(default, deserialize_with = "given")]
    waba_id: Option<String>,
}

impl OpenOrder {
    fn place(self) -> Result<Place, &'static str> {
        match (self.phone_number_id, self.waba_id) {
            (number @ Some(_), None) => number_of(number)?
                .map(Place::Number)
                .ok_or("name phone_number_id or waba_id"),
            (None, Some(account)) => account
                .parse()
                .map(Place::Account)
                .map_err(|_| "waba_id must be a string of digits"),
            (Some(_), Some(_)) => Err("name phone_number_id or waba_id, not both"),
            (None, None) => Err("name phone_number_id or waba_id"),
        }
    }
}

fn number_of(text: Option<String>) -> Result<Option<PhoneNumberId>, &'static str> {
    text.map(|text| {
        text.parse()
            .map_err(|_| "phone_number_id must be a string of digits")
    })
    .transpose()
}

impl PurgeOrderBody {
    fn scope(self) -> Result<Scope, &'static str> {
        let number = number_of(self.phone_number_id)?;
        let media: Option<MediaId> = self
            .media_id
            .map(|text| text.parse().map_err(|_| "media_id must be a string of digits"))
            .transpose()?;
        match (number, media) {
            (Some(number), Some(media)) => Ok(Scope::Entry(MediaKey { number, media })),
            (Some(number), None) => Ok(Scope::Number(number)),
            (None, Some(media)) => Ok(Scope::Media(media)),
            // Not taken for "all": an order that was cut short must not do the most.
            (None, None) => Err("name phone_number_id, media_id or both"),
        }
    }
}

impl Service<Request<Incoming>> for Admin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let admin = self.clone();
        Box::pin(async move { Ok(admin.answer(request).await.into_response()) })
    }
}
