//! A number with a storage promise sends only messages whose every place for content is known.

use super::{Case, Verdict};
use crate::decision::{Reason, UnverifiedUse};
use crate::message::{Message, MessageKind};
use crate::operation::{Operation, shown};

pub(super) fn judge(case: &Case<'_>) -> Verdict {
    let (Operation::SendMessage(message) | Operation::SendMarketing(message)) = &case.request.operation
    else {
        return Verdict::NotConcerned;
    };
    if !case.mode.is_restricted() {
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
