//! What of Meta's answers a caller gets: the whole body, and those headers that mean something to it.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::books::{CURFEW_MEDIA_EXPIRES, CURFEW_OBSERVED};
use crate::body::ResponseBody;
use crate::call::Answer;
use crate::error::GatewayError;
use crate::record::Record;
use crate::upstream::{CollectError, MetaAnswer, collect};

/// Reads an answer whole. An encoded one cannot be rewritten, and none was asked for.
pub(super) async fn whole(
    answer: MetaAnswer,
    most: usize,
) -> Result<(http::response::Parts, Bytes), GatewayError> {
    let (parts, body) = answer.into_parts();
    if parts.headers.contains_key(CONTENT_ENCODING) {
        return Err(GatewayError::UnusableAnswer(
            "it is encoded, and was not asked to be",
        ));
    }
    let body = collect(body, most).await.map_err(|error| match error {
        CollectError::TooLarge => GatewayError::UnusableAnswer("it is too large"),
        CollectError::Broken(_) | CollectError::NoRoom => GatewayError::ExchangeBroken,
    })?;
    Ok((parts, body))
}

/// The answer, as far as it concerns the caller.
pub(super) fn passed(parts: http::response::Parts, body: Bytes) -> Answer {
    response(parts.status, parts.headers, ResponseBody::whole(body))
}

/// An answer with those of Meta's headers that mean something to a caller.
///
/// By allow-list: what leads elsewhere (`Location`, `Alt-Svc`), belongs to Meta's own connection, or sets state at the
/// caller (`Set-Cookie`, `Strict-Transport-Security`) stays behind, and so does what Meta may invent tomorrow.
fn response(status: StatusCode, from: HeaderMap, body: ResponseBody) -> Answer {
    let mut answer = Answer::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    for (name, value) in from {
        // `None` stands for one more value of the name before: one is enough of any of these.
        if let Some(name) = name.filter(is_passed_on) {
            headers.insert(name, value);
        }
    }
    answer
}

/// Says that policy would have refused: from the record, since an upload is judged to its end only while it goes out.
pub(super) fn tell_observed(answer: &mut Answer, record: &Record) {
    if let Some(slug) = record.observed_slug() {
        answer
            .headers_mut()
            .insert(CURFEW_OBSERVED, HeaderValue::from_static(slug));
    }
}

fn is_passed_on(name: &HeaderName) -> bool {
    if [
        CONTENT_TYPE,
        header::CACHE_CONTROL,
        header::DATE,
        header::EXPIRES,
        header::LAST_MODIFIED,
        header::PRAGMA,
        header::RETRY_AFTER,
        header::WWW_AUTHENTICATE,
        CONTENT_ENCODING,
        CURFEW_MEDIA_EXPIRES,
    ]
    .contains(name)
    {
        return true;
    }
    let name = name.as_str();
    name.starts_with("x-fb-")
        || name == "facebook-api-version"
        || name == "x-app-usage"
        || name == "x-business-use-case-usage"
}
