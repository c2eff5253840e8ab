mod callers;
mod numbers;
mod portfolios;
mod properties;
mod sends;

use std::num::NonZeroU32;

use super::*;
use crate::policy::{NumberPolicy, SendClass, WhenLimited};

/// A number that has nothing wrong, to go before or after what has.
const GOOD: &str = "[[number]]\nphone_number_id = \"1001\"\nstorage = { mode = \"no_storage\" }\n";
/// A caller that has nothing wrong, for [`GOOD`].
const CALLER: &str = "[[caller]]\nname = \"billing\"\ntls_san = \"billing.bank.example\"\n\
                      numbers = [\"1001\"]\nmay = [\"send\"]\n";

fn problems(text: &str) -> Vec<Problem> {
    parse(text).map_or_else(|problems| problems, |_| Vec::new())
}

/// The one number of a text that has one.
fn only_number(text: &str) -> NumberPolicy {
    let policies = parse(text).unwrap();
    assert_eq!(policies.numbers.len(), 1);
    policies.numbers.into_values().next().unwrap()
}

/// Asserts that `text` has exactly this problem, on this line, with these words in its message.
fn assert_problem(text: &str, line: usize, key: &str, words: &[&str]) {
    let found = problems(text);
    let [problem] = &found[..] else {
        panic!("expected one problem of {key}, got {found:#?} for:\n{text}");
    };
    assert_eq!((problem.line, problem.key.as_str()), (line, key), "{problem}");
    for word in words {
        assert!(problem.message.contains(word), "{problem} does not say {word:?}");
    }
}

/// The same for lines put into a number that begins on line 1; `line` counts from its header.
fn assert_number_problem(lines: &str, line: usize, key: &str, words: &[&str]) {
    let text = format!("[[number]]\nphone_number_id = \"1001\"\n{lines}\n");
    assert_problem(&text, line, &format!("number[0].{key}"), words);
}

/// The same for lines put into a caller whose header is line 4.
fn assert_caller_problem(lines: &str, line: usize, key: &str, words: &[&str]) {
    assert_problem(
        &format!("{GOOD}[[caller]]\n{lines}\n"),
        line,
        &format!("caller[0].{key}"),
        words,
    );
}

#[test]
fn every_key_of_the_contract_is_read() {
    let text = r#"
enforcement = "enforce"
[[number]]
phone_number_id = "106540352242922"
waba_id = "102290129340398"
storage = { mode = "no_storage" }
verify_settings_minutes = 15
allow_deregister = false
allow_unverified = []
[number.media]
ttl_minutes = { min = 60, max = 1440, default = 120 }
unknown_ids = "verify"
links = { hosts = ["cdn.bank.example"] }
cache_minutes = 60
reuse = false
[number.sends]
per_second = 80
burst = 80
kept_for_inbound = 0
pair = { seconds = 6, burst = 45 }
when_limited = "wait"
max_wait_ms = 2000
settle_unknown = false
[number.sends.classes]
authentication = { when_limited = "reject", templates = ["one_time_code"] }
[[caller]]
name = "billing"
key_sha256 = "0000000000000000000000000000000000000000000000000000000000000001"
numbers = ["106540352242922"]
may = ["send", "media"]
weight = 3
repeat_window_s = 30
[[caller]]
name = "setup"
tls_san = "setup.bank.example"
numbers = ["106540352242922"]
may = ["storage"]
[[portfolio]]
numbers = ["106540352242922"]
unique_recipients_24h = 2000
"#;
    let policies = parse(text).unwrap();
    let mut expected = crate::rules::testing::number(106_540_352_242_922, crate::StorageMode::NoStorage);
    expected.waba_id = Some(crate::rules::testing::id(102_290_129_340_398));
    let classes = &mut expected.sends.classes;
    classes
        .when_limited
        .insert(SendClass::Authentication, WhenLimited::Reject);
    let code = "one_time_code".to_owned();
    classes.templates.insert(code, SendClass::Authentication);
    let number = &policies.numbers[&expected.phone_number_id];
    assert_eq!(format!("{number:?}"), format!("{expected:?}"));
    let weights = policies.callers.iter().map(|caller| caller.weight.get());
    assert_eq!(weights.collect::<Vec<_>>(), [3, 1]);
    let windows = policies
        .callers
        .iter()
        .map(|caller| caller.repeat_window_s.map_or(0, NonZeroU32::get));
    assert_eq!(windows.collect::<Vec<_>>(), [30, 0]);
    // Each of these keys is known, and no other: one letter more makes it unknown.
    for key in text
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(key, _)| key)
    {
        let misspelt = text.replacen(&format!("{key} = "), &format!("{key}x = "), 1);
        let named = problems(&misspelt).into_iter().any(|problem| {
            problem.key.ends_with(&format!("{key}x")) && problem.message.contains("this key is not known")
        });
        assert!(named, "{key}");
    }
}

#[test]
fn tables_of_numbers_are_a_list() {
    let text = "[number]\nphone_number_id = \"1001\"\nstorage = { mode = \"default\" }\n";
    assert_problem(text, 1, "number", &["[[number]]", "a table"]);
    assert_problem("number = [1]", 1, "number[0]", &["must be a table", "an integer"]);
    assert_problem(
        &format!("caller = \"x\"\n{GOOD}"),
        1,
        "caller",
        &["[[caller]]", "a string"],
    );
}

#[test]
fn words_and_booleans_are_told() {
    assert_problem(
        &format!("enforcement = \"warn\"\n{GOOD}"),
        1,
        "enforcement",
        &["\"enforce\", \"monitor\"", "\"warn\""],
    );
    assert_problem(
        &format!("enforcement = true\n{GOOD}"),
        1,
        "enforcement",
        &["\"enforce\"", "a boolean"],
    );
    let lines = "storage = { mode = \"default\" }\nallow_deregister = \"yes\"";
    assert_number_problem(lines, 4, "allow_deregister", &["true or false", "a string"]);
    let lines = "storage = { mode = \"default\" }\n[number.media]\nreuse = 1";
    assert_number_problem(lines, 5, "media.reuse", &["true or false", "an integer"]);
    let lines = "storage = { mode = \"default\" }\n[number.sends]\nwhen_limited = \"drop\"";
    assert_number_problem(
        lines,
        5,
        "sends.when_limited",
        &["\"wait\", \"reject\"", "\"drop\""],
    );
}

#[test]
fn every_unknown_key_is_named_with_those_that_are_known() {
    let text = "enforcment = \"enforce\"\n\
                [[number]]\n\
                phone_number_id = \"1001\"\n\
                storage = { mode = \"no_storage\", country = \"DE\" }\n\
                medai = {}\n\
                [number.media]\n\
                ttl_minutes = { maximum = 90 }\n\
                links = { hosts = [], any = true }\n\
                [number.sends]\n\
                per_minute = 3\n\
                pair = { second = 6 }\n\
                [[caller]]\n\
                name = \"a\"\n\
                tls_san = \"a.example\"\n\
                key = \"k\"\n\
                numbers = [\"1001\"]\n\
                may = [\"send\"]\n\
                [[portfolios]]\n";
    let found: Vec<_> = problems(text)
        .into_iter()
        .map(|problem| (problem.line, problem.column, problem.key, problem.message))
        .collect();
    let expected = [
        (1, 1, "enforcment", "enforcement, number, caller, portfolio"),
        (4, 34, "number[0].storage.country", "mode, region"),
        (5, 1, "number[0].medai", "phone_number_id, waba_id, storage"),
        (7, 17, "number[0].media.ttl_minutes.maximum", "min, max, default"),
        (8, 23, "number[0].media.links.any", "known here: hosts"),
        (
            10,
            1,
            "number[0].sends.per_minute",
            "per_second, burst, kept_for_inbound, pair, when_limited, max_wait_ms, classes, settle_unknown",
        ),
        (11, 10, "number[0].sends.pair.second", "seconds, burst"),
        (
            15,
            1,
            "caller[0].key",
            "name, key_sha256, tls_san, numbers, may, weight, repeat_window_s",
        ),
        (18, 3, "portfolios", "enforcement, number, caller, portfolio"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((line, column, key, message), expected) in found.iter().zip(expected) {
        assert_eq!(
            (*line, *column, key.as_str()),
            (expected.0, expected.1, expected.2)
        );
        assert!(
            message.contains("this key is not known") && message.contains(expected.3),
            "{message}"
        );
    }
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_lines() {
    let text = "enforcement = 1\n\
                [[number]]\n\
                phone_number_id = \"01\"\n\
                verify_settings_minutes = 0\n\
                [number.media]\n\
                cache_minutes = -1\n\
                ttl_minutes = { min = 1, max = 2, default = 3 }\n\
                [number.sends]\n\
                burst = 0\n\
                [[caller]]\n\
                may = [\"all\", 7]\n";
    let found: Vec<_> = problems(text)
        .into_iter()
        .map(|problem| (problem.line, problem.key))
        .collect();
    let expected = [
        (1, "enforcement"),
        (2, "number[0].storage"),
        (3, "number[0].phone_number_id"),
        (4, "number[0].verify_settings_minutes"),
        (6, "number[0].media.cache_minutes"),
        (7, "number[0].media.ttl_minutes.min"),
        (7, "number[0].media.ttl_minutes.max"),
        (7, "number[0].media.ttl_minutes.default"),
        (9, "number[0].sends.burst"),
        (10, "caller[0].key_sha256"),
        (10, "caller[0].name"),
        (10, "caller[0].numbers"),
        (11, "caller[0].may[0]"),
        (11, "caller[0].may[1]"),
    ];
    let expected: Vec<_> = expected.map(|(line, key)| (line, key.to_owned())).into();
    assert_eq!(found, expected);
}

#[test]
fn broken_toml_is_a_problem_with_a_place() {
    for (text, line, column) in [
        ("enforcement = \"enforce\"\n[[number]\n", 2, 10),
        ("\n\nenforcement enforce\n", 3, 13),
        ("enforcement = \"enforce\n", 1, 23),
        ("# ü ü\nx = [1, 2\n", 2, 10),
    ] {
        let found = problems(text);
        let first = &found[0];
        assert!(first.message.starts_with("is not TOML: "), "{first}");
        assert_eq!(
            (first.line, first.column, first.key.as_str()),
            (line, column, ""),
            "{first}"
        );
    }
    let both = problems("a = \nb = \n");
    assert_eq!(
        both.iter().map(|problem| problem.line).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[test]
fn a_key_that_is_there_twice_hides_no_other_problem() {
    let text = format!("{GOOD}storage = {{ mode = \"default\" }}\nverify_settings_minutes = 0\n");
    let found: Vec<_> = problems(&text)
        .into_iter()
        .map(|problem| (problem.line, problem.key))
        .collect();
    let expected = [
        (4, "storage".to_owned()),
        (5, "number[0].verify_settings_minutes".to_owned()),
    ];
    assert_eq!(found, expected);
}

#[test]
fn columns_count_characters() {
    let text = format!("{GOOD}allow_unverified = [\"ü\", \"signups\", \"text\"]\r\n");
    let found = problems(&text);
    let places: Vec<_> = found
        .iter()
        .map(|problem| (problem.line, problem.column))
        .collect();
    assert_eq!(places, [(4, 21), (4, 37)]);
}

#[test]
fn a_problem_is_shown_with_its_place() {
    let problem = Problem {
        line: 12,
        column: 5,
        key: "number[1].media.ttl_minutes.max".to_owned(),
        message: "is wrong".to_owned(),
    };
    assert_eq!(
        problem.to_string(),
        "line 12, column 5: number[1].media.ttl_minutes.max: is wrong"
    );
    let no_key = Problem {
        key: String::new(),
        ..problem
    };
    assert_eq!(no_key.to_string(), "line 12, column 5: is wrong");
}
