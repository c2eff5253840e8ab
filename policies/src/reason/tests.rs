use std::collections::HashSet;

use super::*;
use crate::rules::testing::{id, in_country};

/// Every variant, with what its text must name.
fn one_of_each() -> Vec<(Reason, Vec<&'static str>)> {
    let bounds = TtlBounds::from_minutes(60, 1440, 120);
    let germany = in_country("DE");
    let at = || "template.components[0]".to_owned();
    vec![
        (Reason::NumberNotInPolicy(id(1001)), vec!["1001", "[[number]]"]),
        (Reason::NumberNotAllowed(id(1001)), vec!["1001", "[[caller]]"]),
        (Reason::NothingAllowed, vec!["[[caller]]", "waba_id"]),
        (
            Reason::OperationNotAllowed {
                operation: "send_message",
                class: OperationClass::Send,
            },
            vec!["send_message", "\"send\""],
        ),
        (
            Reason::ForbiddenByMode {
                operation: "flow_assets",
                mode: germany,
                allow: Some(UnverifiedOperation::FlowAssets),
            },
            vec!["flow_assets", "in_country (DE)", "allow_unverified"],
        ),
        (Reason::WebhookRedirect, vec!["webhook"]),
        (
            Reason::TtlNotWhole {
                came: "1e2".to_owned(),
                bounds,
            },
            vec!["1e2", "60 to 1440"],
        ),
        (
            Reason::TtlOutOfBounds { came: 59, bounds },
            vec!["59", "60 to 1440"],
        ),
        (
            Reason::TtlWithoutNoStorage { mode: germany },
            vec!["in_country (DE)"],
        ),
        (
            Reason::MediaNotUsable {
                media: Some(id(7)),
                number: Some(id(1001)),
            },
            vec!["media 7", "1001"],
        ),
        (
            Reason::MediaOfOtherNumber {
                media: id(7),
                number: id(1001),
                owner: id(1002),
            },
            vec!["media 7", "1001", "1002"],
        ),
        (
            Reason::MediaEnded {
                media: id(7),
                ended: Timestamp::from_millis(1_800_000_000_000),
            },
            vec!["media 7", "2027-01-15T08:00:00.000Z"],
        ),
        (Reason::IdAndLink { at: at() }, vec!["template.components[0]"]),
        (
            Reason::LinkNotAllowed {
                at: at(),
                host: Some("evil.example".to_owned()),
            },
            vec!["template.components[0]", "evil.example", "media.links.hosts"],
        ),
        (
            Reason::UnknownMessageType {
                came: Some("hologram".to_owned()),
            },
            vec!["hologram", "allow_unverified"],
        ),
        (
            Reason::UnknownMember {
                at: at(),
                member: "thumbnail".to_owned(),
            },
            vec!["template.components[0]", "thumbnail"],
        ),
        (
            Reason::UndocumentedReference { at: at() },
            vec!["template.components[0]"],
        ),
        (
            Reason::SettingsContradictPolicy {
                declared: germany,
                what: "names no region".to_owned(),
            },
            vec!["in_country (DE)", "names no region"],
        ),
        (
            Reason::RegistrationContradictsPolicy {
                declared: StorageMode::NoStorage,
                what: "names no region".to_owned(),
            },
            vec!["no_storage", "names no region"],
        ),
        (
            Reason::DeregisterNotAllowed { mode: germany },
            vec!["in_country (DE)", "allow_deregister"],
        ),
        (Reason::RegistrationLockout { calls: 10 }, vec!["10", "72 hours"]),
        (
            Reason::SettingsDiffer {
                declared: StorageMode::NoStorage,
                observed: ObservedStorage::Mode(germany),
            },
            vec!["no_storage", "in_country (DE)"],
        ),
        (Reason::SettingsUnverified, vec!["settings"]),
        (
            Reason::MediaTypeNotTaken {
                came: Some("image/gif".to_owned()),
            },
            vec!["image/gif"],
        ),
        (
            Reason::MediaTypesDisagree {
                declared: "image/png".to_owned(),
                part: "image/gif".to_owned(),
            },
            vec!["image/png", "image/gif"],
        ),
        (
            Reason::FileTooLarge {
                mime: "image/png",
                max_bytes: 5_242_880,
            },
            vec!["image/png", "5242880"],
        ),
        (Reason::AccountNotInPolicy(id(5001)), vec!["5001", "waba_id"]),
    ]
}

/// Where each variant stands in [`Reason::SLUGS`]. A new variant must be added here, and so comes to the tests.
fn place(reason: &Reason) -> usize {
    match reason {
        Reason::NumberNotInPolicy(_) => 0,
        Reason::NumberNotAllowed(_) => 1,
        Reason::NothingAllowed => 2,
        Reason::OperationNotAllowed { .. } => 3,
        Reason::ForbiddenByMode { .. } => 4,
        Reason::WebhookRedirect => 5,
        Reason::TtlNotWhole { .. } => 6,
        Reason::TtlOutOfBounds { .. } => 7,
        Reason::TtlWithoutNoStorage { .. } => 8,
        Reason::MediaNotUsable { .. } => 9,
        Reason::MediaOfOtherNumber { .. } => 10,
        Reason::MediaEnded { .. } => 11,
        Reason::IdAndLink { .. } => 12,
        Reason::LinkNotAllowed { .. } => 13,
        Reason::UnknownMessageType { .. } => 14,
        Reason::UnknownMember { .. } => 15,
        Reason::UndocumentedReference { .. } => 16,
        Reason::SettingsContradictPolicy { .. } => 17,
        Reason::RegistrationContradictsPolicy { .. } => 18,
        Reason::DeregisterNotAllowed { .. } => 19,
        Reason::RegistrationLockout { .. } => 20,
        Reason::SettingsDiffer { .. } => 21,
        Reason::SettingsUnverified => 22,
        Reason::MediaTypeNotTaken { .. } => 23,
        Reason::MediaTypesDisagree { .. } => 24,
        Reason::FileTooLarge { .. } => 25,
        Reason::AccountNotInPolicy(_) => 26,
    }
}

#[test]
fn slugs_are_exactly_those_of_the_variants() {
    let all = one_of_each();
    let places: Vec<_> = all.iter().map(|(reason, _)| place(reason)).collect();
    let expected: Vec<_> = (0..Reason::SLUGS.len()).collect();
    assert_eq!(places, expected);
    for (reason, _) in &all {
        assert_eq!(Reason::SLUGS[place(reason)], reason.slug());
    }
    let distinct: HashSet<_> = Reason::SLUGS.into_iter().collect();
    assert_eq!(distinct.len(), Reason::SLUGS.len());
}

#[test]
fn slugs_can_be_header_values_and_labels() {
    for slug in Reason::SLUGS {
        assert!(
            slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{slug}"
        );
    }
}

#[test]
fn each_text_names_its_values() {
    for (reason, values) in one_of_each() {
        let text = reason.to_string();
        assert!(!text.contains("  ") && !text.contains('\n'), "{text:?}");
        for value in values {
            assert!(text.contains(value), "{text:?} does not name {value:?}");
        }
    }
}

#[test]
fn what_did_not_come_is_said_too() {
    for (reason, text) in [
        (
            Reason::ForbiddenByMode {
                operation: "messages_encrypted",
                mode: StorageMode::Default,
                allow: Some(UnverifiedOperation::MessagesEncrypted),
            },
            "cannot be read here",
        ),
        (
            Reason::ForbiddenByMode {
                operation: "flow_assets",
                mode: StorageMode::NoStorage,
                allow: None,
            },
            "flow_assets is not allowed for numbers with storage no_storage",
        ),
        (
            Reason::MediaNotUsable {
                media: None,
                number: None,
            },
            "?phone_number_id=",
        ),
        (
            Reason::LinkNotAllowed {
                at: "image".to_owned(),
                host: None,
            },
            "https://HOST/",
        ),
        (Reason::UnknownMessageType { came: None }, "name its type"),
        (Reason::MediaTypeNotTaken { came: None }, "Content-Type"),
    ] {
        assert!(reason.to_string().contains(text), "{reason}");
    }
}

#[test]
fn only_who_may_call_is_beyond_monitoring() {
    let enforced: Vec<_> = one_of_each()
        .into_iter()
        .filter(|(reason, _)| !reason.can_be_observed())
        .map(|(reason, _)| reason.slug())
        .collect();
    assert_eq!(
        enforced,
        [
            "number_not_in_policy",
            "number_not_allowed",
            "nothing_allowed",
            "operation_not_allowed",
            "account_not_in_policy"
        ]
    );
}
