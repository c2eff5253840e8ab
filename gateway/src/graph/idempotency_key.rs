//! By what a caller knows a send again: the header `Idempotency-Key` (IETF draft "The Idempotency-Key HTTP Header Field").
//!
//! Meta has no such header (Cloud API documents none), so it is the gateway's own, and goes no further.

use std::fmt;

use http::{HeaderMap, HeaderName};
use thiserror::Error;

/// The request header.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A caller's name for one send.
///
/// Bounds: 1 to 255 visible ASCII characters. The quotes that the draft puts around a key are part of it: what comes the same
/// way is the same key. It may say something of the recipient, so it is neither shown nor kept.
#[derive(Clone, Eq, PartialEq)]
pub struct IdempotencyKey(Box<[u8]>);

impl IdempotencyKey {
    /// Most bytes that it may have.
    const MOST_BYTES: usize = 255;

    /// The key that a request brings, if it brings one.
    ///
    /// # Errors
    ///
    /// When there are two, or the one is no key.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, MalformedKey> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let value = match (values.next(), values.next()) {
            (None, _) => return Ok(None),
            (Some(value), None) => value.as_bytes(),
            (Some(_), Some(_)) => return Err(MalformedKey),
        };
        let is_key = (1..=Self::MOST_BYTES).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
        // In memory of its own: a value of the request keeps the whole head alive.
        is_key.then(|| Some(Self(value.into()))).ok_or(MalformedKey)
    }

    /// The key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey(…)")
    }
}

/// The header is there, and names no [`IdempotencyKey`].
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error(
    "must have 1 to {} visible ASCII characters, without blanks",
    IdempotencyKey::MOST_BYTES
)]
pub struct MalformedKey;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(values: &[&[u8]]) -> Result<Option<IdempotencyKey>, MalformedKey> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap());
        }
        IdempotencyKey::of(&headers)
    }

    #[test]
    fn a_key_is_visible_and_has_bounds() {
        assert_eq!(of(&[]), Ok(None));
        for key in [
            &b"k"[..],
            &[b'~'; 255],
            b"\"8e03978e-40d5-43dd-bc93-6894a57f9324\"",
            b"a,b;c=!",
        ] {
            assert_eq!(of(&[key]).unwrap().unwrap().as_bytes(), key);
        }
        for key in [
            &b""[..],
            &[b'k'; 256],
            b"two words",
            b"a\tb",
            "naïve".as_bytes(),
            b"\xff",
        ] {
            assert_eq!(of(&[key]), Err(MalformedKey), "{key:?}");
        }
        assert_eq!(of(&[b"one", b"one"]), Err(MalformedKey));
    }

    #[test]
    fn a_key_is_never_shown() {
        let key = of(&[b"order-of-alice"]).unwrap();
        assert!(!format!("{key:?}").contains("alice"));
    }
}
