//! `Repr-Digest`: what a caller says that the body of its request hashes to (RFC 9530).
//!
//! Requests that the front door takes have no content coding and no ranges, so the representation is the body's bytes as
//! they come, boundaries and all.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderName};
use thiserror::Error;

/// The header.
pub const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// The key of the one algorithm that is read. RFC 9530, section 5, has it as a standard one, with `sha-512`.
const SHA_256: &str = "sha-256";

/// Byte sequences may come without padding, and their last bits may be anything (RFC 9651, section 4.2.7).
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A SHA-256 digest. It tells who knows the content that it is of it, so `Debug` does not show it.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha256(…)")
    }
}

/// Takes the digest of content as it goes by.
#[derive(Clone)]
pub struct Hasher(digest::Context);

impl Hasher {
    /// Nothing has gone by.
    #[must_use]
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// More content.
    pub fn update(&mut self, content: &[u8]) {
        self.0.update(content);
    }

    /// The digest of all that has gone by.
    #[must_use]
    pub fn finish(self) -> Sha256 {
        let mut bytes = [0; 32];
        // A SHA-256 digest has as many.
        for (to, from) in bytes.iter_mut().zip(self.0.finish().as_ref()) {
            *to = *from;
        }
        Sha256(bytes)
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

/// A `Repr-Digest` that cannot be read.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error(
    "Repr-Digest must be as RFC 9530 has it, sha-256=:<the 32 bytes in base64>:, with one sha-256 at most; it cannot be read"
)]
pub struct MalformedDigest;

/// The SHA-256 digest that a request announces; `None` if it announces none. Other algorithms are passed over.
///
/// # Errors
///
/// When the header is no dictionary of structured fields (RFC 9651, section 3.2), or `sha-256` is not 32 bytes or comes
/// twice: whoever announces a digest wants the body checked, so what cannot be checked is not taken.
pub fn announced_digest(headers: &HeaderMap) -> Result<Option<Sha256>, MalformedDigest> {
    let mut announced = None;
    for line in headers.get_all(REPR_DIGEST) {
        let line = line.to_str().map_err(|_| MalformedDigest)?;
        for member in members(line) {
            let member = member?.trim_matches([' ', '\t']);
            let (key, value) = member.split_once('=').unwrap_or((member, ""));
            if !is_key(key.split_once(';').map_or(key, |(key, _)| key)) {
                return Err(MalformedDigest);
            }
            if key == SHA_256 && announced.replace(read(value)?).is_some() {
                return Err(MalformedDigest);
            }
        }
    }
    Ok(announced)
}

/// The members of a dictionary, split where a comma is not part of a string.
fn members(line: &str) -> impl Iterator<Item = Result<&str, MalformedDigest>> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut in_string, mut escaped) = (false, false);
        for (index, byte) in text.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                b',' if !in_string => {
                    rest = text.get(index + 1..);
                    return text.get(..index).map(Ok);
                }
                _ => {}
            }
        }
        rest = None;
        Some(if in_string { Err(MalformedDigest) } else { Ok(text) })
    })
}

/// A key of a dictionary (RFC 9651, section 3.1.2).
fn is_key(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_lowercase() || first == b'*')
        && bytes.all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.' | b'*')
        })
}

/// A byte sequence of 32 bytes, without parameters: RFC 9530 defines none.
fn read(value: &str) -> Result<Sha256, MalformedDigest> {
    let encoded = value
        .strip_prefix(':')
        .and_then(|value| value.strip_suffix(':'))
        .ok_or(MalformedDigest)?;
    let bytes = BASE64.decode(encoded).map_err(|_| MalformedDigest)?;
    bytes.try_into().map(Sha256).map_err(|_| MalformedDigest)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// The example of RFC 9530, appendix B.1: the digest of `{"hello": "world"}` and a line feed.
    const HELLO: &str = "RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=";

    fn announced(lines: &[&str]) -> Result<Option<Sha256>, MalformedDigest> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(REPR_DIGEST, HeaderValue::from_str(line).unwrap());
        }
        announced_digest(&headers)
    }

    #[test]
    fn the_example_of_the_rfc_is_read() {
        let body = b"{\"hello\": \"world\"}\n";
        let mut hasher = Hasher::new();
        body.chunks(5).for_each(|piece| hasher.update(piece));
        let expected = hasher.finish();
        let line = format!("sha-256=:{HELLO}:");
        assert_eq!(announced(&[&line]), Ok(Some(expected)));
        let unpadded = line.replace("=:", ":").replacen("sha-256:", "sha-256=:", 1);
        assert_eq!(announced(&[&unpadded]), Ok(Some(expected)));
        assert_eq!(format!("{expected:?}"), "Sha256(…)");
    }

    #[test]
    fn other_algorithms_are_passed_over() {
        let hello = format!("sha-256=:{HELLO}:");
        for line in [
            format!("sha-512=:AAAA:, {hello}"),
            format!("{hello},\tunixsum=30637"),
            format!("note=\"a, sha-256=:AAAA: \\\" b\", {hello}"),
            format!("list=(1 \"a,b\" 3);q=\",\" , {hello}"),
            format!("flag, other;a=b, {hello}"),
        ] {
            assert!(matches!(announced(&[&line]), Ok(Some(_))), "{line}");
        }
        assert!(matches!(announced(&["sha-512=:AAAA:", &hello]), Ok(Some(_))));
        for none in [&[][..], &["sha-512=:AAAA:"], &["sha=:AAAA:", "md5=:AAAA:"]] {
            assert_eq!(announced(none), Ok(None), "{none:?}");
        }
    }

    #[test]
    fn what_cannot_be_checked_is_not_taken() {
        let hello = format!("sha-256=:{HELLO}:");
        let twice = format!("{hello}, {hello}");
        let upper_case = hello.replace("sha", "SHA");
        let with_parameter = format!("{hello};a=1");
        for line in [
            "sha-256",
            "sha-256=",
            "sha-256=::",
            "sha-256=:AAAA:",
            "sha-256=:!:",
            "sha-256=\"AAAA\"",
            HELLO,
            "sha-256=:AAAA",
            "",
            ",",
            "sha-512=:AAAA:,",
            "sha-512=\"",
            &upper_case,
            &twice,
            &with_parameter,
            &hello.replace(":R", ": R"),
            &hello.replace("=:", "= :"),
        ] {
            assert_eq!(announced(&[line]), Err(MalformedDigest), "{line:?}");
        }
        assert_eq!(announced(&[&hello, &hello]), Err(MalformedDigest));
    }

    proptest! {
        #[test]
        fn any_digest_is_read_as_it_was_written(bytes: [u8; 32], others in 0usize..3) {
            let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
            let line = format!("{}sha-256=:{encoded}:", "sha-512=:AAAA:, ".repeat(others));
            prop_assert_eq!(announced(&[&line]), Ok(Some(Sha256(bytes))));
        }

        #[test]
        fn no_header_breaks_the_reader(line in "[ -~\t]{0,60}") {
            let _ = announced(&[&line]);
        }
    }
}
