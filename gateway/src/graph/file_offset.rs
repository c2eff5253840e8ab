//! Where in its file a resumable upload goes on.

use std::fmt;
use std::str::FromStr;

use http::{HeaderName, HeaderValue};
use thiserror::Error;

/// The request header that says it.
pub const FILE_OFFSET: HeaderName = HeaderName::from_static("file_offset");

/// How many bytes of its file a session has already taken.
///
/// Bounds: 0 to 999 999 999 999 999, in plain digits without leading zeros. Meta documents no upper bound; this one is far
/// beyond any file, and every parser of numbers reads it alike.
/// Source: Graph API, "Resumable Upload API".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FileOffset(u64);

impl FileOffset {
    /// Most digits that it may have.
    const MOST_DIGITS: usize = 15;
}

/// A text is no [`FileOffset`].
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error(
    "must be plain digits, at most {}, without leading zeros",
    FileOffset::MOST_DIGITS
)]
pub struct NoFileOffset;

impl FromStr for FileOffset {
    type Err = NoFileOffset;

    fn from_str(text: &str) -> Result<Self, NoFileOffset> {
        let is_plain = (1..=Self::MOST_DIGITS).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && (text == "0" || !text.starts_with('0'));
        let offset = is_plain.then(|| text.parse().ok()).flatten();
        offset.map(Self).ok_or(NoFileOffset)
    }
}

impl fmt::Display for FileOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<FileOffset> for HeaderValue {
    fn from(offset: FileOffset) -> Self {
        Self::from(offset.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_plain_digits_are_an_offset() {
        for text in ["0", "7", "1048576", "999999999999999"] {
            let offset: FileOffset = text.parse().unwrap();
            assert_eq!(offset.to_string(), text);
            assert_eq!(HeaderValue::from(offset), text);
        }
        for text in [
            "",
            " ",
            " 0",
            "0 ",
            "00",
            "007",
            "+7",
            "-1",
            "-0",
            "1.0",
            "1e3",
            "0x10",
            "1_000",
            "1,000",
            "7, 7",
            "٣",
            "１",
            "1000000000000000",
            "18446744073709551616",
            "null",
        ] {
            assert_eq!(text.parse::<FileOffset>(), Err(NoFileOffset), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_alike(text in "[0-9+. -]{0,17}") {
            if let Ok(offset) = text.parse::<FileOffset>() {
                prop_assert_eq!(offset.to_string(), text);
            }
        }
    }
}
