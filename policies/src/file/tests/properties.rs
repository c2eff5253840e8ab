use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::{GOOD, only_number, problems};
use crate::file::parse;
use crate::operation::UnverifiedOperation;
use crate::policy::{Links, NumberPolicy, PairLimit, UnknownIds, WhenLimited};
use crate::storage::StorageMode;
use crate::ttl::TtlBounds;

/// What a file says of one number, as text and as values.
fn declared_numbers() -> impl Strategy<Value = (String, NumberPolicy)> {
    let media = (
        option::of([60u64..=43_200, 60u64..=43_200, 60u64..=43_200]),
        option::of(select(vec![
            ("verify", UnknownIds::Verify),
            ("deny", UnknownIds::Deny),
        ])),
        option::of(vec("[a-z]{1,8}\\.example", 0..3)),
        option::of(0u32..=43_200),
        option::of(any::<bool>()),
    );
    let sends = (
        option::of(1u32..=1_000),
        option::of(1u32..=10_000),
        option::of((1u32..=3_600, 1u32..=10_000)),
        option::of(any::<bool>()),
        option::of(0u32..=60_000),
        option::of(0u32..1_000),
    );
    let general = (
        option::of(1u64..u64::MAX),
        crate::rules::testing::modes(),
        option::of(1u32..=1_440),
        option::of(any::<bool>()),
        subsequence(UnverifiedOperation::ALL.to_vec(), 0..=8),
    );
    (general, media, sends).prop_map(|(general, media, sends)| {
        let (waba, storage, verify, deregister, unverified) = general;
        let (ttl, unknown_ids, hosts, cache, reuse) = media;
        let (per_second, burst, pair, wait, max_wait, kept) = sends;
        let mut number = crate::rules::testing::number(1001, storage);
        let mut text = String::from("[[number]]\nphone_number_id = \"1001\"\n");
        let mut line = |written: String| text.push_str(&(written + "\n"));

        line(match storage {
            StorageMode::InCountry(region) => {
                format!("storage = {{ mode = \"in_country\", region = \"{region}\" }}")
            }
            mode => format!("storage = {{ mode = \"{mode}\" }}"),
        });
        if let Some(waba) = waba {
            line(format!("waba_id = \"{waba}\""));
            number.waba_id = Some(crate::rules::testing::id(waba));
        }
        if let Some(minutes) = verify {
            line(format!("verify_settings_minutes = {minutes}"));
            number.verify_settings_minutes = minutes;
        }
        if let Some(deregister) = deregister {
            line(format!("allow_deregister = {deregister}"));
            number.allow_deregister = deregister;
        }
        let names: Vec<_> = unverified.iter().map(|operation| operation.name()).collect();
        line(format!("allow_unverified = {names:?}"));
        number.allow_unverified.operations = unverified;

        line("[number.media]".to_owned());
        number.media.ttl = TtlBounds::from_minutes(60, 1_440, 120);
        if let (Some(mut minutes), StorageMode::NoStorage) = (ttl, storage) {
            minutes.sort_unstable();
            let [min, default, max] = minutes;
            line(format!(
                "ttl_minutes = {{ max = {max}, min = {min}, default = {default} }}"
            ));
            number.media.ttl = TtlBounds::from_minutes(min, max, default);
        }
        if let Some((word, unknown_ids)) = unknown_ids {
            line(format!("unknown_ids = \"{word}\""));
            number.media.unknown_ids = unknown_ids;
        }
        number.media.links = if storage.is_restricted() {
            Links::Hosts(Vec::new())
        } else {
            Links::Any
        };
        if let Some(mut hosts) = hosts {
            hosts.sort();
            hosts.dedup();
            line(format!("links = {{ hosts = {hosts:?} }}"));
            number.media.links = Links::Hosts(hosts);
        }
        if let Some(minutes) = cache {
            line(format!("cache_minutes = {minutes}"));
            number.media.cache_minutes = minutes;
        }
        if let Some(reuse) = reuse {
            line(format!("reuse = {reuse}"));
            number.media.reuse = reuse;
        }

        line("[number.sends]".to_owned());
        if let Some(per_second) = per_second {
            line(format!("per_second = {per_second}"));
            number.sends.per_second = per_second;
        }
        number.sends.burst = burst.unwrap_or(number.sends.per_second);
        if let Some(burst) = burst {
            line(format!("burst = {burst}"));
        }
        if let Some(kept) = kept {
            number.sends.kept_for_inbound = kept % number.sends.per_second;
            line(format!("kept_for_inbound = {}", number.sends.kept_for_inbound));
        }
        if let Some((seconds, burst)) = pair {
            line(format!("pair = {{ seconds = {seconds}, burst = {burst} }}"));
            number.sends.pair = PairLimit { seconds, burst };
        }
        if let Some(waits) = wait {
            line(format!(
                "when_limited = \"{}\"",
                if waits { "wait" } else { "reject" }
            ));
            number.sends.when_limited = if waits {
                WhenLimited::Wait
            } else {
                WhenLimited::Reject
            };
        }
        if let Some(millis) = max_wait {
            line(format!("max_wait_ms = {millis}"));
            number.sends.max_wait_ms = millis;
        }
        (text, number)
    })
}

/// Lines of a policy file, and what comes of them when they are mixed up.
fn mixed_up_files() -> impl Strategy<Value = String> {
    let lines = select(vec![
        "[[number]]",
        "[number]",
        "[[caller]]",
        "[[portfolio]]",
        "[number.sends.classes.utility]",
        "templates = [\"a\", 1]",
        "unique_recipients_24h = 250",
        "weight = 2",
        "repeat_window_s = 30",
        "[number.media]",
        "[number.sends]",
        "phone_number_id = \"1001\"",
        "phone_number_id = 1001",
        "storage = { mode = \"no_storage\" }",
        "storage = { mode = \"in_country\" }",
        "ttl_minutes = { min = 90, max = 60 }",
        "links = { hosts = [\"a.example\", 7] }",
        "per_second = 0",
        "pair.seconds = 6",
        "name = \"a\"",
        "key_sha256 = \"x\"",
        "numbers = [[]]",
        "may = [\"send\"]",
        "enforcement = \"monitor\"",
        "number = []",
        "= ",
        "\"\" = \"\u{0}",
        "'''",
        "# ü",
        "\r",
    ]);
    vec(lines, 0..14).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read((text, expected) in declared_numbers()) {
        let read = parse(&text);
        prop_assert!(read.is_ok(), "{:?}\n{}", read, text);
        let read = only_number(&text);
        prop_assert_eq!(format!("{read:?}"), format!("{expected:?}"), "{}", text);
    }

    #[test]
    fn no_text_makes_the_reader_panic_and_each_problem_has_a_place(text in prop_oneof![any::<String>(), mixed_up_files()]) {
        let lines = text.matches('\n').count() + 1;
        for problem in problems(&text) {
            prop_assert!((1..=lines).contains(&problem.line), "{}", problem);
            let line = text.split('\n').nth(problem.line - 1).unwrap();
            prop_assert!((1..=line.chars().count() + 1).contains(&problem.column), "{} {:?}", problem, line);
            prop_assert!(!problem.message.is_empty() && !problem.message.contains('\n'));
        }
    }

    #[test]
    fn a_set_that_is_read_keeps_its_promises(text in mixed_up_files()) {
        if let Ok(policies) = parse(&text) {
            prop_assert!(!policies.numbers.is_empty());
            for (id, number) in &policies.numbers {
                prop_assert_eq!(*id, number.phone_number_id);
                prop_assert!(!(number.storage.is_restricted() && number.media.unknown_ids == UnknownIds::Allow));
                prop_assert!(!(number.storage.is_restricted() && number.media.links == Links::Any));
            }
            for caller in &policies.callers {
                prop_assert!(!caller.numbers.is_empty() && !caller.may.is_empty());
                prop_assert!(caller.numbers.iter().all(|number| policies.numbers.contains_key(number)));
            }
            for portfolio in &policies.portfolios {
                prop_assert!(!portfolio.numbers.is_empty() && portfolio.unique_recipients_24h > 0);
                prop_assert!(portfolio.numbers.iter().all(|number| policies.numbers.contains_key(number)));
            }
        }
    }

    #[test]
    fn a_hash_has_exactly_sixty_four_hexadecimal_digits(text in "[0-9a-fA-Fg]{62,66}") {
        let lines = format!("name = \"a\"\nkey_sha256 = \"{text}\"\nnumbers = [\"1001\"]\nmay = [\"send\"]");
        let is_hash = text.len() == 64 && !text.contains('g');
        prop_assert_eq!(parse(&format!("{GOOD}[[caller]]\n{lines}")).is_ok(), is_hash);
    }
}
