//! Strict reading of a TOML document: every key is asked for by name, and what nobody asked for is a problem.
//!
//! Deriving `Deserialize` would be shorter, but it stops at the first unknown key or wrong type, and people would mend
//! their file one start at a time. Here a wrong value is reported, replaced by its default, and reading goes on; the
//! result counts only if nothing was reported.
//!
//! No function of this module puts a value of the document into a message.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;

/// The longest unknown key that is named: shorter than any secret that is likely to be pasted into this file (an app
/// secret has 32 characters, a Graph token more than 100, a caller's key 47).
const SHOWN_KEY: usize = 31;

/// Collects the problems of one file.
pub(super) struct Report<'t> {
    file: &'t Path,
    text: &'t str,
    /// Where each line begins.
    lines: Vec<usize>,
    problems: Vec<Problem>,
}

impl<'t> Report<'t> {
    pub(super) fn new(file: &'t Path, text: &'t str) -> Self {
        let newlines = text.match_indices('\n').map(|(newline, _)| newline + 1);
        Self {
            file,
            text,
            lines: std::iter::once(0).chain(newlines).collect(),
            problems: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, place: &Place, message: impl Into<String>) {
        let (line, column) = self.position(place.offset);
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line,
            column,
            key: place.key.clone(),
            message: message.into(),
        });
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Line and column, in characters, both from 1, of a byte of the text.
    fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.lines.partition_point(|begin| *begin <= offset);
        let begin = line
            .checked_sub(1)
            .and_then(|index| self.lines.get(index))
            .copied();
        let before = begin
            .and_then(|begin| self.text.get(begin..offset))
            .unwrap_or_default();
        (line, before.chars().count() + 1)
    }
}

/// A key and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Place {
    key: String,
    offset: usize,
}

impl Place {
    /// A key of the same table that is missing, or that is better than this one to name in a message.
    pub(super) fn child(&self, name: &str) -> Self {
        self.at(name, self.offset)
    }

    /// Whether this is the key `name` of its table.
    pub(super) fn is(&self, name: &str) -> bool {
        self.key.rsplit('.').next() == Some(name)
    }

    fn at(&self, name: &str, offset: usize) -> Self {
        let key = if self.key.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.key)
        };
        Self { key, offset }
    }
}

/// Parses the text.
///
/// What is not TOML is reported, the first problem of each line, and the document holds what could be read of the rest.
pub(super) fn parse<'t>(report: &mut Report<'t>) -> Table<'t> {
    let (document, errors) = DeTable::parse_recoverable(report.text);
    let mut lines = HashSet::new();
    for error in errors {
        let span = error.span().unwrap_or_default();
        if !lines.insert(report.position(span.start).0) {
            continue;
        }
        let offset = span.start;
        let name = report.text.get(span).unwrap_or_default();
        if error.message() == "duplicate key" && looks_like_a_key(name) {
            let place = Place {
                key: name.to_owned(),
                offset,
            };
            report.add(&place, "is there twice: a key or table can be there once");
        } else {
            // `Display` of the error would print the source line; the message alone is fixed text.
            let message = format!("is not TOML: {}", error.message());
            report.add(
                &Place {
                    key: String::new(),
                    offset,
                },
                message,
            );
        }
    }
    let root = Place {
        key: String::new(),
        offset: 0,
    };
    Table::new(root, document.into_inner())
}

/// A table whose keys are taken out one by one.
pub(super) struct Table<'i> {
    place: Place,
    entries: Vec<(String, usize, Spanned<DeValue<'i>>)>,
    known: Vec<&'static str>,
}

impl<'i> Table<'i> {
    fn new(place: Place, table: DeTable<'i>) -> Self {
        let entries = table
            .into_iter()
            .map(|(key, value)| (key.get_ref().to_string(), key.span().start, value))
            .collect();
        Self {
            place,
            entries,
            known: Vec::new(),
        }
    }

    /// Where the table stands.
    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    /// The value of `key`, if it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Entry<'i>> {
        self.known.push(key);
        let index = self.entries.iter().position(|(name, ..)| name == key)?;
        let (_, key_offset, value) = self.entries.swap_remove(index);
        let offset = if value.get_ref().is_table() {
            key_offset
        } else {
            value.span().start
        };
        Some(Entry {
            place: self.place.at(key, offset),
            value: value.into_inner(),
        })
    }

    /// The value of `key`; that it is missing is a problem, for which `example` is the cure.
    pub(super) fn require(
        &mut self,
        key: &'static str,
        example: &str,
        report: &mut Report<'_>,
    ) -> Option<Entry<'i>> {
        let entry = self.take(key);
        if entry.is_none() {
            report.add(
                &self.place.child(key),
                format!("is missing: write {key} = {example}"),
            );
        }
        entry
    }

    /// The table `key`, if it is there; another type is a problem.
    pub(super) fn table(&mut self, key: &'static str, report: &mut Report<'_>) -> Option<Self> {
        self.take(key)?.table(report)
    }

    /// The table `key`, or an empty one.
    pub(super) fn table_or_empty(&mut self, key: &'static str, report: &mut Report<'_>) -> Self {
        let place = self.place.child(key);
        self.table(key, report)
            .unwrap_or_else(|| Self::new(place, DeTable::new()))
    }

    /// Reports what is left: keys that nobody asked for.
    pub(super) fn finish(mut self, report: &mut Report<'_>) {
        self.known.sort_unstable();
        let known = self.known.join(", ");
        for (name, offset, _) in &self.entries {
            if looks_like_a_key(name) {
                let place = self.place.at(name, *offset);
                report.add(&place, format!("is not a known key; known here: {known}"));
            } else {
                let place = Place {
                    key: self.place.key.clone(),
                    offset: *offset,
                };
                report.add(
                    &place,
                    format!("there is an unknown key here, too odd to be shown; known here: {known}"),
                );
            }
        }
    }
}

/// One value, with its place.
pub(super) struct Entry<'i> {
    place: Place,
    value: DeValue<'i>,
}

impl<'i> Entry<'i> {
    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    /// The text, if it is a string. Only the secret references look at it without reporting another type.
    pub(super) fn as_text(&self) -> Option<&str> {
        self.value.as_str()
    }

    /// The text; another type is a problem.
    pub(super) fn text(&self, report: &mut Report<'_>) -> Option<&str> {
        if self.value.as_str().is_none() {
            self.wrong_type("a string", report);
        }
        self.value.as_str()
    }

    /// What `parse` makes of the text; its error is the problem's message and must not repeat the text.
    pub(super) fn parse<T, E: ToString>(
        &self,
        report: &mut Report<'_>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(self.text(report)?) {
            Ok(value) => Some(value),
            Err(error) => {
                report.add(&self.place, error.to_string());
                None
            }
        }
    }

    /// A path, relative to `directory` unless it is absolute.
    pub(super) fn path(&self, directory: &Path, report: &mut Report<'_>) -> Option<PathBuf> {
        self.parse(report, |text| {
            if text.is_empty() || text.contains('\0') {
                Err("must be a path, relative to the directory of this file or absolute")
            } else {
                Ok(directory.join(text))
            }
        })
    }

    /// A whole number inside `bounds`, counted in `unit`.
    pub(super) fn whole(
        &self,
        bounds: &RangeInclusive<u64>,
        unit: &str,
        report: &mut Report<'_>,
    ) -> Option<u64> {
        let Some(integer) = self.value.as_integer() else {
            self.wrong_type(&format!("a whole number of {unit}"), report);
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|number| bounds.contains(number));
        if number.is_none() {
            let (least, most) = (bounds.start(), bounds.end());
            report.add(&self.place, format!("must be from {least} to {most} {unit}"));
        }
        number
    }

    /// A number from 0 to 1.
    pub(super) fn ratio(&self, report: &mut Report<'_>) -> Option<f64> {
        let number: Option<f64> = match &self.value {
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
            _ => None,
        };
        let ratio = number.filter(|number| (0.0..=1.0).contains(number));
        if ratio.is_none() {
            report.add(&self.place, "must be a number from 0.0 to 1.0");
        }
        ratio
    }

    /// True or false; another type is a problem.
    pub(super) fn truth(&self, report: &mut Report<'_>) -> Option<bool> {
        let truth = self.value.as_bool();
        if truth.is_none() {
            self.wrong_type("true or false", report);
        }
        truth
    }

    /// A table; another type is a problem.
    pub(super) fn table(self, report: &mut Report<'_>) -> Option<Table<'i>> {
        match self.value {
            DeValue::Table(table) => Some(Table::new(self.place, table)),
            _ => {
                self.wrong_type("a table", report);
                None
            }
        }
    }

    /// The elements of an array; another type is a problem.
    pub(super) fn list(self, report: &mut Report<'_>) -> Option<Vec<Self>> {
        let Self { place, value } = self;
        match value {
            DeValue::Array(array) => Some(
                array
                    .into_iter()
                    .enumerate()
                    .map(|(index, element)| Self {
                        place: Place {
                            key: format!("{}[{index}]", place.key),
                            offset: element.span().start,
                        },
                        value: element.into_inner(),
                    })
                    .collect(),
            ),
            value => {
                Self { place, value }.wrong_type("a list", report);
                None
            }
        }
    }

    fn wrong_type(&self, right: &str, report: &mut Report<'_>) {
        let wrong = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        report.add(&self.place, format!("must be {right}, not {wrong}"));
    }
}

/// Whether `name` is something that somebody would call a key, and so may be shown.
fn looks_like_a_key(name: &str) -> bool {
    (1..=SHOWN_KEY).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "ä = 1\n\nb = \"ü\" # x";
        let report = Report::new(Path::new("x"), text);
        assert_eq!(report.position(0), (1, 1));
        assert_eq!(report.position(text.find('=').unwrap()), (1, 3));
        assert_eq!(report.position(text.find('b').unwrap()), (3, 1));
        assert_eq!(report.position(text.find('#').unwrap()), (3, 9));
        assert_eq!(report.position(text.len() + 9), (3, 12));
    }

    #[test]
    fn a_secret_in_the_place_of_a_key_is_not_shown() {
        for (name, shown) in [
            ("grahp", true),
            ("head-bytes_2", true),
            ("", false),
            ("two words", false),
            ("0123456789abcdef0123456789abcdef", false),
        ] {
            assert_eq!(looks_like_a_key(name), shown, "{name:?}");
        }
    }
}
