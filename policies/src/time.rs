//! Points in time, as values: nothing here reads a clock.

use std::time::Duration;

/// A point in wall-clock time, in whole milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The point `millis` milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// This point moved `duration` later; stops at the last representable point.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// How much later this point is than `earlier`; zero when it is not later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// How long one minute of every storage duration lasts.
///
/// Sixty seconds in production. `--minute 1s` compresses what Meta and the policy count in minutes, hours and days, so
/// that people can watch it end; what is counted in seconds (limits, timeouts) stays as it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Minute(Duration);

impl Minute {
    /// The real minute.
    pub const REAL: Self = Self(Duration::from_secs(60));

    /// A minute that lasts `length`; `None` unless it is between one millisecond and sixty seconds.
    #[must_use]
    pub fn lasting(length: Duration) -> Option<Self> {
        (Duration::from_millis(1)..=Duration::from_secs(60))
            .contains(&length)
            .then_some(Self(length))
    }

    /// The length of one minute.
    #[must_use]
    pub const fn length(self) -> Duration {
        self.0
    }

    /// `minutes` of these.
    #[must_use]
    pub fn times(self, minutes: u32) -> Duration {
        self.0.saturating_mul(minutes)
    }
}
