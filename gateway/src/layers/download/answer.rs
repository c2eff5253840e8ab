//! What the answer to a download says of the medium.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    ETAG, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::body::ResponseBody;
use crate::call::Answer;
use crate::graph::answer::MediaContent;
use crate::server::BreakOff;
use crate::stores::media_cache::MediumReader;

/// Where a medium came from: `hit`, `miss` or `bypass`.
pub(in crate::layers) const CURFEW_CACHE: HeaderName = HeaderName::from_static("curfew-cache");

/// What a media URL promises about the answer: this caller's, now, and never to be kept by anything in between.
const NO_STORE: HeaderValue = HeaderValue::from_static("private, no-store");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
/// A user's file, shown by a browser on the gateway's origin, runs nothing and loads nothing there.
const SANDBOX: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");
const BYTES: HeaderValue = HeaderValue::from_static("bytes");

/// How the medium was had.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Via {
    /// From a whole copy.
    Hit,
    /// There was none. It is fetched for this caller, and for others who join.
    Miss,
    /// There was none. It is fetched already, and this caller joined.
    Joined,
    /// From the media host, past the cache.
    Bypass,
}

impl Via {
    const fn value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Hit => "hit",
            Self::Miss | Self::Joined => "miss",
            Self::Bypass => "bypass",
        })
    }
}

/// The headers of one medium, on whatever answer.
pub(super) struct Head {
    content_type: HeaderValue,
    size: Option<u64>,
    etag: Option<String>,
}

impl Head {
    /// What Meta says, as headers. Without a SHA-256 of Meta's there is no entity tag: nothing else is known before the bytes
    /// that would tell two media apart.
    pub(super) fn of(content: &MediaContent) -> Self {
        let etag = content.sha256.map(|sha256| {
            let mut etag = String::with_capacity(66);
            etag.push('"');
            for byte in sha256 {
                // Writing to a `String` cannot fail.
                let _ = write!(etag, "{byte:02x}");
            }
            etag.push('"');
            etag
        });
        Self {
            content_type: content.content_type.clone(),
            size: content.size,
            etag,
        }
    }

    /// The strong entity tag, quotes and all.
    pub(super) fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// 304 (RFC 9110, section 15.4.5).
    pub(super) fn not_modified(&self, via: Via, age: Option<Duration>) -> Answer {
        let mut answer = self.answer(StatusCode::NOT_MODIFIED, via, ResponseBody::whole(""));
        put_age(answer.headers_mut(), age);
        answer
    }

    /// The head of the answer to GET.
    pub(super) fn announced(&self, via: Via, age: Option<Duration>) -> Answer {
        let mut answer = self.whole(via, ResponseBody::Announced(self.size));
        put_age(answer.headers_mut(), age);
        answer.headers_mut().insert(ACCEPT_RANGES, BYTES);
        answer
    }

    /// 200.
    pub(super) fn whole(&self, via: Via, body: ResponseBody) -> Answer {
        let mut answer = self.answer(StatusCode::OK, via, body);
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, self.content_type.clone());
        if let Some(size) = self.size {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
        }
        answer
    }

    /// 200 from a copy, or 206 with these bytes of it. `continues`: the client has the medium's own headers already, and is
    /// not told them again (RFC 9110, section 15.3.7).
    pub(super) fn copy(
        &self,
        reader: MediumReader,
        via: Via,
        part: Option<&Range<u64>>,
        continues: bool,
    ) -> Answer {
        // What was fetched for this very request has no age (RFC 9111, section 5.1).
        let age = matches!(via, Via::Hit | Via::Joined).then(|| reader.age());
        let size = reader.size();
        let ended = reader.ended();
        let mut answer = self.whole(via, ResponseBody::Medium(reader));
        // The chunks that a client does not take are lent by the copy.
        answer.extensions_mut().insert(BreakOff::when(async {
            ended.await;
        }));
        let headers = answer.headers_mut();
        headers.insert(ACCEPT_RANGES, BYTES);
        put_age(headers, age);
        let Some(&Range { start, end }) = part else {
            return answer;
        };
        headers.insert(CONTENT_LENGTH, HeaderValue::from(end - start));
        if let Ok(range) = HeaderValue::from_str(&format!("bytes {start}-{}/{size}", end - 1)) {
            headers.insert(CONTENT_RANGE, range);
        }
        if continues {
            headers.remove(CONTENT_TYPE);
        }
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        answer
    }

    /// What every answer says.
    fn answer(&self, status: StatusCode, via: Via, body: ResponseBody) -> Answer {
        let mut answer = Answer::new(body);
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, NO_STORE);
        headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        headers.insert(CONTENT_SECURITY_POLICY, SANDBOX);
        headers.insert(CURFEW_CACHE, via.value());
        if let Some(etag) = self.etag().and_then(|etag| HeaderValue::from_str(etag).ok()) {
            headers.insert(ETAG, etag);
        }
        answer
    }
}

fn put_age(headers: &mut HeaderMap, age: Option<Duration>) {
    if let Some(age) = age {
        headers.insert(AGE, HeaderValue::from(age.as_secs()));
    }
}
