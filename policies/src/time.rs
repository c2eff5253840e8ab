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

    /// This point in UTC as RFC 3339 writes it, always with milliseconds: `2026-11-22T12:30:28.000Z`.
    ///
    /// RFC 3339 has years of four digits; a later point is given as its last one, `9999-12-31T23:59:59.999Z`.
    #[must_use]
    pub fn rfc3339(self) -> String {
        const LAST: u64 = 253_402_300_799_999;
        const DAY: u64 = 86_400_000;
        let at = self.0.min(LAST);
        let (year, month, day) = date(at / DAY);
        let of_day = at % DAY;
        let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
        let (second, milli) = (of_day / 1_000 % 60, of_day % 1_000);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

/// Year, month and day of the Gregorian date `days` days after 1970-01-01.
///
/// Counts in years that begin on 1 March, so that a leap day is the last of its year, and the lengths of the months follow
/// one line: 153 days for every five of them.
fn date(days: u64) -> (u64, u64, u64) {
    const FROM_YEAR_0_MARCH_1: u64 = 719_468;
    const IN_400_YEARS: u64 = 146_097;
    let days = days + FROM_YEAR_0_MARCH_1;
    let (cycle, of_cycle) = (days / IN_400_YEARS, days % IN_400_YEARS);
    // The days left when every leap day so far is taken out: 365 for each whole year.
    let without_leaps = of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096;
    let year = without_leaps / 365;
    let of_year = of_cycle - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let (month, next_year) = if from_march < 10 {
        (from_march + 3, 0)
    } else {
        (from_march - 9, 1)
    };
    (400 * cycle + year + next_year, month, day)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    use super::*;

    proptest! {
        #[test]
        fn rfc3339_is_read_as_the_same_point(millis in 0u64..=253_402_300_799_999) {
            let written = Timestamp::from_millis(millis).rfc3339();
            let read = OffsetDateTime::parse(&written, &Rfc3339).unwrap();
            prop_assert_eq!(read.unix_timestamp_nanos(), i128::from(millis) * 1_000_000, "{}", written);
        }

        #[test]
        fn rfc3339_keeps_the_order(a: u64, b: u64) {
            let (early, late) = (Timestamp::from_millis(a.min(b)), Timestamp::from_millis(a.max(b)));
            prop_assert!(early.rfc3339() <= late.rfc3339());
        }

        #[test]
        fn a_span_added_is_the_span_between(start in 0u64..=u64::MAX / 2, millis in 0u64..=u64::MAX / 2) {
            let start = Timestamp::from_millis(start);
            let span = Duration::from_millis(millis);
            prop_assert_eq!(start.after(span).since(start), span);
            prop_assert_eq!(start.since(start.after(span)), Duration::ZERO);
        }

        #[test]
        fn a_minute_is_between_a_millisecond_and_sixty_seconds(millis in 0u64..200_000) {
            let length = Duration::from_millis(millis);
            let minute = Minute::lasting(length);
            prop_assert_eq!(minute.is_some(), (1..=60_000).contains(&millis));
            if let Some(minute) = minute {
                prop_assert_eq!(minute.times(3), length * 3);
            }
        }
    }

    #[test]
    fn rfc3339_at_the_edges_of_years_and_leap_days() {
        for (millis, written) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (1_767_225_599_001, "2025-12-31T23:59:59.001Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "9999-12-31T23:59:59.999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp::from_millis(millis).rfc3339(), written);
        }
    }
}
