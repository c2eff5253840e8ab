//! An upload's type is one that Meta takes, said once, and its file no larger than Meta takes.
//!
//! `type` may also name the kind of the file: published SDKs send `image` where Meta's page asks for `image/png`.

use super::{Case, Verdict};
use crate::operation::{Operation, shown};
use crate::reason::Reason;
use crate::upload::{MediaKind, MediaType, essence};

pub(super) fn judge(case: &Case<'_>) -> Verdict {
    let Operation::UploadMedia(upload) = &case.request.operation else {
        return Verdict::NotConcerned;
    };
    let declared = upload.declared_type.as_deref();
    let kind = declared.and_then(MediaKind::named);
    if let (Some(declared), Some(part)) = (declared, upload.file_type.as_deref())
        && !essence(declared).eq_ignore_ascii_case(essence(part))
        && !kind.is_some_and(|kind| kind.covers(part))
    {
        return Verdict::Refused(Reason::MediaTypesDisagree {
            declared: shown(declared).into_owned(),
            part: shown(part).into_owned(),
        });
    }
    // The part's own type counts first, as at Meta. A kind says less than a type, so the part's is waited for.
    let Some(came) = upload
        .file_type
        .as_deref()
        .or(declared.filter(|_| kind.is_none() || upload.complete))
    else {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::StorageMode;
    use crate::rules::testing::{Scene, modes, png, uploads};
    use crate::upload::Upload;

    fn judged(mode: StorageMode, upload: Upload<'static>) -> Verdict {
        Scene::new(mode, Operation::UploadMedia(upload)).judge(judge)
    }

    proptest! {
        #[test]
        fn only_what_meta_takes_is_uploaded(mode in modes(), mut upload in uploads()) {
            upload.complete = true;
            if judged(mode, upload.clone()) == Verdict::Passed {
                let counts = upload.file_type.as_deref().or(upload.declared_type.as_deref()).unwrap_or_default();
                let taken = MediaType::of(counts);
                prop_assert!(taken.is_some_and(|taken| upload.file_bytes <= taken.max_bytes), "{}", counts);
                if let (Some(declared), Some(part)) = (&upload.declared_type, &upload.file_type) {
                    let same = MediaType::of(declared) == taken;
                    let of_kind = MediaKind::named(declared).is_some_and(|kind| kind.covers(part));
                    prop_assert!(same || of_kind, "{} and {}", declared, part);
                }
            }
        }

        #[test]
        fn each_type_is_taken_up_to_its_limit(mode in modes(), taken in select(&MediaType::ALL), upper: bool) {
            let mime = if upper { taken.mime.to_ascii_uppercase() } else { format!("{} ; charset=x", taken.mime) };
            let upload = Upload { file_type: Some(mime.into()), file_bytes: taken.max_bytes, ..png(None) };
            prop_assert_eq!(judged(mode, upload.clone()), Verdict::Passed);
            let larger = Upload { file_bytes: taken.max_bytes + 1, ..upload };
            let refused = Reason::FileTooLarge { mime: taken.mime, max_bytes: taken.max_bytes };
            prop_assert_eq!(judged(mode, larger), Verdict::Refused(refused));
        }

        #[test]
        fn what_passes_whole_passed_at_its_beginning(mode in modes(), mut upload in uploads(), came in 0u64..1000) {
            upload.complete = true;
            if judged(mode, upload.clone()) == Verdict::Passed {
                let begun = Upload { complete: false, file_bytes: upload.file_bytes.min(came), ..upload };
                prop_assert_eq!(judged(mode, begun.clone()), Verdict::Passed);
                prop_assert_eq!(judged(mode, Upload { declared_type: None, ..begun.clone() }), Verdict::Passed);
                prop_assert_eq!(judged(mode, Upload { file_type: None, file_bytes: 0, ..begun }), Verdict::Passed);
            }
        }
    }

    #[test]
    fn a_type_may_name_the_kind_of_its_file_and_no_other() {
        let judged = |declared: &'static str, part: Option<&'static str>| {
            let upload = Upload {
                declared_type: Some(declared.into()),
                file_type: part.map(Into::into),
                ..png(None)
            };
            judged(StorageMode::Default, upload)
        };
        for (kind, part) in [
            ("image", "image/png"),
            ("IMAGE", "image/jpeg; name=a.jpg"),
            ("image", "image/webp"),
            ("sticker", "image/webp"),
            ("audio", "audio/ogg; codecs=opus"),
            ("video", "video/mp4"),
            ("document", "application/pdf"),
            ("document", "text/plain"),
        ] {
            assert_eq!(judged(kind, Some(part)), Verdict::Passed, "{kind} of {part}");
        }
        for (kind, part) in [
            ("video", "image/png"),
            ("sticker", "image/png"),
            ("document", "image/png"),
            ("image", "imagery/png"),
            ("image", "text/plain"),
            ("image", "application/octet-stream"),
            ("text", "text/plain"),
            ("application", "application/pdf"),
            ("", "image/png"),
        ] {
            assert!(
                matches!(judged(kind, Some(part)), Verdict::Refused(_)),
                "{kind} of {part}"
            );
        }
        // A kind alone says no MIME type.
        assert!(matches!(judged("image", None), Verdict::Refused(_)));
    }

    #[test]
    fn refusals_say_what_came() {
        let upload = |declared: Option<&'static str>, part: Option<&'static str>| Upload {
            declared_type: declared.map(Into::into),
            file_type: part.map(Into::into),
            ..png(None)
        };
        let not_taken = |came: &str| Reason::MediaTypeNotTaken {
            came: Some(came.to_owned()),
        };
        for (upload, reason) in [
            (upload(None, None), Reason::MediaTypeNotTaken { came: None }),
            (upload(None, Some("image/gif")), not_taken("image/gif")),
            (upload(Some("image/gif"), None), not_taken("image/gif")),
            (
                upload(Some("image/jpeg"), Some("image/png")),
                Reason::MediaTypesDisagree {
                    declared: "image/jpeg".to_owned(),
                    part: "image/png".to_owned(),
                },
            ),
        ] {
            assert_eq!(judged(StorageMode::Default, upload), Verdict::Refused(reason));
        }
    }
}
