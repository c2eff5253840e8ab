//! An upload's type is one that Meta takes, said once, and its file no larger than Meta takes.

use super::{Case, Verdict};
use crate::operation::{Operation, shown};
use crate::reason::Reason;
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
                let named: Vec<_> = [&upload.file_type, &upload.declared_type].into_iter().flatten().collect();
                prop_assert!(!named.is_empty());
                for name in named {
                    let taken = MediaType::of(name);
                    prop_assert!(taken.is_some_and(|taken| upload.file_bytes <= taken.max_bytes), "{}", name);
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
                prop_assert_eq!(judged(mode, Upload { declared_type: None, ..begun }), Verdict::Passed);
            }
        }
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
