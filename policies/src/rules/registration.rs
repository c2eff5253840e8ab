//! Registering may only bring a number nearer to its policy, and neither it nor deregistering may lock the number out.

use super::settings::{expect_region, expect_retention};
use super::{Case, Verdict};
use crate::decision::Reason;
use crate::operation::{Operation, shown};
use crate::settings::{Generation, Registration};
use crate::storage::StorageMode;

/// How many register, or deregister, calls Meta takes for one number in a moving 72 hours; the next one locks the number out
/// for 72 hours (Cloud API, "Registration", error 133016).
const CALLS_IN_72_HOURS: u32 = 10;

pub(super) fn judge(case: &Case<'_>) -> Verdict {
    let refusal = match &case.request.operation {
        Operation::Register(registration) => contradiction(registration, case.mode, case.request.generation)
            .map(|what| Reason::RegistrationContradictsPolicy {
                declared: case.mode,
                what,
            }),
        Operation::Deregister => {
            let allowed = case.number.is_some_and(|number| number.allow_deregister);
            (case.mode.is_restricted() && !allowed)
                .then_some(Reason::DeregisterNotAllowed { mode: case.mode })
        }
        _ => return Verdict::NotConcerned,
    };
    let calls = case.facts.recent_registrations;
    let locks_out = (calls >= CALLS_IN_72_HOURS).then_some(Reason::RegistrationLockout { calls });
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
