//! A call may only be about numbers, and accounts of numbers, that the policy declares.

use super::{Case, Verdict};
use crate::decision::Reason;
use crate::operation::Subject;

pub(super) fn judge(case: &Case<'_>) -> Verdict {
    let named = match case.request.subject {
        Subject::Number(number) => number,
        // A number in the query of a media call is only a claim: if it is none of ours, the medium is simply unknown, and
        // the pin rule says so in the words that it has for every unknown medium.
        Subject::Media { .. } | Subject::Other => return Verdict::NotConcerned,
        Subject::Account(waba) if case.policies.knows_account(waba) => return Verdict::Passed,
        Subject::Account(waba) => return Verdict::Refused(Reason::AccountNotInPolicy(waba)),
    };
    if case.policies.numbers.contains_key(&named) {
        Verdict::Passed
    } else {
        Verdict::Refused(Reason::NumberNotInPolicy(named))
    }
}
