//! Every reason for which a form is refused, in words for the developer who sent it.

use std::fmt;

use super::form::FormKind;
use super::{MAX_FIELD_BYTES, MAX_HEADER_BLOCK, MAX_NAME_BYTES, MAX_PART_HEADERS, MAX_PARTS};

/// Where in a form something is: the part's number and its name as far as it is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PartRef {
    /// Position among the form's parts, from 1; 0 is the place before the first part.
    pub number: u8,
    /// The `name` of its Content-Disposition; `None` where the error is met before the name.
    pub name: Option<String>,
}

impl PartRef {
    /// A part whose name is not known yet.
    pub(super) fn unnamed(number: u8) -> Self {
        Self { number, name: None }
    }
}

impl fmt::Display for PartRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.number, &self.name) {
            (0, _) => f.write_str("the start of the form"),
            (number, Some(name)) => write!(f, "part {number} (\"{name}\")"),
            (number, None) => write!(f, "part {number}"),
        }
    }
}

/// Why a form is not read. The text says what was wrong, where, and what would be right; it holds names of fields,
/// headers and parameters, never a value or a byte of content.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MultipartError {
    /// The request's media type is another.
    #[error(
        "the request's Content-Type is not multipart/form-data; files are uploaded as multipart/form-data only"
    )]
    NotFormData,
    /// The request's Content-Type does not follow the grammar of RFC 9110, section 8.3.1.
    #[error(
        "the request's Content-Type is malformed; it must read: multipart/form-data; boundary=TOKEN (or a quoted string)"
    )]
    ContentTypeMalformed,
    /// No `boundary` parameter.
    #[error(
        "the request's Content-Type has no boundary parameter; it must read: multipart/form-data; boundary=TOKEN"
    )]
    BoundaryMissing,
    /// More than one `boundary` parameter.
    #[error("the request's Content-Type has more than one boundary parameter; it must have exactly one")]
    BoundaryTwice,
    /// A boundary that RFC 2046, section 5.1.1, does not allow.
    #[error(
        "the boundary is not valid: 1 to 70 characters of A-Z a-z 0-9 ' ( ) + _ , - . / : = ? and space, not ending \
         in a space"
    )]
    BoundaryInvalid,
    /// A parameter other than `boundary` and `charset=utf-8`.
    #[error(
        "the request's Content-Type has the parameter \"{name}\" that is not understood; only boundary is needed"
    )]
    ContentTypeParameter {
        /// The parameter's name.
        name: String,
    },
    /// Bytes before the first boundary.
    #[error("the form does not begin with its boundary; nothing may stand before the first one")]
    Preamble,
    /// Something other than CRLF or `--` behind a boundary.
    #[error(
        "the boundary after {after} is followed by other bytes than CRLF (next part) or \"--\" (end of the form); \
         padding is not allowed, nor content that holds the boundary"
    )]
    AfterBoundary {
        /// The last part before that boundary.
        after: PartRef,
    },
    /// Bytes after the closing boundary.
    #[error("the form goes on after its closing boundary; only one CRLF may follow it")]
    Epilogue,
    /// The body ended before the closing boundary.
    #[error("the form is cut off in {at}; it must end with its closing boundary")]
    CutOff {
        /// The part that was being read, or read last.
        at: PartRef,
    },
    /// More than [`MAX_PARTS`] parts.
    #[error("the form has more than {MAX_PARTS} parts; no form has more than six")]
    TooManyParts,
    /// More than [`MAX_HEADER_BLOCK`] bytes of headers.
    #[error("the headers of {part} are longer than {MAX_HEADER_BLOCK} bytes")]
    HeaderBlockTooLarge {
        /// Where.
        part: PartRef,
    },
    /// More than [`MAX_PART_HEADERS`] header lines.
    #[error("{part} has more than {MAX_PART_HEADERS} headers")]
    TooManyHeaders {
        /// Where.
        part: PartRef,
    },
    /// A header line that ends in LF alone.
    #[error("a header line of {part} ends without CR; lines end in CRLF")]
    BareLineFeed {
        /// Where.
        part: PartRef,
    },
    /// A header line that is none.
    #[error(
        "a header line of {part} is malformed; it must read Name: value, on one line, without control characters"
    )]
    HeaderMalformed {
        /// Where.
        part: PartRef,
    },
    /// A header that form parts do not have.
    #[error(
        "{part} has the header \"{header}\"; allowed are Content-Disposition, Content-Type, Content-Length and \
         Content-Transfer-Encoding"
    )]
    HeaderUnknown {
        /// Where.
        part: PartRef,
        /// The header's name, cut to 64 characters.
        header: String,
    },
    /// The same header twice.
    #[error("{part} has the header {header} more than once")]
    HeaderTwice {
        /// Where.
        part: PartRef,
        /// The header's name.
        header: &'static str,
    },
    /// No Content-Disposition.
    #[error("{part} has no Content-Disposition; it must read: form-data; name=\"...\"")]
    DispositionMissing {
        /// Where.
        part: PartRef,
    },
    /// A Content-Disposition that is not `form-data` with well-formed parameters.
    #[error(
        "the Content-Disposition of {part} is malformed; it must read: form-data; name=\"...\"; filename=\"...\""
    )]
    DispositionMalformed {
        /// Where.
        part: PartRef,
    },
    /// A parameter other than `name`, `filename` and `filename*`.
    #[error(
        "the Content-Disposition of {part} has the parameter \"{name}\"; allowed are name, filename and filename*"
    )]
    DispositionParameter {
        /// Where.
        part: PartRef,
        /// The parameter's name, cut to 64 characters.
        name: String,
    },
    /// The same parameter twice.
    #[error("the Content-Disposition of {part} has the parameter {name} more than once")]
    DispositionTwice {
        /// Where.
        part: PartRef,
        /// The parameter's name.
        name: &'static str,
    },
    /// No `name`.
    #[error("the Content-Disposition of {part} has no name; it must read: form-data; name=\"...\"")]
    NameMissing {
        /// Where.
        part: PartRef,
    },
    /// A `name` that could be read in more than one way.
    #[error(
        "the name of {part} is not plain: 1 to {MAX_NAME_BYTES} printable ASCII characters without quotation mark, \
         backslash and percent sign"
    )]
    NameUnusual {
        /// Where.
        part: PartRef,
    },
    /// A `filename*` that is not `UTF-8''` and percent-encoded UTF-8 (RFC 8187).
    #[error(
        "the filename* of {part} is malformed; it must read UTF-8'' and percent-encoded UTF-8, or be left out"
    )]
    FileNameMalformed {
        /// Where.
        part: PartRef,
    },
    /// A part's Content-Type does not follow the grammar, or names a parameter twice.
    #[error(
        "the Content-Type of {part} is malformed; it must read type/subtype, with each parameter at most once"
    )]
    PartTypeMalformed {
        /// Where.
        part: PartRef,
    },
    /// A form within the form.
    #[error("{part} is itself multipart; each part must be one file or one field")]
    NestedMultipart {
        /// Where.
        part: PartRef,
    },
    /// A part's Content-Length that is not plain digits.
    #[error("the Content-Length of {part} is not a plain number; it may be left out")]
    LengthMalformed {
        /// Where.
        part: PartRef,
    },
    /// A transfer encoding that would have to be decoded.
    #[error(
        "the Content-Transfer-Encoding of {part} is not binary, 8bit or 7bit; send the bytes as they are"
    )]
    TransferEncoding {
        /// Where.
        part: PartRef,
    },
    /// A part that a form of this kind does not have.
    #[error("{part} is not a field of {form}; known are {}", .form.parts())]
    FieldUnknown {
        /// Where.
        part: PartRef,
        /// Of which form.
        form: &'static FormKind,
    },
    /// The same field twice, or a second file.
    #[error("{part} comes a second time; each field may come once, and one file in all")]
    FieldTwice {
        /// Where.
        part: PartRef,
    },
    /// A small field that is too long.
    #[error("{part} is longer than {MAX_FIELD_BYTES} bytes")]
    FieldTooLong {
        /// Where.
        part: PartRef,
    },
    /// A small field that claims to be a file.
    #[error("{part} has a filename; only the file may have one")]
    FieldWithFileName {
        /// Where.
        part: PartRef,
    },
    /// A small field in another type or character set.
    #[error(
        "the Content-Type of {part} is not text/plain in UTF-8; leave it out, or send text/plain; charset=utf-8"
    )]
    FieldType {
        /// Where.
        part: PartRef,
    },
    /// A small field that is not UTF-8.
    #[error("{part} is not valid UTF-8")]
    FieldNotUtf8 {
        /// Where.
        part: PartRef,
    },
    /// A form without its file.
    #[error("the form has no part {}; {form} must have exactly one", .form.file_names())]
    FileMissing {
        /// Which form.
        form: &'static FormKind,
    },
    /// A file longer than its form may have.
    #[error("the file is longer than {max_bytes} bytes, the most that {form} may have")]
    FileTooLong {
        /// Which form.
        form: &'static FormKind,
        /// The most, in bytes.
        max_bytes: u64,
    },
    /// Another body than the request announced.
    #[error("the body that came is not the one that Repr-Digest announces; send it again")]
    DigestDiffers,
}

impl MultipartError {
    /// Every slug, for the list of them.
    pub const SLUGS: [&'static str; 37] = [
        "form_not_form_data",
        "form_content_type_malformed",
        "form_boundary_missing",
        "form_boundary_twice",
        "form_boundary_invalid",
        "form_content_type_parameter",
        "form_preamble",
        "form_after_boundary",
        "form_epilogue",
        "form_cut_off",
        "form_too_many_parts",
        "form_header_block_too_large",
        "form_too_many_headers",
        "form_bare_line_feed",
        "form_header_malformed",
        "form_header_unknown",
        "form_header_twice",
        "form_disposition_missing",
        "form_disposition_malformed",
        "form_disposition_parameter",
        "form_disposition_twice",
        "form_name_missing",
        "form_name_unusual",
        "form_file_name_malformed",
        "form_part_type_malformed",
        "form_nested_multipart",
        "form_length_malformed",
        "form_transfer_encoding",
        "form_field_unknown",
        "form_field_twice",
        "form_field_too_long",
        "form_field_with_file_name",
        "form_field_type",
        "form_field_not_utf8",
        "form_file_missing",
        "form_file_too_long",
        "form_digest_differs",
    ];

    /// Whether it is about the file's size, for which callers know another error code.
    #[must_use]
    pub const fn is_about_size(&self) -> bool {
        matches!(self, Self::FileTooLong { .. })
    }

    /// Whether it is about `ttl_minutes`, for which callers know another error code.
    #[must_use]
    pub fn is_about_ttl(&self) -> bool {
        let part = match self {
            Self::FieldTwice { part }
            | Self::FieldTooLong { part }
            | Self::FieldWithFileName { part }
            | Self::FieldType { part }
            | Self::FieldNotUtf8 { part } => part,
            _ => return false,
        };
        part.name.as_deref() == Some("ttl_minutes")
    }

    /// A short, stable name for metrics, spans and the `Curfew-Reason` header.
    #[must_use]
    pub fn slug(&self) -> &'static str {
        match self {
            Self::NotFormData => "form_not_form_data",
            Self::ContentTypeMalformed => "form_content_type_malformed",
            Self::BoundaryMissing => "form_boundary_missing",
            Self::BoundaryTwice => "form_boundary_twice",
            Self::BoundaryInvalid => "form_boundary_invalid",
            Self::ContentTypeParameter { .. } => "form_content_type_parameter",
            Self::Preamble => "form_preamble",
            Self::AfterBoundary { .. } => "form_after_boundary",
            Self::Epilogue => "form_epilogue",
            Self::CutOff { .. } => "form_cut_off",
            Self::TooManyParts => "form_too_many_parts",
            Self::HeaderBlockTooLarge { .. } => "form_header_block_too_large",
            Self::TooManyHeaders { .. } => "form_too_many_headers",
            Self::BareLineFeed { .. } => "form_bare_line_feed",
            Self::HeaderMalformed { .. } => "form_header_malformed",
            Self::HeaderUnknown { .. } => "form_header_unknown",
            Self::HeaderTwice { .. } => "form_header_twice",
            Self::DispositionMissing { .. } => "form_disposition_missing",
            Self::DispositionMalformed { .. } => "form_disposition_malformed",
            Self::DispositionParameter { .. } => "form_disposition_parameter",
            Self::DispositionTwice { .. } => "form_disposition_twice",
            Self::NameMissing { .. } => "form_name_missing",
            Self::NameUnusual { .. } => "form_name_unusual",
            Self::FileNameMalformed { .. } => "form_file_name_malformed",
            Self::PartTypeMalformed { .. } => "form_part_type_malformed",
            Self::NestedMultipart { .. } => "form_nested_multipart",
            Self::LengthMalformed { .. } => "form_length_malformed",
            Self::TransferEncoding { .. } => "form_transfer_encoding",
            Self::FieldUnknown { .. } => "form_field_unknown",
            Self::FieldTwice { .. } => "form_field_twice",
            Self::FieldTooLong { .. } => "form_field_too_long",
            Self::FieldWithFileName { .. } => "form_field_with_file_name",
            Self::FieldType { .. } => "form_field_type",
            Self::FieldNotUtf8 { .. } => "form_field_not_utf8",
            Self::FileMissing { .. } => "form_file_missing",
            Self::FileTooLong { .. } => "form_file_too_long",
            Self::DigestDiffers => "form_digest_differs",
        }
    }
}

/// A name from the form, cut to what fits an error text. The grammar has let printable ASCII through only.
pub(super) fn quotable(name: &[u8]) -> String {
    name.iter()
        .take(MAX_NAME_BYTES)
        .map(|byte| char::from(*byte))
        .filter(char::is_ascii_graphic)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slug_is_in_the_list() {
        use MultipartError as E;
        let part = || PartRef::unnamed(2);
        let name = || "name".to_owned();
        let all = [
            E::NotFormData,
            E::ContentTypeMalformed,
            E::BoundaryMissing,
            E::BoundaryTwice,
            E::BoundaryInvalid,
            E::ContentTypeParameter { name: name() },
            E::Preamble,
            E::AfterBoundary { after: part() },
            E::Epilogue,
            E::CutOff { at: part() },
            E::TooManyParts,
            E::HeaderBlockTooLarge { part: part() },
            E::TooManyHeaders { part: part() },
            E::BareLineFeed { part: part() },
            E::HeaderMalformed { part: part() },
            E::HeaderUnknown {
                part: part(),
                header: name(),
            },
            E::HeaderTwice {
                part: part(),
                header: "Content-Type",
            },
            E::DispositionMissing { part: part() },
            E::DispositionMalformed { part: part() },
            E::DispositionParameter {
                part: part(),
                name: name(),
            },
            E::DispositionTwice {
                part: part(),
                name: "name",
            },
            E::NameMissing { part: part() },
            E::NameUnusual { part: part() },
            E::FileNameMalformed { part: part() },
            E::PartTypeMalformed { part: part() },
            E::NestedMultipart { part: part() },
            E::LengthMalformed { part: part() },
            E::TransferEncoding { part: part() },
            E::FieldUnknown {
                part: part(),
                form: FormKind::MEDIA,
            },
            E::FieldTwice { part: part() },
            E::FieldTooLong { part: part() },
            E::FieldWithFileName { part: part() },
            E::FieldType { part: part() },
            E::FieldNotUtf8 { part: part() },
            E::FileMissing {
                form: FormKind::MEDIA,
            },
            E::FileTooLong {
                form: FormKind::GROUP_PICTURE,
                max_bytes: 5,
            },
            E::DigestDiffers,
        ];
        assert_eq!(all.each_ref().map(MultipartError::slug), MultipartError::SLUGS);
    }

    #[test]
    fn an_error_says_what_where_and_what_would_be_right() {
        let part = PartRef {
            number: 3,
            name: Some("caption".to_owned()),
        };
        let form = FormKind::MEDIA;
        let error = MultipartError::FieldUnknown { part, form };
        assert_eq!(error.slug(), "form_field_unknown");
        assert_eq!(
            error.to_string(),
            "part 3 (\"caption\") is not a field of a media upload; known are file, messaging_product, type, \
             ttl_minutes, use_case and description"
        );
        let error = MultipartError::FieldTooLong {
            part: PartRef::unnamed(2),
        };
        assert_eq!(error.to_string(), "part 2 is longer than 1024 bytes");
    }

    #[test]
    fn a_quoted_name_is_short_and_printable() {
        assert_eq!(quotable(b"a\r\nb\xffc"), "abc");
        assert_eq!(quotable(&[b'x'; 5000]).len(), MAX_NAME_BYTES);
    }
}
