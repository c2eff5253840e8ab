//! Meta's webhooks, as far as the gateway reads them: who wrote, which media came, what became of messages.
//!
//! Source: Cloud API, "Webhooks, messages". Text, names and captions are passed over. What is not understood is not seen,
//! and never an error: webhooks are handed on whatever they say, and Meta adds to them all the time.

use std::ops::Range;

use bytes::Bytes;
use curfew_policies::{MediaId, PhoneNumberId};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{span, splice};
use super::failure::Failure;
use super::json::{Members, Text};
use super::marker::{Marker, MarkerKey, OPAQUE};

/// What one change of the field `messages` says, about one of our numbers.
#[derive(Debug)]
pub struct Change<'a> {
    number: PhoneNumberId,
    display: Option<Text<'a>>,
    contacts: Vec<Contact<'a>>,
    /// What users wrote.
    pub messages: Vec<Message<'a>>,
    /// What became of messages.
    pub statuses: Vec<Status<'a>>,
    /// What went wrong with the number or its account.
    pub errors: Vec<Failure>,
}

/// A message of a user's.
#[derive(Debug)]
pub struct Message<'a> {
    shape: MessageShape<'a>,
}

/// A status of a message that was sent.
#[derive(Debug)]
pub struct Status<'a> {
    shape: StatusShape<'a>,
    /// The object as it is written.
    raw: &'a RawValue,
}

/// A person by both names that Meta has for them.
#[derive(Clone, Copy, Debug)]
pub struct SamePerson<'a> {
    /// The business-scoped user id.
    pub user_id: &'a str,
    /// The phone number.
    pub wa_id: &'a str,
}

/// What a status says became of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// Meta has it: `sent`, `delivered`, `read` or `played`.
    Accepted,
    /// `failed`, with Meta's code if it came with one.
    Failed(Option<i64>),
}

#[derive(Debug, Deserialize)]
struct Root<'a> {
    #[serde(borrow)]
    entry: Vec<Entry<'a>>,
}

#[derive(Debug, Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    changes: Vec<RawChange<'a>>,
}

#[derive(Debug, Deserialize)]
struct RawChange<'a> {
    #[serde(borrow)]
    field: Text<'a>,
    #[serde(borrow)]
    value: &'a RawValue,
}

#[derive(Debug, Deserialize)]
struct Value<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
    #[serde(borrow, default)]
    contacts: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    messages: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    statuses: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    errors: Vec<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    phone_number_id: Text<'a>,
    #[serde(borrow)]
    display_phone_number: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
struct Contact<'a> {
    #[serde(borrow)]
    wa_id: Text<'a>,
    #[serde(borrow)]
    user_id: Option<Text<'a>>,
    #[serde(borrow)]
    parent_user_id: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
struct MessageShape<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    timestamp: Option<Text<'a>>,
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    from: Option<Text<'a>>,
    #[serde(borrow)]
    from_user_id: Option<Text<'a>>,
    #[serde(borrow)]
    group_id: Option<Text<'a>>,
    #[serde(borrow)]
    image: Option<&'a RawValue>,
    #[serde(borrow)]
    audio: Option<&'a RawValue>,
    #[serde(borrow)]
    video: Option<&'a RawValue>,
    #[serde(borrow)]
    document: Option<&'a RawValue>,
    #[serde(borrow)]
    sticker: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct StatusShape<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    status: Text<'a>,
    #[serde(borrow)]
    recipient_id: Option<Text<'a>>,
    #[serde(borrow)]
    recipient_user_id: Option<Text<'a>>,
    #[serde(borrow)]
    recipient_type: Option<Text<'a>>,
    #[serde(borrow, default)]
    errors: Vec<&'a RawValue>,
}

/// Reads a webhook: the changes of the field `messages` in it, each as far as it is understood.
#[must_use]
pub fn read(body: &[u8]) -> Vec<Change<'_>> {
    let root: Option<Root<'_>> = serde_json::from_slice(body).ok();
    let entries = root.into_iter().flat_map(|root| root.entry);
    let changes = entries.flat_map(|entry| entry.changes);
    let of_messages = changes.filter(|change| &*change.field == "messages");
    of_messages
        .filter_map(|change| Change::read(change.value))
        .collect()
}

/// What of a list is of the form that is known.
fn understood<'a, T: Deserialize<'a>>(list: &[&'a RawValue]) -> Vec<T> {
    let read = |raw: &&'a RawValue| serde_json::from_str(raw.get()).ok();
    list.iter().filter_map(read).collect()
}

/// Webhooks have errors without the fields that answers have beside the code (Cloud API, "Error codes").
fn failures(list: &[&RawValue]) -> Vec<Failure> {
    #[derive(Deserialize)]
    struct Coded {
        code: i64,
    }
    let failure = |Coded { code }| Failure {
        code,
        subcode: None,
        is_transient: None,
    };
    understood(list).into_iter().map(failure).collect()
}

impl<'a> Change<'a> {
    fn read(raw: &'a RawValue) -> Option<Self> {
        let value: Value<'a> = serde_json::from_str(raw.get()).ok()?;
        let status = |raw: &&'a RawValue| {
            let shape = serde_json::from_str(raw.get()).ok()?;
            Some(Status { shape, raw })
        };
        let messages = understood(&value.messages).into_iter();
        Some(Self {
            number: value.metadata.phone_number_id.parse().ok()?,
            display: value.metadata.display_phone_number,
            contacts: understood(&value.contacts),
            messages: messages.map(|shape| Message { shape }).collect(),
            statuses: value.statuses.iter().filter_map(status).collect(),
            errors: failures(&value.errors),
        })
    }

    /// The number.
    #[must_use]
    pub const fn number(&self) -> PhoneNumberId {
        self.number
    }

    /// Our number, as people write it.
    #[must_use]
    pub fn display_phone_number(&self) -> Option<&str> {
        self.display.as_deref()
    }

    /// The people of whom it gives both names.
    pub fn people(&self) -> impl Iterator<Item = SamePerson<'_>> {
        let of_contacts = self.contacts.iter().flat_map(|contact| {
            let ids = [&contact.user_id, &contact.parent_user_id];
            let ids = ids.into_iter().flatten();
            ids.map(|user_id| SamePerson {
                user_id,
                wa_id: &contact.wa_id,
            })
        });
        let of_messages = self.messages.iter().filter_map(|message| {
            let shape = &message.shape;
            same_person(shape.from_user_id.as_ref(), shape.from.as_ref())
        });
        let of_statuses = self
            .statuses
            .iter()
            .filter(|status| !status.is_of_group())
            .filter_map(|status| {
                let shape = &status.shape;
                same_person(shape.recipient_user_id.as_ref(), shape.recipient_id.as_ref())
            });
        of_contacts.chain(of_messages).chain(of_statuses)
    }
}

fn same_person<'t>(user_id: Option<&'t Text<'_>>, wa_id: Option<&'t Text<'_>>) -> Option<SamePerson<'t>> {
    Some(SamePerson {
        user_id: user_id?,
        wa_id: wa_id?,
    })
}

impl Message<'_> {
    /// Its id: the same in every delivery of it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shape.id
    }

    /// When it was sent, in seconds since 1970.
    #[must_use]
    pub fn timestamp(&self) -> Option<u64> {
        self.shape.timestamp.as_deref()?.parse().ok()
    }

    /// The sender's phone number, if it says one.
    #[must_use]
    pub fn from(&self) -> Option<&str> {
        self.shape.from.as_deref()
    }

    /// The sender's business-scoped user id, if it says one.
    #[must_use]
    pub fn from_user_id(&self) -> Option<&str> {
        self.shape.from_user_id.as_deref()
    }

    /// Whether it is a message of one person's to the number alone, which opens their service window (Cloud API, "Send
    /// messages", customer service windows). A reaction, a change of an earlier message and what the system says of a user
    /// are not known to do so.
    #[must_use]
    pub fn opens_window(&self) -> bool {
        let kind = self.shape.kind.as_deref().unwrap_or_default();
        self.shape.group_id.is_none()
            && !matches!(
                kind,
                "" | "reaction" | "system" | "edit" | "revoke" | "media_placeholder"
            )
    }

    /// The media that came with it.
    pub fn media(&self) -> impl Iterator<Item = MediaId> {
        #[derive(Deserialize)]
        struct Object<'a> {
            #[serde(borrow)]
            id: Text<'a>,
        }
        let shape = &self.shape;
        let objects = [
            shape.image,
            shape.audio,
            shape.video,
            shape.document,
            shape.sticker,
        ];
        objects.into_iter().flatten().filter_map(|raw| {
            let object: Object<'_> = serde_json::from_str(raw.get()).ok()?;
            object.id.parse().ok()
        })
    }
}

impl Status<'_> {
    /// The message's id.
    #[must_use]
    pub fn message_id(&self) -> &str {
        &self.shape.id
    }

    /// What became of the message; `None` for a status that is not known.
    #[must_use]
    pub fn fate(&self) -> Option<Fate> {
        match &*self.shape.status {
            "sent" | "delivered" | "read" | "played" => Some(Fate::Accepted),
            "failed" => Some(Fate::Failed(self.errors().first().map(|failure| failure.code))),
            _ => None,
        }
    }

    /// Why it failed.
    #[must_use]
    pub fn errors(&self) -> Vec<Failure> {
        failures(&self.shape.errors)
    }

    /// The phone number or group that it went to, if it says one.
    #[must_use]
    pub fn recipient_id(&self) -> Option<&str> {
        self.shape.recipient_id.as_deref()
    }

    /// The business-scoped user id that it went to, if it says one.
    #[must_use]
    pub fn recipient_user_id(&self) -> Option<&str> {
        self.shape.recipient_user_id.as_deref()
    }

    /// Whether it went to a group.
    #[must_use]
    pub fn is_of_group(&self) -> bool {
        self.shape.recipient_type.as_deref() == Some("group")
    }
}

/// A webhook rid of the gateway's markers.
#[derive(Debug)]
pub struct GivenBack<'s> {
    /// The body: each status has its caller's own value again, or none where the caller had none. Every other byte is
    /// Meta's. `None` where nothing has to change.
    pub body: Option<Bytes>,
    /// Which send each marked status is about.
    pub marked: Vec<(Marker, &'s Status<'s>)>,
}

/// Takes the markers of `key` out of a webhook that was [`read`] from `body`.
#[must_use]
pub fn give_back<'s>(body: &[u8], changes: &'s [Change<'s>], key: &MarkerKey) -> GivenBack<'s> {
    let mut gone = Vec::new();
    let mut marked = Vec::new();
    for change in changes {
        for status in &change.statuses {
            let Some((marker, range)) = status.marker(change.number, key) else {
                continue;
            };
            let (from, _) = span(body, status.raw);
            gone.push(((from + range.start, from + range.end), String::new()));
            marked.push((marker, status));
        }
    }
    GivenBack {
        body: (!gone.is_empty()).then(|| splice(body, &mut gone)),
        marked,
    }
}

impl Status<'_> {
    /// The marker, and what of the status has to go with it.
    fn marker(&self, number: PhoneNumberId, key: &MarkerKey) -> Option<(Marker, Range<usize>)> {
        let members = Members::of(self.raw.get())?;
        let index = members.iter().position(|member| &*member.key == OPAQUE)?;
        let member = members.iter().nth(index)?;
        let marked = key.read(number, member.value.get())?;
        let range = match marked.own_from {
            // Behind the quotation mark.
            Some(own_from) => member.span.start + 1..member.span.start + own_from,
            None => members.whole(index)?,
        };
        Some((marked.marker, range))
    }
}

#[cfg(test)]
mod tests;
