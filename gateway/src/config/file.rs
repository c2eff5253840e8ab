//! Reading of small files, with a bound on what is read.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use thiserror::Error;

/// Why a file could not be read.
#[derive(Debug, Error)]
pub enum Unreadable {
    /// The system refused.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// More than this many bytes.
    #[error("is too large: at most {0} bytes are read")]
    TooLarge(u64),
    /// Not UTF-8.
    #[error("is not UTF-8 text")]
    NotText,
}

/// The bytes of the file, of which there may be at most `most`.
pub(super) fn bytes(path: &Path, most: u64) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= most) {
        Ok(bytes)
    } else {
        Err(Unreadable::TooLarge(most))
    }
}

/// The text of the file, of which there may be at most `most` bytes.
pub(super) fn text(path: &Path, most: u64) -> Result<String, Unreadable> {
    String::from_utf8(bytes(path, most)?).map_err(|_| Unreadable::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound_and_no_further() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "1234").unwrap();
        assert_eq!(text(&path, 4).unwrap(), "1234");
        assert!(matches!(text(&path, 3), Err(Unreadable::TooLarge(3))));
        std::fs::write(&path, b"\xff").unwrap();
        assert!(matches!(text(&path, 4), Err(Unreadable::NotText)));
        assert!(matches!(text(directory.path(), 4), Err(Unreadable::Io(_))));
    }
}
