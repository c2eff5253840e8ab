//! Whether a medium that Meta has already may stand for a new upload of the same file.
//!
//! Meta counts a medium's life from its own upload, so it always ends earlier than a fresh one would. How much earlier is
//! still right is decided here, as a pure function of the policy, the medium's pin and the time.

use crate::facts::{Origin, Pin};
use crate::policy::NumberPolicy;
use crate::storage::StorageMode;
use crate::time::{Minute, Timestamp};
use crate::ttl::TtlMinutes;

/// How much less than asked for a medium may still live, in minutes. A fresh medium's life is counted from before its first
/// byte, so by its answer a slow upload has used up as much; and a caller that repeats an upload because its answer
/// was lost asks for the same life again, of which the first try has used up some.
const GRACE_MINUTES: u32 = 5;
/// What must be left, in minutes, of the thirty days of a medium that has no TTL: a day.
const LEAST_WITHOUT_TTL_MINUTES: u32 = 24 * 60;

impl NumberPolicy {
    /// Whether `medium` may stand for a permitted upload that would live for `ttl`; `None` on numbers whose media have none.
    ///
    /// It must be this number's, uploaded through the gateway and not deleted. Its life must last as long as `ttl` asks, less
    /// five minutes, or where there is no TTL for one more day. And it must not outlive what the policy allows
    /// to an upload of now: that may be less than when the medium was uploaded.
    #[must_use]
    pub fn lets_stand_in(
        &self,
        medium: Pin,
        ttl: Option<TtlMinutes>,
        now: Timestamp,
        minute: Minute,
    ) -> bool {
        let (least, most) = match self.storage {
            StorageMode::NoStorage => {
                let asked = ttl.unwrap_or(self.media.ttl.default()).minutes();
                (asked.saturating_sub(GRACE_MINUTES), self.media.ttl.max())
            }
            StorageMode::Default | StorageMode::InCountry(_) => (LEAST_WITHOUT_TTL_MINUTES, TtlMinutes::MAX),
        };
        let lives = now.after(minute.times(least))..=now.after(minute.times(most.minutes()));
        self.media.reuse
            && medium.number == self.phone_number_id
            && medium.origin == Origin::Upload
            && lives.contains(&medium.ends)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::rules::testing::{id, modes, number};
    use crate::ttl::TtlBounds;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn policy(storage: StorageMode) -> NumberPolicy {
        let mut policy = number(1001, storage);
        policy.media.reuse = true;
        policy
    }

    fn medium(ends: Timestamp) -> Pin {
        Pin {
            number: id(1001),
            ends,
            origin: Origin::Upload,
        }
    }

    fn ttl(minutes: u64) -> Option<TtlMinutes> {
        Some(TtlMinutes::try_from(minutes).unwrap())
    }

    /// Whether a medium that lives for `left` may stand for an upload.
    fn stands_in(policy: &NumberPolicy, ttl: Option<TtlMinutes>, left: Duration) -> bool {
        policy.lets_stand_in(medium(NOW.after(left)), ttl, NOW, Minute::REAL)
    }

    #[test]
    fn a_medium_lives_as_long_as_asked_less_five_minutes() {
        let policy = policy(StorageMode::NoStorage);
        let millisecond = Duration::from_millis(1);
        for (asked, least) in [(ttl(60), 55), (ttl(1_440), 1_435), (None, 115)] {
            let least = MINUTE * least;
            assert!(stands_in(&policy, asked, least), "{asked:?}");
            assert!(!stands_in(&policy, asked, least - millisecond), "{asked:?}");
        }
    }

    #[test]
    fn a_medium_without_ttl_has_a_day_left() {
        let day = MINUTE * 24 * 60;
        for mode in [
            StorageMode::Default,
            StorageMode::InCountry("DE".parse().unwrap()),
        ] {
            let policy = policy(mode);
            assert!(stands_in(&policy, None, day));
            assert!(!stands_in(&policy, None, day - Duration::from_millis(1)));
            assert!(stands_in(&policy, None, day * 30));
            assert!(!stands_in(&policy, None, day * 30 + Duration::from_millis(1)));
        }
    }

    #[test]
    fn a_minute_that_is_compressed_compresses_the_rule() {
        let policy = policy(StorageMode::NoStorage);
        let second = Duration::from_secs(1);
        let minute = Minute::lasting(second).unwrap();
        let stands_in = |left| policy.lets_stand_in(medium(NOW.after(left)), ttl(60), NOW, minute);
        assert!(stands_in(second * 55));
        assert!(!stands_in(second * 54));
        assert!(!stands_in(second * 1_441));
    }

    fn origins() -> impl Strategy<Value = Origin> {
        prop_oneof![
            Just(Origin::Upload),
            Just(Origin::Inbound),
            Just(Origin::Webhook),
            Just(Origin::Deleted)
        ]
    }

    proptest! {
        #[test]
        fn nothing_stands_in_that_is_dead_deleted_or_anothers(
            mode in modes(),
            reuse: bool,
            owner in 1001u64..=1002,
            origin in origins(),
            asked in proptest::option::of(60u64..=43_200),
            limit in 60u64..=43_200,
            left in 0u32..=50_000,
        ) {
            let mut policy = policy(mode);
            policy.media.reuse = reuse;
            policy.media.ttl = TtlBounds::from_minutes(60, limit, 60);
            let medium = Pin { number: id(owner), ends: NOW.after(MINUTE * left), origin };
            let asked = asked.and_then(ttl);
            if policy.lets_stand_in(medium, asked, NOW, Minute::REAL) {
                prop_assert!(reuse && owner == 1001 && origin == Origin::Upload && left > 0);
                let most = match mode {
                    StorageMode::NoStorage => limit,
                    StorageMode::Default | StorageMode::InCountry(_) => 43_200,
                };
                prop_assert!(u64::from(left) <= most);
                if let (StorageMode::NoStorage, Some(asked)) = (mode, asked) {
                    prop_assert!(left + GRACE_MINUTES >= asked.minutes());
                }
            }
        }
    }
}
