//! What each storage mode allows, call by call: one row each, for default, in_country and no_storage.

use crate::message::{MediaObject, Message, MessageKind, StrayLink};
use crate::operation::{Operation, UnverifiedOperation};
use crate::rules::testing::{
    HOST, OURS, Scene, id, image_message, object_with_id, object_with_link, png, text_message, three_modes,
};
use crate::settings::{Generation, Registration, SettingsChange, StorageParameters};
use crate::{Decision, Subject, UnverifiedUse, Upload};

const PASS: &str = "pass";

fn send(message: Message<'static>) -> Operation<'static> {
    Operation::SendMessage(message)
}

fn of_kind(kind: MessageKind<'static>) -> Operation<'static> {
    send(Message {
        kind,
        ..text_message()
    })
}

fn settings(
    status: &'static str,
    region: Option<&'static str>,
    retention: Option<&'static str>,
) -> Operation<'static> {
    Operation::ChangeSettings(SettingsChange {
        storage: Some(StorageParameters {
            status: Some(status.into()),
            region: region.map(Into::into),
            retention_minutes: retention.map(Into::into),
            unknown_members: Vec::new(),
        }),
        features: 1,
        unknown_members: Vec::new(),
    })
}

fn register(region: Option<&'static str>, retention: Option<&'static str>) -> Operation<'static> {
    Operation::Register(Registration {
        region: region.map(Into::into),
        retention_minutes: retention.map(Into::into),
        unknown_members: Vec::new(),
    })
}

/// The rows that do not turn on the version in the path.
fn rows() -> Vec<(&'static str, Operation<'static>, [&'static str; 3])> {
    let everywhere = [PASS; 3];
    let only_default = |slug| [PASS, slug, slug];
    let nowhere = |slug| [slug; 3];
    let odd_member = MediaObject {
        unknown_members: vec!["thumbnail".into()],
        ..object_with_id(7)
    };
    let odd_place = |object| MediaObject {
        documented: false,
        ..object
    };
    let linked = || object_with_link(&format!("https://{HOST}/a.png"));
    let stray = StrayLink {
        at: "interactive.footer.link".to_owned(),
        documented: false,
        link: format!("https://{HOST}/").into(),
    };
    let mut rows = vec![
        ("text without type", of_kind(MessageKind::ImpliedText), everywhere),
        ("image by id", send(image_message(object_with_id(7))), everywhere),
        ("image by link", send(image_message(linked())), everywhere),
        (
            "unknown type",
            of_kind(MessageKind::Unknown("hologram".into())),
            only_default("unknown_message_type"),
        ),
        (
            "no type, and more than text",
            of_kind(MessageKind::Missing),
            only_default("unknown_message_type"),
        ),
        (
            "unknown member of a media object",
            send(image_message(odd_member)),
            only_default("unknown_member"),
        ),
        (
            "unknown member of context",
            send(Message {
                unknown_context: vec!["forwarded".into()],
                ..text_message()
            }),
            only_default("unknown_member"),
        ),
        (
            "id at an undocumented place",
            send(image_message(odd_place(object_with_id(7)))),
            only_default("undocumented_reference"),
        ),
        (
            "link at an undocumented place",
            send(image_message(odd_place(linked()))),
            only_default("undocumented_reference"),
        ),
        (
            "link outside any media object",
            send(Message {
                stray_links: vec![stray],
                ..text_message()
            }),
            only_default("undocumented_reference"),
        ),
        ("read receipt", Operation::MarkRead, everywhere),
        (
            "marketing message",
            Operation::SendMarketing(text_message()),
            [PASS, PASS, "forbidden_by_mode"],
        ),
        (
            "upload with ttl_minutes",
            Operation::UploadMedia(png(Some("120"))),
            ["ttl_without_no_storage", "ttl_without_no_storage", PASS],
        ),
        (
            "upload with use_case",
            Operation::UploadMedia(Upload {
                use_case: Some("call_voicemail_announcement".into()),
                ..png(None)
            }),
            only_default("forbidden_by_mode"),
        ),
        (
            "upload without ttl_minutes",
            Operation::UploadMedia(png(None)),
            everywhere,
        ),
        (
            "settings without storage",
            Operation::ChangeSettings(SettingsChange {
                features: 1,
                ..SettingsChange::default()
            }),
            everywhere,
        ),
        (
            "settings to in_country",
            settings("IN_COUNTRY_STORAGE_ENABLED", Some("DE"), None),
            ["settings_contradict_policy", PASS, "settings_contradict_policy"],
        ),
        (
            "settings to another country",
            settings("IN_COUNTRY_STORAGE_ENABLED", Some("IN"), None),
            nowhere("settings_contradict_policy"),
        ),
        (
            "settings to no_storage",
            settings("NO_STORAGE_ENABLED", None, Some("60")),
            ["settings_contradict_policy", "settings_contradict_policy", PASS],
        ),
        (
            "settings to default",
            settings("IN_COUNTRY_STORAGE_DISABLED", None, None),
            nowhere("settings_contradict_policy"),
        ),
        (
            "deregister",
            Operation::Deregister,
            only_default("deregister_not_allowed"),
        ),
        ("request_code", Operation::RequestCode, everywhere),
        ("verify_code", Operation::VerifyCode, everywhere),
        (
            "webhook redirect",
            Operation::RedirectWebhooks,
            nowhere("webhook_redirect"),
        ),
        ("read", Operation::Read("read_number"), everywhere),
        ("manage", Operation::Manage("block_users"), everywhere),
    ];
    rows.extend(MessageKind::KNOWN.map(|kind| (kind, of_kind(MessageKind::Known(kind)), everywhere)));
    rows.extend(UnverifiedOperation::ALL.map(|operation| {
        let expected = match operation {
            UnverifiedOperation::MarketingMessages => [PASS, PASS, "forbidden_by_mode"],
            UnverifiedOperation::MessagesEncrypted => nowhere("forbidden_by_mode"),
            _ => only_default("forbidden_by_mode"),
        };
        (operation.name(), Operation::Unverified(operation), expected)
    }));
    rows
}

#[test]
fn each_row_under_each_mode() {
    for (name, operation, expected) in rows() {
        for (mode, expected) in three_modes().into_iter().zip(expected) {
            assert_eq!(
                Scene::new(mode, operation.clone()).outcome(),
                expected,
                "{name}, {mode}"
            );
        }
    }
}

#[test]
fn registration_under_each_mode_and_generation() {
    const NO: &str = "registration_contradicts_policy";
    let rows = [
        // Without storage parameters only v21.0 and newer leave the mode alone.
        (register(None, None), Generation::UpToV20, [PASS, NO, NO]),
        (register(None, None), Generation::FromV21, [PASS, PASS, PASS]),
        (register(None, None), Generation::Unversioned, [PASS, NO, NO]),
        (register(Some("DE"), None), Generation::UpToV20, [NO, PASS, NO]),
        (register(Some("DE"), None), Generation::FromV21, [NO, PASS, NO]),
        (
            register(Some("DE"), None),
            Generation::Unversioned,
            [NO, PASS, NO],
        ),
        (register(Some("IN"), None), Generation::UpToV20, [NO, NO, NO]),
        (register(None, Some("60")), Generation::UpToV20, [NO, NO, PASS]),
        (
            register(None, Some("60")),
            Generation::Unversioned,
            [NO, NO, PASS],
        ),
        (
            register(Some("DE"), Some("60")),
            Generation::UpToV20,
            [NO, NO, NO],
        ),
    ];
    for (operation, generation, expected) in rows {
        for (mode, expected) in three_modes().into_iter().zip(expected) {
            let mut scene = Scene::new(mode, operation.clone());
            scene.request.generation = generation;
            assert_eq!(scene.outcome(), expected, "{operation:?}, {generation:?}, {mode}");
        }
    }
}

#[test]
fn what_a_row_refuses_can_be_named_and_is_then_recorded() {
    for operation in UnverifiedOperation::ALL {
        for mode in three_modes() {
            let mut scene = Scene::new(mode, Operation::Unverified(operation));
            let was_refused = scene.decide().is_err();
            scene.ours().allow_unverified.operations = vec![operation];
            let permit = scene.decide().unwrap();
            let recorded = was_refused.then_some(UnverifiedUse::Operation(operation));
            assert_eq!(
                permit.unverified().cloned(),
                recorded,
                "{}, {mode}",
                operation.name()
            );
        }
    }
}

#[test]
fn a_call_that_names_no_number_is_judged_by_the_strictest_of_the_callers() {
    let [default, in_country, no_storage] = three_modes();
    let operation = Operation::Unverified(UnverifiedOperation::ResumableUpload);
    for (other, numbers, expected) in [
        (default, &[OURS, 1002][..], PASS),
        (in_country, &[OURS, 1002], "forbidden_by_mode"),
        (no_storage, &[OURS, 1002], "forbidden_by_mode"),
        (no_storage, &[OURS], PASS),
        (no_storage, &[1002], "forbidden_by_mode"),
    ] {
        let mut scene = Scene::new(default, operation.clone());
        scene.add(crate::rules::testing::number(1002, other));
        scene.request.subject = Subject::Other;
        if numbers.len() == 2 {
            assert_eq!(scene.outcome(), expected, "{other} in pass-through");
        }
        assert_eq!(
            scene.by_caller_of(numbers).outcome(),
            expected,
            "{other}, {numbers:?}"
        );
    }
}

#[test]
fn the_strictest_mode_does_not_turn_on_chance() {
    use crate::policy::{Caller, PolicySet};
    use crate::rules::testing::{in_country, number};
    let numbers = [
        number(1003, in_country("IN")),
        number(1001, in_country("DE")),
        number(1002, three_modes()[0]),
    ];
    for _ in 0..20 {
        // Each map has an order of its own.
        let policies = PolicySet {
            numbers: numbers
                .iter()
                .map(|number| (number.phone_number_id, number.clone()))
                .collect(),
            ..PolicySet::default()
        };
        assert_eq!(Caller::PassThrough.strictest_mode(&policies), in_country("DE"));
    }
}

#[test]
fn a_medium_is_never_judged_by_a_path_that_is_no_media_call() {
    // A media id in the path of a number's call is no claim; the pin alone says whose it is.
    let mut scene = Scene::new(three_modes()[2], Operation::ReadMedia(id(7)));
    scene.request.subject = Subject::Number(id(OURS));
    let decision = scene.decide().map_or_else(Decision::Deny, Decision::Allow);
    assert!(matches!(decision, Decision::Allow(_)));
}
