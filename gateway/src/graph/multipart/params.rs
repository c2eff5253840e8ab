//! The grammar shared by Content-Type and Content-Disposition: a first value, then `; name=value` any number of times.
//!
//! Stricter than RFC 9110, section 5.6.6: an empty parameter (`;;`, a trailing `;`) and white space around `=` are
//! refused, because parsers disagree on them.

/// One `name=value`, not yet unescaped.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Param<'a> {
    /// A token; compare without case.
    pub(super) name: &'a [u8],
    /// The token, or what stands between the quotation marks, backslashes included.
    pub(super) value: &'a [u8],
    /// Whether the value stood between quotation marks.
    pub(super) quoted: bool,
}

impl Param<'_> {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The parameters do not follow the grammar.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Malformed;

/// The parameters of one header value, in order. After an error there are no more.
#[derive(Debug)]
pub(super) struct Params<'a> {
    rest: &'a [u8],
}

/// Splits a header value into what stands before the first `;` and its parameters.
pub(super) fn split(value: &[u8]) -> (&[u8], Params<'_>) {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let (first, rest) = value.split_at(end);
    (trim(first), Params { rest })
}

/// Whether every byte is a token character (RFC 9110, section 5.6.2), and there is at least one.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn trim_start(bytes: &[u8]) -> &[u8] {
    let start = bytes
        .iter()
        .position(|byte| !is_blank(*byte))
        .unwrap_or(bytes.len());
    bytes.split_at(start).1
}

fn trim(bytes: &[u8]) -> &[u8] {
    let bytes = trim_start(bytes);
    let end = bytes
        .iter()
        .rposition(|byte| !is_blank(*byte))
        .map_or(0, |last| last + 1);
    bytes.split_at(end).0
}

fn take_token(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes
        .iter()
        .position(|byte| !is_token_byte(*byte))
        .unwrap_or(bytes.len());
    (end > 0).then(|| bytes.split_at(end))
}

/// Takes a quoted string whose opening mark is already gone; a backslash keeps the byte behind it from ending it.
fn take_quoted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut escaped = false;
    let end = bytes.iter().position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    })?;
    let (value, rest) = bytes.split_at(end);
    Some((value, rest.split_first()?.1))
}

impl<'a> Params<'a> {
    fn take(&mut self) -> Option<Param<'a>> {
        let rest = trim_start(self.rest.strip_prefix(b";")?);
        let (name, rest) = take_token(rest)?;
        let rest = rest.strip_prefix(b"=")?;
        let (value, rest, quoted) = match rest.strip_prefix(b"\"") {
            Some(rest) => take_quoted(rest).map(|(value, rest)| (value, rest, true))?,
            None => take_token(rest).map(|(value, rest)| (value, rest, false))?,
        };
        self.rest = trim_start(rest);
        Some(Param { name, value, quoted })
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = Result<Param<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let param = self.take();
        if param.is_none() {
            self.rest = b"";
        }
        Some(param.ok_or(Malformed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pair = (Vec<u8>, Vec<u8>);

    fn all(value: &[u8]) -> Result<Vec<Pair>, Malformed> {
        split(value)
            .1
            .map(|param| param.map(|p| (p.name.to_vec(), p.value.to_vec())))
            .collect()
    }

    fn pair(name: &str, value: &str) -> Pair {
        (name.as_bytes().to_vec(), value.as_bytes().to_vec())
    }

    #[test]
    fn tokens_and_quoted_strings_are_split() {
        assert_eq!(split(b" form-data ;x=1").0, b"form-data");
        assert_eq!(
            all(b"a;b=c ; d=\"e;f\\\"g\" \t"),
            Ok(vec![pair("b", "c"), pair("d", "e;f\\\"g")])
        );
        assert_eq!(all(b"a"), Ok(vec![]));
        assert_eq!(all(b"a; b=\"\""), Ok(vec![pair("b", "")]));
    }

    #[test]
    fn what_parsers_disagree_on_is_malformed() {
        for value in [
            "a;",
            "a;;b=c",
            "a; b",
            "a; b=",
            "a; =c",
            "a; b =c",
            "a; b= c",
            "a; b=\"c",
            "a; b=\"c\\\"",
            "a; b=\"c\"d",
            "a; b=\"c\" d=e",
            "a; b=c d",
            "a; b=c,d=e",
            "a; b=(c)",
            "a; b=\u{fc}",
            "a; b='c d'",
        ] {
            assert_eq!(all(value.as_bytes()), Err(Malformed), "{value}");
        }
    }
}
