//! Reads the bodies that can change where a number's content is kept, and Meta's answer that says where it is.
//!
//! Both generations of the storage parameters are read (Cloud API, "Local Storage" and "No Storage"): the object
//! `storage_configuration` of `settings`, and the two members of `register`. It is not documented whether Graph takes keys
//! in other letter case or PHP's brackets, so such a key is neither passed over nor understood: it is an unknown member,
//! which policy refuses.

use std::borrow::Cow;

use curfew_policies::{
    ObservedStorage, Region, Registration, SettingsChange, StorageMode, StorageParameters,
};

use super::json::{self, JsonError, Key, Path, Reader, Shallow};

#[cfg(test)]
mod tests;

/// The documented features of `settings` beside storage (Cloud API, "Settings API").
const OTHER_FEATURES: [&str; 3] = ["calling", "user_identity_change", "payload_encryption"];

/// The feature that says where content is kept.
const STORAGE: &str = "storage_configuration";

/// The documented members of a registration beside the two that speak of storage (Cloud API, "Registration").
const OTHER_REGISTRATION: [&str; 5] = ["messaging_product", "pin", "tier", "cert", "backup"];

/// The members that say where or how long content is kept, wherever a body has them.
pub(crate) const STORAGE_NAMES: [&str; 4] = [
    STORAGE,
    "data_localization_region",
    "meta_store_retention_minutes",
    "retention_minutes",
];

/// Stands among the unknown members for a `storage_configuration` whose members cannot be read.
const NO_OBJECT: &str = "a value that is no object";

/// Reads the body of `POST /{phone_number_id}/settings`.
///
/// # Errors
///
/// Where the body has no single meaning.
pub fn read_settings(body: &[u8]) -> Result<SettingsChange<'_>, JsonError> {
    let reader = SettingsReader {
        change: SettingsChange::default(),
        nulls: Nulls::AreUnknown,
    };
    Ok(json::walk(body, reader)?.change)
}

/// Reads the body of `POST /{phone_number_id}/register`.
///
/// # Errors
///
/// Where the body has no single meaning.
pub fn read_registration(body: &[u8]) -> Result<Registration<'_>, JsonError> {
    Ok(json::walk(body, RegistrationReader::default())?.registration)
}

/// Reads the answer to `GET /{phone_number_id}/settings`.
///
/// The guide writes the status in upper case, the reference in lower case, so case does not count. `retention_minutes` may
/// be missing: it is not documented that the answer has it, and Meta takes no other value than 60. What is ambiguous or
/// unheard of is [`ObservedStorage::Unknown`].
#[must_use]
pub fn read_observed(body: &[u8]) -> ObservedStorage {
    let reader = SettingsReader {
        change: SettingsChange::default(),
        nulls: Nulls::AreMissing,
    };
    let Ok(SettingsReader { change, .. }) = json::walk(body, reader) else {
        return ObservedStorage::Unknown;
    };
    if change.unknown_members.iter().any(|key| is_spelling(key, STORAGE)) {
        return ObservedStorage::Unknown;
    }
    change
        .storage
        .map_or(ObservedStorage::Unknown, |storage| observed(&storage))
}

fn observed(storage: &StorageParameters<'_>) -> ObservedStorage {
    let is_unclear = |name: &str| storage.unknown_members.iter().any(|key| is_spelling(key, name));
    let Some(status) = storage.status.as_deref() else {
        return ObservedStorage::Unknown;
    };
    if is_unclear("status") {
        return ObservedStorage::Unknown;
    }
    let is = |name: &str| status.eq_ignore_ascii_case(name);
    if is("DEFAULT") || is("IN_COUNTRY_STORAGE_DISABLED") {
        ObservedStorage::Mode(StorageMode::Default)
    } else if is("IN_COUNTRY_STORAGE_ENABLED") {
        let region = storage.region.as_deref().map(str::to_ascii_uppercase);
        match region.as_deref().map(str::parse::<Region>) {
            Some(Ok(region)) if !is_unclear("data_localization_region") => {
                ObservedStorage::Mode(StorageMode::InCountry(region))
            }
            _ => ObservedStorage::InCountryElsewhere,
        }
    } else if is("NO_STORAGE_ENABLED") {
        match storage.retention_minutes.as_deref() {
            None | Some("60") if !is_unclear("retention_minutes") => {
                ObservedStorage::Mode(StorageMode::NoStorage)
            }
            _ => ObservedStorage::NoStorageLonger,
        }
    } else {
        ObservedStorage::Unknown
    }
}

/// Whether `key` is `name` in some letter case, or `name` with brackets after it.
fn is_spelling(key: &str, name: &str) -> bool {
    json::names_parameter(key, &[name])
}

/// What a `null` is taken for.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Nulls {
    /// In a call: Meta does not say what it would do.
    AreUnknown,
    /// In an answer: a member that has no value.
    AreMissing,
}

struct SettingsReader<'a> {
    change: SettingsChange<'a>,
    nulls: Nulls,
}

/// Where a value of a settings body is.
#[derive(Clone, Copy, Eq, PartialEq)]
enum SettingsPlace {
    Root,
    Storage,
    /// A member of the storage object.
    Parameter,
    /// Inside the storage feature, where a value of another shape than documented is an unknown member as a whole.
    BelowStorage,
    Elsewhere,
}

impl SettingsPlace {
    /// The place of what is inside a value here that is not an object, or that is one of which policy reads no member.
    const fn inside(self) -> Self {
        match self {
            Self::Root | Self::Elsewhere => Self::Elsewhere,
            Self::Storage | Self::Parameter | Self::BelowStorage => Self::BelowStorage,
        }
    }
}

impl<'a> Reader<'a> for SettingsReader<'a> {
    type At = SettingsPlace;
    type Object = ();
    type Error = JsonError;

    fn root(&self) -> SettingsPlace {
        SettingsPlace::Root
    }

    fn held(&self, at: SettingsPlace) -> SettingsPlace {
        at.inside()
    }

    fn element(&self, at: SettingsPlace) -> SettingsPlace {
        at.inside()
    }

    fn keeps(&self, at: SettingsPlace) -> bool {
        at == SettingsPlace::Parameter
    }

    fn open(&mut self, _at: SettingsPlace) {}

    fn member(
        &mut self,
        _object: &mut (),
        at: SettingsPlace,
        key: &Key<'a>,
        path: &Path<'_>,
    ) -> Result<SettingsPlace, JsonError> {
        if at == SettingsPlace::Elsewhere && json::part_names(key, &STORAGE_NAMES) {
            self.change.unknown_members.push(Cow::Owned(path.rendered()));
        }
        Ok(match at {
            SettingsPlace::Root if key.eq_ignore_ascii_case(STORAGE) => SettingsPlace::Storage,
            SettingsPlace::Storage => SettingsPlace::Parameter,
            at => at.inside(),
        })
    }

    fn value(
        &mut self,
        _object: &mut (),
        at: SettingsPlace,
        key: &Key<'a>,
        value: Shallow<'a>,
        _path: &Path<'_>,
    ) -> Result<(), JsonError> {
        match at {
            SettingsPlace::Root => self.take_feature(key, &value),
            SettingsPlace::Storage => self.take_storage_member(key, value),
            SettingsPlace::Parameter | SettingsPlace::BelowStorage | SettingsPlace::Elsewhere => {}
        }
        Ok(())
    }
}

impl<'a> SettingsReader<'a> {
    fn take_feature(&mut self, key: &Key<'a>, value: &Shallow<'a>) {
        let change = &mut self.change;
        if key.eq_ignore_ascii_case(STORAGE) {
            let storage = change.storage.get_or_insert_default();
            if *value != Shallow::Object {
                storage.unknown_members.push(Cow::Borrowed(NO_OBJECT));
            }
        }
        if key.as_str() == STORAGE || OTHER_FEATURES.contains(&key.as_str()) {
            change.features = change.features.saturating_add(1);
        } else {
            change.unknown_members.push(key.kept());
        }
    }

    fn take_storage_member(&mut self, key: &Key<'a>, value: Shallow<'a>) {
        let storage = self.change.storage.get_or_insert_default();
        if value == Shallow::Null && self.nulls == Nulls::AreMissing {
            return;
        }
        let member = match key.to_ascii_lowercase().as_str() {
            "status" => Some(&mut storage.status),
            "data_localization_region" => Some(&mut storage.region),
            "retention_minutes" => Some(&mut storage.retention_minutes),
            _ => None,
        };
        if !take_parameter(member, key, value) {
            storage.unknown_members.push(key.kept());
        }
    }
}

#[derive(Default)]
struct RegistrationReader<'a> {
    registration: Registration<'a>,
}

/// Whether a value is a member of the registration itself.
#[derive(Clone, Copy, Eq, PartialEq)]
enum RegistrationPlace {
    Root,
    Member,
    Elsewhere,
}

impl<'a> Reader<'a> for RegistrationReader<'a> {
    type At = RegistrationPlace;
    type Object = ();
    type Error = JsonError;

    fn root(&self) -> RegistrationPlace {
        RegistrationPlace::Root
    }

    fn keeps(&self, at: RegistrationPlace) -> bool {
        at == RegistrationPlace::Member
    }

    fn open(&mut self, _at: RegistrationPlace) {}

    fn member(
        &mut self,
        _object: &mut (),
        at: RegistrationPlace,
        key: &Key<'a>,
        path: &Path<'_>,
    ) -> Result<RegistrationPlace, JsonError> {
        if at != RegistrationPlace::Root && json::part_names(key, &STORAGE_NAMES) {
            self.registration
                .unknown_members
                .push(Cow::Owned(path.rendered()));
        }
        Ok(match at {
            RegistrationPlace::Root => RegistrationPlace::Member,
            RegistrationPlace::Member | RegistrationPlace::Elsewhere => RegistrationPlace::Elsewhere,
        })
    }

    fn value(
        &mut self,
        _object: &mut (),
        at: RegistrationPlace,
        key: &Key<'a>,
        value: Shallow<'a>,
        _path: &Path<'_>,
    ) -> Result<(), JsonError> {
        if at != RegistrationPlace::Root {
            return Ok(());
        }
        let registration = &mut self.registration;
        let member = match key.to_ascii_lowercase().as_str() {
            "data_localization_region" => Some(&mut registration.region),
            "meta_store_retention_minutes" => Some(&mut registration.retention_minutes),
            _ => None,
        };
        let known = OTHER_REGISTRATION.contains(&key.as_str()) || take_parameter(member, key, value);
        if !known {
            registration.unknown_members.push(key.kept());
        }
        Ok(())
    }
}

/// Writes a parameter's text into `member`, if it is one that policy reads. Says whether all of it was understood: not if there is no
/// such member, if `key` has another letter case, or if the value is neither a string nor a number of plain digits.
fn take_parameter<'a>(member: Option<&mut Option<Cow<'a, str>>>, key: &str, value: Shallow<'a>) -> bool {
    let Some(member) = member else {
        return false;
    };
    let is_text = matches!(value, Shallow::Text(_) | Shallow::Whole(_));
    if is_text {
        *member = Some(value.rendered());
    }
    is_text && !key.bytes().any(|byte| byte.is_ascii_uppercase())
}
