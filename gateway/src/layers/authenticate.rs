//! Finds out who asks: a declared service by its key or client certificate, or whoever brings a token (pass-through).
//!
//! It sits at the top, so that nobody learns anything before they are known, and it is where the front door's verdict
//! on the request is heard. A media URL of the gateway's identifies by itself: its signature is what counts, since
//! some clients download without any credential.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use aws_lc_rs::{constant_time, digest};
use curfew_policies::{CallerPolicy, Credential as Proof, PolicySet};
use futures_util::future::Either;
use http::header::{AUTHORIZATION, HOST};
use http::uri::Authority;
use http::{HeaderMap, Method};
use secrecy::SecretString;
use tower::{Layer, Service};

use crate::body::Inbound;
use crate::call::{Answer, Credential, Identified, Principal, Seen};
use crate::clock::Clock;
use crate::error::GatewayError;
use crate::graph::classify::media_token;
use crate::record::Record;
use crate::server::{ConnInfo, FrontDoorLimits, FrontDoorRefusal, refusal_of};
use crate::stores::{Claims, UrlSigner};

/// What callers are identified by, besides the policies.
pub struct Authenticated {
    /// Checks the gateway's own media URLs.
    pub signer: Arc<UrlSigner>,
    /// How callers reach the gateway: `scheme://authority`. Without one, each request's own authority serves.
    pub public_url: Option<Arc<str>>,
    /// The front door's figures.
    pub limits: FrontDoorLimits,
    /// The time.
    pub clock: Clock,
}

/// The layer.
#[derive(Clone)]
pub struct AuthenticateLayer {
    policies: Arc<ArcSwap<PolicySet>>,
    shared: Arc<Authenticated>,
}

impl AuthenticateLayer {
    /// Identifies by the policies in force when a request comes.
    #[must_use]
    pub const fn new(policies: Arc<ArcSwap<PolicySet>>, shared: Arc<Authenticated>) -> Self {
        Self { policies, shared }
    }
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;

    fn layer(&self, inner: S) -> Authenticate<S> {
        Authenticate {
            inner,
            policies: Arc::clone(&self.policies),
            shared: Arc::clone(&self.shared),
        }
    }
}

/// The service.
#[derive(Clone)]
pub struct Authenticate<S> {
    inner: S,
    policies: Arc<ArcSwap<PolicySet>>,
    shared: Arc<Authenticated>,
}

impl<S> Service<Seen> for Authenticate<S>
where
    S: Service<Identified, Response = Answer, Error = GatewayError>,
{
    type Response = Answer;
    type Error = GatewayError;
    type Future = Either<S::Future, Ready<Result<Answer, GatewayError>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), GatewayError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, seen: Seen) -> Self::Future {
        match self.shared.identify(seen, self.policies.load_full()) {
            Ok(identified) => Either::Left(self.inner.call(identified)),
            Err(error) => Either::Right(ready(Err(error))),
        }
    }
}

impl Authenticated {
    fn identify(&self, seen: Seen, policies: Arc<PolicySet>) -> Result<Identified, GatewayError> {
        let Seen {
            request,
            record,
            connection,
        } = seen;
        if let Some(refusal) = refusal_of(&request, &self.limits) {
            return Err(GatewayError::FrontDoor(refusal));
        }
        let origin = self.origin(&request, &connection);
        let (principal, credential, media_url) = match media_token(request.uri().path()) {
            Some(token) => self.by_media_url(request.method(), token, policies)?,
            None => {
                // HEAD is for media URLs; the Graph API documents it for no call.
                if request.method() == Method::HEAD {
                    return Err(GatewayError::FrontDoor(FrontDoorRefusal::Method));
                }
                let (principal, credential) = by_credential(request.headers(), &connection, policies)?;
                (principal, credential, None)
            }
        };
        name_caller(&record, &principal);
        let request = request.map(|body| Inbound::new(body, &self.limits));
        Ok(Identified {
            request,
            record,
            principal,
            credential,
            origin,
            media_url,
        })
    }

    fn by_media_url(
        &self,
        method: &Method,
        token: &str,
        policies: Arc<PolicySet>,
    ) -> Result<(Principal, Credential, Option<Claims>), GatewayError> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(GatewayError::FrontDoor(FrontDoorRefusal::Method));
        }
        let claims = self
            .signer
            .verify(token, self.clock.now())
            .map_err(|_| GatewayError::MediaUrlInvalid)?;
        let index = if policies.is_pass_through() {
            None
        } else {
            let tag_of = |caller: &CallerPolicy| self.signer.caller_tag(caller.name.as_bytes());
            let index = policies
                .callers
                .iter()
                .position(|caller| tag_of(caller) == claims.caller);
            Some(index.ok_or(GatewayError::MediaUrlInvalid)?)
        };
        Ok((Principal { policies, index }, Credential::Gateway, Some(claims)))
    }

    fn origin<B>(&self, request: &http::Request<B>, connection: &ConnInfo) -> Arc<str> {
        if let Some(public_url) = &self.public_url {
            return Arc::clone(public_url);
        }
        let authority = request
            .uri()
            .authority()
            .map(Authority::as_str)
            .or_else(|| request.headers().get(HOST).and_then(|host| host.to_str().ok()))
            .unwrap_or_default();
        let scheme = if connection.tls { "https" } else { "http" };
        format!("{scheme}://{authority}").into()
    }
}

fn by_credential(
    headers: &HeaderMap,
    connection: &ConnInfo,
    policies: Arc<PolicySet>,
) -> Result<(Principal, Credential), GatewayError> {
    let bearer = bearer(headers);
    if policies.is_pass_through() {
        let token = bearer.ok_or(GatewayError::UnknownCaller)?;
        let credential = Credential::Caller(SecretString::from(token));
        return Ok((
            Principal {
                policies,
                index: None,
            },
            credential,
        ));
    }
    let key = bearer.map(|key| digest::digest(&digest::SHA256, key.as_bytes()));
    let mut found = None;
    // Every key is compared, and each in constant time: how long it takes says nothing about which one was close.
    for (index, caller) in policies.callers.iter().enumerate() {
        let is_it = match &caller.credential {
            Proof::KeySha256(expected) => key
                .as_ref()
                .is_some_and(|key| constant_time::verify_slices_are_equal(key.as_ref(), expected).is_ok()),
            Proof::TlsSan(name) => connection
                .client_sans
                .iter()
                .any(|san| san.eq_ignore_ascii_case(name)),
        };
        if is_it && found.is_none() {
            found = Some(index);
        }
    }
    let index = found.ok_or(GatewayError::UnknownCaller)?;
    let principal = Principal {
        policies,
        index: Some(index),
    };
    Ok((principal, Credential::Gateway))
}

/// The one bearer token of a request. Two `Authorization` headers are nobody's; `OAuth` is how the Resumable Upload
/// API's samples spell the scheme.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim_ascii();
    let is_bearer = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("oauth");
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    (is_bearer && is_token).then_some(token)
}

fn name_caller(record: &Record, principal: &Principal) {
    let name = principal
        .index
        .and_then(|index| principal.policies.callers.get(index))
        .map_or("pass-through", |caller| caller.name.as_str());
    record.caller(name.into());
}
