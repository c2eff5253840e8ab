//! HTTP replies with the headers that Meta's carry.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use serde_json::{Map, Value};

use crate::ids::ReplyIds;

/// The oldest version that is still served; older ones are, silently, as this one (Graph API, Versioning). Which it
/// is changes with time: it must be a v20− one, so that the older registration can be tried.
const OLDEST: u16 = 18;
/// The newest version.
const LATEST: u16 = 26;

/// The version that really serves a request.
pub(crate) fn served(asked: Option<u16>, app: u16) -> u16 {
    asked.unwrap_or(app).clamp(OLDEST, LATEST)
}

/// A reply before it is HTTP.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: HeaderValue,
    pub(crate) body: Payload,
    pub(crate) location: Option<HeaderValue>,
}

#[derive(Clone, Debug)]
pub(crate) enum Payload {
    Bytes(Bytes),
    /// So many zeros: a medium whose bytes are not kept.
    Zeros(u64),
}

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=UTF-8");

impl Reply {
    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        let body = serde_json::to_vec(body).unwrap_or_default();
        Self {
            status,
            content_type: JSON,
            body: Payload::Bytes(body.into()),
            location: None,
        }
    }

    pub(crate) fn file(mime: &str, body: Payload) -> Self {
        let content_type =
            HeaderValue::from_str(mime).unwrap_or(HeaderValue::from_static("application/octet-stream"));
        Self {
            status: StatusCode::OK,
            content_type,
            body,
            location: None,
        }
    }

    /// What the media host says to a URL that is over, or to a wrong token: 404 (Media, Download).
    pub(crate) fn not_found() -> Self {
        let body =
            Bytes::from_static(b"<html><body>Sorry, this content isn't available right now</body></html>");
        Self {
            status: StatusCode::NOT_FOUND,
            content_type: HeaderValue::from_static("text/html; charset=utf-8"),
            body: Payload::Bytes(body),
            location: None,
        }
    }

    pub(crate) fn redirect(location: &str) -> Self {
        Self {
            status: StatusCode::FOUND,
            content_type: HeaderValue::from_static("text/html; charset=utf-8"),
            body: Payload::Bytes(Bytes::new()),
            location: HeaderValue::from_str(location).ok(),
        }
    }

    /// Puts these members into the object that it is, or takes those away that are null.
    pub(crate) fn replace_members(&mut self, members: Map<String, Value>) {
        let Payload::Bytes(body) = &self.body else { return };
        let Ok(mut object) = serde_json::from_slice::<Map<String, Value>>(body) else {
            return;
        };
        for (name, value) in members {
            if value.is_null() {
                object.remove(&name);
            } else {
                object.insert(name, value);
            }
        }
        self.body = Payload::Bytes(Value::Object(object).to_string().into());
    }

    /// Whether it is Graph's: files and pages have fewer headers.
    fn is_graph(&self) -> bool {
        self.content_type == JSON || self.content_type == JAVASCRIPT
    }

    pub(crate) fn into_http(self, ids: ReplyIds, version: u16, cut: Option<Cut>) -> Response<ReplyBody> {
        let graph = self.is_graph();
        let body = ReplyBody::new(self.body, cut);
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let length = response.body().declared;
        let headers = response.headers_mut();
        headers.reserve(18);
        headers.insert(header::CONTENT_TYPE, self.content_type);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        if let Some(location) = self.location {
            headers.insert(header::LOCATION, location);
        }
        for (name, value) in ALWAYS {
            headers.insert(name, value);
        }
        if graph {
            graph_headers(headers, ids, version);
        }
        response
    }
}

pub(crate) const JAVASCRIPT: HeaderValue = HeaderValue::from_static("text/javascript; charset=UTF-8");

/// The same on every reply.
const ALWAYS: [(HeaderName, HeaderValue); 4] = [
    (
        header::STRICT_TRANSPORT_SECURITY,
        HeaderValue::from_static("max-age=15552000; preload"),
    ),
    (header::ALT_SVC, HeaderValue::from_static("h3=\":443\"; ma=86400")),
    (
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache, no-store, must-revalidate"),
    ),
    (
        HeaderName::from_static("x-fb-connection-quality"),
        HeaderValue::from_static("EXCELLENT; q=0.9, rtt=2, rtx=0, c=10, mss=1380, tbw=3405, tp=-1"),
    ),
];

fn graph_headers(headers: &mut HeaderMap, ids: ReplyIds, version: u16) {
    let text = |text: String| HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    headers.insert(
        HeaderName::from_static("facebook-api-version"),
        text(format!("v{version}.0")),
    );
    headers.insert(HeaderName::from_static("x-fb-request-id"), text(ids.request()));
    headers.insert(HeaderName::from_static("x-fb-trace-id"), text(ids.trace()));
    headers.insert(
        HeaderName::from_static("x-fb-rev"),
        HeaderValue::from_static("1029384756"),
    );
    headers.insert(HeaderName::from_static("x-fb-debug"), text(ids.trace()));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(
        header::EXPIRES,
        HeaderValue::from_static("Sat, 01 Jan 2000 00:00:00 GMT"),
    );
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    // Usage headers come only once in a while (Graph API, Rate limits).
    if ids.count.is_multiple_of(16) {
        let usage = HeaderValue::from_static("{\"call_count\":1,\"total_time\":1,\"total_cputime\":1}");
        headers.insert(HeaderName::from_static("x-app-usage"), usage);
    }
}

/// Where a body stops short of its declared length, in bytes, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    /// The connection is closed in good order.
    Close(usize),
    /// Nothing comes any more.
    Stall(usize),
}

/// A body that is sent whole, or stops short of its declared length.
pub(crate) struct ReplyBody {
    declared: u64,
    /// Bytes still to come.
    bytes: Bytes,
    zeros: u64,
    end: End,
}

#[derive(Eq, PartialEq)]
enum End {
    Whole,
    Stalled,
    /// After what is left, let the connection flush.
    Flush,
    /// Then fail.
    Fail,
}

/// Why a truncated reply's connection ends.
#[derive(Debug, thiserror::Error)]
#[error("cut off on demand")]
pub(crate) struct CutOff;

const ZEROS: &[u8] = &[0; 64 * 1024];

impl ReplyBody {
    fn new(payload: Payload, cut: Option<Cut>) -> Self {
        let (mut bytes, mut zeros) = match payload {
            Payload::Bytes(bytes) => (bytes, 0),
            Payload::Zeros(count) => (Bytes::new(), count),
        };
        let declared = u64::try_from(bytes.len()).unwrap_or(0) + zeros;
        let (after, end) = match cut {
            None => (usize::MAX, End::Whole),
            Some(Cut::Close(after)) => (after, End::Flush),
            Some(Cut::Stall(after)) => (after, End::Stalled),
        };
        bytes.truncate(after);
        zeros = zeros.min(u64::try_from(after).unwrap_or(u64::MAX));
        Self {
            declared,
            bytes,
            zeros,
            end,
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        if !self.bytes.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.bytes)))));
        }
        if self.zeros > 0 {
            let count = usize::try_from(self.zeros).unwrap_or(usize::MAX).min(ZEROS.len());
            self.zeros -= u64::try_from(count).unwrap_or(0);
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(
                ZEROS.get(..count).unwrap_or(ZEROS),
            )))));
        }
        match self.end {
            End::Whole => Poll::Ready(None),
            End::Stalled => Poll::Pending,
            End::Flush => {
                self.end = End::Fail;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            End::Fail => Poll::Ready(Some(Err(CutOff))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.end == End::Whole && self.bytes.is_empty() && self.zeros == 0
    }

    fn size_hint(&self) -> SizeHint {
        match self.end {
            End::Whole => SizeHint::with_exact(u64::try_from(self.bytes.len()).unwrap_or(0) + self.zeros),
            End::Stalled | End::Flush | End::Fail => SizeHint::default(),
        }
    }
}
