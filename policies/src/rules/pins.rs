//! A medium serves the number that it is pinned to, while it lives.

use super::{Case, Verdict};
use crate::decision::Reason;
use crate::facts::{MediaFact, Origin, Pin};
use crate::id::MediaId;
use crate::message::{IdValue, Message};
use crate::operation::{Operation, Subject};
use crate::policy::{NumberPolicy, UnknownIds};
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
            // A missing fact is as good as an unknown medium: the gateway that forgot to ask must not let it pass.
            Some(IdValue::Canonical(media)) => {
                let fact = facts.next().copied().unwrap_or(MediaFact::Denied);
                judge_use(case, number, *media, fact)
            }
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
            (!informs && is_over(case, pin)).then_some(Reason::MediaEnded {
                media,
                ended: pin.ends,
            })
        }
        MediaFact::Pinned(pin) => {
            if !case.caller.may_use(pin.number) {
                return Some(unknown);
            }
            if pin.origin == Origin::Deleted {
                return Some(unknown);
            }
            // Meta shares media among the numbers of a business, but not those of a Local Storage number; we share
            // none that has, or wants, a promise.
            let shares = |mode: StorageMode| mode == StorageMode::Default;
            let owner_shares = case
                .policies
                .numbers
                .get(&pin.number)
                .is_some_and(|owner| shares(owner.storage));
            if owner_shares && shares(number.storage) {
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
    if !case.caller.may_use(pin.number) || !case.policies.numbers.contains_key(&pin.number) {
        return unknown;
    }
    if claimed.is_some_and(|claimed| claimed != pin.number) {
        return unknown;
    }
    let mode = case
        .policies
        .numbers
        .get(&pin.number)
        .map(|number| number.storage);
    // Deleting what may still be there is always nearer to the promise than leaving it.
    let deletes = matches!(case.request.operation, Operation::DeleteMedia(_));
    let informs = mode == Some(StorageMode::Default) && pin.origin != Origin::Deleted;
    if is_over(case, *pin) && !deletes && !informs {
        return Verdict::Refused(Reason::MediaEnded {
            media,
            ended: pin.ends,
        });
    }
    Verdict::Passed
}

fn is_over(case: &Case<'_>, pin: Pin) -> bool {
    pin.origin == Origin::Deleted || pin.ends <= case.facts.now
}
