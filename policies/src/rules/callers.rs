//! A caller may use its own numbers, for what it is allowed to do; the gateway itself may only ask.

use super::{Case, Verdict};
use crate::operation::{Operation, Subject};
use crate::policy::Caller;
use crate::reason::Reason;

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
        Caller::PassThrough if case.policies.is_pass_through() => return Verdict::NotConcerned,
        // Callers are declared, and this is none of them.
        Caller::PassThrough => return Verdict::Refused(Reason::NothingAllowed),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::operation::Question;
    use crate::rules::testing::{OURS, Scene, id, number, scenes, text_message};
    use crate::{OperationClass, StorageMode};

    proptest! {
        #[test]
        fn a_caller_stays_with_its_numbers_and_its_classes(scene in scenes(), monitored: bool) {
            let scene = if monitored { scene.monitored() } else { scene };
            let Caller::Known(caller) = scene.caller() else { return Ok(()) };
            if scene.decide().is_err() {
                return Ok(());
            }
            prop_assert!(caller.may.contains(&scene.request.operation.class()));
            match scene.request.subject {
                Subject::Number(number) => prop_assert!(caller.numbers.contains(&number)),
                Subject::Account(waba) => prop_assert!(
                    caller.numbers.iter().any(|id| scene.policies.numbers.get(id).is_some_and(|n| n.waba_id == Some(waba)))
                ),
                Subject::Media { .. } | Subject::Other => {}
            }
        }

        #[test]
        fn the_gateway_may_ask_and_nobody_else_may(mut scene in scenes(), by_gateway: bool, monitored: bool) {
            scene.by_gateway = by_gateway;
            let asks = matches!(scene.request.operation, Operation::Ask(_));
            let scene = if monitored { scene.monitored() } else { scene };
            if asks != by_gateway {
                prop_assert!(scene.decide().is_err());
            }
        }

        #[test]
        fn pass_through_ends_where_callers_begin(mut scene in scenes()) {
            let asks = matches!(scene.request.operation, Operation::Ask(_));
            if !scene.policies.callers.is_empty() && !asks {
                scene.caller = None;
                prop_assert_eq!(scene.monitored().outcome(), "nothing_allowed");
            }
        }
    }

    #[test]
    fn a_caller_learns_nothing_of_numbers_that_are_not_its_own() {
        let mut scene =
            Scene::new(StorageMode::Default, Operation::SendMessage(text_message())).by_caller_of(&[OURS]);
        scene.add(number(1002, StorageMode::NoStorage));
        for digits in [1002, 9999] {
            scene.request.subject = Subject::Number(id(digits));
            assert_eq!(scene.decide().unwrap_err(), Reason::NumberNotAllowed(id(digits)));
        }
    }

    #[test]
    fn an_account_belongs_to_who_may_use_one_of_its_numbers() {
        let mut scene = Scene::new(StorageMode::Default, Operation::Read("templates"));
        scene.ours().waba_id = Some(id(5001));
        scene.add(number(1002, StorageMode::Default));
        scene.request.subject = Subject::Account(id(5001));
        assert_eq!(scene.clone().by_caller_of(&[OURS]).outcome(), "pass");
        assert_eq!(scene.by_caller_of(&[1002]).outcome(), "nothing_allowed");
    }

    #[test]
    fn the_gateway_asks_about_declared_numbers() {
        for question in [Question::Settings, Question::Media(id(7))] {
            let mut scene =
                Scene::new(StorageMode::NoStorage, Operation::Ask(question)).by_caller_of(&[OURS]);
            assert_eq!(scene.outcome(), "operation_not_allowed");
            scene.by_gateway = true;
            assert_eq!(scene.outcome(), "pass");
            scene.request.subject = Subject::Number(id(9999));
            assert_eq!(scene.outcome(), "number_not_in_policy");
        }
    }

    #[test]
    fn what_a_caller_lacks_is_named() {
        let mut scene =
            Scene::new(StorageMode::Default, Operation::SendMessage(text_message())).by_caller_of(&[OURS]);
        scene.policies.callers[0].may = vec![OperationClass::Media, OperationClass::Read];
        let lacks = Reason::OperationNotAllowed {
            operation: "send_message",
            class: OperationClass::Send,
        };
        assert_eq!(scene.decide().unwrap_err(), lacks);
    }
}
