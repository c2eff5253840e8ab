//! Hands a webhook on to the company's receiver.

use std::fmt::Write as _;

use aws_lc_rs::hmac;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use tower::Service as _;

use super::{SIGNATURE, SIGNATURE_PREFIX};
use crate::body::Outbound;
use crate::layers::graph_token::OUR_USER_AGENT;
use crate::upstream::{Upstream, collect};

/// How much of the receiver's answer is read, so that the connection can be used again. Nobody sees it.
const ANSWER_BYTES: usize = 64 * 1024;

/// The receiver, and how deliveries to it are signed.
pub struct Receiver {
    client: Upstream,
    uri: Uri,
    key: Option<hmac::Key>,
}

/// Why a webhook was not delivered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Undelivered {
    /// No byte of it left.
    Unreachable,
    /// The exchange broke off.
    Broken,
    /// The receiver answered with something else than success. A redirect is no success: content goes nowhere else.
    Refused,
    /// It had to be changed, and there is no key to sign it with.
    Unsigned,
}

impl Undelivered {
    pub(super) const fn slug(self) -> &'static str {
        match self {
            Self::Unreachable => "receiver_unreachable",
            Self::Broken => "receiver_broke_off",
            Self::Refused => "receiver_refused",
            Self::Unsigned => "delivery_unsigned",
        }
    }

    /// Whatever it is, Meta tries again.
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Unreachable | Self::Unsigned => StatusCode::SERVICE_UNAVAILABLE,
            Self::Broken | Self::Refused => StatusCode::BAD_GATEWAY,
        }
    }
}

impl Receiver {
    /// The receiver at `uri`, by way of `client`. With `key`, every delivery is signed with it.
    #[must_use]
    pub const fn new(client: Upstream, uri: Uri, key: Option<hmac::Key>) -> Self {
        Self { client, uri, key }
    }

    /// Delivers `body`, which `signature` of Meta's is right for, if there is one.
    pub(super) async fn deliver(
        &self,
        body: Bytes,
        signature: Option<HeaderValue>,
    ) -> Result<(), Undelivered> {
        let signature = match &self.key {
            Some(key) => Some(sign(key, &body)),
            None => signature,
        };
        let signature = signature.ok_or(Undelivered::Unsigned)?;
        let mut request = Request::new(Outbound::json(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, OUR_USER_AGENT);
        headers.insert(SIGNATURE, signature);
        let answer = self.client.clone().call(request).await.map_err(|error| {
            if error.is_unsent() {
                Undelivered::Unreachable
            } else {
                Undelivered::Broken
            }
        })?;
        let (parts, body) = answer.into_parts();
        // Whether it ends well does not matter any more.
        let _ = collect(body, ANSWER_BYTES).await;
        if parts.status.is_success() {
            Ok(())
        } else {
            Err(Undelivered::Refused)
        }
    }
}

/// `X-Hub-Signature-256` of a body.
fn sign(key: &hmac::Key, body: &[u8]) -> HeaderValue {
    let mut text = String::with_capacity(SIGNATURE_PREFIX.len() + 64);
    text.push_str(SIGNATURE_PREFIX);
    for byte in hmac::sign(key, body).as_ref() {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    // Hexadecimal digits make a header value.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(SIGNATURE_PREFIX))
}
