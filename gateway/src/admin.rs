//! The operator's listener: is the process alive, and does it take requests?
//!
//! It never shares a port with callers, and says nothing of what passed.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tower::Service;

use crate::server::{FrontDoorLimits, refusal_of};

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
}

impl Admin {
    /// Answers with what `readiness` says.
    #[must_use]
    pub const fn new(readiness: Readiness, limits: FrontDoorLimits) -> Self {
        Self { readiness, limits }
    }

    fn answer<B: hyper::body::Body>(&self, request: &Request<B>) -> (StatusCode, &'static str) {
        if let Some(refusal) = refusal_of(request, &self.limits) {
            return (refusal.status(), refusal.details());
        }
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/livez" | "/readyz" if !reads => (StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD"),
            "/livez" => (StatusCode::OK, "alive"),
            "/readyz" if self.readiness.is_ready() => (StatusCode::OK, "ready"),
            "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
            _ => (StatusCode::NOT_FOUND, "here are /livez and /readyz"),
        }
    }
}

impl Service<Request<Incoming>> for Admin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let (status, text) = self.answer(&request);
        let mut response = Response::new(Full::new(Bytes::from(format!("{text}\n"))));
        *response.status_mut() = status;
        response.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        ready(Ok(response))
    }
}
