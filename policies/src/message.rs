//! What policy must know of the body of a send: its type, and every place where it names media.

use std::borrow::Cow;

use crate::id::MediaId;

/// The `type` of a message (Cloud API, "Messages"; `pin` from "Groups").
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MessageKind<'a> {
    /// One of [`MessageKind::KNOWN`].
    Known(&'static str),
    /// A type that we do not know, so we do not know either where its body holds content.
    Unknown(Cow<'a, str>),
    /// No `type`, and `text` the only body: Meta takes it for a text message.
    ImpliedText,
    /// No `type`, and another body than `text` alone.
    Missing,
}

impl MessageKind<'_> {
    /// Every documented type.
    pub const KNOWN: [&'static str; 12] = [
        "text",
        "image",
        "audio",
        "video",
        "document",
        "sticker",
        "location",
        "contacts",
        "reaction",
        "interactive",
        "template",
        "pin",
    ];

    /// The type's name as a label of few values: the unknown ones share one.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Known(name) => name,
            Self::ImpliedText => "text",
            Self::Unknown(_) | Self::Missing => "unknown",
        }
    }
}

/// The body of a send, as far as policy reads it.
///
/// The reader walks the whole JSON tree, also inside strings that hold JSON, and gathers what it finds; a body
/// without media costs no allocation here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message<'a> {
    /// What it is.
    pub kind: MessageKind<'a>,
    /// Every object under a media key (`image`, `audio`, `video`, `document`, `sticker`, `gif`).
    pub media: Vec<MediaObject<'a>>,
    /// Every `link` that is not a member of one of [`Message::media`].
    pub stray_links: Vec<StrayLink<'a>>,
    /// Members of `context` other than `message_id`.
    pub unknown_context: Vec<Cow<'a, str>>,
}

impl Message<'_> {
    /// The ids of the media that it names, in the order of [`Message::media`]; facts about them come in this order.
    pub fn media_ids(&self) -> impl Iterator<Item = MediaId> + '_ {
        self.media.iter().filter_map(|object| match object.id {
            Some(IdValue::Canonical(id)) => Some(id),
            Some(IdValue::Other(_)) | None => None,
        })
    }
}

/// The value of an `id` under a media key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum IdValue<'a> {
    /// A media id in its one canonical spelling.
    Canonical(MediaId),
    /// Anything else, as it came: another spelling might still be read as an id by Meta, so it is never let pass.
    Other(Cow<'a, str>),
}

/// One object that names a medium, by `id` or by `link`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MediaObject<'a> {
    /// Where it is, such as `template.components[0].parameters[0].image`.
    pub at: String,
    /// Whether Meta documents media at this place.
    pub documented: bool,
    /// Its `id`, if it has one.
    pub id: Option<IdValue<'a>>,
    /// Its `link`, if it has one.
    pub link: Option<Cow<'a, str>>,
    /// Members other than `id link caption filename voice provider`.
    pub unknown_members: Vec<Cow<'a, str>>,
}

/// A `link` outside any media object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StrayLink<'a> {
    /// Where it is.
    pub at: String,
    /// Whether Meta documents a link at this place that it does not fetch (`upi_intent_link.link` of payments).
    pub documented: bool,
    /// The value, as it came.
    pub link: Cow<'a, str>,
}
