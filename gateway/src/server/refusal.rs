//! Every reason for which the front door turns a request away.
//!
//! A refusal is a value, so that the same list serves the HTTP/1 wrapper, the HTTP/2 checks, the answer that a
//! caller reads, metrics and the audit record. This module does not build answers: the stack does that, once,
//! for all refusals of the gateway.

use std::error::Error;
use std::fmt;
use std::io;

use http::StatusCode;

/// Why a request was refused before any layer looked at what it asks for.
///
/// Each variant has a stable [`slug`](Self::slug) and one HTTP status among 400, 405, 408, 413, 414, 415, 417
/// and 431.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum FrontDoorRefusal {
    /// The first line is not an HTTP/1 request line at all.
    NotHttp,
    /// The request line is not method, one space, target, one space, version.
    RequestLine,
    /// The version is neither HTTP/1.1 nor HTTP/1.0.
    HttpVersion,
    /// The method is none of GET, POST, DELETE and HEAD.
    Method,
    /// The target is longer than [`TARGET_BYTES`](super::TARGET_BYTES).
    TargetTooLong,
    /// The target is an absolute URL, an authority or `*`.
    TargetForm,
    /// The target holds a byte that has no place in it unescaped.
    TargetByte,
    /// The path holds a percent escape other than that of `upload:`.
    PathEscape,
    /// A `%` in the query is not followed by two hexadecimal digits.
    QueryEscape,
    /// A path segment is `.` or `..`.
    DotSegment,
    /// The path holds `//`.
    EmptySegment,
    /// The path holds `;`.
    PathParameter,
    /// A line of the head ends in something other than CR LF.
    LineEnd,
    /// The head holds a control byte.
    ControlByte,
    /// The head is larger than the limit.
    HeadTooLarge,
    /// The head has more fields than the limit.
    TooManyHeaders,
    /// A header is continued on the next line.
    FoldedHeader,
    /// A header line has no colon, or its name is not a token.
    HeaderName,
    /// The head was not complete in time.
    HeaderTimeout,
    /// Both `Content-Length` and `Transfer-Encoding` were sent.
    LengthWithEncoding,
    /// `Content-Length` is repeated or not a plain decimal number.
    ContentLength,
    /// `Transfer-Encoding` is other than `chunked`, once.
    TransferEncoding,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// A GET or HEAD came with a body.
    UnexpectedBody,
    /// An HTTP/1.0 request that has, or may have, a body.
    Http10Body,
    /// The chunked framing of the body is broken.
    BadChunk,
    /// The body made no progress for too long.
    BodyTimeout,
    /// No `Host` (HTTP/2: no `:authority`).
    HostMissing,
    /// More than one `Host`.
    HostRepeated,
    /// `Host` is not a host name or address with an optional port.
    HostInvalid,
    /// HTTP/2: `host` and `:authority` differ.
    HostMismatch,
    /// `Expect` is other than `100-continue`, once.
    Expect,
    /// `Content-Encoding` was sent.
    ContentEncoding,
    /// A change of protocol was asked for.
    Upgrade,
}

impl FrontDoorRefusal {
    /// All refusals, for documentation and for tests of completeness.
    pub const ALL: [Self; 34] = [
        Self::NotHttp,
        Self::RequestLine,
        Self::HttpVersion,
        Self::Method,
        Self::TargetTooLong,
        Self::TargetForm,
        Self::TargetByte,
        Self::PathEscape,
        Self::QueryEscape,
        Self::DotSegment,
        Self::EmptySegment,
        Self::PathParameter,
        Self::LineEnd,
        Self::ControlByte,
        Self::HeadTooLarge,
        Self::TooManyHeaders,
        Self::FoldedHeader,
        Self::HeaderName,
        Self::HeaderTimeout,
        Self::LengthWithEncoding,
        Self::ContentLength,
        Self::TransferEncoding,
        Self::BodyTooLarge,
        Self::UnexpectedBody,
        Self::Http10Body,
        Self::BadChunk,
        Self::BodyTimeout,
        Self::HostMissing,
        Self::HostRepeated,
        Self::HostInvalid,
        Self::HostMismatch,
        Self::Expect,
        Self::ContentEncoding,
        Self::Upgrade,
    ];

    /// The stable name of the reason: lower-case words joined by `_`.
    pub const fn slug(self) -> &'static str {
        self.row().0
    }

    /// The status of the answer.
    pub const fn status(self) -> StatusCode {
        self.row().1
    }

    /// What was wrong, where, and what would be right: text for the developer of the calling service.
    pub const fn details(self) -> &'static str {
        self.row().2
    }

    /// The refusal with this slug.
    pub fn from_slug(slug: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.slug() == slug)
    }

    /// The refusal that ended a request body, if one did: looks through the whole chain of sources, because
    /// hyper wraps what the connection reported.
    pub fn of_error(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(refusal) = error.downcast_ref::<Self>() {
                return Some(*refusal);
            }
            // `io::Error::source` skips the error that it was made from.
            if let Some(made_from) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref)
                && let Some(refusal) = made_from.downcast_ref::<Self>()
            {
                return Some(*refusal);
            }
            next = error.source();
        }
        None
    }

    /// Whether it is uncertain where this request ends. What follows on the connection then has no meaning.
    pub(super) const fn doubts_framing(self) -> bool {
        match self {
            Self::NotHttp
            | Self::RequestLine
            | Self::HttpVersion
            | Self::LineEnd
            | Self::ControlByte
            | Self::FoldedHeader
            | Self::HeaderName
            | Self::HeaderTimeout
            | Self::LengthWithEncoding
            | Self::ContentLength
            | Self::TransferEncoding
            | Self::Http10Body
            | Self::BadChunk => true,
            Self::Method
            | Self::TargetTooLong
            | Self::TargetForm
            | Self::TargetByte
            | Self::PathEscape
            | Self::QueryEscape
            | Self::DotSegment
            | Self::EmptySegment
            | Self::PathParameter
            | Self::HeadTooLarge
            | Self::TooManyHeaders
            | Self::BodyTooLarge
            | Self::UnexpectedBody
            | Self::BodyTimeout
            | Self::HostMissing
            | Self::HostRepeated
            | Self::HostInvalid
            | Self::HostMismatch
            | Self::Expect
            | Self::ContentEncoding
            | Self::Upgrade => false,
        }
    }

    const fn row(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::NotHttp => (
                "not_http",
                S::BAD_REQUEST,
                "The first line is not an HTTP/1 request line, such as `GET /v24.0/1 HTTP/1.1`.",
            ),
            Self::RequestLine => (
                "request_line",
                S::BAD_REQUEST,
                "The request line must be a method, one space, a target, one space and the version.",
            ),
            Self::HttpVersion => (
                "http_version",
                S::BAD_REQUEST,
                "The version in the request line must be HTTP/1.1 or HTTP/1.0; HTTP/2 begins with its own preface.",
            ),
            Self::Method => (
                "method",
                S::METHOD_NOT_ALLOWED,
                "The method must be GET, POST, DELETE or HEAD, in capitals.",
            ),
            Self::TargetTooLong => (
                "target_too_long",
                S::URI_TOO_LONG,
                "Path and query together may be 2048 bytes long.",
            ),
            Self::TargetForm => (
                "target_form",
                S::BAD_REQUEST,
                "The target must be a path that begins with `/`, not an absolute URL, an authority or `*`.",
            ),
            Self::TargetByte => (
                "target_byte",
                S::BAD_REQUEST,
                "Path or query hold a byte that must not stand there: a control byte, a space, a quote, `\\`, `<`, `>`, \
                 `#`, a byte beyond ASCII, or in the path one of `[]{}|^` or a backtick. In the query, \
                 percent-encode it.",
            ),
            Self::PathEscape => (
                "path_escape",
                S::BAD_REQUEST,
                "The path must not hold percent escapes; only the colon of `upload:` may be written as %3A.",
            ),
            Self::QueryEscape => (
                "query_escape",
                S::BAD_REQUEST,
                "Each `%` in the query must be followed by two hexadecimal digits.",
            ),
            Self::DotSegment => (
                "dot_segment",
                S::BAD_REQUEST,
                "The path must not hold `.` or `..` as a segment; send it resolved.",
            ),
            Self::EmptySegment => (
                "empty_segment",
                S::BAD_REQUEST,
                "The path must not hold `//`; check how the base URL is joined.",
            ),
            Self::PathParameter => ("path_parameter", S::BAD_REQUEST, "The path must not hold `;`."),
            Self::LineEnd => (
                "line_end",
                S::BAD_REQUEST,
                "Every line of the head must end in CR LF, and neither may stand alone.",
            ),
            Self::ControlByte => (
                "control_byte",
                S::BAD_REQUEST,
                "The head must not hold control bytes other than tab, CR and LF.",
            ),
            Self::HeadTooLarge => (
                "head_too_large",
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "Request line and headers together are larger than `limits.head_bytes` of the gateway.",
            ),
            Self::TooManyHeaders => (
                "too_many_headers",
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "The request has more header lines than `limits.headers` of the gateway.",
            ),
            Self::FoldedHeader => (
                "folded_header",
                S::BAD_REQUEST,
                "A header line begins with a space or tab; a header must be written on one line.",
            ),
            Self::HeaderName => (
                "header_name",
                S::BAD_REQUEST,
                "A header line must be a name of token characters, a colon directly after it, and a value.",
            ),
            Self::HeaderTimeout => (
                "header_timeout",
                S::REQUEST_TIMEOUT,
                "The request line and headers were not complete within `limits.header_timeout_s` of the gateway.",
            ),
            Self::LengthWithEncoding => (
                "length_with_encoding",
                S::BAD_REQUEST,
                "The request has both Content-Length and Transfer-Encoding; send one of them.",
            ),
            Self::ContentLength => (
                "content_length",
                S::BAD_REQUEST,
                "Content-Length must be sent once, as plain decimal digits without sign, list or leading zero.",
            ),
            Self::TransferEncoding => (
                "transfer_encoding",
                S::BAD_REQUEST,
                "Transfer-Encoding must be `chunked`, once, and nothing else.",
            ),
            Self::BodyTooLarge => (
                "body_too_large",
                S::PAYLOAD_TOO_LARGE,
                "The body is larger than `limits.upload_bytes` of the gateway.",
            ),
            Self::UnexpectedBody => (
                "unexpected_body",
                S::BAD_REQUEST,
                "GET and HEAD must come without a body.",
            ),
            Self::Http10Body => (
                "http10_body",
                S::BAD_REQUEST,
                "A request with a body must be sent as HTTP/1.1; HTTP/1.0 cannot frame it safely.",
            ),
            Self::BadChunk => (
                "bad_chunk",
                S::BAD_REQUEST,
                "The chunked body is malformed: each chunk is its size in hexadecimal, CR LF, that many bytes, CR LF.",
            ),
            Self::BodyTimeout => (
                "body_timeout",
                S::REQUEST_TIMEOUT,
                "The body made no progress within `limits.body_idle_timeout_s` of the gateway.",
            ),
            Self::HostMissing => (
                "host_missing",
                S::BAD_REQUEST,
                "The request must name its host: `Host`, or `:authority` in HTTP/2.",
            ),
            Self::HostRepeated => ("host_repeated", S::BAD_REQUEST, "Host must be sent once."),
            Self::HostInvalid => (
                "host_invalid",
                S::BAD_REQUEST,
                "Host must be a name or an address with an optional port from 1 to 65535, and nothing else.",
            ),
            Self::HostMismatch => (
                "host_mismatch",
                S::BAD_REQUEST,
                "The `host` header must equal `:authority` when both are sent.",
            ),
            Self::Expect => (
                "expect",
                S::EXPECTATION_FAILED,
                "Expect must be `100-continue`, once, or absent.",
            ),
            Self::ContentEncoding => (
                "content_encoding",
                S::UNSUPPORTED_MEDIA_TYPE,
                "The body must be sent as it is, without Content-Encoding.",
            ),
            Self::Upgrade => (
                "upgrade",
                S::BAD_REQUEST,
                "The connection cannot change its protocol; speak HTTP/1.1, or HTTP/2 with prior knowledge or ALPN.",
            ),
        }
    }
}

impl fmt::Display for FrontDoorRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.details())
    }
}

impl Error for FrontDoorRefusal {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_slug_is_one_of_a_kind_and_leads_back() {
        let slugs: HashSet<_> = FrontDoorRefusal::ALL
            .iter()
            .map(|refusal| refusal.slug())
            .collect();
        assert_eq!(slugs.len(), FrontDoorRefusal::ALL.len());
        for refusal in FrontDoorRefusal::ALL {
            assert_eq!(FrontDoorRefusal::from_slug(refusal.slug()), Some(refusal));
            assert!(
                refusal
                    .slug()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            );
        }
        assert_eq!(FrontDoorRefusal::from_slug("unheard_of"), None);
    }

    #[test]
    fn only_the_statuses_of_the_contract_are_used() {
        for refusal in FrontDoorRefusal::ALL {
            assert!(
                [400, 405, 408, 413, 414, 415, 417, 431].contains(&refusal.status().as_u16()),
                "{refusal:?}"
            );
        }
    }

    #[test]
    fn a_refusal_is_found_through_wrapping_errors() {
        #[derive(Debug)]
        struct Wrapped(io::Error);
        impl fmt::Display for Wrapped {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("wrapped")
            }
        }
        impl Error for Wrapped {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        let wrapped = Wrapped(io::Error::new(
            io::ErrorKind::InvalidData,
            FrontDoorRefusal::BadChunk,
        ));
        assert_eq!(
            FrontDoorRefusal::of_error(&wrapped),
            Some(FrontDoorRefusal::BadChunk)
        );
        let other = Wrapped(io::Error::other("something else"));
        assert_eq!(FrontDoorRefusal::of_error(&other), None);
    }
}
