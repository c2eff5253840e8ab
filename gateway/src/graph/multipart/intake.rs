//! The inbound half of an upload: a body, read as far as somebody asks.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;

use super::boundary::{Boundary, WireBoundary};
use super::error::MultipartError;
use super::fields::{FieldCollector, FormFields, Taken};
use super::form::FormKind;
use super::part::PartHead;
use super::reader::FormReader;
use super::writer::{FileTerms, UploadBody, UploadVerdict, WholeForm};
use crate::graph::digest::{Hasher, Sha256};

/// After so many steps without anything to hand on, the task lets others run: a body that is always ready, with empty
/// frames, must not keep a thread.
const STEPS_PER_POLL: usize = 32;

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError<E> {
    /// The form breaks a rule.
    #[error(transparent)]
    Form(#[from] MultipartError),
    /// The inbound body failed: its connection broke, or a time limit passed.
    #[error("the upload's body could not be read")]
    Inbound(#[source] E),
}

/// Reading stopped before the file. The rest of the inbound body is given back, to be drained or dropped.
#[derive(Debug)]
pub struct Stopped<B: Body> {
    /// Why.
    pub reason: IntakeError<B::Error>,
    /// The inbound body, from where it was read last.
    pub inbound: B,
}

/// An upload of which nothing was read yet.
pub struct UploadForm<B> {
    intake: Intake<B>,
}

impl<B> UploadForm<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// Takes a request's body, which is to be a form of this kind, and its boundary from [`super::boundary_of`].
    #[must_use]
    pub fn new(kind: &'static FormKind, boundary: &Boundary, inbound: B) -> Self {
        Self {
            intake: Intake {
                inbound,
                reader: FormReader::new(boundary),
                collector: FieldCollector::new(kind),
                announced: None,
            },
        }
    }

    /// The whole body, boundaries and all, must have this digest: a form of other bytes is no form.
    #[must_use]
    pub fn announced(mut self, digest: Option<Sha256>) -> Self {
        self.intake.announced = digest.map(|digest| (digest, Hasher::new()));
        self
    }

    /// Reads up to the headers of the file, and the fields that stand before it.
    ///
    /// # Errors
    /// What stopped it, [`MultipartError::FileMissing`] included, with the inbound body. If this future is dropped, so
    /// is the inbound body.
    pub async fn read_head(self) -> Result<OpenForm<B>, Stopped<B>> {
        let mut intake = self.intake;
        let reason = match poll_fn(|cx| intake.poll_step(cx)).await {
            Ok(Step::FileBegin(file)) => return Ok(OpenForm { intake, file }),
            Ok(Step::FileData(_) | Step::FormEnd) => {
                let form = intake.collector.kind();
                MultipartError::FileMissing { form }.into()
            }
            Err(reason) => reason,
        };
        Err(Stopped {
            reason,
            inbound: intake.inbound,
        })
    }
}

/// A form that was read whole, without its file's content.
#[derive(Debug)]
pub struct ReadForm {
    /// All small fields.
    pub fields: FormFields,
    /// The headers of the file.
    pub file: PartHead,
    /// The file's length in bytes.
    pub file_bytes: u64,
}

/// Reads a form that is in memory: for recorded requests, of which nothing is sent on.
///
/// # Errors
/// Whatever would stop it as an upload.
pub fn read_form(
    kind: &'static FormKind,
    boundary: &Boundary,
    body: &[u8],
) -> Result<ReadForm, MultipartError> {
    let mut reader = FormReader::new(boundary);
    let mut collector = FieldCollector::new(kind);
    let (mut file, mut file_bytes) = (None, 0_u64);
    reader.feed(Bytes::copy_from_slice(body));
    while let Some(event) = reader.next_event()? {
        match collector.take(event)? {
            Taken::Noted => {}
            Taken::FileBegin(head) => file = Some(head),
            Taken::FileData(data) => file_bytes += u64::try_from(data.len()).unwrap_or(u64::MAX),
        }
    }
    reader.finish()?;
    if let Some(max_bytes) = kind.max_file_bytes().filter(|most| file_bytes > *most) {
        return Err(MultipartError::FileTooLong {
            form: kind,
            max_bytes,
        });
    }
    Ok(ReadForm {
        fields: collector.fields().clone(),
        file: file.ok_or(MultipartError::FileMissing { form: kind })?,
        file_bytes,
    })
}

/// An upload that was read up to its file.
pub struct OpenForm<B> {
    intake: Intake<B>,
    file: PartHead,
}

impl<B> OpenForm<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// Which form it is.
    pub fn kind(&self) -> &'static FormKind {
        self.intake.collector.kind()
    }

    /// The fields that stood before the file.
    pub fn fields(&self) -> &FormFields {
        self.intake.collector.fields()
    }

    /// What the headers of the file say.
    pub fn file(&self) -> &PartHead {
        &self.file
    }

    /// Gives the inbound body back, for a refusal before anything went upstream.
    pub fn into_inbound(self) -> B {
        self.intake.inbound
    }

    /// Turns the upload into the body of the upstream request, and a handle on how that ends.
    ///
    /// `judge` is called once, when the inbound form has ended and was found well-formed, and before anything is sent
    /// behind the last byte of the file. What it returns is what is written; what it refuses is never completed.
    pub fn into_body<J, R>(
        self,
        boundary: WireBoundary,
        terms: FileTerms,
        judge: J,
    ) -> (UploadBody<B, J, R>, UploadVerdict<B, R>)
    where
        J: FnOnce(WholeForm<'_>) -> Result<FormFields, R>,
    {
        UploadBody::new(self.intake, self.file, boundary, terms, judge)
    }
}

/// What comes next on the way in.
pub(super) enum Step {
    FileBegin(PartHead),
    FileData(Bytes),
    /// The form is whole, and so is the inbound body.
    FormEnd,
}

/// An inbound body with its reader and the fields so far.
pub(super) struct Intake<B> {
    inbound: B,
    reader: FormReader,
    collector: FieldCollector,
    /// What the body is said to hash to, and what has come of it.
    announced: Option<(Sha256, Hasher)>,
}

impl<B> Intake<B> {
    pub(super) fn fields(&self) -> &FormFields {
        self.collector.fields()
    }

    pub(super) fn into_inbound(self) -> B {
        self.inbound
    }

    /// Bytes of the form that are held here.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.reader.held()
    }

    #[cfg(test)]
    pub(super) fn inbound(&self) -> &B {
        &self.inbound
    }
}

impl<B> Intake<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// Polls the inbound body only when the reader has used up the frame before.
    pub(super) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<Step, IntakeError<B::Error>>> {
        for _ in 0..STEPS_PER_POLL {
            if let Some(event) = self.reader.next_event()? {
                match self.collector.take(event)? {
                    Taken::Noted => {}
                    Taken::FileBegin(head) => return Poll::Ready(Ok(Step::FileBegin(head))),
                    Taken::FileData(data) => return Poll::Ready(Ok(Step::FileData(data))),
                }
                continue;
            }
            match ready!(Pin::new(&mut self.inbound).poll_frame(cx)) {
                // Trailers say nothing about a form.
                Some(Ok(frame)) => {
                    let data = frame.into_data().unwrap_or_default();
                    if let Some((_, hasher)) = &mut self.announced {
                        hasher.update(&data);
                    }
                    self.reader.feed(data);
                }
                Some(Err(error)) => return Poll::Ready(Err(IntakeError::Inbound(error))),
                None => {
                    self.reader.finish()?;
                    if let Some((announced, hasher)) = self.announced.take()
                        && hasher.finish() != announced
                    {
                        return Poll::Ready(Err(MultipartError::DigestDiffers.into()));
                    }
                    return Poll::Ready(Ok(Step::FormEnd));
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
