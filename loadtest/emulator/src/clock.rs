//! The emulated time: real time from the start, compressed and pushed forward.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio::time::Instant;

const MINUTE_MS: u128 = 60_000;

pub(crate) struct Clock {
    start_ms: u64,
    began: Instant,
    minute_ns: u128,
    /// Emulated minutes that [`Clock::advance`] added.
    advanced: AtomicU64,
    moved: Notify,
}

impl Clock {
    pub(crate) fn new(start: Option<u64>, minute: Duration) -> Self {
        let start_ms = start.map_or_else(machine_ms, |seconds| seconds.saturating_mul(1_000));
        Self {
            start_ms,
            began: Instant::now(),
            minute_ns: minute.as_nanos().max(1),
            advanced: AtomicU64::new(0),
            moved: Notify::new(),
        }
    }

    /// Emulated milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        let passed = self.began.elapsed().as_nanos().saturating_mul(MINUTE_MS) / self.minute_ns;
        let added = u128::from(self.advanced.load(Ordering::Acquire)) * MINUTE_MS;
        self.start_ms.saturating_add(narrow(passed.saturating_add(added)))
    }

    /// Emulated seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        self.now_ms() / 1_000
    }

    /// Nanoseconds for limits that Meta states in seconds: not compressed, but pushed forward with the rest.
    pub(crate) fn limit_ns(&self) -> u64 {
        let added = u128::from(self.advanced.load(Ordering::Acquire)) * MINUTE_MS * 1_000_000;
        narrow(self.began.elapsed().as_nanos().saturating_add(added))
    }

    pub(crate) fn advance(&self, minutes: u64) {
        self.advanced.fetch_add(minutes, Ordering::AcqRel);
        self.moved.notify_waiters();
    }

    /// Waits until the emulated time is reached, by passing or by [`Clock::advance`].
    pub(crate) async fn reach(&self, deadline_ms: u64) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            let now = self.now_ms();
            if now >= deadline_ms {
                return;
            }
            let real_ns = u128::from(deadline_ms - now).saturating_mul(self.minute_ns) / MINUTE_MS;
            // One more millisecond: tokio's timers have that resolution, and waking early would spin.
            let sleep = Duration::from_nanos(narrow(real_ns)) + Duration::from_millis(1);
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                () = moved => {}
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the machine's time, as the clock's start"
)]
fn machine_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| narrow(since.as_millis()))
}

fn narrow(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_compressed_minute_passes_in_its_real_time() {
        let clock = Clock::new(Some(1_000), Duration::from_secs(1));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(clock.now(), 1_000 + 120);
        assert_eq!(clock.limit_ns(), 2_000_000_000);
        clock.advance(1);
        assert_eq!(clock.now(), 1_000 + 180);
        assert_eq!(clock.limit_ns(), 62_000_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn advancing_wakes_who_waits() {
        let clock = Clock::new(Some(0), Duration::from_secs(60));
        let wait = clock.reach(60_000 * 60 * 24);
        tokio::pin!(wait);
        tokio::select! {
            biased;
            () = &mut wait => panic!("a day did not pass"),
            () = tokio::task::yield_now() => {}
        }
        clock.advance(60 * 24);
        wait.await;
    }
}
