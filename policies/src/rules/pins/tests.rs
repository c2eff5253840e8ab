use proptest::prelude::*;

use super::*;
use crate::rules::testing::{
    NOW, OURS, Scene, alive, id, image_message, in_country, media_facts, messages, modes, number, object,
    object_with_id, restricted_modes, scenes, three_modes,
};
use crate::time::Timestamp;

/// A send of one medium by our number, with one fact about that medium, among numbers 1002 and 1003 of other modes.
fn send(mode: StorageMode, others: StorageMode, fact: MediaFact) -> Scene {
    let mut scene = Scene::new(mode, Operation::SendMessage(image_message(object_with_id(7))));
    scene.add(number(1002, others));
    scene.add(number(1003, others));
    scene.media = vec![fact];
    scene
}

fn pinned(number: u64, ends: u64, origin: Origin) -> MediaFact {
    MediaFact::Pinned(Pin {
        number: id(number),
        ends: Timestamp::from_millis(ends),
        origin,
    })
}

fn call(operation: fn(MediaId) -> Operation<'static>, mode: StorageMode, fact: MediaFact) -> Scene {
    let mut scene = Scene::new(mode, operation(id(7)));
    scene.media = vec![fact];
    scene
}

const MEDIA_CALLS: [fn(MediaId) -> Operation<'static>; 3] = [
    Operation::ReadMedia,
    Operation::DownloadMedia,
    Operation::DeleteMedia,
];

proptest! {
    #[test]
    fn a_pinned_id_never_leaves_its_number(mut scene in scenes(), message in messages(), marketing: bool) {
        let ids = message.media_ids().count();
        let has_other_spellings = message.media.iter().any(|object| matches!(object.id, Some(IdValue::Other(_))));
        scene.request.operation =
            if marketing { Operation::SendMarketing(message) } else { Operation::SendMessage(message) };
        if scene.decide().is_err() {
            return Ok(());
        }
        prop_assert!(!has_other_spellings);
        prop_assert!(scene.media.len() >= ids);
        let sender = scene.named().unwrap();
        let is_default = sender.storage == StorageMode::Default;
        for fact in &scene.media[..ids] {
            match fact {
                MediaFact::Pinned(pin) if pin.number == sender.phone_number_id => {
                    prop_assert!(pin.origin != Origin::Deleted);
                    prop_assert!(is_default || pin.ends > NOW);
                }
                MediaFact::Pinned(pin) => {
                    let owner = scene.policies.numbers.get(&pin.number).unwrap();
                    prop_assert!(is_default && owner.storage == StorageMode::Default);
                    prop_assert!(pin.origin != Origin::Deleted);
                    prop_assert!(scene.caller().may_use(pin.number));
                }
                MediaFact::Unknown | MediaFact::Denied => {
                    prop_assert!(is_default && sender.media.unknown_ids == UnknownIds::Allow);
                }
            }
        }
    }

    #[test]
    fn restricted_media_never_serves_another(
        sender in modes(),
        owner in modes(),
        ends in NOW.millis() - 5..NOW.millis() + 5,
        allows_unknown: bool,
    ) {
        if !sender.is_restricted() && !owner.is_restricted() {
            return Ok(());
        }
        for origin in [
            Origin::Upload,
            Origin::Inbound,
            Origin::Webhook,
            Origin::Deleted,
        ] {
            let mut scene = send(sender, owner, pinned(1002, ends, origin));
            if allows_unknown && !sender.is_restricted() {
                scene.ours().media.unknown_ids = UnknownIds::Allow;
            }
            prop_assert!(scene.decide().is_err());
        }
    }

    #[test]
    fn a_medium_of_a_restricted_number_is_gone_at_its_end(
        mode in restricted_modes(),
        ends in NOW.millis() - 3..NOW.millis() + 3,
        inbound: bool,
    ) {
        let origin = if inbound { Origin::Inbound } else { Origin::Upload };
        let is_alive = ends > NOW.millis();
        let fact = pinned(OURS, ends, origin);
        let gone = Reason::MediaEnded { media: id(7), ended: Timestamp::from_millis(ends) };
        let expected = if is_alive { None } else { Some(gone) };
        for scene in [
            send(mode, mode, fact),
            call(Operation::ReadMedia, mode, fact),
            call(Operation::DownloadMedia, mode, fact),
        ] {
            prop_assert_eq!(&scene.decide().err(), &expected);
        }
        // To delete what may still be there is always allowed.
        prop_assert_eq!(call(Operation::DeleteMedia, mode, fact).outcome(), "pass");
    }

    #[test]
    fn anothers_media_looks_exactly_like_unknown_media(
        mode in modes(),
        others in modes(),
        fact in media_facts(),
        monitored: bool,
    ) {
        let MediaFact::Pinned(Pin { number: owner, .. }) = fact else { return Ok(()) };
        if owner == id(OURS) {
            return Ok(());
        }
        for operation in MEDIA_CALLS {
            for claimed in [None, Some(id(OURS)), Some(owner)] {
                let answer = |fact| {
                    let mut scene = call(operation, mode, fact).by_caller_of(&[OURS]);
                    scene.add(number(1002, others));
                    scene.request.subject = Subject::Media { number: claimed };
                    if monitored { scene.monitored().decide() } else { scene.decide() }.unwrap_err()
                };
                let unknown = answer(MediaFact::Unknown);
                prop_assert_eq!(unknown.slug(), "media_not_usable");
                prop_assert_eq!(answer(MediaFact::Denied), unknown.clone());
                prop_assert_eq!(answer(fact), unknown);
            }
        }
        let answer = |fact| send(mode, others, fact).by_caller_of(&[OURS]).decide().unwrap_err();
        prop_assert_eq!(answer(fact), answer(MediaFact::Unknown));
    }

    #[test]
    fn monitoring_never_opens_anothers_media(mut scene in scenes(), message in messages()) {
        if matches!(scene.request.subject, Subject::Number(_)) {
            scene.request.operation = Operation::SendMessage(message);
        }
        let scene = scene.monitored();
        let Caller::Known(caller) = scene.caller() else { return Ok(()) };
        let (named, canonical) = match &scene.request.operation {
            Operation::SendMessage(message) | Operation::SendMarketing(message) => (
                message.media_ids().count(),
                !message.media.iter().any(|object| matches!(object.id, Some(IdValue::Other(_)))),
            ),
            Operation::ReadMedia(_) | Operation::DownloadMedia(_) | Operation::DeleteMedia(_) => (1, true),
            _ => (0, true),
        };
        if scene.decide().is_err() {
            return Ok(());
        }
        prop_assert!(canonical);
        prop_assert!(scene.media.len() >= named);
        for fact in &scene.media[..named] {
            if let MediaFact::Pinned(pin) = fact {
                prop_assert!(caller.numbers.contains(&pin.number));
            }
        }
    }

    #[test]
    fn a_medium_is_read_only_through_who_may_use_its_number(mut scene in scenes(), index in 0usize..3) {
        scene.request.operation = MEDIA_CALLS[index](id(7));
        scene.request.subject = match scene.request.subject {
            Subject::Number(number) => Subject::Media { number: Some(number) },
            _ => Subject::Media { number: None },
        };
        if scene.decide().is_err() {
            return Ok(());
        }
        let Some(MediaFact::Pinned(pin)) = scene.media.first() else {
            return Err(TestCaseError::fail("passed without a pin"));
        };
        prop_assert!(scene.policies.numbers.contains_key(&pin.number));
        prop_assert!(scene.caller().may_use(pin.number));
        if let Subject::Media { number: Some(claimed) } = scene.request.subject {
            prop_assert_eq!(claimed, pin.number);
        }
    }
}

#[test]
fn each_number_serves_itself() {
    for mode in three_modes() {
        assert_eq!(send(mode, mode, alive(OURS)).outcome(), "pass");
        for operation in MEDIA_CALLS {
            assert_eq!(call(operation, mode, alive(OURS)).outcome(), "pass");
        }
    }
}

#[test]
fn default_numbers_share_what_meta_shares() {
    let scene = send(StorageMode::Default, StorageMode::Default, alive(1002));
    assert_eq!(scene.outcome(), "pass");
    assert_eq!(scene.clone().by_caller_of(&[OURS, 1002]).outcome(), "pass");
    // Between callers nothing is shared.
    assert_eq!(scene.by_caller_of(&[OURS]).outcome(), "media_not_usable");
}

#[test]
fn the_owner_is_named_to_who_may_use_it_only() {
    let scene = send(StorageMode::NoStorage, StorageMode::Default, alive(1002));
    let other_number = Reason::MediaOfOtherNumber {
        media: id(7),
        number: id(OURS),
        owner: id(1002),
    };
    assert_eq!(
        scene.clone().by_caller_of(&[OURS, 1002]).decide().unwrap_err(),
        other_number
    );
    assert_eq!(scene.by_caller_of(&[OURS]).outcome(), "media_not_usable");
    // A number that the policy no longer has is nobody's.
    let scene = send(StorageMode::Default, StorageMode::Default, alive(1999));
    assert_eq!(scene.outcome(), "media_not_usable");
}

#[test]
fn pins_of_default_numbers_inform_until_the_medium_is_deleted() {
    let ended = pinned(OURS, NOW.millis() - 1, Origin::Upload);
    let deleted = pinned(OURS, NOW.millis() + 1_000, Origin::Deleted);
    let gone_by_now = Reason::MediaEnded {
        media: id(7),
        ended: NOW,
    };
    let mode = StorageMode::Default;
    assert_eq!(send(mode, mode, ended).outcome(), "pass");
    assert_eq!(call(Operation::ReadMedia, mode, ended).outcome(), "pass");
    assert_eq!(send(mode, mode, deleted).decide().unwrap_err(), gone_by_now);
    assert_eq!(
        call(Operation::DownloadMedia, mode, deleted)
            .decide()
            .unwrap_err(),
        gone_by_now
    );
    assert_eq!(call(Operation::DeleteMedia, mode, deleted).outcome(), "pass");
}

#[test]
fn an_unknown_id_passes_only_where_the_policy_allows_it() {
    let scene = |mode, unknown_ids, fact| {
        let mut scene = send(mode, StorageMode::Default, fact);
        scene.ours().media.unknown_ids = unknown_ids;
        scene
    };
    for fact in [MediaFact::Unknown, MediaFact::Denied] {
        for unknown_ids in [UnknownIds::Verify, UnknownIds::Deny] {
            assert_eq!(
                scene(StorageMode::Default, unknown_ids, fact).outcome(),
                "media_not_usable"
            );
        }
        assert_eq!(
            scene(StorageMode::Default, UnknownIds::Allow, fact).outcome(),
            "pass"
        );
        // `policies.toml` cannot say this; were it said all the same, it would not open the number.
        let mode = in_country("DE");
        assert_eq!(scene(mode, UnknownIds::Allow, fact).outcome(), "media_not_usable");
    }
}

#[test]
fn a_medium_that_nobody_looked_up_is_refused_even_where_unknown_ids_pass() {
    let mut scene = send(StorageMode::Default, StorageMode::NoStorage, alive(OURS));
    scene.ours().media.unknown_ids = UnknownIds::Allow;
    assert_eq!(scene.outcome(), "pass");
    scene.media.clear();
    assert_eq!(scene.outcome(), "media_not_usable");
}

#[test]
fn another_spelling_of_an_id_is_no_id() {
    for mode in three_modes() {
        let odd = crate::message::MediaObject {
            id: Some(IdValue::Other("07".into())),
            ..object()
        };
        let mut scene = Scene::new(mode, Operation::SendMessage(image_message(odd)));
        scene.ours().media.unknown_ids = UnknownIds::Allow;
        let not_usable = Reason::MediaNotUsable {
            media: None,
            number: Some(id(OURS)),
        };
        assert_eq!(scene.decide().unwrap_err(), not_usable);
    }
}

#[test]
fn facts_are_matched_to_ids_past_links_and_other_objects() {
    let mut message = image_message(object());
    message.media.push(object_with_id(7));
    message.media.push(object_with_id(8));
    let mut scene = Scene::new(StorageMode::NoStorage, Operation::SendMessage(message));
    scene.add(number(1002, StorageMode::NoStorage));
    assert_eq!(scene.outcome(), "pass");
    scene.media = vec![alive(OURS), alive(1002)];
    let second = Reason::MediaOfOtherNumber {
        media: id(8),
        number: id(OURS),
        owner: id(1002),
    };
    assert_eq!(scene.decide().unwrap_err(), second);
}
