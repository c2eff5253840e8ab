//! Breaks a connection off whose client does not take what may not be kept any longer.
//!
//! An answer's body ends by itself when what it reads from ends. But what it gave before may still wait for the client, in
//! hyper's hands, and nobody polls a body while that waits. So an answer can carry its end along, its body and all that it
//! gave hold on to it, and a connection that still has any of that a moment after the end is broken off.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use tokio::time::sleep;

use super::limits::PAUSE;

type End = Pin<Box<dyn Future<Output = ()> + Send>>;

/// When the bytes of an answer have to leave the process: an extension of the answer.
///
/// A moment after that its connection is broken off if it still has any of them: over HTTP/2 with every stream on it, for one
/// stream alone cannot be made to let go.
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

/// Held by an answer's body and by each piece that it gave, for as long as there is any.
#[derive(Clone, Debug)]
pub(super) struct Hold(#[expect(dead_code, reason = "counted, not read")] Arc<()>);

/// The ends of the answers of one connection.
#[derive(Default)]
pub(super) struct Ends(Mutex<Vec<(End, Weak<()>)>>);

impl Ends {
    pub(super) fn add(&self, end: &BreakOff) -> Hold {
        let held = Arc::new(());
        if let Some(end) = end.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Whoever takes its bytes sees the end first: by then its body has said so, and the pieces are gone.
            let overdue = async {
                end.await;
                sleep(PAUSE).await;
            };
            self.lock().push((Box::pin(overdue), Arc::downgrade(&held)));
        }
        Hold(held)
    }

    /// Ready when an end came a moment ago and something of its answer is still held; wakes then.
    pub(super) fn poll_overdue(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut ends = self.lock();
        ends.retain(|(_, held)| held.strong_count() > 0);
        let is_overdue = ends.iter_mut().any(|(end, _)| end.as_mut().poll(cx).is_ready());
        if is_overdue {
            // None may be polled again.
            ends.clear();
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(End, Weak<()>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ends").finish_non_exhaustive()
    }
}
