//! Where time comes from: an injected value, so that no deadline rests on a library's private clock and tests can move it.
//!
//! Two clocks, because neither serves alone. Wall-clock time survives a restart and is what Meta counts by, but an
//! operator or NTP may step it. Monotonic time cannot step, but means nothing to the next process. What must survive a
//! restart is kept as a [`Timestamp`], what must not be stretched is kept as a [`Moment`], and a [`Deadline`] holds both.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use curfew_policies::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// The time, wall-clock and monotonic. Cheap to clone; clones agree.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<Hands>),
}

/// A point in monotonic time, of use only beside others of the same process.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Moment(Duration);

/// An end that has come as soon as either clock says so: a stepped wall clock can bring it nearer, never put it off.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    wall: Timestamp,
    monotonic: Moment,
}

/// Moves a [manual](Clock::manual) clock.
#[derive(Clone, Debug)]
pub struct ManualTime(Arc<Hands>);

#[derive(Debug)]
struct Hands {
    wall_millis: AtomicU64,
    monotonic_nanos: AtomicU64,
}

impl Clock {
    /// The machine's own clocks.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until its handle moves it.
    #[must_use]
    pub fn manual(start: Timestamp) -> (Self, ManualTime) {
        let hands = Arc::new(Hands {
            wall_millis: AtomicU64::new(start.millis()),
            // Not zero: a moment before the start must be representable to those who subtract.
            monotonic_nanos: AtomicU64::new(nanos(Duration::from_secs(3600))),
        });
        (Self(Source::Manual(Arc::clone(&hands))), ManualTime(hands))
    }

    /// The wall-clock time, in milliseconds.
    ///
    /// It may step in either direction. A step back makes a pin look alive for as long as the step is wide, after Meta
    /// has dropped the medium: Meta then refuses. What would do harm by living longer takes a [`Deadline`]. A machine
    /// whose clock stands before 1970 reads as 1970.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let since_epoch = self.system_time().duration_since(UNIX_EPOCH);
        Timestamp::from_millis(0).after(since_epoch.unwrap_or(Duration::ZERO))
    }

    /// The wall-clock time as precisely as it is known, for what compares it with other machines' clocks.
    #[must_use]
    pub fn system_time(&self) -> SystemTime {
        match &self.0 {
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that reads the wall clock"
            )]
            Source::System => SystemTime::now(),
            Source::Manual(hands) => {
                let wall = Duration::from_millis(hands.wall_millis.load(Ordering::Relaxed));
                UNIX_EPOCH.checked_add(wall).unwrap_or(UNIX_EPOCH)
            }
        }
    }

    /// The monotonic time.
    ///
    /// On Linux and Android this is `CLOCK_BOOTTIME`, which goes on while the machine is suspended, so that a suspended
    /// machine keeps nothing for longer. Elsewhere it is `CLOCK_MONOTONIC`, which on some systems stands still then.
    #[must_use]
    pub fn monotonic(&self) -> Moment {
        match &self.0 {
            Source::System => {
                let time = clock_gettime(MONOTONIC);
                let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
                let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
                Moment(Duration::new(seconds, nanos))
            }
            Source::Manual(hands) => Moment(Duration::from_nanos(
                hands.monotonic_nanos.load(Ordering::Relaxed),
            )),
        }
    }

    /// The end of `life` from now, on both clocks.
    #[must_use]
    pub fn deadline(&self, life: Duration) -> Deadline {
        Deadline {
            wall: self.now().after(life),
            monotonic: self.monotonic().after(life),
        }
    }

    /// Whether `deadline` has come on either clock.
    #[must_use]
    pub fn is_past(&self, deadline: Deadline) -> bool {
        self.monotonic() >= deadline.monotonic || self.now() >= deadline.wall
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const MONOTONIC: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const MONOTONIC: ClockId = ClockId::Monotonic;

impl Deadline {
    /// The end that has come when the wall clock says `wall` or the monotonic one `monotonic`, whichever is first.
    #[must_use]
    pub const fn new(wall: Timestamp, monotonic: Moment) -> Self {
        Self { wall, monotonic }
    }

    /// The end by the wall clock.
    #[must_use]
    pub const fn wall(self) -> Timestamp {
        self.wall
    }

    /// The end by the monotonic clock.
    #[must_use]
    pub const fn monotonic(self) -> Moment {
        self.monotonic
    }
}

impl Moment {
    /// This moment moved `duration` later; stops at the last representable one.
    #[must_use]
    pub const fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// How much later this moment is than `earlier`; zero when it is not later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl ManualTime {
    /// Lets `duration` pass on both clocks: wall-clock time in whole milliseconds.
    pub fn advance(&self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.0.wall_millis.fetch_add(millis, Ordering::Relaxed);
        self.advance_monotonic(duration);
    }

    /// Lets `duration` pass on the monotonic clock alone, as if the wall clock were set back at the same time.
    pub fn advance_monotonic(&self, duration: Duration) {
        self.0
            .monotonic_nanos
            .fetch_add(nanos(duration), Ordering::Relaxed);
    }

    /// Steps the wall clock to `now`, forth or back; monotonic time stands still.
    pub fn set_wall(&self, now: Timestamp) {
        self.0.wall_millis.store(now.millis(), Ordering::Relaxed);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_system_clock_goes_forth() {
        let clock = Clock::system();
        let (wall, monotonic) = (clock.now(), clock.monotonic());
        assert!(wall > Timestamp::from_millis(1_700_000_000_000));
        while clock.monotonic() == monotonic {}
        assert!(clock.monotonic() > monotonic);
    }

    #[test]
    fn a_manual_clock_stands_until_it_is_moved() {
        let (clock, time) = Clock::manual(START);
        let (moment, other) = (clock.monotonic(), clock.clone());
        assert_eq!((clock.now(), clock.monotonic()), (START, moment));
        time.advance(MINUTE);
        assert_eq!(other.now().since(START), MINUTE);
        assert_eq!(other.monotonic().since(moment), MINUTE);
    }

    #[test]
    fn setting_the_wall_clock_back_puts_no_deadline_off() {
        let (clock, time) = Clock::manual(START);
        let deadline = clock.deadline(MINUTE);
        time.set_wall(Timestamp::from_millis(START.millis() - 3_600_000));
        time.advance_monotonic(MINUTE - Duration::from_nanos(1));
        assert!(!clock.is_past(deadline));
        time.advance_monotonic(Duration::from_nanos(1));
        assert!(clock.is_past(deadline));
    }

    #[test]
    fn setting_the_wall_clock_forth_brings_a_deadline_nearer() {
        let (clock, time) = Clock::manual(START);
        let deadline = clock.deadline(MINUTE);
        time.set_wall(START.after(MINUTE));
        assert!(clock.is_past(deadline));
    }
}
