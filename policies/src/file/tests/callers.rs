use super::{CALLER, GOOD, assert_caller_problem, assert_problem, problems};
use crate::file::parse;
use crate::policy::Credential;

#[test]
fn callers_are_read() {
    let hash = "0123456789abcdefABCDEF0123456789abcdef0123456789abcdef0123456789";
    let text = format!(
        "{GOOD}[[caller]]\nname = \"A.b_c-1\"\nkey_sha256 = \"{hash}\"\nnumbers = [\"1001\"]\n\
         may = [\"send\", \"media\", \"read\", \"storage\", \"manage\"]\n\
         [[caller]]\nname = \"other\"\ntls_san = \"Other.Bank.Example\"\nnumbers = [\"1001\"]\nmay = [\"read\"]\n"
    );
    let policies = parse(&text).unwrap();
    let [first, second] = &policies.callers[..] else {
        panic!("two callers");
    };
    let Credential::KeySha256(bytes) = first.credential else {
        panic!("a key");
    };
    assert_eq!(
        bytes[..12],
        [
            0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xab, 0xcd, 0xef, 0x01
        ]
    );
    assert_eq!(bytes[31], 0x89);
    assert_eq!(first.name, "A.b_c-1");
    assert_eq!(first.may, crate::rules::testing::ALL_CLASSES);
    assert_eq!(
        second.credential,
        Credential::TlsSan("other.bank.example".to_owned())
    );
    assert_eq!(second.numbers, ["1001".parse().unwrap()]);
}

#[test]
fn a_callers_weight_has_bounds() {
    let rest = "name = \"a\"\ntls_san = \"a.example\"\nnumbers = [\"1001\"]\nmay = [\"send\"]";
    for (weight, read) in [("1", 1), ("100", 100)] {
        let policies = parse(&format!("{GOOD}[[caller]]\n{rest}\nweight = {weight}\n")).unwrap();
        assert_eq!(policies.callers[0].weight.get(), read);
    }
    for weight in ["0", "101", "-1", "1.5", "\"2\""] {
        let lines = format!("{rest}\nweight = {weight}");
        assert_caller_problem(&lines, 9, "weight", &["from 1 to 100"]);
    }
}

#[test]
fn a_callers_window_for_repeated_sends_has_bounds() {
    let rest = "name = \"a\"\ntls_san = \"a.example\"\nnumbers = [\"1001\"]\nmay = [\"send\"]";
    for seconds in [1, 3600] {
        let text = format!("{GOOD}[[caller]]\n{rest}\nrepeat_window_s = {seconds}\n");
        let window = parse(&text).unwrap().callers[0].repeat_window_s;
        assert_eq!(window.map(std::num::NonZero::get), Some(seconds));
    }
    for seconds in ["0", "3601", "-1", "1.5", "\"30\""] {
        let lines = format!("{rest}\nrepeat_window_s = {seconds}");
        assert_caller_problem(&lines, 9, "repeat_window_s", &["from 1 to 3600"]);
    }
}

#[test]
fn a_callers_name_is_short_plain_and_its_own() {
    let rest = "tls_san = \"a.example\"\nnumbers = [\"1001\"]\nmay = [\"send\"]";
    for name in ["", "two words", "naïve", "a/b", &"a".repeat(65)] {
        let lines = format!("name = \"{name}\"\n{rest}");
        assert_caller_problem(&lines, 5, "name", &["1 to 64 characters"]);
    }
    assert_caller_problem(rest, 4, "name", &["is missing"]);
    let twin = CALLER.replace("billing.bank", "other.bank");
    assert_problem(
        &format!("{GOOD}{CALLER}{twin}"),
        10,
        "caller[1].name",
        &["\"billing\"", "line 5 already"],
    );
}

#[test]
fn a_caller_has_one_credential_of_its_own() {
    let lines =
        |credential: &str| format!("name = \"a\"\n{credential}\nnumbers = [\"1001\"]\nmay = [\"send\"]");
    let hash = "ab".repeat(32);
    let exactly_one = "exactly one of key_sha256 and tls_san";
    assert_caller_problem(&lines(""), 4, "key_sha256", &["is missing", exactly_one]);
    let both = format!("tls_san = \"a.example\"\nkey_sha256 = \"{hash}\"");
    assert_caller_problem(&lines(&both), 6, "tls_san", &[exactly_one]);
    for san in ["*.bank.example", "https://a.example", "10.0.0.1", ""] {
        assert_caller_problem(
            &lines(&format!("tls_san = \"{san}\"")),
            6,
            "tls_san",
            &["DNS name"],
        );
    }
    for (credential, key, twin) in [
        (
            format!("key_sha256 = \"{hash}\""),
            "key_sha256",
            format!("key_sha256 = \"{}\"", hash.to_uppercase()),
        ),
        (
            "tls_san = \"a.example\"".to_owned(),
            "tls_san",
            "tls_san = \"A.example\"".to_owned(),
        ),
    ] {
        let text = format!(
            "{GOOD}[[caller]]\n{}\n[[caller]]\n{}\n",
            lines(&credential),
            lines(&twin).replace("\"a\"", "\"b\"")
        );
        assert_problem(
            &text,
            11,
            &format!("caller[1].{key}"),
            &["caller in line 4 already"],
        );
    }
}

#[test]
fn what_stands_where_a_hash_should_is_never_repeated() {
    for secret in [
        "correct-horse-battery",
        &"s".repeat(64),
        &"ab".repeat(31),
        &format!("{}g", "a".repeat(63)),
    ] {
        let lines =
            format!("name = \"a\"\nkey_sha256 = \"{secret}\"\nnumbers = [\"1001\"]\nmay = [\"send\"]");
        assert_caller_problem(
            &lines,
            6,
            "key_sha256",
            &["64 hexadecimal digits", "never the key itself"],
        );
        let all = problems(&format!("{GOOD}[[caller]]\n{lines}"));
        assert!(!format!("{all:?}").contains(secret));
    }
    // Nor is it where the TOML itself is broken at that place.
    for line in [
        "key_sha256 = \"correct-horse",
        "key_sha256 = correct-horse",
        "key_sha256 = \"correct-horse\" x",
    ] {
        let all = problems(&format!("{GOOD}[[caller]]\n{line}\n"));
        assert!(
            !all.is_empty() && !format!("{all:?}").contains("correct"),
            "{all:?}"
        );
    }
}

#[test]
fn a_caller_may_do_something_with_numbers_that_there_are() {
    let lines = |numbers: &str, may: &str| {
        format!("name = \"a\"\ntls_san = \"a.example\"\nnumbers = {numbers}\nmay = {may}")
    };
    let (one, send) = ("[\"1001\"]", "[\"send\"]");
    assert_caller_problem(&lines("[]", send), 7, "numbers", &["at least one"]);
    assert_caller_problem(
        &lines("[\"1001\", \"1002\"]", send),
        7,
        "numbers[1]",
        &["no [[number]] declares 1002"],
    );
    assert_caller_problem(
        &lines("[\"1001\", \"1001\"]", send),
        7,
        "numbers[1]",
        &["listed twice"],
    );
    assert_caller_problem(
        &lines("[\"1001\", \"x\"]", send),
        7,
        "numbers[1]",
        &["digits only"],
    );
    assert_caller_problem(&lines("\"1001\"", send), 7, "numbers", &["must be an array"]);
    assert_caller_problem(
        &lines(one, "[]"),
        8,
        "may",
        &["at least one", "send, media, read, storage, manage"],
    );
    assert_caller_problem(
        &lines(one, "[\"send\", \"send\"]"),
        8,
        "may[1]",
        &["listed twice"],
    );
    assert_caller_problem(
        &lines(one, "[\"all\"]"),
        8,
        "may[0]",
        &["\"send\", \"media\"", "\"all\""],
    );
    assert_caller_problem(
        "name = \"a\"\ntls_san = \"a.example\"\nmay = [\"send\"]",
        4,
        "numbers",
        &["is missing"],
    );
    assert_caller_problem(
        "name = \"a\"\ntls_san = \"a.example\"\nnumbers = [\"1001\"]",
        4,
        "may",
        &["is missing"],
    );
    // A number with a problem of its own is declared all the same.
    let text = format!("[[number]]\nphone_number_id = \"1001\"\n{CALLER}");
    assert_problem(&text, 1, "number[0].storage", &["is missing"]);
}

#[test]
fn classes_have_one_word_each() {
    for class in crate::rules::testing::ALL_CLASSES {
        let text = format!("{GOOD}{}", CALLER.replace("\"send\"", &format!("\"{class}\"")));
        assert_eq!(parse(&text).unwrap().callers[0].may, [class]);
    }
}
