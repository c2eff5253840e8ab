//! A settings call may only bring a number nearer to its policy.

use super::{Case, Verdict};
use crate::operation::{Operation, shown};
use crate::reason::Reason;
use crate::settings::{SettingsChange, StorageParameters};
use crate::storage::StorageMode;

/// Status values are compared without regard to case: Meta's guide and its reference spell them differently.
const IN_COUNTRY_ENABLED: &str = "IN_COUNTRY_STORAGE_ENABLED";
const NO_STORAGE_ENABLED: &str = "NO_STORAGE_ENABLED";

pub(super) fn judge(case: &Case<'_>) -> Verdict {
    let Operation::ChangeSettings(change) = &case.request.operation else {
        return Verdict::NotConcerned;
    };
    match contradiction(change, case.mode()) {
        None => Verdict::Passed,
        Some(what) => Verdict::Refused(Reason::SettingsContradictPolicy {
            declared: case.mode(),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::testing::{
        Scene, any_case, generations, in_country, modes, settings_near, three_modes,
    };
    use crate::settings::Generation;

    /// What Meta may make of a settings call, read as leniently as it might: letter case and blanks do not count, a
    /// missing retention is the only one there is, and a number without a region is in none.
    ///
    /// `None`: the call touches storage, but what it makes of it nobody can say.
    fn applied(change: &SettingsChange<'_>, before: StorageMode) -> Option<StorageMode> {
        let Some(storage) = &change.storage else {
            return Some(before);
        };
        if !storage.unknown_members.is_empty() || !change.unknown_members.is_empty() {
            return None;
        }
        let minutes = storage
            .retention_minutes
            .as_deref()
            .map(|text| text.trim().parse::<f64>());
        match storage.status.as_deref()?.trim().to_ascii_uppercase().as_str() {
            "IN_COUNTRY_STORAGE_ENABLED" => {
                let code = storage.region.as_deref()?.to_ascii_uppercase();
                code.parse().ok().map(StorageMode::InCountry)
            }
            "NO_STORAGE_ENABLED" => match minutes {
                None | Some(Ok(60.0)) => Some(StorageMode::NoStorage),
                Some(_) => None,
            },
            "IN_COUNTRY_STORAGE_DISABLED" | "NO_STORAGE_DISABLED" | "DEFAULT" => Some(StorageMode::Default),
            _ => None,
        }
    }

    fn scene(mode: StorageMode, change: SettingsChange<'static>) -> Scene {
        Scene::new(mode, Operation::ChangeSettings(change))
    }

    fn storage(
        status: Option<&str>,
        region: Option<&'static str>,
        retention: Option<&'static str>,
    ) -> SettingsChange<'static> {
        SettingsChange {
            storage: Some(StorageParameters {
                status: status.map(|text| text.to_owned().into()),
                region: region.map(Into::into),
                retention_minutes: retention.map(Into::into),
                unknown_members: Vec::new(),
            }),
            features: 1,
            unknown_members: Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn a_settings_call_never_leads_away_from_the_policy(
            (declared, change) in modes().prop_flat_map(|declared| (Just(declared), settings_near(declared))),
            before in modes(),
            generation in generations(),
        ) {
            let mut scene = scene(declared, change.clone());
            scene.request.generation = generation;
            if scene.decide().is_ok() {
                let after = applied(&change, before);
                prop_assert!(after == Some(before) || after == Some(declared), "{:?} to {:?}", before, after);
                prop_assert!(change.storage.is_none() || declared.is_restricted());
            }
        }

        #[test]
        fn the_declared_mode_can_be_set_however_its_status_is_spelled(
            in_country_status in any_case(IN_COUNTRY_ENABLED),
            no_storage_status in any_case(NO_STORAGE_ENABLED),
            generation in generations(),
        ) {
            for (mode, change) in [
                (in_country("DE"), storage(Some(&in_country_status), Some("DE"), None)),
                (StorageMode::NoStorage, storage(Some(&no_storage_status), None, Some("60"))),
            ] {
                let mut scene = scene(mode, change);
                scene.request.generation = generation;
                prop_assert_eq!(scene.outcome(), "pass");
            }
        }
    }

    #[test]
    fn each_way_out_is_closed_and_named() {
        let in_country_on = Some(IN_COUNTRY_ENABLED);
        let no_storage_on = Some(NO_STORAGE_ENABLED);
        for (mode, change, what) in [
            (
                in_country("DE"),
                storage(Some("IN_COUNTRY_STORAGE_DISABLED"), None, None),
                "DISABLED",
            ),
            (
                in_country("DE"),
                storage(in_country_on, Some("IN"), None),
                "\"IN\"",
            ),
            (
                in_country("DE"),
                storage(in_country_on, Some("de"), None),
                "\"de\"",
            ),
            (in_country("DE"), storage(in_country_on, None, None), "no region"),
            (
                in_country("DE"),
                storage(in_country_on, Some("DE"), Some("60")),
                "no retention is allowed",
            ),
            (
                in_country("DE"),
                storage(no_storage_on, None, Some("60")),
                "NO_STORAGE_ENABLED",
            ),
            (
                in_country("DE"),
                storage(None, Some("DE"), None),
                "without status",
            ),
            (
                StorageMode::NoStorage,
                storage(no_storage_on, None, None),
                "no retention",
            ),
            (
                StorageMode::NoStorage,
                storage(no_storage_on, None, Some("61")),
                "\"61\"",
            ),
            (
                StorageMode::NoStorage,
                storage(no_storage_on, None, Some("60.0")),
                "\"60.0\"",
            ),
            (
                StorageMode::NoStorage,
                storage(no_storage_on, Some("DE"), Some("60")),
                "\"DE\"",
            ),
            (
                StorageMode::NoStorage,
                storage(in_country_on, Some("DE"), None),
                "IN_COUNTRY",
            ),
            (
                StorageMode::Default,
                storage(in_country_on, Some("DE"), None),
                "storage_configuration",
            ),
            (
                StorageMode::Default,
                storage(no_storage_on, None, Some("60")),
                "storage_configuration",
            ),
            (
                StorageMode::Default,
                storage(None, None, None),
                "storage_configuration",
            ),
        ] {
            let reason = scene(mode, change.clone()).decide().unwrap_err();
            assert_eq!(reason.slug(), "settings_contradict_policy", "{change:?}");
            assert!(reason.to_string().contains(what), "{reason}");
        }
    }

    #[test]
    fn other_settings_are_free_one_at_a_time() {
        for mode in three_modes() {
            let calling = SettingsChange {
                features: 1,
                ..SettingsChange::default()
            };
            assert_eq!(scene(mode, calling.clone()).outcome(), "pass");
            let two = SettingsChange {
                features: 2,
                ..calling.clone()
            };
            assert_eq!(scene(mode, two).outcome(), "settings_contradict_policy");
            let inside = SettingsChange {
                storage: Some(StorageParameters {
                    unknown_members: vec!["enabled".into()],
                    ..StorageParameters::default()
                }),
                ..calling.clone()
            };
            let reason = scene(mode, inside).decide().unwrap_err();
            assert!(reason.to_string().contains("\"enabled\""), "{reason}");
            let unknown = SettingsChange {
                unknown_members: vec!["storage_config".into()],
                ..calling
            };
            assert_eq!(scene(mode, unknown).outcome(), "settings_contradict_policy");
        }
    }

    #[test]
    fn no_generation_opens_another_door() {
        for generation in [Generation::UpToV20, Generation::FromV21, Generation::Unversioned] {
            let mut scene = scene(in_country("DE"), storage(Some("DEFAULT"), None, None));
            scene.request.generation = generation;
            assert_eq!(scene.outcome(), "settings_contradict_policy");
        }
    }
}
