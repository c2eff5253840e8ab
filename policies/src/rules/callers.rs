//! A caller may use its own numbers, for what it is allowed to do; the gateway itself may only ask.

use super::{Case, Verdict};
use crate::decision::Reason;
use crate::operation::{Operation, Subject};
use crate::policy::Caller;

pub(super) fn judge(case: &Case<'_>) -> Verdict {
    let operation = &case.request.operation;
    let refused = || {
        Verdict::Refused(Reason::OperationNotAllowed {
            operation: operation.name(),
            class: operation.class(),
        })
    };
    let asks = matches!(operation, Operation::Ask(_));
    let caller = match case.caller {
        Caller::Gateway => return if asks { Verdict::Passed } else { refused() },
        _ if asks => return refused(),
        Caller::PassThrough => return Verdict::NotConcerned,
        Caller::Known(caller) => caller,
    };
    match case.request.subject {
        Subject::Number(number) if !caller.may_use(number) => {
            return Verdict::Refused(Reason::NumberNotAllowed(number));
        }
        Subject::Account(waba) => {
            let has_one = case
                .policies
                .numbers
                .values()
                .any(|number| number.waba_id == Some(waba) && caller.may_use(number.phone_number_id));
            if !has_one {
                return Verdict::Refused(Reason::NothingAllowed);
            }
        }
        // Whose medium it is, the pin rule judges, in the same words for somebody else's and for an unknown one.
        Subject::Number(_) | Subject::Media { .. } | Subject::Other => {}
    }
    let class = case.request.operation.class();
    if caller.may.contains(&class) {
        Verdict::Passed
    } else {
        Verdict::Refused(Reason::OperationNotAllowed {
            operation: case.request.operation.name(),
            class,
        })
    }
}
