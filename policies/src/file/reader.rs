//! A TOML document read section by section: each value comes with its place, and every problem is kept.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

use toml::de::{DeTable, DeValue};

use super::Problem;
use crate::operation::shown;

/// The problems found so far, and where lines begin.
pub(super) struct Report<'t> {
    text: &'t str,
    lines: Vec<usize>,
    problems: RefCell<Vec<Problem>>,
}

impl<'t> Report<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(end, _)| end + 1)).collect();
        Self {
            text,
            lines,
            problems: RefCell::default(),
        }
    }

    /// Adds a problem of the TOML itself; says whether the values around it are whole all the same.
    pub(super) fn add_syntax(&self, error: &toml::de::Error) -> bool {
        let span = error.span().unwrap_or_default();
        // The only message that is about a whole value; were it ever worded otherwise, less would be reported at once.
        let is_duplicate = error.message() == "duplicate key";
        if is_duplicate {
            let key = self.text.get(span.clone()).unwrap_or_default();
            self.add(
                &span,
                shown(key).into_owned(),
                "is there twice; each key and [table] can be there once",
            );
        } else {
            self.add(&span, String::new(), format!("is not TOML: {}", error.message()));
        }
        is_duplicate
    }

    fn add(&self, at: &Range<usize>, key: String, message: impl Into<String>) {
        let line = self.line(at.start);
        let begin = self.lines.get(line - 1).copied().unwrap_or_default();
        let before = self.text.get(begin..at.start).unwrap_or_default();
        self.problems.borrow_mut().push(Problem {
            line,
            column: before.chars().count() + 1,
            key,
            message: message.into(),
        });
    }

    /// The line of a byte offset, counted from 1.
    fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|begin| *begin <= offset).max(1)
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort();
        problems
    }
}

/// One table of the document.
pub(super) struct Section<'r> {
    table: &'r DeTable<'r>,
    at: Range<usize>,
    path: String,
    report: &'r Report<'r>,
}

impl<'r> Section<'r> {
    pub(super) fn root(table: &'r DeTable<'r>, known: &[&str], report: &'r Report<'r>) -> Self {
        Self::open(table, 0..0, String::new(), known, report)
    }

    /// A table, whose keys that are not among `known` are problems.
    fn open(
        table: &'r DeTable<'r>,
        at: Range<usize>,
        path: String,
        known: &[&str],
        report: &'r Report<'r>,
    ) -> Self {
        let section = Self {
            table,
            at,
            path,
            report,
        };
        for key in section.table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                report.add(
                    &key.span(),
                    section.path_of(&shown(name)),
                    format!("this key is not known; known here: {}", known.join(", ")),
                );
            }
        }
        section
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// Adds a problem about a key that is not there.
    pub(super) fn add(&self, name: &str, message: impl Into<String>) {
        self.report.add(&self.at, self.path_of(name), message);
    }

    /// The value of a key, if it is there.
    pub(super) fn value(&self, name: &str) -> Option<Value<'r>> {
        let (_, value) = self.table.iter().find(|(key, _)| key.get_ref() == name)?;
        Some(Value {
            value: value.get_ref(),
            at: value.span(),
            path: self.path_of(name),
            report: self.report,
        })
    }

    /// The value of a key that must be there, such as `example`.
    pub(super) fn required(&self, name: &str, example: &str) -> Option<Value<'r>> {
        let value = self.value(name);
        if value.is_none() {
            self.add(name, format!("is missing; write {name} = {example}"));
        }
        value
    }

    /// The table under a key, if there is one.
    pub(super) fn section(&self, name: &str, known: &[&str]) -> Option<Self> {
        self.value(name)?.section(known)
    }

    /// The `[[name]]` tables in their order.
    pub(super) fn tables(&self, name: &str, known: &[&str]) -> Vec<Self> {
        let Some(value) = self.value(name) else {
            return Vec::new();
        };
        if !matches!(value.value, DeValue::Array(_)) {
            value.add(format!(
                "must be a list of tables: write [[{name}]]; is {}",
                value.kind()
            ));
            return Vec::new();
        }
        let items = value.items().unwrap_or_default();
        items.iter().filter_map(|item| item.section(known)).collect()
    }

    /// A whole number within `bounds`, or `default` where there is none.
    pub(super) fn integer_or(
        &self,
        name: &str,
        bounds: RangeInclusive<u32>,
        unit: &str,
        default: u32,
    ) -> u32 {
        let Some(value) = self.value(name) else {
            return default;
        };
        value.integer(bounds, unit).unwrap_or(default)
    }

    /// One of `words`, or `default` where there is none.
    pub(super) fn word_or<T: Copy>(&self, name: &str, words: &[(&str, T)], default: T) -> T {
        let Some(value) = self.value(name) else {
            return default;
        };
        value.word(words).unwrap_or(default)
    }

    /// `true` or `false`, or `default` where there is none.
    pub(super) fn boolean_or(&self, name: &str, default: bool) -> bool {
        let Some(value) = self.value(name) else {
            return default;
        };
        let DeValue::Boolean(boolean) = value.value else {
            value.add(format!("must be true or false; is {}", value.kind()));
            return default;
        };
        *boolean
    }

    /// The line on which the section begins, counted from 1.
    pub(super) fn line(&self) -> usize {
        self.report.line(self.at.start)
    }
}

/// One value of the document.
pub(super) struct Value<'r> {
    value: &'r DeValue<'r>,
    at: Range<usize>,
    path: String,
    report: &'r Report<'r>,
}

impl<'r> Value<'r> {
    /// Adds a problem about this value.
    pub(super) fn add(&self, message: impl Into<String>) {
        self.report.add(&self.at, self.path.clone(), message);
    }

    fn kind(&self) -> String {
        let kind = self.value.type_str();
        let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
        format!("{article} {kind}")
    }

    /// A string such as `example`.
    pub(super) fn string(&self, example: &str) -> Option<&'r str> {
        let string = self.value.as_str();
        if string.is_none() {
            self.add(format!("must be a string such as {example}; is {}", self.kind()));
        }
        string
    }

    /// A string such as `example` that reads as a `T`.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, example: &str) -> Option<T> {
        let text = self.string(example)?;
        match text.parse() {
            Ok(parsed) => Some(parsed),
            Err(why) => {
                self.add(format!("{why} (such as {example}); is {:?}", shown(text)));
                None
            }
        }
    }

    /// A whole number within `bounds`.
    pub(super) fn integer(&self, bounds: RangeInclusive<u32>, unit: &str) -> Option<u32> {
        let (least, most) = (bounds.start(), bounds.end());
        let expected = format!("must be a whole number from {least} to {most} ({unit})");
        let DeValue::Integer(integer) = self.value else {
            self.add(format!("{expected}; is {}", self.kind()));
            return None;
        };
        let read = u32::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|read| bounds.contains(read));
        if read.is_none() {
            self.add(format!("{expected}; is {}", shown(&integer.to_string())));
        }
        read
    }

    /// One of `words`.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let all = || {
            let quoted: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            quoted.join(", ")
        };
        let Some(text) = self.value.as_str() else {
            self.add(format!("must be one of {}; is {}", all(), self.kind()));
            return None;
        };
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            self.add(format!("must be one of {}; is {:?}", all(), shown(text)));
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// The elements of an array.
    pub(super) fn items(&self) -> Option<Vec<Value<'r>>> {
        let DeValue::Array(array) = self.value else {
            self.add(format!("must be an array: […]; is {}", self.kind()));
            return None;
        };
        let items = array.iter().enumerate().map(|(index, item)| Value {
            value: item.get_ref(),
            at: item.span(),
            path: format!("{}[{index}]", self.path),
            report: self.report,
        });
        Some(items.collect())
    }

    /// The elements of an array that must have some, each read by `read`; one that is there twice is a problem.
    pub(super) fn distinct<T: PartialEq>(&self, read: impl Fn(&Value<'r>) -> Option<T>) -> Option<Vec<T>> {
        let mut distinct = Vec::new();
        for item in self.items()? {
            match read(&item) {
                Some(value) if distinct.contains(&value) => item.add("is listed twice"),
                Some(value) => distinct.push(value),
                None => {}
            }
        }
        Some(distinct)
    }

    /// Whether it is an array without elements.
    pub(super) fn is_empty_array(&self) -> bool {
        self.value.as_array().is_some_and(|array| array.is_empty())
    }

    /// A table.
    pub(super) fn section(&self, known: &[&str]) -> Option<Section<'r>> {
        let DeValue::Table(table) = self.value else {
            self.add(format!(
                "must be a table with the keys {}; is {}",
                known.join(", "),
                self.kind()
            ));
            return None;
        };
        Some(Section::open(
            table,
            self.at.clone(),
            self.path.clone(),
            known,
            self.report,
        ))
    }

    /// The line on which it stands, counted from 1.
    pub(super) fn line(&self) -> usize {
        self.report.line(self.at.start)
    }
}
