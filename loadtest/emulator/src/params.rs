//! From an HTTP request to the one set of parameters that Graph makes of query, form and JSON alike.
//!
//! Undocumented corners are read as leniently as a caller could hope, so that what slips past a gateway has its
//! effect here: paths are percent-decoded and their empty, dot and `;` parts dropped, the last of equal names wins,
//! bodies win over the query, `a[b]=c` makes objects, and texts that hold JSON are the JSON where an object belongs.

use serde_json::{Map, Value};

pub(crate) type Params = Map<String, Value>;

/// The parameters whose value is an object or a list, and may come as text that holds one (Graph API overview,
/// Complex parameters).
const COMPLEX: [&str; 30] = [
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
    "context",
    "typing_indicator",
    "storage_configuration",
    "calling",
    "payload_encryption",
    "user_identity_change",
    "webhook_configuration",
    "components",
    "session",
    "block_users",
    "websites",
    "batch",
    "categories",
    "commands",
    "prompts",
    "participants",
    "language",
    "example",
];

/// A path's parts after the version.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Target {
    pub(crate) version: Option<u16>,
    pub(crate) segments: Vec<String>,
}

impl Target {
    pub(crate) fn parse(path: &str) -> Self {
        let decoded;
        let path = if path.contains('%') {
            decoded = percent_decode(path, false);
            decoded.as_str()
        } else {
            path
        };
        let mut target = Self::default();
        for part in path.split('/') {
            match part.split(';').next().unwrap_or_default() {
                "" | "." => {}
                ".." => {
                    target.segments.pop();
                }
                part if target.version.is_none() && target.segments.is_empty() => match version(part) {
                    Some(version) => target.version = Some(version),
                    None => target.segments.push(part.to_owned()),
                },
                part => target.segments.push(part.to_owned()),
            }
        }
        target
    }

    /// The first segment as a node id.
    pub(crate) fn node(&self) -> Option<u64> {
        self.segments.first().and_then(|segment| segment.parse().ok())
    }

    pub(crate) fn is_last(&self, name: &str) -> bool {
        self.segments
            .last()
            .is_some_and(|last| last.eq_ignore_ascii_case(name))
    }
}

fn version(part: &str) -> Option<u16> {
    let digits = part.strip_prefix(['v', 'V'])?;
    let (major, minor) = digits.split_once('.').unwrap_or((digits, "0"));
    minor.parse::<u16>().ok()?;
    major.parse().ok()
}

/// Adds a query's or a urlencoded body's pairs.
pub(crate) fn read_pairs(text: &str, params: &mut Params) {
    let mut nested = false;
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = percent_decode(key, true);
        nested |= key.contains('[');
        insert(params, &key, Value::String(percent_decode(value, true)));
    }
    if nested {
        params.values_mut().for_each(lists);
    }
}

/// Turns texts that hold JSON into it, where an object or list is wanted.
pub(crate) fn unfold(params: &mut Params) {
    for (key, value) in params.iter_mut() {
        let Value::String(text) = value else { continue };
        if text.trim_start().starts_with(['{', '['])
            && COMPLEX.contains(&key.as_str())
            && let Ok(parsed) = serde_json::from_str(text)
        {
            *value = parsed;
        }
    }
}

/// `a[b][c]` as nested objects, `a[]` as the next entry of a list.
fn insert(params: &mut Params, key: &str, value: Value) {
    let Some((head, rest)) = key.split_once('[') else {
        params.insert(key.to_owned(), value);
        return;
    };
    let slot = params.entry(head).or_insert_with(|| Value::Object(Map::new()));
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    let Value::Object(inner) = slot else { return };
    let (name, after) = rest.split_once(']').unwrap_or((rest, ""));
    let name = if name.is_empty() {
        inner.len().to_string()
    } else {
        name.to_owned()
    };
    insert(inner, &format!("{name}{after}"), value);
}

/// Objects whose names count from 0 become lists.
fn lists(value: &mut Value) {
    let Value::Object(object) = value else { return };
    object.values_mut().for_each(lists);
    let counted: Option<Vec<Value>> = (0..object.len())
        .map(|n| object.get(&n.to_string()).cloned())
        .collect();
    if let Some(list) = counted.filter(|list| !list.is_empty()) {
        *value = Value::Array(list);
    }
}

/// A parameter as text, whether it came as text, number or boolean.
pub(crate) fn text(params: &Params, key: &str) -> Option<String> {
    scalar(params.get(key)?)
}

pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// A whole number in digits, as text or number.
pub(crate) fn whole(params: &Params, key: &str) -> Option<u64> {
    text(params, key)?.trim().parse().ok()
}

pub(crate) fn flag(params: &Params, key: &str) -> bool {
    text(params, key).is_some_and(|text| matches!(text.as_str(), "1" | "true"))
}

/// Decodes `%XX` once, and `+` in pairs; what is not UTF-8 becomes the replacement character.
pub(crate) fn percent_decode(text: &str, plus: bool) -> String {
    if !(text.contains('%') || plus && text.contains('+')) {
        return text.to_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(nibble(*high) << 4 | nibble(*low));
                rest = after;
            }
            (b'+', _) if plus => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

/// Encodes everything but letters, digits and `-._~`.
pub(crate) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push_str(&crate::ids::hex(&[byte]).to_ascii_uppercase());
        }
    }
    encoded
}

/// One name of a `fields` parameter: `name.limit(2){sub,sub}` (Graph API, Field expansion).
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) limit: Option<usize>,
    pub(crate) inner: Vec<Field>,
}

/// Reads a `fields` parameter; braces that do not match end where the text does.
pub(crate) fn fields(text: &str) -> Vec<Field> {
    let mut rest = text;
    field_list(&mut rest)
}

fn field_list(rest: &mut &str) -> Vec<Field> {
    let mut list = Vec::new();
    loop {
        let end = rest.find([',', '{', '}']).unwrap_or(rest.len());
        let (word, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let mut parts = word.trim().split('.');
        let name = parts.next().unwrap_or_default().to_owned();
        let limit = parts
            .filter_map(|part| {
                part.strip_prefix("limit(")?
                    .strip_suffix(')')?
                    .trim()
                    .parse()
                    .ok()
            })
            .next_back();
        let mut field = Field {
            name,
            limit,
            inner: Vec::new(),
        };
        *rest = after;
        if let Some(after) = rest.strip_prefix('{') {
            *rest = after;
            field.inner = field_list(rest);
            *rest = rest.strip_prefix('}').unwrap_or(rest);
        }
        if !field.name.is_empty() {
            list.push(field);
        }
        match rest.strip_prefix(',') {
            Some(after) => *rest = after,
            None => return list,
        }
    }
}

/// The named fields of an object, or of each row of `{data: […]}`; `id` is always among them.
pub(crate) fn select(value: &Value, wanted: &[Field]) -> Value {
    match value {
        Value::Array(rows) => Value::Array(rows.iter().map(|row| select(row, wanted)).collect()),
        Value::Object(object) if object.get("data").is_some_and(Value::is_array) => {
            let mut selected = object.clone();
            if let Some(data) = selected.get_mut("data") {
                *data = select(data, wanted);
            }
            Value::Object(selected)
        }
        Value::Object(object) => {
            let mut selected = Map::new();
            for field in wanted {
                let Some(value) = object.get(&field.name) else {
                    continue;
                };
                let value = if field.inner.is_empty() {
                    value.clone()
                } else {
                    select(value, &field.inner)
                };
                selected.insert(field.name.clone(), value);
            }
            if let Some(id) = object.get("id") {
                selected.insert("id".to_owned(), id.clone());
            }
            Value::Object(selected)
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_are_read_leniently() {
        let wanted = Target {
            version: Some(24),
            segments: vec!["1".to_owned(), "messages".to_owned()],
        };
        for path in [
            "/v24.0/1/messages",
            "/v24.0/1/messages/",
            "//v24.0//1/./messages",
            "/V24.0/1/%6dessages",
            "/v24.0/1/x/../messages",
            "/v24.0%2F1%2fmessages",
            "/v24.0/1;a=b/messages",
        ] {
            assert_eq!(Target::parse(path), wanted, "{path}");
        }
        assert_eq!(Target::parse("/upload%3Aabc").segments, ["upload:abc"]);
        assert_eq!(Target::parse("/1/v24.0").version, None);
    }

    #[test]
    fn forms_make_objects() {
        let mut params = Params::new();
        read_pairs(
            "text[body]=a+b&c[]=1&c[]=2&image=%7B%22id%22%3A%221%22%7D&x=1&x=2&d[0][n]=y",
            &mut params,
        );
        unfold(&mut params);
        let wanted = json!({
            "text": {"body": "a b"}, "c": ["1", "2"], "image": {"id": "1"}, "x": "2", "d": [{"n": "y"}],
        });
        assert_eq!(Value::Object(params), wanted);
    }

    #[test]
    fn field_expansion_is_read() {
        let wanted = fields("id,phone_numbers.limit(2){id,display_phone_number},name");
        assert_eq!(wanted.len(), 3);
        assert_eq!(
            (wanted[1].name.as_str(), wanted[1].limit, wanted[1].inner.len()),
            ("phone_numbers", Some(2), 2)
        );
        assert_eq!(fields("a{b{c").len(), 1);
        assert_eq!(fields("").len(), 0);
    }
}
