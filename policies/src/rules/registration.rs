//! Registering may only bring a number nearer to its policy, and neither it nor deregistering may lock the number out.

use super::settings::{expect_region, expect_retention};
use super::{Case, Verdict};
use crate::operation::{Operation, shown};
use crate::reason::Reason;
use crate::settings::{Generation, Registration};
use crate::storage::StorageMode;

/// How many register, or deregister, calls Meta takes for one number in a moving 72 hours; the next one locks the number out
/// for 72 hours (Cloud API, "Registration", error 133016).
pub const MOST_REGISTRATION_CALLS: u32 = 10;

pub(super) fn judge(case: &Case<'_>) -> Verdict {
    let refusal = match &case.request.operation {
        Operation::Register(registration) => {
            contradiction(registration, case.mode(), case.request.generation).map(|what| {
                Reason::RegistrationContradictsPolicy {
                    declared: case.mode(),
                    what,
                }
            })
        }
        Operation::Deregister => {
            let allowed = case.number.is_some_and(|number| number.allow_deregister);
            (case.mode().is_restricted() && !allowed)
                .then_some(Reason::DeregisterNotAllowed { mode: case.mode() })
        }
        _ => return Verdict::NotConcerned,
    };
    let calls = case.facts.recent_registrations;
    let locks_out = (calls >= MOST_REGISTRATION_CALLS).then_some(Reason::RegistrationLockout { calls });
    refusal.or(locks_out).map_or(Verdict::Passed, Verdict::Refused)
}

fn contradiction(
    registration: &Registration<'_>,
    declared: StorageMode,
    generation: Generation,
) -> Option<String> {
    if let Some(member) = registration.unknown_members.first() {
        return Some(format!(
            "has a member {:?} that is not known to be safe",
            shown(member)
        ));
    }
    let region = registration.region.as_deref();
    let retention = registration.retention_minutes.as_deref();
    // From v21.0 on storage is set by `settings` before, so the parameters may be missing; up to v20.0, or where the
    // version is not known, a registration without them switches the promise off.
    let may_be_missing = generation == Generation::FromV21;
    match declared {
        StorageMode::Default => expect_region(region, None).or_else(|| expect_retention(retention, None)),
        StorageMode::InCountry(expected) => {
            let region_missing_is_fine = region.is_none() && may_be_missing;
            let wrong_region = if region_missing_is_fine {
                None
            } else {
                expect_region(region, Some(expected.code()))
            };
            wrong_region.or_else(|| expect_retention(retention, None))
        }
        StorageMode::NoStorage => {
            let retention_missing_is_fine = retention.is_none() && may_be_missing;
            let wrong_retention = if retention_missing_is_fine {
                None
            } else {
                expect_retention(retention, Some("60"))
            };
            expect_region(region, None).or(wrong_retention)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::testing::{Scene, generations, in_country, modes, registrations_near};

    /// What Meta may make of a registration: up to v20.0 it sets the storage mode whatever it was before; from v21.0 on
    /// it may still take the parameters, and without them leaves the mode as `settings` made it.
    ///
    /// `None`: it names something whose effect nobody can say.
    fn applied(registration: &Registration<'_>, before: StorageMode, from_v21: bool) -> Option<StorageMode> {
        if !registration.unknown_members.is_empty() {
            return None;
        }
        let region = registration.region.as_deref().map(str::to_ascii_uppercase);
        match (region, registration.retention_minutes.as_deref()) {
            (Some(code), None) => code.parse().ok().map(StorageMode::InCountry),
            (None, Some(minutes)) => {
                let is_60 = minutes.trim().parse::<f64>() == Ok(60.0);
                is_60.then_some(StorageMode::NoStorage)
            }
            (None, None) if from_v21 => Some(before),
            (None, None) => Some(StorageMode::Default),
            (Some(_), Some(_)) => None,
        }
    }

    fn register(
        mode: StorageMode,
        generation: Generation,
        region: Option<&'static str>,
        retention: Option<&'static str>,
    ) -> Scene {
        let registration = Registration {
            region: region.map(Into::into),
            retention_minutes: retention.map(Into::into),
            unknown_members: Vec::new(),
        };
        let mut scene = Scene::new(mode, Operation::Register(registration));
        scene.request.generation = generation;
        scene
    }

    proptest! {
        #[test]
        fn a_registration_never_leads_away_from_the_policy(
            (declared, registration) in
                modes().prop_flat_map(|declared| (Just(declared), registrations_near(declared))),
            before in modes(),
            generation in generations(),
        ) {
            let mut scene = Scene::new(declared, Operation::Register(registration.clone()));
            scene.request.generation = generation;
            if scene.decide().is_err() {
                return Ok(());
            }
            // A call without a version is served by one generation or the other.
            let served_by: &[bool] = match generation {
                Generation::UpToV20 => &[false],
                Generation::FromV21 => &[true],
                Generation::Unversioned => &[false, true],
            };
            for from_v21 in served_by {
                let after = applied(&registration, before, *from_v21);
                prop_assert!(
                    after == Some(declared) || (*from_v21 && after == Some(before)),
                    "{:?} to {:?}", before, after
                );
            }
        }

        #[test]
        fn no_call_locks_the_number_out(mode in modes(), calls in 0u32..20, deregister: bool) {
            let mut scene = register(mode, Generation::FromV21, None, None);
            if deregister {
                scene.request.operation = Operation::Deregister;
                scene.ours().allow_deregister = true;
            }
            scene.recent_registrations = calls;
            let expected = if calls < 10 { None } else { Some(Reason::RegistrationLockout { calls }) };
            prop_assert_eq!(scene.decide().err(), expected);
        }

        #[test]
        fn only_leave_to_deregister_switches_a_promise_off(mode in modes(), allowed: bool, generation in generations()) {
            let mut scene = Scene::new(mode, Operation::Deregister);
            scene.request.generation = generation;
            scene.ours().allow_deregister = allowed;
            prop_assert_eq!(scene.decide().is_ok(), allowed || !mode.is_restricted());
        }
    }

    #[test]
    fn both_generations_by_row() {
        use Generation::{FromV21, Unversioned, UpToV20};
        let (germany, none) = (in_country("DE"), StorageMode::NoStorage);
        for (mode, generation, region, retention, passes) in [
            (StorageMode::Default, UpToV20, None, None, true),
            (StorageMode::Default, FromV21, None, None, true),
            (StorageMode::Default, Unversioned, None, None, true),
            (StorageMode::Default, FromV21, Some("DE"), None, false),
            (StorageMode::Default, UpToV20, None, Some("60"), false),
            (germany, UpToV20, Some("DE"), None, true),
            (germany, FromV21, Some("DE"), None, true),
            (germany, Unversioned, Some("DE"), None, true),
            (germany, UpToV20, None, None, false),
            (germany, FromV21, None, None, true),
            (germany, Unversioned, None, None, false),
            (germany, FromV21, Some("IN"), None, false),
            (germany, UpToV20, Some("de"), None, false),
            (germany, FromV21, Some("DE"), Some("60"), false),
            (none, UpToV20, None, Some("60"), true),
            (none, FromV21, None, Some("60"), true),
            (none, Unversioned, None, Some("60"), true),
            (none, UpToV20, None, None, false),
            (none, FromV21, None, None, true),
            (none, Unversioned, None, None, false),
            (none, FromV21, None, Some("61"), false),
            (none, UpToV20, None, Some("060"), false),
            (none, UpToV20, Some("DE"), Some("60"), false),
        ] {
            let outcome = register(mode, generation, region, retention).outcome();
            let expected = if passes {
                "pass"
            } else {
                "registration_contradicts_policy"
            };
            assert_eq!(
                outcome, expected,
                "{mode} {generation:?} {region:?} {retention:?}"
            );
        }
    }

    #[test]
    fn the_refusal_says_what_must_be_there() {
        for (mode, missing) in [
            (in_country("DE"), "data_localization_region DE"),
            (StorageMode::NoStorage, "60 minutes"),
        ] {
            let reason = register(mode, Generation::UpToV20, None, None)
                .decide()
                .unwrap_err();
            assert!(reason.to_string().contains(missing), "{reason}");
        }
    }
}
