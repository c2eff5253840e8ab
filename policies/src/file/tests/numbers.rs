use super::{GOOD, assert_number_problem, assert_problem, only_number, problems};
use crate::file::parse;
use crate::operation::UnverifiedOperation;
use crate::policy::{Enforcement, Links, PairLimit, SendClasses, SendsPolicy, UnknownIds, WhenLimited};
use crate::storage::{Region, StorageMode};
use crate::ttl::TtlBounds;

#[test]
fn what_is_left_out_has_its_default() {
    let number = only_number(GOOD);
    assert_eq!(number.waba_id, None);
    assert_eq!(number.verify_settings_minutes, 15);
    assert!(!number.allow_deregister);
    assert!(
        number.allow_unverified.operations.is_empty() && number.allow_unverified.message_types.is_empty()
    );
    assert_eq!(number.media.ttl, TtlBounds::from_minutes(60, 1_440, 120));
    assert_eq!(number.media.unknown_ids, UnknownIds::Verify);
    assert_eq!(number.media.links, Links::Hosts(Vec::new()));
    assert_eq!(number.media.cache_minutes, 60);
    assert!(!number.media.reuse);
    let sends = SendsPolicy {
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
    assert_eq!(number.sends, sends);
    let policies = parse(GOOD).unwrap();
    assert_eq!(policies.enforcement, Enforcement::Enforce);
    assert!(policies.is_pass_through());
}

#[test]
fn the_default_for_links_turns_on_the_mode() {
    let links = |storage: &str, more: &str| {
        only_number(&format!(
            "[[number]]\nphone_number_id = \"1\"\nstorage = {storage}\n{more}"
        ))
        .media
        .links
    };
    let none = Links::Hosts(Vec::new());
    assert_eq!(links("{ mode = \"default\" }", ""), Links::Any);
    assert_eq!(
        links("{ mode = \"default\" }", "[number.media]\ncache_minutes = 1"),
        Links::Any
    );
    assert_eq!(links("{ mode = \"in_country\", region = \"CH\" }", ""), none);
    assert_eq!(
        links("{ mode = \"default\" }", "[number.media]\nlinks = { hosts = [] }"),
        none
    );
}

#[test]
fn parts_of_ttl_minutes_fill_each_other_in() {
    for (parts, [min, max, default]) in [
        ("", [60, 1_440, 120]),
        ("min = 90", [90, 1_440, 120]),
        ("min = 180", [180, 1_440, 180]),
        ("min = 2_880", [2_880, 2_880, 2_880]),
        ("max = 90", [60, 90, 90]),
        ("max = 43_200", [60, 43_200, 120]),
        ("default = 90", [60, 1_440, 90]),
        ("min = 120, max = 120", [120, 120, 120]),
        ("min = 61, max = 1_440, default = 0x78", [61, 1_440, 120]),
    ] {
        let number = only_number(&format!("{GOOD}[number.media]\nttl_minutes = {{ {parts} }}\n"));
        assert_eq!(
            number.media.ttl,
            TtlBounds::from_minutes(min, max, default),
            "{parts}"
        );
    }
}

#[test]
fn a_burst_is_one_seconds_worth() {
    let sends = |lines: &str| only_number(&format!("{GOOD}[number.sends]\n{lines}\n")).sends;
    assert_eq!(sends("per_second = 20").burst, 20);
    assert_eq!(sends("per_second = 20\nburst = 1").burst, 1);
    assert_eq!(
        sends("pair = { burst = 1 }").pair,
        PairLimit { seconds: 6, burst: 1 }
    );
    assert_eq!(
        sends("pair = { seconds = 10 }").pair,
        PairLimit {
            seconds: 10,
            burst: 45
        }
    );
}

#[test]
fn each_storage_mode_can_be_declared() {
    let storage = |table: &str| {
        only_number(&format!(
            "[[number]]\nphone_number_id = \"1\"\nstorage = {table}\n"
        ))
        .storage
    };
    assert_eq!(storage("{ mode = \"default\" }"), StorageMode::Default);
    assert_eq!(storage("{ mode = \"no_storage\" }"), StorageMode::NoStorage);
    for code in Region::CODES {
        let table = format!("{{ mode = \"in_country\", region = \"{code}\" }}");
        assert_eq!(storage(&table), StorageMode::InCountry(code.parse().unwrap()));
    }
}

#[test]
fn a_number_is_declared_once_with_a_canonical_id() {
    assert_problem("", 1, "number", &["at least one [[number]]"]);
    assert_problem("enforcement = \"monitor\"", 1, "number", &["at least one"]);
    assert_problem(
        &format!("{GOOD}\n{GOOD}"),
        6,
        "number[1].phone_number_id",
        &["1001", "line 2"],
    );
    for (value, words) in [
        ("\"01\"", &["must not start with 0", "\"01\""][..]),
        ("\"+49 30\"", &["digits only"]),
        ("\"99999999999999999999\"", &["longer than an id"]),
        (
            "106540352242922",
            &["must be a string such as \"106540352242922\"", "an integer"],
        ),
    ] {
        let text = format!("[[number]]\nphone_number_id = {value}\nstorage = {{ mode = \"default\" }}\n");
        assert_problem(&text, 2, "number[0].phone_number_id", words);
    }
    assert_problem(
        "\n[[number]]\nstorage = { mode = \"default\" }\n",
        2,
        "number[0].phone_number_id",
        &["is missing"],
    );
    let good_storage = "storage = { mode = \"default\" }\n";
    assert_number_problem(
        &format!("{good_storage}waba_id = \"x\""),
        4,
        "waba_id",
        &["digits only"],
    );
}

#[test]
fn storage_is_a_table_with_a_mode_and_a_region_only_in_country() {
    assert_number_problem("", 1, "storage", &["is missing", "{ mode = \"no_storage\" }"]);
    assert_number_problem(
        "storage = \"no_storage\"",
        3,
        "storage",
        &["must be a table", "mode, region"],
    );
    assert_number_problem("storage = {}", 3, "storage.mode", &["is missing"]);
    assert_number_problem(
        "storage = { mode = \"none\" }",
        3,
        "storage.mode",
        &["\"default\", \"no_storage\", \"in_country\"", "\"none\""],
    );
    assert_number_problem(
        "storage = { mode = \"in_country\" }",
        3,
        "storage.region",
        &["is missing", "AU, ID"],
    );
    for region in ["US", "de", "Germany", ""] {
        let line = format!("storage = {{ mode = \"in_country\", region = \"{region}\" }}");
        assert_number_problem(
            &line,
            3,
            "storage.region",
            &["must be one of AU", &format!("{region:?}")],
        );
    }
    for mode in ["default", "no_storage"] {
        let line = format!("storage = {{ mode = \"{mode}\", region = \"DE\" }}");
        assert_number_problem(
            &line,
            3,
            "storage.region",
            &["only for mode \"in_country\"", mode],
        );
    }
}

#[test]
fn integers_have_bounds() {
    let media = "storage = { mode = \"no_storage\" }\n[number.media]\n";
    let sends = "storage = { mode = \"no_storage\" }\n[number.sends]\n";
    let top = "storage = { mode = \"no_storage\" }\n# nothing\n";
    for (place, prefix, key, least, most) in [
        (top, "", "verify_settings_minutes", 1, 1_440),
        (media, "media.", "cache_minutes", 0, 43_200),
        (sends, "sends.", "per_second", 1, 1_000),
        (sends, "sends.", "burst", 1, 10_000),
        (sends, "sends.", "max_wait_ms", 0, 60_000),
    ] {
        let text = |value: &str| format!("{place}{key} = {value}");
        for value in [least, most] {
            let good = format!(
                "[[number]]\nphone_number_id = \"1001\"\n{}",
                text(&value.to_string())
            );
            assert_eq!(problems(&good), [], "{key} = {value}");
        }
        let expected = format!("from {least} to {most}");
        for value in [
            (least - 1).to_string(),
            (most + 1).to_string(),
            "99999999999999999999".to_owned(),
        ] {
            let key = format!("{prefix}{key}");
            assert_number_problem(&text(&value), 5, &key, &["whole number", &expected, &value]);
        }
        for (value, kind) in [
            ("1.5", "a float"),
            ("\"10\"", "a string"),
            ("[]", "an array"),
            ("true", "a boolean"),
        ] {
            let key = format!("{prefix}{key}");
            assert_number_problem(&text(value), 5, &key, &["whole number", &expected, kind]);
        }
    }
    for (part, most) in [("seconds", 3_600), ("burst", 10_000)] {
        for value in [0, most + 1] {
            let line = format!("{sends}pair = {{ {part} = {value} }}");
            assert_number_problem(
                &line,
                5,
                &format!("sends.pair.{part}"),
                &[&format!("from 1 to {most}")],
            );
        }
    }
}

#[test]
fn ttl_minutes_are_in_order_and_within_metas_bounds() {
    let media = |parts: &str| {
        format!("storage = {{ mode = \"no_storage\" }}\n[number.media]\nttl_minutes = {{ {parts} }}")
    };
    for (parts, key, words) in [
        ("min = 59", "min", &["60 to 43200", "59"][..]),
        ("max = 43_201", "max", &["60 to 43200", "43201"]),
        ("default = 0", "default", &["60 to 43200", "is 0"]),
        ("min = 120, max = 90", "max", &["min 120 is above max 90"]),
        (
            "min = 120, default = 90",
            "default",
            &["from min 120 to max 1440", "is 90"],
        ),
        (
            "max = 120, default = 180",
            "default",
            &["from min 60 to max 120", "is 180"],
        ),
        (
            "min = 120, max = 90, default = 100",
            "max",
            &["min 120 is above max 90"],
        ),
        // What cannot be read takes no part in the order.
        ("min = -1, max = 90, default = 100", "min", &["60 to 43200", "-1"]),
    ] {
        assert_number_problem(&media(parts), 5, &format!("media.ttl_minutes.{key}"), words);
    }
    for storage in [
        "{ mode = \"default\" }",
        "{ mode = \"in_country\", region = \"DE\" }",
    ] {
        let lines = format!("storage = {storage}\n[number.media]\nttl_minutes = {{ max = 90 }}");
        assert_number_problem(
            &lines,
            5,
            "media.ttl_minutes",
            &["only for storage no_storage", "leave it out"],
        );
    }
    assert_number_problem(
        "storage = { mode = \"no_storage\" }\n[number.media]\nttl_minutes = 90",
        5,
        "media.ttl_minutes",
        &["must be a table with the keys min, max, default", "an integer"],
    );
}

#[test]
fn unknown_ids_pass_only_on_default_numbers() {
    let lines =
        |storage: &str, word: &str| format!("storage = {storage}\n[number.media]\nunknown_ids = \"{word}\"");
    let restricted = "{ mode = \"no_storage\" }";
    assert_number_problem(
        &lines(restricted, "allow"),
        5,
        "media.unknown_ids",
        &["only for storage default", "deny"],
    );
    assert_number_problem(
        &lines(restricted, "Deny"),
        5,
        "media.unknown_ids",
        &["\"verify\", \"deny\", \"allow\"", "\"Deny\""],
    );
    let allowed = format!(
        "[[number]]\nphone_number_id = \"1\"\n{}",
        lines("{ mode = \"default\" }", "allow")
    );
    assert_eq!(only_number(&allowed).media.unknown_ids, UnknownIds::Allow);
    // Of a mode that cannot be read nothing is held against the rest.
    assert_number_problem(&lines("{ mode = \"x\" }", "allow"), 3, "storage.mode", &["\"x\""]);
}

#[test]
fn link_hosts_are_plain_names() {
    let lines =
        |hosts: &str| format!("storage = {{ mode = \"no_storage\" }}\n[number.media]\nlinks = {{ {hosts} }}");
    for host in [
        "https://cdn.bank.example",
        "cdn.bank.example:443",
        "cdn.bank.example/",
        "*.bank.example",
        "cdn.bank.example.",
        "10.0.0.1",
        "user@cdn.bank.example",
        "",
        "cdn bank",
    ] {
        let line = lines(&format!("hosts = [\"a.example\", \"{host}\"]"));
        assert_number_problem(
            &line,
            5,
            "media.links.hosts[1]",
            &["plain DNS host name", &format!("{host:?}")],
        );
    }
    assert_number_problem(&lines(""), 5, "media.links.hosts", &["is missing"]);
    assert_number_problem(
        &lines("hosts = \"a.example\""),
        5,
        "media.links.hosts",
        &["must be an array", "a string"],
    );
    assert_number_problem(
        &lines("hosts = [1]"),
        5,
        "media.links.hosts[0]",
        &["must be a string", "an integer"],
    );
    assert_number_problem(
        &lines("hosts = [\"a.example\", \"A.example\"]"),
        5,
        "media.links.hosts[1]",
        &["listed twice"],
    );
    let text = format!(
        "[[number]]\nphone_number_id = \"1\"\n{}",
        lines("hosts = [\"CDN.Bank.Example\"]")
    );
    assert_eq!(
        only_number(&text).media.links,
        Links::Hosts(vec!["cdn.bank.example".to_owned()])
    );
}

#[test]
fn allow_unverified_takes_operations_and_unknown_message_types() {
    let lines = |list: &str| format!("storage = {{ mode = \"no_storage\" }}\nallow_unverified = {list}");
    let all: Vec<_> = UnverifiedOperation::ALL
        .iter()
        .map(|operation| format!("{:?}", operation.name()))
        .collect();
    let text = format!(
        "[[number]]\nphone_number_id = \"1\"\n{}",
        lines(&format!("[{}, \"hologram\", \"order_v_two\"]", all.join(", ")))
    );
    let allowed = only_number(&text).allow_unverified;
    assert_eq!(allowed.operations, UnverifiedOperation::ALL);
    assert_eq!(allowed.message_types, ["hologram", "order_v_two"]);

    assert_number_problem(
        &lines("[\"text\"]"),
        4,
        "allow_unverified[0]",
        &["\"text\" is documented", "leave it out"],
    );
    for word in ["Hologram", "hologram-2", "", "ein Wort", &"a".repeat(65)] {
        let list = format!("[\"signups\", \"{word}\"]");
        assert_number_problem(
            &lines(&list),
            4,
            "allow_unverified[1]",
            &["marketing_messages, messages_encrypted", "message type"],
        );
    }
    assert_number_problem(
        &lines("[\"signups\", \"signups\"]"),
        4,
        "allow_unverified[1]",
        &["listed twice"],
    );
    assert_number_problem(
        &lines("\"signups\""),
        4,
        "allow_unverified",
        &["must be an array", "a string"],
    );
    assert_number_problem(
        &lines("[true]"),
        4,
        "allow_unverified[0]",
        &["must be a string", "a boolean"],
    );
}
