//! A timer that costs nothing until somebody waits.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Rings once a wait has lasted for a given time; armed by the first poll, disarmed by [`clear`](Self::clear).
#[derive(Debug, Default)]
pub(super) struct Alarm {
    armed: bool,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Whether the wait that began with the first poll since the last `clear` has lasted for `limit`. Registers
    /// the task to be woken then.
    pub(super) fn rings(&mut self, cx: &mut Context<'_>, limit: Duration) -> bool {
        let deadline = if self.armed {
            None
        } else {
            Some(Instant::now() + limit)
        };
        self.armed = true;
        let sleep = match (&mut self.sleep, deadline) {
            (Some(sleep), None) => sleep,
            (Some(sleep), Some(deadline)) => {
                sleep.as_mut().reset(deadline);
                sleep
            }
            (none @ None, deadline) => none.insert(Box::pin(sleep_until(
                deadline.unwrap_or_else(|| Instant::now() + limit),
            ))),
        };
        matches!(sleep.as_mut().poll(cx), Poll::Ready(()))
    }

    /// Ends the wait: the next poll begins a new one.
    pub(super) fn clear(&mut self) {
        self.armed = false;
    }
}
