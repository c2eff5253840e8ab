//! The pace of one number: `[number.sends]`.

use std::collections::HashMap;

use super::reader::{Section, Value};
use crate::operation::shown;
use crate::policy::{PairLimit, SendClass, SendClasses, SendsPolicy, WhenLimited};

pub(super) const KEYS: &[&str] = &[
    "per_second",
    "burst",
    "kept_for_inbound",
    "pair",
    "when_limited",
    "max_wait_ms",
    "classes",
    "settle_unknown",
];
const PAIR_KEYS: &[&str] = &["seconds", "burst"];
const CLASS_KEYS: &[&str] = &["when_limited", "templates"];
const WHEN_LIMITED: &[(&str, WhenLimited)] = &[("wait", WhenLimited::Wait), ("reject", WhenLimited::Reject)];

/// The upgraded throughput (Cloud API, "Throughput").
const MOST_PER_SECOND: u32 = 1_000;
/// Ten seconds of the upgraded throughput.
const MOST_BURST: u32 = 10_000;
/// An hour between two messages to one recipient is no pace any more.
const MOST_PAIR_SECONDS: u32 = 3_600;
/// A minute: callers' own timeouts end before.
const MOST_WAIT_MS: u32 = 60_000;
/// The longest name of a template (Cloud API, "Templates").
const MOST_TEMPLATE_NAME: usize = 512;

/// Reads what is said of a number's pace.
pub(super) fn read(section: Option<&Section<'_>>) -> SendsPolicy {
    let mut sends = SendsPolicy {
        per_second: 80,
        burst: 80,
        kept_for_inbound: 0,
        pair: PairLimit {
            seconds: 6,
            burst: 45,
        },
        when_limited: WhenLimited::Wait,
        max_wait_ms: 2_000,
        classes: SendClasses::default(),
        settle_unknown: false,
    };
    let Some(section) = section else {
        return sends;
    };
    sends.per_second = section.integer_or(
        "per_second",
        1..=MOST_PER_SECOND,
        "messages per second",
        sends.per_second,
    );
    sends.burst = section.integer_or("burst", 1..=MOST_BURST, "messages at once", sends.per_second);
    sends.kept_for_inbound = section.integer_or(
        "kept_for_inbound",
        0..=sends.per_second - 1,
        "of per_second, and one is left for sends",
        0,
    );
    if let Some(pair) = section.section("pair", PAIR_KEYS) {
        sends.pair.seconds = pair.integer_or(
            "seconds",
            1..=MOST_PAIR_SECONDS,
            "seconds per message",
            sends.pair.seconds,
        );
        sends.pair.burst = pair.integer_or("burst", 1..=MOST_BURST, "messages at once", sends.pair.burst);
    }
    sends.when_limited = section.word_or("when_limited", WHEN_LIMITED, sends.when_limited);
    sends.max_wait_ms =
        section.integer_or("max_wait_ms", 0..=MOST_WAIT_MS, "milliseconds", sends.max_wait_ms);
    sends.settle_unknown = section.boolean_or("settle_unknown", sends.settle_unknown);
    if let Some(classes) = section.section("classes", &SendClass::ALL.map(SendClass::name)) {
        sends.classes = read_classes(&classes);
    }
    sends
}

fn read_classes(section: &Section<'_>) -> SendClasses {
    let mut classes = SendClasses::default();
    let mut listed: HashMap<&str, (SendClass, usize)> = HashMap::new();
    for class in SendClass::ALL {
        let Some(own) = section.section(class.name(), CLASS_KEYS) else {
            continue;
        };
        if let Some(word) = own
            .value("when_limited")
            .and_then(|value| value.word(WHEN_LIMITED))
        {
            classes.when_limited.insert(class, word);
        }
        let Some(value) = own.value("templates") else {
            continue;
        };
        if class == SendClass::Service {
            value.add(
                "service messages are the free-form ones; templates are listed under authentication, utility or marketing",
            );
            continue;
        }
        let names = value.distinct(|item| {
            let name = read_template(item)?;
            if let Some((other, line)) = listed.get(name) {
                item.add(format!(
                    "{name:?} is listed under {} already, in line {line}",
                    other.name()
                ));
            }
            Some(name)
        });
        for name in names.into_iter().flatten() {
            listed.entry(name).or_insert((class, value.line()));
            classes.templates.entry(name.to_owned()).or_insert(class);
        }
    }
    classes
}

fn read_template<'r>(item: &Value<'r>) -> Option<&'r str> {
    let name = item.string("\"one_time_code\"")?;
    let is_name = (1..=MOST_TEMPLATE_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if !is_name {
        item.add(format!(
            "must be a template's name: 1 to {MOST_TEMPLATE_NAME} characters a to z, 0 to 9 and _; is {:?}",
            shown(name)
        ));
    }
    is_name.then_some(name)
}
