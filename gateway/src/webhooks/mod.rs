//! The way in for Meta's webhooks: checked, acted upon, handed on to the company's receiver, all while Meta waits.
//!
//! There is no queue and no copy: Meta hears 200 only once the receiver has answered 2xx, and keeps and repeats what it
//! could not deliver, for as long as the number's storage mode lets it (Cloud API, "Webhooks"; "No Storage": one hour). A
//! queue of ours would be content at rest.
//!
//! Nothing is parsed before Meta's signature was found right. What is not understood is handed on all the same. What it
//! deliberately does not do: rewrite the `url` of media, which is of no use without Meta's token.

mod books;
mod listener;
mod receiver;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_lc_rs::hmac;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use secrecy::SecretString;
use tokio::time::timeout;
use tower::Service;

use crate::body::Inbound;
use crate::budget::JsonBudget;
use crate::error::GatewayError;
use crate::graph::path::read_query;
use crate::graph::routes::BodyKind;
use crate::graph::webhook;
use crate::guard::CallerKey;
use crate::layers::BoxFuture;
use crate::layers::graph_token::{is_secret, signing_key};
use crate::layers::reading::{JsonRoom, collect_json, expect_json};
use crate::server::{FrontDoorLimits, refusal_of};
use crate::stores::StoreError;
use crate::telemetry::Telemetry;

pub use books::InboundBooks;
pub(crate) use listener::WebhookListener;
pub use receiver::Receiver;

/// The largest webhook, in bytes (Cloud API, "Webhooks overview": 3 MB).
pub const MOST_BYTES: usize = 3 * 1024 * 1024;
/// How long one webhook may take, from its head to the answer. Meta tries again.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest challenge that is given back. Meta's have ten digits.
const MOST_CHALLENGE: usize = 256;
/// HMAC-SHA256 of the body, as `sha256=` and hexadecimal digits (Cloud API, "Create a webhook endpoint").
const SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");
const SIGNATURE_PREFIX: &str = "sha256=";

const MODE: &str = "hub.mode";
const CHALLENGE: &str = "hub.challenge";
const VERIFY_TOKEN: &str = "hub.verify_token";

/// The service behind the listener for webhooks. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Webhooks(Arc<Shared>);

struct Shared {
    path: String,
    verify_token: SecretString,
    meta: hmac::Key,
    limits: FrontDoorLimits,
    budget: JsonBudget,
    books: InboundBooks,
    receiver: Receiver,
    telemetry: Telemetry,
}

/// What Meta is told: a status, and for the handshake its own challenge.
struct Told {
    status: StatusCode,
    text: String,
}

impl From<StatusCode> for Told {
    fn from(status: StatusCode) -> Self {
        Self {
            status,
            text: String::new(),
        }
    }
}

impl Told {
    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.text)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        // The challenge is whatever came: no browser is to see more in it than text.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, POST"));
        }
        response
    }
}

impl Webhooks {
    /// Answers handshakes that know `verify_token`, and takes what is signed with `app_secret`. `limits` are those of the
    /// listener.
    #[must_use]
    pub fn new(
        path: String,
        verify_token: SecretString,
        app_secret: &SecretString,
        limits: FrontDoorLimits,
        books: InboundBooks,
        receiver: Receiver,
        telemetry: Telemetry,
    ) -> Self {
        Self(Arc::new(Shared {
            path,
            verify_token,
            meta: signing_key(app_secret),
            limits,
            budget: JsonBudget::default(),
            books,
            receiver,
            telemetry,
        }))
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Told {
        if let Some(refusal) = refusal_of(&request, &self.limits) {
            return refusal.status().into();
        }
        if request.uri().path() != self.path {
            return StatusCode::NOT_FOUND.into();
        }
        match *request.method() {
            Method::GET => self.shake_hands(request.uri().query()),
            Method::POST => {
                let began = self.telemetry.now();
                let taken = timeout(PATIENCE, self.take(request)).await;
                let (reason, status) = taken.unwrap_or_else(|_| told("late", StatusCode::GATEWAY_TIMEOUT));
                self.telemetry.webhook(reason, began);
                status.into()
            }
            _ => StatusCode::METHOD_NOT_ALLOWED.into(),
        }
    }

    /// Gives the challenge back to whoever knows the verify token (Cloud API, "Create a webhook endpoint").
    fn shake_hands(&self, query: Option<&str>) -> Told {
        let known = read_query(query, &[MODE, CHALLENGE, VERIFY_TOKEN], &[]).unwrap_or_default();
        let value = |name| {
            let found = known.iter().find(|(known, _)| *known == name);
            found.map_or("", |(_, value)| value.as_str())
        };
        let challenge = value(CHALLENGE);
        let is_bounded = (1..=MOST_CHALLENGE).contains(&challenge.len())
            && challenge.bytes().all(|byte| byte.is_ascii_graphic());
        let knows = is_secret(&self.verify_token, value(VERIFY_TOKEN));
        let is_right = knows && is_bounded && value(MODE) == "subscribe";
        tracing::info!(is_right, "webhook handshake");
        if !is_right {
            return StatusCode::FORBIDDEN.into();
        }
        Told {
            status: StatusCode::OK,
            text: challenge.to_owned(),
        }
    }

    /// Takes one webhook: checked, acted upon, handed on. Says what became of it, and what Meta is told.
    async fn take(&self, request: Request<Incoming>) -> (&'static str, StatusCode) {
        let (parts, body) = request.into_parts();
        if expect_json(&parts.headers, BodyKind::Json).is_err() {
            return told("content_type", StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let room = JsonRoom {
            most: MOST_BYTES,
            budget: &self.budget,
            // All of them are Meta's, or nobody knows whose.
            caller: CallerKey::STRANGERS,
        };
        let body = Inbound::new(body, &self.limits);
        let body = match collect_json(&parts.headers, body, &room).await {
            Ok(body) => body,
            Err(error) => return told(error.slug(), status_of(&error)),
        };
        let Some(signature) = signature_of(&parts.headers, &self.meta, &body) else {
            return told("signature", StatusCode::UNAUTHORIZED);
        };
        let changes = webhook::read(&body);
        let noted = async {
            let tally = self.books.note(&changes).await?;
            Ok::<_, StoreError>((tally, self.books.give_back(&body, &changes).await?))
        };
        let Ok((tally, given_back)) = noted.await else {
            return told("store_unavailable", StatusCode::SERVICE_UNAVAILABLE);
        };
        drop(changes);
        let bytes = body.len();
        let delivered = match given_back {
            Some(changed) => {
                drop(body);
                self.receiver.deliver(changed, None).await
            }
            None => self.receiver.deliver(body, Some(signature)).await,
        };
        let (reason, status) = match delivered {
            Ok(()) => ("delivered", StatusCode::OK),
            Err(undelivered) => (undelivered.slug(), undelivered.status()),
        };
        let (messages, statuses, media) = (tally.messages, tally.statuses, tally.media);
        tracing::info!(
            reason,
            status = status.as_u16(),
            bytes,
            messages,
            statuses,
            media,
            "webhook"
        );
        (reason, status)
    }
}

/// Writes down why a webhook was turned away.
fn told(reason: &'static str, status: StatusCode) -> (&'static str, StatusCode) {
    tracing::warn!(reason, status = status.as_u16(), "webhook not taken");
    (reason, status)
}

/// Meta repeats whatever is not answered with 200; only what it does wrong itself is its own fault.
const fn status_of(error: &GatewayError) -> StatusCode {
    match error {
        GatewayError::JsonTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        GatewayError::FrontDoor(refusal) => refusal.status(),
        GatewayError::Busy => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// The one signature, if it is `key`'s of this body.
fn signature_of(headers: &HeaderMap, key: &hmac::Key, body: &[u8]) -> Option<HeaderValue> {
    let mut values = headers.get_all(SIGNATURE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let hex = value.to_str().ok()?.strip_prefix(SIGNATURE_PREFIX)?;
    let mut tag = [0; 32];
    if hex.len() != 2 * tag.len() || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in tag.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    // In constant time.
    hmac::verify(key, body, &tag).ok()?;
    Some(value.clone())
}

impl Service<Request<Incoming>> for Webhooks {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move { Ok(shared.answer(request).await.into_response()) })
    }
}
