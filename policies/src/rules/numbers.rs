//! A call may only be about numbers, and accounts of numbers, that the policy declares.

use super::{Case, Verdict};
use crate::operation::{Operation, Subject};
use crate::reason::Reason;

pub(super) fn judge(case: &Case<'_>) -> Verdict {
    let declared = match case.request.subject {
        Subject::Number(named) => {
            return if case.policies.numbers.contains_key(&named) {
                Verdict::Passed
            } else {
                Verdict::Refused(Reason::NumberNotInPolicy(named))
            };
        }
        // Every rule on such a call reads its number's policy; without one they would all have nothing to say.
        _ if needs_a_number(&case.request.operation) => false,
        // A number in the query of a media call is only a claim: if it is none of ours, the medium is simply unknown, and
        // the pin rule says so in the words that it has for every unknown medium.
        Subject::Media { .. } => return Verdict::NotConcerned,
        Subject::Account(waba) if case.policies.knows_account(waba) => true,
        Subject::Account(waba) => return Verdict::Refused(Reason::AccountNotInPolicy(waba)),
        // Judged by the strictest of the caller's numbers, so there must be one.
        Subject::Other => case.caller.may_use_any(case.policies),
    };
    if declared {
        Verdict::Passed
    } else {
        Verdict::Refused(Reason::NothingAllowed)
    }
}

/// Whether the operation exists only as an edge of a phone number.
const fn needs_a_number(operation: &Operation<'_>) -> bool {
    match operation {
        Operation::SendMessage(_)
        | Operation::SendMarketing(_)
        | Operation::MarkRead
        | Operation::UploadMedia(_)
        | Operation::ChangeSettings(_)
        | Operation::Register(_)
        | Operation::Deregister
        | Operation::RequestCode
        | Operation::VerifyCode => true,
        Operation::ReadMedia(_)
        | Operation::DownloadMedia(_)
        | Operation::DeleteMedia(_)
        | Operation::Ask(_)
        | Operation::Unverified(_)
        | Operation::RedirectWebhooks
        | Operation::Read(_)
        | Operation::Manage(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::testing::{OURS, Scene, id, modes, operations, scenes};

    const EDGES_OF_A_NUMBER: [&str; 9] = [
        "send_message",
        "send_marketing_message",
        "mark_read",
        "upload_media",
        "change_settings",
        "register",
        "deregister",
        "request_code",
        "verify_code",
    ];

    proptest! {
        #[test]
        fn a_number_that_is_not_declared_is_not_served(mode in modes(), operation in operations(), digits in 990u64..1010) {
            let mut scene = Scene::new(mode, operation);
            scene.request.subject = Subject::Number(id(digits));
            let refused = Verdict::Refused(Reason::NumberNotInPolicy(id(digits)));
            let expected = if digits == OURS { Verdict::Passed } else { refused };
            prop_assert_eq!(scene.judge(judge), expected);
        }

        #[test]
        fn an_edge_of_a_number_needs_its_number(scene in scenes()) {
            let is_edge = EDGES_OF_A_NUMBER.contains(&scene.request.operation.name());
            if is_edge && !matches!(scene.request.subject, Subject::Number(_)) {
                prop_assert!(scene.decide().is_err());
                prop_assert!(scene.monitored().decide().is_err());
            }
        }
    }

    #[test]
    fn an_account_must_be_some_numbers() {
        let mut scene = Scene::new(crate::StorageMode::Default, Operation::Read("templates"));
        scene.ours().waba_id = Some(id(5001));
        scene.request.subject = Subject::Account(id(5001));
        assert_eq!(scene.outcome(), "pass");
        scene.request.subject = Subject::Account(id(5002));
        assert_eq!(scene.outcome(), "account_not_in_policy");
    }

    #[test]
    fn without_numbers_nothing_passes() {
        let mut scene = Scene::new(crate::StorageMode::Default, Operation::Manage("apps"));
        scene.request.subject = Subject::Other;
        assert_eq!(scene.outcome(), "pass");
        scene.policies.numbers.clear();
        assert_eq!(scene.outcome(), "nothing_allowed");
    }
}
