//! What a send's body means: recipient, type, and the media that it names. Knows no world.

use serde_json::Value;

use super::GraphError;
use super::media::Kind;
use crate::params::{self, Params};

/// A body of `/messages` that was understood.
#[derive(Debug)]
pub(crate) enum Meaning {
    /// A read receipt, with or without typing indicator.
    Receipt,
    Message(Outgoing),
}

#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) kind: String,
    pub(crate) recipient: Recipient,
    /// Media ids with what they are used as; none takes any kind.
    pub(crate) media: Vec<(u64, Option<Kind>)>,
    /// Media keys whose `id` is no id at all.
    pub(crate) bad_ids: Vec<String>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Recipient {
    /// As it was given.
    Phone(String),
    /// A business-scoped user id.
    User(String),
    Group(String),
}

/// The types of `/messages` (Messages API).
const TYPES: [&str; 12] = [
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
const MEDIA: [&str; 5] = ["image", "audio", "video", "document", "sticker"];
const TEXT_MAX: usize = 4096;
const CAPTION_MAX: usize = 1024;
const OPAQUE_MAX: usize = 512;

/// Reads a body. One that is a receipt and a message at once is a message, so that nothing sent goes unseen.
pub(crate) fn read(params: &mut Params) -> Result<Meaning, GraphError> {
    if params::text(params, "messaging_product").as_deref() != Some("whatsapp") {
        return Err(GraphError::required("messaging_product"));
    }
    params::unfold(params);
    let is_message = ["type", "to", "recipient"]
        .iter()
        .chain(&TYPES)
        .any(|key| params.contains_key(*key));
    if params.contains_key("status") && !is_message {
        return receipt(params).map(|()| Meaning::Receipt);
    }
    let recipient = recipient(params)?;
    let kind = match params::text(params, "type") {
        Some(kind) => kind,
        // Without a type it is what its object says, and text if there is none.
        None => TYPES
            .iter()
            .find(|key| params.contains_key(**key))
            .unwrap_or(&"text")
            .to_string(),
    };
    if !TYPES.contains(&kind.as_str()) {
        return Err(GraphError::new(
            131_051,
            format!("Message type {kind} is not supported"),
        ));
    }
    if params::text(params, "biz_opaque_callback_data").is_some_and(|data| data.chars().count() > OPAQUE_MAX)
    {
        return Err(GraphError::invalid(
            "biz_opaque_callback_data must be at most 512 characters long",
        ));
    }
    let object = params.get_mut(&kind).ok_or_else(|| missing(&kind))?;
    check(&kind, object, &recipient)?;
    let mut outgoing = Outgoing {
        kind,
        recipient,
        media: Vec::new(),
        bad_ids: Vec::new(),
    };
    let object = params.get(&outgoing.kind).unwrap_or(&Value::Null);
    if MEDIA.contains(&outgoing.kind.as_str()) {
        let kind = outgoing.kind.clone();
        medium(&kind, object, &mut outgoing);
    } else if matches!(outgoing.kind.as_str(), "interactive" | "template") {
        walk(object, &mut outgoing);
    }
    Ok(Meaning::Message(outgoing))
}

fn missing(name: &str) -> GraphError {
    GraphError::new(131_008, format!("Parameter {name} is missing"))
}

fn receipt(params: &Params) -> Result<(), GraphError> {
    if params::text(params, "status").as_deref() != Some("read") {
        return Err(GraphError::new(131_009, "status must be read"));
    }
    let id = params::text(params, "message_id").ok_or_else(|| missing("message_id"))?;
    if !id.starts_with("wamid.") {
        return Err(GraphError::new(131_009, "message_id is not the id of a message"));
    }
    match params.get("typing_indicator") {
        Some(indicator) if indicator.get("type").and_then(Value::as_str) != Some("text") => {
            Err(GraphError::new(131_009, "typing_indicator.type must be text"))
        }
        _ => Ok(()),
    }
}

/// `to` wins over `recipient` (Business-scoped user IDs).
fn recipient(params: &Params) -> Result<Recipient, GraphError> {
    let kind = params::text(params, "recipient_type").unwrap_or_else(|| "individual".to_owned());
    match (
        kind.as_str(),
        params::text(params, "to"),
        params::text(params, "recipient"),
    ) {
        (_, None, None) => Err(GraphError::required("to")),
        ("group", Some(group), _) | ("group", None, Some(group)) => Ok(Recipient::Group(group)),
        ("individual", Some(phone), _) => Ok(Recipient::Phone(phone)),
        ("individual", None, Some(user)) if is_user(&user) => Ok(Recipient::User(user)),
        ("individual", ..) => Err(GraphError::new(
            131_009,
            "recipient is not a business-scoped user ID",
        )),
        _ => Err(GraphError::new(
            131_009,
            "recipient_type must be individual or group",
        )),
    }
}

/// `CC.` or `CC.ENT.` and up to 128 letters and digits.
fn is_user(text: &str) -> bool {
    let Some((country, rest)) = text.split_once('.') else {
        return false;
    };
    let id = rest.strip_prefix("ENT.").unwrap_or(rest);
    country.len() == 2
        && country.bytes().all(|byte| byte.is_ascii_uppercase())
        && (1..=128).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Each type's own required members.
fn check(kind: &str, object: &mut Value, recipient: &Recipient) -> Result<(), GraphError> {
    let has = |key: &str| object.get(key).is_some_and(|value| !value.is_null());
    let length = |key: &str| {
        object
            .get(key)
            .and_then(Value::as_str)
            .map_or(0, |text| text.chars().count())
    };
    let need = |key: &str| {
        if has(key) {
            Ok(())
        } else {
            Err(missing(&format!("{kind}.{key}")))
        }
    };
    match kind {
        "text" => {
            need("body")?;
            match length("body") {
                1..=TEXT_MAX => Ok(()),
                0 => Err(missing("text.body")),
                _ => Err(GraphError::invalid(format!(
                    "Param text['body'] must be at most {TEXT_MAX} characters long"
                ))),
            }
        }
        "image" | "audio" | "video" | "document" | "sticker" => {
            if !has("id") && !has("link") {
                return Err(missing(&format!("{kind}.id or {kind}.link")));
            }
            if length("caption") > CAPTION_MAX {
                let message =
                    format!("Param {kind}['caption'] must be at most {CAPTION_MAX} characters long");
                return Err(GraphError::invalid(message));
            }
            Ok(())
        }
        "location" => need("latitude").and_then(|()| need("longitude")),
        "contacts" => match object.as_array() {
            Some(cards) if !cards.is_empty() && cards.iter().all(|card| card.get("name").is_some()) => Ok(()),
            _ => Err(missing("contacts[].name")),
        },
        "reaction" => need("message_id"),
        "interactive" => {
            need("type")?;
            need("action")?;
            // Meta's guide says that `parameters` is text that holds an object; its samples show the object.
            if let Some(parameters) = object.pointer_mut("/action/parameters")
                && let Value::String(text) = parameters
                && let Ok(parsed) = serde_json::from_str(text)
            {
                *parameters = parsed;
            }
            Ok(())
        }
        "template" => {
            need("name")?;
            let language = object.get("language");
            let code =
                language.and_then(|language| language.get("code").or(Some(language)).and_then(Value::as_str));
            code.map(|_| ()).ok_or_else(|| missing("template.language.code"))
        }
        "pin" if !matches!(recipient, Recipient::Group(_)) => {
            Err(GraphError::new(131_009, "Only messages in groups can be pinned"))
        }
        _ => need("type").and_then(|()| need("message_id")),
    }
}

/// Collects the media objects at any depth.
fn walk(value: &Value, outgoing: &mut Outgoing) {
    match value {
        Value::Array(rows) => rows.iter().for_each(|row| walk(row, outgoing)),
        Value::Object(object) => {
            for (key, value) in object {
                if (MEDIA.contains(&key.as_str()) || key == "gif") && value.is_object() {
                    medium(key, value, outgoing);
                } else {
                    walk(value, outgoing);
                }
            }
        }
        _ => {}
    }
}

/// One media object. Where it has `id` and `link`, the id counts.
fn medium(key: &str, object: &Value, outgoing: &mut Outgoing) {
    let Some(id) = object.get("id").filter(|id| !id.is_null()) else {
        return;
    };
    let kind = match key {
        "image" => Some(Kind::Image),
        "audio" => Some(Kind::Audio),
        "video" | "gif" => Some(Kind::Video),
        "sticker" => Some(Kind::Sticker),
        _ => None,
    };
    match params::scalar(id).map(|text| text.trim().parse::<u64>().map_err(|_| text)) {
        Some(Ok(id)) => outgoing.media.push((id, kind)),
        Some(Err(text)) => outgoing.bad_ids.push(text),
        None => outgoing.bad_ids.push(String::new()),
    }
}

/// A phone number as Meta understands it: digits with country code.
///
/// Meta says that without `+` the business's own country code is put in front, while its samples write whole numbers
/// without `+`. So what has eleven digits or more is taken as whole, unless it begins with the national `0`.
/// Brazilian and Mexican mobile numbers lose the digit that WhatsApp does not use.
pub(crate) fn canonical(text: &str, country: &str) -> Option<String> {
    let text = text.trim();
    if !text
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, '+' | ' ' | '-' | '(' | ')' | '.'))
    {
        return None;
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let whole = if text.starts_with('+') {
        digits
    } else if let Some(rest) = digits.strip_prefix("00") {
        rest.to_owned()
    } else if let Some(rest) = digits.strip_prefix('0') {
        format!("{country}{rest}")
    } else if digits.len() >= 11 {
        digits
    } else {
        format!("{country}{digits}")
    };
    let altered = match whole.len() {
        13 if whole.starts_with("521") => whole.strip_prefix("521").map(|rest| format!("52{rest}")),
        13 if whole.starts_with("55") && whole.get(4..5) == Some("9") => whole
            .get(..4)
            .zip(whole.get(5..))
            .map(|(area, rest)| format!("{area}{rest}")),
        _ => None,
    };
    Some(altered.unwrap_or(whole)).filter(|whole| (7..=15).contains(&whole.len()))
}

/// The country code of a number as users see it: what stands before the first gap.
pub(crate) fn country(display: &str) -> String {
    let digits = display.trim_start_matches('+');
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
    match digits.get(..end) {
        Some(code) if (1..=3).contains(&code.len()) => code.to_owned(),
        _ if digits.starts_with(['1', '7']) => digits.chars().take(1).collect(),
        _ => digits.chars().take(2).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn meaning(body: &Value) -> Result<Meaning, GraphError> {
        read(&mut body.as_object().unwrap().clone())
    }

    fn message(mut body: Value) -> Outgoing {
        body["messaging_product"] = json!("whatsapp");
        body["to"] = json!("+49 151 1234567");
        match meaning(&body).unwrap() {
            Meaning::Message(outgoing) => outgoing,
            Meaning::Receipt => panic!("a receipt"),
        }
    }

    #[test]
    fn media_is_found_at_every_place() {
        let ids = |body| {
            message(body)
                .media
                .into_iter()
                .map(|(id, _)| id)
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(json!({"type": "image", "image": {"id": "7"}})), [7]);
        assert_eq!(ids(json!({"image": "{\"id\": 7}"})), [7]);
        assert_eq!(
            ids(json!({"type": "text", "text": {"body": "{\"image\":{\"id\":1}}"}})),
            [0_u64; 0]
        );
        let card = |id: &str| json!({"components": [{"type": "header", "parameters": [{"type": "video", "video": {"id": id}}]}]});
        let template = json!({"name": "t", "language": {"code": "de"}, "components": [
            {"type": "header", "parameters": [{"type": "document", "document": {"id": "1"}}]},
            {"type": "carousel", "cards": [card("2"), card("3")]},
        ]});
        assert_eq!(ids(json!({"type": "template", "template": template})), [1, 2, 3]);
        let interactive = json!({"type": "order_details", "header": {"image": {"id": "4"}},
            "action": {"parameters": "{\"order\":{\"items\":[{\"image\":{\"id\":5}}]}}"}});
        let mut found = ids(json!({"type": "interactive", "interactive": interactive}));
        found.sort_unstable();
        assert_eq!(found, [4, 5]);
    }

    #[test]
    fn what_is_both_receipt_and_message_is_a_message() {
        let receipt = json!({"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.x"});
        assert!(matches!(meaning(&receipt), Ok(Meaning::Receipt)));
        let mut both = receipt;
        both["to"] = json!("+1");
        both["text"] = json!({"body": "x"});
        assert!(matches!(meaning(&both), Ok(Meaning::Message(_))));
    }

    #[test]
    fn numbers_become_canonical() {
        for (given, wanted) in [
            ("+49 (151) 123-4567", "491511234567"),
            ("491511234567", "491511234567"),
            ("0151 1234567", "11511234567"),
            ("00491511234567", "491511234567"),
            ("5550781234", "15550781234"),
            ("+52 1 55 1234 5678", "525512345678"),
            ("+55 11 91234-5678", "551112345678"),
        ] {
            assert_eq!(canonical(given, "1").as_deref(), Some(wanted), "{given}");
        }
        assert_eq!(canonical("abc", "1"), None);
        assert_eq!(country("+49 30 1234"), "49");
        assert_eq!(country("+15550001111"), "1");
    }
}
