use proptest::prelude::*;

use super::testing::{Tree, object, spelling, tree};
use super::*;

fn slug(body: &[u8]) -> &'static str {
    match check_object(body) {
        Ok(_) => "accepted",
        Err(error) => {
            assert!(JsonError::SLUGS.contains(&error.slug()), "{error:?}");
            error.slug()
        }
    }
}

/// `levels` arrays and objects in each other, the first an object.
fn nested(levels: usize) -> String {
    format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1))
}

fn stringified(json: &str) -> String {
    serde_json::to_string(json).unwrap()
}

#[test]
fn each_rule_has_its_refusal() {
    let cases: [(&[u8], &str); 52] = [
        (b"{}", "accepted"),
        (b" \t\r\n{ } \n", "accepted"),
        (
            br#"{"a":{"a":{"a":[1,2.5,-3,1e3,true,null,"x"]}},"b":"\ud83d\ude00"}"#,
            "accepted",
        ),
        // Encoding.
        (b"{\"a\":\"\xff\"}", "json_not_utf8"),
        (b"\xff\xfe{\0}\0", "json_not_utf8"),
        (b"{\"a\":\"\xed\xa0\x80\"}", "json_not_utf8"),
        (b"{\"a\":\"\xc0\xaf\"}", "json_not_utf8"),
        (b"{}\x80", "json_not_utf8"),
        (b"\xef\xbb\xbf{}", "json_byte_order_mark"),
        (b"{\xef\xbb\xbf}", "json_syntax"),
        // Syntax.
        (b"", "json_syntax"),
        (b"   ", "json_syntax"),
        (b"{", "json_syntax"),
        (b"{\"a\":1,}", "json_syntax"),
        (b"{\"a\":[1,]}", "json_syntax"),
        (b"{'a':1}", "json_syntax"),
        (b"{a:1}", "json_syntax"),
        (b"{\"a\":01}", "json_syntax"),
        (b"{\"a\":+1}", "json_syntax"),
        (b"{\"a\":.5}", "json_syntax"),
        (b"{\"a\":NaN}", "json_syntax"),
        (b"{\"a\":1e999}", "json_syntax"),
        (b"{\"a\":\"\n\"}", "json_syntax"),
        (b"{\"a\":\"\\x41\"}", "json_syntax"),
        (b"{\"a\":\"\\u12\"}", "json_syntax"),
        (b"{\"a\":1 /* no */}", "json_syntax"),
        (b"\x0c{}", "json_syntax"),
        (b"messaging_product=whatsapp", "json_syntax"),
        // One document, an object.
        (b"{}{}", "json_trailing_data"),
        (b"{} x", "json_trailing_data"),
        (b"{}\0", "json_trailing_data"),
        (b"[]", "json_not_an_object"),
        (b"[{}]", "json_not_an_object"),
        (b"null", "json_not_an_object"),
        (br#""{}""#, "json_not_an_object"),
        // Duplicate keys.
        (br#"{"a":1,"a":1}"#, "json_duplicate_key"),
        (br#"{"to":1,"\u0074o":2}"#, "json_duplicate_key"),
        (br#"{"\/":1,"/":2}"#, "json_duplicate_key"),
        ("{\"\\ud83d\\ude00\":1,\"😀\":2}".as_bytes(), "json_duplicate_key"),
        (br#"{"x":[{"y":{"a":{},"b":1,"a":{}}}]}"#, "json_duplicate_key"),
        (br#"{"x":"{\"a\":1,\"a\":2}"}"#, "json_duplicate_key"),
        (br#"{"x":"{\"a\":1,\"\\u0061\":2}"}"#, "json_duplicate_key"),
        (
            br#"{"x":["[\"{\\\"a\\\":1,\\\"a\\\":2}\"]"]}"#,
            "json_duplicate_key",
        ),
        (br#"{"x":"\"{\\\"a\\\":1,\\\"a\\\":2}\""}"#, "json_duplicate_key"),
        (br#"{"a":1,"A":1,"b":{"a":1}}"#, "accepted"),
        // What only looks like JSON is text.
        (br#"{"x":"{\"a\":1,\"a\":2} and so on"}"#, "accepted"),
        (br#"{"x":"{{1}}, [hello"}"#, "accepted"),
        // Surrogates.
        (br#"{"a":"\ud800"}"#, "json_lone_surrogate"),
        (br#"{"a":"\udc00x"}"#, "json_lone_surrogate"),
        (br#"{"a":"\ud800\n"}"#, "json_lone_surrogate"),
        (br#"{"\ud800\ud800":1}"#, "json_lone_surrogate"),
        (br#"{"a":"{\"b\":\"\\ud800\"}"}"#, "json_lone_surrogate"),
    ];
    for (body, expected) in cases {
        assert_eq!(slug(body), expected, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn thirty_two_levels_and_no_more() {
    assert_eq!(slug(nested(32).as_bytes()), "accepted");
    assert_eq!(slug(nested(33).as_bytes()), "json_too_deep");
    assert_eq!(slug(nested(20_000).as_bytes()), "json_too_deep");
}

#[test]
fn a_string_that_holds_json_does_not_start_the_count_anew() {
    for (outside, inside, expected) in [
        (16, 16, "accepted"),
        (16, 17, "json_too_deep"),
        (31, 1, "accepted"),
        (32, 1, "json_too_deep"),
        (1, 32, "json_too_deep"),
    ] {
        let held = stringified(&"[".repeat(inside)[..]).replace(']', "");
        let held = format!("{}{}\"", &held[..held.len() - 1], "]".repeat(inside));
        let arrays = outside - 1;
        let body = format!("{{\"a\":{}{held}{}}}", "[".repeat(arrays), "]".repeat(arrays));
        assert_eq!(slug(body.as_bytes()), expected, "{body}");
        // The same once more: a string that holds a string that holds the arrays.
        let twice = body.replace(&held, &stringified(&held));
        assert_eq!(slug(twice.as_bytes()), expected, "{twice}");
    }
}

#[test]
fn strings_in_strings_cost_no_more_than_their_length() {
    let mut body = "x".to_owned();
    // Each time round doubles the backslashes, so some twenty times round fill a megabyte.
    for _ in 0..18 {
        body = format!("[{}]", stringified(&body));
    }
    let body = format!("{{\"a\":{}}}", stringified(&body));
    assert!(body.len() > 500_000);
    assert_eq!(slug(body.as_bytes()), "accepted");
}

#[test]
fn many_keys_are_compared_like_few() {
    for count in [1, 2, 15, 16, 17, 18, 40, 5_000] {
        let keys: Vec<String> = (0..count)
            .map(|index| format!("\"k{index}\":{{\"k0\":0}}"))
            .collect();
        let unique = format!("{{{}}}", keys.join(","));
        assert_eq!(slug(unique.as_bytes()), "accepted", "{count}");
        for again in [0, count / 2, count - 1] {
            let double = format!("{{{},\"k{again}\":0}}", keys.join(","));
            assert_eq!(slug(double.as_bytes()), "json_duplicate_key", "{count} {again}");
        }
    }
}

#[test]
fn an_error_says_where() {
    let error = |body: &str| check_object(body.as_bytes()).unwrap_err();
    let JsonError::DuplicateKey(spot) = error("{\"a\":{\n \"b\":[0,{\"c\":1,\"c\":2}]}}") else {
        panic!("no duplicate");
    };
    assert_eq!((spot.path.as_str(), spot.line), ("a.b[1].c", 2));
    let JsonError::DuplicateKey(spot) = error(r#"{"a":{"b":"{\"c\":[{\"d\":1,\"d\":2}]}"}}"#) else {
        panic!("no duplicate");
    };
    assert_eq!((spot.path.as_str(), spot.line), ("a.b.c[0].d", 1));
    let JsonError::Syntax { problem, spot } = error(r#"{"a":[1,{"b":tru}]}"#) else {
        panic!("no syntax error");
    };
    assert_eq!(
        (problem.as_str(), spot.path.as_str()),
        ("expected ident", "a[1].b")
    );
    assert_eq!((spot.line, spot.column), (1, 17));
    assert_eq!(error("{}\n {}"), JsonError::Trailing { line: 2, column: 2 },);
    assert_eq!(error("{\"a\":1} é").slug(), "json_trailing_data");
}

#[test]
fn an_error_shows_no_value() {
    for body in [
        r#"{"a":"hunter2" "b"}"#,
        r#"{"a":"hunter2\ud800"}"#,
        r#"{"a":["hunter2",{"b":"hunter2","b":1}]}"#,
        r#"{"a":"hunter2"} hunter2"#,
        r#"hunter2"#,
        r#"{"a":"{\"x\":\"hunter2\",\"x\":1}"}"#,
    ] {
        let error = check_object(body.as_bytes()).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn long_keys_are_cut_short_in_an_error() {
    let key = "k".repeat(5_000);
    let error = check_object(format!("{{\"{key}\":1,\"{key}\":1}}").as_bytes()).unwrap_err();
    assert!(error.to_string().len() < 300, "{error}");
}

#[test]
fn control_parameters_are_found_in_every_spelling() {
    for key in GRAPH_CONTROL_KEYS {
        for spelling in [
            key.to_owned(),
            key.to_uppercase(),
            format!("{key}[]"),
            format!("{key}[0][method]"),
            format!(" {key} "),
            key.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect(),
        ] {
            let body = format!(r#"{{"name":"x","{spelling}":[]}}"#);
            let top = check_object(body.as_bytes()).unwrap();
            assert!(top.control_parameter().is_some(), "{body}");
            let below = format!(r#"{{"name":{{"{spelling}":[]}}}}"#);
            let top = check_object(below.as_bytes()).unwrap();
            assert_eq!(top.control_parameter(), None, "{below}");
        }
    }
    for innocent in [
        "methods",
        "batch_id",
        "code_method",
        "x[batch]",
        "callback_url",
        "id",
    ] {
        let body = format!(r#"{{"{innocent}":1}}"#);
        assert_eq!(
            check_object(body.as_bytes()).unwrap().control_parameter(),
            None,
            "{body}"
        );
    }
}

#[test]
fn top_level_keys_come_unescaped_and_in_order() {
    let body = br#"{"b":{"x":1},"\u0061":"{\"y\":1}","Recording[status]":[{"z":1}]}"#;
    let top = check_object(body).unwrap();
    assert_eq!(top.keys().collect::<Vec<_>>(), ["b", "a", "Recording[status]"]);
    assert_eq!(
        top.find(&["transcription", "recording"]),
        Some("Recording[status]")
    );
    assert_eq!(top.find(&["x", "y", "z"]), None);
}

/// What the slow reading says of any bytes: `None` if they should be accepted, else the slugs that may be given.
fn judged_slowly(body: &[u8]) -> Option<Vec<&'static str>> {
    let tree: Result<Tree, _> = serde_json::from_slice(body);
    match tree {
        Ok(tree @ Tree::Object(_)) => {
            let faults = tree.faults();
            (!faults.is_empty()).then_some(faults)
        }
        Ok(_) => Some(vec!["json_not_an_object"]),
        // A fault may stand before the place at which the slow reading gave up.
        Err(_) => Some(JsonError::SLUGS.to_vec()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_written_by_the_rules_is_judged_by_the_rules(tree in object(), spelling in spelling()) {
        let body = tree.spelled(&spelling);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok(), "{}", body);
        let faults = tree.faults();
        let slug = slug(body.as_bytes());
        if faults.is_empty() {
            prop_assert_eq!(slug, "accepted", "{}", body);
        } else {
            prop_assert!(faults.contains(&slug), "{} {:?} {}", slug, faults, body);
        }
    }

    #[test]
    fn top_level_keys_are_those_of_a_tree(tree in object(), spelling in spelling()) {
        let body = tree.spelled(&spelling);
        if let (Ok(top), Tree::Object(members)) = (check_object(body.as_bytes()), &tree) {
            let expected: Vec<&str> = members.iter().map(|(key, _)| key.as_str()).collect();
            prop_assert_eq!(top.keys().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn other_values_than_objects_are_no_body(tree in tree(), spelling in spelling()) {
        let body = tree.spelled(&spelling);
        prop_assert_eq!(slug(body.as_bytes()) == "json_not_an_object", !matches!(tree, Tree::Object(_)));
    }

    #[test]
    fn damaged_documents_are_judged_as_the_slow_reading_does(
        tree in object(),
        spelling in spelling(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), 0_u8..3, any::<u8>(), any::<bool>()), 1..6),
    ) {
        let mut body = tree.spelled(&spelling).into_bytes();
        for (at, edit, byte, printable) in edits {
            let byte = if printable { b"{}[]\",:\\u0aA1 "[usize::from(byte) % 14] } else { byte };
            let at = at.index(body.len().max(1));
            match edit {
                0 if at < body.len() => body[at] = byte,
                1 if at < body.len() => { body.remove(at); }
                _ => body.insert(at.min(body.len()), byte),
            }
        }
        let slug = slug(&body);
        match judged_slowly(&body) {
            None => prop_assert_eq!(slug, "accepted", "{}", String::from_utf8_lossy(&body)),
            Some(faults) => prop_assert!(faults.contains(&slug), "{} {:?} {}", slug, faults, String::from_utf8_lossy(&body)),
        }
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(body in proptest::collection::vec(any::<u8>(), 0..64)) {
        let slug = slug(&body);
        if let Some(faults) = judged_slowly(&body) {
            prop_assert!(faults.contains(&slug));
        } else {
            prop_assert_eq!(slug, "accepted");
        }
    }
}
