//! What the tests of this module share: forms, bodies that come in pieces, and a second parser.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;

use super::{
    Boundary, FileTerms, FormFields, FormKind, OpenForm, UploadAborted, UploadForm, UploadOutcome, WholeForm,
    WireBoundary,
};

/// One part to be written as a client would.
pub(super) struct Part<'a> {
    pub(super) name: &'a str,
    /// Further parameters of the Content-Disposition.
    pub(super) params: &'a str,
    /// A further header line.
    pub(super) header: Option<&'a str>,
    pub(super) content: &'a [u8],
}

impl<'a> Part<'a> {
    pub(super) fn field(name: &'a str, content: &'a [u8]) -> Self {
        Self {
            name,
            params: "",
            header: None,
            content,
        }
    }

    pub(super) fn file(content: &'a [u8]) -> Self {
        let header = Some("Content-Type: image/png");
        Self {
            name: "file",
            params: "filename=\"a.png\"",
            header,
            content,
        }
    }

    pub(super) fn header(self, header: &'a str) -> Self {
        Self {
            header: Some(header),
            ..self
        }
    }
}

/// A form as most clients write it.
pub(super) fn form(boundary: &str, parts: &[Part<'_>]) -> Vec<u8> {
    let mut form = Vec::new();
    for Part {
        name,
        params,
        header,
        content,
    } in parts
    {
        let separator = if params.is_empty() { "" } else { "; " };
        let header = header.map_or_else(String::new, |header| format!("{header}\r\n"));
        form.extend_from_slice(
            format!("--{boundary}\r\n{header}Content-Disposition: form-data; name=\"{name}\"{separator}{params}\r\n\r\n")
                .as_bytes(),
        );
        form.extend_from_slice(content);
        form.extend_from_slice(b"\r\n");
    }
    form.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    form
}

/// The connection broke.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("broken")]
pub(super) struct Broken;

/// An inbound body that comes in pieces, each of them only at the second asking.
#[derive(Debug)]
pub(super) struct Pieces {
    pub(super) frames: VecDeque<Result<Frame<Bytes>, Broken>>,
    asked: bool,
}

impl Pieces {
    /// Cuts `body` into pieces of the lengths given, over and over.
    pub(super) fn cut(body: &[u8], lengths: &[usize]) -> Self {
        let mut rest = Bytes::copy_from_slice(body);
        let mut frames = VecDeque::new();
        let mut lengths = lengths.iter().copied().cycle();
        while !rest.is_empty() {
            let length = lengths.next().unwrap_or(rest.len()).clamp(1, rest.len());
            frames.push_back(Ok(Frame::data(rest.split_to(length))));
        }
        Self { frames, asked: false }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        this.asked = !this.asked;
        if this.asked {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(this.frames.pop_front())
    }
}

/// Runs one future to its end.
pub(super) fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// What came out of an upload.
pub(super) struct Outgoing<R> {
    pub(super) boundary: Boundary,
    pub(super) bytes: Vec<u8>,
    pub(super) error: Option<UploadAborted>,
    pub(super) outcome: UploadOutcome<Pieces, R>,
}

/// Sends an upload through with the terms and the judge given.
pub(super) async fn rewrite<R>(
    open: OpenForm<Pieces>,
    max_file_bytes: u64,
    judge: impl FnOnce(WholeForm<'_>) -> Result<FormFields, R>,
) -> Outgoing<R> {
    let wire = WireBoundary::random().unwrap();
    let boundary = super::boundary_of(&wire.content_type()).unwrap();
    let terms = FileTerms {
        max_file_bytes,
        content_type: open.file().content_type.clone(),
        is_hashed: true,
    };
    let (mut body, verdict) = open.into_body(wire, terms, judge);
    let (mut bytes, mut error) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap()),
            Err(aborted) => {
                error = Some(aborted);
                break;
            }
        }
    }
    assert_eq!(body.is_end_stream(), error.is_none());
    let outcome = verdict.ended().await.unwrap();
    Outgoing {
        boundary,
        bytes,
        error,
        outcome,
    }
}

/// Reads a form up to its file.
pub(super) async fn open(boundary: &str, body: Pieces) -> OpenForm<Pieces> {
    let boundary = Boundary::new(boundary).unwrap();
    UploadForm::new(FormKind::MEDIA, &boundary, body)
        .read_head()
        .await
        .map_err(|stopped| stopped.reason)
        .unwrap()
}

/// A judge that lets everything through as it came.
pub(super) fn allow<R>(form: WholeForm<'_>) -> Result<FormFields, R> {
    Ok(form.fields.clone())
}

/// One part as the second parser sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Seen {
    pub(super) name: Option<String>,
    pub(super) file_name: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) content: Vec<u8>,
}

impl Seen {
    pub(super) fn field(name: &str, content: &[u8]) -> Self {
        Self {
            name: Some(name.to_owned()),
            file_name: None,
            content_type: None,
            content: content.to_vec(),
        }
    }
}

/// Reads a form with multer, which shares no code with us.
pub(super) async fn second_opinion(boundary: &str, body: &[u8]) -> Result<Vec<Seen>, multer::Error> {
    let body = Ok::<_, Infallible>(Bytes::copy_from_slice(body));
    let mut form = multer::Multipart::new(stream::iter([body]), boundary);
    let mut parts = Vec::new();
    while let Some(field) = form.next_field().await? {
        parts.push(Seen {
            name: field.name().map(str::to_owned),
            file_name: field.file_name().map(str::to_owned),
            content_type: field.content_type().map(ToString::to_string),
            content: field.bytes().await?.to_vec(),
        });
    }
    Ok(parts)
}
