//! The bodies that pass through: one concrete type in each direction, so that no frame costs an allocation of ours.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::graph::multipart::{FormFields, UploadBody, WholeForm};
use crate::layers::download::CheckedBody;
use crate::layers::enforce::Withheld;
use crate::server::IdleTimeoutBody;
use crate::stores::media_cache::MediumReader;
use crate::upstream::AnswerBody;

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Judges a form when it has ended.
pub type Judge = Box<dyn FnOnce(WholeForm<'_>) -> Result<FormFields, Withheld> + Send>;

/// A request body as it comes from a caller, under the front door's limits.
pub type Inbound = IdleTimeoutBody<Incoming>;

/// A request body on its way to Meta.
pub enum Outbound {
    /// None.
    Empty,
    /// JSON that was judged, byte for byte.
    Whole(Full<Bytes>),
    /// A form, written anew.
    Upload(Box<UploadBody<Inbound, Judge, Withheld>>),
    /// Bytes that nobody judges.
    Raw(Inbound),
}

impl Outbound {
    /// JSON in one piece.
    #[must_use]
    pub fn json(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Upload(body) => Pin::new(body.as_mut()).poll_frame(cx).map_err(Into::into),
            Self::Raw(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(body) => body.is_end_stream(),
            Self::Upload(body) => body.is_end_stream(),
            Self::Raw(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(body) => body.size_hint(),
            Self::Upload(body) => body.size_hint(),
            Self::Raw(body) => body.size_hint(),
        }
    }
}

/// A response body on its way to a caller.
#[derive(Debug)]
pub enum ResponseBody {
    /// In one piece.
    Whole(Full<Bytes>),
    /// A medium that is kept, or is on its way to be.
    Medium(MediumReader),
    /// A medium as it comes from Meta.
    Checked(Box<CheckedBody<AnswerBody>>),
    /// Nothing, where a body of this length in bytes, or of one that is not known, would be the answer to GET.
    Announced(Option<u64>),
}

impl ResponseBody {
    /// A body in one piece.
    #[must_use]
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Full::new(bytes.into()))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Medium(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Checked(body) => Pin::new(body.as_mut()).poll_frame(cx).map_err(Into::into),
            Self::Announced(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Medium(body) => body.is_end_stream(),
            Self::Checked(body) => body.is_end_stream(),
            // Not even if it is: the server would announce that there is none.
            Self::Announced(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Medium(body) => body.size_hint(),
            Self::Checked(body) => body.size_hint(),
            Self::Announced(length) => length.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
