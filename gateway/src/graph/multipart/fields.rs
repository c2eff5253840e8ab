//! The fields of a media upload: which parts may come, and what they say as text.

use std::fmt;

use bytes::Bytes;

use super::MAX_FIELD_BYTES;
use super::error::{MultipartError, PartRef};
use super::part::PartHead;
use super::reader::Event;

/// A field of a media upload other than the file.
///
/// Source: Cloud API, Media, "Upload media"; `ttl_minutes`: No Storage, "Override outgoing media TTL"; `use_case` and
/// `description`: Calling, "Call settings".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UploadField {
    /// `messaging_product`
    MessagingProduct,
    /// `type`
    Type,
    /// `ttl_minutes`
    TtlMinutes,
    /// `use_case`
    UseCase,
    /// `description`
    Description,
}

impl UploadField {
    /// All of them, in the order in which they are written.
    pub(super) const ALL: [Self; 5] = [
        Self::MessagingProduct,
        Self::Type,
        Self::TtlMinutes,
        Self::UseCase,
        Self::Description,
    ];

    /// The field's name in the form.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MessagingProduct => "messaging_product",
            Self::Type => "type",
            Self::TtlMinutes => "ttl_minutes",
            Self::UseCase => "use_case",
            Self::Description => "description",
        }
    }
}

/// A part that Evolution API sends beside the file, with the MIME type once more. Meta documents no such part, so it is read
/// as strictly as the others and goes no further.
const LEFT_OUT: &str = "typeFile";

/// The small fields of an upload as they came: UTF-8 of at most 1 KiB each, not judged.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct UploadFields {
    /// `messaging_product`
    pub messaging_product: Option<String>,
    /// `type`: the MIME type, beside that of the file part.
    pub media_type: Option<String>,
    /// `ttl_minutes`
    pub ttl_minutes: Option<String>,
    /// `use_case`
    pub use_case: Option<String>,
    /// `description`
    pub description: Option<String>,
}

impl UploadFields {
    fn value(&mut self, field: UploadField) -> &mut Option<String> {
        match field {
            UploadField::MessagingProduct => &mut self.messaging_product,
            UploadField::Type => &mut self.media_type,
            UploadField::TtlMinutes => &mut self.ttl_minutes,
            UploadField::UseCase => &mut self.use_case,
            UploadField::Description => &mut self.description,
        }
    }
}

/// Which fields there are; no value is shown.
impl fmt::Debug for UploadFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = self.clone();
        f.debug_set()
            .entries(
                UploadField::ALL
                    .into_iter()
                    .filter(|field| fields.value(*field).is_some()),
            )
            .finish()
    }
}

/// What an event means for an upload.
pub(super) enum Taken {
    /// Nothing that anybody has to act on.
    Noted,
    /// The file's headers.
    FileBegin(PartHead),
    /// Some of the file.
    FileData(Bytes),
}

/// Keeps the small fields and lets the file through.
#[derive(Default)]
pub(super) struct FieldCollector {
    fields: UploadFields,
    has_file: bool,
    has_left_out: bool,
    open: Open,
}

/// The part that is being read.
#[derive(Default)]
enum Open {
    #[default]
    Nothing,
    File,
    /// A small part; one without a field is left out.
    Field(Option<UploadField>, PartRef, Vec<u8>),
}

impl FieldCollector {
    /// The fields that are complete.
    pub(super) fn fields(&self) -> &UploadFields {
        &self.fields
    }

    pub(super) fn take(&mut self, event: Event) -> Result<Taken, MultipartError> {
        match event {
            Event::PartBegin(head) => self.begin(head),
            Event::Data(data) => self.data(data),
            Event::PartEnd => self.end_part(),
            Event::End if self.has_file => Ok(Taken::Noted),
            Event::End => Err(MultipartError::FileMissing),
        }
    }

    fn begin(&mut self, head: PartHead) -> Result<Taken, MultipartError> {
        if head.name == "file" {
            if std::mem::replace(&mut self.has_file, true) {
                return Err(MultipartError::FieldTwice { part: head.place() });
            }
            self.open = Open::File;
            return Ok(Taken::FileBegin(head));
        }
        let part = head.place();
        let field = UploadField::ALL
            .into_iter()
            .find(|field| field.name() == head.name);
        let came_before = match field {
            Some(field) => self.fields.value(field).is_some(),
            None if head.name == LEFT_OUT => std::mem::replace(&mut self.has_left_out, true),
            None => return Err(MultipartError::FieldUnknown { part }),
        };
        if came_before {
            return Err(MultipartError::FieldTwice { part });
        }
        if head.file_name.is_some() {
            return Err(MultipartError::FieldWithFileName { part });
        }
        if head
            .content_type
            .is_some_and(|media_type| !media_type.is_plain_utf8())
        {
            return Err(MultipartError::FieldType { part });
        }
        self.open = Open::Field(field, part, Vec::new());
        Ok(Taken::Noted)
    }

    fn data(&mut self, data: Bytes) -> Result<Taken, MultipartError> {
        match &mut self.open {
            Open::File => Ok(Taken::FileData(data)),
            Open::Field(_, part, value) if value.len() + data.len() > MAX_FIELD_BYTES => {
                Err(MultipartError::FieldTooLong { part: part.clone() })
            }
            Open::Field(_, _, value) => {
                value.extend_from_slice(&data);
                Ok(Taken::Noted)
            }
            Open::Nothing => Ok(Taken::Noted),
        }
    }

    fn end_part(&mut self) -> Result<Taken, MultipartError> {
        if let Open::Field(field, part, value) = std::mem::take(&mut self.open) {
            let text = String::from_utf8(value).map_err(|_| MultipartError::FieldNotUtf8 { part })?;
            if let Some(field) = field {
                *self.fields.value(field) = Some(text);
            }
        }
        Ok(Taken::Noted)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Part, form};
    use super::super::{Boundary, FormReader};
    use super::*;

    fn collect(parts: &[Part<'_>]) -> Result<UploadFields, &'static str> {
        let mut reader = FormReader::new(&Boundary::new("xyz").unwrap());
        reader.feed(form("xyz", parts).into());
        let mut collector = FieldCollector::default();
        while let Some(event) = reader.next_event().unwrap() {
            collector.take(event).map_err(|error| error.slug())?;
        }
        Ok(collector.fields)
    }

    #[test]
    fn the_five_fields_are_kept() {
        let fields = collect(&[
            Part::field("description", "gr\u{fc}n\r\n".as_bytes()),
            Part::field("ttl_minutes", b"120").header("Content-Type: text/plain; charset=UTF-8"),
            Part::file(b"content"),
            Part::field("messaging_product", b"whatsapp").header("Content-Type: text/plain"),
            Part::field("use_case", b"").header("Content-Type: text/plain;charset=US-ASCII"),
            Part::field("type", b"image/png"),
        ]);
        let expected = UploadFields {
            messaging_product: Some("whatsapp".to_owned()),
            media_type: Some("image/png".to_owned()),
            ttl_minutes: Some("120".to_owned()),
            use_case: Some(String::new()),
            description: Some("gr\u{fc}n\r\n".to_owned()),
        };
        assert_eq!(
            format!("{expected:?}"),
            "{MessagingProduct, Type, TtlMinutes, UseCase, Description}"
        );
        assert_eq!(fields, Ok(expected));
    }

    #[test]
    fn what_evolution_api_adds_is_left_out() {
        let added = |value| Part::field("typeFile", value);
        let fields = collect(&[
            Part::file(b"content"),
            added(b"image/png"),
            Part::field("messaging_product", b"whatsapp"),
        ]);
        let expected = UploadFields {
            messaging_product: Some("whatsapp".to_owned()),
            ..UploadFields::default()
        };
        assert_eq!(fields, Ok(expected));
        let beside_a_file = |value| collect(&[Part::file(b""), added(value)]).map(drop);
        assert_eq!(beside_a_file(&[b'x'; 1024]), Ok(()));
        assert_eq!(beside_a_file(&[b'x'; 1025]), Err("form_field_too_long"));
        assert_eq!(beside_a_file(b"\xff"), Err("form_field_not_utf8"));
        assert_eq!(
            collect(&[Part::file(b""), added(b""), added(b"")]),
            Err("form_field_twice")
        );
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "caption",
            "Type",
            "typefile",
            "ttl_minutes ",
            "file[]",
            "access_token",
            "method",
            "batch",
            "_charset_",
            "FILE",
        ] {
            assert_eq!(
                collect(&[Part::file(b""), Part::field(name, b"x")]),
                Err("form_field_unknown"),
                "{name}"
            );
        }
    }

    #[test]
    fn each_field_comes_once() {
        assert_eq!(
            collect(&[Part::file(b"a"), Part::file(b"a")]),
            Err("form_field_twice")
        );
        for field in UploadField::ALL {
            let part = || Part::field(field.name(), b"");
            assert_eq!(
                collect(&[part(), Part::file(b""), part()]),
                Err("form_field_twice"),
                "{field:?}"
            );
        }
    }

    #[test]
    fn a_form_has_a_file() {
        assert_eq!(
            collect(&[Part::field("type", b"image/png")]),
            Err("form_file_missing")
        );
        assert_eq!(collect(&[]), Err("form_file_missing"));
    }

    #[test]
    fn a_small_field_is_short_utf8_text_without_a_file_name() {
        let with = |part: Part<'static>| collect(&[part, Part::file(b"")]).map(drop);
        assert_eq!(with(Part::field("description", &[b'x'; 1024])), Ok(()));
        assert_eq!(
            with(Part::field("description", &[b'x'; 1025])),
            Err("form_field_too_long")
        );
        assert_eq!(
            with(Part::field("description", b"\xff")),
            Err("form_field_not_utf8")
        );
        for file_name in ["filename=\"\"", "filename=a", "filename*=UTF-8''a"] {
            let part = Part {
                name: "type",
                params: file_name,
                ..Part::field("", b"1")
            };
            assert_eq!(with(part), Err("form_field_with_file_name"), "{file_name}");
        }
        for header in [
            "Content-Type: text/plain; charset=utf-16",
            "Content-Type: text/plain; charset=utf-7",
            "Content-Type: application/json",
            "Content-Type: text/html",
            "Content-Type: text/plain; format=flowed",
        ] {
            assert_eq!(
                with(Part::field("type", b"1").header(header)),
                Err("form_field_type"),
                "{header}"
            );
        }
    }
}
