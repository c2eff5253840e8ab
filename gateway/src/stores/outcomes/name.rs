//! What a send is known again by, and what seals its outcome.
//!
//! All of it follows by HKDF-SHA256 from who asks, the key that the caller gave, and what is sent, under a secret of the
//! store's own. None of that is kept: whoever holds the store alone can neither tell what was sent nor read what came of it;
//! whoever asks again with the same key and body brings what opens it. A key that can be guessed protects as little as that, so
//! keys should be random.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, hkdf, rand};
use bytes::Bytes;
use curfew_policies::PhoneNumberId;
use http::{HeaderValue, StatusCode};

use super::super::CryptoUnavailable;
use crate::guard::CallerKey;

/// Sets names of one store apart from those of all others.
pub(in crate::stores) struct Secret(hkdf::Salt);

impl Secret {
    /// The length of its bytes.
    pub(in crate::stores) const BYTES: usize = 32;

    pub(in crate::stores) fn of(bytes: &[u8; Self::BYTES]) -> Self {
        Self(hkdf::Salt::new(hkdf::HKDF_SHA256, bytes))
    }

    /// Bytes for a new one.
    pub(in crate::stores) fn draw() -> Result<[u8; Self::BYTES], CryptoUnavailable> {
        let mut bytes = [0; Self::BYTES];
        rand::fill(&mut bytes).map_err(|_| CryptoUnavailable)?;
        Ok(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Who asks.
#[derive(Clone, Copy)]
pub enum Asker<'a> {
    /// The policy's caller of this name.
    Known(&'a str),
    /// Whoever has this token.
    Token(&'a [u8]),
}

/// What a send is to be known again by, beside who asks.
#[derive(Clone, Copy)]
pub struct Sending<'a> {
    /// The number that sends, if the call names one.
    pub number: Option<PhoneNumberId>,
    /// The caller's key for it; without one, the send stands for itself.
    pub key: Option<&'a [u8]>,
    /// Path and query of the call.
    pub target: &'a str,
    /// Its body, byte for byte.
    pub body: &'a [u8],
}

/// Of the room for outcomes, a part that one of all who ask may fill.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Who has it.
    pub caller: CallerKey,
    /// How much it is, in percent.
    pub percent: u8,
}

/// Under what an outcome is kept.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(in crate::stores) struct OutcomeId(pub(in crate::stores) [u8; 32]);

/// Stands for what was sent, without saying it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::stores) struct Fingerprint(pub(in crate::stores) [u8; 32]);

/// What a send is known again by.
pub struct Name {
    pub(in crate::stores) id: OutcomeId,
    pub(in crate::stores) fingerprint: Fingerprint,
    pub(in crate::stores) share: Option<Share>,
    seal: [u8; 32],
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Name(…)")
    }
}

/// Changes when what is sealed changes its form.
const VERSION: u8 = 1;
const NONCE_BYTES: usize = 12;

/// The answer that a caller had.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FirstAnswer {
    /// Its status.
    pub status: StatusCode,
    /// Its `Content-Type`, of at most 255 bytes.
    pub content_type: Option<HeaderValue>,
    /// Its body.
    pub body: Bytes,
}

impl Name {
    /// The name of this asker's `send` in the store with this secret.
    pub(super) fn of(
        secret: &Secret,
        asker: Asker<'_>,
        send: &Sending<'_>,
    ) -> Result<Self, CryptoUnavailable> {
        let mut content = digest::Context::new(&digest::SHA256);
        content.update(&length(send.target.as_bytes()));
        content.update(send.target.as_bytes());
        content.update(send.body);
        let content = content.finish();
        let (kind, asker) = match asker {
            Asker::Known(name) => (1, name.as_bytes()),
            Asker::Token(token) => (2, token),
        };
        let (key_kind, key) = send.key.map_or((1, content.as_ref()), |key| (2, key));
        let mut scope = vec![kind, key_kind];
        scope.extend(send.number.map_or(0, PhoneNumberId::get).to_be_bytes());
        // The length of the first says where the second begins: no two scopes are the same bytes.
        scope.extend(length(asker));
        scope.extend(asker);
        scope.extend(key);
        let scope = secret.0.extract(&scope);
        let derived = |purpose: &[u8], content: &[u8]| {
            let mut key = [0; 32];
            let info = [purpose, content];
            let derived = scope.expand(&info, hkdf::HKDF_SHA256);
            derived
                .and_then(|derived| derived.fill(&mut key))
                .map_err(|_| CryptoUnavailable)?;
            Ok(key)
        };
        Ok(Self {
            id: OutcomeId(derived(b"id", b"")?),
            fingerprint: Fingerprint(derived(b"fingerprint", content.as_ref())?),
            share: None,
            seal: derived(b"outcome", content.as_ref())?,
        })
    }

    /// The same, whose outcome takes of this share of the room, where the room is this process's memory.
    #[must_use]
    pub const fn within(mut self, share: Share) -> Self {
        self.share = Some(share);
        self
    }

    /// Seals an answer: only the same request opens it again.
    ///
    /// # Errors
    ///
    /// When the cryptographic library refuses, or has no random bytes.
    pub fn seal(&self, answer: &FirstAnswer) -> Result<Box<[u8]>, CryptoUnavailable> {
        let content_type = answer
            .content_type
            .as_ref()
            .map_or(&b""[..], HeaderValue::as_bytes);
        let content_type_bytes = u8::try_from(content_type.len()).map_err(|_| CryptoUnavailable)?;
        let mut text = Vec::with_capacity(answer.body.len() + content_type.len() + 64);
        text.push(VERSION);
        text.extend(answer.status.as_u16().to_be_bytes());
        text.push(content_type_bytes);
        text.extend(content_type);
        text.extend_from_slice(&answer.body);
        let nonce = self
            .key()?
            .seal_in_place_append_tag(Aad::from(&self.id.0), &mut text)
            .map_err(|_| CryptoUnavailable)?;
        text.extend(nonce.as_ref());
        Ok(text.into())
    }

    /// Opens what [`Self::seal`] has sealed; `None` if another name did, or it was changed since.
    #[must_use]
    pub fn open(&self, sealed: &[u8]) -> Option<FirstAnswer> {
        let (text, nonce) = sealed.split_last_chunk::<NONCE_BYTES>()?;
        let mut text = text.to_vec();
        let key = self.key().ok()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let text = key.open_in_place(nonce, Aad::from(&self.id.0), &mut text).ok()?;
        let (head, rest) = text.split_first_chunk::<4>()?;
        let [VERSION, high, low, content_type_bytes] = *head else {
            return None;
        };
        let (content_type, body) = rest.split_at_checked(content_type_bytes.into())?;
        let content_type = match content_type {
            [] => None,
            value => Some(HeaderValue::from_bytes(value).ok()?),
        };
        Some(FirstAnswer {
            status: StatusCode::from_u16(u16::from_be_bytes([high, low])).ok()?,
            content_type,
            body: Bytes::copy_from_slice(body),
        })
    }

    fn key(&self) -> Result<RandomizedNonceKey, CryptoUnavailable> {
        RandomizedNonceKey::new(&AES_256_GCM, &self.seal).map_err(|_| CryptoUnavailable)
    }
}

fn length(bytes: &[u8]) -> [u8; 8] {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKER: Asker<'_> = Asker::Known("billing");

    fn send() -> Sending<'static> {
        Sending {
            number: Some("1001".parse().unwrap()),
            key: Some(b"key"),
            target: "/v23.0/1001/messages",
            body: b"{}",
        }
    }

    fn of(asker: Asker<'_>, send: &Sending<'_>) -> Name {
        Name::of(&Secret::of(&[7; 32]), asker, send).unwrap()
    }

    fn name(send: &Sending<'_>) -> Name {
        of(ASKER, send)
    }

    #[test]
    fn whatever_differs_makes_another_name_and_only_what_is_sent_another_fingerprint() {
        let given = send();
        let same = name(&given);
        let number = Some("1002".parse().unwrap());
        let others = [
            (
                ASKER,
                Sending {
                    number: None,
                    ..given
                },
            ),
            (Asker::Known("billin"), given),
            (Asker::Token(b"billing"), given),
            (ASKER, Sending { number, ..given }),
            (
                ASKER,
                Sending {
                    key: Some(b"kez"),
                    ..given
                },
            ),
            (ASKER, Sending { key: None, ..given }),
            // The same letters, parted elsewhere.
            (
                Asker::Known("billingk"),
                Sending {
                    key: Some(b"ey"),
                    ..given
                },
            ),
        ];
        let mut ids = vec![same.id];
        for (asker, other) in &others {
            let id = of(*asker, other).id;
            assert!(!ids.contains(&id));
            ids.push(id);
        }
        for other in [
            Sending {
                body: b"{ }",
                ..given
            },
            Sending {
                target: "/v22.0/1001/messages",
                ..given
            },
        ] {
            let other = name(&other);
            assert_eq!(other.id, same.id);
            assert_ne!(other.fingerprint, same.fingerprint);
            assert_ne!(other.seal, same.seal);
        }
        assert_eq!(name(&given).fingerprint, same.fingerprint);
        let elsewhere = Name::of(&Secret::of(&[8; 32]), ASKER, &given).unwrap();
        assert_ne!((elsewhere.id, elsewhere.fingerprint), (same.id, same.fingerprint));
    }

    #[test]
    fn without_a_key_a_send_stands_for_itself() {
        let given = Sending { key: None, ..send() };
        let other = Sending {
            body: b"{ }",
            ..given
        };
        assert_eq!(name(&given).id, name(&given).id);
        assert_ne!(name(&given).id, name(&other).id);
    }

    #[test]
    fn what_was_sealed_opens_for_the_same_request_and_no_other() {
        let given = send();
        for (content_type, body) in [
            (
                Some(HeaderValue::from_static("application/json; charset=UTF-8")),
                &b"{\"contacts\":[]}"[..],
            ),
            (None, b""),
        ] {
            let answer = FirstAnswer {
                status: StatusCode::BAD_REQUEST,
                content_type,
                body: Bytes::from_static(body),
            };
            let sealed = name(&given).seal(&answer).unwrap();
            assert!(body.is_empty() || memchr::memmem::find(&sealed, body).is_none());
            assert_ne!(
                name(&given).seal(&answer).unwrap(),
                sealed,
                "a nonce is used once"
            );
            assert_eq!(name(&given).open(&sealed), Some(answer));
            for other in [
                Sending {
                    body: b"{ }",
                    ..given
                },
                Sending {
                    key: Some(b"kez"),
                    ..given
                },
            ] {
                assert_eq!(name(&other).open(&sealed), None);
            }
            for at in 0..sealed.len() {
                let mut changed = sealed.clone();
                changed[at] ^= 1;
                assert_eq!(name(&given).open(&changed), None, "{at}");
            }
            assert_eq!(name(&given).open(&sealed[1..]), None);
        }
        assert_eq!(name(&given).open(b"short"), None);
    }
}
