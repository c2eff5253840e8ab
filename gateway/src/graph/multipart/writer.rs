//! The outbound half of an upload: the form, written anew.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

use super::boundary::WireBoundary;
use super::error::MultipartError;
use super::fields::FormFields;
use super::intake::{Intake, IntakeError, Step};
use super::part::{FileName, MediaType, PartHead};
use crate::graph::digest::{Hasher, Sha256};

/// What holds for the file, as far as it is known before its bytes are sent on.
#[derive(Clone, Debug)]
pub struct FileTerms {
    /// Most bytes that the file may have; one more breaks the upload off.
    pub max_file_bytes: u64,
    /// The Content-Type to write for the file; `None` writes none.
    pub content_type: Option<MediaType>,
    /// Whether its judge is to know the file's digest.
    pub is_hashed: bool,
}

/// A whole form, for its judge.
#[derive(Clone, Copy, Debug)]
pub struct WholeForm<'a> {
    /// All small fields, from before and after the file.
    pub fields: &'a FormFields,
    /// The headers of the file.
    pub file: &'a PartHead,
    /// The file's length in bytes.
    pub file_bytes: u64,
    /// The file's digest, where [`FileTerms::is_hashed`].
    pub file_sha256: Option<Sha256>,
}

/// The body ended before its closing boundary, on purpose. Why is in the [`UploadVerdict`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the upload was broken off before it was complete")]
pub struct UploadAborted;

/// Why an upload was broken off.
#[derive(Debug, thiserror::Error)]
pub enum AbortReason<R, E> {
    /// The judge refused the form.
    #[error("the upload was refused")]
    Refused(R),
    /// The file is longer than [`FileTerms::max_file_bytes`].
    #[error("the file is longer than {max_bytes} bytes")]
    FileTooLarge {
        /// The limit, in bytes.
        max_bytes: u64,
    },
    /// The form breaks a rule.
    #[error(transparent)]
    Form(MultipartError),
    /// The inbound body failed.
    #[error("the upload's body could not be read")]
    Inbound(#[source] E),
    /// The sender dropped the body: the upstream connection broke, or the upstream answered without reading on.
    #[error("the upstream stopped taking the upload")]
    Abandoned,
}

/// An upload that was broken off. Its closing boundary was not sent.
#[derive(Debug)]
pub struct Aborted<B: Body, R> {
    /// Why.
    pub reason: AbortReason<R, B::Error>,
    /// The inbound body, from where it was read last, to be drained or dropped.
    pub inbound: B,
}

/// An upload that was handed to the sender whole.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Written {
    /// The small fields that were written, as decided. They may differ from those that came.
    pub fields: FormFields,
    /// The file's length in bytes.
    pub file_bytes: u64,
}

/// How the outbound body ended.
pub enum UploadOutcome<B: Body, R> {
    /// Judged, allowed, and written to its end.
    Written(Written),
    /// Broken off.
    Aborted(Aborted<B, R>),
}

/// A handle on how an [`UploadBody`] ends, for whoever sends it away.
pub struct UploadVerdict<B: Body, R> {
    outcome: oneshot::Receiver<UploadOutcome<B, R>>,
}

impl<B: Body, R> UploadVerdict<B, R> {
    /// The outcome, if the body has ended: `None` before that, and once it was taken.
    ///
    /// An upstream answer that comes while this is `None` came before the form was judged.
    pub fn try_take(&mut self) -> Option<UploadOutcome<B, R>> {
        self.outcome.try_recv().ok()
    }

    /// Waits until the body has ended or was dropped. `None` only if the outcome was taken before.
    pub async fn ended(self) -> Option<UploadOutcome<B, R>> {
        self.outcome.await.ok()
    }
}

/// The body of the upstream request: the file first, as it comes in, then what the judge decided.
///
/// Behind the last byte of the file nothing is sent, not even the CRLF of a boundary, until the inbound body has ended
/// and the judge has agreed. On a refusal the body ends in [`UploadAborted`], at each poll from then on, and is never at
/// its end: a sender has to break the request off (HTTP/1.1: close without the last chunk; HTTP/2: reset).
///
/// The length is not known beforehand, because the judge may add or drop fields: HTTP/1.1 sends it chunked.
pub struct UploadBody<B: Body, J, R> {
    stage: Stage,
    /// Gone once the body has ended.
    intake: Option<Intake<B>>,
    judge: Option<J>,
    outcome: Option<oneshot::Sender<UploadOutcome<B, R>>>,
    boundary: WireBoundary,
    terms: FileTerms,
    file: PartHead,
    file_bytes: u64,
    hasher: Option<Hasher>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// The file's headers are to be written.
    Head,
    /// The file's content goes through; or small fields come in and nothing goes out.
    File,
    /// All is written.
    Written,
    /// Broken off.
    Aborted,
}

impl<B: Body, J, R> UploadBody<B, J, R> {
    pub(super) fn new(
        intake: Intake<B>,
        file: PartHead,
        boundary: WireBoundary,
        terms: FileTerms,
        judge: J,
    ) -> (Self, UploadVerdict<B, R>) {
        let (sender, outcome) = oneshot::channel();
        let hasher = terms.is_hashed.then(Hasher::new);
        let body = Self {
            stage: Stage::Head,
            intake: Some(intake),
            judge: Some(judge),
            outcome: Some(sender),
            boundary,
            terms,
            file,
            file_bytes: 0,
            hasher,
        };
        (body, UploadVerdict { outcome })
    }

    /// Bytes of the form that are held here.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.intake.as_ref().map_or(0, Intake::held)
    }

    /// The inbound body, while there is one.
    #[cfg(test)]
    pub(super) fn inbound(&self) -> Option<&B> {
        self.intake.as_ref().map(Intake::inbound)
    }

    fn write_head(&self) -> Bytes {
        let boundary = self.boundary.as_str();
        let file_name = self
            .file
            .file_name
            .as_ref()
            .map_or_else(|| FileName::NEUTRAL.to_owned(), FileName::sanitized);
        let content_type = self
            .terms
            .content_type
            .as_ref()
            .map_or_else(String::new, |value| format!("Content-Type: {value}\r\n"));
        Bytes::from(format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"{file_name}\"\r\n{content_type}\r\n",
            // One of the form's own names for it.
            self.file.name
        ))
    }

    fn write_tail(&self, fields: &FormFields) -> Bytes {
        let boundary = self.boundary.as_str();
        let mut tail = String::new();
        for (field, value) in fields.iter() {
            let name = field.name();
            tail.push_str(&format!(
                "\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}"
            ));
        }
        tail.push_str(&format!("\r\n--{boundary}--\r\n"));
        Bytes::from(tail)
    }

    fn abort(&mut self, reason: AbortReason<R, B::Error>) -> UploadAborted {
        self.stage = Stage::Aborted;
        if let (Some(intake), Some(outcome)) = (self.intake.take(), self.outcome.take()) {
            // Nobody may be waiting any more; the body is broken off all the same.
            let _ = outcome.send(UploadOutcome::Aborted(Aborted {
                reason,
                inbound: intake.into_inbound(),
            }));
        }
        UploadAborted
    }
}

impl<B, J, R> UploadBody<B, J, R>
where
    B: Body<Data = Bytes> + Unpin,
    J: FnOnce(WholeForm<'_>) -> Result<FormFields, R>,
{
    fn count(&mut self, data: Bytes) -> Result<Bytes, UploadAborted> {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.file_bytes = self.file_bytes.saturating_add(length);
        let max_bytes = self.terms.max_file_bytes;
        if self.file_bytes > max_bytes {
            return Err(self.abort(AbortReason::FileTooLarge { max_bytes }));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&data);
        }
        Ok(data)
    }

    fn judge(&mut self) -> Result<Bytes, UploadAborted> {
        let file_sha256 = self.hasher.take().map(Hasher::finish);
        let (Some(judge), Some(intake)) = (self.judge.take(), &self.intake) else {
            return Err(self.abort(AbortReason::Abandoned));
        };
        let form = WholeForm {
            fields: intake.fields(),
            file: &self.file,
            file_bytes: self.file_bytes,
            file_sha256,
        };
        let fields = match judge(form) {
            Ok(fields) => fields,
            Err(refusal) => return Err(self.abort(AbortReason::Refused(refusal))),
        };
        let tail = self.write_tail(&fields);
        self.stage = Stage::Written;
        self.intake = None;
        if let Some(outcome) = self.outcome.take() {
            // Nobody may be waiting any more; the form was allowed all the same.
            let _ = outcome.send(UploadOutcome::Written(Written {
                fields,
                file_bytes: self.file_bytes,
            }));
        }
        Ok(tail)
    }
}

/// Nothing in here is pinned: the inbound body is `Unpin`, the judge and its refusal are moved, never polled.
impl<B: Body, J, R> Unpin for UploadBody<B, J, R> {}

impl<B, J, R> Body for UploadBody<B, J, R>
where
    B: Body<Data = Bytes> + Unpin,
    J: FnOnce(WholeForm<'_>) -> Result<FormFields, R>,
{
    type Data = Bytes;
    type Error = UploadAborted;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadAborted>>> {
        let this = self.get_mut();
        let data = match (this.stage, &mut this.intake) {
            (Stage::Written, _) => return Poll::Ready(None),
            (Stage::Aborted, _) | (_, None) => Err(UploadAborted),
            (Stage::Head, Some(_)) => {
                this.stage = Stage::File;
                Ok(this.write_head())
            }
            (Stage::File, Some(intake)) => match ready!(intake.poll_step(cx)) {
                Ok(Step::FileData(data)) => this.count(data),
                Ok(Step::FormEnd) => this.judge(),
                Ok(Step::FileBegin(second)) => {
                    Err(this.abort(AbortReason::Form(MultipartError::FieldTwice {
                        part: second.place(),
                    })))
                }
                Err(IntakeError::Form(error)) => Err(this.abort(AbortReason::Form(error))),
                Err(IntakeError::Inbound(error)) => Err(this.abort(AbortReason::Inbound(error))),
            },
        };
        Poll::Ready(Some(data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.stage == Stage::Written
    }

    fn size_hint(&self) -> SizeHint {
        if self.stage == Stage::Written {
            SizeHint::with_exact(0)
        } else {
            SizeHint::new()
        }
    }
}

impl<B: Body, J, R> Drop for UploadBody<B, J, R> {
    fn drop(&mut self) {
        if self.outcome.is_some() {
            self.abort(AbortReason::Abandoned);
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body::Frame;

    use super::super::testing::{
        Broken, Part, Pieces, Seen, allow, form, open, rewrite, run, second_opinion,
    };
    use super::super::{Boundary, FormField, FormKind, UploadForm};
    use super::*;

    fn refuse(_: WholeForm<'_>) -> Result<FormFields, &'static str> {
        Err("no")
    }

    fn text(value: &str) -> Option<String> {
        Some(value.to_owned())
    }

    #[test]
    fn the_file_goes_first_and_the_fields_follow_as_decided() {
        let body = form(
            "xyz",
            &[
                Part::field("type", b"image/png"),
                Part::file(b"content"),
                Part::field("ttl_minutes", b"60"),
            ],
        );
        let out = run(async {
            let open = open("xyz", Pieces::cut(&body, &[5])).await;
            assert_eq!(
                open.fields(),
                &FormFields::default().with(FormField::Type, text("image/png"))
            );
            assert_eq!(open.file().number, 2);
            rewrite(open, 100, |form| {
                assert_eq!(
                    (form.file_bytes, form.fields.get(FormField::TtlMinutes)),
                    (7, Some("60"))
                );
                Ok::<_, ()>(
                    FormFields::default()
                        .with(FormField::TtlMinutes, text("120"))
                        .with(FormField::MessagingProduct, text("whatsapp")),
                )
            })
            .await
        });
        let delimiter = out.boundary.delimiter();
        let wire = std::str::from_utf8(&delimiter[4..]).unwrap();
        let expected = format!(
            "--{wire}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n\
             content\r\n--{wire}\r\nContent-Disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n\
             --{wire}\r\nContent-Disposition: form-data; name=\"ttl_minutes\"\r\n\r\n120\r\n--{wire}--\r\n"
        );
        assert_eq!(String::from_utf8(out.bytes).unwrap(), expected);
        let UploadOutcome::Written(written) = out.outcome else {
            panic!("not written")
        };
        assert_eq!(
            (written.file_bytes, written.fields.get(FormField::TtlMinutes)),
            (7, Some("120"))
        );
    }

    #[test]
    fn a_file_without_name_and_type_gets_a_neutral_name() {
        let part = Part {
            name: "file",
            ..Part::field("", b"x")
        };
        let seen = run(async {
            let open = open("xyz", Pieces::cut(&form("xyz", &[part]), &[])).await;
            let out = rewrite(open, 1, allow::<()>).await;
            second_opinion(
                std::str::from_utf8(&out.boundary.delimiter()[4..]).unwrap(),
                &out.bytes,
            )
            .await
            .unwrap()
        });
        assert_eq!(
            seen,
            [Seen {
                file_name: text("file"),
                ..Seen::field("file", b"x")
            }]
        );
    }

    #[test]
    fn nothing_follows_the_file_before_the_verdict() {
        let body = form(
            "xyz",
            &[Part::file(b"content"), Part::field("ttl_minutes", b"60")],
        );
        for lengths in [vec![1], vec![], vec![7, 3]] {
            let out = run(async {
                let open = open("xyz", Pieces::cut(&body, &lengths)).await;
                rewrite(open, 100, refuse).await
            });
            assert!(out.bytes.ends_with(b"\r\n\r\ncontent"), "{lengths:?}");
            assert_eq!(out.error, Some(UploadAborted));
            let UploadOutcome::Aborted(aborted) = out.outcome else {
                panic!("not aborted")
            };
            assert!(matches!(aborted.reason, AbortReason::Refused("no")));
        }
    }

    #[test]
    fn an_aborted_body_never_ends() {
        let body = form("xyz", &[Part::file(b"content")]);
        run(async {
            let open = open("xyz", Pieces::cut(&body, &[])).await;
            let terms = FileTerms {
                max_file_bytes: 3,
                content_type: None,
                is_hashed: false,
            };
            let (mut body, mut verdict) = open.into_body(WireBoundary::random().unwrap(), terms, allow::<()>);
            assert!(verdict.try_take().is_none());
            let poll = |body: &mut UploadBody<_, _, _>| {
                Pin::new(body).poll_frame(&mut Context::from_waker(std::task::Waker::noop()))
            };
            assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(_)))));
            for _ in 0..3 {
                assert!(matches!(poll(&mut body), Poll::Ready(Some(Err(UploadAborted)))));
                assert!(!body.is_end_stream());
                assert_eq!(body.size_hint().exact(), None);
            }
            let Some(UploadOutcome::Aborted(aborted)) = verdict.try_take() else {
                panic!("not aborted")
            };
            assert!(matches!(
                aborted.reason,
                AbortReason::FileTooLarge { max_bytes: 3 }
            ));
        });
    }

    #[test]
    fn a_file_may_be_as_long_as_the_limit_and_no_longer() {
        let body = form("xyz", &[Part::file(&[b'x'; 100])]);
        for (max, written) in [(100, 100), (99, 98)] {
            let out = run(async {
                let open = open("xyz", Pieces::cut(&body, &[7])).await;
                rewrite(open, max, allow::<()>).await
            });
            let sent = out.bytes.iter().filter(|byte| **byte == b'x').count();
            assert_eq!(out.error.is_none(), written == 100);
            assert!(sent <= 100 && (sent == 100) == (written == 100), "{sent}");
        }
    }

    #[test]
    fn a_broken_form_or_connection_breaks_the_upload_off_and_gives_the_inbound_body_back() {
        let whole = form(
            "xyz",
            &[Part::file(b"content"), Part::field("ttl_minutes", b"60")],
        );
        let end = whole.len() - 20;
        let out = run(async {
            let mut pieces = Pieces::cut(&whole[..end], &[50]);
            pieces.frames.push_back(Err(Broken));
            pieces
                .frames
                .push_back(Ok(Frame::data(Bytes::from_static(b"rest"))));
            rewrite(open("xyz", pieces).await, 100, allow::<()>).await
        });
        let UploadOutcome::Aborted(aborted) = out.outcome else {
            panic!("not aborted")
        };
        assert!(matches!(aborted.reason, AbortReason::Inbound(Broken)));
        assert_eq!(aborted.inbound.frames.len(), 1);

        let out = run(async {
            rewrite(
                open("xyz", Pieces::cut(&whole[..end], &[50])).await,
                100,
                allow::<()>,
            )
            .await
        });
        let UploadOutcome::Aborted(aborted) = out.outcome else {
            panic!("not aborted")
        };
        assert!(matches!(
            aborted.reason,
            AbortReason::Form(MultipartError::CutOff { .. })
        ));

        let twice = form("xyz", &[Part::file(b"content"), Part::file(b"other")]);
        let out =
            run(async { rewrite(open("xyz", Pieces::cut(&twice, &[50])).await, 100, allow::<()>).await });
        let UploadOutcome::Aborted(aborted) = out.outcome else {
            panic!("not aborted")
        };
        assert!(matches!(
            aborted.reason,
            AbortReason::Form(MultipartError::FieldTwice { .. })
        ));
        assert!(out.bytes.ends_with(b"\r\n\r\ncontent"));
    }

    #[test]
    fn a_dropped_body_gives_the_inbound_body_back() {
        let body = form("xyz", &[Part::file(&[b'x'; 1000])]);
        run(async {
            let open = open("xyz", Pieces::cut(&body, &[100])).await;
            let terms = FileTerms {
                max_file_bytes: 1000,
                content_type: None,
                is_hashed: false,
            };
            let (body, verdict) = open.into_body(WireBoundary::random().unwrap(), terms, allow::<()>);
            drop(body);
            let Some(UploadOutcome::Aborted(aborted)) = verdict.ended().await else {
                panic!("not aborted")
            };
            assert!(matches!(aborted.reason, AbortReason::Abandoned));
            assert!(aborted.inbound.frames.len() > 5);
        });
    }

    #[test]
    fn a_form_that_is_refused_before_its_file_gives_the_inbound_body_back() {
        let body = form("xyz", &[Part::field("caption", b"x"), Part::file(&[b'x'; 1000])]);
        let boundary = Boundary::new("xyz").unwrap();
        let Err(stopped) =
            run(UploadForm::new(FormKind::MEDIA, &boundary, Pieces::cut(&body, &[100])).read_head())
        else {
            panic!("not refused")
        };
        assert!(matches!(
            stopped.reason,
            IntakeError::Form(MultipartError::FieldUnknown { .. })
        ));
        assert!(stopped.inbound.frames.len() > 5);
    }

    #[test]
    fn empty_frames_and_trailers_are_passed_over() {
        let body = form("xyz", &[Part::file(b"content")]);
        let mut pieces = Pieces::cut(&body, &[]);
        for _ in 0..100 {
            pieces.frames.push_front(Ok(Frame::data(Bytes::new())));
        }
        pieces
            .frames
            .push_back(Ok(Frame::trailers(http::HeaderMap::new())));
        let out = run(async { rewrite(open("xyz", pieces).await, 100, allow::<()>).await });
        assert!(matches!(
            out.outcome,
            UploadOutcome::Written(Written { file_bytes: 7, .. })
        ));
    }
}
