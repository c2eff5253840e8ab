//! The gateway's own marker in `biz_opaque_callback_data`, by which a status webhook tells which send it is about.
//!
//! Meta gives `biz_opaque_callback_data` back in every status of a message (Cloud API, "Status messages"), so a send whose
//! answer was lost can still be settled. The caller's own value is kept behind the marker, and whoever receives the
//! webhooks gets it back as it was. A marker holds nothing of the message, and is signed: nobody else can make one, and a
//! value of a caller's that only looks like one stays theirs.

use std::borrow::Cow;

use aws_lc_rs::{constant_time, hkdf, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use curfew_policies::PhoneNumberId;

use super::answer::splice;
use super::json::{Members, names_parameter};
use crate::stores::CryptoUnavailable;

/// The member of a send, and of a status.
pub(super) const OPAQUE: &str = "biz_opaque_callback_data";
/// What a marked value begins with.
const PREFIX: &str = "cf1.";
/// The longest value that Meta takes (Cloud API, "Changelog": 512 characters). It is not said what counts as a
/// character; counted as bytes, what fits here fits however it is counted.
const MOST: usize = 512;
const NAME_BYTES: usize = 16;
const TAG_BYTES: usize = 8;
/// A name and its tag, in base64url.
const TOKEN: usize = (NAME_BYTES + TAG_BYTES) / 3 * 4;

/// The random name of one send.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Marker(pub [u8; NAME_BYTES]);

impl Marker {
    /// A new one.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub fn random() -> Result<Self, CryptoUnavailable> {
        let mut name = [0; NAME_BYTES];
        rand::fill(&mut name).map_err(|_| CryptoUnavailable)?;
        Ok(Self(name))
    }
}

/// What markers are signed with. Instances that share the secret know each other's.
#[derive(Clone)]
pub struct MarkerKey(hmac::Key);

impl std::fmt::Debug for MarkerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MarkerKey")
    }
}

/// A marked value, taken apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Marked {
    pub(super) marker: Marker,
    /// How many bytes of the written value, quotation mark included, are before the caller's own; `None` where the caller
    /// had none.
    pub(super) own_from: Option<usize>,
}

impl MarkerKey {
    /// The key that follows from `secret`, the Meta app's, by HKDF-SHA256.
    ///
    /// # Errors
    ///
    /// When the cryptographic library refuses, which its documentation gives no reason for with keys of this length.
    pub fn derived_from(secret: &[u8]) -> Result<Self, CryptoUnavailable> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"curfew");
        let secret = salt.extract(secret);
        let key = secret.expand(&[b"marker"], hmac::HMAC_SHA256);
        key.map(|key| Self(key.into())).map_err(|_| CryptoUnavailable)
    }

    /// The body of a send of `number` with `marker` in it, every other byte as it was.
    ///
    /// `None` where there is no room for it: the caller's value leaves none, is no string, or its key is written in a way
    /// that Meta may read otherwise than we do. The send then goes as it is.
    #[must_use]
    pub fn stamped(&self, number: PhoneNumberId, marker: &Marker, body: &[u8]) -> Option<Bytes> {
        let members = Members::of(std::str::from_utf8(body).ok()?)?;
        let mut own = members
            .iter()
            .filter(|member| names_parameter(&member.key, &[OPAQUE]));
        let (at, text) = match (own.next(), own.next()) {
            (None, _) => {
                let (at, comma_follows) = members.front()?;
                let comma = if comma_follows { "," } else { "" };
                (
                    at,
                    format!("\"{OPAQUE}\":\"{PREFIX}{}\"{comma}", self.token(number, marker)),
                )
            }
            (Some(own), None) if &*own.key == OPAQUE => {
                let value: Cow<'_, str> = serde_json::from_str(own.value.get()).ok()?;
                if PREFIX.len() + TOKEN + 1 + value.len() > MOST {
                    return None;
                }
                // Behind the quotation mark.
                (
                    own.span.start + 1,
                    format!("{PREFIX}{}.", self.token(number, marker)),
                )
            }
            _ => return None,
        };
        Some(splice(body, &mut [((at, at), text)]))
    }

    /// Takes a value apart as a webhook has it, quotation marks included; `None` if it is not marked by this key for this
    /// number.
    pub(super) fn read(&self, number: PhoneNumberId, written: &str) -> Option<Marked> {
        let token_from = 1 + PREFIX.len();
        let token_to = token_from + TOKEN;
        let inside = written.strip_prefix('"')?.strip_suffix('"')?;
        let rest = inside.strip_prefix(PREFIX)?.get(TOKEN..)?;
        let own_from = match rest.as_bytes().first() {
            None => None,
            Some(b'.') => Some(token_to + 1),
            Some(_) => return None,
        };
        let mut bytes = [0; NAME_BYTES + TAG_BYTES];
        let token = written.get(token_from..token_to)?;
        let length = URL_SAFE_NO_PAD.decode_slice(token, &mut bytes).ok()?;
        let (name, tag) = bytes.get(..length)?.split_first_chunk()?;
        let marker = Marker(*name);
        constant_time::verify_slices_are_equal(tag, &self.tag(number, &marker)).ok()?;
        Some(Marked { marker, own_from })
    }

    fn token(&self, number: PhoneNumberId, marker: &Marker) -> String {
        let mut bytes = [0; NAME_BYTES + TAG_BYTES];
        let signed = marker.0.into_iter().chain(self.tag(number, marker));
        for (to, from) in bytes.iter_mut().zip(signed) {
            *to = from;
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The first 64 bits of HMAC-SHA256: enough against whoever can try only by sending.
    fn tag(&self, number: PhoneNumberId, marker: &Marker) -> [u8; TAG_BYTES] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&number.get().to_be_bytes());
        context.update(&marker.0);
        let mac = context.sign();
        mac.as_ref().first_chunk().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
