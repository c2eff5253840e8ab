//! A call may only be about numbers that the policy declares.

use super::{Case, Verdict};
use crate::decision::Reason;
use crate::operation::Subject;

pub(super) fn judge(case: &Case<'_>) -> Verdict {
    let named = match case.request.subject {
        Subject::Number(number) => number,
        // A number in the query of a media call is only a claim: if it is none of ours, the medium is simply unknown, and
        // the pin rule says so in the words that it has for every unknown medium.
        Subject::Media { .. } | Subject::Account(_) | Subject::Other => return Verdict::NotConcerned,
    };
    if case.policies.numbers.contains_key(&named) {
        Verdict::Passed
    } else {
        Verdict::Refused(Reason::NumberNotInPolicy(named))
    }
}
