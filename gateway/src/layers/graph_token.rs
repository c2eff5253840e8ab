//! Adds Meta's token. It is the innermost layer: the token exists from here inwards and nowhere else. What else follows
//! from the token, the key of the gateway's own URLs, is derived here too, so that this file alone exposes it.
//!
//! The request is built here from an exchange's values: nothing of the caller's but method, target, body, `Accept`, the
//! body's type and a resumable upload's offset ever was in it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use aws_lc_rs::{constant_time, hmac};
use curfew_policies::Minute;
use futures_util::future::Either;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Uri};
use secrecy::{ExposeSecret as _, SecretString};
use std::future::{Ready, ready};
use tower::{Layer, Service};

use super::enforce::{Exchange, ExchangeParts, ExchangeTarget};
use crate::body::Outbound;
use crate::call::{Context, Credential, Principal};
use crate::graph::file_offset::FILE_OFFSET;
use crate::graph::marker::MarkerKey;
use crate::guard::{CallerKey, Guard};
use crate::stores::limits::RecipientKey;
use crate::stores::outcomes::{Asker, Name, Sending};
use crate::stores::{CallerTag, CryptoUnavailable, Outcomes, UrlSigner};
use crate::upstream::{ExchangeError, MetaAnswer};

/// Fixed and not empty: some values fail at the media host.
pub(crate) const OUR_USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("curfew/", env!("CARGO_PKG_VERSION")));

/// The layer.
#[derive(Clone)]
pub struct GraphTokenLayer {
    shared: Arc<Shared>,
}

struct Shared {
    scheme: Scheme,
    authority: Authority,
    token: Option<SecretString>,
    app_secret: Option<SecretString>,
}

impl GraphTokenLayer {
    /// The Graph API's origin, the gateway's own token, and the app secret for `appsecret_proof` (Graph API, "Secure
    /// requests").
    #[must_use]
    pub fn new(
        scheme: Scheme,
        authority: Authority,
        token: Option<SecretString>,
        app_secret: Option<SecretString>,
    ) -> Self {
        let shared = Shared {
            scheme,
            authority,
            token,
            app_secret,
        };
        Self {
            shared: Arc::new(shared),
        }
    }
}

impl<S> Layer<S> for GraphTokenLayer {
    type Service = GraphToken<S>;

    fn layer(&self, inner: S) -> GraphToken<S> {
        GraphToken {
            inner,
            shared: Arc::clone(&self.shared),
        }
    }
}

/// The signer of the gateway's own URLs. Instances that share the token share its key, and so does the next process.
///
/// # Errors
///
/// When the cryptographic library refuses.
pub fn url_signer(token: &SecretString, minute: Minute) -> Result<UrlSigner, CryptoUnavailable> {
    UrlSigner::derived_from(bytes_of(token), minute)
}

/// The key of recipients' hashes. Instances that share the token have the same, so they count one recipient once.
///
/// # Errors
///
/// When the cryptographic library refuses.
pub fn recipient_key(token: &SecretString) -> Result<RecipientKey, CryptoUnavailable> {
    RecipientKey::derived_from(bytes_of(token))
}

/// The key that `secret` is to HMAC-SHA256, as Meta signs its webhooks with the app's (Cloud API, "Create a webhook
/// endpoint").
#[must_use]
pub fn signing_key(secret: &SecretString) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, bytes_of(secret))
}

/// What the gateway's own markers are signed with. Instances that share the app's secret know each other's.
///
/// # Errors
///
/// When the cryptographic library refuses.
pub fn marker_key(app_secret: &SecretString) -> Result<MarkerKey, CryptoUnavailable> {
    MarkerKey::derived_from(bytes_of(app_secret))
}

/// Whether `text` is the secret. How long that takes says nothing but whether the lengths are equal.
#[must_use]
pub fn is_secret(secret: &SecretString, text: &str) -> bool {
    constant_time::verify_slices_are_equal(bytes_of(secret), text.as_bytes()).is_ok()
}

/// Stands for whoever asks: for a caller of the policy, or in pass-through for whoever has the token that came.
#[must_use]
pub fn caller_tag(signer: &UrlSigner, principal: &Principal, credential: &Credential) -> CallerTag {
    signer.caller_tag(identity(principal, credential))
}

/// The same for one process, where it is enough to tell callers apart: in a hundredth of the time.
#[must_use]
pub fn caller_key(guard: &Guard, principal: &Principal, credential: &Credential) -> CallerKey {
    guard.caller_key(identity(principal, credential))
}

/// What a send is known again by in `outcomes`, which may outlive this process and its keys.
///
/// # Errors
///
/// When the cryptographic library refuses.
pub fn outcome_name(
    outcomes: &Outcomes,
    context: &Context,
    send: &Sending<'_>,
) -> Result<Name, CryptoUnavailable> {
    outcomes.name(asker(&context.principal, &context.credential), send)
}

/// Under which key whoever asks has a share of what all use: a caller of the policy under its own, in pass-through a token
/// under its own once Meta has taken it, and all others together under one.
#[must_use]
pub fn share_key(guard: &Guard, principal: &Principal, credential: &Credential) -> CallerKey {
    let key = caller_key(guard, principal, credential);
    match principal.index {
        Some(_) => key,
        None => guard.share_of_token(key),
    }
}

fn identity<'a>(principal: &'a Principal, credential: &'a Credential) -> &'a [u8] {
    match asker(principal, credential) {
        Asker::Known(name) => name.as_bytes(),
        Asker::Token(token) => token,
    }
}

fn asker<'a>(principal: &'a Principal, credential: &'a Credential) -> Asker<'a> {
    let caller = principal
        .index
        .and_then(|index| principal.policies.callers.get(index));
    match (caller, credential) {
        (Some(caller), _) => Asker::Known(&caller.name),
        (None, Credential::Caller(token)) => Asker::Token(bytes_of(token)),
        (None, Credential::Gateway) => Asker::Token(b""),
    }
}

fn bytes_of(token: &SecretString) -> &[u8] {
    token.expose_secret().as_bytes()
}

/// The service.
#[derive(Clone)]
pub struct GraphToken<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Service<Exchange> for GraphToken<S>
where
    S: Service<Request<Outbound>, Response = MetaAnswer, Error = ExchangeError>,
{
    type Response = MetaAnswer;
    type Error = ExchangeError;
    type Future = Either<S::Future, Ready<Result<MetaAnswer, ExchangeError>>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), ExchangeError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, exchange: Exchange) -> Self::Future {
        match self.shared.request(exchange) {
            Some(request) => Either::Left(self.inner.call(request)),
            None => Either::Right(ready(Err(ExchangeError::NotBuilt))),
        }
    }
}

impl Shared {
    fn request(&self, exchange: Exchange) -> Option<Request<Outbound>> {
        let ExchangeParts {
            method,
            destination,
            body,
            content_type,
            accept,
            file_offset,
            credential,
        } = exchange.into_parts();
        let token = match &credential {
            Credential::Gateway => self.token.as_ref()?,
            Credential::Caller(token) => token,
        };
        let (authorization, proof) = self.credentials(token)?;
        let uri = match destination {
            ExchangeTarget::Graph(target) => self.graph_uri(target, proof.as_deref())?,
            ExchangeTarget::Media(url) => url.uri(),
        };
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, authorization);
        headers.insert(USER_AGENT, OUR_USER_AGENT);
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, content_type);
        }
        if let Some(accept) = accept {
            headers.insert(ACCEPT, accept);
        }
        if let Some(offset) = file_offset {
            headers.insert(FILE_OFFSET, offset.into());
        }
        Some(request)
    }

    /// Where a token becomes a header.
    fn credentials(&self, token: &SecretString) -> Option<(HeaderValue, Option<String>)> {
        let token = token.expose_secret();
        let mut authorization = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        authorization.set_sensitive(true);
        let proof = self.app_secret.as_ref().map(|secret| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
            let mut hex = String::with_capacity(64);
            for byte in hmac::sign(&key, token.as_bytes()).as_ref() {
                // Writing to a `String` cannot fail.
                let _ = write!(hex, "{byte:02x}");
            }
            hex
        });
        Some((authorization, proof))
    }

    fn graph_uri(&self, mut target: String, proof: Option<&str>) -> Option<Uri> {
        if let Some(proof) = proof {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str("appsecret_proof=");
            target.push_str(proof);
        }
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
        Uri::from_parts(parts).ok()
    }
}
