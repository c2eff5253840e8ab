use proptest::prelude::*;

use super::*;
use crate::graph::json::testing::{object, spelling};

fn change(body: &str) -> SettingsChange<'_> {
    read_settings(body.as_bytes()).unwrap_or_else(|error| panic!("{error} {body}"))
}

fn registration(body: &str) -> Registration<'_> {
    read_registration(body.as_bytes()).unwrap_or_else(|error| panic!("{error} {body}"))
}

fn text(text: &str) -> Option<Cow<'_, str>> {
    Some(Cow::Borrowed(text))
}

#[test]
fn the_documented_settings_are_understood() {
    for (body, expected) in [
        (
            r#"{"storage_configuration":{"status":"IN_COUNTRY_STORAGE_ENABLED","data_localization_region":"DE"}}"#,
            StorageParameters {
                status: text("IN_COUNTRY_STORAGE_ENABLED"),
                region: text("DE"),
                ..StorageParameters::default()
            },
        ),
        (
            r#"{"storage_configuration":{"status":"IN_COUNTRY_STORAGE_DISABLED"}}"#,
            StorageParameters {
                status: text("IN_COUNTRY_STORAGE_DISABLED"),
                ..StorageParameters::default()
            },
        ),
        (
            r#"{"storage_configuration":{"status":"NO_STORAGE_ENABLED","retention_minutes":60}}"#,
            StorageParameters {
                status: text("NO_STORAGE_ENABLED"),
                retention_minutes: text("60"),
                ..StorageParameters::default()
            },
        ),
        (
            r#"{"stor\u0061ge_configuration":{"status":"N\u004f_STORAGE_ENABLED","retention_minutes":"60"}}"#,
            StorageParameters {
                status: text("NO_STORAGE_ENABLED"),
                retention_minutes: text("60"),
                ..StorageParameters::default()
            },
        ),
    ] {
        let expected = SettingsChange {
            storage: Some(expected),
            features: 1,
            unknown_members: vec![],
        };
        assert_eq!(change(body), expected, "{body}");
    }
    for feature in ["calling", "user_identity_change", "payload_encryption"] {
        let body = format!(r#"{{"{feature}":{{"status":"ENABLED","x":{{"storage":1}}}}}}"#);
        assert_eq!(
            change(&body),
            SettingsChange {
                features: 1,
                ..SettingsChange::default()
            }
        );
    }
    assert_eq!(change("{}"), SettingsChange::default());
    assert_eq!(
        change(r#"{"calling":{},"storage_configuration":{"status":"X"},"payload_encryption":{}}"#).features,
        3
    );
}

#[test]
fn no_spelling_of_the_storage_object_is_passed_over() {
    for key in [
        "Storage_Configuration",
        "STORAGE_CONFIGURATION",
        "storage_configuratioN",
    ] {
        let body = format!(r#"{{"{key}":{{"status":"IN_COUNTRY_STORAGE_DISABLED"}}}}"#);
        let change = change(&body);
        assert_eq!(change.unknown_members, [key]);
        assert_eq!(
            change.storage.unwrap().status,
            text("IN_COUNTRY_STORAGE_DISABLED")
        );
        assert_eq!(change.features, 0);
    }
    for key in [
        "storage_configuration[status]",
        "storage_configuration[]",
        " storage_configuration",
        "storage",
        "access_token",
    ] {
        let body = format!(r#"{{"{key}":"IN_COUNTRY_STORAGE_DISABLED"}}"#);
        assert_eq!(change(&body).unknown_members, [key]);
    }
}

#[test]
fn a_storage_object_that_is_none_is_no_empty_one() {
    for value in [
        r#""{\"status\":\"NO_STORAGE_ENABLED\"}""#,
        r#""""#,
        "null",
        "true",
        "60",
        "[]",
        r#"[{"status":"NO_STORAGE_ENABLED"}]"#,
    ] {
        let body = format!(r#"{{"storage_configuration":{value}}}"#);
        let storage = change(&body).storage.unwrap();
        assert_eq!(storage.unknown_members, [NO_OBJECT], "{body}");
        assert_eq!(storage.status, None, "{body}");
    }
}

#[test]
fn a_parameter_is_its_text_or_unknown() {
    for name in ["status", "data_localization_region", "retention_minutes"] {
        for (value, expected) in [
            ("60", text("60")),
            ("0", text("0")),
            (r#""60""#, text("60")),
            (r#"" 60""#, text(" 60")),
            (r#""6\u0030""#, text("60")),
            ("60.0", None),
            ("6e1", None),
            ("-0", None),
            ("-60", None),
            ("99999999999999999999", None),
            ("true", None),
            ("null", None),
            ("[60]", None),
            (r#"{"a":60}"#, None),
        ] {
            let body = format!(r#"{{"storage_configuration":{{"{name}":{value}}}}}"#);
            let storage = change(&body).storage.unwrap();
            let read = match name {
                "status" => storage.status,
                "data_localization_region" => storage.region,
                _ => storage.retention_minutes,
            };
            assert_eq!(read, expected, "{body}");
            let unknown: &[&str] = if expected.is_some() { &[] } else { &[name] };
            assert_eq!(storage.unknown_members, unknown, "{body}");
        }
    }
}

#[test]
fn a_parameter_in_another_letter_case_is_there_and_unknown() {
    let storage = change(
        r#"{"storage_configuration":{"Status":"a","DATA_localization_region":"b","retention_Minutes":7}}"#,
    )
    .storage
    .unwrap();
    assert_eq!(
        (storage.status, storage.region, storage.retention_minutes),
        (text("a"), text("b"), text("7"))
    );
    assert_eq!(
        storage.unknown_members,
        ["Status", "DATA_localization_region", "retention_Minutes"]
    );
    let storage = change(r#"{"storage_configuration":{"status[]":"a","x":{"status":"b"}}}"#)
        .storage
        .unwrap();
    assert_eq!(
        storage,
        StorageParameters {
            unknown_members: vec!["status[]".into(), "x".into()],
            ..StorageParameters::default()
        }
    );
}

#[test]
fn the_documented_registrations_are_understood() {
    for (body, region, retention_minutes) in [
        (r#"{"messaging_product":"whatsapp","pin":"212834"}"#, None, None),
        (
            r#"{"messaging_product":"whatsapp","pin":"212834","data_localization_region":"IN"}"#,
            text("IN"),
            None,
        ),
        (
            r#"{"messaging_product":"whatsapp","pin":"212834","tier":"test","meta_store_retention_minutes":60}"#,
            None,
            text("60"),
        ),
        (
            r#"{"messaging_product":"whatsapp","pin":212834,"cert":"x","backup":{"data":"x","password":"y"},"meta_store_retention_minutes":"60"}"#,
            None,
            text("60"),
        ),
    ] {
        assert_eq!(
            registration(body),
            Registration {
                region,
                retention_minutes,
                unknown_members: vec![]
            },
            "{body}"
        );
    }
}

#[test]
fn a_registration_hides_no_parameter() {
    for (body, region, retention_minutes, unknown) in [
        (
            r#"{"Data_Localization_Region":"DE"}"#,
            text("DE"),
            None,
            "Data_Localization_Region",
        ),
        (
            r#"{"META_STORE_RETENTION_MINUTES":60}"#,
            None,
            text("60"),
            "META_STORE_RETENTION_MINUTES",
        ),
        (
            r#"{"meta_store_retention_minutes":60.0}"#,
            None,
            None,
            "meta_store_retention_minutes",
        ),
        (
            r#"{"meta_store_retention_minutes":6e1}"#,
            None,
            None,
            "meta_store_retention_minutes",
        ),
        (
            r#"{"meta_store_retention_minutes":-0}"#,
            None,
            None,
            "meta_store_retention_minutes",
        ),
        (
            r#"{"data_localization_region":null}"#,
            None,
            None,
            "data_localization_region",
        ),
        (
            r#"{"data_localization_region":["DE"]}"#,
            None,
            None,
            "data_localization_region",
        ),
        (
            r#"{"data_localization_region[]":"DE"}"#,
            None,
            None,
            "data_localization_region[]",
        ),
        (r#"{"PIN":"212834"}"#, None, None, "PIN"),
        (
            r#"{"storage_configuration":{}}"#,
            None,
            None,
            "storage_configuration",
        ),
        (r#"{"method":"delete"}"#, None, None, "method"),
    ] {
        assert_eq!(
            registration(body),
            Registration {
                region,
                retention_minutes,
                unknown_members: vec![unknown.into()]
            },
            "{body}"
        );
    }
    let inside =
        r#"{"pin":"{\"data_localization_region\":\"DE\"}","backup":{"data_localization_region":"DE"}}"#;
    assert_eq!(
        registration(inside).unknown_members,
        ["pin.data_localization_region", "backup.data_localization_region"]
    );
}

#[test]
fn storage_inside_another_feature_is_an_unknown_member() {
    for (value, at) in [
        (r#"{"storage_configuration":1}"#, "calling.storage_configuration"),
        (
            r#"{"x":[{"Storage.Configuration":1}]}"#,
            "calling.x[0].Storage.Configuration",
        ),
        (r#""{\"retention_minutes\":1}""#, "calling.retention_minutes"),
    ] {
        let body = format!(r#"{{"calling":{value}}}"#);
        assert_eq!(change(&body).unknown_members, [at], "{body}");
    }
}

#[test]
fn both_refuse_what_has_two_meanings() {
    for (body, slug) in [
        (r#"{"pin":"1","pin":"2"}"#, "json_duplicate_key"),
        (
            r#"{"storage_configuration":{"status":"a","st\u0061tus":"b"}}"#,
            "json_duplicate_key",
        ),
        (
            r#"{"storage_configuration":{},"storage_configuration":{}}"#,
            "json_duplicate_key",
        ),
        ("[]", "json_not_an_object"),
        ("{} {}", "json_trailing_data"),
        ("\u{feff}{}", "json_byte_order_mark"),
        ("pin=212834", "json_syntax"),
    ] {
        assert_eq!(read_settings(body.as_bytes()).unwrap_err().slug(), slug);
        assert_eq!(read_registration(body.as_bytes()).unwrap_err().slug(), slug);
    }
}

#[test]
fn an_answer_says_one_mode_or_unknown() {
    use ObservedStorage::{InCountryElsewhere, Mode, NoStorageLonger, Unknown};
    let germany = Mode(StorageMode::InCountry("DE".parse().unwrap()));
    let no_storage = Mode(StorageMode::NoStorage);
    for (storage, expected) in [
        (r#"{"status":"DEFAULT"}"#, Mode(StorageMode::Default)),
        (r#"{"status":"default"}"#, Mode(StorageMode::Default)),
        (
            r#"{"status":"IN_COUNTRY_STORAGE_DISABLED"}"#,
            Mode(StorageMode::Default),
        ),
        (
            r#"{"status":"IN_COUNTRY_STORAGE_ENABLED","data_localization_region":"DE"}"#,
            germany,
        ),
        (
            r#"{"status":"in_country_storage_enabled","data_localization_region":"de","retention_minutes":null}"#,
            germany,
        ),
        (
            r#"{"status":"IN_COUNTRY_STORAGE_ENABLED","data_localization_region":"US"}"#,
            InCountryElsewhere,
        ),
        (
            r#"{"status":"IN_COUNTRY_STORAGE_ENABLED","data_localization_region":" DE"}"#,
            InCountryElsewhere,
        ),
        (
            r#"{"status":"IN_COUNTRY_STORAGE_ENABLED","data_localization_region":["DE"]}"#,
            InCountryElsewhere,
        ),
        (
            r#"{"status":"IN_COUNTRY_STORAGE_ENABLED","data_localization_region":"DE","Data_localization_region":"IN"}"#,
            InCountryElsewhere,
        ),
        (r#"{"status":"IN_COUNTRY_STORAGE_ENABLED"}"#, InCountryElsewhere),
        (r#"{"status":"NO_STORAGE_ENABLED"}"#, no_storage),
        (
            r#"{"status":"No_Storage_Enabled","retention_minutes":60,"since":"2026"}"#,
            no_storage,
        ),
        (
            r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":"60"}"#,
            no_storage,
        ),
        (
            r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":null}"#,
            no_storage,
        ),
        (
            r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":61}"#,
            NoStorageLonger,
        ),
        (
            r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":6e1}"#,
            NoStorageLonger,
        ),
        (
            r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":[60]}"#,
            NoStorageLonger,
        ),
        (
            r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":60,"RETENTION_MINUTES":90}"#,
            NoStorageLonger,
        ),
        (
            r#"{"status":"NO_STORAGE_ENABLED","status":"NO_STORAGE_ENABLED"}"#,
            Unknown,
        ),
        (r#"{"status":"NO_STORAGE_ENABLED","STATUS":"DEFAULT"}"#, Unknown),
        (r#"{"status":"NO_STORAGE_DISABLED"}"#, Unknown),
        (r#"{"status":" DEFAULT"}"#, Unknown),
        (r#"{"status":""}"#, Unknown),
        (r#"{"status":null}"#, Unknown),
        (r#"{"status":1}"#, Unknown),
        (r#"{}"#, Unknown),
        (r#""{\"status\":\"DEFAULT\"}""#, Unknown),
        ("null", Unknown),
        (r#"[{"status":"DEFAULT"}]"#, Unknown),
    ] {
        let body =
            format!(r#"{{"calling":{{"status":"ENABLED"}},"storage_configuration":{storage},"id":"1"}}"#);
        assert_eq!(read_observed(body.as_bytes()), expected, "{body}");
    }
    for body in [
        "",
        "{}",
        "[]",
        r#"{"error":{"message":"(#100)","code":100}}"#,
        r#"{"Storage_configuration":{"status":"DEFAULT"}}"#,
        r#"{"storage_configuration":{"status":"DEFAULT"},"STORAGE_CONFIGURATION":{}}"#,
        r#"{"data":{"storage_configuration":{"status":"DEFAULT"}}}"#,
        r#"{"storage_configuration":{"status":"DEFAULT"}} "#.trim_end_matches(['}', ' ']),
        r#"{"storage_configuration":{"status":"DEFAULT"}}{}"#,
    ] {
        assert_eq!(read_observed(body.as_bytes()), Unknown, "{body}");
    }
}

proptest! {
    #[test]
    fn every_top_level_key_is_a_feature_or_unknown(tree in object(), spelling in spelling()) {
        let body = tree.spelled(&spelling);
        if let (Ok(change), Ok(serde_json::Value::Object(members))) = (read_settings(body.as_bytes()), serde_json::from_str(&body)) {
            prop_assert_eq!(change.unknown_members.len() + change.features, members.len());
        }
        prop_assert_eq!(read_observed(body.as_bytes()), ObservedStorage::Unknown);
    }

    #[test]
    fn storage_members_are_those_of_a_tree(
        members in proptest::collection::btree_map(
            "status|Status|STATUS|data_localization_region|retention_minutes|other|status\\[\\]",
            "\"[A-Z_]{0,8}\"|[1-9][0-9]{0,3}|null|true|6e1|60\\.0|\\{\\}|\\[1\\]",
            0..5,
        ),
    ) {
        let text: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let body = format!("{{\"storage_configuration\":{{{}}}}}", text.join(","));
        let storage = change(&body).storage.unwrap();
        let read = [("status", &storage.status), ("data_localization_region", &storage.region), ("retention_minutes", &storage.retention_minutes)];
        let mut unknown = members.clone();
        for (name, came) in read {
            if let Some(value) = members.get(name)
                && (value.starts_with('"') || value.bytes().all(|byte| byte.is_ascii_digit()))
            {
                unknown.remove(name);
                if !members.keys().any(|key| key != name && key.eq_ignore_ascii_case(name)) {
                    prop_assert_eq!(came.as_deref(), Some(value.trim_matches('"')), "{}", body);
                }
            }
        }
        let found: Vec<&str> = storage.unknown_members.iter().map(AsRef::as_ref).collect();
        prop_assert_eq!(found, unknown.keys().map(String::as_str).collect::<Vec<_>>(), "{}", body);
    }
}
