//! A number with a storage promise sends only messages whose every place for content is known.

use super::{Case, Verdict};
use crate::decision::UnverifiedUse;
use crate::message::{Message, MessageKind};
use crate::operation::{Operation, shown};
use crate::reason::Reason;

pub(super) fn judge(case: &Case<'_>) -> Verdict {
    let (Operation::SendMessage(message) | Operation::SendMarketing(message)) = &case.request.operation
    else {
        return Verdict::NotConcerned;
    };
    if !case.mode().is_restricted() {
        return Verdict::NotConcerned;
    }
    if let Some(reason) = undocumented_place(message) {
        return Verdict::Refused(reason);
    }
    match &message.kind {
        MessageKind::Known(_) | MessageKind::ImpliedText => Verdict::Passed,
        MessageKind::Missing => Verdict::Refused(Reason::UnknownMessageType { came: None }),
        MessageKind::Unknown(came) => {
            let allowed = case.number.is_some_and(|number| {
                number
                    .allow_unverified
                    .message_types
                    .iter()
                    .any(|allowed| allowed == came.as_ref())
            });
            if allowed {
                Verdict::PassedUnverified(UnverifiedUse::MessageType(came.clone().into_owned()))
            } else {
                Verdict::Refused(Reason::UnknownMessageType {
                    came: Some(shown(came).into_owned()),
                })
            }
        }
    }
}

fn undocumented_place(message: &Message<'_>) -> Option<Reason> {
    for object in &message.media {
        if let Some(member) = object.unknown_members.first() {
            return Some(Reason::UnknownMember {
                at: object.at.clone(),
                member: shown(member).into_owned(),
            });
        }
        if !object.documented && (object.id.is_some() || object.link.is_some()) {
            return Some(Reason::UndocumentedReference {
                at: object.at.clone(),
            });
        }
    }
    if let Some(stray) = message.stray_links.iter().find(|stray| !stray.documented) {
        return Some(Reason::UndocumentedReference { at: stray.at.clone() });
    }
    message
        .unknown_context
        .first()
        .map(|member| Reason::UnknownMember {
            at: "context".to_owned(),
            member: shown(member).into_owned(),
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::StorageMode;
    use crate::message::{MediaObject, StrayLink};
    use crate::rules::testing::{
        Scene, any_case, image_message, messages, object, object_with_id, restricted_modes, text_message,
    };

    fn everything_is_known(message: &Message<'_>) -> bool {
        let places_are_known = message.media.iter().all(|object| {
            object.unknown_members.is_empty()
                && (object.documented || (object.id.is_none() && object.link.is_none()))
        });
        places_are_known
            && message.stray_links.iter().all(|stray| stray.documented)
            && message.unknown_context.is_empty()
    }

    proptest! {
        #[test]
        fn a_restricted_number_sends_only_what_is_known(mode in restricted_modes(), message in messages(), names_it: bool) {
            let mut scene = Scene::new(mode, Operation::SendMessage(message.clone()));
            if names_it {
                scene.ours().allow_unverified.message_types = vec!["hologram".to_owned()];
            }
            let expected = match (&message.kind, everything_is_known(&message)) {
                (MessageKind::Known(_) | MessageKind::ImpliedText, true) => "passed",
                (MessageKind::Unknown(_), true) if names_it => "passed unverified",
                _ => "refused",
            };
            let came = match scene.judge(judge) {
                Verdict::Passed => "passed",
                Verdict::PassedUnverified(UnverifiedUse::MessageType(kind)) if kind == "hologram" => "passed unverified",
                Verdict::Refused(_) => "refused",
                _ => "something else",
            };
            prop_assert_eq!(came, expected);
        }

        #[test]
        fn a_default_number_sends_what_it_likes(message in messages()) {
            let scene = Scene::new(StorageMode::Default, Operation::SendMessage(message));
            prop_assert_eq!(scene.judge(judge), Verdict::NotConcerned);
        }

        #[test]
        fn a_message_type_is_allowed_by_its_exact_name(kind in prop_oneof![any_case("hologram"), "[a-z_]{0,10}"]) {
            let message = Message { kind: MessageKind::Unknown(kind.clone().into()), ..text_message() };
            let mut scene = Scene::new(StorageMode::NoStorage, Operation::SendMessage(message));
            scene.ours().allow_unverified.message_types = vec!["hologram".to_owned()];
            prop_assert_eq!(scene.decide().is_ok(), kind == "hologram");
        }
    }

    #[test]
    fn what_is_not_known_is_named() {
        let odd_member = MediaObject {
            unknown_members: vec!["thumbnail".into()],
            ..object_with_id(7)
        };
        let odd_place = MediaObject {
            at: "interactive.footer.image".to_owned(),
            documented: false,
            ..object_with_id(7)
        };
        let stray = StrayLink {
            at: "template.extra".to_owned(),
            documented: false,
            link: "https://cdn.bank.example/".into(),
        };
        let unknown_member = |at: &str, member: &str| Reason::UnknownMember {
            at: at.to_owned(),
            member: member.to_owned(),
        };
        let undocumented = |at: &str| Reason::UndocumentedReference { at: at.to_owned() };
        for (message, reason) in [
            (image_message(odd_member), unknown_member("image", "thumbnail")),
            (image_message(odd_place), undocumented("interactive.footer.image")),
            (
                Message {
                    stray_links: vec![stray],
                    ..image_message(object())
                },
                undocumented("template.extra"),
            ),
            (
                Message {
                    unknown_context: vec!["forwarded".into()],
                    ..text_message()
                },
                unknown_member("context", "forwarded"),
            ),
            (
                Message {
                    kind: MessageKind::Unknown("hologram".into()),
                    ..text_message()
                },
                Reason::UnknownMessageType {
                    came: Some("hologram".to_owned()),
                },
            ),
            (
                Message {
                    kind: MessageKind::Missing,
                    ..text_message()
                },
                Reason::UnknownMessageType { came: None },
            ),
        ] {
            let scene = Scene::new(StorageMode::NoStorage, Operation::SendMessage(message));
            assert_eq!(scene.decide().unwrap_err(), reason);
        }
    }
}
