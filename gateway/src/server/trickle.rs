//! How long one waits for a body that hardly comes.

use std::future::Future as _;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Finds a body late that brings fewer bytes than it must within a stretch of being waited for.
///
/// Only waiting counts: from when the reader finds nothing to when something is there. A slow reader does not make a body late. It
/// costs nothing until somebody waits.
#[derive(Debug)]
pub(crate) struct Trickle {
    stretch: Duration,
    /// What must come within a stretch, in bytes.
    least: u64,
    came: u64,
    waited: Duration,
    /// Since when nothing has been there.
    since: Option<Instant>,
    /// Rings at the end of a stretch, or before it: then it is set again.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Trickle {
    pub(crate) const fn new(stretch: Duration, least: u64) -> Self {
        Self {
            stretch,
            least,
            came: 0,
            waited: Duration::ZERO,
            since: None,
            alarm: None,
        }
    }

    /// So many bytes came.
    pub(crate) fn came(&mut self, bytes: usize) {
        if let Some(since) = self.since.take() {
            let waited = self.waited + since.elapsed();
            // Later than it would have been found late: it was there, and nobody asked.
            if waited <= self.stretch {
                self.waited = waited;
            }
        }
        self.came = self.came.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.came >= self.least {
            self.came = 0;
            self.waited = Duration::ZERO;
        }
    }

    /// Whether it is late, now that nothing is there. Registers the task to be woken when it will be.
    pub(crate) fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
        let end = since + self.stretch.saturating_sub(self.waited);
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(end)));
        while alarm.as_mut().poll(cx).is_ready() {
            if Instant::now() >= end {
                return true;
            }
            alarm.as_mut().reset(end);
        }
        false
    }
}
