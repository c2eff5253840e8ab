//! Bodies of sends: one streaming walk against a tree that is searched without knowing any place.

use curfew::graph::message::{Body, MOST_REFERENCES, MessageError, Recipient, read};
use curfew_policies::{IdValue, Message, MessageKind};
use serde_json::Value;

use super::json::{self, Held, held, plain};

pub fn check(body: &[u8]) -> bool {
    let read = read(body);
    let refusal = match &read {
        Err(MessageError::Json(error)) => Some(error.slug()),
        Ok(_) | Err(_) => None,
    };
    // Refused for what it says, or not at all: then it is JSON, unless the reason was met before its end.
    if refusal.is_none() && read.is_err() {
        return false;
    }
    let Some(document) = json::agreed(body, refusal) else {
        return false;
    };
    let mut found = Found::default();
    found.search(&document, false);
    assert!(found.ids.len() <= MOST_REFERENCES);
    match read.expect("it was taken") {
        Body::ReadReceipt => {
            assert_eq!(document["status"], "read");
            assert!(document["message_id"].is_string());
            let send = ["type", "to", "recipient", "text", "image", "template"];
            assert!(send.iter().all(|member| document.get(member).is_none()));
            assert!(found.ids.is_empty() && found.links.is_empty());
        }
        Body::Send(message, recipient, _) => agrees(&document, &message, &recipient, found),
    }
    true
}

/// Everything that names a medium, wherever it is.
#[derive(Default)]
struct Found {
    /// Values of `id` of an object under a media key; `None` for what has no plain text.
    ids: Vec<Option<String>>,
    /// Values of `link`, anywhere.
    links: Vec<Option<String>>,
}

impl Found {
    fn search(&mut self, value: &Value, is_media: bool) {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
            Value::String(text) => {
                if let Held::Document(document) = held::<Value>(text) {
                    self.search(&document, is_media);
                }
            }
            Value::Array(elements) => {
                for element in elements {
                    self.search(element, is_media);
                }
            }
            Value::Object(members) => {
                for (key, member) in members {
                    let key = key.to_ascii_lowercase();
                    if key == "id" && is_media && !member.is_null() {
                        self.ids.push(plain(member));
                    }
                    if key == "link" && !member.is_null() {
                        self.links.push(plain(member).filter(|_| member.is_string()));
                    }
                    let media = ["image", "audio", "video", "document", "sticker", "gif"];
                    self.search(member, media.contains(&key.as_str()));
                }
            }
        }
    }
}

fn agrees(document: &Value, message: &Message<'_>, recipient: &Recipient<'_>, found: Found) {
    let mut ours: Vec<_> = message
        .media
        .iter()
        .filter_map(|media| media.id.as_ref())
        .collect();
    let mut ids = found.ids;
    // Those that any other text matches come last.
    ids.sort_by_key(Option::is_none);
    for id in ids {
        let same = ours.iter().position(|ours| match (ours, &id) {
            (IdValue::Canonical(ours), Some(id)) => ours.to_string() == *id,
            // Never canonical by another reading of the digits.
            (IdValue::Other(ours), Some(id)) => ours == id && !is_canonical(id),
            (IdValue::Other(_), None) => true,
            (IdValue::Canonical(_), None) => false,
        });
        match same {
            Some(same) => {
                ours.swap_remove(same);
            }
            // A key such as `id[0]` makes the whole object one that cannot be told.
            None => assert!(
                ours.iter()
                    .any(|ours| matches!(ours, IdValue::Other(key) if !is_plain(key))),
                "{id:?} is not among {ours:?}"
            ),
        }
    }

    let under_media = message.media.iter().filter_map(|media| media.link.as_ref());
    let stray = message.stray_links.iter().map(|stray| &stray.link);
    let mut ours: Vec<_> = under_media.chain(stray).collect();
    for link in found.links.iter().flatten() {
        let same = ours.iter().position(|ours| *ours == link);
        let same = same.unwrap_or_else(|| panic!("{link} is not among {ours:?}"));
        ours.swap_remove(same);
    }
    if found.links.contains(&None) {
        let unknown = message.media.iter().any(|media| {
            media
                .unknown_members
                .iter()
                .any(|key| key.eq_ignore_ascii_case("link"))
        });
        assert!(unknown || !ours.is_empty());
    }

    let kind = document.get("type").and_then(Value::as_str);
    match &message.kind {
        MessageKind::Known(name) => assert_eq!(kind, Some(*name)),
        MessageKind::Unknown(name) => {
            let is_disguise = !is_plain(name) || name.bytes().any(|byte| byte.is_ascii_uppercase());
            assert!(kind == Some(name) || is_disguise);
        }
        MessageKind::ImpliedText => {
            assert!(document.get("type").is_none() && document.get("text").is_some());
        }
        MessageKind::Missing => assert!(document.get("type").is_none()),
    }
    let text = |member: &str| document.get(member).and_then(plain);
    assert_eq!(recipient.to.as_deref().map(str::to_owned), text("to"));
    assert_eq!(
        recipient.recipient.as_deref().map(str::to_owned),
        text("recipient")
    );
    assert_eq!(
        recipient.recipient_type.as_deref().map(str::to_owned),
        text("recipient_type")
    );
}

/// Whether a key can be read as one name alone, but for letter case.
fn is_plain(key: &str) -> bool {
    key.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The one spelling of an id: digits without a leading zero, of 64 bits at most.
fn is_canonical(id: &str) -> bool {
    id.parse::<u64>().is_ok_and(|number| number.to_string() == id) && id != "0"
}
