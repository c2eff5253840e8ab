//! Connections that wait for their next exchange, and how many exchanges there may be at once.
//!
//! What waits is the bare connection. HTTP's state, with its buffers, is made for each exchange and dropped with it: freed
//! memory is wiped, so that nothing of what was exchanged lingers in an idle connection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::Uri;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use super::UpstreamStats;
use super::line::Line;
use super::origin::Origin;
use crate::body::BoxError;

/// The pool's bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Exchanges at once, each with one connection.
    pub(super) exchanges: usize,
    /// How long an exchange waits for its turn.
    pub(super) wait: Duration,
    /// Idle connections per origin; one more, and the one that has been idle for longest is closed.
    pub(super) idle: usize,
    /// How long a connection may be idle.
    pub(super) idle_for: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            // As many as are let out of all kinds: the guard's bounds are the ones that are felt.
            exchanges: 6_400,
            wait: Duration::from_secs(5),
            idle: 256,
            // Far below the hour of No Storage: a session's keys are content's keys.
            idle_for: Duration::from_secs(60),
        }
    }
}

/// Idle connections by origin.
pub(super) struct Pool {
    /// The configuration names all that are ever asked for: so few that looking through them is the fastest.
    hosts: Mutex<Vec<Arc<Host>>>,
    turns: Arc<Semaphore>,
    bounds: Bounds,
}

/// An exchange's right to a connection. Dropped, the next one has it.
pub(super) struct Turn {
    host: Arc<Host>,
    _permit: OwnedSemaphorePermit,
}

/// An origin and its idle connections.
pub(super) struct Host {
    pub(super) origin: Origin,
    idle: Mutex<Idle>,
    bounds: Bounds,
}

#[derive(Default)]
struct Idle {
    /// The one that has been idle for longest comes first.
    lines: VecDeque<(Line, Instant)>,
    /// Whether a task ends what has been idle for too long. It lives while there is something to wait for.
    is_watched: bool,
}

impl Pool {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            hosts: Mutex::default(),
            turns: Arc::new(Semaphore::new(bounds.exchanges)),
            bounds,
        }
    }

    pub(super) fn stats(&self) -> UpstreamStats {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.turns.available_permits();
        UpstreamStats {
            active: self.bounds.exchanges.saturating_sub(free),
            idle: hosts.iter().map(|host| host.idle().lines.len()).sum(),
        }
    }

    /// The host that a URI names.
    ///
    /// # Errors
    ///
    /// When it names none that can be connected to.
    pub(super) fn host(&self, uri: &Uri) -> Result<Arc<Host>, BoxError> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.iter().find(|host| host.origin.has(uri)) {
            return Ok(Arc::clone(host));
        }
        let host = Arc::new(Host {
            origin: Origin::of(uri)?,
            idle: Mutex::default(),
            bounds: self.bounds,
        });
        hosts.push(Arc::clone(&host));
        Ok(host)
    }

    /// Waits until there may be one exchange more.
    ///
    /// # Errors
    ///
    /// When that takes too long.
    pub(super) async fn turn(&self, host: Arc<Host>) -> Result<Turn, BoxError> {
        let turns = Arc::clone(&self.turns);
        let permit = match Arc::clone(&turns).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => match timeout(self.bounds.wait, turns.acquire_owned()).await {
                Ok(Ok(permit)) => permit,
                Ok(Err(_)) | Err(_) => return Err("too many exchanges with Meta at once".into()),
            },
        };
        Ok(Turn {
            host,
            _permit: permit,
        })
    }
}

impl Turn {
    pub(super) fn host(&self) -> &Arc<Host> {
        &self.host
    }
}

impl Host {
    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that was used last, if one is left that is still good as far as can be seen from here.
    pub(super) fn take(&self) -> Option<Line> {
        loop {
            let last = self.idle().lines.pop_back();
            let (mut line, ends) = last?;
            if Instant::now() < ends && line.is_quiet() {
                return Some(line);
            }
        }
    }

    /// Keeps a connection that is between two exchanges.
    pub(super) fn keep(self: &Arc<Self>, line: Line) {
        // Without a runtime its time would never end.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let mut idle = self.idle();
        idle.lines
            .push_back((line, Instant::now() + self.bounds.idle_for));
        let surplus = if idle.lines.len() > self.bounds.idle {
            idle.lines.pop_front()
        } else {
            None
        };
        if !idle.is_watched {
            idle.is_watched = true;
            runtime.spawn(watch(Arc::downgrade(self)));
        }
        drop(idle);
        drop(surplus);
    }

    /// Ends what has been idle for too long, and says when there will be more to end.
    fn end_overdue(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut idle = self.idle();
        let overdue = idle.lines.partition_point(|(_, ends)| *ends <= now);
        let overdue: Vec<_> = idle.lines.drain(..overdue).collect();
        let next = idle.lines.front().map(|(_, ends)| *ends);
        idle.is_watched = next.is_some();
        drop(idle);
        drop(overdue);
        next
    }

    #[cfg(test)]
    pub(super) fn idle_lines(&self) -> usize {
        self.idle().lines.len()
    }

    #[cfg(test)]
    pub(super) fn are_wiped(&self) -> bool {
        self.idle().lines.iter().all(|(line, _)| line.is_wiped())
    }
}

async fn watch(host: Weak<Host>) {
    while let Some(next) = host.upgrade().and_then(|host| host.end_overdue()) {
        sleep_until(next).await;
    }
}
