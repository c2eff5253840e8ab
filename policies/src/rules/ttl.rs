//! No upload outlives the limit: `ttl_minutes` inside Meta's bounds and the policy's, whole, and only under No Storage.

use super::{Case, Verdict};
use crate::decision::Reason;
use crate::operation::{Operation, shown};
use crate::storage::StorageMode;
use crate::ttl::{TtlBounds, TtlMinutes};

pub(super) fn judge(case: &Case<'_>) -> Verdict {
    let Operation::UploadMedia(upload) = &case.request.operation else {
        return Verdict::NotConcerned;
    };
    let Some(number) = case.number else {
        // The rule on numbers refuses it.
        return Verdict::NotConcerned;
    };
    match (number.storage, upload.ttl_minutes.as_deref()) {
        (StorageMode::NoStorage, Some(text)) => match read(text, number.media.ttl) {
            Ok(ttl) => Verdict::PassedWithTtl(ttl),
            Err(reason) => Verdict::Refused(reason),
        },
        (StorageMode::NoStorage, None) if upload.complete => {
            Verdict::PassedWithTtl(number.media.ttl.default())
        }
        (StorageMode::NoStorage, None) => Verdict::Passed,
        (mode, Some(_)) => Verdict::Refused(Reason::TtlWithoutNoStorage { mode }),
        (_, None) => Verdict::Passed,
    }
}

/// Reads what a caller wrote as a life that `bounds` allow.
///
/// Plain digits without a leading zero, sign, blank or fraction: Meta may read `1e9`, ` 90` or `0x60` in ways of its own.
fn read(text: &str, bounds: TtlBounds) -> Result<TtlMinutes, Reason> {
    let not_whole = || Reason::TtlNotWhole {
        came: shown(text).into_owned(),
        bounds,
    };
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(not_whole());
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(not_whole());
    }
    let Ok(minutes) = text.parse::<u64>() else {
        return Err(not_whole());
    };
    match TtlMinutes::try_from(minutes) {
        Ok(ttl) if bounds.allow(ttl) => Ok(ttl),
        Ok(_) | Err(_) => Err(Reason::TtlOutOfBounds {
            came: minutes,
            bounds,
        }),
    }
}
