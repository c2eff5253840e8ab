//! A second, slow reading of sends that shares nothing with ours but the rules, and random sends to compare the two on.

use std::collections::BTreeMap;

use curfew_policies::shown;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

use super::places::PLACES;
use super::*;
use crate::graph::json::testing::{Tree, spelling};

const MEDIA: [&str; 6] = ["audio", "document", "gif", "image", "sticker", "video"];

/// The documented places as patterns: `|` parts alternatives, `[]` is an element, `**` one or more steps of any kind. Then whether an
/// `id` is documented there, and which types the components at the third and the seventh step must have.
type Pattern = (&'static str, bool, &'static [(usize, &'static str)]);

const PATTERNS: [Pattern; 9] = [
    ("image|audio|video|document|sticker", true, &[]),
    ("interactive header image|video|document", true, &[]),
    ("interactive action cards [] header image|video", false, &[]),
    ("interactive action parameters order items [] image", false, &[]),
    (
        "interactive action parameters flow_action_payload data **",
        true,
        &[],
    ),
    (
        "template components [] parameters [] image|video|document|gif",
        true,
        &[(3, "header/")],
    ),
    (
        "template components [] cards [] components [] parameters [] image|video",
        true,
        &[(3, "carousel/"), (7, "header/")],
    ),
    (
        "template components [] parameters [] action order_details order items [] image",
        false,
        &[(3, "button/order_details")],
    ),
    (
        "template components [] parameters [] action flow_action_data **",
        true,
        &[(3, "button/flow")],
    ),
];

/// Where an object or an array is documented on the way to media; a text that holds neither hides what it is.
const CONTAINERS: [&str; 30] = [
    "interactive",
    "interactive header",
    "interactive action",
    "interactive action cards",
    "interactive action cards []",
    "interactive action cards [] header",
    "interactive action parameters",
    "interactive action parameters order",
    "interactive action parameters order items",
    "interactive action parameters order items []",
    "interactive action parameters payment_settings",
    "interactive action parameters payment_settings []",
    "interactive action parameters payment_settings [] upi_intent_link",
    "interactive action parameters flow_action_payload",
    "interactive action parameters flow_action_payload data",
    "template",
    "template components",
    "template components []",
    "template components [] parameters",
    "template components [] parameters []",
    "template components [] parameters [] action",
    "template components [] parameters [] action flow_action_data",
    "template components [] parameters [] action order_details",
    "template components [] parameters [] action order_details order|payment_settings",
    "template components [] parameters [] action order_details order items",
    "template components [] parameters [] action order_details order items []",
    "template components [] parameters [] action order_details payment_settings []",
    "template components [] parameters [] action order_details payment_settings [] upi_intent_link",
    "template components [] cards",
    "template components [] cards []",
];

/// The same inside a carousel's cards.
const CARD_CONTAINERS: [&str; 4] = [
    "template components [] cards [] components",
    "template components [] cards [] components []",
    "template components [] cards [] components [] parameters",
    "template components [] cards [] components [] parameters []",
];

const FLOW_DATA: [&str; 2] = [
    "interactive action parameters flow_action_payload data **",
    "template components [] parameters [] action flow_action_data **",
];

const UPI: [&str; 2] = [
    "interactive action parameters payment_settings [] upi_intent_link link",
    "template components [] parameters [] action order_details payment_settings [] upi_intent_link link",
];

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Found {
    at: String,
    documented: bool,
    id: Option<Result<String, ()>>,
    link: Option<String>,
    unknown: Vec<String>,
}

#[derive(Debug, Default, Eq, PartialEq)]
struct Findings {
    media: Vec<Found>,
    strays: Vec<(String, bool, String)>,
}

impl Findings {
    fn sorted(mut self) -> Self {
        self.media.sort();
        self.strays.sort();
        self
    }
}

fn ours(message: &Message<'_>) -> Findings {
    let media = message.media.iter().map(|object| Found {
        at: object.at.clone(),
        documented: object.documented,
        id: object.id.as_ref().map(|id| match id {
            IdValue::Canonical(id) => Ok(id.to_string()),
            IdValue::Other(_) => Err(()),
        }),
        link: object.link.as_deref().map(str::to_owned),
        unknown: {
            let mut unknown: Vec<String> = object.unknown_members.iter().map(ToString::to_string).collect();
            unknown.sort();
            unknown
        },
    });
    let strays = message
        .stray_links
        .iter()
        .map(|stray| (stray.at.clone(), stray.documented, stray.link.to_string()));
    Findings {
        media: media.collect(),
        strays: strays.collect(),
    }
    .sorted()
}

fn slow(body: &str) -> Findings {
    let mut slow = Slow::default();
    slow.visit(&serde_json::from_str(body).unwrap());
    slow.findings.sorted()
}

#[derive(Clone)]
enum Step {
    Key(String),
    Element(usize),
}

impl Step {
    fn key(&self) -> Option<&str> {
        match self {
            Self::Key(key) => Some(key),
            Self::Element(_) => None,
        }
    }
}

#[derive(Default)]
struct Slow {
    path: Vec<Step>,
    /// The object at each length of the path, where there is one.
    objects: BTreeMap<usize, Value>,
    findings: Findings,
}

impl Slow {
    fn visit(&mut self, value: &Value) {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
            Value::String(text) => {
                if let Ok(held @ (Value::Object(_) | Value::Array(_) | Value::String(_))) =
                    serde_json::from_str(text)
                {
                    self.visit(&held);
                }
            }
            Value::Array(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    self.path.push(Step::Element(index));
                    self.notice_shape(element);
                    self.visit(element);
                    self.path.pop();
                }
            }
            Value::Object(members) => {
                let depth = self.path.len();
                let before = self.objects.insert(depth, value.clone());
                let key = self.path.iter().rev().find_map(Step::key).unwrap_or_default();
                let is_medium = MEDIA.contains(&key.to_lowercase().as_str());
                if is_medium {
                    let found = self.medium(value);
                    self.findings.media.push(found);
                }
                for (key, value) in members {
                    self.path.push(Step::Key(key.clone()));
                    self.notice(key, value, is_medium);
                    self.notice_shape(value);
                    self.visit(value);
                    self.path.pop();
                }
                match before {
                    Some(before) => self.objects.insert(depth, before),
                    None => self.objects.remove(&depth),
                };
            }
        }
    }

    /// A value that is no object where one could name a medium.
    fn notice_shape(&mut self, value: &Value) {
        let Some(last) = self.path.last() else {
            return;
        };
        if holds_more(value) || value.is_null() {
            return;
        }
        let in_flow = match last {
            Step::Element(_) => self.is_in_flow_data(self.path.len()),
            Step::Key(_) => self.is_in_flow_data(self.path.len() - 1),
        };
        if in_flow {
            return;
        }
        let key = self.path.iter().rev().find_map(Step::key).unwrap_or_default();
        let is_medium = MEDIA.contains(&key.to_lowercase().as_str());
        let lower: Vec<Step> = match last {
            Step::Element(_) => self.path.clone(),
            Step::Key(key) => {
                let mut path = self.path.clone();
                path.pop();
                path.push(Step::Key(key.to_lowercase()));
                path
            }
        };
        let slow = Slow {
            path: lower,
            ..Slow::default()
        };
        let is_container = CONTAINERS
            .iter()
            .chain(&CARD_CONTAINERS)
            .any(|pattern| slow.is_at(pattern));
        if is_medium || is_container && value.is_string() {
            self.findings.media.push(Found {
                at: self.at(),
                documented: false,
                id: Some(Err(())),
                link: None,
                unknown: vec![],
            });
        }
    }

    /// Whether the first `length` steps lead into a Flow's data.
    fn is_in_flow_data(&self, length: usize) -> bool {
        (0..=length).any(|length| {
            FLOW_DATA.iter().any(|pattern| {
                let data = pattern.trim_end_matches(" **");
                let slow = Slow {
                    path: self.path[..length].to_vec(),
                    ..Slow::default()
                };
                slow.is_at(data)
            })
        })
    }

    /// A member that says something by its key alone.
    fn notice(&mut self, key: &str, value: &Value, in_medium: bool) {
        let parts = parts(key);
        if parts != [key.to_lowercase()] {
            if parts.iter().any(|part| MEDIA.contains(&part.as_str())) {
                self.findings.media.push(Found {
                    at: self.at(),
                    documented: false,
                    id: Some(Err(())),
                    link: None,
                    unknown: vec![],
                });
                return;
            }
            if in_medium && ["id", "link"].contains(&parts[0].as_str()) || !parts.contains(&"link".to_owned())
            {
                return;
            }
        } else if in_medium || parts != ["link"] || value.is_null() {
            return;
        }
        let documented = UPI.iter().any(|pattern| self.is_at(pattern));
        self.findings
            .strays
            .push((self.at(), documented, shown_value(value)));
    }

    fn medium(&self, object: &Value) -> Found {
        let has_bracketed_id = |key: &String| {
            let parts = parts(key);
            parts != [key.to_lowercase()] && ["id", "link"].contains(&parts[0].as_str())
        };
        let bracketed_id = object.as_object().unwrap().keys().any(has_bracketed_id);
        let mut found = Found {
            at: self.at(),
            documented: false,
            id: None,
            link: None,
            unknown: vec![],
        };
        for (key, value) in object.as_object().unwrap() {
            let lower = key.to_lowercase();
            let parts = parts(key);
            let names_media =
                parts != [key.to_lowercase()] && parts.iter().any(|part| MEDIA.contains(&part.as_str()));
            if names_media {
                continue;
            }
            if lower == "id" && !value.is_null() {
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::Number(number) if number.is_u64() => number.to_string(),
                    _ => String::new(),
                };
                let canonical = text
                    .parse::<u64>()
                    .is_ok_and(|number| number > 0 && number.to_string() == text);
                found.id = Some(if canonical { Ok(text) } else { Err(()) });
            } else if lower == "link" {
                found.link = value.as_str().map(str::to_owned);
            }
            let well_known = match key.as_str() {
                "link" => value.is_string() || value.is_null(),
                key => ["id", "caption", "filename", "voice", "provider"].contains(&key),
            };
            if !well_known {
                found.unknown.push(key.clone());
            }
        }
        if bracketed_id {
            found.id = Some(Err(()));
        }
        found.unknown.sort();
        found.documented = PATTERNS.iter().any(|(pattern, id, types)| {
            self.is_at(pattern)
                && (*id || found.id.is_none())
                && types
                    .iter()
                    .all(|(depth, types)| self.component_is(*depth, types))
        });
        found
    }

    fn component_is(&self, depth: usize, types: &str) -> bool {
        let component = &self.objects[&depth];
        let text = |key: &str| {
            component
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_lowercase()
        };
        let (kind, sub) = types.split_once('/').unwrap();
        text("type") == kind && (sub.is_empty() || text("sub_type") == sub)
    }

    fn is_at(&self, pattern: &str) -> bool {
        let mut steps = self.path.iter();
        for part in pattern.split(' ') {
            if part == "**" {
                let mut rest = steps.peekable();
                return rest.peek().is_some()
                    && !rest.filter_map(Step::key).any(|key| {
                        MEDIA.contains(&key.to_lowercase().as_str()) && key != key.to_lowercase()
                    });
            }
            let matches = match steps.next() {
                Some(Step::Element(_)) => part == "[]",
                Some(Step::Key(key)) => part != "[]" && part.split('|').any(|alternative| alternative == key),
                None => false,
            };
            if !matches {
                return false;
            }
        }
        steps.next().is_none()
    }

    fn at(&self) -> String {
        let mut at = String::new();
        for step in &self.path {
            match step {
                Step::Key(key) if at.is_empty() => at.push_str(&shown(key)),
                Step::Key(key) => at.extend([".", &shown(key)]),
                Step::Element(index) => at.push_str(&format!("[{index}]")),
            }
        }
        at
    }
}

/// What a key says to whoever splits it at brackets and dots and drops what is blank or invisible.
fn parts(key: &str) -> Vec<String> {
    let lower = key
        .to_lowercase()
        .replace(|c: char| c.is_control() || c == '\u{feff}', "");
    lower
        .split(['[', ']', '.'])
        .map(|part| part.trim().to_owned())
        .collect()
}

/// Whether a value is an object or an array, or a text that holds one.
fn holds_more(value: &Value) -> bool {
    match value {
        Value::Object(_) | Value::Array(_) => true,
        Value::String(text) => serde_json::from_str(text).is_ok_and(|held| holds_more(&held)),
        _ => false,
    }
}

fn shown_value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(_) => "[…]".to_owned(),
        Value::Object(_) => "{…}".to_owned(),
        value => value.to_string(),
    }
}

/// Keys that mean something somewhere.
fn key() -> impl Strategy<Value = String> {
    select(vec![
        "image",
        "Image",
        "video",
        "VIDEO",
        "document",
        "sticker",
        "audio",
        "gif",
        "id",
        "ID",
        "link",
        "Link",
        "caption",
        "provider",
        "foo",
        "header",
        "parameters",
        "cards",
        "components",
        "action",
        "order",
        "items",
        "data",
        "upi_intent_link",
        "image[id]",
        "image ",
        "\u{feff}video",
        "im\u{1}age",
        "image.id",
        "id ",
        "foo.link",
        "link\n",
        "foo[link]",
        "id[]",
        "foo[0]",
        "flow_action_data",
        "order_details",
    ])
    .prop_map(str::to_owned)
}

/// An object none of whose keys is another's in other letter case.
fn object(members: Vec<(String, Tree)>) -> Tree {
    let mut names = Vec::new();
    let mut kept = Vec::new();
    for (key, value) in members {
        let name = plain(&key);
        if !names.contains(&name) {
            names.push(name);
            kept.push((key, value));
        }
    }
    Tree::Object(kept)
}

fn plain(key: &str) -> String {
    key.to_lowercase()
}

fn leaf() -> impl Strategy<Value = Tree> {
    prop_oneof![
        Just(Tree::Null),
        Just(Tree::Bool(true)),
        select(vec!["7", "123", "-1", "0", "18446744073709551615"])
            .prop_map(|number| Tree::Number(number.to_owned())),
        select(vec![
            "123",
            "0123",
            "+5",
            "x",
            "",
            "https://a.example/",
            "[x",
            "{'id':'999'}",
            "{\"id\":\"999\",}",
            "id=999",
            "\u{feff}{\"id\":\"999\"}",
            "\"y\""
        ])
        .prop_map(|text| Tree::Text(text.to_owned())),
    ]
}

fn noise() -> impl Strategy<Value = Tree> {
    leaf().prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..3).prop_map(Tree::Array),
            4 => proptest::collection::vec((key(), inner.clone()), 0..4).prop_map(object),
            1 => inner.prop_map(|tree| Tree::Held(Box::new(tree))),
        ]
    })
}

fn medium() -> impl Strategy<Value = Tree> {
    let id = prop_oneof![3 => Just(Tree::Text("2871834006348767".to_owned())), 1 => Just(Tree::Number("42".to_owned())), 1 => leaf()];
    let id = ("id|id|id|ID", id);
    let link = (
        "link|link|LINK",
        prop_oneof![3 => Just(Tree::Text("https://a.example/".to_owned())), 1 => leaf()],
    );
    let id_or_link = prop_oneof![
        id.clone().prop_map(|id| vec![id]),
        link.clone().prop_map(|link| vec![link]),
        (id, link).prop_map(|(id, link)| vec![link, id]),
    ];
    (id_or_link, proptest::collection::vec((key(), noise()), 0..2))
        .prop_map(|(members, more)| object(members.into_iter().chain(more).collect()))
}

/// Applies `change` to the node at `position`, counted from the root, in the order of writing.
fn at_node(tree: &mut Tree, position: &mut usize, change: &mut impl FnMut(&mut Tree)) {
    if *position == 0 {
        *position = usize::MAX;
        change(tree);
        return;
    }
    *position -= 1;
    let mut each = |tree: &mut Tree| {
        if *position != usize::MAX {
            at_node(tree, position, change);
        }
    };
    match tree {
        Tree::Array(elements) => elements.iter_mut().for_each(&mut each),
        Tree::Object(members) => members.iter_mut().map(|(_, value)| value).for_each(&mut each),
        Tree::Held(held) => each(held),
        Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => {}
    }
}

fn nodes(tree: &Tree) -> usize {
    1 + match tree {
        Tree::Array(elements) => elements.iter().map(nodes).sum(),
        Tree::Object(members) => members.iter().map(|(_, value)| nodes(value)).sum(),
        Tree::Held(held) => nodes(held),
        Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => 0,
    }
}

/// A send with a medium at one of the places of the table, with noise round it, and here and there a value given as text.
fn send() -> impl Strategy<Value = Tree> {
    let extra = (any::<Index>(), key(), prop_oneof![noise(), medium()]);
    let place = select(PLACES.to_vec());
    let extras = proptest::collection::vec(extra, 0..4);
    let held = proptest::collection::vec(any::<Index>(), 0..3);
    (place, medium(), extras, held).prop_map(|((body, ..), medium, extras, held)| {
        let mut tree: Tree = serde_json::from_str(&body.replace('$', "\"$\"")).unwrap();
        for position in 0..nodes(&tree) {
            at_node(&mut tree, &mut { position }, &mut |node| {
                if *node == Tree::Text("$".to_owned()) {
                    *node = medium.clone();
                }
            });
        }
        for (index, key, value) in extras {
            let mut position = index.index(nodes(&tree));
            at_node(&mut tree, &mut position, &mut |node| match node {
                Tree::Object(members) if members.iter().all(|(other, _)| plain(other) != plain(&key)) => {
                    members.push((key.clone(), value.clone()));
                }
                Tree::Array(elements) => elements.push(value.clone()),
                _ => {}
            });
        }
        for index in held {
            let mut position = index.index(nodes(&tree)).max(1);
            at_node(&mut tree, &mut position, &mut |node| {
                *node = Tree::Held(Box::new(std::mem::replace(node, Tree::Null)));
            });
        }
        tree
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn both_readings_find_the_same(tree in send(), spelling in spelling()) {
        let body = tree.spelled(&spelling);
        match read(body.as_bytes()) {
            Ok(Body::Send(message, ..)) => prop_assert_eq!(ours(&message), slow(&body), "{}", body),
            // A type given as something else than a plain string.
            Err(MessageError::NotAString { .. }) => prop_assert!(body.contains("type"), "{}", body),
            other => prop_assert!(false, "{:?} {}", other, body),
        }
    }

    #[test]
    fn damaged_sends_never_hide_a_medium(
        tree in send(),
        spelling in spelling(),
        edits in proptest::collection::vec((any::<Index>(), select(b"{}[]\",:\\u0aA1 ".to_vec())), 1..4),
    ) {
        let mut body = tree.spelled(&spelling).into_bytes();
        for (at, byte) in edits {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if let (Ok(Body::Send(message, ..)), Ok(text)) = (read(&body), std::str::from_utf8(&body)) {
            prop_assert_eq!(ours(&message).media.len(), slow(text).media.len(), "{}", text);
        }
    }
}
