//! No upload outlives the limit: `ttl_minutes` inside Meta's bounds and the policy's, whole, and only under No Storage.

use super::{Case, Verdict};
use crate::operation::{Operation, shown};
use crate::reason::Reason;
use crate::storage::StorageMode;
use crate::ttl::{TtlBounds, TtlMinutes};

pub(super) fn judge(case: &Case<'_>) -> Verdict {
    let Operation::UploadMedia(upload) = &case.request.operation else {
        return Verdict::NotConcerned;
    };
    let Some(number) = case.number else {
        // The rule on numbers refuses it.
        return Verdict::NotConcerned;
    };
    match (number.storage, upload.ttl_minutes.as_deref()) {
        (StorageMode::NoStorage, Some(text)) => match read(text, number.media.ttl) {
            Ok(ttl) => Verdict::PassedWithTtl(ttl),
            Err(reason) => Verdict::Refused(reason),
        },
        (StorageMode::NoStorage, None) if upload.complete => {
            Verdict::PassedWithTtl(number.media.ttl.default())
        }
        (StorageMode::NoStorage, None) => Verdict::Passed,
        (mode, Some(_)) => Verdict::Refused(Reason::TtlWithoutNoStorage { mode }),
        (_, None) => Verdict::Passed,
    }
}

/// Reads what a caller wrote as a life that `bounds` allow.
///
/// Plain digits without a leading zero, sign, blank or fraction: Meta may read `1e9`, ` 90` or `0x60` in ways of its own.
fn read(text: &str, bounds: TtlBounds) -> Result<TtlMinutes, Reason> {
    let not_whole = || Reason::TtlNotWhole {
        came: shown(text).into_owned(),
        bounds,
    };
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(not_whole());
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(not_whole());
    }
    let Ok(minutes) = text.parse::<u64>() else {
        return Err(not_whole());
    };
    match TtlMinutes::try_from(minutes) {
        Ok(ttl) if bounds.allow(ttl) => Ok(ttl),
        Ok(_) | Err(_) => Err(Reason::TtlOutOfBounds {
            came: minutes,
            bounds,
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::testing::{Scene, modes, number_texts, png};
    use crate::upload::Upload;

    fn bounds() -> impl Strategy<Value = TtlBounds> {
        [60u64..=43_200, 60u64..=43_200, 60u64..=43_200].prop_map(|mut minutes| {
            minutes.sort_unstable();
            let [min, default, max] = minutes;
            TtlBounds::from_minutes(min, max, default)
        })
    }

    /// Minutes at the edges of `bounds`, just beyond them, and anywhere.
    fn near(bounds: TtlBounds) -> impl Strategy<Value = u64> {
        let (min, max) = (
            u64::from(bounds.min().minutes()),
            u64::from(bounds.max().minutes()),
        );
        prop_oneof![Just(min - 1), Just(min), Just(max), Just(max + 1), 1u64..50_000]
    }

    fn scene(mode: StorageMode, bounds: TtlBounds, upload: Upload<'static>) -> Scene {
        let mut scene = Scene::new(mode, Operation::UploadMedia(upload));
        scene.ours().media.ttl = bounds;
        scene
    }

    proptest! {
        #[test]
        fn no_upload_outlives_the_limit(
            mode in modes(),
            bounds in bounds(),
            text in proptest::option::of(number_texts()),
            complete: bool,
        ) {
            let upload = Upload { complete, ..png(text.as_deref()) };
            let Ok(permit) = scene(mode, bounds, upload).decide() else { return Ok(()) };
            match (permit.ttl(), text) {
                (Some(ttl), text) => {
                    prop_assert_eq!(mode, StorageMode::NoStorage);
                    prop_assert!(complete || text.is_some(), "the form may still bring one");
                    prop_assert!(bounds.min() <= ttl && ttl <= bounds.max());
                    prop_assert!(TtlMinutes::MIN <= ttl && ttl <= TtlMinutes::MAX);
                    prop_assert_eq!(ttl.to_string(), text.unwrap_or_else(|| bounds.default().to_string()));
                }
                // What goes on without a life was not given one, and may have none or get one when the form has ended.
                (None, text) => {
                    prop_assert_eq!(text, None);
                    prop_assert!(mode != StorageMode::NoStorage || !complete);
                }
            }
        }

        #[test]
        fn every_allowed_life_can_be_asked_for(
            (bounds, minutes) in bounds().prop_flat_map(|bounds| (Just(bounds), near(bounds))),
        ) {
            let is_allowed = (bounds.min().minutes()..=bounds.max().minutes()).contains(&u32::try_from(minutes).unwrap());
            let permit = scene(StorageMode::NoStorage, bounds, png(Some(&minutes.to_string()))).decide();
            match permit {
                Ok(permit) => prop_assert!(is_allowed && permit.ttl() == TtlMinutes::try_from(minutes).ok()),
                Err(reason) => {
                    prop_assert!(!is_allowed);
                    prop_assert_eq!(reason, Reason::TtlOutOfBounds { came: minutes, bounds });
                }
            }
        }

        #[test]
        fn a_number_without_no_storage_takes_no_ttl(mode in modes(), text in number_texts()) {
            if mode == StorageMode::NoStorage {
                return Ok(());
            }
            let refused = scene(mode, TtlBounds::default_for_tests(), png(Some(&text))).decide();
            prop_assert_eq!(refused.unwrap_err(), Reason::TtlWithoutNoStorage { mode });
        }
    }

    impl TtlBounds {
        fn default_for_tests() -> Self {
            Self::from_minutes(60, 1440, 120)
        }
    }

    #[test]
    fn a_life_has_one_spelling() {
        let bounds = TtlBounds::default_for_tests();
        for text in [
            "",
            " ",
            "0120",
            "+120",
            "-120",
            " 120",
            "120 ",
            "120.0",
            "1.2e2",
            "0x78",
            "1_20",
            "１２０",
            "120\n",
            "12O",
            "99999999999999999999",
        ] {
            let refused = scene(StorageMode::NoStorage, bounds, png(Some(text))).decide();
            let expected = Reason::TtlNotWhole {
                came: shown(text).into_owned(),
                bounds,
            };
            assert_eq!(refused.unwrap_err(), expected, "{text:?}");
        }
    }

    #[test]
    fn monitoring_lets_a_wrong_life_go_on_as_it_came() {
        let permit = scene(
            StorageMode::NoStorage,
            TtlBounds::default_for_tests(),
            png(Some("43200")),
        )
        .monitored()
        .decide()
        .unwrap();
        assert_eq!(permit.ttl(), None);
        assert_eq!(permit.observed().map(Reason::slug), Some("ttl_out_of_bounds"));
    }
}
