//! One `[[portfolio]]`.

use std::collections::HashMap;

use super::caller::read_numbers;
use super::reader::Section;
use crate::id::PhoneNumberId;
use crate::policy::PortfolioPolicy;

pub(super) const KEYS: &[&str] = &["numbers", "unique_recipients_24h"];

/// Ten times the highest limit that Meta has short of none (Cloud API, "Messaging limits").
const MOST_RECIPIENTS: u32 = 1_000_000;

/// Reads one portfolio; `declared` has the numbers that there are, `placed` the line of the portfolio that each is in.
pub(super) fn read(
    section: &Section<'_>,
    declared: &HashMap<PhoneNumberId, usize>,
    placed: &mut HashMap<PhoneNumberId, usize>,
) -> Option<PortfolioPolicy> {
    let numbers = section
        .required("numbers", "[\"106540352242922\"]")
        .and_then(|value| {
            let numbers = read_numbers(
                &value,
                declared,
                "a portfolio is the numbers that share its limit",
            )?;
            for number in &numbers {
                match placed.get(number) {
                    Some(line) => value.add(format!(
                        "{number} is in the portfolio in line {line} already; a number has one portfolio"
                    )),
                    None => {
                        placed.insert(*number, section.line());
                    }
                }
            }
            Some(numbers)
        });
    let unique_recipients_24h = section
        .required("unique_recipients_24h", "2000")
        .and_then(|value| {
            value.integer(
                1..=MOST_RECIPIENTS,
                "recipients in 24 hours; leave the portfolio out where Meta sets no limit",
            )
        });
    Some(PortfolioPolicy {
        numbers: numbers?,
        unique_recipients_24h: unique_recipients_24h?,
    })
}
