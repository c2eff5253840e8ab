//! Why the gateway answers instead of Meta: one type, two audiences.
//!
//! Callers see Graph's own error shape, so that their client code keeps working; the log gets the source. One
//! `match` picks status and code, without a catch-all, so that a new variant must choose.

use bytes::Bytes;
use curfew_policies::Reason;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use thiserror::Error;

use crate::graph::classify::ClassifyError;
use crate::graph::json::JsonError;
use crate::graph::message::MessageError;
use crate::graph::multipart::MultipartError;
use crate::server::FrontDoorRefusal;

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
    #[error("this call takes no body")]
    UnexpectedBody,
    /// Another `Content-Type` than the call's one encoding.
    #[error("this call takes {expected}; came {came}")]
    ContentType {
        /// The one encoding.
        expected: &'static str,
        /// What came, shortened.
        came: String,
    },
    /// A JSON body larger than `limits.json_bytes`.
    #[error("the body is larger than {0} bytes")]
    BodyTooLarge(usize),
    /// The body stopped coming.
    #[error("the request's body did not come within the time allowed")]
    BodyTimeout,
    /// The body broke off, or its framing did.
    #[error("the request's body broke off before its end")]
    BodyBroken,
    /// A JSON body that can be read in more than one way, or in none.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A send's body that does not make sense.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A body's top level names a control parameter of Graph.
    #[error("the body's member {0:?} would change what the call is; send one call, plainly")]
    ControlMember(String),
    /// An upload's form that can be read in more than one way, or in none.
    #[error(transparent)]
    Form(#[from] MultipartError),
    /// Policy refused.
    #[error("{0}")]
    Denied(Reason),
    /// A URL of the gateway's that is forged, too old, or of a medium that is gone.
    #[error("this media URL is not valid, or no longer; read the media's metadata again for a fresh one")]
    MediaUrlInvalid,
    /// The media host has no such bytes, even under a fresh URL.
    #[error("Meta no longer has this media")]
    MediaGone,
    /// A store could not answer.
    #[error("the gateway's store cannot answer; nothing went to Meta")]
    StoreUnavailable,
    /// No byte of the request reached Meta.
    #[error("Meta cannot be reached; nothing was sent")]
    Unreachable,
    /// A fact that policy needs could not be learnt from Meta.
    #[error("Meta could not be asked about {0}; nothing was sent")]
    Unanswered(&'static str),
    /// A send's bytes left, and no whole answer came.
    #[error(
        "the send may or may not have reached the recipient: the exchange with Meta broke off after it had begun; do not send again blindly"
    )]
    OutcomeUnknown,
    /// Another exchange with Meta broke off.
    #[error("the exchange with Meta broke off")]
    ExchangeBroken,
    /// Meta's answer cannot be used.
    #[error("Meta's answer cannot be used: {0}")]
    UnusableAnswer(&'static str),
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
            | Self::Json(_)
            | Self::Message(_)
            | Self::ControlMember(_)
            | Self::BodyBroken => wire(StatusCode::BAD_REQUEST, 100, INVALID_PARAMETER),
            Self::ContentType { .. } => wire(StatusCode::UNSUPPORTED_MEDIA_TYPE, 100, INVALID_PARAMETER),
            Self::BodyTooLarge(_) => wire(StatusCode::PAYLOAD_TOO_LARGE, 100, INVALID_PARAMETER),
            Self::BodyTimeout => wire(StatusCode::REQUEST_TIMEOUT, 100, INVALID_PARAMETER),
            Self::Form(error) if error.is_about_ttl() => {
                wire(StatusCode::BAD_REQUEST, 131_009, VALUE_NOT_VALID)
            }
            Self::Form(_) => wire(StatusCode::BAD_REQUEST, 100, INVALID_PARAMETER),
            Self::Denied(reason) => denied(reason),
            Self::MediaUrlInvalid | Self::MediaGone => {
                wire(StatusCode::NOT_FOUND, 100, MISSING_OBJECT).subcode(33)
            }
            Self::StoreUnavailable | Self::Unreachable | Self::Unanswered(_) => {
                wire(StatusCode::SERVICE_UNAVAILABLE, 131_016, UNAVAILABLE).retry_after(SOON)
            }
            Self::OutcomeUnknown => wire(StatusCode::CONFLICT, 131_000, UNKNOWN),
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
            Self::UnexpectedBody => "unexpected_body",
            Self::ContentType { .. } => "content_type",
            Self::BodyTooLarge(_) => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::BodyBroken => "body_broken",
            Self::Json(error) => error.slug(),
            Self::Message(error) => error.slug(),
            Self::ControlMember(_) => "control_member",
            Self::Form(error) => error.slug(),
            Self::Denied(reason) => reason.slug(),
            Self::MediaUrlInvalid => "media_url_invalid",
            Self::MediaGone => "media_gone",
            Self::StoreUnavailable => "store_unavailable",
            Self::Unreachable => "upstream_unreachable",
            Self::Unanswered(_) => "upstream_unanswered",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::ExchangeBroken => "upstream_broke_off",
            Self::UnusableAnswer(_) => "unusable_answer",
        }
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
        headers.insert(CURFEW_REASON, HeaderValue::from_static(self.slug()));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, POST, DELETE, HEAD"));
        }
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
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

/// An id for support, in the shape of Meta's. It says nothing; the log line carries the same.
fn trace_id() -> String {
    use base64::Engine as _;
    let mut random = [0; 16];
    // Without randomness the id is all zeros: worse for support, no worse for anybody's safety.
    let _ = aws_lc_rs::rand::fill(&mut random);
    format!(
        "C{}",
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random)
    )
}
