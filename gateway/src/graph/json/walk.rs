//! The walk over a document's values, and over those inside its strings.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::keys::Keys;
use super::path::{Path, Step};
use super::{JsonError, MAX_DEPTH, Spot};

/// Room for the keys of all open objects of an ordinary send, so that the list of them grows once.
const KEYS_AT_FIRST: usize = 32;

/// What wants to know of the members of a document.
///
/// For each object the walk calls `open`, then for each member `member` and `value`, then `close`. What `member` says of the
/// place of a value is handed to every call about that value.
pub(crate) trait Reader<'a>: Sized {
    /// What is known of the place of a value.
    type At: Copy;
    /// What is gathered of an object while it is open.
    type Object;
    /// Why the reader can refuse a document.
    type Error: From<JsonError>;

    /// The place of the document itself.
    fn root(&self) -> Self::At;

    /// The place of what a string at `at` holds as JSON.
    fn held(&self, at: Self::At) -> Self::At {
        at
    }

    /// The place of the elements of an array at `at`.
    fn element(&self, at: Self::At) -> Self::At {
        at
    }

    /// Whether the text of a string at `at` is wanted: texts with escapes cost an allocation.
    fn keeps(&self, _at: Self::At) -> bool {
        false
    }

    /// Whether a second key that differs from `key` in letter case alone makes an object at `at` ambiguous.
    fn reads(&self, _at: Self::At, _key: &str) -> bool {
        false
    }

    /// An object at `at` opens.
    fn open(&mut self, at: Self::At) -> Self::Object;

    /// An object at `at` has the member `key`, whose path is `path`; says what is known of its value's place.
    fn member(
        &mut self,
        object: &mut Self::Object,
        at: Self::At,
        key: &Key<'a>,
        path: &Path<'_>,
    ) -> Result<Self::At, Self::Error>;

    /// The member `key` of an object at `at` had this value, and everything inside it was read.
    fn value(
        &mut self,
        _object: &mut Self::Object,
        _at: Self::At,
        _key: &Key<'a>,
        _value: Shallow<'a>,
        _path: &Path<'_>,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    /// An element, at `at`, of an array had this value, and everything inside it was read.
    fn element_value(
        &mut self,
        _at: Self::At,
        _value: &Shallow<'a>,
        _path: &Path<'_>,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    /// The object at `at`, whose path is `path`, ends.
    fn close(&mut self, _object: Self::Object, _at: Self::At, _path: &Path<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// A key, unescaped. It lives as long as the body where the body has it in plain.
#[derive(Debug)]
pub(crate) struct Key<'a>(Cow<'a, str>);

impl<'a> Key<'a> {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The key for keeping.
    pub(crate) fn kept(&self) -> Cow<'a, str> {
        self.0.clone()
    }
}

impl Deref for Key<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A value without what is inside it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shallow<'a> {
    Null,
    Bool(bool),
    /// A number of plain digits.
    Whole(u64),
    Negative(i64),
    /// A number with a fraction or an exponent, `-0`, or one that 64 bits do not hold.
    Float(f64),
    /// A string whose text was wanted.
    Text(Cow<'a, str>),
    /// A string whose text was not.
    SomeText,
    /// The same, which holds an object or an array as JSON.
    Held,
    Array,
    Object,
}

impl<'a> Shallow<'a> {
    /// The value in a few words of its own.
    pub(crate) fn rendered(self) -> Cow<'a, str> {
        match self {
            Self::Null => Cow::Borrowed("null"),
            Self::Bool(true) => Cow::Borrowed("true"),
            Self::Bool(false) => Cow::Borrowed("false"),
            Self::Whole(number) => Cow::Owned(number.to_string()),
            Self::Negative(number) => Cow::Owned(number.to_string()),
            Self::Float(number) => Cow::Owned(format!("{number:?}")),
            Self::Text(text) => text,
            Self::SomeText | Self::Held => Cow::Borrowed("\"…\""),
            Self::Array => Cow::Borrowed("[…]"),
            Self::Object => Cow::Borrowed("{…}"),
        }
    }
}

/// Whether the parsed text lives as long as the body: that of the body does, that of a string inside it does not.
trait Source<'de, 'a> {
    fn keep(text: &'de str) -> Cow<'a, str>;
}

struct Body;

impl<'a> Source<'a, 'a> for Body {
    fn keep(text: &'a str) -> Cow<'a, str> {
        Cow::Borrowed(text)
    }
}

struct Held;

impl<'a> Source<'_, 'a> for Held {
    fn keep(text: &str) -> Cow<'a, str> {
        Cow::Owned(text.to_owned())
    }
}

/// Reads the whole of `body`, which must be one JSON object with one meaning.
pub(crate) fn walk<'a, R: Reader<'a>>(body: &'a [u8], reader: R) -> Result<R, R::Error> {
    let text = object_text(body)?;
    let mut walk = Walk {
        reader,
        keys: Vec::with_capacity(KEYS_AT_FIRST),
        refusal: None,
        refused_at: None,
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let document = Node {
        at: walk.reader.root(),
        walk: &mut walk,
        path: &Path::ROOT,
        depth: 0,
        source: PhantomData::<Body>,
    };
    if let Err(error) = document.deserialize(&mut json) {
        return Err(walk.into_error(&error));
    }
    json.end().map_err(|error| JsonError::Trailing {
        line: error.line(),
        column: error.column(),
    })?;
    Ok(walk.reader)
}

/// The body as text that begins like an object.
fn object_text(body: &[u8]) -> Result<&str, JsonError> {
    let text = std::str::from_utf8(body).map_err(|error| JsonError::NotUtf8 {
        offset: error.valid_up_to(),
    })?;
    if text.starts_with('\u{feff}') {
        return Err(JsonError::ByteOrderMark);
    }
    if first_of(text) == Some(b'{') {
        return Ok(text);
    }
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Err(JsonError::NotAnObject),
        Err(error) => Err(syntax_error(&error, String::new())),
    }
}

/// The first byte that is no JSON white space.
fn first_of(text: &str) -> Option<u8> {
    text.bytes()
        .find(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// Whether a string holds one whole JSON object, array or string. The last may itself hold one of the others.
fn holds_json(text: &str) -> bool {
    matches!(first_of(text), Some(b'{' | b'[' | b'"')) && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// What `serde_json` found wrong, in our terms.
fn syntax_error(error: &serde_json::Error, path: String) -> JsonError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let problem = text
        .strip_suffix(&format!(" at line {line} column {column}"))
        .unwrap_or(&text)
        .to_owned();
    let spot = Spot { path, line, column };
    // The parser's error has no kinds as fine as this; a test holds these two texts fast.
    if problem == "lone leading surrogate in hex escape" || problem == "unexpected end of hex escape" {
        return JsonError::LoneSurrogate(spot);
    }
    JsonError::Syntax { problem, spot }
}

enum Refusal<E> {
    /// Ours, lacking only where it is.
    Walk(fn(Spot) -> JsonError),
    /// The parser's, from inside a string.
    Held(JsonError),
    /// The reader's.
    Reader(E),
}

struct Walk<'a, R: Reader<'a>> {
    reader: R,
    /// The keys of all open objects that have few; each object's are a run at the end while it is open.
    keys: Vec<Cow<'a, str>>,
    /// Why the walk stopped: errors of the parser's type cannot carry it.
    refusal: Option<Refusal<R::Error>>,
    /// The innermost place at which it stopped.
    refused_at: Option<String>,
}

impl<'a, R: Reader<'a>> Walk<'a, R> {
    /// Stops the walk at `path`.
    fn refuse<E: serde::de::Error>(&mut self, refusal: Refusal<R::Error>, path: &Path<'_>) -> E {
        self.refusal = Some(refusal);
        self.note(path);
        E::custom("refused")
    }

    /// Remembers the innermost place that an error came by.
    fn note(&mut self, path: &Path<'_>) {
        if self.refused_at.is_none() {
            self.refused_at = Some(path.rendered());
        }
    }

    fn into_error(self, error: &serde_json::Error) -> R::Error {
        let path = self.refused_at.unwrap_or_default();
        let (line, column) = (error.line(), error.column());
        match self.refusal {
            Some(Refusal::Walk(kind)) => kind(Spot { path, line, column }).into(),
            Some(Refusal::Held(error)) => error.into(),
            Some(Refusal::Reader(error)) => error,
            None => syntax_error(error, path).into(),
        }
    }

    fn deeper<E: serde::de::Error>(&mut self, depth: u8, path: &Path<'_>) -> Result<u8, E> {
        if depth >= MAX_DEPTH {
            return Err(self.refuse(Refusal::Walk(JsonError::TooDeep), path));
        }
        Ok(depth.saturating_add(1))
    }

    /// Refuses `key` if its object has it already, or has it in another letter case where that matters.
    fn admit<E: serde::de::Error>(
        &mut self,
        seen: &mut Keys<'a>,
        at: R::At,
        key: &str,
        path: &Path<'_>,
    ) -> Result<(), E> {
        if seen.has(&self.keys, key) {
            return Err(self.refuse(Refusal::Walk(JsonError::DuplicateKey), path));
        }
        // Keys that differ in case alone cannot all be lower case.
        seen.mixed_case |= key.bytes().any(|byte| byte.is_ascii_uppercase());
        if seen.mixed_case && self.reader.reads(at, key) && seen.has_in_other_case(&self.keys, key) {
            return Err(self.refuse(Refusal::Walk(JsonError::KeysDifferInCase), path));
        }
        Ok(())
    }

    /// Walks what `text` holds, if it holds JSON; says whether that is an object or an array.
    fn descend<E: serde::de::Error>(
        &mut self,
        text: &str,
        at: R::At,
        path: &Path<'_>,
        depth: u8,
    ) -> Result<bool, E> {
        if !holds_json(text) {
            return Ok(false);
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let node = Node {
            at: self.reader.held(at),
            walk: &mut *self,
            path,
            depth,
            source: PhantomData::<Held>,
        };
        match node.deserialize(&mut json) {
            Ok(held) => Ok(matches!(held, Shallow::Object | Shallow::Array | Shallow::Held)),
            Err(error) => {
                if self.refusal.is_none() {
                    let path = self.refused_at.clone().unwrap_or_else(|| path.rendered());
                    self.refusal = Some(Refusal::Held(syntax_error(&error, path)));
                }
                self.note(path);
                Err(E::custom("refused"))
            }
        }
    }
}

/// One value that is to be read.
struct Node<'w, 'p, 'a, R: Reader<'a>, S> {
    walk: &'w mut Walk<'a, R>,
    at: R::At,
    path: &'p Path<'p>,
    /// How many arrays and objects are open round it.
    depth: u8,
    source: PhantomData<S>,
}

impl<'de, 'a, R: Reader<'a>, S: Source<'de, 'a>> DeserializeSeed<'de> for Node<'_, '_, 'a, R, S> {
    type Value = Shallow<'a>;

    fn deserialize<D: serde::Deserializer<'de>>(self, value: D) -> Result<Shallow<'a>, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de, 'a, R: Reader<'a>, S: Source<'de, 'a>> Visitor<'de> for Node<'_, '_, 'a, R, S> {
    type Value = Shallow<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Shallow<'a>, E> {
        Ok(Shallow::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Shallow<'a>, E> {
        Ok(Shallow::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Shallow<'a>, E> {
        Ok(Shallow::Whole(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Shallow<'a>, E> {
        Ok(Shallow::Negative(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Shallow<'a>, E> {
        Ok(Shallow::Float(value))
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Shallow<'a>, E> {
        let held = self.walk.descend(text, self.at, self.path, self.depth)?;
        if self.walk.reader.keeps(self.at) {
            Ok(Shallow::Text(S::keep(text)))
        } else if held {
            Ok(Shallow::Held)
        } else {
            Ok(Shallow::SomeText)
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Shallow<'a>, E> {
        let held = self.walk.descend(text, self.at, self.path, self.depth)?;
        if self.walk.reader.keeps(self.at) {
            Ok(Shallow::Text(Cow::Owned(text.to_owned())))
        } else if held {
            Ok(Shallow::Held)
        } else {
            Ok(Shallow::SomeText)
        }
    }

    fn visit_seq<V: SeqAccess<'de>>(self, mut elements: V) -> Result<Shallow<'a>, V::Error> {
        let Self { walk, path, .. } = self;
        let depth = walk.deeper(self.depth, path)?;
        let at = walk.reader.element(self.at);
        for index in 0_usize.. {
            let path = path.then(Step::Index(index));
            let element = Node {
                walk: &mut *walk,
                at,
                path: &path,
                depth,
                source: PhantomData::<S>,
            };
            match elements.next_element_seed(element) {
                Ok(Some(value)) => {
                    if let Err(error) = walk.reader.element_value(at, &value, &path) {
                        return Err(walk.refuse(Refusal::Reader(error), &path));
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    walk.note(&path);
                    return Err(error);
                }
            }
        }
        Ok(Shallow::Array)
    }

    fn visit_map<V: MapAccess<'de>>(self, mut members: V) -> Result<Shallow<'a>, V::Error> {
        let Self { walk, at, path, .. } = self;
        let depth = walk.deeper(self.depth, path)?;
        let mut object = walk.reader.open(at);
        let mut seen = Keys::new(&walk.keys);
        loop {
            let key = match members.next_key_seed(KeySeed(PhantomData::<(S, &'a ())>)) {
                Ok(Some(key)) => key,
                Ok(None) => break,
                Err(error) => {
                    walk.note(path);
                    return Err(error);
                }
            };
            let path = path.then(Step::Key(&key));
            walk.admit(&mut seen, at, &key, &path)?;
            let value_at = match walk.reader.member(&mut object, at, &key, &path) {
                Ok(value_at) => value_at,
                Err(error) => return Err(walk.refuse(Refusal::Reader(error), &path)),
            };
            let value = Node {
                walk: &mut *walk,
                at: value_at,
                path: &path,
                depth,
                source: PhantomData::<S>,
            };
            let value = match members.next_value_seed(value) {
                Ok(value) => value,
                Err(error) => {
                    walk.note(&path);
                    return Err(error);
                }
            };
            if let Err(error) = walk.reader.value(&mut object, at, &key, value, &path) {
                return Err(walk.refuse(Refusal::Reader(error), &path));
            }
            seen.remember(&mut walk.keys, key.0);
        }
        seen.forget(&mut walk.keys);
        if let Err(error) = walk.reader.close(object, at, path) {
            return Err(walk.refuse(Refusal::Reader(error), path));
        }
        Ok(Shallow::Object)
    }
}

/// One key that is to be read.
struct KeySeed<'a, S>(PhantomData<(S, &'a ())>);

impl<'de, 'a, S: Source<'de, 'a>> DeserializeSeed<'de> for KeySeed<'a, S> {
    type Value = Key<'a>;

    fn deserialize<D: serde::Deserializer<'de>>(self, key: D) -> Result<Key<'a>, D::Error> {
        key.deserialize_str(self)
    }
}

impl<'de, 'a, S: Source<'de, 'a>> Visitor<'de> for KeySeed<'a, S> {
    type Value = Key<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'a>, E> {
        Ok(Key(S::keep(key)))
    }

    fn visit_str<E>(self, key: &str) -> Result<Key<'a>, E> {
        Ok(Key(Cow::Owned(key.to_owned())))
    }
}
