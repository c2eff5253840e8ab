//! How long media live: Meta's bounds, and the policy's inside them.

use std::fmt;

use serde::Deserialize;
use thiserror::Error;

/// How long Meta keeps one uploaded media file, in whole minutes.
///
/// Bounds: 60 (1 hour) to 43 200 (30 days), inclusive.
/// Source: Cloud API, "No Storage", override outgoing media TTL.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(try_from = "u64")]
pub struct TtlMinutes(u16);

/// A number of minutes that Meta does not take as a media TTL.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("{0} minutes is outside Meta's bounds of {min} to {max} minutes", min = TtlMinutes::MIN, max = TtlMinutes::MAX)]
pub struct TtlOutOfRange(pub u64);

impl TtlMinutes {
    /// One hour: also what a No Storage number's media get when the upload says nothing.
    pub const MIN: Self = Self(60);
    /// Thirty days: also how long media of every other number live (Cloud API, "Media").
    pub const MAX: Self = Self(43_200);

    /// The number of minutes.
    #[must_use]
    pub const fn minutes(self) -> u32 {
        // Lossless: `u32::from` is not const.
        #[expect(clippy::as_conversions, reason = "a widening conversion, in a const fn")]
        {
            self.0 as u32
        }
    }
}

impl TryFrom<u64> for TtlMinutes {
    type Error = TtlOutOfRange;

    fn try_from(minutes: u64) -> Result<Self, TtlOutOfRange> {
        let ttl = u16::try_from(minutes)
            .map(Self)
            .map_err(|_| TtlOutOfRange(minutes))?;
        if !(Self::MIN..=Self::MAX).contains(&ttl) {
            return Err(TtlOutOfRange(minutes));
        }
        Ok(ttl)
    }
}

impl fmt::Display for TtlMinutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How long Meta keeps messages of a No Storage number, in minutes.
///
/// Meta takes 60 and nothing else. Source: Cloud API, "No Storage", `retention_minutes` and
/// `meta_store_retention_minutes`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RetentionMinutes(());

impl RetentionMinutes {
    /// The one value that Meta takes.
    pub const MINUTES: u64 = 60;

    /// `Some` for 60 minutes, `None` for anything else.
    #[must_use]
    pub const fn of(minutes: u64) -> Option<Self> {
        if minutes == Self::MINUTES {
            Some(Self(()))
        } else {
            None
        }
    }
}

/// What a policy allows for `ttl_minutes`, inside Meta's own bounds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TtlBounds {
    min: TtlMinutes,
    max: TtlMinutes,
    default: TtlMinutes,
}

/// Three values that do not make bounds.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("min {min}, default {default}, max {max} are not in this order")]
pub struct TtlBoundsOutOfOrder {
    min: TtlMinutes,
    default: TtlMinutes,
    max: TtlMinutes,
}

impl TtlBounds {
    const ONE_DAY: TtlMinutes = TtlMinutes(1_440);
    const TWO_HOURS: TtlMinutes = TtlMinutes(120);

    /// Bounds of which a policy names only some: `min` is an hour unless named; `max` a day, or `min` where that is longer;
    /// `default` two hours, or the bound that is nearer.
    ///
    /// # Errors
    ///
    /// Unless `min <= default <= max`.
    pub fn filled_in(
        min: Option<TtlMinutes>,
        max: Option<TtlMinutes>,
        default: Option<TtlMinutes>,
    ) -> Result<Self, TtlBoundsOutOfOrder> {
        let min = min.unwrap_or(TtlMinutes::MIN);
        let max = max.unwrap_or(Self::ONE_DAY.max(min));
        let default = default.unwrap_or(Self::TWO_HOURS.min(max).max(min));
        Self::new(min, max, default)
    }

    /// Bounds from `min` to `max`, and the value that is written into an upload that carries none.
    ///
    /// # Errors
    ///
    /// Unless `min <= default <= max`.
    pub fn new(min: TtlMinutes, max: TtlMinutes, default: TtlMinutes) -> Result<Self, TtlBoundsOutOfOrder> {
        if min <= default && default <= max {
            Ok(Self { min, max, default })
        } else {
            Err(TtlBoundsOutOfOrder { min, default, max })
        }
    }

    /// The shortest life that the policy allows.
    #[must_use]
    pub const fn min(&self) -> TtlMinutes {
        self.min
    }

    /// The longest life that the policy allows.
    #[must_use]
    pub const fn max(&self) -> TtlMinutes {
        self.max
    }

    /// What an upload without `ttl_minutes` gets.
    #[must_use]
    pub const fn default(&self) -> TtlMinutes {
        self.default
    }

    /// Whether the policy allows `ttl`.
    #[must_use]
    pub fn allow(&self, ttl: TtlMinutes) -> bool {
        (self.min..=self.max).contains(&ttl)
    }
}

impl Default for TtlBounds {
    /// An hour to a day, two hours where an upload says nothing.
    fn default() -> Self {
        Self {
            min: TtlMinutes::MIN,
            max: Self::ONE_DAY,
            default: Self::TWO_HOURS,
        }
    }
}

impl fmt::Display for TtlBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} minutes", self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_ttl_is_inside_metas_bounds(minutes: u64) {
            prop_assert_eq!(TtlMinutes::try_from(minutes).is_ok(), (60..=43_200).contains(&minutes));
        }

        #[test]
        fn bounds_allow_exactly_what_lies_between(min in 60u64..=43_200, max in 60u64..=43_200, ttl in 60u64..=43_200) {
            let ttl_of = |minutes| TtlMinutes::try_from(minutes).unwrap();
            match TtlBounds::new(ttl_of(min), ttl_of(max), ttl_of(min)) {
                Ok(bounds) => {
                    prop_assert_eq!(bounds.allow(ttl_of(ttl)), min <= ttl && ttl <= max);
                    prop_assert!(bounds.allow(ttl_of(min)) && bounds.allow(ttl_of(max)));
                }
                Err(_) => prop_assert!(min > max),
            }
        }
    }
}
