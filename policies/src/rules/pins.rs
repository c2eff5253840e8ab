//! A medium serves the number that it is pinned to, while it lives.

use super::{Case, Verdict};
use crate::facts::{MediaFact, Origin, Pin};
use crate::id::MediaId;
use crate::message::{IdValue, Message};
use crate::operation::{Operation, Subject};
use crate::policy::{Caller, NumberPolicy, UnknownIds};
use crate::reason::Reason;
use crate::storage::StorageMode;

pub(super) fn judge(case: &Case<'_>) -> Verdict {
    match &case.request.operation {
        Operation::SendMessage(message) | Operation::SendMarketing(message) => judge_send(case, message),
        Operation::ReadMedia(media) | Operation::DownloadMedia(media) | Operation::DeleteMedia(media) => {
            judge_media_call(case, *media)
        }
        _ => Verdict::NotConcerned,
    }
}

fn judge_send(case: &Case<'_>, message: &Message<'_>) -> Verdict {
    if message.media.is_empty() {
        return Verdict::NotConcerned;
    }
    let Some(number) = case.number else {
        return Verdict::NotConcerned;
    };
    let mut facts = case.facts.media.iter();
    for object in &message.media {
        let reason = match &object.id {
            None => None,
            // Another spelling of an id is nobody's medium here, but may be somebody's at Meta.
            Some(IdValue::Other(_)) => Some(Reason::MediaNotUsable {
                media: None,
                number: Some(number.phone_number_id),
            }),
            Some(IdValue::Canonical(media)) => match facts.next() {
                Some(fact) => judge_use(case, number, *media, *fact),
                // Nobody looked whose it is, so it may be anybody's: not even `unknown_ids = "allow"` lets that pass.
                None => Some(Reason::MediaNotUsable {
                    media: Some(*media),
                    number: Some(number.phone_number_id),
                }),
            },
        };
        if let Some(reason) = reason {
            return Verdict::Refused(reason);
        }
    }
    Verdict::Passed
}

/// Why `number` may not send `media`, if it may not.
fn judge_use(case: &Case<'_>, number: &NumberPolicy, media: MediaId, fact: MediaFact) -> Option<Reason> {
    let wanted_by = number.phone_number_id;
    let unknown = Reason::MediaNotUsable {
        media: Some(media),
        number: Some(wanted_by),
    };
    match fact {
        MediaFact::Pinned(pin) if pin.number == wanted_by => {
            // Among default numbers pins inform: Meta's own answer is the better judge of an old one's end.
            let informs = number.storage == StorageMode::Default && pin.origin != Origin::Deleted;
            (!informs && is_over(case, pin)).then(|| ended(case, media, pin))
        }
        MediaFact::Pinned(pin) => {
            let Some(owner) = usable_owner(case, pin) else {
                return Some(unknown);
            };
            if pin.origin == Origin::Deleted {
                return Some(unknown);
            }
            // Meta shares media among the numbers of a business, but not those of a Local Storage number; we share
            // none that has, or wants, a promise.
            if owner.storage == StorageMode::Default && number.storage == StorageMode::Default {
                return None;
            }
            Some(Reason::MediaOfOtherNumber {
                media,
                number: wanted_by,
                owner: pin.number,
            })
        }
        MediaFact::Unknown | MediaFact::Denied => {
            let lets_pass =
                number.media.unknown_ids == UnknownIds::Allow && number.storage == StorageMode::Default;
            (!lets_pass).then_some(unknown)
        }
    }
}

fn judge_media_call(case: &Case<'_>, media: MediaId) -> Verdict {
    let claimed = match case.request.subject {
        Subject::Media { number } => number,
        Subject::Number(_) | Subject::Account(_) | Subject::Other => None,
    };
    let unknown = Verdict::Refused(Reason::MediaNotUsable {
        media: Some(media),
        number: claimed,
    });
    let Some(MediaFact::Pinned(pin)) = case.facts.media.first() else {
        return unknown;
    };
    let Some(owner) = usable_owner(case, *pin) else {
        return unknown;
    };
    if claimed.is_some_and(|claimed| claimed != pin.number) {
        return unknown;
    }
    // Deleting what may still be there is always nearer to the promise than leaving it.
    let deletes = matches!(case.request.operation, Operation::DeleteMedia(_));
    let informs = owner.storage == StorageMode::Default && pin.origin != Origin::Deleted;
    if is_over(case, *pin) && !deletes && !informs {
        return Verdict::Refused(ended(case, media, *pin));
    }
    Verdict::Passed
}

/// Whether refusing keeps media from a caller that may not have them. That is who may call, not where content is kept,
/// so monitoring does not suspend it: with callers declared it is our token that Meta would answer.
pub(crate) fn guards_a_caller(case: &Case<'_>, reason: &Reason) -> bool {
    if matches!(case.caller, Caller::PassThrough) {
        return false;
    }
    match &case.request.operation {
        // A medium that nobody can tell the owner of may be another caller's.
        Operation::ReadMedia(_) | Operation::DownloadMedia(_) | Operation::DeleteMedia(_) => {
            matches!(reason, Reason::MediaNotUsable { .. })
        }
        // The rule stops at the first medium that it refuses, so what comes after it is looked at here.
        Operation::SendMessage(message) | Operation::SendMarketing(message) => {
            let is_about_media = matches!(
                reason,
                Reason::MediaNotUsable { .. } | Reason::MediaEnded { .. } | Reason::MediaOfOtherNumber { .. }
            );
            let is_anothers = |fact: &MediaFact| match fact {
                MediaFact::Pinned(pin) => usable_owner(case, *pin).is_none(),
                MediaFact::Unknown | MediaFact::Denied => false,
            };
            // No fact can be had of an id in another spelling, nor is there one where nobody looked.
            let looked_up = case.facts.media.len() >= message.media_ids().count();
            let all_canonical = !message
                .media
                .iter()
                .any(|object| matches!(object.id, Some(IdValue::Other(_))));
            is_about_media && (case.facts.media.iter().any(is_anothers) || !looked_up || !all_canonical)
        }
        _ => false,
    }
}

/// The policy of the number that a medium is pinned to, if the caller may know of it.
fn usable_owner<'a>(case: &Case<'a>, pin: Pin) -> Option<&'a NumberPolicy> {
    let owner = case.policies.numbers.get(&pin.number)?;
    case.caller.may_use(pin.number).then_some(owner)
}

/// That a medium is gone. A deleted one's end may still lie ahead, but it is gone by now.
fn ended(case: &Case<'_>, media: MediaId, pin: Pin) -> Reason {
    Reason::MediaEnded {
        media,
        ended: pin.ends.min(case.facts.now),
    }
}

fn is_over(case: &Case<'_>, pin: Pin) -> bool {
    pin.origin == Origin::Deleted || pin.ends <= case.facts.now
}

#[cfg(test)]
mod tests;
