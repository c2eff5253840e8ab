//! Bodies that can change where content is kept, read as settings, as a registration, and as Meta's own answer.

use std::borrow::Cow;

use curfew::graph::settings::{read_observed, read_registration, read_settings};
use curfew_policies::{ObservedStorage, StorageMode};
use serde_json::{Map, Value};

use super::json::{self, plain};

const STORAGE: &str = "storage_configuration";
const FEATURES: [&str; 4] = [STORAGE, "calling", "user_identity_change", "payload_encryption"];
const PARAMETERS: [&str; 3] = ["status", "data_localization_region", "retention_minutes"];
const REGISTRATION: [&str; 7] = [
    "messaging_product",
    "pin",
    "tier",
    "cert",
    "backup",
    "data_localization_region",
    "meta_store_retention_minutes",
];

pub fn check(body: &[u8]) -> bool {
    let settings = read_settings(body);
    let registration = read_registration(body);
    let refusal = settings.as_ref().err().map(|error| error.slug());
    // Both are the same walk.
    assert_eq!(refusal, registration.as_ref().err().map(|error| error.slug()));
    let observed = read_observed(body);
    let Some(document) = json::agreed(body, refusal) else {
        assert_eq!(observed, ObservedStorage::Unknown);
        return false;
    };
    let members = document.as_object().expect("it is an object");
    let settings = settings.expect("it was taken");
    let registration = registration.expect("it was taken");

    let is_storage = |key: &&String| key.eq_ignore_ascii_case(STORAGE);
    assert_eq!(
        settings.storage.is_some(),
        members.keys().any(|key| is_storage(&key))
    );
    has_all(
        &settings.unknown_members,
        &others(members, |key, _| FEATURES.contains(&key)),
    );
    assert_eq!(
        settings.features,
        members
            .keys()
            .filter(|key| FEATURES.contains(&key.as_str()))
            .count()
    );
    let spellings: Vec<_> = members.iter().filter(|(key, _)| is_storage(key)).collect();
    if let ([(_, value)], Some(storage)) = (spellings.as_slice(), &settings.storage) {
        // A string that holds an object is none.
        let nothing = Map::new();
        let parameters = value.as_object().unwrap_or(&nothing);
        let mut expected = others(parameters, |key, value| {
            PARAMETERS.contains(&key) && plain(value).is_some()
        });
        if !value.is_object() {
            expected.push("a value that is no object".to_owned());
        }
        has_all(&storage.unknown_members, &expected);
        agrees(parameters, "status", storage.status.as_ref());
        agrees(parameters, "data_localization_region", storage.region.as_ref());
        agrees(
            parameters,
            "retention_minutes",
            storage.retention_minutes.as_ref(),
        );
    }

    has_all(
        &registration.unknown_members,
        &others(members, |key, value| {
            let read = key == "data_localization_region" || key == "meta_store_retention_minutes";
            REGISTRATION.contains(&key) && (!read || plain(value).is_some())
        }),
    );
    agrees(members, "data_localization_region", registration.region.as_ref());
    agrees(
        members,
        "meta_store_retention_minutes",
        registration.retention_minutes.as_ref(),
    );
    is_so(observed, members);
    true
}

/// What a plain reading does not know, ours does not either. Ours may know more to refuse: names deeper in, and looser
/// spellings.
fn has_all(ours: &[Cow<'_, str>], plain: &[String]) {
    for name in plain {
        assert!(ours.iter().any(|ours| ours == name), "{name} is not in {ours:?}");
    }
}

/// Nothing is read from an answer that a plain reading of it does not say.
fn is_so(observed: ObservedStorage, members: &Map<String, Value>) {
    let ObservedStorage::Mode(mode) = observed else {
        return;
    };
    let text = |name: &str| members[STORAGE].get(name).and_then(plain);
    let status = text("status").expect("a status").to_ascii_uppercase();
    match mode {
        StorageMode::Default => {
            assert!(status == "DEFAULT" || status == "IN_COUNTRY_STORAGE_DISABLED");
        }
        StorageMode::NoStorage => {
            assert_eq!(status, "NO_STORAGE_ENABLED");
            assert!(text("retention_minutes").is_none_or(|minutes| minutes == "60"));
        }
        StorageMode::InCountry(region) => {
            assert_eq!(status, "IN_COUNTRY_STORAGE_ENABLED");
            let came = text("data_localization_region").expect("a region");
            assert_eq!(came.to_ascii_uppercase(), region.to_string());
        }
    }
}

/// If no other spelling of `name` is there, ours is what a plain reading says.
fn agrees(members: &Map<String, Value>, name: &str, ours: Option<&Cow<'_, str>>) {
    let spellings: Vec<_> = members
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .collect();
    match spellings.as_slice() {
        [] => assert_eq!(ours, None),
        [(_, value)] => assert_eq!(ours.map(ToString::to_string), plain(value)),
        // Which of them counts is nobody's to say: one at least is an unknown member, which policy refuses.
        _ => {}
    }
}

fn others(members: &Map<String, Value>, is_known: impl Fn(&str, &Value) -> bool) -> Vec<String> {
    let others = members.iter().filter(|(key, value)| !is_known(key, value));
    let mut others: Vec<_> = others.map(|(key, _)| key.clone()).collect();
    others.sort();
    others
}
