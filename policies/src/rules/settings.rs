//! A settings call may only bring a number nearer to its policy.

use super::{Case, Verdict};
use crate::decision::Reason;
use crate::operation::{Operation, shown};
use crate::settings::{SettingsChange, StorageParameters};
use crate::storage::StorageMode;

/// Status values are compared without regard to case: Meta's guide and its reference spell them differently.
const IN_COUNTRY_ENABLED: &str = "IN_COUNTRY_STORAGE_ENABLED";
const NO_STORAGE_ENABLED: &str = "NO_STORAGE_ENABLED";

pub(super) fn judge(case: &Case<'_>) -> Verdict {
    let Operation::ChangeSettings(change) = &case.request.operation else {
        return Verdict::NotConcerned;
    };
    match contradiction(change, case.mode) {
        None => Verdict::Passed,
        Some(what) => Verdict::Refused(Reason::SettingsContradictPolicy {
            declared: case.mode,
            what,
        }),
    }
}

fn contradiction(change: &SettingsChange<'_>, declared: StorageMode) -> Option<String> {
    if let Some(member) = change.unknown_members.first() {
        return Some(format!(
            "has a member {:?} that is no documented setting",
            shown(member)
        ));
    }
    if change.features > 1 {
        return Some("has more than one feature object; Meta takes one a call".to_owned());
    }
    let storage = change.storage.as_ref()?;
    if let Some(member) = storage.unknown_members.first() {
        return Some(format!(
            "has a storage_configuration with {:?}, which is not known to be safe",
            shown(member)
        ));
    }
    match declared {
        StorageMode::Default => {
            Some("has a storage_configuration, which a default number must not have".to_owned())
        }
        StorageMode::InCountry(region) => expect_status(storage, IN_COUNTRY_ENABLED)
            .or_else(|| expect_region(storage.region.as_deref(), Some(region.code())))
            .or_else(|| expect_retention(storage.retention_minutes.as_deref(), None)),
        StorageMode::NoStorage => expect_status(storage, NO_STORAGE_ENABLED)
            .or_else(|| expect_region(storage.region.as_deref(), None))
            .or_else(|| expect_retention(storage.retention_minutes.as_deref(), Some("60"))),
    }
}

fn expect_status(storage: &StorageParameters<'_>, expected: &str) -> Option<String> {
    match storage.status.as_deref() {
        Some(status) if status.eq_ignore_ascii_case(expected) => None,
        Some(status) => Some(format!(
            "sets status {:?}; only {expected} is allowed",
            shown(status)
        )),
        None => Some(format!(
            "has a storage_configuration without status; only {expected} is allowed"
        )),
    }
}

pub(super) fn expect_region(came: Option<&str>, expected: Option<&str>) -> Option<String> {
    match (came, expected) {
        (Some(came), Some(expected)) if came == expected => None,
        (None, None) => None,
        (Some(came), Some(expected)) => Some(format!(
            "names region {:?}; only data_localization_region {expected} is allowed",
            shown(came)
        )),
        (None, Some(expected)) => Some(format!(
            "names no region; data_localization_region {expected} must be there"
        )),
        (Some(came), None) => Some(format!("names region {:?}; no region is allowed", shown(came))),
    }
}

pub(super) fn expect_retention(came: Option<&str>, expected: Option<&str>) -> Option<String> {
    match (came, expected) {
        (Some(came), Some(expected)) if came == expected => None,
        (None, None) => None,
        (Some(came), Some(expected)) => Some(format!(
            "sets retention {:?}; only {expected} minutes is allowed",
            shown(came)
        )),
        (None, Some(expected)) => Some(format!("sets no retention; {expected} minutes must be there")),
        (Some(came), None) => Some(format!(
            "sets retention {:?}; no retention is allowed",
            shown(came)
        )),
    }
}
