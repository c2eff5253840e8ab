//! A second reading of JSON: a whole tree first, questions afterwards.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// A document that forgets nothing: members keep their order and may come twice.
pub enum Tree {
    Leaf,
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

/// How many arrays and objects the gateway lets be open at once.
const MOST_OPEN: usize = 32;

impl Tree {
    /// Every reason for which the gateway may refuse a document that is JSON, by slug.
    pub fn faults(&self) -> Vec<&'static str> {
        let mut faults = Vec::new();
        if !matches!(self, Self::Object(_)) {
            faults.push("json_not_an_object");
        }
        self.find_faults(0, &mut faults);
        faults
    }

    fn find_faults(&self, open: usize, faults: &mut Vec<&'static str>) {
        if open >= MOST_OPEN && matches!(self, Self::Array(_) | Self::Object(_)) {
            faults.push("json_too_deep");
        }
        match self {
            Self::Leaf => {}
            Self::Text(text) => match held::<Self>(text) {
                Held::Nothing => {}
                Held::Document(tree) => tree.find_faults(open, faults),
                Held::Unreadable => faults.extend(["json_syntax", "json_lone_surrogate"]),
            },
            Self::Array(elements) => {
                for element in elements {
                    element.find_faults(open + 1, faults);
                }
            }
            Self::Object(members) => {
                for (index, (key, value)) in members.iter().enumerate() {
                    for (other, _) in &members[..index] {
                        if other == key {
                            faults.push("json_duplicate_key");
                        } else if other.eq_ignore_ascii_case(key) {
                            faults.push("json_keys_differ_in_case?");
                        }
                    }
                    value.find_faults(open + 1, faults);
                }
            }
        }
    }
}

/// What is in a string.
pub enum Held<T> {
    /// No document.
    Nothing,
    /// A whole object, array or string.
    Document(T),
    /// What is a document by its brackets, but holds a number or an escape that cannot be read.
    Unreadable,
}

/// Reads a string as JSON.
pub fn held<'t, T: Deserialize<'t>>(text: &'t str) -> Held<T> {
    let begins = text.trim_start_matches([' ', '\t', '\r', '\n']);
    if !begins.starts_with(['{', '[', '"']) {
        return Held::Nothing;
    }
    match serde_json::from_str(text) {
        Ok(document) => Held::Document(document),
        Err(_) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => Held::Unreadable,
        Err(_) => Held::Nothing,
    }
}

/// Holds the gateway's word on whether `body` is one JSON object with one meaning against a second reading. Gives the
/// second reading where the gateway takes the body.
pub fn agreed(body: &[u8], refusal: Option<&str>) -> Option<Value> {
    let tree = serde_json::from_slice::<Tree>(body);
    let Some(slug) = refusal else {
        let faults = tree.expect("it is JSON").faults();
        let faults: Vec<_> = faults.into_iter().filter(|fault| !fault.ends_with('?')).collect();
        assert!(faults.is_empty(), "{faults:?}");
        return Some(serde_json::from_slice(body).expect("it is JSON"));
    };
    // What is no JSON at all is refused under whichever name comes first.
    if let Ok(tree) = tree {
        let faults = tree.faults();
        let found = faults.iter().any(|fault| fault.trim_end_matches('?') == slug);
        assert!(found, "refused for {slug}, not among {faults:?}");
    }
    None
}

/// The text of a string, or of a number of plain digits.
pub fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_u64() => Some(Number::to_string(number)),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = access.next_element()? {
            elements.push(element);
        }
        Ok(Tree::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Tree::Object(members))
    }
}
