//! The small fields of a form: which of them came, and what they say as text.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use super::MAX_FIELD_BYTES;
use super::error::{MultipartError, PartRef};
use super::form::{FormKind, Role};
use super::part::PartHead;
use super::reader::Event;

/// A field of a form other than its file. Which form has which, [`FormKind`] says. They are written in this order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum FormField {
    /// `messaging_product`
    MessagingProduct,
    /// `type`: the MIME type, beside that of the file part.
    Type,
    /// `ttl_minutes`
    TtlMinutes,
    /// `use_case`
    UseCase,
    /// `description`
    Description,
    /// `name`: of a Flow's asset.
    Name,
    /// `asset_type`: of a Flow's asset.
    AssetType,
}

impl FormField {
    /// The field's name in the form.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MessagingProduct => "messaging_product",
            Self::Type => "type",
            Self::TtlMinutes => "ttl_minutes",
            Self::UseCase => "use_case",
            Self::Description => "description",
            Self::Name => "name",
            Self::AssetType => "asset_type",
        }
    }
}

/// The small fields of a form, each at most once: as they came, UTF-8 of at most 1 KiB each and not judged, or as they are to
/// be written.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct FormFields(BTreeMap<FormField, String>);

impl FormFields {
    /// A field's value.
    #[must_use]
    pub fn get(&self, field: FormField) -> Option<&str> {
        self.0.get(&field).map(String::as_str)
    }

    /// The same fields with this one as `value`, or without it.
    #[must_use]
    pub fn with(mut self, field: FormField, value: Option<String>) -> Self {
        match value {
            Some(value) => self.0.insert(field, value),
            None => self.0.remove(&field),
        };
        self
    }

    /// Each field and its value, in the order in which they are written.
    pub fn iter(&self) -> impl Iterator<Item = (FormField, &str)> {
        self.0.iter().map(|(field, value)| (*field, value.as_str()))
    }
}

/// Which fields there are; no value is shown.
impl fmt::Debug for FormFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What an event means for a form.
pub(super) enum Taken {
    /// Nothing that anybody has to act on.
    Noted,
    /// The file's headers.
    FileBegin(PartHead),
    /// Some of the file.
    FileData(Bytes),
}

/// Keeps the small fields of a form and lets its file through.
pub(super) struct FieldCollector {
    kind: &'static FormKind,
    fields: FormFields,
    has_file: bool,
    left_out: Vec<&'static str>,
    open: Open,
}

/// The part that is being read.
#[derive(Default)]
enum Open {
    #[default]
    Nothing,
    File,
    /// A small part; one without a field is left out.
    Field(Option<FormField>, PartRef, Vec<u8>),
}

impl FieldCollector {
    pub(super) fn new(kind: &'static FormKind) -> Self {
        Self {
            kind,
            fields: FormFields::default(),
            has_file: false,
            left_out: Vec::new(),
            open: Open::Nothing,
        }
    }

    /// The fields that are complete.
    pub(super) fn fields(&self) -> &FormFields {
        &self.fields
    }

    /// Which form it is.
    pub(super) fn kind(&self) -> &'static FormKind {
        self.kind
    }

    pub(super) fn take(&mut self, event: Event) -> Result<Taken, MultipartError> {
        match event {
            Event::PartBegin(head) => self.begin(head),
            Event::Data(data) => self.data(data),
            Event::PartEnd => self.end_part(),
            Event::End if self.has_file => Ok(Taken::Noted),
            Event::End => Err(MultipartError::FileMissing { form: self.kind }),
        }
    }

    fn begin(&mut self, head: PartHead) -> Result<Taken, MultipartError> {
        let part = head.place();
        let (field, came_before) = match self.kind.role(&head.name) {
            None => {
                let form = self.kind;
                return Err(MultipartError::FieldUnknown { part, form });
            }
            Some(Role::File) => {
                if std::mem::replace(&mut self.has_file, true) {
                    return Err(MultipartError::FieldTwice { part });
                }
                self.open = Open::File;
                return Ok(Taken::FileBegin(head));
            }
            Some(Role::Field(field)) => (Some(field), self.fields.get(field).is_some()),
            Some(Role::LeftOut(name)) => {
                let came_before = self.left_out.contains(&name);
                self.left_out.push(name);
                (None, came_before)
            }
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
                self.fields.0.insert(field, text);
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

    fn collect(parts: &[Part<'_>]) -> Result<FormFields, &'static str> {
        collect_as(FormKind::MEDIA, parts)
    }

    fn collect_as(kind: &'static FormKind, parts: &[Part<'_>]) -> Result<FormFields, &'static str> {
        let mut reader = FormReader::new(&Boundary::new("xyz").unwrap());
        reader.feed(form("xyz", parts).into());
        let mut collector = FieldCollector::new(kind);
        while let Some(event) = reader.next_event().unwrap() {
            collector.take(event).map_err(|error| error.slug())?;
        }
        Ok(collector.fields)
    }

    fn of(fields: &[(FormField, &str)]) -> FormFields {
        let fields = fields.iter().map(|(field, value)| (*field, (*value).to_owned()));
        FormFields(fields.collect())
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
        let expected = of(&[
            (FormField::MessagingProduct, "whatsapp"),
            (FormField::Type, "image/png"),
            (FormField::TtlMinutes, "120"),
            (FormField::UseCase, ""),
            (FormField::Description, "gr\u{fc}n\r\n"),
        ]);
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
        let expected = of(&[(FormField::MessagingProduct, "whatsapp")]);
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
        for field in FormKind::MEDIA.fields() {
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

    #[test]
    fn each_form_takes_its_own_fields_and_no_others() {
        let asset = [
            Part::field("name", b"flow.json"),
            Part::file(b"{}"),
            Part::field("asset_type", b"FLOW_JSON"),
        ];
        let expected = of(&[
            (FormField::Name, "flow.json"),
            (FormField::AssetType, "FLOW_JSON"),
        ]);
        assert_eq!(collect_as(FormKind::FLOW_ASSET, &asset), Ok(expected));
        for kind in [FormKind::MEDIA, FormKind::GROUP_PICTURE] {
            assert_eq!(collect_as(kind, &asset), Err("form_field_unknown"), "{kind}");
        }
        for name in [
            "messaging_product",
            "ttl_minutes",
            "type",
            "typeFile",
            "batch",
            "method",
            "access_token",
        ] {
            let parts = [Part::file(b"{}"), Part::field(name, b"x")];
            assert_eq!(
                collect_as(FormKind::FLOW_ASSET, &parts),
                Err("form_field_unknown"),
                "{name}"
            );
        }
    }

    #[test]
    fn a_picture_has_one_name_or_the_other() {
        let named = |name| Part {
            name,
            ..Part::file(b"picture")
        };
        let collect = |parts: &[Part<'_>]| collect_as(FormKind::GROUP_PICTURE, parts).map(drop);
        let product = || Part::field("messaging_product", b"whatsapp");
        assert_eq!(collect(&[product(), named("file")]), Ok(()));
        assert_eq!(collect(&[named("profile_picture_file"), product()]), Ok(()));
        for (one, other) in [
            ("file", "profile_picture_file"),
            ("profile_picture_file", "file"),
            ("profile_picture_file", "profile_picture_file"),
        ] {
            assert_eq!(collect(&[named(one), named(other)]), Err("form_field_twice"));
        }
        assert_eq!(collect(&[product()]), Err("form_file_missing"));
        for name in ["subject", "description", "picture", "Profile_picture_file"] {
            let parts = [named("file"), Part::field(name, b"x")];
            assert_eq!(collect(&parts), Err("form_field_unknown"), "{name}");
        }
    }
}
