//! What of a medium a request asks for, and on which conditions (RFC 9110, sections 13 and 14).
//!
//! Pure: it reads headers, and says what the answer has to be once size and entity tag are known. Of ranges, one at a time
//! is answered; whoever asks for several gets the whole medium, as section 14.2 allows.

use std::ops::Range;

use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderName, Method};

#[cfg(test)]
mod tests;

/// The method, the range and the conditions of a download.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wanted {
    is_head: bool,
    range: Option<ByteRange>,
    if_match: Option<Box<[u8]>>,
    if_none_match: Option<Box<[u8]>>,
    if_range: Option<Box<[u8]>>,
}

/// One range of bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ByteRange {
    /// From this byte to the end.
    From(u64),
    /// From this byte to that one, inclusive.
    Between(u64, u64),
    /// The last so many bytes.
    Last(u64),
}

/// What a request gets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Due {
    /// The whole medium: 200.
    Whole,
    /// These bytes of it: 206.
    Part(Range<u64>),
    /// That it is what the client has already: 304.
    NotModified,
    /// That it is not what the client takes it for: 412.
    PreconditionFailed,
    /// That it has no such bytes: 416.
    NotSatisfiable {
        /// How many it has.
        size: u64,
    },
}

impl Wanted {
    /// Reads method and headers. What has no meaning is as if it were not there, but for conditions that would then hold.
    #[must_use]
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        let is_head = method == Method::HEAD;
        Self {
            is_head,
            // GET is the only method that knows ranges (section 14.2).
            range: single(headers, &RANGE)
                .filter(|_| !is_head)
                .and_then(ByteRange::parse),
            if_match: list(headers, &IF_MATCH),
            if_none_match: list(headers, &IF_NONE_MATCH),
            // Two of them are none that can be equal to anything.
            if_range: headers
                .contains_key(IF_RANGE)
                .then(|| single(headers, &IF_RANGE).unwrap_or_default().into()),
        }
    }

    /// Whether only the head of the answer is asked for.
    pub(super) const fn is_head(&self) -> bool {
        self.is_head
    }

    /// Whether a part of the medium is a part of what the client has already: then it knows the medium's own headers
    /// (section 15.3.7).
    pub(super) const fn continues(&self) -> bool {
        self.if_range.is_some()
    }

    /// What is due for a medium of `size` bytes with the strong entity tag `etag`, quotes and all. Nothing is known of when
    /// it was last modified, so conditions on that are passed over (sections 13.1.3 and 13.1.4).
    ///
    /// The conditions in the order of section 13.2.2.
    pub(super) fn due(&self, etag: Option<&str>, size: Option<u64>) -> Due {
        let etag = etag.map(str::as_bytes);
        if let Some(list) = &self.if_match
            && !names(list, etag, Comparison::Strong)
        {
            return Due::PreconditionFailed;
        }
        if let Some(list) = &self.if_none_match
            && names(list, etag, Comparison::Weak)
        {
            return Due::NotModified;
        }
        let (Some(range), Some(size)) = (self.range, size) else {
            return Due::Whole;
        };
        // A date is equal to no date, and a weak tag to no strong one (section 13.1.5).
        if let Some(validator) = &self.if_range
            && etag != Some(validator)
        {
            return Due::Whole;
        }
        range.of(size).map_or(Due::NotSatisfiable { size }, Due::Part)
    }
}

impl ByteRange {
    /// Reads the value of `Range`; `None` unless it is one range of bytes, in good form (sections 14.1 and 14.1.1).
    fn parse(value: &[u8]) -> Option<Self> {
        let at = value.iter().position(|byte| *byte == b'=')?;
        let (unit, set) = value.split_at(at);
        if !unit.eq_ignore_ascii_case(b"bytes") {
            return None;
        }
        // A list may have empty elements, and blanks round its commas (section 5.6.1).
        let elements = set.get(1..)?.split(|byte| *byte == b',');
        let count = elements.clone().count();
        let mut ranges = elements
            .enumerate()
            .map(|(at, element)| {
                let element = if at > 0 { trim_start(element) } else { element };
                if at + 1 < count {
                    trim_end(element)
                } else {
                    element
                }
            })
            .filter(|element| !element.is_empty());
        let range = Self::parse_one(ranges.next()?)?;
        ranges.next().is_none().then_some(range)
    }

    fn parse_one(text: &[u8]) -> Option<Self> {
        let dash = text.iter().position(|byte| *byte == b'-')?;
        let (first, last) = text.split_at(dash);
        match (first, last.get(1..)?) {
            ([], last) => number(last).map(Self::Last),
            (first, []) => number(first).map(Self::From),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::Between(first, last))
            }
        }
    }

    /// The bytes that it means of a medium of `size` bytes; `None` if there are none.
    fn of(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From(first) => first..size,
            Self::Between(first, last) => first..last.saturating_add(1).min(size),
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

/// A number of decimal digits; one that is too large is as good as the largest, since no medium has so many bytes.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trim_start(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| is_blank(byte)).count();
    text.get(blanks..).unwrap_or_default()
}

fn trim_end(text: &[u8]) -> &[u8] {
    let blanks = text.iter().rev().take_while(|byte| is_blank(byte)).count();
    text.get(..text.len() - blanks).unwrap_or_default()
}

/// The value of a header that may come once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.as_bytes()),
        _ => None,
    }
}

/// The value of a header that is a list, its lines joined (section 5.3).
fn list(headers: &HeaderMap, name: &HeaderName) -> Option<Box<[u8]>> {
    let lines: Vec<_> = headers.get_all(name).iter().map(|line| line.as_bytes()).collect();
    (!lines.is_empty()).then(|| lines.join(&b", "[..]).into())
}

/// How entity tags are compared (section 8.8.3.2).
#[derive(Clone, Copy, Eq, PartialEq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether a list of entity tags, or `*`, names the medium. What is not well-formed ends the list.
fn names(list: &[u8], etag: Option<&[u8]>, comparison: Comparison) -> bool {
    if list == b"*" {
        return true;
    }
    let Some(etag) = etag else { return false };
    let mut rest = list;
    loop {
        rest = rest
            .iter()
            .position(|byte| !is_blank(byte) && *byte != b',')
            .and_then(|at| rest.get(at..))
            .unwrap_or_default();
        let (is_weak, quoted) = match rest.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let Some(inner) = quoted.strip_prefix(b"\"") else {
            return false;
        };
        let Some(close) = inner.iter().position(|byte| *byte == b'"') else {
            return false;
        };
        // Both quotes are outside of `inner`.
        let (tag, after) = quoted.split_at(close + 2);
        if tag == etag && (comparison == Comparison::Weak || !is_weak) {
            return true;
        }
        if !matches!(trim_start(after).first(), None | Some(b',')) {
            return false;
        }
        rest = after;
    }
}
