//! A number with a storage promise may do only what is known to keep it.

use super::{Case, Verdict};
use crate::decision::UnverifiedUse;
use crate::operation::{Operation, UnverifiedOperation};
use crate::reason::Reason;
use crate::storage::StorageMode;

pub(super) fn judge(case: &Case<'_>) -> Verdict {
    let unverified = match &case.request.operation {
        Operation::RedirectWebhooks => return Verdict::Refused(Reason::WebhookRedirect),
        Operation::SendMarketing(_) => UnverifiedOperation::MarketingMessages,
        Operation::Unverified(operation) => *operation,
        // Announcements of the calling feature: how long they rest at Meta is not documented, and no `ttl_minutes` bounds it.
        Operation::UploadMedia(upload) if upload.use_case.is_some() && case.mode().is_restricted() => {
            return Verdict::Refused(Reason::ForbiddenByMode {
                operation: "upload_media with use_case",
                mode: case.mode(),
                allow: None,
            });
        }
        Operation::SendMessage(_)
        | Operation::MarkRead
        | Operation::UploadMedia(_)
        | Operation::ReadMedia(_)
        | Operation::DownloadMedia(_)
        | Operation::DeleteMedia(_)
        | Operation::ChangeSettings(_)
        | Operation::Register(_)
        | Operation::Deregister
        | Operation::RequestCode
        | Operation::VerifyCode
        | Operation::Ask(_)
        | Operation::Read(_)
        | Operation::Manage(_) => return Verdict::NotConcerned,
    };
    if documented(unverified, case.mode()) {
        return Verdict::Passed;
    }
    if is_allowed(case, unverified) {
        return Verdict::PassedUnverified(UnverifiedUse::Operation(unverified));
    }
    Verdict::Refused(Reason::ForbiddenByMode {
        operation: case.request.operation.name(),
        mode: case.mode(),
        allow: Some(unverified),
    })
}

/// Whether it is known what `mode` makes of the content of `operation`.
const fn documented(operation: UnverifiedOperation, mode: StorageMode) -> bool {
    match operation {
        // Opaque to everyone between caller and Meta, so not even the pins of other numbers could be kept from it.
        UnverifiedOperation::MessagesEncrypted => false,
        // Local Storage covers the Marketing Messages API, with 90 minutes in use (Cloud API, "Local Storage").
        UnverifiedOperation::MarketingMessages => !matches!(mode, StorageMode::NoStorage),
        UnverifiedOperation::ResumableUpload
        | UnverifiedOperation::FlowAssets
        | UnverifiedOperation::GroupPicture
        | UnverifiedOperation::CallRecording
        | UnverifiedOperation::Signups
        | UnverifiedOperation::WelcomeSequences => matches!(mode, StorageMode::Default),
    }
}

/// Whether every number that the call could concern names `operation` in `allow_unverified`.
fn is_allowed(case: &Case<'_>, operation: UnverifiedOperation) -> bool {
    if let Some(number) = case.number {
        return number.allow_unverified.operations.contains(&operation);
    }
    let mut restricted = case
        .policies
        .numbers
        .values()
        .filter(|number| {
            case.caller.may_use(number.phone_number_id) && !documented(operation, number.storage)
        })
        .peekable();
    restricted.peek().is_some()
        && restricted.all(|number| number.allow_unverified.operations.contains(&operation))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::operation::Subject;
    use crate::rules::testing::{Scene, scenes, text_message};

    /// Which operations are known to keep default, in_country and no_storage.
    const KNOWN_TO_KEEP: [(UnverifiedOperation, [bool; 3]); 8] = [
        (UnverifiedOperation::MarketingMessages, [true, true, false]),
        (UnverifiedOperation::MessagesEncrypted, [false, false, false]),
        (UnverifiedOperation::ResumableUpload, [true, false, false]),
        (UnverifiedOperation::FlowAssets, [true, false, false]),
        (UnverifiedOperation::GroupPicture, [true, false, false]),
        (UnverifiedOperation::CallRecording, [true, false, false]),
        (UnverifiedOperation::Signups, [true, false, false]),
        (UnverifiedOperation::WelcomeSequences, [true, false, false]),
    ];

    fn keeps(operation: UnverifiedOperation, mode: StorageMode) -> bool {
        let (_, [default, in_country, no_storage]) = KNOWN_TO_KEEP
            .into_iter()
            .find(|(known, _)| *known == operation)
            .unwrap();
        match mode {
            StorageMode::Default => default,
            StorageMode::InCountry(_) => in_country,
            StorageMode::NoStorage => no_storage,
        }
    }

    proptest! {
        #[test]
        fn an_unverified_operation_passes_only_by_every_concerned_numbers_word(
            mut scene in scenes(),
            operation in select(&UnverifiedOperation::ALL),
            on_a_number: bool,
        ) {
            scene.request.operation = Operation::Unverified(operation);
            if !on_a_number {
                scene.request.subject = Subject::Other;
            }
            let concerned: Vec<_> = match scene.named() {
                Some(number) => vec![number],
                None => scene
                    .policies
                    .numbers
                    .values()
                    .filter(|number| scene.caller().may_use(number.phone_number_id))
                    .collect(),
            };
            let is_safe = concerned.iter().all(|number| keeps(operation, number.storage));
            let is_named = concerned.iter().all(|number| {
                keeps(operation, number.storage) || number.allow_unverified.operations.contains(&operation)
            });
            match scene.judge(judge) {
                Verdict::Passed => prop_assert!(is_safe),
                Verdict::PassedUnverified(used) => {
                    prop_assert!(!is_safe && is_named);
                    prop_assert_eq!(used, UnverifiedUse::Operation(operation));
                }
                // Without any number the rule on numbers refuses before this one is asked.
                Verdict::Refused(_) => prop_assert!(!is_named || concerned.is_empty()),
                other => prop_assert!(false, "{:?}", other),
            }
        }

        #[test]
        fn webhooks_go_nowhere_else(mut scene in scenes()) {
            scene.request.operation = Operation::RedirectWebhooks;
            prop_assert_eq!(scene.judge(judge), Verdict::Refused(Reason::WebhookRedirect));
        }
    }

    #[test]
    fn a_marketing_message_is_judged_as_one() {
        let mut scene = Scene::new(StorageMode::NoStorage, Operation::SendMarketing(text_message()));
        assert_eq!(
            scene.decide().unwrap_err(),
            Reason::ForbiddenByMode {
                operation: "send_marketing_message",
                mode: StorageMode::NoStorage,
                allow: Some(UnverifiedOperation::MarketingMessages),
            }
        );
        scene.ours().allow_unverified.operations = vec![UnverifiedOperation::MarketingMessages];
        let permit = scene.decide().unwrap();
        assert_eq!(
            permit.unverified(),
            Some(&UnverifiedUse::Operation(UnverifiedOperation::MarketingMessages))
        );
    }
}
