//! A number with a storage promise sends and uploads only while its settings at Meta are known to keep it.

use super::{Case, Verdict};
use crate::decision::Reason;
use crate::facts::SettingsFact;
use crate::storage::ObservedStorage;

pub(super) fn judge(case: &Case<'_>) -> Verdict {
    let Some(number) = case.number else {
        return Verdict::NotConcerned;
    };
    if !number.storage.is_restricted() || !case.request.operation.carries_content() {
        return Verdict::NotConcerned;
    }
    match case.facts.settings {
        SettingsFact::Read(ObservedStorage::Mode(mode)) if mode == number.storage => Verdict::Passed,
        SettingsFact::Read(observed) => Verdict::Refused(Reason::SettingsDiffer {
            declared: number.storage,
            observed,
        }),
        // A gateway that thought it need not ask is wrong, and that must not open the door.
        SettingsFact::Unread | SettingsFact::NotNeeded => Verdict::Refused(Reason::SettingsUnverified),
    }
}
