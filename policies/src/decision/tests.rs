use proptest::prelude::*;

use super::*;
use crate::facts::{MediaFact, SettingsFact};
use crate::message::{IdValue, MediaObject, Message, MessageKind};
use crate::operation::{Operation, OperationClass, Subject};
use crate::rules::testing::{
    OURS, Scene, alive, id, image_message, number, object, png, scenes, text_message, three_modes,
};
use crate::storage::StorageMode;
use crate::upload::Upload;

proptest! {
    #[test]
    fn explain_agrees_with_decide(scene in scenes()) {
        let verdicts = scene.explain();
        prop_assert_eq!(verdicts.len(), RULES.len());
        let first_refusal = verdicts.iter().find_map(|(_, verdict)| match verdict {
            Verdict::Refused(reason) => Some(reason),
            _ => None,
        });
        match scene.decide() {
            Err(reason) => prop_assert_eq!(Some(&reason), first_refusal),
            Ok(permit) => {
                prop_assert_eq!(None, first_refusal);
                prop_assert_eq!(permit.observed(), None);
                let ttl = verdicts.iter().find_map(|(_, verdict)| match verdict {
                    Verdict::PassedWithTtl(ttl) => Some(*ttl),
                    _ => None,
                });
                prop_assert_eq!(permit.ttl(), ttl);
                let uses: Vec<_> = verdicts
                    .iter()
                    .filter_map(|(_, verdict)| match verdict {
                        Verdict::PassedUnverified(used) => Some(used.clone()),
                        _ => None,
                    })
                    .collect();
                prop_assert_eq!(permit.unverified_uses(), &uses[..]);
                prop_assert_eq!(permit.unverified(), uses.first());
            }
        }
    }

    #[test]
    fn admission_is_where_decide_begins(scene in scenes(), by_gateway in prop::bool::weighted(0.1), monitored: bool) {
        let mut scene = if monitored { scene.monitored() } else { scene };
        scene.by_gateway = by_gateway;
        match (scene.admit(), scene.decide()) {
            (Err(at_the_head), decided) => prop_assert_eq!(Some(at_the_head), decided.err()),
            (Ok(()), Ok(_)) => {}
            // What was admitted is not refused for who calls what.
            (Ok(()), Err(reason)) => prop_assert!(reason.can_be_observed(), "{}", reason),
        }
    }

    #[test]
    fn monitoring_observes_exactly_what_enforcing_refuses(scene in scenes()) {
        let enforced = scene.decide();
        match (enforced, scene.monitored().decide()) {
            (Ok(enforced), Ok(monitored)) => {
                prop_assert_eq!(monitored.observed(), None);
                prop_assert_eq!(monitored.ttl(), enforced.ttl());
                prop_assert_eq!(monitored.unverified_uses(), enforced.unverified_uses());
            }
            (Err(refused), Ok(monitored)) => {
                prop_assert!(refused.can_be_observed());
                prop_assert_eq!(monitored.observed(), Some(&refused));
            }
            (Err(_), Err(_)) => {}
            (Ok(_), Err(reason)) => prop_assert!(false, "monitoring refuses what enforcing does not: {}", reason),
        }
    }

    #[test]
    fn nothing_passes_without_facts(mut scene in scenes()) {
        let names_media = match &scene.request.operation {
            Operation::SendMessage(message) | Operation::SendMarketing(message) => message.media_ids().count() > 0,
            Operation::ReadMedia(_) | Operation::DownloadMedia(_) | Operation::DeleteMedia(_) => true,
            _ => false,
        };
        let puts_content = scene.named().is_some_and(|number| number.storage.is_restricted())
            && scene.request.operation.carries_content();
        scene.media.clear();
        for settings in [SettingsFact::Unread, SettingsFact::NotNeeded] {
            scene.settings = settings;
            if names_media || puts_content {
                prop_assert!(scene.decide().is_err());
            }
        }
    }

    #[test]
    fn a_decision_does_not_turn_on_the_order_of_the_numbers(scene in scenes()) {
        let mut shuffled = scene.clone();
        // A map that is built anew has an order of its own.
        shuffled.policies.numbers = scene.policies.numbers.clone().into_iter().collect();
        prop_assert_eq!(scene.decide().err(), shuffled.decide().err());
        prop_assert_eq!(scene.explain(), shuffled.explain());
    }

    #[test]
    fn a_refusal_names_no_number_that_the_caller_may_not_use(scene in scenes()) {
        if let (Err(Reason::MediaOfOtherNumber { owner, .. }), Caller::Known(caller)) = (scene.decide(), scene.caller()) {
            prop_assert!(caller.numbers.contains(&owner));
        }
    }
}

/// The slugs that come up one after the other while each cause of refusal is mended as soon as it is named.
fn mended(mut scene: Scene, mend: impl Fn(&mut Scene, &Reason)) -> Vec<&'static str> {
    let mut slugs = Vec::new();
    while let Err(reason) = scene.decide() {
        assert!(!slugs.contains(&reason.slug()), "{reason} came again");
        slugs.push(reason.slug());
        mend(&mut scene, &reason);
    }
    slugs
}

fn message(scene: &mut Scene) -> &mut Message<'static> {
    match &mut scene.request.operation {
        Operation::SendMessage(message) | Operation::SendMarketing(message) => message,
        other => panic!("not a send: {other:?}"),
    }
}

#[test]
fn a_send_is_refused_in_the_promised_order() {
    let bad = MediaObject {
        id: Some(IdValue::Canonical(id(7))),
        unknown_members: vec!["thumbnail".into()],
        ..object()
    };
    let worse = MediaObject {
        link: Some("https://evil.example/".into()),
        ..object()
    };
    let mut all_wrong = image_message(bad);
    all_wrong.media.push(worse);
    all_wrong.kind = MessageKind::Unknown("hologram".into());
    let mut scene =
        Scene::new(StorageMode::NoStorage, Operation::SendMarketing(all_wrong)).by_caller_of(&[1002]);
    scene.add(number(1002, StorageMode::NoStorage));
    scene.policies.callers[0].may = vec![OperationClass::Media];
    scene.media = vec![alive(1002)];
    scene.settings = SettingsFact::Unread;
    let slugs = mended(scene, |scene, reason| match reason {
        Reason::NumberNotAllowed(_) => scene.policies.callers[0].numbers = vec![id(OURS)],
        Reason::OperationNotAllowed { .. } => scene.policies.callers[0].may = vec![OperationClass::Send],
        Reason::ForbiddenByMode { allow, .. } => {
            scene.ours().allow_unverified.operations = vec![allow.unwrap()]
        }
        Reason::MediaNotUsable { .. } => scene.media = vec![alive(OURS)],
        Reason::LinkNotAllowed { .. } => message(scene).media.truncate(1),
        Reason::UnknownMember { .. } => message(scene).media[0].unknown_members.clear(),
        Reason::UnknownMessageType { .. } => message(scene).kind = MessageKind::Known("template"),
        Reason::SettingsUnverified => {
            scene.settings = SettingsFact::Read(crate::ObservedStorage::Mode(StorageMode::NoStorage));
        }
        other => panic!("{other}"),
    });
    assert_eq!(
        slugs,
        [
            "number_not_allowed",
            "operation_not_allowed",
            "forbidden_by_mode",
            "media_not_usable",
            "link_not_allowed",
            "unknown_member",
            "unknown_message_type",
            "settings_unverified",
        ]
    );
}

#[test]
fn an_upload_is_refused_in_the_promised_order() {
    let all_wrong = Upload {
        file_type: Some("image/gif".into()),
        ..png(Some("1"))
    };
    let mut scene = Scene::new(StorageMode::NoStorage, Operation::UploadMedia(all_wrong));
    scene.request.subject = Subject::Number(id(9999));
    scene.settings = SettingsFact::Unread;
    let slugs = mended(scene, |scene, reason| match reason {
        Reason::NumberNotInPolicy(_) => scene.request.subject = Subject::Number(id(OURS)),
        Reason::TtlOutOfBounds { .. } => {
            scene.request.operation = Operation::UploadMedia(Upload {
                file_type: Some("image/gif".into()),
                ..png(Some("60"))
            });
        }
        Reason::SettingsUnverified => {
            scene.settings = SettingsFact::Read(crate::ObservedStorage::Mode(StorageMode::NoStorage));
        }
        Reason::MediaTypeNotTaken { .. } => scene.request.operation = Operation::UploadMedia(png(Some("60"))),
        other => panic!("{other}"),
    });
    assert_eq!(
        slugs,
        [
            "number_not_in_policy",
            "ttl_out_of_bounds",
            "settings_unverified",
            "media_type_not_taken",
        ]
    );
}

#[test]
fn two_unverified_uses_are_both_recorded() {
    let hologram = Message {
        kind: MessageKind::Unknown("hologram".into()),
        ..text_message()
    };
    let mut scene = Scene::new(StorageMode::NoStorage, Operation::SendMarketing(hologram));
    scene.ours().allow_unverified.operations = vec![UnverifiedOperation::MarketingMessages];
    scene.ours().allow_unverified.message_types = vec!["hologram".to_owned()];
    let permit = scene.decide().unwrap();
    let uses: Vec<_> = permit.unverified_uses().iter().map(ToString::to_string).collect();
    assert_eq!(uses, ["marketing_messages", "message type hologram"]);
}

#[test]
fn monitoring_lets_storage_rules_pass_and_access_rules_not() {
    for mode in three_modes() {
        let redirect = Scene::new(mode, Operation::RedirectWebhooks).monitored();
        let permit = redirect.decide().unwrap();
        assert_eq!(permit.observed(), Some(&Reason::WebhookRedirect));
        let mut stranger = redirect;
        stranger.request.subject = Subject::Number(id(9999));
        assert_eq!(stranger.outcome(), "number_not_in_policy");
    }
    // In pass-through it is the caller's own token that Meta answers.
    let mut unknown = Scene::new(StorageMode::NoStorage, Operation::ReadMedia(id(7))).monitored();
    unknown.media = vec![MediaFact::Unknown];
    assert_eq!(unknown.outcome(), "pass");
    assert_eq!(unknown.by_caller_of(&[OURS]).outcome(), "media_not_usable");
}
