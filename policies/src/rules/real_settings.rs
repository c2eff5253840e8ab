//! A number with a storage promise sends and uploads only while its settings at Meta are known to keep it.

use super::{Case, Verdict};
use crate::facts::SettingsFact;
use crate::reason::Reason;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::testing::{modes, scenes};

    proptest! {
        #[test]
        fn nothing_is_sent_while_the_real_settings_are_not_the_declared(scene in scenes()) {
            let Some(number) = scene.named() else { return Ok(()) };
            let is_right = scene.settings == SettingsFact::Read(ObservedStorage::Mode(number.storage));
            let is_concerned = number.storage.is_restricted() && scene.request.operation.carries_content();
            let expected = match (is_concerned, is_right, scene.settings) {
                (false, _, _) => Verdict::NotConcerned,
                (true, true, _) => Verdict::Passed,
                (true, false, SettingsFact::Read(observed)) => {
                    Verdict::Refused(Reason::SettingsDiffer { declared: number.storage, observed })
                }
                (true, false, _) => Verdict::Refused(Reason::SettingsUnverified),
            };
            if is_concerned && !is_right {
                prop_assert!(scene.decide().is_err());
            }
            prop_assert_eq!(scene.judge(judge), expected);
        }

        #[test]
        fn the_right_mode_in_another_country_is_the_wrong_mode(declared in modes(), real in modes()) {
            let operation = crate::Operation::SendMessage(crate::rules::testing::text_message());
            let mut scene = crate::rules::testing::Scene::new(declared, operation);
            scene.settings = SettingsFact::Read(ObservedStorage::Mode(real));
            prop_assert_eq!(scene.decide().is_ok(), declared == real || !declared.is_restricted());
        }
    }
}
