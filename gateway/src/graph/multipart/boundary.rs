//! The boundary that a caller chose, and the one that we choose.

use std::fmt::Write as _;

use bytes::Bytes;
use http::HeaderValue;

use super::error::{MultipartError, quotable};
use super::params;

/// Most characters of a boundary (RFC 2046, section 5.1.1).
const MAX_BOUNDARY_BYTES: usize = 70;

/// The boundary of an inbound form: 1 to 70 characters of the set of RFC 2046, section 5.1.1, no space at its end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Boundary {
    /// `\r\n--` and the boundary: what ends a part's content.
    delimiter: Bytes,
}

impl Boundary {
    /// The line that begins a part, without its line break.
    pub(crate) fn line(&self) -> &[u8] {
        self.delimiter.get(2..).unwrap_or_default()
    }

    /// Takes a boundary as it stands between the quotation marks.
    ///
    /// # Errors
    /// [`MultipartError::BoundaryInvalid`] outside the set or the length.
    pub fn new(boundary: &str) -> Result<Self, MultipartError> {
        let bytes = boundary.as_bytes();
        let fits = (1..=MAX_BOUNDARY_BYTES).contains(&bytes.len());
        if !fits || !bytes.iter().all(|byte| is_boundary_byte(*byte)) || bytes.ends_with(b" ") {
            return Err(MultipartError::BoundaryInvalid);
        }
        Ok(Self {
            delimiter: Bytes::from([b"\r\n--", bytes].concat()),
        })
    }

    /// CRLF, two dashes and the boundary.
    pub(super) fn delimiter(&self) -> &Bytes {
        &self.delimiter
    }
}

/// Reads the boundary from a request's `Content-Type`.
///
/// The media type must be `multipart/form-data`, in any case, with exactly one `boundary`; besides it only
/// `charset=utf-8`, once, is tolerated, because some HTTP libraries add it to whatever they send.
///
/// # Errors
/// One of the first six variants of [`MultipartError`].
pub fn boundary_of(content_type: &HeaderValue) -> Result<Boundary, MultipartError> {
    let (media_type, params) = params::split(content_type.as_bytes());
    if !media_type.eq_ignore_ascii_case(b"multipart/form-data") {
        return Err(MultipartError::NotFormData);
    }
    let (mut boundary, mut charset) = (None, false);
    for param in params {
        let param = param.map_err(|_| MultipartError::ContentTypeMalformed)?;
        if param.is("boundary") {
            if boundary.replace(param.value).is_some() {
                return Err(MultipartError::BoundaryTwice);
            }
        } else if param.is("charset") && param.value.eq_ignore_ascii_case(b"utf-8") && !charset {
            charset = true;
        } else {
            return Err(MultipartError::ContentTypeParameter {
                name: quotable(param.name),
            });
        }
    }
    let boundary = boundary.ok_or(MultipartError::BoundaryMissing)?;
    Boundary::new(std::str::from_utf8(boundary).map_err(|_| MultipartError::BoundaryInvalid)?)
}

fn is_boundary_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte)
}

/// The system's random source gave nothing; no form can be written then.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the system's random source failed")]
pub struct RandomnessUnavailable;

/// The boundary of a form that we write: `curfew` and 128 random bits in hex.
///
/// The caller's content goes out between our boundaries, so nobody may be able to foretell one.
#[derive(Debug)]
pub struct WireBoundary {
    text: String,
}

impl WireBoundary {
    /// Draws a new one.
    ///
    /// # Errors
    /// [`RandomnessUnavailable`] if the system has no random bytes.
    pub fn random() -> Result<Self, RandomnessUnavailable> {
        let mut bits = [0_u8; 16];
        aws_lc_rs::rand::fill(&mut bits).map_err(|_| RandomnessUnavailable)?;
        let mut text = String::with_capacity(38);
        text.push_str("curfew");
        for byte in bits {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self { text })
    }

    /// The `Content-Type` of the request that carries the form.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        clippy::expect_used,
        reason = "the text is ASCII letters, digits and dashes"
    )]
    pub fn content_type(&self) -> HeaderValue {
        HeaderValue::try_from(format!("multipart/form-data; boundary={}", self.text))
            .expect("ASCII without controls")
    }

    /// The boundary without dashes.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content_type: &str) -> Result<Boundary, MultipartError> {
        boundary_of(&HeaderValue::from_bytes(content_type.as_bytes()).unwrap())
    }

    #[test]
    fn a_boundary_is_read_in_both_spellings() {
        let abc = Boundary::new("a.b-C").unwrap();
        for content_type in [
            "multipart/form-data; boundary=a.b-C",
            "multipart/form-data;boundary=\"a.b-C\"",
            "Multipart/Form-Data ; Boundary=a.b-C ; charset=UTF-8",
            "multipart/form-data; charset=\"utf-8\"; boundary=a.b-C",
        ] {
            assert_eq!(read(content_type), Ok(abc.clone()), "{content_type}");
        }
        let odd = "0'()+_,-./:=? 9";
        assert_eq!(
            read(&format!("multipart/form-data; boundary=\"{odd}\"")),
            Boundary::new(odd)
        );
        assert_eq!(abc.delimiter().as_ref(), b"\r\n--a.b-C");
    }

    #[test]
    fn another_media_type_is_refused() {
        for content_type in [
            "application/json",
            "multipart/mixed; boundary=a",
            "multipart/form-data-x; boundary=a",
            "",
        ] {
            assert_eq!(
                read(content_type),
                Err(MultipartError::NotFormData),
                "{content_type}"
            );
        }
    }

    #[test]
    fn exactly_one_boundary_is_needed() {
        assert_eq!(read("multipart/form-data"), Err(MultipartError::BoundaryMissing));
        assert_eq!(
            read("multipart/form-data; boundary=a; boundary=a"),
            Err(MultipartError::BoundaryTwice)
        );
        assert_eq!(
            read("multipart/form-data; boundary=a; BOUNDARY=\"b\""),
            Err(MultipartError::BoundaryTwice)
        );
    }

    #[test]
    fn a_boundary_keeps_to_the_set_and_length() {
        assert!(Boundary::new(&"x".repeat(70)).is_ok());
        for boundary in [
            "",
            " ",
            "a ",
            "a\"b",
            "a\\b",
            "a\tb",
            "a*b",
            "a;b",
            "\u{fc}",
            &"x".repeat(71),
        ] {
            assert_eq!(
                Boundary::new(boundary),
                Err(MultipartError::BoundaryInvalid),
                "{boundary}"
            );
        }
        // `\-` would be a dash to one parser and a backslash and a dash to the next.
        assert_eq!(
            read("multipart/form-data; boundary=\"a\\-b\""),
            Err(MultipartError::BoundaryInvalid)
        );
        assert_eq!(
            read("multipart/form-data; boundary=\"\""),
            Err(MultipartError::BoundaryInvalid)
        );
    }

    #[test]
    fn unknown_parameters_are_refused() {
        for (content_type, name) in [
            ("multipart/form-data; boundary=a; charset=utf-16", "charset"),
            (
                "multipart/form-data; boundary=a; charset=utf-8; charset=utf-8",
                "charset",
            ),
            ("multipart/form-data; boundary*=utf-8''b; boundary=a", "boundary*"),
            ("multipart/form-data; boundary*0=a; boundary=a", "boundary*0"),
        ] {
            let refusal = MultipartError::ContentTypeParameter {
                name: name.to_owned(),
            };
            assert_eq!(read(content_type), Err(refusal), "{content_type}");
        }
    }

    #[test]
    fn malformed_parameters_are_refused() {
        for content_type in [
            "multipart/form-data; boundary=a;",
            "multipart/form-data; boundary",
            "multipart/form-data; boundary =a",
            "multipart/form-data; boundary=a b",
            "multipart/form-data; boundary=a,b",
            "multipart/form-data; boundary=a, multipart/form-data; boundary=b",
            "multipart/form-data; boundary=\"a",
            "multipart/form-data; boundary=\u{fc}",
        ] {
            assert_eq!(
                read(content_type),
                Err(MultipartError::ContentTypeMalformed),
                "{content_type}"
            );
        }
    }

    #[test]
    fn our_own_boundary_is_new_each_time_and_valid() {
        let (one, two) = (WireBoundary::random().unwrap(), WireBoundary::random().unwrap());
        assert_ne!(one.as_str(), two.as_str());
        assert_eq!(one.as_str().len(), 38);
        assert_eq!(boundary_of(&one.content_type()), Boundary::new(one.as_str()));
    }
}
