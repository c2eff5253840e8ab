//! What a connection is doing: how many requests it carries, and since when it carries none.
//!
//! hyper closes idle connections only by its own header timer, which cannot tell a late answer from an idle
//! client. So each connection counts its requests here, and [`drive`] closes it when it has been idle for too
//! long or when the listener drains.

use std::future::poll_fn;
use std::num::NonZeroU64;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use hyper_util::server::graceful::GracefulConnection;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::break_off::{BreakOff, Ends, Hold};

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
    /// HTTP/2: what waits for the client to take it.
    delivery: Mutex<Delivery>,
    /// When what was taken on to be written has to be gone.
    ends: Ends,
}

/// Answers whose next bytes the client could have, and when it last took any.
#[derive(Debug)]
struct Delivery {
    offered: usize,
    since: Instant,
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
            delivery: Mutex::new(Delivery {
                offered: 0,
                since: Instant::now(),
            }),
            ends: Ends::default(),
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

    /// Whether the connection is idle, and has been for `time`.
    pub(super) fn has_been_idle_for(&self, time: Duration) -> bool {
        self.idle_until(time).is_some_and(|end| end <= Instant::now())
    }

    /// When the connection will have been idle for `limit`; `None` while it is not idle.
    pub(super) fn idle_until(&self, limit: Duration) -> Option<Instant> {
        let idle = self.in_flight.load(Ordering::Relaxed) == 0
            && self.head.load(Ordering::Relaxed) == HeadProgress::Nothing.code();
        idle.then(|| *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner) + limit)
    }

    /// When the client will have taken nothing of what is offered for `limit`; `None` while nothing is.
    fn stalled_until(&self, limit: Duration) -> Option<Instant> {
        let delivery = self.delivery();
        (delivery.offered > 0).then(|| delivery.since + limit)
    }

    fn delivery(&self) -> MutexGuard<'_, Delivery> {
        self.delivery.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// Has the connection broken off soon after `end`, if anybody has the returned value then.
    pub(super) fn ends_at(&self, end: &BreakOff) -> Hold {
        self.activity.ends.add(end)
    }

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

/// Bytes of one HTTP/2 answer that the client may take: while it exists, the connection waits for the client.
///
/// A body cannot see by itself that the client takes nothing: hyper asks it for more when it likes. So this goes along with the
/// bytes, until h2 has written them and lets them go.
#[derive(Debug)]
pub(super) struct Offer(Arc<Activity>);

impl Offer {
    pub(super) fn new(in_flight: &InFlight) -> Self {
        let activity = Arc::clone(&in_flight.activity);
        let mut delivery = activity.delivery();
        if delivery.offered == 0 {
            delivery.since = Instant::now();
        }
        delivery.offered += 1;
        drop(delivery);
        Self(activity)
    }

    /// The client had room for some of it.
    pub(super) fn taken(&self) {
        self.0.delivery().since = Instant::now();
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.0.delivery().offered -= 1;
    }
}

/// How long a connection waits for its client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Between requests.
    pub(super) keep_alive_idle: Duration,
    /// To take bytes of answers, where this is not seen elsewhere.
    pub(super) delivery: Option<Duration>,
}

/// Runs one connection to its end.
///
/// It is broken off when it still has bytes whose [end](BreakOff) came a moment ago.
///
/// It is asked to end, after what it is doing, when it has been idle for `keep_alive_idle` or when `drain` turns
/// true. A request whose head has begun to arrive is still answered. It is broken off when its client takes nothing of the
/// answers that it could have for `delivery`, and so long after it was asked to end without any request.
pub(super) async fn drive<C>(
    mut connection: Pin<&mut C>,
    activity: &Activity,
    mut drain: watch::Receiver<bool>,
    Patience {
        keep_alive_idle,
        delivery,
    }: Patience,
) -> Result<(), C::Error>
where
    C: GracefulConnection,
{
    let mut drained = pin!(async move {
        // An error means that the listener is gone: no less a reason to end.
        let _ = drain.wait_for(|drain| *drain).await;
    });
    let mut idle = pin!(sleep(keep_alive_idle));
    let mut stalled = pin!(delivery.map(sleep));
    let mut closing: Option<Instant> = None;
    let mut stage = Stage::Serving;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            if activity.ends.poll_overdue(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if let (Some(mut alarm), Some(limit)) = (stalled.as_mut().as_pin_mut(), delivery) {
                while alarm.as_mut().poll(cx).is_ready() {
                    let now = Instant::now();
                    // Told to end, with every answer handed to hyper: what it still holds is the client's to take.
                    let leftover = || Some((closing? + limit).max(activity.idle_until(limit)?));
                    let deadline = activity.stalled_until(limit).or_else(leftover);
                    match deadline {
                        Some(end) if end <= now => return Poll::Ready(Ok(())),
                        Some(end) => alarm.as_mut().reset(end),
                        None => alarm.as_mut().reset(now + limit),
                    }
                }
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
                            closing = Some(now);
                            connection.as_mut().graceful_shutdown();
                        }
                        Some(end) => idle.as_mut().reset(end),
                        None => idle.as_mut().reset(now + keep_alive_idle),
                    }
                }
                Stage::Draining if activity.is_mid_head() => return Poll::Pending,
                Stage::Draining => {
                    stage = Stage::Closing;
                    closing = Some(Instant::now());
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
