//! What policy must know of a media upload: its form fields, and which files Meta takes.

use std::borrow::Cow;

/// The fields of an upload's form that policy reads, as far as they have come.
///
/// An upload is judged twice: when its file begins, on what came before it, and when the form has ended, on all of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Upload<'a> {
    /// Whether the form has ended. Before that, what is missing may still come.
    pub complete: bool,
    /// `ttl_minutes`, as written.
    pub ttl_minutes: Option<Cow<'a, str>>,
    /// `type`, as written (in the form or in the query).
    pub declared_type: Option<Cow<'a, str>>,
    /// The `Content-Type` of the file's part, as written.
    pub file_type: Option<Cow<'a, str>>,
    /// `use_case`, as written: the medium is for something else than messages (Cloud API, "Call settings").
    pub use_case: Option<Cow<'a, str>>,
    /// How many bytes of the file have come.
    pub file_bytes: u64,
}

/// One kind of file that Meta takes (Cloud API, "Media", supported media types).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MediaType {
    /// The MIME type, without parameters, lower case.
    pub mime: &'static str,
    /// The largest file, in bytes.
    pub max_bytes: u64,
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

impl MediaType {
    /// Every type of the "Media" page. Meta writes MB and KB; they are read as the larger, binary units, so that nothing
    /// that Meta takes is refused here. An animated sticker's 500 KB stands for both kinds of sticker.
    pub const ALL: [Self; 18] = [
        Self {
            mime: "audio/aac",
            max_bytes: 16 * MIB,
        },
        Self {
            mime: "audio/amr",
            max_bytes: 16 * MIB,
        },
        Self {
            mime: "audio/mpeg",
            max_bytes: 16 * MIB,
        },
        Self {
            mime: "audio/mp4",
            max_bytes: 16 * MIB,
        },
        Self {
            mime: "audio/ogg",
            max_bytes: 16 * MIB,
        },
        Self {
            mime: "text/plain",
            max_bytes: 100 * MIB,
        },
        Self {
            mime: "application/pdf",
            max_bytes: 100 * MIB,
        },
        Self {
            mime: "application/msword",
            max_bytes: 100 * MIB,
        },
        Self {
            mime: "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            max_bytes: 100 * MIB,
        },
        Self {
            mime: "application/vnd.ms-excel",
            max_bytes: 100 * MIB,
        },
        Self {
            mime: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            max_bytes: 100 * MIB,
        },
        Self {
            mime: "application/vnd.ms-powerpoint",
            max_bytes: 100 * MIB,
        },
        Self {
            mime: "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            max_bytes: 100 * MIB,
        },
        Self {
            mime: "image/jpeg",
            max_bytes: 5 * MIB,
        },
        Self {
            mime: "image/png",
            max_bytes: 5 * MIB,
        },
        Self {
            mime: "image/webp",
            max_bytes: 500 * KIB,
        },
        Self {
            mime: "video/mp4",
            max_bytes: 16 * MIB,
        },
        Self {
            mime: "video/3gpp",
            max_bytes: 16 * MIB,
        },
    ];

    /// The type whose MIME essence `text` names: parameters and letter case do not count.
    #[must_use]
    pub fn of(text: &str) -> Option<&'static Self> {
        const ALL: &[MediaType] = &MediaType::ALL;
        let essence = essence(text);
        ALL.iter()
            .find(|media_type| media_type.mime.eq_ignore_ascii_case(essence))
    }
}

/// A MIME type without its parameters.
#[must_use]
pub fn essence(text: &str) -> &str {
    text.split_once(';')
        .map_or(text, |(essence, _)| essence)
        .trim_ascii()
}

/// The kinds into which Meta groups the files that it takes (Cloud API, "Media", supported media types). Published SDKs send
/// a kind as `type`, where Meta's page asks for a MIME type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MediaKind {
    Audio,
    Document,
    Image,
    Sticker,
    Video,
}

impl MediaKind {
    /// The kind whose name `text` is, in any case of its letters.
    pub(crate) fn named(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "audio" => Self::Audio,
            "document" => Self::Document,
            "image" => Self::Image,
            "sticker" => Self::Sticker,
            "video" => Self::Video,
            _ => return None,
        })
    }

    /// Whether a file of the type `mime` is of this kind. A WebP file is a sticker, and an image as well.
    pub(crate) fn covers(self, mime: &str) -> bool {
        let mime = essence(mime).to_ascii_lowercase();
        let top_level = mime.split_once('/').map_or("", |(top_level, _)| top_level);
        match self {
            Self::Audio => top_level == "audio",
            Self::Document => matches!(top_level, "application" | "text"),
            Self::Image => top_level == "image",
            Self::Sticker => mime == "image/webp",
            Self::Video => top_level == "video",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_metas() {
        const OFFICE: &str = "application/vnd.openxmlformats-officedocument";
        let documents = [
            "text/plain".to_owned(),
            "application/pdf".to_owned(),
            "application/msword".to_owned(),
            format!("{OFFICE}.wordprocessingml.document"),
            "application/vnd.ms-excel".to_owned(),
            format!("{OFFICE}.spreadsheetml.sheet"),
            "application/vnd.ms-powerpoint".to_owned(),
            format!("{OFFICE}.presentationml.presentation"),
        ];
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let rows = [
            (
                names(&["audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"]),
                16_777_216,
            ),
            (documents.to_vec(), 104_857_600),
            (names(&["image/jpeg", "image/png"]), 5_242_880),
            (names(&["image/webp"]), 512_000),
            (names(&["video/mp4", "video/3gpp"]), 16_777_216),
        ];
        let count: usize = rows.iter().map(|(mimes, _)| mimes.len()).sum();
        assert_eq!(count, MediaType::ALL.len());
        for (mimes, max_bytes) in rows {
            for mime in mimes {
                assert_eq!(
                    MediaType::of(&mime).map(|taken| taken.max_bytes),
                    Some(max_bytes),
                    "{mime}"
                );
            }
        }
    }

    #[test]
    fn parameters_and_letter_case_do_not_make_another_type() {
        for text in [
            "audio/ogg; codecs=opus",
            "AUDIO/Ogg",
            " audio/ogg ;x",
            "audio/ogg;",
        ] {
            assert_eq!(
                MediaType::of(text).map(|taken| taken.mime),
                Some("audio/ogg"),
                "{text:?}"
            );
        }
        for text in [
            "",
            ";",
            "audio",
            "audio/",
            "audio/oggs",
            "image/gif",
            "audio/ogg, video/mp4",
            "audio /ogg",
        ] {
            assert_eq!(MediaType::of(text), None, "{text:?}");
        }
    }
}
