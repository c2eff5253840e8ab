//! Reads HTTP/1 request heads strictly, byte by byte as they come.
//!
//! RFC 9112 lets a server repair much: bare line feeds, folded headers, repeated lengths. Two parsers that repair
//! differently see two requests where one was sent, so nothing is repaired here. The verdict depends on the bytes
//! alone, never on how they were cut into packets: every rule is decided at one certain byte.
//!
//! This module does no I/O; [`check_head`] is the entry for fuzzing it.

use std::ops::Range;

use http::Version;

use super::limits::FrontDoorLimits;
use super::target::{TARGET_BYTES, check_host, check_target};
use super::{FrontDoorRefusal, is_allowed_method};

/// How the end of a request body is found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyFraming {
    /// `Content-Length`, in bytes; 0 where there is neither that nor a transfer coding.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// What a complete and valid request head says about framing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head {
    /// Length of the head in bytes, up to and including the empty line.
    pub len: usize,
    /// HTTP/1.1 or HTTP/1.0.
    pub version: Version,
    /// Where in the bytes the request target stands.
    pub target: Range<usize>,
    /// How the body ends.
    pub framing: BodyFraming,
}

/// Checks the head at the beginning of `raw`; what follows it is not looked at.
///
/// # Errors
///
/// The first violation in the order of the bytes. A head that is not complete is
/// [`FrontDoorRefusal::HeaderTimeout`]: so it would end if no more came.
pub fn check_head(raw: &[u8], limits: &FrontDoorLimits) -> Result<Head, FrontDoorRefusal> {
    HeadScanner::default()
        .advance(raw, limits)?
        .ok_or(FrontDoorRefusal::HeaderTimeout)
}

/// The state of reading one head that arrives in pieces.
#[derive(Debug, Default)]
pub struct HeadScanner {
    position: usize,
    line_start: usize,
    after_cr: bool,
    spaces: usize,
    target_len: usize,
    request_line: Option<RequestLine>,
    fields: Fields,
}

#[derive(Debug)]
struct RequestLine {
    version: Version,
    target: Range<usize>,
    posts: bool,
    takes_body: bool,
}

#[derive(Debug, Default)]
struct Fields {
    count: usize,
    content_length: Option<u64>,
    chunked: bool,
    host: bool,
    expect: bool,
}

impl HeadScanner {
    /// Reads on in `received`, which holds the head from its first byte; bytes seen in an earlier call are not
    /// read again. `None`: more bytes are needed.
    ///
    /// # Errors
    ///
    /// The first violation in the order of the bytes.
    pub fn advance(
        &mut self,
        received: &[u8],
        limits: &FrontDoorLimits,
    ) -> Result<Option<Head>, FrontDoorRefusal> {
        let within = received.get(..limits.head_bytes).unwrap_or(received);
        for &byte in within.get(self.position..).unwrap_or_default() {
            self.position += 1;
            if !self.line_ends_with(byte)? {
                continue;
            }
            // The line is without its CR LF.
            let line = self.line_start..self.position - 2;
            self.line_start = self.position;
            let text = within.get(line.clone()).unwrap_or_default();
            match &self.request_line {
                None => self.request_line = Some(parse_request_line(text, line.start)?),
                Some(request_line) if text.is_empty() => {
                    let framing = self.fields.framing(request_line, limits)?;
                    let RequestLine { version, target, .. } = request_line;
                    return Ok(Some(Head {
                        len: self.position,
                        version: *version,
                        target: target.clone(),
                        framing,
                    }));
                }
                Some(_) => self.fields.add(text, limits)?,
            }
        }
        if self.position >= limits.head_bytes {
            Err(FrontDoorRefusal::HeadTooLarge)
        } else {
            Ok(None)
        }
    }

    /// Takes one byte; true after CR LF.
    fn line_ends_with(&mut self, byte: u8) -> Result<bool, FrontDoorRefusal> {
        match (self.after_cr, byte) {
            (true, b'\n') => {
                self.after_cr = false;
                return Ok(true);
            }
            (true, _) | (false, b'\n') => return Err(FrontDoorRefusal::LineEnd),
            (false, b'\r') => self.after_cr = true,
            (false, b'\t' | 0x20..=0x7e | 0x80..) => {}
            (false, _) => return Err(FrontDoorRefusal::ControlByte),
        }
        if self.request_line.is_none() {
            match (byte, self.spaces) {
                (b' ', _) => self.spaces += 1,
                (b'\r', _) => {}
                (_, 1) => self.target_len += 1,
                _ => {}
            }
            // Decided here and not at the line's end: a target without end would otherwise pass for a large head.
            if self.target_len > TARGET_BYTES {
                return Err(FrontDoorRefusal::TargetTooLong);
            }
        }
        Ok(false)
    }
}

fn parse_request_line(line: &[u8], start: usize) -> Result<RequestLine, FrontDoorRefusal> {
    if memchr::memmem::find(line, b"HTTP/").is_none() {
        return Err(FrontDoorRefusal::NotHttp);
    }
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(FrontDoorRefusal::RequestLine);
    };
    if target.is_empty() || !is_token(method) {
        return Err(FrontDoorRefusal::RequestLine);
    }
    let version = match version {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        _ => return Err(FrontDoorRefusal::HttpVersion),
    };
    if !is_allowed_method(method) {
        return Err(FrontDoorRefusal::Method);
    }
    let text = std::str::from_utf8(target).map_err(|_| FrontDoorRefusal::TargetByte)?;
    check_target(text)?;
    let target_start = start + method.len() + 1;
    Ok(RequestLine {
        version,
        target: target_start..target_start + target.len(),
        posts: method == b"POST",
        // The Graph API has DELETE calls with a body (Cloud API, "Block users").
        takes_body: matches!(method, b"POST" | b"DELETE"),
    })
}

impl Fields {
    /// Takes one header line, without its line end.
    fn add(&mut self, line: &[u8], limits: &FrontDoorLimits) -> Result<(), FrontDoorRefusal> {
        if line.first().is_some_and(|&byte| byte == b' ' || byte == b'\t') {
            return Err(FrontDoorRefusal::FoldedHeader);
        }
        self.count += 1;
        if self.count > limits.headers {
            return Err(FrontDoorRefusal::TooManyHeaders);
        }
        let colon = memchr::memchr(b':', line).ok_or(FrontDoorRefusal::HeaderName)?;
        let (name, value) = line.split_at_checked(colon).ok_or(FrontDoorRefusal::HeaderName)?;
        if !is_token(name) {
            return Err(FrontDoorRefusal::HeaderName);
        }
        let value = trim_blanks(value.get(1..).unwrap_or_default());
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("content-length") {
            self.add_content_length(value)
        } else if is("transfer-encoding") {
            self.add_transfer_encoding(value)
        } else if is("host") {
            if self.host {
                return Err(FrontDoorRefusal::HostRepeated);
            }
            self.host = true;
            check_host(value)
        } else if is("expect") {
            if self.expect || !is_expected(value) {
                return Err(FrontDoorRefusal::Expect);
            }
            self.expect = true;
            Ok(())
        } else if is("content-encoding") {
            Err(FrontDoorRefusal::ContentEncoding)
        } else if is("upgrade") || (is("connection") && names_upgrade(value)) {
            Err(FrontDoorRefusal::Upgrade)
        } else {
            Ok(())
        }
    }

    fn add_content_length(&mut self, value: &[u8]) -> Result<(), FrontDoorRefusal> {
        if self.chunked {
            return Err(FrontDoorRefusal::LengthWithEncoding);
        }
        if self.content_length.is_some() {
            return Err(FrontDoorRefusal::ContentLength);
        }
        self.content_length = Some(parse_length(value)?);
        Ok(())
    }

    fn add_transfer_encoding(&mut self, value: &[u8]) -> Result<(), FrontDoorRefusal> {
        if self.content_length.is_some() {
            return Err(FrontDoorRefusal::LengthWithEncoding);
        }
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(FrontDoorRefusal::TransferEncoding);
        }
        self.chunked = true;
        Ok(())
    }

    /// Judges at the empty line what only all lines together tell.
    fn framing(
        &self,
        request_line: &RequestLine,
        limits: &FrontDoorLimits,
    ) -> Result<BodyFraming, FrontDoorRefusal> {
        if !self.host {
            return Err(FrontDoorRefusal::HostMissing);
        }
        let framing = match self.content_length {
            _ if self.chunked => BodyFraming::Chunked,
            length => BodyFraming::Length(length.unwrap_or(0)),
        };
        let has_body = framing != BodyFraming::Length(0);
        // An HTTP/1.0 POST without a length could be meant to end with the connection.
        let unframed_post = request_line.posts && self.content_length.is_none();
        if request_line.version == Version::HTTP_10 && (has_body || unframed_post) {
            return Err(FrontDoorRefusal::Http10Body);
        }
        if has_body && !request_line.takes_body {
            return Err(FrontDoorRefusal::UnexpectedBody);
        }
        match framing {
            BodyFraming::Length(length) if length > limits.upload_bytes => {
                Err(FrontDoorRefusal::BodyTooLarge)
            }
            framing => Ok(framing),
        }
    }
}

/// Parses `Content-Length`: digits without sign, list or leading zero (RFC 9110 section 8.6 allows leading
/// zeros, but some parsers read them as octal). What does not fit 64 bits is as good as the largest number.
pub(super) fn parse_length(value: &[u8]) -> Result<u64, FrontDoorRefusal> {
    let digits = std::str::from_utf8(value).map_err(|_| FrontDoorRefusal::ContentLength)?;
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !plain || (digits.len() > 1 && digits.starts_with('0')) {
        return Err(FrontDoorRefusal::ContentLength);
    }
    Ok(digits.parse().unwrap_or(u64::MAX))
}

/// Whether the value of `Expect` is the one that is understood (RFC 9110 section 10.1.1: case does not matter).
pub(super) fn is_expected(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"100-continue")
}

/// Whether a `Connection` value lists `upgrade`.
pub(super) fn names_upgrade(value: &[u8]) -> bool {
    value
        .split(|&byte| byte == b',')
        .any(|option| trim_blanks(option).eq_ignore_ascii_case(b"upgrade"))
}

/// A token of RFC 9110 section 5.6.2.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

fn trim_blanks(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(raw: &[u8]) -> Result<Head, FrontDoorRefusal> {
        check_head(raw, &FrontDoorLimits::default())
    }

    #[test]
    fn a_head_tells_its_length_target_and_framing() {
        let raw = b"POST /v24.0/1/media?a=b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
        let head = check(raw).unwrap();
        assert_eq!(head.len, raw.len() - 5);
        assert_eq!(&raw[head.target.clone()], b"/v24.0/1/media?a=b");
        assert_eq!(head.framing, BodyFraming::Length(5));
        assert_eq!(head.version, Version::HTTP_11);

        let chunked = check(b"POST / HTTP/1.1\r\nhost:h\r\ntransfer-encoding:\t CHUNKED \r\n\r\n").unwrap();
        assert_eq!(chunked.framing, BodyFraming::Chunked);
    }

    #[test]
    fn an_incomplete_head_would_time_out() {
        assert_eq!(check(b""), Err(FrontDoorRefusal::HeaderTimeout));
        assert_eq!(
            check(b"GET / HTTP/1.1\r\nHost: h\r\n\r"),
            Err(FrontDoorRefusal::HeaderTimeout)
        );
    }

    #[test]
    fn lengths_are_plain_decimal_digits() {
        for (value, length) in [
            ("0", 0),
            ("5", 5),
            ("104923136", 104_923_136),
            ("99999999999999999999", u64::MAX),
        ] {
            assert_eq!(parse_length(value.as_bytes()), Ok(length));
        }
        for value in [
            "", "+5", "-1", "0x5", "5, 5", "5,5", "05", "00", " 5", "5 ", "5.0", "1e3", "\u{665}",
        ] {
            assert_eq!(
                parse_length(value.as_bytes()),
                Err(FrontDoorRefusal::ContentLength),
                "{value}"
            );
        }
    }

    /// Heads that are mostly right, so that the properties reach deep.
    fn heads() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            8 => Just("Host: h\r\n".to_owned()),
            2 => Just("Content-Length: 3\r\n".to_owned()),
            2 => Just("Transfer-Encoding: chunked\r\n".to_owned()),
            1 => Just("Expect: 100-continue\r\n".to_owned()),
            4 => "[A-Za-z-]{1,8}: {0,2}[ -~]{0,12}\r\n",
            1 => "[ -~\t]{0,12}[\r\n\u{b}]{0,2}",
        ];
        let method = prop_oneof![
            Just("GET"),
            Just("POST"),
            Just("DELETE"),
            Just("HEAD"),
            Just("PUT"),
            Just("get")
        ];
        let version = prop_oneof![6 => Just("HTTP/1.1"), 2 => Just("HTTP/1.0"), 1 => Just("HTTP/2.0")];
        let target = prop_oneof![4 => "/[a-z0-9/?=&.%]{0,8}", 1 => "/[ -~]{0,8}"];
        (method, target, version, prop::collection::vec(line, 0..5)).prop_map(
            |(method, target, version, lines)| {
                let mut head = format!("{method} {target} {version}\r\n");
                lines.iter().for_each(|line| head.push_str(line));
                head.push_str("\r\n");
                head.into_bytes()
            },
        )
    }

    proptest! {
        #[test]
        fn the_verdict_does_not_depend_on_how_the_bytes_are_cut(raw in heads(), cuts in prop::collection::vec(1usize..9, 0..40)) {
            let limits = FrontDoorLimits { head_bytes: 120, headers: 4, ..FrontDoorLimits::default() };
            let whole = check_head(&raw, &limits);
            let mut scanner = HeadScanner::default();
            let mut received = 0;
            let mut cuts = cuts.into_iter().chain(std::iter::repeat(1));
            let piecewise = loop {
                match scanner.advance(&raw[..received], &limits) {
                    Ok(Some(head)) => break Ok(head),
                    Err(refusal) => break Err(refusal),
                    Ok(None) if received == raw.len() => break Err(FrontDoorRefusal::HeaderTimeout),
                    Ok(None) => received = raw.len().min(received + cuts.next().unwrap()),
                }
            };
            prop_assert_eq!(whole, piecewise);
        }

        /// What is let through, httparse (the parser behind hyper) must read the same way.
        #[test]
        fn an_accepted_head_means_the_same_to_httparse(raw in heads()) {
            if let Ok(head) = check(&raw) {
                let mut headers = [httparse::EMPTY_HEADER; 64];
                let mut request = httparse::Request::new(&mut headers);
                let parsed = request.parse(&raw).expect("accepted heads parse");
                prop_assert_eq!(parsed, httparse::Status::Complete(head.len));
                prop_assert_eq!(request.path.map(str::as_bytes), Some(&raw[head.target.clone()]));
                let lengths = request.headers.iter().filter(|h| h.name.eq_ignore_ascii_case("content-length")).count();
                let codings = request.headers.iter().filter(|h| h.name.eq_ignore_ascii_case("transfer-encoding")).count();
                prop_assert!(lengths + codings <= 1);
                prop_assert_eq!(codings == 1, head.framing == BodyFraming::Chunked);
            }
        }

        #[test]
        fn checking_never_panics(raw in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = check(&raw);
        }
    }
}
