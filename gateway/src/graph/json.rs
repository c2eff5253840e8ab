//! JSON that has one meaning, or none.
//!
//! The gateway judges a body and forwards the same bytes, so every parser behind it must find in them what ours found.
//! Wherever two parsers are known to differ (a key that comes twice, a lone surrogate, a byte order mark, a second
//! document, nesting that one of them gives up on) the body is refused.
//!
//! Bodies are walked once, on `serde_json`'s streaming deserializer, without building a tree. Strings that hold JSON
//! are walked too: Meta takes objects as JSON text in several places. This module knows nothing of what members mean.

use std::borrow::Cow;
use std::fmt;

use thiserror::Error;

mod keys;
mod members;
mod name;
mod path;
mod walk;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub(crate) use members::{Members, Text};
pub use name::names_parameter;
pub(crate) use name::{is_plain, part_names};
pub(crate) use path::Path;
pub(crate) use walk::{Key, Reader, Shallow, walk};

/// How many arrays and objects may be open at once, the outermost included. A string that holds JSON does not start the
/// count anew.
pub const MAX_DEPTH: u8 = 32;

/// Parameters that Graph acts upon wherever they come, at the top level of any body: they turn one call into
/// others, or change whose call it is or what its answer looks like.
///
/// Sources: Graph API, "Batch requests" (`batch`, `relative_url`, `attached_files`, `include_headers`, `callback`),
/// "Overview" (`access_token`, `ids`, `fields`), "Secure requests" (`appsecret_proof`); `method`, `_method`,
/// `suppress_http_code`, `format`, `transport`, `debug`, `pretty` and `sdk` from public use alone.
pub const GRAPH_CONTROL_KEYS: [&str; 17] = [
    "batch",
    "relative_url",
    "attached_files",
    "method",
    "_method",
    "ids",
    "access_token",
    "appsecret_proof",
    "fields",
    "include_headers",
    "suppress_http_code",
    "callback",
    "format",
    "transport",
    "debug",
    "pretty",
    "sdk",
];

/// Where in a body something is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Spot {
    /// The members and indexes that lead there, such as `template.components[0].type`; empty for the top level. Keys are
    /// cut short.
    pub path: String,
    /// The line, counted from 1. Inside a string that holds JSON, the line of that string.
    pub line: usize,
    /// The byte in that line up to which the body was read.
    pub column: usize,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, column } = self;
        if path.is_empty() {
            write!(f, "the top level (line {line}, column {column})")
        } else {
            write!(f, "`{path}` (line {line}, column {column})")
        }
    }
}

/// Why a body is not JSON with one meaning. The text says what is wrong, where, and what would be right.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum JsonError {
    /// Not UTF-8.
    #[error("the body is not UTF-8 from byte {offset} on; JSON must be UTF-8")]
    NotUtf8 {
        /// How many bytes before it are UTF-8.
        offset: usize,
    },
    /// It begins with a byte order mark.
    #[error("the body begins with a byte order mark; JSON must begin with `{{`")]
    ByteOrderMark,
    /// Not JSON.
    #[error("the body is not JSON: {problem} at {spot}")]
    Syntax {
        /// The parser's words, without any of the body's text.
        problem: String,
        /// Where.
        spot: Spot,
    },
    /// Something comes after the document.
    #[error(
        "something follows the JSON document at line {line}, column {column}; a body must be one document"
    )]
    Trailing {
        /// The line, counted from 1.
        line: usize,
        /// The byte in that line.
        column: usize,
    },
    /// A key comes twice in one object, compared after unescaping.
    #[error("the key at {0} comes twice in its object; each key may come once, however it is escaped")]
    DuplicateKey(Spot),
    /// Two keys of one object, of a name that policy reads, differ in letter case alone.
    #[error("the key at {0} comes twice in its object in different letter case; give it once, in lower case")]
    KeysDifferInCase(Spot),
    /// A `\u` escape of half a surrogate pair.
    #[error("the text at {0} holds half a surrogate pair; `\\ud800` to `\\udfff` must come as pairs")]
    LoneSurrogate(Spot),
    /// Deeper than [`MAX_DEPTH`].
    #[error("{0} is nested deeper than {MAX_DEPTH} levels, counting those in strings that hold JSON")]
    TooDeep(Spot),
    /// JSON, but no object.
    #[error("the body must be a JSON object")]
    NotAnObject,
}

impl JsonError {
    /// Every slug, for the list of them.
    pub const SLUGS: [&'static str; 9] = [
        "json_not_utf8",
        "json_byte_order_mark",
        "json_syntax",
        "json_trailing_data",
        "json_duplicate_key",
        "json_keys_differ_in_case",
        "json_lone_surrogate",
        "json_too_deep",
        "json_not_an_object",
    ];

    /// A stable name with few values.
    #[must_use]
    pub const fn slug(&self) -> &'static str {
        match self {
            Self::NotUtf8 { .. } => "json_not_utf8",
            Self::ByteOrderMark => "json_byte_order_mark",
            Self::Syntax { .. } => "json_syntax",
            Self::Trailing { .. } => "json_trailing_data",
            Self::DuplicateKey(_) => "json_duplicate_key",
            Self::KeysDifferInCase(_) => "json_keys_differ_in_case",
            Self::LoneSurrogate(_) => "json_lone_surrogate",
            Self::TooDeep(_) => "json_too_deep",
            Self::NotAnObject => "json_not_an_object",
        }
    }
}

/// The keys at the top level of a body that was found to have one meaning.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TopLevel<'a> {
    keys: Vec<Cow<'a, str>>,
    watched: &'static [&'static str],
    /// Those of `watched` that came, each once.
    seen: Vec<&'static str>,
}

impl TopLevel<'_> {
    /// The keys, unescaped, in the order in which they came.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(AsRef::as_ref)
    }

    /// The first key that [names](names_parameter) one of `names`.
    #[must_use]
    pub fn find(&self, names: &[&str]) -> Option<&str> {
        self.keys().find(|key| names_parameter(key, names))
    }

    /// The first key that names one of [`GRAPH_CONTROL_KEYS`].
    #[must_use]
    pub fn control_parameter(&self) -> Option<&str> {
        self.find(&GRAPH_CONTROL_KEYS)
    }

    /// The first of `names` that a key, or a part of one, names at any depth, also in a string that holds JSON. Only names
    /// that were given to [`check_names`] are found.
    #[must_use]
    pub fn find_anywhere(&self, names: &[&str]) -> Option<&'static str> {
        self.seen.iter().copied().find(|seen| names.contains(seen))
    }
}

/// Checks a whole body and lists its top-level keys, for calls of which policy reads no more than that.
///
/// # Errors
///
/// Whatever [`JsonError`] names.
pub fn check_object(body: &[u8]) -> Result<TopLevel<'_>, JsonError> {
    walk(body, TopLevel::default())
}

/// Checks a whole body, lists its top-level keys, and looks at every depth for keys that name one of `watched`.
///
/// # Errors
///
/// Whatever [`JsonError`] names.
pub fn check_names<'a>(body: &'a [u8], watched: &'static [&'static str]) -> Result<TopLevel<'a>, JsonError> {
    let reader = TopLevel {
        watched,
        ..TopLevel::default()
    };
    walk(body, reader)
}

/// Whether a value is the document itself.
#[derive(Clone, Copy)]
pub(crate) struct IsRoot(bool);

impl<'a> Reader<'a> for TopLevel<'a> {
    type At = IsRoot;
    type Object = ();
    type Error = JsonError;

    fn root(&self) -> IsRoot {
        IsRoot(true)
    }

    fn open(&mut self, _at: IsRoot) {}

    fn member(
        &mut self,
        _object: &mut (),
        IsRoot(root): IsRoot,
        key: &Key<'a>,
        _path: &Path<'_>,
    ) -> Result<IsRoot, JsonError> {
        if root {
            self.keys.push(key.kept());
        }
        for name in self.watched {
            if part_names(key, &[name]) && !self.seen.contains(name) {
                self.seen.push(name);
            }
        }
        Ok(IsRoot(false))
    }
}
