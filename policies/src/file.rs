//! `policies.toml`: the text that compliance officers write, read into a [`PolicySet`] or into every problem it has.
//!
//! The text is walked by hand instead of through serde, because serde stops at the first wrong value and a person wants
//! to hear of all of them at once. Two things are never repeated in a problem: the source line, and what stands where
//! a key's hash should, since it may be the key itself.

mod caller;
mod number;
mod portfolio;
mod reader;
mod sends;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;

use toml::de::DeTable;

use crate::policy::{Enforcement, PolicySet};
use reader::{Report, Section};

/// What `policies.toml` may hold at its top.
const KEYS: &[&str] = &["enforcement", "number", "caller", "portfolio"];

/// One thing that is wrong with a file, and what would be right.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Problem {
    /// The line, counted from 1. What is missing is reported where the table begins that should have it.
    pub line: usize,
    /// The character in the line, counted from 1.
    pub column: usize,
    /// The path of the key, such as `number[1].media.ttl_minutes.max`; elements of arrays are counted from 0. Empty where the
    /// text is not TOML.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// Reads the text of a `policies.toml`.
///
/// # Errors
///
/// Every problem that the text has, in the order of the lines. Only a text that is not TOML is not looked at further: its
/// values cannot be told from its mistakes.
///
/// ```
/// let problems = curfew_policies::parse(
///     r#"
///     [[number]]
///     phone_number_id = "106540352242922"
///     storage = { mode = "no_storage" }
///     media.ttl_minutes = { max = 30 }
///     "#,
/// )
/// .unwrap_err();
/// assert_eq!(
///     problems[0].to_string(),
///     "line 5, column 33: number[0].media.ttl_minutes.max: must be a whole number from 60 to 43200 (minutes); is 30"
/// );
/// ```
pub fn parse(text: &str) -> Result<PolicySet, Vec<Problem>> {
    let report = Report::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut has_values = true;
    for error in &errors {
        has_values &= report.add_syntax(error);
    }
    let policies = if has_values {
        policy_set(&Section::root(document.get_ref(), KEYS, &report))
    } else {
        PolicySet::default()
    };
    let problems = report.into_problems();
    if problems.is_empty() {
        Ok(policies)
    } else {
        Err(problems)
    }
}

fn policy_set(root: &Section<'_>) -> PolicySet {
    let enforcement = root.word_or(
        "enforcement",
        &[
            ("enforce", Enforcement::Enforce),
            ("monitor", Enforcement::Monitor),
        ],
        Enforcement::default(),
    );
    if root.value("number").is_none_or(|value| value.is_empty_array()) {
        root.add(
            "number",
            "there must be at least one [[number]]; a number that is not declared cannot be used",
        );
    }
    let mut numbers = HashMap::new();
    let mut declared = HashMap::new();
    for section in root.tables("number", number::KEYS) {
        let (id, policy) = number::read(&section, &mut declared);
        if let (Some(id), Some(policy)) = (id, policy) {
            numbers.insert(id, policy);
        }
    }
    let mut seen = caller::Seen::default();
    let callers = root
        .tables("caller", caller::KEYS)
        .iter()
        .filter_map(|section| caller::read(section, &declared, &mut seen))
        .collect();
    let mut placed = HashMap::new();
    let portfolios = root
        .tables("portfolio", portfolio::KEYS)
        .iter()
        .filter_map(|section| portfolio::read(section, &declared, &mut placed))
        .collect();
    PolicySet {
        enforcement,
        numbers,
        callers,
        portfolios,
    }
}
