//! Breaks a connection off whose client takes no more of what may not be kept any longer.
//!
//! An answer's body ends by itself when what it reads from ends. But what it gave before may still wait for the client, in
//! the connection's hands, and nobody polls a body while that waits. So an answer can carry its end along, and the
//! connection listens to it for as long as it has unwritten bytes.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

type End = Pin<Box<dyn Future<Output = ()> + Send>>;

/// When the bytes of an answer have to leave the process at the latest: an extension of the answer.
///
/// Over HTTP/1 a connection that still waits to write then is broken off. Over HTTP/2 it has no effect: one stream's end must
/// not be that of all, and what it may still hold goes with the limit on clients that take nothing.
#[derive(Clone)]
pub struct BreakOff(Arc<Mutex<Option<End>>>);

impl BreakOff {
    /// When `end` completes.
    pub fn when(end: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::pin(end)))))
    }
}

impl fmt::Debug for BreakOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BreakOff")
    }
}

/// The ends of what one connection has taken on and perhaps not written yet.
#[derive(Default)]
pub(super) struct Ends(Mutex<Vec<End>>);

impl Ends {
    pub(super) fn add(&self, end: &BreakOff) {
        let end = end.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.lock().extend(end);
    }

    /// Everything is written.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// Ready when one of them has come; wakes when one comes.
    pub(super) fn poll_any(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut ends = self.lock();
        if ends.iter_mut().any(|end| end.as_mut().poll(cx).is_ready()) {
            // None may be polled again.
            ends.clear();
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Vec<End>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ends").finish_non_exhaustive()
    }
}
