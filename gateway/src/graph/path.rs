//! The path and query of a Graph call, parsed once and strictly.
//!
//! The front door has refused everything that is not canonical (dots, escapes, doubled slashes). What is left here is
//! grammar: an optional version, then segments. The upstream path is built from these values, never copied.

use std::fmt;

use curfew_policies::Generation;

/// A Graph API version such as `v24.0`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ApiVersion {
    major: u8,
    minor: u8,
}

impl ApiVersion {
    /// `v`, one or two digits, `.`, one digit, no leading zero; `None` for anything else.
    #[must_use]
    pub fn parse(segment: &str) -> Option<Self> {
        let (major, minor) = segment.strip_prefix('v')?.split_once('.')?;
        let digits = |text: &str, most: usize| {
            (!text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| text.parse().ok())
                .flatten()
        };
        if major.starts_with('0') {
            return None;
        }
        Some(Self {
            major: digits(major, 2)?,
            minor: digits(minor, 1)?,
        })
    }

    /// Which of the two storage APIs it speaks (Cloud API, "Local Storage": the change came with v21.0).
    #[must_use]
    pub const fn generation(self) -> Generation {
        if self.major <= 20 {
            Generation::UpToV20
        } else {
            Generation::FromV21
        }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}", self.major, self.minor)
    }
}

/// The most segments that any known path has after its version.
const MOST_SEGMENTS: usize = 3;

/// A path in its parts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GraphPath<'a> {
    /// The version, if the path has one.
    pub version: Option<ApiVersion>,
    segments: [&'a str; MOST_SEGMENTS],
    count: usize,
}

impl<'a> GraphPath<'a> {
    /// Splits a canonical path; one trailing slash counts for nothing, as at Meta. `None` when it has no segment, too
    /// many, or an empty one.
    #[must_use]
    pub fn parse(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut rest = path.split('/').peekable();
        let version = rest.peek().copied().and_then(ApiVersion::parse);
        if version.is_some() {
            rest.next();
        }
        let mut segments = [""; MOST_SEGMENTS];
        let mut count = 0;
        for segment in rest {
            if segment.is_empty() {
                return None;
            }
            *segments.get_mut(count)? = segment;
            count += 1;
        }
        (count > 0).then_some(Self {
            version,
            segments,
            count,
        })
    }

    /// The segments after the version.
    #[must_use]
    pub fn segments(&self) -> &[&'a str] {
        self.segments.get(..self.count).unwrap_or_default()
    }
}

/// Why a query was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum QueryError {
    /// A token in the query ends up in access logs and browser histories.
    #[error("access_token must not be in the query; send it as Authorization: Bearer …")]
    AccessToken,
    /// A parameter that this call does not have, or that would change what the call is.
    #[error("query parameter {name:?} is not known for this call; it takes {known}")]
    Unknown {
        /// The parameter, shortened.
        name: String,
        /// What would be known.
        known: String,
    },
    /// The same parameter twice: Meta's choice among them is not documented.
    #[error("query parameter {0:?} came twice; send it once")]
    Duplicate(&'static str),
    /// A broken percent-escape, or bytes that are no UTF-8.
    #[error("the query is not percent-encoded UTF-8")]
    Encoding,
    /// A list of words beyond the allow-list.
    #[error("{parameter} may name {known}, separated by commas and without braces; came {came:?}")]
    Fields {
        /// The query parameter.
        parameter: &'static str,
        /// What came, shortened.
        came: String,
        /// What would be known.
        known: String,
    },
}

/// Reads a query by allow-list: every parameter known, each once, values decoded. Those of `dropped` count for nothing.
///
/// # Errors
///
/// Names the first parameter that is not so.
pub fn read_query(
    raw: Option<&str>,
    known: &'static [&'static str],
    dropped: &[&str],
) -> Result<Vec<(&'static str, String)>, QueryError> {
    let mut read = Vec::new();
    for pair in raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name).ok_or(QueryError::Encoding)?;
        if name.eq_ignore_ascii_case("access_token") {
            return Err(QueryError::AccessToken);
        }
        if dropped.contains(&name.as_str()) {
            continue;
        }
        let Some(name) = known.iter().copied().find(|known| *known == name) else {
            return Err(QueryError::Unknown {
                name: curfew_policies::shown(&name).into_owned(),
                known: if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                },
            });
        };
        if read.iter().any(|(seen, _)| *seen == name) {
            return Err(QueryError::Duplicate(name));
        }
        read.push((name, decode(value).ok_or(QueryError::Encoding)?));
    }
    Ok(read)
}

/// Writes a query from values, escaping everything but unreserved characters (RFC 3986, section 2.3).
#[must_use]
pub fn write_query(pairs: &[(&str, &str)]) -> String {
    let mut query = String::new();
    for (name, value) in pairs {
        query.push(if query.is_empty() { '?' } else { '&' });
        escape(name, &mut query);
        query.push('=');
        escape(value, &mut query);
    }
    query
}

fn escape(text: &str, out: &mut String) {
    use fmt::Write as _;
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b',') {
            out.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Decodes percent-escapes and `+`; `None` for a broken escape, a control character, or what is no UTF-8.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in "\\PC{0,40}") {
            let query = write_query(&[("name", &value)]);
            let read = read_query(query.strip_prefix('?'), &["name"], &[]).unwrap();
            prop_assert_eq!(read, vec![("name", value)]);
        }

        #[test]
        fn a_version_has_one_spelling(text in "v?[0-9]{0,3}\\.?[0-9]{0,2}") {
            if let Some(version) = ApiVersion::parse(&text) {
                prop_assert_eq!(version.to_string(), text);
            }
        }

        #[test]
        fn a_parsed_path_is_its_own_canonical_form(path in "(/[a-z0-9.]{0,4}){0,5}/?") {
            if let Some(parsed) = GraphPath::parse(&path) {
                let mut again = parsed.version.map(|v| format!("/{v}")).unwrap_or_default();
                for segment in parsed.segments() {
                    again.push('/');
                    again.push_str(segment);
                }
                prop_assert_eq!(path.strip_suffix('/').unwrap_or(&path), &again);
                prop_assert_eq!(GraphPath::parse(&again), Some(parsed));
            }
        }
    }

    #[test]
    fn queries_are_read_by_allow_list() {
        assert_eq!(read_query(None, &[], &[]), Ok(vec![]));
        assert_eq!(
            read_query(Some("fields=id%2Cname&limit=2"), &["fields", "limit"], &[]),
            Ok(vec![("fields", "id,name".to_owned()), ("limit", "2".to_owned())])
        );
        assert_eq!(
            read_query(Some("pretty=0&limit=2&pretty"), &["limit"], &["pretty"]),
            Ok(vec![("limit", "2".to_owned())])
        );
        for (raw, expected) in [
            ("access_token=x", "access_token"),
            ("debug=all", "not known"),
            ("acc%65ss_token=x", "access_token"),
            ("method=delete", "not known"),
            ("fields=a&fields=b", "twice"),
            ("fields=%zz", "percent"),
            ("fields=%00", "percent"),
            ("fields[]=a", "not known"),
        ] {
            let error = read_query(Some(raw), &["fields"], &["pretty"])
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{raw}: {error}");
        }
    }
}
