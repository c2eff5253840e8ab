//! What the headers of one part say.

use std::fmt;

use super::error::{MultipartError, PartRef, quotable};
use super::params::{self, Param};
use super::{MAX_NAME_BYTES, MAX_PART_HEADERS};

/// Most characters of a file name that we write.
const MAX_WIRE_FILE_NAME: usize = 100;
/// Most characters of a file name's extension that we keep when the name is cut.
const MAX_EXTENSION: usize = 10;

/// The headers of one part, read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PartHead {
    /// The part's number among all parts, from 1.
    pub number: u8,
    /// `name` of the Content-Disposition: 1 to 64 printable ASCII characters without `"`, `\` and `%`.
    pub name: String,
    /// `filename`, or else `filename*`; `None` if there is neither.
    pub file_name: Option<FileName>,
    /// The part's own Content-Type.
    pub content_type: Option<MediaType>,
}

impl PartHead {
    /// Reads a header block, its empty line included.
    pub(super) fn parse(block: &[u8], number: u8) -> Result<Self, MultipartError> {
        let mut part = PartRef::unnamed(number);
        let mut lines = [httparse::EMPTY_HEADER; MAX_PART_HEADERS];
        let headers = match httparse::parse_headers(block, &mut lines) {
            Ok(httparse::Status::Complete((_, headers))) => headers,
            Err(httparse::Error::TooManyHeaders) => return Err(MultipartError::TooManyHeaders { part }),
            Ok(httparse::Status::Partial) | Err(_) => return Err(MultipartError::HeaderMalformed { part }),
        };
        let lines = Lines::sort(headers, &part)?;

        let Some(disposition) = lines.disposition else {
            return Err(MultipartError::DispositionMissing { part });
        };
        let (name, file_name) = parse_disposition(disposition, &part)?;
        part.name = Some(name.clone());
        let content_type = lines
            .content_type
            .map(|value| parse_content_type(value, &part))
            .transpose()?;
        if lines
            .length
            .is_some_and(|value| value.is_empty() || !value.iter().all(u8::is_ascii_digit))
        {
            return Err(MultipartError::LengthMalformed { part });
        }
        if lines.encoding.is_some_and(|value| !is_identity_encoding(value)) {
            return Err(MultipartError::TransferEncoding { part });
        }
        Ok(Self {
            number,
            name,
            file_name,
            content_type,
        })
    }

    /// Where this part is, for an error.
    pub(super) fn place(&self) -> PartRef {
        PartRef {
            number: self.number,
            name: Some(self.name.clone()),
        }
    }
}

/// The values of the four headers that a part may have, in whatever order they came.
#[derive(Default)]
struct Lines<'a> {
    disposition: Option<&'a [u8]>,
    content_type: Option<&'a [u8]>,
    length: Option<&'a [u8]>,
    encoding: Option<&'a [u8]>,
}

impl<'a> Lines<'a> {
    fn sort(headers: &[httparse::Header<'a>], part: &PartRef) -> Result<Self, MultipartError> {
        let mut lines = Self::default();
        for httparse::Header { name, value } in headers {
            let (line, header) = if name.eq_ignore_ascii_case("content-disposition") {
                (&mut lines.disposition, "Content-Disposition")
            } else if name.eq_ignore_ascii_case("content-type") {
                (&mut lines.content_type, "Content-Type")
            } else if name.eq_ignore_ascii_case("content-length") {
                (&mut lines.length, "Content-Length")
            } else if name.eq_ignore_ascii_case("content-transfer-encoding") {
                (&mut lines.encoding, "Content-Transfer-Encoding")
            } else {
                let header = quotable(name.as_bytes());
                return Err(MultipartError::HeaderUnknown {
                    part: part.clone(),
                    header,
                });
            };
            if line.replace(*value).is_some() {
                return Err(MultipartError::HeaderTwice {
                    part: part.clone(),
                    header,
                });
            }
        }
        Ok(lines)
    }
}

/// RFC 2045, section 6.2: these three mean that nothing was encoded.
fn is_identity_encoding(value: &[u8]) -> bool {
    [&b"binary"[..], b"8bit", b"7bit"]
        .iter()
        .any(|identity| value.eq_ignore_ascii_case(identity))
}

fn parse_disposition(value: &[u8], part: &PartRef) -> Result<(String, Option<FileName>), MultipartError> {
    let malformed = || MultipartError::DispositionMalformed { part: part.clone() };
    let (kind, params) = params::split(value);
    if !kind.eq_ignore_ascii_case(b"form-data") {
        return Err(malformed());
    }
    let (mut name, mut plain, mut extended) = (None, None, None);
    for param in params {
        let param: Param<'_> = param.map_err(|_| malformed())?;
        let (slot, known) = if param.is("name") {
            (&mut name, "name")
        } else if param.is("filename") {
            (&mut plain, "filename")
        } else if param.is("filename*") {
            (&mut extended, "filename*")
        } else {
            return Err(MultipartError::DispositionParameter {
                part: part.clone(),
                name: quotable(param.name),
            });
        };
        if slot.replace(param).is_some() {
            return Err(MultipartError::DispositionTwice {
                part: part.clone(),
                name: known,
            });
        }
    }

    let Some(name) = name else {
        return Err(MultipartError::NameMissing { part: part.clone() });
    };
    let name = plain_name(name.value).ok_or_else(|| MultipartError::NameUnusual { part: part.clone() })?;
    // Read even where `filename` wins, so that a broken one never passes.
    let extended = match extended {
        Some(param) => {
            Some(
                FileName::from_extended(&param).ok_or_else(|| MultipartError::FileNameMalformed {
                    part: PartRef {
                        name: Some(name.clone()),
                        ..*part
                    },
                })?,
            )
        }
        None => None,
    };
    Ok((name, plain.map(|param| FileName::from_plain(&param)).or(extended)))
}

/// A name that every parser reads alike: without what is an escape to one and a character to the next.
fn plain_name(value: &[u8]) -> Option<String> {
    let fits = (1..=MAX_NAME_BYTES).contains(&value.len());
    let plain = value
        .iter()
        .all(|byte| (b' '..=b'~').contains(byte) && !b"\"\\%".contains(byte));
    (fits && plain).then(|| value.iter().map(|byte| char::from(*byte)).collect())
}

fn parse_content_type(value: &[u8], part: &PartRef) -> Result<MediaType, MultipartError> {
    let media_type =
        MediaType::parse(value).ok_or_else(|| MultipartError::PartTypeMalformed { part: part.clone() })?;
    if media_type.essence().starts_with("multipart/") {
        return Err(MultipartError::NestedMultipart { part: part.clone() });
    }
    Ok(media_type)
}

/// The name of a file on the caller's side. It decides nothing, and only a tame form of it is written.
///
/// A name can tell about a person, so `Debug` shows its length alone.
#[derive(Clone, Eq, PartialEq)]
pub struct FileName(String);

impl FileName {
    /// A file name for an upload that brings none.
    pub(super) const NEUTRAL: &str = "file";

    /// `\"` and `\\` as RFC 9110 has it, `%22` as browsers do; any other backslash is a Windows path's.
    fn from_plain(param: &Param<'_>) -> Self {
        let mut bytes = Vec::with_capacity(param.value.len());
        let mut rest = param.value.iter().peekable();
        while let Some(byte) = rest.next() {
            match rest.peek() {
                Some(next) if param.quoted && *byte == b'\\' && (**next == b'"' || **next == b'\\') => {
                    bytes.push(**next);
                    rest.next();
                }
                _ => bytes.push(*byte),
            }
        }
        Self(String::from_utf8_lossy(&bytes).replace("%22", "\""))
    }

    /// `UTF-8''` and percent-encoded UTF-8, unquoted (RFC 8187, section 3.2.1).
    fn from_extended(param: &Param<'_>) -> Option<Self> {
        let mut pieces = param.value.splitn(3, |byte| *byte == b'\'');
        let (charset, _language, text) = (pieces.next()?, pieces.next()?, pieces.next()?);
        if param.quoted || !charset.eq_ignore_ascii_case(b"utf-8") {
            return None;
        }
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.iter();
        while let Some(byte) = rest.next() {
            match byte {
                b'%' => {
                    let (high, low) = (hex_digit(*rest.next()?)?, hex_digit(*rest.next()?)?);
                    bytes.push(high << 4 | low);
                }
                b'\'' | b'*' => return None,
                other => bytes.push(*other),
            }
        }
        String::from_utf8(bytes).ok().map(Self)
    }

    /// The name as it came, unescaped; it may hold anything, path separators and control characters included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as we write it: the last path segment, at most 100 characters of `A-Z a-z 0-9 . - _` and space, others
    /// as `_`, with its extension kept; `file` where nothing is left.
    #[must_use]
    pub fn sanitized(&self) -> String {
        let last = self.0.rsplit(['/', '\\']).next().unwrap_or_default().trim();
        let tame: String = last.chars().map(tame).collect();
        let tame = tame.trim_start_matches('.');
        if !tame.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
            return Self::NEUTRAL.to_owned();
        }
        match tame.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() && extension.len() <= MAX_EXTENSION => {
                let stem: String = stem
                    .chars()
                    .take(MAX_WIRE_FILE_NAME - extension.len() - 1)
                    .collect();
                format!("{stem}.{extension}")
            }
            _ => tame.chars().take(MAX_WIRE_FILE_NAME).collect(),
        }
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileName({} bytes)", self.0.len())
    }
}

fn tame(character: char) -> char {
    if character.is_ascii_alphanumeric() || " .-_".contains(character) {
        character
    } else {
        '_'
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// A media type, read: `type/subtype` in lower case and its parameters, each at most once, in printable ASCII.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MediaType {
    essence: String,
    /// Lower-case name and unescaped value.
    params: Vec<(String, String)>,
}

impl MediaType {
    /// Reads a Content-Type value; `None` if it does not follow RFC 9110, section 8.3.1, has a parameter twice, or
    /// holds other than printable ASCII.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (essence, rest) = params::split(value);
        let slash = memchr::memchr(b'/', essence)?;
        let (kind, subtype) = essence.split_at(slash);
        if !params::is_token(kind) || !params::is_token(subtype.strip_prefix(b"/")?) {
            return None;
        }
        let mut params: Vec<(String, String)> = Vec::new();
        for param in rest {
            let param = param.ok()?;
            let name = std::str::from_utf8(param.name).ok()?.to_ascii_lowercase();
            if params.iter().any(|(known, _)| *known == name) {
                return None;
            }
            params.push((name, unescaped(&param)?));
        }
        Some(Self {
            essence: std::str::from_utf8(essence).ok()?.to_ascii_lowercase(),
            params,
        })
    }

    /// `type/subtype`, in lower case.
    #[must_use]
    pub fn essence(&self) -> &str {
        &self.essence
    }

    /// A parameter's value; `name` in lower case.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether this is text that may be read as UTF-8: `text/plain`, with no parameter but such a `charset`.
    pub(super) fn is_plain_utf8(&self) -> bool {
        let utf8 = |(name, value): &(String, String)| {
            name == "charset"
                && ["utf-8", "us-ascii"]
                    .iter()
                    .any(|known| value.eq_ignore_ascii_case(known))
        };
        self.essence == "text/plain" && self.params.iter().all(utf8)
    }
}

/// The media type as we write it.
impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.essence)?;
        for (name, value) in &self.params {
            if params::is_token(value.as_bytes()) {
                write!(f, "; {name}={value}")?;
            } else {
                write!(
                    f,
                    "; {name}=\"{}\"",
                    value.replace('\\', "\\\\").replace('"', "\\\"")
                )?;
            }
        }
        Ok(())
    }
}

/// A parameter's value without its backslashes; `None` if it holds other than printable ASCII.
fn unescaped(param: &Param<'_>) -> Option<String> {
    let mut text = String::with_capacity(param.value.len());
    let mut bytes = param.value.iter();
    while let Some(byte) = bytes.next() {
        let byte = if param.quoted && *byte == b'\\' {
            bytes.next()?
        } else {
            byte
        };
        if !(b' '..=b'~').contains(byte) {
            return None;
        }
        text.push(char::from(*byte));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(headers: &[&str]) -> Result<PartHead, MultipartError> {
        PartHead::parse(format!("{}\r\n\r\n", headers.join("\r\n")).as_bytes(), 1)
    }

    fn slug(headers: &[&str]) -> &'static str {
        parse(headers).unwrap_err().slug()
    }

    fn file_name(disposition: &str) -> Option<String> {
        let head = parse(&[&format!(
            "Content-Disposition: form-data; name=\"file\"{disposition}"
        )])
        .unwrap();
        head.file_name.map(|name| name.as_str().to_owned())
    }

    #[test]
    fn headers_come_in_any_order_and_case() {
        let head = parse(&[
            "content-LENGTH: 12",
            "Content-Type: Text/Plain; Charset=\"utf-8\"",
            "Content-Transfer-Encoding: 8BIT",
            "CONTENT-DISPOSITION:form-data ;FileName=a.txt; NAME=\"file\"",
        ])
        .unwrap();
        assert_eq!((head.name.as_str(), head.number), ("file", 1));
        assert_eq!(head.file_name.unwrap().as_str(), "a.txt");
        assert_eq!(
            head.content_type.unwrap().to_string(),
            "text/plain; charset=utf-8"
        );
    }

    #[test]
    fn exactly_one_content_disposition() {
        assert_eq!(
            PartHead::parse(b"\r\n", 1).unwrap_err().slug(),
            "form_disposition_missing"
        );
        assert_eq!(slug(&["Content-Type: text/plain"]), "form_disposition_missing");
        let disposition = "Content-Disposition: form-data; name=\"type\"";
        assert_eq!(slug(&[disposition, disposition]), "form_header_twice");
    }

    #[test]
    fn a_disposition_is_form_data_with_one_name() {
        for (disposition, expected) in [
            ("attachment; name=\"a\"", "form_disposition_malformed"),
            ("form-data; name=\"a", "form_disposition_malformed"),
            ("form-data; name=\"a\";", "form_disposition_malformed"),
            ("form-data; name=\"a\"x", "form_disposition_malformed"),
            (
                "form-data; name=\"file\"; filename=\"a\\\"; name=\"x\"",
                "form_disposition_malformed",
            ),
            ("form-data", "form_name_missing"),
            ("form-data; filename=\"a\"", "form_name_missing"),
            ("form-data; name=\"a\"; name=\"a\"", "form_disposition_twice"),
            (
                "form-data; name=a; filename=b; filename=b",
                "form_disposition_twice",
            ),
            (
                "form-data; name=\"a\"; name*=UTF-8''b",
                "form_disposition_parameter",
            ),
            ("form-data; name=\"a\"; name*0=b", "form_disposition_parameter"),
            ("form-data; name=\"a\"; size=1", "form_disposition_parameter"),
            ("form-data; name=\"\"", "form_name_unusual"),
            ("form-data; name=\"a\\\"b\"", "form_name_unusual"),
            ("form-data; name=\"a%22b\"", "form_name_unusual"),
            ("form-data; name=\"\u{fc}\"", "form_name_unusual"),
        ] {
            assert_eq!(
                slug(&[&format!("Content-Disposition: {disposition}")]),
                expected,
                "{disposition}"
            );
        }
        let long = format!("Content-Disposition: form-data; name=\"{}\"", "n".repeat(65));
        assert_eq!(slug(&[&long]), "form_name_unusual");
    }

    #[test]
    fn file_names_are_unescaped_as_clients_escape_them() {
        assert_eq!(file_name("").as_deref(), None);
        assert_eq!(file_name("; filename=\"\"").as_deref(), Some(""));
        assert_eq!(
            file_name("; filename=\"a \\\"b\\\\c.png\"").as_deref(),
            Some("a \"b\\c.png")
        );
        assert_eq!(file_name("; filename=\"a%22b.png\"").as_deref(), Some("a\"b.png"));
        assert_eq!(
            file_name("; filename=\"C:\\fakepath\\a.png\"").as_deref(),
            Some("C:\\fakepath\\a.png")
        );
        assert_eq!(
            file_name("; filename=\"\u{dc}b.png\"").as_deref(),
            Some("\u{dc}b.png")
        );
        assert_eq!(
            file_name("; filename*=utf-8''%C3%9Cb.png").as_deref(),
            Some("\u{dc}b.png")
        );
        assert_eq!(
            file_name("; filename=x.png; filename*=UTF-8'de'%C3%9Cb.png").as_deref(),
            Some("x.png")
        );
        let latin1 = b"Content-Disposition: form-data; name=\"file\"; filename=\"\xdc.png\"\r\n\r\n";
        assert_eq!(
            PartHead::parse(latin1, 1).unwrap().file_name.unwrap().as_str(),
            "\u{fffd}.png"
        );
    }

    #[test]
    fn a_broken_extended_file_name_is_refused_even_beside_a_plain_one() {
        for extended in [
            "a.png",
            "utf-8'a",
            "latin1''a",
            "UTF-8''%C3",
            "UTF-8''%4",
            "UTF-8''%zz",
            "\"UTF-8''a\"",
        ] {
            for plain in ["", "filename=\"a.png\"; "] {
                let line =
                    format!("Content-Disposition: form-data; name=\"file\"; {plain}filename*={extended}");
                assert_eq!(slug(&[&line]), "form_file_name_malformed", "{line}");
            }
        }
    }

    #[test]
    fn only_known_headers_each_once() {
        let disposition = "Content-Disposition: form-data; name=\"type\"";
        for header in [
            "X-Any: 1",
            "Content-Encoding: gzip",
            "Content-ID: 1",
            "Content-Disposition2: x",
            "MIME-Version: 1.0",
        ] {
            assert_eq!(slug(&[disposition, header]), "form_header_unknown", "{header}");
        }
        for header in [
            "Content-Type: text/plain",
            "Content-Length: 1",
            "Content-Transfer-Encoding: binary",
        ] {
            assert!(parse(&[disposition, header]).is_ok(), "{header}");
            assert_eq!(
                slug(&[disposition, header, header]),
                "form_header_twice",
                "{header}"
            );
        }
        let many = ["X: 1"; 9];
        assert_eq!(slug(&many), "form_too_many_headers");
    }

    #[test]
    fn malformed_headers_are_refused() {
        let disposition = "Content-Disposition: form-data; name=\"type\"";
        for header in [
            "no colon",
            ": x",
            "Content-Type : text/plain",
            " folded",
            "\tfolded",
            "A\u{fc}: x",
            "A: \x01",
            "A: \rb",
        ] {
            assert_eq!(
                slug(&[disposition, header]),
                "form_header_malformed",
                "{header:?}"
            );
        }
    }

    #[test]
    fn content_length_is_digits_and_transfer_encoding_is_none() {
        let disposition = "Content-Disposition: form-data; name=\"type\"";
        for value in ["", "+1", "1, 1", "0x1", "-1"] {
            assert_eq!(
                slug(&[disposition, &format!("Content-Length: {value}")]),
                "form_length_malformed",
                "{value}"
            );
        }
        for value in [
            "base64",
            "quoted-printable",
            "gzip",
            "",
            "binary; x=1",
            "binary, base64",
        ] {
            let line = format!("Content-Transfer-Encoding: {value}");
            assert_eq!(slug(&[disposition, &line]), "form_transfer_encoding", "{value}");
        }
    }

    #[test]
    fn a_parts_media_type_is_well_formed_and_not_multipart() {
        let disposition = "Content-Disposition: form-data; name=\"file\"";
        for value in [
            "",
            "png",
            "image/",
            "/png",
            "image/png/x",
            "image/png, text/plain",
            "image/png;",
            "a/b; c=d; C=e",
            "image /png",
            "a/b; c=\"\u{fc}\"",
            "a/b; c=\"\t\"",
        ] {
            assert_eq!(
                slug(&[disposition, &format!("Content-Type: {value}")]),
                "form_part_type_malformed",
                "{value}"
            );
        }
        for value in ["multipart/mixed; boundary=x", "Multipart/Form-Data"] {
            assert_eq!(
                slug(&[disposition, &format!("Content-Type: {value}")]),
                "form_nested_multipart",
                "{value}"
            );
        }
    }

    #[test]
    fn a_media_type_reads_back_as_written() {
        let media_type = MediaType::parse(b"Audio/OGG ; Codecs=\"op\\\"u,s\"; x=y").unwrap();
        assert_eq!(media_type.essence(), "audio/ogg");
        assert_eq!(media_type.param("codecs"), Some("op\"u,s"));
        assert_eq!(media_type.to_string(), "audio/ogg; codecs=\"op\\\"u,s\"; x=y");
        assert_eq!(
            MediaType::parse(media_type.to_string().as_bytes()),
            Some(media_type)
        );
    }

    #[test]
    fn a_written_file_name_is_tame() {
        let sanitized = |name: &str| FileName(name.to_owned()).sanitized();
        assert_eq!(sanitized("scan 1-a_b.PDF"), "scan 1-a_b.PDF");
        assert_eq!(sanitized("C:\\fakepath\\x.png"), "x.png");
        assert_eq!(sanitized("../../etc/passwd"), "passwd");
        assert_eq!(sanitized("a\r\nContent-Type: text/html\".png"), "html_.png");
        assert_eq!(sanitized("\u{dc}bersicht \"x\".pdf"), "_bersicht _x_.pdf");
        for empty in ["", " ", "/", "..", "...", "\u{202e}", "___"] {
            assert_eq!(sanitized(empty), "file", "{empty:?}");
        }
        assert_eq!(sanitized(".htaccess"), "htaccess");
        let long = sanitized(&format!("{}.jpeg", "n".repeat(300)));
        assert_eq!((long.len(), long.ends_with("n.jpeg")), (100, true));
        assert_eq!(sanitized(&"n".repeat(300)).len(), 100);
    }

    #[test]
    fn debug_output_hides_the_file_name() {
        assert_eq!(
            format!("{:?}", FileName("patient.pdf".to_owned())),
            "FileName(11 bytes)"
        );
    }
}
