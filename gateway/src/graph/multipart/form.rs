//! The forms that the Cloud API takes: which parts each of them has.

use std::fmt;

use super::fields::FormField;

const MIB: u64 = 1024 * 1024;

/// A kind of form. What is not named here is refused: `batch`, `method` and `access_token` are parameters to Graph
/// wherever they stand, so a part that is not understood is never let through.
#[derive(Debug, Eq, PartialEq)]
pub struct FormKind {
    /// What it is, with its article, for errors.
    what: &'static str,
    /// What its file may be called. It has one, under one of these names.
    file: &'static [&'static str],
    /// Its small fields.
    fields: &'static [FormField],
    /// Parts that real clients send and Meta documents nowhere: read as strictly as the others, and not written.
    left_out: &'static [&'static str],
    /// Most bytes of its file; `None` where that depends on the file's type, and policy says it.
    max_file_bytes: Option<u64>,
}

impl FormKind {
    /// `POST /{PHONE_NUMBER_ID}/media`.
    ///
    /// Source: Cloud API, "Media", "Upload media"; `ttl_minutes`: "No Storage", "Override outgoing media TTL"; `use_case` and
    /// `description`: "Call settings". `typeFile`, with the MIME type once more, is Evolution API's.
    pub const MEDIA: &'static Self = &Self {
        what: "a media upload",
        file: &["file"],
        fields: &[
            FormField::MessagingProduct,
            FormField::Type,
            FormField::TtlMinutes,
            FormField::UseCase,
            FormField::Description,
        ],
        left_out: &["typeFile"],
        max_file_bytes: None,
    };

    /// `POST /{FLOW_ID}/assets`: a Flow's JSON, of at most 10 MB.
    ///
    /// Source: Meta's OpenAPI file of v23.0, "Update Flow JSON"; the limit: what Meta's partners document of Flow JSON.
    pub const FLOW_ASSET: &'static Self = &Self {
        what: "a Flow asset",
        file: &["file"],
        fields: &[FormField::Name, FormField::AssetType],
        left_out: &[],
        max_file_bytes: Some(10 * MIB),
    };

    /// `POST /{GROUP_ID}` with a picture of at most 5 MB. `file` in the example, `profile_picture_file` in the table.
    ///
    /// Source: Cloud API, "Groups"; Meta's OpenAPI file of v23.0, "Update Group Settings".
    pub const GROUP_PICTURE: &'static Self = &Self {
        what: "a group picture",
        file: &["file", "profile_picture_file"],
        fields: &[FormField::MessagingProduct],
        left_out: &[],
        max_file_bytes: Some(5 * MIB),
    };

    /// The small fields that it may have, in the order in which they are written.
    #[must_use]
    pub const fn fields(&self) -> &'static [FormField] {
        self.fields
    }

    /// Most bytes of its file; `None` where that depends on the file's type, and policy says it.
    #[must_use]
    pub const fn max_file_bytes(&self) -> Option<u64> {
        self.max_file_bytes
    }

    /// Whether a part of this name is its file.
    #[must_use]
    pub fn is_file(&self, name: &str) -> bool {
        self.file.contains(&name)
    }

    /// What a part of this name is; `None` if the form has no such part.
    pub(super) fn role(&self, name: &str) -> Option<Role> {
        if self.is_file(name) {
            return Some(Role::File);
        }
        let field = self.fields.iter().find(|field| field.name() == name);
        let left_out = || self.left_out.iter().find(|known| **known == name);
        field
            .map(|field| Role::Field(*field))
            .or_else(|| left_out().map(|name| Role::LeftOut(name)))
    }

    /// The names of its parts, as a sentence lists them.
    pub(super) fn parts(&self) -> String {
        let fields = self.fields.iter().map(|field| field.name());
        let names: Vec<_> = self.file.iter().copied().chain(fields).collect();
        match names.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, first)) => format!("{} and {last}", first.join(", ")),
            None => String::new(),
        }
    }

    /// The name of its file, as a sentence says it.
    pub(super) fn file_names(&self) -> String {
        let quoted: Vec<_> = self.file.iter().map(|name| format!("\"{name}\"")).collect();
        quoted.join(" or ")
    }
}

impl fmt::Display for FormKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

/// What a part is to its form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    File,
    Field(FormField),
    LeftOut(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_has_parts_of_its_own() {
        for (kind, parts, file) in [
            (
                FormKind::MEDIA,
                "file, messaging_product, type, ttl_minutes, use_case and description",
                "\"file\"",
            ),
            (FormKind::FLOW_ASSET, "file, name and asset_type", "\"file\""),
            (
                FormKind::GROUP_PICTURE,
                "file, profile_picture_file and messaging_product",
                "\"file\" or \"profile_picture_file\"",
            ),
        ] {
            assert_eq!((kind.parts().as_str(), kind.file_names().as_str()), (parts, file));
            assert!(kind.fields.is_sorted(), "{kind}");
            for name in ["batch", "method", "access_token", "ids", "File", "file[]", ""] {
                assert_eq!(kind.role(name), None, "{kind}: {name}");
            }
        }
        assert_eq!(FormKind::FLOW_ASSET.role("typeFile"), None);
        assert_eq!(FormKind::FLOW_ASSET.role("ttl_minutes"), None);
        assert_eq!(FormKind::MEDIA.role("profile_picture_file"), None);
        assert_eq!(FormKind::MEDIA.role("typeFile"), Some(Role::LeftOut("typeFile")));
    }
}
