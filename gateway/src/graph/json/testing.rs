//! A second, slow reading of JSON to compare ours with, and documents to compare them on.

use std::fmt;

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A document as a tree that forgets nothing: members keep their order, and keys may come twice.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    Null,
    Bool(bool),
    /// A number as it is written.
    Number(String),
    Text(String),
    /// A string that holds this as JSON.
    Held(Box<Tree>),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    /// The tree as JSON. Each byte of `spelling`, taken in turn and from the start again, says how to write the next thing:
    /// with or without blanks, escaped or plain.
    pub(crate) fn spelled(&self, spelling: &[u8]) -> String {
        let mut choices = spelling.iter().copied().cycle();
        let mut text = String::new();
        self.write(&mut text, &mut choices);
        text
    }

    fn write(&self, text: &mut String, choices: &mut impl Iterator<Item = u8>) {
        let blank = match choices.next() {
            Some(250..) => " \n\t",
            _ => "",
        };
        text.push_str(blank);
        match self {
            Self::Null => text.push_str("null"),
            Self::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
            Self::Number(number) => text.push_str(number),
            Self::Text(string) => write_string(string, text, choices),
            Self::Held(tree) => {
                let mut inner = String::new();
                tree.write(&mut inner, choices);
                write_string(&inner, text, choices);
            }
            Self::Array(elements) => {
                text.push('[');
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    element.write(text, choices);
                }
                text.push(']');
            }
            Self::Object(members) => {
                text.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    write_string(key, text, choices);
                    text.push_str(blank);
                    text.push(':');
                    value.write(text, choices);
                }
                text.push('}');
            }
        }
        text.push_str(blank);
    }

    /// What a string is found to hold, if it is whole JSON. `Err` if it is JSON that cannot be read (half a surrogate pair, a
    /// number out of range).
    pub(crate) fn held_by(text: &str) -> Result<Option<Self>, ()> {
        let may_hold = text.trim_start_matches([' ', '\t', '\r', '\n']);
        if !may_hold.starts_with(['{', '[', '"']) || serde_json::from_str::<IgnoredAny>(text).is_err() {
            return Ok(None);
        }
        serde_json::from_str(text).map(Some).map_err(|_| ())
    }

    /// Why the document should be refused once it is known to be JSON: every reason there is.
    pub(crate) fn faults(&self) -> Vec<&'static str> {
        let mut faults = Vec::new();
        self.gather_faults(0, &mut faults);
        faults
    }

    fn gather_faults(&self, open: usize, faults: &mut Vec<&'static str>) {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => {}
            Self::Text(text) => match Self::held_by(text) {
                Ok(None) => {}
                Ok(Some(tree)) => tree.gather_faults(open, faults),
                Err(()) => faults.extend(["json_lone_surrogate", "json_syntax"]),
            },
            Self::Held(tree) => tree.gather_faults(open, faults),
            Self::Array(elements) => {
                if open >= 32 {
                    faults.push("json_too_deep");
                }
                for element in elements {
                    element.gather_faults(open + 1, faults);
                }
            }
            Self::Object(members) => {
                if open >= 32 {
                    faults.push("json_too_deep");
                }
                for (index, (key, value)) in members.iter().enumerate() {
                    if members[..index].iter().any(|(other, _)| other == key) {
                        faults.push("json_duplicate_key");
                    }
                    value.gather_faults(open + 1, faults);
                }
            }
        }
    }
}

fn write_string(string: &str, text: &mut String, choices: &mut impl Iterator<Item = u8>) {
    text.push('"');
    for c in string.chars() {
        let choice = choices.next().unwrap_or_default();
        match c {
            '"' | '\\' if choice < 230 => {
                text.push('\\');
                text.push(c);
            }
            '\n' if choice < 200 => text.push_str("\\n"),
            '/' if choice > 200 => text.push_str("\\/"),
            '"' | '\\' | '\0'..='\x1f' => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ if choice > 240 => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    text.push_str(&format!("\\u{unit:04X}"));
                }
            }
            _ => text.push(c),
        }
    }
    text.push('"');
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
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Number(format!("{value:?}")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
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

/// Strings that are hard for someone: every class of escape, and what looks like JSON.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z0-9 ]{0,12}",
        2 => "[a\"\\\\/\u{1}\n\u{7f}é☎\u{10ffff}\u{1f600}]{0,6}",
        1 => proptest::sample::select(vec![
            "{", "[1", "{}", "[]", "null", "60", " {\"a\":1}", "{\"a\":1,\"a\":2}", "{{1}}", "\"x\"", "\"{\\\"b\\\":[]}\"",
            "[\"\\ud800\"]", "{\"a\":1} and more", "[[[[",
        ]).prop_map(str::to_owned),
    ]
}

/// Any document, keys of few letters, so that some come twice.
pub(crate) fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::Bool),
        proptest::sample::select(vec![
            "0",
            "-0",
            "7",
            "-12",
            "60.0",
            "6e1",
            "1E-3",
            "18446744073709551615",
            "18446744073709551616"
        ])
        .prop_map(|number| Tree::Number(number.to_owned())),
        text().prop_map(Tree::Text),
    ];
    leaf.prop_recursive(4, 10, 3, |inner| {
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..3).prop_map(Tree::Array),
            4 => members(inner.clone(), 4),
            1 => inner.prop_map(|tree| Tree::Held(Box::new(tree))),
        ]
    })
}

fn members(value: impl Strategy<Value = Tree>, most: usize) -> impl Strategy<Value = Tree> {
    let key = prop_oneof![9 => "[a-h]{1,2}", 1 => proptest::sample::select(vec!["é", "\"", "\n", "Id", "id", ""]).prop_map(str::to_owned)];
    proptest::collection::vec((key, value), 0..=most).prop_map(Tree::Object)
}

/// Any document that is an object.
pub(crate) fn object() -> impl Strategy<Value = Tree> {
    members(tree(), 5)
}

/// What [`Tree::spelled`] chooses by.
pub(crate) fn spelling() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 1..40)
}
