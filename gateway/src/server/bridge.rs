//! Bridges a tower service to hyper: what every request and answer needs, whatever the service is.
//!
//! Requests are counted until their answers end. An HTTP/1 answer that is the last on its connection says so. An
//! HTTP/2 GET is given on only when its stream has ended: its end may come in a frame of its own, and that frame may as
//! well be a body, which would have to be refused.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{HeaderValue, Method, Request, Response, Uri, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::util::Oneshot;

use super::activity::{Activity, InFlight, Offer};
use super::alarm::Alarm;
use super::break_off::{BreakOff, Hold};
use super::limits::FrontDoorLimits;
use super::{FrontDoorRefusal, REFUSED_METHOD};
use crate::headers;

/// A tower service as hyper asks for it.
#[derive(Clone, Debug)]
pub(super) struct Bridge<S> {
    service: S,
    activity: Arc<Activity>,
    body_idle_timeout: Duration,
}

impl<S> Bridge<S> {
    pub(super) fn new(service: S, activity: Arc<Activity>, limits: &FrontDoorLimits) -> Self {
        Self {
            service,
            activity,
            body_idle_timeout: limits.body_idle_timeout,
        }
    }
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Bridge<S>
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone,
{
    type Response = Response<CountedBody<B>>;
    type Error = Infallible;
    type Future = Answering<S>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let in_flight = Some(self.activity.begin());
        let http1 = request.version() < Version::HTTP_2;
        // hyper has no readiness; each request gets its own clone, which is then polled ready.
        let service = self.service.clone();
        let state = if may_end_later(&request) {
            let waiting = Waiting {
                service,
                request,
                timeout: self.body_idle_timeout,
                wait: Alarm::default(),
            };
            State::Waiting {
                waiting: Some(waiting),
            }
        } else {
            State::Called {
                answer: Oneshot::new(service, request),
            }
        };
        Answering {
            state,
            http1,
            in_flight,
        }
    }
}

/// Whether this may be an HTTP/2 request without a body whose end has not come yet.
fn may_end_later(request: &Request<Incoming>) -> bool {
    request.version() == Version::HTTP_2
        && matches!(*request.method(), Method::GET | Method::HEAD)
        && !request.body().is_end_stream()
        && !request.headers().contains_key(header::CONTENT_LENGTH)
}

pin_project! {
    /// The future of [`Bridge`].
    pub(super) struct Answering<S>
    where
        S: tower::Service<Request<Incoming>>,
    {
        #[pin]
        state: State<S>,
        http1: bool,
        in_flight: Option<InFlight>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S>
    where
        S: tower::Service<Request<Incoming>>,
    {
        Waiting { waiting: Option<Waiting<S>> },
        Called { #[pin] answer: Oneshot<S, Request<Incoming>> },
    }
}

/// A request whose stream has to end before it is given to the service.
struct Waiting<S> {
    service: S,
    request: Request<Incoming>,
    timeout: Duration,
    wait: Alarm,
}

impl<S> Waiting<S> {
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), FrontDoorRefusal>> {
        loop {
            match Pin::new(self.request.body_mut()).poll_frame(cx) {
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                // The client took the request back: what is answered now goes nowhere.
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(FrontDoorRefusal::UnexpectedBody)),
                Poll::Ready(Some(Ok(frame))) => {
                    if frame.data_ref().is_some_and(Buf::has_remaining) {
                        return Poll::Ready(Err(FrontDoorRefusal::UnexpectedBody));
                    }
                }
                Poll::Pending if self.wait.rings(cx, self.timeout) => {
                    return Poll::Ready(Err(FrontDoorRefusal::BodyTimeout));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Makes of a request the one that stands for its refusal, as HTTP/1 connections do in bytes.
fn refused(request: &mut Request<Incoming>, refusal: FrontDoorRefusal) {
    *request.version_mut() = Version::HTTP_11;
    request.headers_mut().clear();
    let method = Method::from_bytes(REFUSED_METHOD.as_bytes());
    let path = Uri::try_from(format!("/{}", refusal.slug()));
    // Both are constants of valid form.
    if let (Ok(method), Ok(path)) = (method, path) {
        *request.method_mut() = method;
        *request.uri_mut() = path;
    }
}

impl<S, B> Future for Answering<S>
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
{
    type Output = Result<Response<CountedBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let mut response = loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Called { answer } => break ready!(answer.poll(cx))?,
                StateProjection::Waiting { waiting } => {
                    let end = match waiting {
                        Some(waiting) => ready!(waiting.poll_end(cx)),
                        None => return Poll::Pending,
                    };
                    let Some(Waiting {
                        service, mut request, ..
                    }) = waiting.take()
                    else {
                        return Poll::Pending;
                    };
                    if let Err(refusal) = end {
                        refused(&mut request, refusal);
                    }
                    State::Called {
                        answer: Oneshot::new(service, request),
                    }
                }
            };
            this.state.set(next);
        };
        let in_flight = this.in_flight.take();
        // hyper would close as well, but without telling the client.
        if *this.http1 && in_flight.as_ref().is_some_and(InFlight::closes) {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let end = response.extensions_mut().remove::<BreakOff>();
        let hold = in_flight.as_ref().zip(end.as_ref());
        let hold = hold.map(|(in_flight, end)| in_flight.ends_at(end));
        if !*this.http1 {
            headers::detach(response.headers_mut());
        }
        Poll::Ready(Ok(response.map(|inner| CountedBody {
            offer: in_flight.as_ref().filter(|_| !*this.http1).map(Offer::new),
            inner,
            rest: None,
            hold,
            in_flight,
            http1: *this.http1,
        })))
    }
}

/// The most that HTTP/2 gets at once of an answer, in bytes: one frame (RFC 9113, section 4.2). Whether a client takes
/// anything shows when such a piece is let go.
const HTTP2_PIECE: usize = 16 * 1024;

pin_project! {
    /// A response body that keeps its request counted.
    pub(super) struct CountedBody<B> {
        #[pin]
        inner: B,
        // Given by `inner`, and to be given on.
        rest: Option<Bytes>,
        hold: Option<Hold>,
        // Dropped before the request is no longer counted.
        offer: Option<Offer>,
        in_flight: Option<InFlight>,
        http1: bool,
    }
}

/// Bytes in hyper's hands.
struct Piece {
    bytes: Bytes,
    _hold: Option<Hold>,
    offer: Option<Offer>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(offer) = &self.offer {
            offer.taken();
        }
    }
}

impl<B: Body<Data = Bytes>> Body for CountedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = match this.rest.take() {
            Some(rest) => Poll::Ready(Some(Ok(Frame::data(rest)))),
            None => this.inner.poll_frame(cx),
        };
        // HTTP/1 sees at the socket whether its client takes anything.
        if !*this.http1 {
            match (&frame, &this.offer) {
                (Poll::Pending, _) => *this.offer = None,
                (Poll::Ready(_), Some(offer)) => offer.taken(),
                (Poll::Ready(_), None) => *this.offer = this.in_flight.as_ref().map(Offer::new),
            }
        }
        let Some(frame) = ready!(frame).transpose()? else {
            return Poll::Ready(None);
        };
        let frame = frame.map_data(|mut bytes| {
            if *this.http1 && this.hold.is_none() {
                return bytes;
            }
            if !*this.http1 && bytes.len() > HTTP2_PIECE {
                *this.rest = Some(bytes.split_off(HTTP2_PIECE));
            }
            Bytes::from_owner(Piece {
                bytes,
                _hold: this.hold.clone(),
                offer: this.in_flight.as_ref().filter(|_| !*this.http1).map(Offer::new),
            })
        });
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map_or(0, Bytes::len);
        let rest = u64::try_from(rest).unwrap_or(u64::MAX);
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}
