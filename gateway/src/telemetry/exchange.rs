//! One exchange with Meta, as it is told: how long it took and what Meta said of it, nothing of what was exchanged.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use opentelemetry::trace::SpanId;
use serde::Deserialize;

use super::Telemetry;
use crate::clock::Moment;
use crate::record::Record;
use crate::upstream::ExchangeError;

/// Meta's own id of an exchange (Graph API, "Handling Errors": `fbtrace_id` in errors, this header on every answer).
const FB_TRACE: HeaderName = HeaderName::from_static("x-fb-trace-id");
/// The largest answer that is read as an error, in bytes: Meta's have a few hundred.
const MOST_ERROR: usize = 16 * 1024;
/// The longest id of Meta's that is told.
const MOST_FB_TRACE: usize = 64;

/// What was seen of an exchange.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) span_id: SpanId,
    pub(super) what: What,
    pub(super) began: Moment,
    pub(super) ended: Moment,
    /// The answer's; 0 where none came.
    pub(super) status: u16,
    /// How often it was begun anew, before a byte of it was written.
    pub(super) resent: u32,
    /// Why there is no whole answer.
    pub(super) failure: Option<&'static str>,
    /// `error.code` of an error answer.
    pub(super) code: Option<i64>,
    /// `fbtrace_id`: of errors, and of what is kept.
    pub(super) fb_trace: Option<Box<str>>,
}

/// What an exchange is for, and with whom it is.
#[derive(Clone, Debug)]
pub struct What {
    /// The method.
    pub method: Method,
    /// The operation's name: the caller's, or that of the gateway's own question.
    pub operation: &'static str,
    /// Whether it is with the media host, and not with the Graph API.
    pub is_media: bool,
}

impl Seen {
    /// Whether Meta refused it, or did not answer it.
    pub(super) const fn has_failed(&self) -> bool {
        self.status >= 400 || self.failure.is_some() || self.code.is_some()
    }
}

/// An exchange under way. Dropped, it is over, and is told: in the metrics, and with the request that it belongs to.
#[derive(Debug)]
pub struct ExchangeNote {
    record: Arc<Record>,
    telemetry: Telemetry,
    seen: Seen,
    /// What came of an answer that may be an error.
    error: Option<BytesMut>,
    has_begun_to_come: bool,
}

impl ExchangeNote {
    pub(super) fn new(telemetry: Telemetry, record: Arc<Record>, span_id: SpanId, what: What) -> Self {
        let now = telemetry.now();
        Self {
            record,
            telemetry,
            seen: Seen {
                span_id,
                what,
                began: now,
                ended: now,
                status: 0,
                resent: 0,
                // Until something else is known, whoever waited for it is gone.
                failure: Some("abandoned"),
                code: None,
                fb_trace: None,
            },
            error: None,
            has_begun_to_come: false,
        }
    }

    /// What Meta is to be told of the trace, if it is to be told.
    #[must_use]
    pub fn header(&self) -> Option<HeaderValue> {
        if !self.telemetry.propagates() {
            return None;
        }
        self.record.trace()?.header(self.seen.span_id)
    }

    /// The answer's head came, after the request was begun anew `resent` times.
    pub fn answered(&mut self, status: StatusCode, headers: &HeaderMap, resent: u32) {
        self.seen.status = status.as_u16();
        self.seen.resent = resent;
        self.seen.failure = None;
        let is_error = !status.is_success();
        if is_error {
            self.error = Some(BytesMut::new());
        }
        if is_error || self.record.trace().is_some_and(|trace| trace.is_sampled) {
            let id = headers.get(FB_TRACE).and_then(|id| id.to_str().ok());
            self.seen.fb_trace = id.and_then(fb_trace);
        }
    }

    /// Some of the answer's body came.
    pub fn passed(&mut self, bytes: &Bytes) {
        // Errors also come as 200 (Cloud API, "Error codes"); they begin in one way only.
        if !std::mem::replace(&mut self.has_begun_to_come, true) && bytes.starts_with(b"{\"error\"") {
            self.error.get_or_insert_default();
        }
        if let Some(error) = &mut self.error {
            let room = MOST_ERROR.saturating_sub(error.len());
            error.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
    }

    /// The answer's body broke off.
    pub fn broken(&mut self) {
        self.seen.failure = Some("broken");
    }

    /// There is no answer.
    pub fn failed(&mut self, error: &ExchangeError) {
        self.seen.failure = Some(match error {
            ExchangeError::Unsent(_) | ExchangeError::Refused(_) | ExchangeError::NotBuilt => "unsent",
            ExchangeError::Broken(_) => "broken",
        });
    }

    fn read_error(&mut self) {
        #[derive(Deserialize)]
        struct Answer {
            error: Fields,
        }
        #[derive(Deserialize)]
        struct Fields {
            code: i64,
            #[serde(default)]
            fbtrace_id: Option<String>,
        }
        let Some(body) = self.error.take() else { return };
        if let Ok(Answer { error }) = serde_json::from_slice(&body) {
            self.seen.code = Some(error.code);
            if self.seen.fb_trace.is_none() {
                self.seen.fb_trace = error.fbtrace_id.as_deref().and_then(fb_trace);
            }
        }
    }
}

impl Drop for ExchangeNote {
    fn drop(&mut self) {
        self.read_error();
        self.seen.ended = self.telemetry.now();
        self.telemetry.metrics().exchange(&self.seen);
        let Some(trace) = self.record.trace() else { return };
        let seen = Seen {
            fb_trace: self.seen.fb_trace.take(),
            ..self.seen.clone()
        };
        if let Some(late) = trace.note(seen) {
            self.telemetry.write_late(trace, &late);
        }
    }
}

/// An id of Meta's, if it is one: nothing else that a server could put there is told.
fn fb_trace(text: &str) -> Option<Box<str>> {
    let is_id = (1..=MOST_FB_TRACE).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'/' | b'='));
    is_id.then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::fb_trace;

    #[test]
    fn only_an_id_of_metas_is_told() {
        for id in ["AbC123_-x", "A/b+c=="] {
            assert_eq!(fb_trace(id).as_deref(), Some(id));
        }
        let long = "a".repeat(65);
        for other in ["", "to +15550100001", "a b", "ü", &long] {
            assert_eq!(fb_trace(other), None, "{other}");
        }
    }
}
