//! What a connection is doing: how many requests it carries, and since when it carries none.
//!
//! hyper closes idle connections only by its own header timer, which cannot tell a late answer from an idle
//! client. So each connection counts its requests here, and [`drive`] closes it when it has been idle for too
//! long or when the listener drains.

use std::future::poll_fn;
use std::num::NonZeroU64;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use hyper_util::server::graceful::GracefulConnection;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

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
    pub(super) fn closes(&self) -> bool {
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
