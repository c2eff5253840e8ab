//! What a connection is doing: how many requests it carries, and since when it carries none.
//!
//! hyper closes idle connections only by its own header timer, which cannot tell a late answer from an idle
//! client. So each connection counts its requests here, and [`drive`] closes it when it has been idle for too
//! long or when the listener drains.

use std::convert::Infallible;
use std::future::poll_fn;
use std::num::NonZeroU64;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderValue, Request, Response, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::server::graceful::GracefulConnection;
use pin_project_lite::pin_project;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tower::util::Oneshot;

/// Shared by the parts of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    in_flight: AtomicUsize,
    head: AtomicU8,
    /// Requests that were given to the service.
    begun: AtomicU64,
    /// HTTP/1: the number of the request of whose body bytes are still to come; 0: none. It can be a later one
    /// than the one that is being answered, because heads are read ahead.
    open_body: AtomicU64,
    /// HTTP/1: the answer that is given next is the last.
    ending: AtomicBool,
    idle_since: Mutex<Instant>,
}

/// How far an HTTP/1 connection is with its next request head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HeadProgress {
    /// Nothing of it has come.
    Nothing,
    /// Nothing has ever come on this connection: the header timeout runs.
    FirstAwaited,
    /// Some bytes have come: the header timeout runs.
    Partial,
}

impl Activity {
    pub(super) fn new(head: HeadProgress) -> Arc<Self> {
        Arc::new(Self {
            in_flight: AtomicUsize::new(0),
            head: AtomicU8::new(head.code()),
            begun: AtomicU64::new(0),
            open_body: AtomicU64::new(0),
            ending: AtomicBool::new(false),
            idle_since: Mutex::new(Instant::now()),
        })
    }

    pub(super) fn set_head(&self, head: HeadProgress) {
        if self.head.swap(head.code(), Ordering::Relaxed) != head.code() {
            self.touch();
        }
    }

    pub(super) fn set_open_body(&self, request: Option<NonZeroU64>) {
        self.open_body
            .store(request.map_or(0, NonZeroU64::get), Ordering::Relaxed);
    }

    /// Counts a request until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        InFlight {
            activity: Arc::clone(self),
            number,
        }
    }

    /// When the connection will have been idle for `limit`; `None` while it is not idle.
    fn idle_until(&self, limit: Duration) -> Option<Instant> {
        let idle = self.in_flight.load(Ordering::Relaxed) == 0
            && self.head.load(Ordering::Relaxed) == HeadProgress::Nothing.code();
        idle.then(|| *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner) + limit)
    }

    fn is_mid_head(&self) -> bool {
        self.head.load(Ordering::Relaxed) == HeadProgress::Partial.code()
    }

    fn touch(&self) {
        *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl HeadProgress {
    const fn code(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::FirstAwaited => 1,
            Self::Partial => 2,
        }
    }
}

/// One request that is being answered.
#[derive(Debug)]
pub(super) struct InFlight {
    activity: Arc<Activity>,
    /// From 1, in the order of the connection.
    number: u64,
}

impl InFlight {
    /// Whether the answer to this request, if given now over HTTP/1, must close the connection: because the
    /// listener drains, or because the request's body has not been read (RFC 9112 section 9.3).
    fn closes(&self) -> bool {
        self.activity.ending.load(Ordering::Relaxed)
            || self.activity.open_body.load(Ordering::Relaxed) == self.number
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.activity.touch();
        self.activity.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bridges a tower service to hyper and counts each request until its response body ends.
#[derive(Clone, Debug)]
pub(super) struct Counted<S> {
    service: S,
    activity: Arc<Activity>,
}

impl<S> Counted<S> {
    pub(super) fn new(service: S, activity: Arc<Activity>) -> Self {
        Self { service, activity }
    }
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Counted<S>
where
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone,
{
    type Response = Response<CountedBody<B>>;
    type Error = Infallible;
    type Future = CountedFuture<Oneshot<S, Request<Incoming>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let in_flight = Some(self.activity.begin());
        let http1 = request.version() < Version::HTTP_2;
        // hyper has no readiness; each request gets its own clone, which is then polled ready.
        CountedFuture {
            inner: Oneshot::new(self.service.clone(), request),
            http1,
            in_flight,
        }
    }
}

pin_project! {
    /// The future of [`Counted`].
    pub(super) struct CountedFuture<F> {
        #[pin]
        inner: F,
        http1: bool,
        in_flight: Option<InFlight>,
    }
}

impl<F, B> Future for CountedFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<CountedBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        let in_flight = this.in_flight.take();
        // hyper would close as well, but without telling the client.
        if *this.http1 && in_flight.as_ref().is_some_and(InFlight::closes) {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response.map(|inner| CountedBody { inner, in_flight })))
    }
}

pin_project! {
    /// A response body that keeps its request counted.
    pub(super) struct CountedBody<B> {
        #[pin]
        inner: B,
        in_flight: Option<InFlight>,
    }
}

impl<B: Body> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Runs one connection to its end.
///
/// It is asked to end, after what it is doing, when it has been idle for `keep_alive_idle` or when `drain` turns
/// true. A request whose head has begun to arrive is still answered.
pub(super) async fn drive<C>(
    connection: C,
    activity: &Activity,
    mut drain: watch::Receiver<bool>,
    keep_alive_idle: Duration,
) -> Result<(), C::Error>
where
    C: GracefulConnection,
{
    let mut connection = pin!(connection);
    let mut drained = pin!(async move {
        // An error means that the listener is gone: no less a reason to end.
        let _ = drain.wait_for(|drain| *drain).await;
    });
    let mut idle = pin!(sleep(keep_alive_idle));
    let mut stage = Stage::Serving;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            if stage == Stage::Serving && drained.as_mut().poll(cx).is_ready() {
                stage = Stage::Draining;
                activity.ending.store(true, Ordering::Relaxed);
            }
            match stage {
                Stage::Serving => {
                    // The timer is looked at only when it rings: requests do not move it.
                    ready!(idle.as_mut().poll(cx));
                    let now = Instant::now();
                    match activity.idle_until(keep_alive_idle) {
                        Some(end) if end <= now => {
                            stage = Stage::Closing;
                            connection.as_mut().graceful_shutdown();
                        }
                        Some(end) => idle.as_mut().reset(end),
                        None => idle.as_mut().reset(now + keep_alive_idle),
                    }
                }
                Stage::Draining if activity.is_mid_head() => return Poll::Pending,
                Stage::Draining => {
                    stage = Stage::Closing;
                    connection.as_mut().graceful_shutdown();
                }
                Stage::Closing => return Poll::Pending,
            }
        }
    })
    .await
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Serving,
    /// The listener drains; a head that is under way may still become a request.
    Draining,
    /// The connection was told to end.
    Closing,
}
