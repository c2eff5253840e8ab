//! A number with a storage promise may do only what is known to keep it.

use super::{Case, Verdict};
use crate::decision::{Reason, UnverifiedUse};
use crate::operation::{Operation, UnverifiedOperation};
use crate::storage::StorageMode;

pub(super) fn judge(case: &Case<'_>) -> Verdict {
    let unverified = match &case.request.operation {
        Operation::RedirectWebhooks => return Verdict::Refused(Reason::WebhookRedirect),
        Operation::SendMarketing(_) => UnverifiedOperation::MarketingMessages,
        Operation::Unverified(operation) => *operation,
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
    if documented(unverified, case.mode) {
        return Verdict::Passed;
    }
    if is_allowed(case, unverified) {
        return Verdict::PassedUnverified(UnverifiedUse::Operation(unverified));
    }
    Verdict::Refused(Reason::ForbiddenByMode {
        operation: case.request.operation.name(),
        mode: case.mode,
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
