//! An upload's type is one that Meta takes, said once, and its file no larger than Meta takes.

use super::{Case, Verdict};
use crate::decision::Reason;
use crate::operation::{Operation, shown};
use crate::upload::{MediaType, essence};

pub(super) fn judge(case: &Case<'_>) -> Verdict {
    let Operation::UploadMedia(upload) = &case.request.operation else {
        return Verdict::NotConcerned;
    };
    if let (Some(declared), Some(part)) = (upload.declared_type.as_deref(), upload.file_type.as_deref())
        && !essence(declared).eq_ignore_ascii_case(essence(part))
    {
        return Verdict::Refused(Reason::MediaTypesDisagree {
            declared: shown(declared).into_owned(),
            part: shown(part).into_owned(),
        });
    }
    // The part's own type counts first, as at Meta.
    let Some(came) = upload.file_type.as_deref().or(upload.declared_type.as_deref()) else {
        return if upload.complete {
            Verdict::Refused(Reason::MediaTypeNotTaken { came: None })
        } else {
            Verdict::Passed
        };
    };
    match MediaType::of(came) {
        None => Verdict::Refused(Reason::MediaTypeNotTaken {
            came: Some(shown(came).into_owned()),
        }),
        Some(taken) if upload.file_bytes > taken.max_bytes => Verdict::Refused(Reason::FileTooLarge {
            mime: taken.mime,
            max_bytes: taken.max_bytes,
        }),
        Some(_) => Verdict::Passed,
    }
}
