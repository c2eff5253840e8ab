//! Why the gateway answers instead of Meta: one type, two audiences.
//!
//! Callers see Graph's own error shape, so that their client code keeps working; the log gets the source. One
//! `match` picks status and code, without a catch-all, so that a new variant must choose.

use std::time::Duration;

use bytes::Bytes;
use curfew_policies::{PhoneNumberId, Reason, Subject};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use thiserror::Error;

use crate::graph::classify::ClassifyError;
use crate::graph::digest::MalformedDigest;
use crate::graph::file_offset::NoFileOffset;
use crate::graph::idempotency_key::MalformedKey;
use crate::graph::json::JsonError;
use crate::graph::message::MessageError;
use crate::graph::multipart::MultipartError;
use crate::guard::Refusal;
use crate::server::FrontDoorRefusal;
use crate::stores::StoreError;
use crate::stores::limits::{Limit, Limited, Place};

/// Says that the gateway refused, and by which rule.
pub const CURFEW_REASON: HeaderName = HeaderName::from_static("curfew-reason");

/// Everything that can stop a request.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// The front door: more than one meaning, or none.
    #[error("{}", .0.details())]
    FrontDoor(FrontDoorRefusal),
    /// The caller showed no credential, or none that is known.
    #[error(
        "no caller is known by this credential; send Authorization: Bearer <the key that the policy knows>"
    )]
    UnknownCaller,
    /// No known operation.
    #[error(transparent)]
    Classify(#[from] ClassifyError),
    /// A body where none belongs.
    #[error("this call takes no body; leave it out")]
    UnexpectedBody,
    /// Another `Content-Type` than the call's one encoding.
    #[error("this call takes {expected}; came {came}")]
    ContentType {
        /// The one encoding.
        expected: &'static str,
        /// What came, shortened.
        came: String,
    },
    /// A `file_offset` that is none, or more than one.
    #[error("the header file_offset {NoFileOffset}, and come once")]
    FileOffset,
    /// A JSON body larger than `limits.json_bytes`.
    #[error("the JSON body is larger than {0} bytes, `limits.json_bytes` of the gateway")]
    JsonTooLarge(usize),
    /// JSON bodies under way fill the memory that is set aside for them.
    #[error("the gateway reads as many JSON bodies as it has memory for; try again")]
    Busy,
    /// The body broke off, or its framing did.
    #[error("the request's body broke off before its end")]
    BodyBroken,
    /// A JSON body that can be read in more than one way, or in none.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A `Repr-Digest` that cannot be read.
    #[error(transparent)]
    Digest(#[from] MalformedDigest),
    /// A send's body that does not make sense.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A body names a control parameter of Graph at its top level, or a member of storage where no call has one.
    #[error("the body's member {0:?} would change what the call is; send one call, plainly")]
    ControlMember(String),
    /// An upload's form that can be read in more than one way, or in none.
    #[error(transparent)]
    Form(#[from] MultipartError),
    /// Policy refused.
    #[error("{}", denial(.reason, *.number))]
    Denied {
        /// Why.
        reason: Reason,
        /// The number that the call is about, for reasons that do not name it themselves.
        number: Option<PhoneNumberId>,
    },
    /// A URL of the gateway's that is forged, too old, or of a medium that is gone.
    #[error("this media URL is not valid, or no longer; read the media's metadata again for a fresh one")]
    MediaUrlInvalid,
    /// The media host has no such bytes, even under a fresh URL.
    #[error("Meta no longer has this media")]
    MediaGone,
    /// `Range` names no byte of the medium (RFC 9110, section 15.5.17).
    #[error("the range begins behind the medium's end; it has {size} bytes")]
    RangeNotSatisfiable {
        /// The medium's size, in bytes.
        size: u64,
    },
    /// `If-Match` names none of the medium's tags (RFC 9110, section 13.1.1).
    #[error("If-Match names another entity tag than the medium has; leave it out, or read the medium anew")]
    PreconditionFailed,
    /// A store could not answer.
    #[error("the gateway's store cannot answer, so nothing can be promised of this call; try again")]
    StoreUnavailable,
    /// No byte of the request reached Meta.
    #[error("Meta cannot be reached; nothing was sent")]
    Unreachable,
    /// A fact that policy needs could not be learnt from Meta.
    #[error("Meta could not be asked about {0}; nothing was sent")]
    Unanswered(&'static str),
    /// A send's bytes left, and no whole answer came that says what became of it.
    #[error(
        "the send may or may not have reached the recipient: its bytes left, and Meta gave no whole answer; do not send again blindly"
    )]
    OutcomeUnknown,
    /// Another exchange with Meta broke off.
    #[error("the exchange with Meta broke off")]
    ExchangeBroken,
    /// Meta's answer cannot be used.
    #[error("Meta's answer cannot be used: {0}")]
    UnusableAnswer(&'static str),
    /// An `Idempotency-Key` that is none, or more than one.
    #[error("the header Idempotency-Key {0}, and come once")]
    IdempotencyKey(#[from] MalformedKey),
    /// Another send had the same `Idempotency-Key`.
    #[error("this Idempotency-Key was sent with another body or path; take a new key for a new message")]
    OtherBody,
    /// The same send is under way.
    #[error("the same send is under way, and its outcome is not known yet; ask again with the same key")]
    StillRunning,
    /// No outcome can be kept, so nothing is sent that asks for it.
    #[error("the gateway has no room to keep the outcome of one more send; nothing was sent")]
    OutcomesFull {
        /// After how many seconds there may be; at least 1.
        retry_after: u32,
    },
    /// A send above what its number, its recipient or its portfolio may have now, or that Meta has stopped.
    #[error("phone number {number}: {}; nothing was sent, and nothing was counted", limit(.limited))]
    Limited {
        /// What limits it, and until when.
        limited: Limited,
        /// The number.
        number: PhoneNumberId,
    },
    /// Meta does not answer, or too much is under way: refused before anything was sent.
    #[error(transparent)]
    Shed(#[from] Refusal),
}

/// What a refusal looks like on the wire.
struct Wire {
    status: StatusCode,
    code: u32,
    subcode: Option<u32>,
    retry_after: Option<u32>,
    title: &'static str,
}

const fn wire(status: StatusCode, code: u32, title: &'static str) -> Wire {
    Wire {
        status,
        code,
        subcode: None,
        retry_after: None,
        title,
    }
}

impl Wire {
    const fn subcode(mut self, subcode: u32) -> Self {
        self.subcode = Some(subcode);
        self
    }

    const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

const INVALID_PARAMETER: &str = "Invalid parameter";
const ACCESS_DENIED: &str = "Access denied";
const VALUE_NOT_VALID: &str = "Parameter value is not valid";
const MISSING_OBJECT: &str = "Object does not exist, or is not this number's";
const UNAVAILABLE: &str = "Service unavailable";
const UNKNOWN: &str = "Something went wrong";
const MEDIA_UPLOAD: &str = "Media upload error";

/// After how many seconds a blind retry may find things better.
const SOON: u32 = 5;

impl GatewayError {
    /// The slugs of its own; those of what it wraps are in [`slugs`].
    pub const SLUGS: [&'static str; 32] = [
        "unknown_caller",
        "unknown_operation",
        "query_not_allowed",
        "body_not_taken",
        "content_type",
        "file_offset",
        "digest_malformed",
        "json_too_large",
        "busy",
        "body_broken",
        "control_member",
        "media_url_invalid",
        "media_gone",
        "range_not_satisfiable",
        "precondition_failed",
        "store_unavailable",
        "upstream_unreachable",
        "upstream_unanswered",
        "outcome_unknown",
        "upstream_broke_off",
        "unusable_answer",
        "idempotency_key",
        "idempotency_other_body",
        "idempotency_running",
        "idempotency_full",
        "limited_throughput",
        "limited_pair",
        "limited_unique_recipients",
        "limited_closed",
        "limited_unknown_number",
        "circuit_open",
        "overloaded",
    ];

    /// A refusal by policy of a call about `subject`.
    #[must_use]
    pub const fn denied(reason: Reason, subject: Subject) -> Self {
        let number = match subject {
            Subject::Number(number) => Some(number),
            Subject::Media { .. } | Subject::Account(_) | Subject::Other => None,
        };
        Self::Denied { reason, number }
    }

    /// Status, Meta's code where one means the same, and whether a retry makes sense.
    fn wire(&self) -> Wire {
        match self {
            Self::FrontDoor(refusal) => wire(refusal.status(), 100, INVALID_PARAMETER),
            Self::UnknownCaller => wire(StatusCode::UNAUTHORIZED, 190, "Invalid access token"),
            Self::Classify(ClassifyError::Unknown { .. }) => {
                wire(StatusCode::FORBIDDEN, 131_005, ACCESS_DENIED)
            }
            Self::Classify(ClassifyError::Query(_) | ClassifyError::PhoneNumberId(_))
            | Self::UnexpectedBody
            | Self::ContentType { .. }
            | Self::FileOffset
            | Self::Digest(_)
            | Self::Json(_)
            | Self::Message(_)
            | Self::ControlMember(_)
            | Self::IdempotencyKey(_)
            | Self::BodyBroken => wire(StatusCode::BAD_REQUEST, 100, INVALID_PARAMETER),
            Self::JsonTooLarge(_) => wire(StatusCode::PAYLOAD_TOO_LARGE, 100, INVALID_PARAMETER),
            Self::Form(error) if error.is_about_ttl() => {
                wire(StatusCode::BAD_REQUEST, 131_009, VALUE_NOT_VALID)
            }
            Self::Form(error) if error.is_about_size() => {
                wire(StatusCode::BAD_REQUEST, 131_053, MEDIA_UPLOAD)
            }
            Self::Form(_) => wire(StatusCode::BAD_REQUEST, 100, INVALID_PARAMETER),
            Self::Denied { reason, .. } => denied(reason),
            Self::MediaUrlInvalid | Self::MediaGone => {
                wire(StatusCode::NOT_FOUND, 100, MISSING_OBJECT).subcode(33)
            }
            Self::RangeNotSatisfiable { .. } => {
                wire(StatusCode::RANGE_NOT_SATISFIABLE, 100, INVALID_PARAMETER)
            }
            Self::PreconditionFailed => wire(StatusCode::PRECONDITION_FAILED, 100, INVALID_PARAMETER),
            Self::Busy | Self::StoreUnavailable | Self::Unreachable | Self::Unanswered(_) => {
                wire(StatusCode::SERVICE_UNAVAILABLE, 131_016, UNAVAILABLE).retry_after(SOON)
            }
            Self::OutcomesFull { retry_after } => {
                wire(StatusCode::SERVICE_UNAVAILABLE, 131_016, UNAVAILABLE).retry_after(*retry_after)
            }
            Self::OtherBody => wire(StatusCode::UNPROCESSABLE_ENTITY, 100, INVALID_PARAMETER),
            Self::StillRunning => wire(StatusCode::CONFLICT, 100, INVALID_PARAMETER).retry_after(1),
            Self::Shed(refusal) => {
                let after = match refusal {
                    Refusal::Open { retry_after, .. } => *retry_after,
                    Refusal::Full(_) => 1,
                };
                wire(StatusCode::SERVICE_UNAVAILABLE, 131_016, UNAVAILABLE).retry_after(after)
            }
            Self::OutcomeUnknown => wire(StatusCode::CONFLICT, 131_000, UNKNOWN),
            Self::Limited { limited, .. } => limited_wire(limited),
            Self::ExchangeBroken | Self::UnusableAnswer(_) => wire(StatusCode::BAD_GATEWAY, 131_000, UNKNOWN),
        }
    }

    /// The value of `Curfew-Reason`: stable, documented, few.
    #[must_use]
    pub fn slug(&self) -> &'static str {
        match self {
            Self::FrontDoor(refusal) => refusal.slug(),
            Self::UnknownCaller => "unknown_caller",
            Self::Classify(ClassifyError::Unknown { .. }) => "unknown_operation",
            Self::Classify(ClassifyError::Query(_) | ClassifyError::PhoneNumberId(_)) => "query_not_allowed",
            Self::UnexpectedBody => "body_not_taken",
            Self::ContentType { .. } => "content_type",
            Self::FileOffset => "file_offset",
            Self::Digest(_) => "digest_malformed",
            Self::JsonTooLarge(_) => "json_too_large",
            Self::Busy => "busy",
            Self::BodyBroken => "body_broken",
            Self::Json(error) => error.slug(),
            Self::Message(error) => error.slug(),
            Self::ControlMember(_) => "control_member",
            Self::Form(error) => error.slug(),
            Self::Denied { reason, .. } => reason.slug(),
            Self::MediaUrlInvalid => "media_url_invalid",
            Self::MediaGone => "media_gone",
            Self::RangeNotSatisfiable { .. } => "range_not_satisfiable",
            Self::PreconditionFailed => "precondition_failed",
            Self::StoreUnavailable => "store_unavailable",
            Self::Unreachable => "upstream_unreachable",
            Self::Unanswered(_) => "upstream_unanswered",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::ExchangeBroken => "upstream_broke_off",
            Self::UnusableAnswer(_) => "unusable_answer",
            Self::IdempotencyKey(_) => "idempotency_key",
            Self::OtherBody => "idempotency_other_body",
            Self::StillRunning => "idempotency_running",
            Self::OutcomesFull { .. } => "idempotency_full",
            Self::Limited { limited, .. } => match limited.which {
                Limit::Throughput => "limited_throughput",
                Limit::Pair => "limited_pair",
                Limit::UniqueRecipients => "limited_unique_recipients",
                Limit::Closed { .. } => "limited_closed",
                Limit::UnknownNumber => "limited_unknown_number",
            },
            Self::Shed(Refusal::Open { .. }) => "circuit_open",
            Self::Shed(Refusal::Full(_)) => "overloaded",
        }
    }

    /// Whether it says for certain that no byte of the request reached Meta, of what can come of a send that was permitted.
    #[must_use]
    pub const fn is_unsent(&self) -> bool {
        matches!(
            self,
            Self::Unreachable | Self::Busy | Self::StoreUnavailable | Self::Shed(_)
        )
    }

    /// The answer for the caller, in Graph's error shape (Cloud API, "Error codes").
    #[must_use]
    pub fn to_response(&self) -> Response<Bytes> {
        let Wire {
            status,
            code,
            subcode,
            retry_after,
            title,
        } = self.wire();
        let mut error = serde_json::json!({
            "message": format!("(#{code}) {title}"),
            "type": "CurfewPolicyException",
            "code": code,
            "error_data": { "messaging_product": "whatsapp", "details": self.to_string() },
            "fbtrace_id": trace_id(),
        });
        if let (Some(subcode), Some(error)) = (subcode, error.as_object_mut()) {
            error.insert("error_subcode".to_owned(), subcode.into());
        }
        let body = serde_json::json!({ "error": error }).to_string();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=UTF-8"),
        );
        // A 404 may be kept by whatever stands between, unless it says otherwise (RFC 9111, section 4.2.2).
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        headers.insert(CURFEW_REASON, HeaderValue::from_static(self.slug()));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, POST, DELETE, HEAD"));
        }
        if let Self::RangeNotSatisfiable { size } = self
            && let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}"))
        {
            headers.insert(CONTENT_RANGE, value);
        }
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Every value that `Curfew-Reason` can have: of the front door, of the gateway, of bodies that have no single
/// meaning (JSON, sends, upload forms), and of the policy's rules. Lower-case words joined by `_`, each for one reason.
pub fn slugs() -> impl Iterator<Item = &'static str> {
    FrontDoorRefusal::ALL
        .into_iter()
        .map(FrontDoorRefusal::slug)
        .chain(GatewayError::SLUGS)
        .chain(JsonError::SLUGS)
        .chain(MessageError::SLUGS)
        .chain(MultipartError::SLUGS)
        .chain(Reason::SLUGS)
}

/// A reason in words, with the number that it is about.
fn denial(reason: &Reason, number: Option<PhoneNumberId>) -> String {
    let names_it = matches!(
        reason,
        Reason::NumberNotInPolicy(_)
            | Reason::NumberNotAllowed(_)
            | Reason::MediaNotUsable { .. }
            | Reason::MediaOfOtherNumber { .. }
    );
    match number.filter(|_| !names_it) {
        Some(number) => format!("phone number {number}: {reason}"),
        None => reason.to_string(),
    }
}

/// The table of refusals, rule by rule. 429 and 5xx are only for what a blind retry may cure: several SDKs retry those.
const fn denied(reason: &Reason) -> Wire {
    match reason {
        Reason::NumberNotInPolicy(_)
        | Reason::AccountNotInPolicy(_)
        | Reason::NumberNotAllowed(_)
        | Reason::NothingAllowed
        | Reason::OperationNotAllowed { .. }
        | Reason::ForbiddenByMode { .. }
        | Reason::WebhookRedirect
        | Reason::LinkNotAllowed { .. }
        | Reason::UnknownMessageType { .. }
        | Reason::UnknownMember { .. }
        | Reason::UndocumentedReference { .. }
        | Reason::SettingsContradictPolicy { .. }
        | Reason::RegistrationContradictsPolicy { .. }
        | Reason::DeregisterNotAllowed { .. } => wire(StatusCode::FORBIDDEN, 131_005, ACCESS_DENIED),
        Reason::TtlNotWhole { .. } | Reason::TtlOutOfBounds { .. } | Reason::TtlWithoutNoStorage { .. } => {
            wire(StatusCode::BAD_REQUEST, 131_009, VALUE_NOT_VALID)
        }
        Reason::MediaNotUsable { .. } | Reason::MediaOfOtherNumber { .. } | Reason::MediaEnded { .. } => {
            wire(StatusCode::BAD_REQUEST, 100, MISSING_OBJECT).subcode(33)
        }
        Reason::IdAndLink { .. } => wire(StatusCode::BAD_REQUEST, 100, INVALID_PARAMETER),
        Reason::RegistrationLockout { .. } => wire(
            StatusCode::BAD_REQUEST,
            133_016,
            "Account register or deregister rate limit",
        ),
        Reason::SettingsDiffer { .. } | Reason::SettingsUnverified => {
            wire(StatusCode::SERVICE_UNAVAILABLE, 131_005, ACCESS_DENIED).retry_after(SOON)
        }
        Reason::MediaTypeNotTaken { .. }
        | Reason::MediaTypesDisagree { .. }
        | Reason::FileTooLarge { .. } => wire(StatusCode::BAD_REQUEST, 131_053, MEDIA_UPLOAD),
    }
}

/// What limits a send, in words, and when to come back.
fn limit(limited: &Limited) -> String {
    let mut text = match limited.which {
        Limit::Throughput => {
            "as many messages as its throughput allows are under way or wait, `sends.per_second` of its policy".to_owned()
        }
        Limit::Pair => "this recipient gets no more for now, `sends.pair` of its policy".to_owned(),
        Limit::UniqueRecipients => {
            "its portfolio may message no further recipient outside a service window within 24 hours, \
             `unique_recipients_24h` of its policy"
                .to_owned()
        }
        Limit::Closed { place, code } => {
            let what = match place {
                Place::Number(_) => "Meta has stopped its sends",
                Place::Account(_) => "Meta has stopped the sends of its account",
                Place::App(_) => "Meta has stopped the sends of the app whose token is used",
            };
            format!("{what} (code {code})")
        }
        Limit::UnknownNumber => "it is not in the policy any more".to_owned(),
    };
    text.push_str(&match (limited.retry_after, limited.which) {
        (Some(wait), _) => format!("; try again after {} s", retry_after_seconds(wait)),
        (None, Limit::UnknownNumber) => String::new(),
        (None, _) => "; it goes on when an operator has opened it".to_owned(),
    });
    text
}

/// Meta's own codes, so that what callers do about them already is done. A retry is called for only where it passes by itself.
fn limited_wire(limited: &Limited) -> Wire {
    const RATE: &str = "Rate limit hit";
    const PAIR: &str = "(Business Account, Consumer Account) pair rate limit hit";
    let (status, code, title) = match limited.which {
        Limit::Throughput | Limit::UniqueRecipients => (StatusCode::TOO_MANY_REQUESTS, 130_429, RATE),
        Limit::Pair => (StatusCode::TOO_MANY_REQUESTS, 131_056, PAIR),
        // As Meta would say it again. Where a header alone said so there is no code.
        Limit::Closed { code, .. } => match (limited.retry_after, u32::try_from(code)) {
            (Some(_), Ok(code @ (4 | 17 | 341 | 613 | 80_007 | 80_008))) => {
                (StatusCode::TOO_MANY_REQUESTS, code, RATE)
            }
            (Some(_), _) => (StatusCode::TOO_MANY_REQUESTS, 130_429, RATE),
            (None, Ok(code @ 1..)) => (StatusCode::FORBIDDEN, code, ACCESS_DENIED),
            (None, _) => (StatusCode::FORBIDDEN, 131_005, ACCESS_DENIED),
        },
        Limit::UnknownNumber => (StatusCode::SERVICE_UNAVAILABLE, 131_016, UNAVAILABLE),
    };
    let wire = wire(status, code, title);
    match (limited.retry_after, limited.which) {
        (Some(wait), _) => wire.retry_after(retry_after_seconds(wait)),
        (None, Limit::UnknownNumber) => wire.retry_after(SOON),
        (None, _) => wire,
    }
}

/// Whole seconds for `Retry-After`, never less than one: whoever comes back too early is only told again.
fn retry_after_seconds(wait: Duration) -> u32 {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    u32::try_from(seconds.max(1)).unwrap_or(u32::MAX)
}

/// An id for support, in the shape of Meta's. It says nothing; the log line carries the same.
pub(crate) fn trace_id() -> String {
    use base64::Engine as _;
    let mut random = [0; 16];
    // Without randomness the id is all zeros: worse for support, no worse for anybody's safety.
    let _ = aws_lc_rs::rand::fill(&mut random);
    format!(
        "C{}",
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random)
    )
}

impl From<StoreError> for GatewayError {
    /// What the store said is in the log; whatever it was, nothing can be promised without it.
    fn from(_: StoreError) -> Self {
        Self::StoreUnavailable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::path::QueryError;
    use crate::guard::{Host, Whose};

    #[test]
    fn every_slug_of_its_own_is_in_the_list() {
        let unknown = ClassifyError::Unknown {
            method: http::Method::GET,
            path: "/me".to_owned(),
        };
        let own = [
            GatewayError::UnknownCaller,
            GatewayError::Classify(unknown),
            GatewayError::Classify(ClassifyError::Query(QueryError::Encoding)),
            GatewayError::UnexpectedBody,
            GatewayError::ContentType {
                expected: "application/json",
                came: "none".to_owned(),
            },
            GatewayError::FileOffset,
            GatewayError::Digest(MalformedDigest),
            GatewayError::JsonTooLarge(1),
            GatewayError::Busy,
            GatewayError::BodyBroken,
            GatewayError::ControlMember("batch".to_owned()),
            GatewayError::MediaUrlInvalid,
            GatewayError::MediaGone,
            GatewayError::RangeNotSatisfiable { size: 1 },
            GatewayError::PreconditionFailed,
            GatewayError::StoreUnavailable,
            GatewayError::Unreachable,
            GatewayError::Unanswered("a media id"),
            GatewayError::OutcomeUnknown,
            GatewayError::ExchangeBroken,
            GatewayError::UnusableAnswer("a redirect"),
            GatewayError::IdempotencyKey(MalformedKey),
            GatewayError::OtherBody,
            GatewayError::StillRunning,
            GatewayError::OutcomesFull { retry_after: 60 },
        ];
        let number = "1001".parse().unwrap();
        let place = Place::Number(number);
        let limits = [
            Limit::Throughput,
            Limit::Pair,
            Limit::UniqueRecipients,
            Limit::Closed { place, code: 4 },
            Limit::UnknownNumber,
        ];
        let limited = limits.map(|which| GatewayError::Limited {
            limited: Limited {
                which,
                retry_after: None,
            },
            number,
        });
        let shed = [
            Refusal::Open {
                whose: Whose::Host(Host::Graph),
                retry_after: 1,
            },
            Refusal::Full("sends"),
        ]
        .map(GatewayError::Shed);
        let all = own.iter().chain(&limited).chain(&shed);
        let slugs: Vec<_> = all.map(GatewayError::slug).collect();
        assert_eq!(slugs, GatewayError::SLUGS);
    }

    #[test]
    fn what_passes_by_itself_is_to_be_tried_again_and_what_does_not_is_not() {
        let number = "1001".parse().unwrap();
        let place = Place::Number(number);
        let answer = |which, millis: Option<u64>| {
            let limited = Limited {
                which,
                retry_after: millis.map(Duration::from_millis),
            };
            let wire = limited_wire(&limited);
            (wire.status.as_u16(), wire.code, wire.retry_after)
        };
        let closed = |code| Limit::Closed { place, code };
        assert_eq!(answer(Limit::Throughput, Some(1)), (429, 130_429, Some(1)));
        assert_eq!(answer(Limit::Pair, Some(5_001)), (429, 131_056, Some(6)));
        assert_eq!(
            answer(Limit::UniqueRecipients, Some(60_000)),
            (429, 130_429, Some(60))
        );
        assert_eq!(answer(closed(80_007), Some(60_000)), (429, 80_007, Some(60)));
        assert_eq!(answer(closed(131_057), Some(1_000)), (429, 130_429, Some(1)));
        assert_eq!(answer(closed(0), Some(1_000)), (429, 130_429, Some(1)));
        assert_eq!(answer(closed(131_048), None), (403, 131_048, None));
        assert_eq!(answer(Limit::UnknownNumber, None), (503, 131_016, Some(SOON)));
    }
}
