//! What is wrong with the configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong, at one place of one file.
///
/// Neither [`key`](Self::key) nor [`message`](Self::message) ever holds a value of `curfew.toml`, save the name of an
/// environment variable: a secret that was pasted in the wrong place must not end up in a build log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters, from 1.
    pub column: usize,
    /// The path of the key, such as `upstream.media[0]`; empty where the file cannot be read as TOML.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem with the file as a whole.
    pub(super) fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: 1,
            column: 1,
            key: String::new(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    /// `FILE:LINE:COLUMN: KEY: MESSAGE`, the form that editors and CI annotations read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file.display(), self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with `curfew.toml` and the policies that it names, in the order of the files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems of `curfew.toml`, then those of `policies.toml`, each by line and column.
    pub(super) fn new(mut config: Vec<Problem>, mut policies: Vec<Problem>) -> Self {
        let place = |problem: &Problem| (problem.line, problem.column);
        config.sort_by_key(place);
        policies.sort_by_key(place);
        config.append(&mut policies);
        Self(config)
    }

    /// Each problem.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "problems are only ever handed out when there are some"
    )]
    pub const fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    /// One problem a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
