//! Gathers what policy must know while a send's body is walked.

use std::borrow::Cow;
use std::fmt;

use curfew_policies::{IdValue, MediaObject, Message, MessageKind, StrayLink, shown};

use super::place::{Component, Naming, Place, Row};
use super::{Body, MOST_REFERENCES, MessageError, Recipient, TemplateName};
use crate::graph::json::{
    GRAPH_CONTROL_KEYS, Key, Path, Reader, Shallow, is_plain, names_parameter, part_names,
};

/// The keys under which an object names a medium.
const MEDIA_KEYS: [&str; 6] = ["image", "audio", "video", "document", "sticker", "gif"];

/// The known members of a media object (design decision: others might name media too).
const MEDIA_MEMBERS: [&str; 6] = ["id", "link", "caption", "filename", "voice", "provider"];

/// The documented members of a body beside that of its type (Cloud API, "Messages"; "Marketing Messages").
const ENVELOPE: [&str; 17] = [
    "messaging_product",
    "recipient_type",
    "to",
    "recipient",
    "type",
    "context",
    "biz_opaque_callback_data",
    "recipient_identity_key_hash",
    "status",
    "message_id",
    "typing_indicator",
    "messaging_account_id",
    "paid_messaging_account_id",
    "product_policy",
    "message_activity_sharing",
    "optimization_spec",
    "bid_spec",
];

/// Names, beside those of media, that the reader looks for at some place.
const READ_NAMES: [&str; 34] = [
    "messaging_product",
    "type",
    "status",
    "to",
    "recipient",
    "recipient_type",
    "context",
    "message_id",
    "typing_indicator",
    "text",
    "location",
    "contacts",
    "reaction",
    "interactive",
    "template",
    "pin",
    "header",
    "action",
    "cards",
    "parameters",
    "flow_action_payload",
    "flow_action_data",
    "data",
    "order",
    "order_details",
    "items",
    "payment_settings",
    "upi_intent_link",
    "components",
    "sub_type",
    "caption",
    "filename",
    "voice",
    "provider",
];

/// What was seen of a body so far.
#[derive(Default)]
pub(super) struct Sight<'a> {
    media: Vec<MediaObject<'a>>,
    /// For each of `media`, which component it still needs round it.
    rows: Vec<Row>,
    stray_links: Vec<StrayLink<'a>>,
    unknown_context: Vec<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    recipient: Recipient<'a>,
    template: TemplateName<'a>,
    status: Option<Shallow<'a>>,
    message_id: Option<Shallow<'a>>,
    /// Why it cannot be a read receipt, even with `status`.
    no_receipt: Option<NoReceipt<'a>>,
    /// A key that names no medium, but may be read as another than it is written.
    disguised: Option<Cow<'a, str>>,
    has_addressee: bool,
    has_type_object: bool,
    has_text: bool,
    /// A top-level member that is neither of the envelope nor `text`.
    has_more: bool,
}

/// Why a body with `status` cannot be a read receipt; put into words only when it turns out that it should have been one.
enum NoReceipt<'a> {
    Member(Cow<'a, str>),
    TypingMember(Cow<'a, str>),
    Other(&'static str),
}

impl fmt::Display for NoReceipt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(key) => write!(f, "has `{}`", shown(key)),
            Self::TypingMember(key) => write!(f, "has `typing_indicator.{}`", shown(key)),
            Self::Other(what) => f.write_str(what),
        }
    }
}

/// What is known of the place of a value.
#[derive(Clone, Copy)]
pub(super) struct At {
    place: Place,
    /// Whether it is under a media key, with at most arrays in between.
    media: bool,
    /// Whether it is in a Flow's data, where a text under a media key may be the medium itself.
    free: bool,
    /// Whether its text is wanted.
    keep: bool,
}

/// What is gathered of an open object.
#[derive(Default)]
pub(super) struct Open<'a> {
    id: Option<IdValue<'a>>,
    /// A key such as `id[0]` or `id `: what it names weighs more than a plain `id` beside it.
    disguised_id: Option<Cow<'a, str>>,
    link: Option<Cow<'a, str>>,
    unknown_members: Vec<Cow<'a, str>>,
    component: Component,
    /// How many media were found before it.
    media_before: usize,
}

impl<'a> Reader<'a> for Sight<'a> {
    type At = At;
    type Object = Open<'a>;
    type Error = MessageError;

    fn root(&self) -> At {
        At {
            place: Place::Root,
            media: false,
            free: false,
            keep: false,
        }
    }

    fn element(&self, at: At) -> At {
        At {
            place: at.place.element(),
            keep: false,
            ..at
        }
    }

    fn keeps(&self, at: At) -> bool {
        at.keep
    }

    fn reads(&self, at: At, key: &str) -> bool {
        let is = |name: &&str| name.eq_ignore_ascii_case(key);
        is_media_key(key)
            || ["id", "link"].iter().any(is)
            || is_template_name(at, key)
            || ((at.place.is_read() || at.media) && READ_NAMES.iter().any(is))
    }

    fn open(&mut self, _at: At) -> Open<'a> {
        Open {
            media_before: self.media.len(),
            ..Open::default()
        }
    }

    fn member(
        &mut self,
        _object: &mut Open<'a>,
        at: At,
        key: &Key<'a>,
        _path: &Path<'_>,
    ) -> Result<At, MessageError> {
        if at.place == Place::Root {
            self.notice_root_member(key)?;
        }
        let media = is_media_key(key);
        let place = match at.place.member(key) {
            // In a Flow's data every key is documented, but a media key only as Meta writes it elsewhere.
            Place::FlowData(_) if media && !is_lower_case(key) => Place::Elsewhere,
            place => place,
        };
        Ok(At {
            place,
            media,
            free: at.free || matches!(place, Place::FlowData(_)),
            keep: self.wants_text(at, key),
        })
    }

    fn value(
        &mut self,
        object: &mut Open<'a>,
        at: At,
        key: &Key<'a>,
        value: Shallow<'a>,
        path: &Path<'_>,
    ) -> Result<(), MessageError> {
        if !is_plain(key) {
            return self.take_disguised(object, at, key, value, path);
        }
        self.check_shape(at, key, &value, path)?;
        if at.media {
            take_media_member(object, key, value);
            return Ok(());
        }
        if key.eq_ignore_ascii_case("link") && value != Shallow::Null {
            self.stray_links.push(StrayLink {
                at: path.rendered(),
                documented: at.place == Place::UpiIntentLink && key.as_str() == "link",
                link: value.rendered(),
            });
            return self.check_count();
        }
        match at.place {
            Place::Root => self.take_root_member(key, value)?,
            Place::Component | Place::CardComponent => {
                if let Shallow::Text(text) = &value {
                    match key.as_str() {
                        "type" => object.component.set_kind(text),
                        "sub_type" => object.component.set_button(text),
                        _ => {}
                    }
                }
            }
            Place::Template if is_template_name(at, key) => {
                if let Shallow::Text(name) = value {
                    self.template = Some(name);
                }
            }
            Place::Context if key.as_str() != "message_id" => self.unknown_context.push(key.kept()),
            Place::TypingIndicator if key.as_str() != "type" || !matches!(value, Shallow::SomeText) => {
                self.deny_receipt(NoReceipt::TypingMember(key.kept()));
            }
            _ => {}
        }
        Ok(())
    }

    fn element_value(&mut self, at: At, value: &Shallow<'a>, path: &Path<'_>) -> Result<(), MessageError> {
        let hides = at.media && is_scalar(value) || at.place.is_container() && is_opaque_text(value);
        if hides && !at.free {
            return self.found_unreadable(value.clone().rendered(), path);
        }
        Ok(())
    }

    fn close(&mut self, object: Open<'a>, at: At, path: &Path<'_>) -> Result<(), MessageError> {
        if at.media {
            let id = object.disguised_id.map(IdValue::Other).or(object.id);
            let (row, documented) = match at.place {
                Place::Media(row, Naming::IdOrLink) => (row, true),
                Place::Media(row, Naming::LinkOnly) => (row, id.is_none()),
                Place::FlowData(row) => (row, true),
                _ => (Row::Plain, false),
            };
            let media = MediaObject {
                at: path.rendered(),
                documented,
                id,
                link: object.link,
                unknown_members: object.unknown_members,
            };
            return self.found(media, row);
        }
        let component = object.component;
        match at.place {
            Place::Component => self.keep_documented(object.media_before, |row| component.bears(row)),
            Place::CardComponent => {
                self.keep_documented(object.media_before, |row| component.bears_in_card(row));
            }
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Sight<'a> {
    /// Whether the text of the member `key` of an object at `at` says something to policy.
    fn wants_text(&self, at: At, key: &str) -> bool {
        if key.eq_ignore_ascii_case("link") || !is_plain(key) {
            return true;
        }
        if at.media {
            return key.eq_ignore_ascii_case("id");
        }
        match at.place {
            Place::Root => matches!(
                key,
                "type" | "to" | "recipient" | "recipient_type" | "status" | "message_id"
            ),
            Place::Component | Place::CardComponent => matches!(key, "type" | "sub_type"),
            Place::Template => is_template_name(at, key),
            _ => false,
        }
    }

    fn notice_root_member(&mut self, key: &Key<'a>) -> Result<(), MessageError> {
        if names_parameter(key, &GRAPH_CONTROL_KEYS) {
            return Err(MessageError::ControlParameter(shown(key).into_owned()));
        }
        if !is_lower_case(key) && !is_media_key(key) {
            let expected = ENVELOPE.iter().chain(&MessageKind::KNOWN);
            if let Some(expected) = expected.copied().find(|name| name.eq_ignore_ascii_case(key)) {
                return Err(MessageError::LetterCase {
                    came: shown(key).into_owned(),
                    expected,
                });
            }
        }
        match key.as_str() {
            "to" | "recipient" => self.has_addressee = true,
            "text" => {
                self.has_text = true;
                self.has_type_object = true;
            }
            // Members that no receipt has are told apart from those of a send when it is clear which of the two it is.
            name if ENVELOPE.contains(&name) => {
                if !matches!(
                    name,
                    "messaging_product" | "status" | "message_id" | "typing_indicator"
                ) {
                    self.deny_receipt(NoReceipt::Member(key.kept()));
                }
            }
            name => {
                self.has_more = true;
                if MessageKind::KNOWN.contains(&name) || is_media_key(key) || is_disguise(key) {
                    self.has_type_object = true;
                } else {
                    self.deny_receipt(NoReceipt::Member(key.kept()));
                }
            }
        }
        Ok(())
    }

    fn take_root_member(&mut self, key: &str, value: Shallow<'a>) -> Result<(), MessageError> {
        match key {
            "type" => self.kind = Some(a_string("type", value)?),
            "to" => {
                self.recipient.to = match value {
                    Shallow::Null => None,
                    // Phone numbers come as JSON numbers too.
                    Shallow::Whole(number) => Some(Cow::Owned(number.to_string())),
                    value => Some(a_string("to", value)?),
                };
            }
            "recipient" if value != Shallow::Null => {
                self.recipient.recipient = Some(a_string("recipient", value)?);
            }
            "recipient_type" if value != Shallow::Null => {
                self.recipient.recipient_type = Some(a_string("recipient_type", value)?);
            }
            "status" => self.status = Some(value),
            "message_id" => self.message_id = Some(value),
            "messaging_product" if value != Shallow::SomeText => {
                self.deny_receipt(NoReceipt::Other("has a `messaging_product` that is no string"));
            }
            "typing_indicator" if value != Shallow::Object => {
                self.deny_receipt(NoReceipt::Other("has a `typing_indicator` that is no object"));
            }
            "context" if !matches!(value, Shallow::Object | Shallow::Null) => {
                self.unknown_context
                    .push(Cow::Borrowed("a value that is no object"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Finds what a reader of loose JSON might make a medium of: a value under a media key that is no object, or a text in
    /// place of an object or array on the way to media.
    fn check_shape(
        &mut self,
        at: At,
        key: &Key<'a>,
        value: &Shallow<'a>,
        path: &Path<'_>,
    ) -> Result<(), MessageError> {
        if at.free {
            return Ok(());
        }
        let leads_to_media = if is_lower_case(key) {
            at.place.member(key).is_container()
        } else {
            let leads = at.place.member(&key.to_ascii_lowercase()).is_container();
            if leads && self.disguised.is_none() {
                self.disguised = Some(key.kept());
            }
            leads
        };
        if is_media_key(key) && is_scalar(value) || leads_to_media && is_opaque_text(value) {
            return self.found_unreadable(value.clone().rendered(), path);
        }
        Ok(())
    }

    /// A medium that cannot be told, so that it is nobody's.
    fn found_unreadable(&mut self, id: Cow<'a, str>, path: &Path<'_>) -> Result<(), MessageError> {
        let media = MediaObject {
            at: path.rendered(),
            documented: false,
            id: Some(IdValue::Other(id)),
            link: None,
            unknown_members: Vec::new(),
        };
        self.found(media, Row::Plain)
    }

    /// A key like `image[id]`, `image.id` or `image `: whatever Graph may read it as, it names what its parts name.
    fn take_disguised(
        &mut self,
        object: &mut Open<'a>,
        at: At,
        key: &Key<'a>,
        value: Shallow<'a>,
        path: &Path<'_>,
    ) -> Result<(), MessageError> {
        if part_names(key, &MEDIA_KEYS) {
            return self.found_unreadable(key.kept(), path);
        }
        if at.media {
            object.unknown_members.push(key.kept());
            if names_parameter(key, &["id", "link"]) {
                object.disguised_id = Some(key.kept());
                return Ok(());
            }
        }
        if part_names(key, &["link"]) {
            self.stray_links.push(StrayLink {
                at: path.rendered(),
                documented: false,
                link: value.rendered(),
            });
            return self.check_count();
        }
        if at.place == Place::Context {
            self.unknown_context.push(key.kept());
        }
        if at.place == Place::TypingIndicator {
            self.deny_receipt(NoReceipt::TypingMember(key.kept()));
        }
        let is_told_elsewhere = at.media || matches!(at.place, Place::FlowData(_));
        if !is_told_elsewhere && self.disguised.is_none() && is_disguise(key) {
            self.disguised = Some(key.kept());
        }
        Ok(())
    }

    fn found(&mut self, media: MediaObject<'a>, row: Row) -> Result<(), MessageError> {
        self.media.push(media);
        self.rows.push(row);
        self.check_count()
    }

    fn check_count(&self) -> Result<(), MessageError> {
        if self.media.len() + self.stray_links.len() > MOST_REFERENCES {
            return Err(MessageError::TooManyReferences);
        }
        Ok(())
    }

    /// Of the media found since there were `before`, those that need a component that this one is not are at no
    /// documented place.
    fn keep_documented(&mut self, before: usize, bears: impl Fn(Row) -> bool) {
        for (media, row) in self.media.iter_mut().zip(&self.rows).skip(before) {
            media.documented &= bears(*row);
        }
    }

    /// Remembers the first reason against a read receipt.
    fn deny_receipt(&mut self, why: NoReceipt<'a>) {
        self.no_receipt.get_or_insert(why);
    }

    /// What the whole body asks for.
    pub(super) fn into_body(self) -> Result<Body<'a>, MessageError> {
        let is_send = self.kind.is_some() || self.has_addressee || self.has_type_object;
        if self.status.is_some() && !is_send {
            return self.into_receipt();
        }
        let kind = match (self.disguised, self.kind) {
            (Some(key), _) => MessageKind::Unknown(key),
            (None, Some(name)) => match MessageKind::KNOWN.into_iter().find(|known| *known == name) {
                Some(known) => MessageKind::Known(known),
                None => MessageKind::Unknown(name),
            },
            (None, None) if self.has_text && !self.has_more => MessageKind::ImpliedText,
            (None, None) => MessageKind::Missing,
        };
        let message = Message {
            kind,
            media: self.media,
            stray_links: self.stray_links,
            unknown_context: self.unknown_context,
        };
        Ok(Body::Send(message, self.recipient, self.template))
    }

    fn into_receipt(mut self) -> Result<Body<'a>, MessageError> {
        if !(self.media.is_empty() && self.stray_links.is_empty()) {
            self.deny_receipt(NoReceipt::Other("names media or a link"));
        }
        let problem = match (self.no_receipt, &self.status, &self.message_id) {
            (Some(problem), _, _) => problem.to_string(),
            (None, Some(Shallow::Text(status)), Some(Shallow::Text(_))) if status == "read" => {
                return Ok(Body::ReadReceipt);
            }
            (None, Some(Shallow::Text(status)), _) if status == "read" => {
                "has no `message_id` that is a string".to_owned()
            }
            (None, _, _) => "has another `status` than \"read\"".to_owned(),
        };
        Err(MessageError::NotAReadReceipt(problem))
    }
}

/// Takes a member of a media object. `null` names nothing, so it counts as missing.
fn take_media_member<'a>(object: &mut Open<'a>, key: &Key<'a>, value: Shallow<'a>) {
    let mut known = MEDIA_MEMBERS.contains(&key.as_str());
    if key.eq_ignore_ascii_case("id") && value != Shallow::Null {
        object.id = Some(id_value(value));
    } else if key.eq_ignore_ascii_case("link") && value != Shallow::Null {
        if let Shallow::Text(link) = value {
            object.link = Some(link);
        } else {
            known = false;
        }
    }
    if !known {
        object.unknown_members.push(key.kept());
    }
}

fn id_value(value: Shallow<'_>) -> IdValue<'_> {
    // Only a string, or a number of plain digits, is written like an id.
    let text = value.rendered();
    match text.parse() {
        Ok(id) => IdValue::Canonical(id),
        Err(_) => IdValue::Other(text),
    }
}

fn a_string<'a>(member: &'static str, value: Shallow<'a>) -> Result<Cow<'a, str>, MessageError> {
    let came = match value {
        Shallow::Text(text) => return Ok(text),
        Shallow::Null => "null",
        Shallow::Bool(_) => "a truth value",
        Shallow::Whole(_) | Shallow::Negative(_) | Shallow::Float(_) => "a number",
        Shallow::SomeText | Shallow::Held => "a text that was not kept",
        Shallow::Array => "an array",
        Shallow::Object => "an object",
    };
    Err(MessageError::NotAString { member, came })
}

fn is_template_name(at: At, key: &str) -> bool {
    at.place == Place::Template && key == "name"
}

fn is_media_key(key: &str) -> bool {
    // Most keys are told apart by their length.
    (3..=8).contains(&key.len()) && MEDIA_KEYS.iter().any(|name| name.eq_ignore_ascii_case(key))
}

/// Whether `key` has brackets, or may be read as a name that says something to policy.
fn is_disguise(key: &str) -> bool {
    !is_plain(key)
        && (key.contains('[')
            || [&MEDIA_KEYS[..], &READ_NAMES, &ENVELOPE, &MessageKind::KNOWN]
                .iter()
                .any(|names| part_names(key, names)))
}

/// Whether a value is neither `null` nor an object or array, given as such or as text.
fn is_scalar(value: &Shallow<'_>) -> bool {
    !matches!(
        value,
        Shallow::Null | Shallow::Object | Shallow::Array | Shallow::Held
    )
}

/// Whether a value is a text that holds no object or array that our parser takes; another's may.
fn is_opaque_text(value: &Shallow<'_>) -> bool {
    matches!(value, Shallow::Text(_) | Shallow::SomeText)
}

fn is_lower_case(key: &str) -> bool {
    !key.bytes().any(|byte| byte.is_ascii_uppercase())
}
