use http::HeaderValue;
use proptest::prelude::*;

use super::*;

const ETAG: &str = "\"abc\"";

fn wanted(method: &Method, fields: &[(&str, &str)]) -> Wanted {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(
            name.parse::<HeaderName>().unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    Wanted::of(method, &headers)
}

fn due(fields: &[(&str, &str)]) -> Due {
    wanted(&Method::GET, fields).due(Some(ETAG), Some(100))
}

fn range(value: &str) -> Due {
    due(&[("range", value)])
}

#[test]
fn ranges_are_read_as_rfc_9110_says() {
    let unsatisfiable = Due::NotSatisfiable { size: 100 };
    for (value, expected) in [
        ("bytes=0-0", Due::Part(0..1)),
        ("bytes=0-99", Due::Part(0..100)),
        ("bytes=0-", Due::Part(0..100)),
        ("bytes=10-19", Due::Part(10..20)),
        ("bytes=90-1000", Due::Part(90..100)),
        ("bytes=99-", Due::Part(99..100)),
        ("bytes=-1", Due::Part(99..100)),
        ("bytes=-100", Due::Part(0..100)),
        ("bytes=-1000", Due::Part(0..100)),
        ("BYTES=0-0", Due::Part(0..1)),
        ("bytes=0-0,", Due::Part(0..1)),
        ("bytes=, 0-0", Due::Part(0..1)),
        ("bytes=,\t0-0 ,,", Due::Part(0..1)),
        ("bytes=000-0009", Due::Part(0..10)),
        ("bytes=0-99999999999999999999999999", Due::Part(0..100)),
        ("bytes=-99999999999999999999999999", Due::Part(0..100)),
        ("bytes=100-", unsatisfiable.clone()),
        ("bytes=100-200", unsatisfiable.clone()),
        ("bytes=99999999999999999999999999-", unsatisfiable.clone()),
        (
            "bytes=18446744073709551615-18446744073709551615",
            unsatisfiable.clone(),
        ),
        ("bytes=-0", unsatisfiable),
    ] {
        assert_eq!(range(value), expected, "{value}");
    }
}

#[test]
fn what_is_no_single_range_gets_the_whole_medium() {
    for value in [
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=2-1",
        "bytes=0x0-1",
        "bytes=+0-1",
        "bytes=0-1-2",
        "bytes= 0-1",
        "bytes=0 -1",
        "bytes=0- 1",
        "bytes =0-1",
        "bytes=0-1;2-3",
        "bytes=0-1,2-3",
        "bytes=0-1, 500-",
        "items=0-1",
        "=0-1",
        "",
    ] {
        assert_eq!(range(value), Due::Whole, "{value}");
    }
    assert_eq!(due(&[("range", "bytes=0-1"), ("range", "bytes=0-1")]), Due::Whole);
    let head = wanted(&Method::HEAD, &[("range", "bytes=0-1")]);
    assert_eq!(head.due(Some(ETAG), Some(100)), Due::Whole);
    let of_unknown_size = wanted(&Method::GET, &[("range", "bytes=0-1")]);
    assert_eq!(of_unknown_size.due(Some(ETAG), None), Due::Whole);
    let of_nothing = wanted(&Method::GET, &[("range", "bytes=0-")]);
    assert_eq!(of_nothing.due(None, Some(0)), Due::NotSatisfiable { size: 0 });
}

#[test]
fn if_range_takes_a_strong_tag_that_is_the_same() {
    let with = |validator: &str| due(&[("range", "bytes=0-1"), ("if-range", validator)]);
    assert_eq!(with(ETAG), Due::Part(0..2));
    for other in [
        "W/\"abc\"",
        "\"abd\"",
        "abc",
        "*",
        "",
        "\"abc\", \"abc\"",
        "Sun, 22 Nov 2026 12:00:00 GMT",
    ] {
        assert_eq!(with(other), Due::Whole, "{other}");
    }
    let twice = [("range", "bytes=0-1"), ("if-range", ETAG), ("if-range", ETAG)];
    assert_eq!(due(&twice), Due::Whole);
    // Without a range it says nothing, and without a tag nothing is equal to it.
    assert_eq!(due(&[("if-range", ETAG)]), Due::Whole);
    let wanted = wanted(&Method::GET, &twice[..2]);
    assert_eq!(wanted.due(None, Some(100)), Due::Whole);
}

#[test]
fn conditions_on_entity_tags_hold_as_rfc_9110_says() {
    for (value, is_matched_weakly, is_matched_strongly) in [
        ("*", true, true),
        (ETAG, true, true),
        ("W/\"abc\"", true, false),
        ("\"x\", \"abc\"", true, true),
        ("\"x,\\\", W/\"y\" ,,\t\"abc\"", true, true),
        (",\"abc\",", true, true),
        ("\"x\"", false, false),
        ("abc", false, false),
        ("\"abc", false, false),
        ("w/\"abc\"", false, false),
        ("\"ab\"c\"", false, false),
        ("\"x\" \"abc\"", false, false),
        ("\"x\";\"abc\"", false, false),
        ("*, \"x\"", false, false),
        ("", false, false),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let none = wanted(&method, &[("if-none-match", value)]);
            let expected = if is_matched_weakly {
                Due::NotModified
            } else {
                Due::Whole
            };
            assert_eq!(none.due(Some(ETAG), Some(100)), expected, "{value}");
            let matches = wanted(&method, &[("if-match", value)]);
            let expected = if is_matched_strongly {
                Due::Whole
            } else {
                Due::PreconditionFailed
            };
            assert_eq!(matches.due(Some(ETAG), Some(100)), expected, "{value}");
        }
    }
    let lines = [("if-none-match", "\"x\""), ("if-none-match", ETAG)];
    assert_eq!(due(&lines), Due::NotModified);
    // Nothing is known to be the same as a medium without a tag.
    let unknown = wanted(&Method::GET, &[("if-none-match", ETAG)]);
    assert_eq!(unknown.due(None, Some(100)), Due::Whole);
}

#[test]
fn conditions_come_in_the_order_of_rfc_9110() {
    let both = [("if-match", "\"x\""), ("if-none-match", ETAG)];
    assert_eq!(due(&both), Due::PreconditionFailed);
    let before_range = [("if-none-match", ETAG), ("range", "bytes=500-")];
    assert_eq!(due(&before_range), Due::NotModified);
    let all = [
        ("if-match", ETAG),
        ("if-none-match", "\"x\""),
        ("if-range", ETAG),
        ("range", "bytes=500-"),
    ];
    assert_eq!(due(&all), Due::NotSatisfiable { size: 100 });
    let dates = [
        ("if-modified-since", "Sun, 22 Nov 2126 12:00:00 GMT"),
        ("if-unmodified-since", "Sun, 22 Nov 1926 12:00:00 GMT"),
    ];
    assert_eq!(due(&dates), Due::Whole);
}

/// What a range means, byte by byte: whether this byte is of it.
fn is_of(range: (Option<u64>, Option<u64>), byte: u64, size: u64) -> bool {
    match range {
        (Some(first), Some(last)) => first <= byte && byte <= last,
        (Some(first), None) => first <= byte,
        (None, Some(count)) => size - byte <= count,
        (None, None) => false,
    }
}

proptest! {
    #[test]
    fn a_range_is_the_bytes_that_it_names(
        first in proptest::option::of(0u64..40),
        last in proptest::option::of(0u64..40),
        size in 0u64..40,
        before in "(,[ \t]*)?",
        after in "([ \t]*,)?",
    ) {
        let show = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        let value = format!("bytes={before}{}-{}{after}", show(first), show(last));
        let got = wanted(&Method::GET, &[("range", &value)]).due(None, Some(size));
        let is_invalid = match (first, last) {
            (Some(first), Some(last)) => last < first,
            (None, None) => true,
            _ => false,
        };
        let named: Vec<u64> = (0..size).filter(|byte| is_of((first, last), *byte, size)).collect();
        let expected = match (is_invalid, named.first(), named.last()) {
            (true, ..) => Due::Whole,
            (false, Some(first), Some(last)) => Due::Part(*first..last + 1),
            (false, ..) => Due::NotSatisfiable { size },
        };
        prop_assert_eq!(got, expected, "{}", value);
    }

    #[test]
    fn no_range_goes_beyond_the_medium(value in "(bytes=)?[-0-9, =a]{0,24}", size in 0u64..1000) {
        match wanted(&Method::GET, &[("range", &value)]).due(None, Some(size)) {
            Due::Part(part) => prop_assert!(part.start < part.end && part.end <= size),
            Due::Whole => {}
            Due::NotSatisfiable { size: said } => prop_assert_eq!(said, size),
            other => prop_assert!(false, "{other:?}"),
        }
    }
}
