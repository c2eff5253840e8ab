//! Reads the body of `POST /{phone_number_id}/messages` as far as policy must know it.
//!
//! The whole tree is walked, also inside strings that hold JSON, because Meta adds places for media faster than any
//! list of them can follow: an object under a media key is found wherever it is, and the list only says whether Meta
//! documents it there. Meta itself judges what is no matter of policy, such as required members.
//!
//! It is not documented whether Graph takes keys in other letter case, or PHP's brackets (`image[id]`), so either is
//! treated as if it did.

use std::borrow::Cow;

use curfew_policies::{IdValue, MediaObject, Message, MessageKind, StrayLink, shown};
use thiserror::Error;

use super::json::{self, GRAPH_CONTROL_KEYS, JsonError, Path, Reader, Shallow, names_parameter};

mod place;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

use place::{Component, Naming, Place, Row};

/// How many media objects and links one body may have. Each costs a look-up; the largest documented message, a list of
/// an order's items, stays far below it.
pub const MOST_REFERENCES: usize = 1000;

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

/// What a body of `/messages` asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body<'a> {
    /// Marks a message as read, with or without a typing indicator. Reaches no user.
    ReadReceipt,
    /// Everything else.
    Send(Message<'a>, Recipient<'a>),
}

/// To whom a send goes, as written (Cloud API, "Business-scoped user IDs").
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Recipient<'a> {
    /// A phone number, or a group's id. Where both are there, Meta takes this and not [`Self::recipient`].
    pub to: Option<Cow<'a, str>>,
    /// A business-scoped user id.
    pub recipient: Option<Cow<'a, str>>,
    /// `individual`, which is also the default, or `group`.
    pub recipient_type: Option<Cow<'a, str>>,
}

/// Why a body of `/messages` cannot be judged. The text says what is wrong, where, and what would be right.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum MessageError {
    /// It has more than one meaning, or none.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// It has a parameter that Graph itself acts upon.
    #[error(
        "the body has the parameter `{0}`, which would make Graph treat it as another call; leave it out"
    )]
    ControlParameter(String),
    /// A top-level member that policy reads is not in lower case.
    #[error("the body has the member `{came}`; write it `{expected}`")]
    LetterCase {
        /// As it came.
        came: String,
        /// As Meta documents it.
        expected: &'static str,
    },
    /// A top-level member has a value of another type than Meta documents.
    #[error("the body's `{member}` is {came}; it must be a string")]
    NotAString {
        /// Which one.
        member: &'static str,
        /// What it is.
        came: &'static str,
    },
    /// It looks like a read receipt (`status`, and neither type nor recipient) but is none.
    #[error(
        "a body with `status` and without `type` is a read receipt, which {0}; it must be {{\"messaging_product\": \
         \"whatsapp\", \"status\": \"read\", \"message_id\": …}}, with or without {{\"typing_indicator\": {{\"type\": …}}}}"
    )]
    NotAReadReceipt(String),
    /// More than [`MOST_REFERENCES`].
    #[error("the body names more than {MOST_REFERENCES} media and links")]
    TooManyReferences,
}

impl MessageError {
    /// Every slug beside [`JsonError::SLUGS`].
    pub const SLUGS: [&'static str; 5] = [
        "control_parameter",
        "message_letter_case",
        "message_not_a_string",
        "message_not_a_read_receipt",
        "message_too_many_references",
    ];

    /// A stable name with few values.
    #[must_use]
    pub const fn slug(&self) -> &'static str {
        match self {
            Self::Json(error) => error.slug(),
            Self::ControlParameter(_) => "control_parameter",
            Self::LetterCase { .. } => "message_letter_case",
            Self::NotAString { .. } => "message_not_a_string",
            Self::NotAReadReceipt(_) => "message_not_a_read_receipt",
            Self::TooManyReferences => "message_too_many_references",
        }
    }
}

/// Reads the body of `/messages` or `/marketing_messages`.
///
/// A body with `status` and none of `type`, `to`, `recipient` or a type's object is a read receipt; every other is a send
/// (Cloud API, "Mark messages as read"; what Graph makes of a mixture is not documented).
///
/// # Errors
///
/// Where the body has no single meaning, or its meaning cannot be read.
pub fn read(body: &[u8]) -> Result<Body<'_>, MessageError> {
    json::walk(body, Sight::default())?.into_body()
}

/// What was seen of a body so far.
#[derive(Default)]
struct Sight<'a> {
    media: Vec<MediaObject<'a>>,
    /// For each of `media`, which component it still needs round it.
    rows: Vec<Row>,
    stray_links: Vec<StrayLink<'a>>,
    unknown_context: Vec<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    recipient: Recipient<'a>,
    status: Option<Shallow<'a>>,
    message_id: Option<Shallow<'a>>,
    /// Why it cannot be a read receipt, even with `status`.
    no_receipt: Option<String>,
    /// A key with brackets that names no medium.
    brackets: Option<Cow<'a, str>>,
    has_addressee: bool,
    has_type_object: bool,
    has_text: bool,
    /// A top-level member that is neither of the envelope nor `text`.
    has_more: bool,
}

/// What is known of the place of a value.
#[derive(Clone, Copy)]
struct At {
    place: Place,
    /// Whether it is under a media key, with at most arrays in between.
    media: bool,
    /// Whether its text is wanted.
    keep: bool,
}

/// What is gathered of an open object.
#[derive(Default)]
struct Open<'a> {
    id: Option<IdValue<'a>>,
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
        key: &Cow<'a, str>,
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
            keep: self.wants_text(at, key),
        })
    }

    fn value(
        &mut self,
        object: &mut Open<'a>,
        at: At,
        key: &Cow<'a, str>,
        value: Shallow<'a>,
        path: &Path<'_>,
    ) -> Result<(), MessageError> {
        if key.contains('[') {
            return self.take_bracketed(object, at, key, value, path);
        }
        if at.media {
            take_media_member(object, key, value);
            return Ok(());
        }
        if key.eq_ignore_ascii_case("link") && value != Shallow::Null {
            self.stray_links.push(StrayLink {
                at: path.rendered(),
                documented: at.place == Place::UpiIntentLink && key == "link",
                link: value.rendered(),
            });
            return self.check_count();
        }
        match at.place {
            Place::Root => self.take_root_member(key, value)?,
            Place::Component | Place::CardComponent => {
                if let Shallow::Text(text) = &value {
                    match key.as_ref() {
                        "type" => object.component.set_kind(text),
                        "sub_type" => object.component.set_button(text),
                        _ => {}
                    }
                }
            }
            Place::Context if key != "message_id" => self.unknown_context.push(key.clone()),
            Place::TypingIndicator if key != "type" || !matches!(value, Shallow::SomeText) => {
                self.deny_receipt(|| format!("has `typing_indicator.{}`", shown(key)));
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, object: Open<'a>, at: At, path: &Path<'_>) -> Result<(), MessageError> {
        if at.media {
            let (row, documented) = match at.place {
                Place::Media(row, Naming::IdOrLink) => (row, true),
                Place::Media(row, Naming::LinkOnly) => (row, object.id.is_none()),
                Place::FlowData(row) => (row, true),
                _ => (Row::Plain, false),
            };
            let media = MediaObject {
                at: path.rendered(),
                documented,
                id: object.id,
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
        if key.eq_ignore_ascii_case("link") || key.contains('[') {
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
            _ => false,
        }
    }

    fn notice_root_member(&mut self, key: &str) -> Result<(), MessageError> {
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
        match key {
            "to" | "recipient" => self.has_addressee = true,
            "text" => {
                self.has_text = true;
                self.has_type_object = true;
            }
            // Members that no receipt has are told apart from those of a send when it is clear which of the two it is.
            _ if ENVELOPE.contains(&key) => {
                if !matches!(
                    key,
                    "messaging_product" | "status" | "message_id" | "typing_indicator"
                ) {
                    self.deny_receipt(|| format!("has `{key}`"));
                }
            }
            _ => {
                self.has_more = true;
                if MessageKind::KNOWN.contains(&key) || is_media_key(key) || key.contains('[') {
                    self.has_type_object = true;
                } else {
                    self.deny_receipt(|| format!("has `{}`", shown(key)));
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
                self.deny_receipt(|| "has a `messaging_product` that is no string".to_owned());
            }
            "typing_indicator" if value != Shallow::Object => {
                self.deny_receipt(|| "has a `typing_indicator` that is no object".to_owned());
            }
            "context" if !matches!(value, Shallow::Object | Shallow::Null) => {
                self.unknown_context
                    .push(Cow::Borrowed("a value that is no object"));
            }
            _ => {}
        }
        Ok(())
    }

    /// A key like `image[id]` or `template[components][0]`: if Graph reads it as PHP would, it names what its parts name.
    fn take_bracketed(
        &mut self,
        object: &mut Open<'a>,
        at: At,
        key: &Cow<'a, str>,
        value: Shallow<'a>,
        path: &Path<'_>,
    ) -> Result<(), MessageError> {
        let names = |wanted: fn(&str) -> bool| key.split(['[', ']']).any(|part| wanted(part.trim()));
        if names(is_media_key) {
            let media = MediaObject {
                at: path.rendered(),
                documented: false,
                id: Some(IdValue::Other(key.clone())),
                link: None,
                unknown_members: Vec::new(),
            };
            return self.found(media, Row::Plain);
        }
        if at.media {
            if names(|part| part.eq_ignore_ascii_case("id") || part.eq_ignore_ascii_case("link")) {
                object.id = Some(IdValue::Other(key.clone()));
            }
            object.unknown_members.push(key.clone());
            return Ok(());
        }
        if names(|part| part.eq_ignore_ascii_case("link")) {
            self.stray_links.push(StrayLink {
                at: path.rendered(),
                documented: false,
                link: value.rendered(),
            });
            return self.check_count();
        }
        if at.place == Place::Context {
            self.unknown_context.push(key.clone());
        }
        if !matches!(at.place, Place::FlowData(_)) && self.brackets.is_none() {
            self.brackets = Some(key.clone());
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
    fn deny_receipt(&mut self, why: impl FnOnce() -> String) {
        if self.no_receipt.is_none() {
            self.no_receipt = Some(why());
        }
    }

    fn into_body(self) -> Result<Body<'a>, MessageError> {
        let is_send = self.kind.is_some() || self.has_addressee || self.has_type_object;
        if self.status.is_some() && !is_send {
            return self.into_receipt();
        }
        let kind = match (self.brackets, self.kind) {
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
        Ok(Body::Send(message, self.recipient))
    }

    fn into_receipt(mut self) -> Result<Body<'a>, MessageError> {
        if !(self.media.is_empty() && self.stray_links.is_empty()) {
            self.deny_receipt(|| "names media or a link".to_owned());
        }
        let problem = match (self.no_receipt, &self.status, &self.message_id) {
            (Some(problem), _, _) => problem,
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
fn take_media_member<'a>(object: &mut Open<'a>, key: &Cow<'a, str>, value: Shallow<'a>) {
    let mut known = MEDIA_MEMBERS.contains(&key.as_ref());
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
        object.unknown_members.push(key.clone());
    }
}

fn id_value(value: Shallow<'_>) -> IdValue<'_> {
    let is_plain = matches!(value, Shallow::Text(_) | Shallow::Whole(_));
    let text = value.rendered();
    match text.parse() {
        Ok(id) if is_plain => IdValue::Canonical(id),
        _ => IdValue::Other(text),
    }
}

fn a_string<'a>(member: &'static str, value: Shallow<'a>) -> Result<Cow<'a, str>, MessageError> {
    let came = match value {
        Shallow::Text(text) => return Ok(text),
        Shallow::Null => "null",
        Shallow::Bool(_) => "a truth value",
        Shallow::Whole(_) | Shallow::Negative(_) | Shallow::Float(_) => "a number",
        Shallow::SomeText => "a text that was not kept",
        Shallow::Array => "an array",
        Shallow::Object => "an object",
    };
    Err(MessageError::NotAString { member, came })
}

fn is_media_key(key: &str) -> bool {
    // Most keys are told apart by their length.
    (3..=8).contains(&key.len()) && MEDIA_KEYS.iter().any(|name| name.eq_ignore_ascii_case(key))
}

fn is_lower_case(key: &str) -> bool {
    !key.bytes().any(|byte| byte.is_ascii_uppercase())
}
