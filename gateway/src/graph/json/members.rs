//! Where the members of an object stand in its text, for changes that leave every other byte as it is.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A string, borrowed from the document where it has no escapes, also inside an `Option`.
#[derive(Debug, Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// One member of an object.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    /// The key, unescaped.
    pub(crate) key: Text<'a>,
    /// The value as it is written.
    pub(crate) value: &'a RawValue,
    /// Where the value stands in the text.
    pub(crate) span: Range<usize>,
}

/// The members of an object, in the order in which they come. A key that comes twice is there twice.
#[derive(Debug)]
pub(crate) struct Members<'a> {
    text: &'a str,
    members: Vec<Member<'a>>,
}

impl<'a> Members<'a> {
    /// Those of the object that `text` is; `None` if it is something else.
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        let Pairs(pairs) = serde_json::from_str(text).ok()?;
        let member = |(key, value): (Text<'a>, &'a RawValue)| {
            let start = value.get().as_ptr().addr().checked_sub(text.as_ptr().addr())?;
            let span = start..start + value.get().len();
            Some(Member { key, value, span })
        };
        let members = pairs.into_iter().map(member).collect::<Option<_>>()?;
        Some(Self { text, members })
    }

    /// All of them.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Member<'a>> {
        self.members.iter()
    }

    /// Where one more member can be written, and whether a comma has to follow it.
    pub(crate) fn front(&self) -> Option<(usize, bool)> {
        let opening = self.text.find('{')?;
        Some((opening + 1, !self.members.is_empty()))
    }

    /// What has to go so that the member at `index` is gone: itself, and one comma if there is one.
    pub(crate) fn whole(&self, index: usize) -> Option<Range<usize>> {
        let end = self.members.get(index)?.span.end;
        let before = index.checked_sub(1).and_then(|before| self.members.get(before));
        let start = match before {
            Some(before) => before.span.end,
            None => self.front()?.0,
        };
        if before.is_some() || self.members.len() == 1 {
            return Some(start..end);
        }
        let comma = self.text.get(end..)?.find(',')?;
        Some(start..end + comma + 1)
    }
}

struct Pairs<'a>(Vec<(Text<'a>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(document: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        document.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;
    use crate::graph::answer::splice;

    proptest! {
        #[test]
        fn a_member_goes_without_a_trace(
            keys in prop::collection::btree_set("[a-c\"\\\\é,{}]{0,3}", 1..5),
            at: prop::sample::Index,
            spaces in "[ \t\n]{0,2}",
        ) {
            let values = [Value::Null, "a,b}\"".into(), serde_json::json!({"x": [1, "}"]}), 1.into()];
            let keys: Vec<_> = keys.into_iter().collect();
            let mut text = format!("{spaces}{{{spaces}");
            for (index, key) in keys.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                let value = &values[index % values.len()];
                text += &format!("{comma}{spaces}{}{spaces}:{spaces}{value}{spaces}", Value::from(key.as_str()));
            }
            text += &format!("}}{spaces}");
            let members = Members::of(&text).unwrap();
            let names: Vec<_> = members.iter().map(|member| member.key.to_string()).collect();
            prop_assert_eq!(&names, &keys);

            let mut expected: Map<String, Value> = serde_json::from_str(&text).unwrap();
            let gone = at.index(keys.len());
            expected.remove(&keys[gone]);
            let whole = members.whole(gone).unwrap();
            let left = splice(text.as_bytes(), &mut [((whole.start, whole.end), String::new())]);
            let left: Map<String, Value> = serde_json::from_slice(&left).unwrap();
            prop_assert_eq!(left, expected);
        }

        #[test]
        fn whatever_comes_is_an_object_or_not(text in "[{}\\[\\]\",:a0 ]{0,12}") {
            let is_object = matches!(serde_json::from_str(&text), Ok(Value::Object(_)));
            prop_assert_eq!(Members::of(&text).is_some(), is_object);
        }
    }
}
