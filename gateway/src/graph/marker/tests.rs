//! A second parser reads what was stamped, and what was given back.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::graph::webhook;

const NUMBER: u64 = 1001;
const MARKER: Marker = Marker([7; NAME_BYTES]);

fn number(id: u64) -> PhoneNumberId {
    id.to_string().parse().unwrap()
}

fn key() -> MarkerKey {
    MarkerKey::derived_from(b"the app's secret").unwrap()
}

fn stamped(body: &str) -> Option<String> {
    let stamped = key().stamped(number(NUMBER), &MARKER, body.as_bytes())?;
    Some(String::from_utf8(stamped.to_vec()).unwrap())
}

fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap()
}

/// A status with this value, written as Meta might, and what is given back of it.
fn given_back(value: &str, by: u64) -> (String, Option<String>, Option<Marker>) {
    let body = format!(
        "{{\"entry\":[{{\"changes\":[{{\"field\":\"messages\",\"value\":{{\"metadata\":{{\"phone_number_id\":\"{by}\"}},\
         \"statuses\":[{{\"id\":\"wamid.x\",\"status\":\"sent\", \"{OPAQUE}\" : {value} ,\"timestamp\":\"1\"}}]}}}}]}}]}}"
    );
    let changes = webhook::read(body.as_bytes());
    let back = webhook::give_back(body.as_bytes(), &changes, &key());
    let marker = back.marked.first().map(|(marker, _)| *marker);
    let rest = back.body.map(|body| String::from_utf8(body.to_vec()).unwrap());
    (body, rest, marker)
}

/// The same text, each character escaped.
fn escaped(text: &str) -> String {
    let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{units}\"")
}

/// A send with this value of the caller's own, if there is one, written as it is or in escapes.
fn sends() -> impl Strategy<Value = (String, Option<String>)> {
    let own = prop::option::of(prop_oneof!["\\PC{0,40}", "cf1\\.[A-Za-z0-9_-]{0,40}"]);
    let spaces = "[ \n\t]{0,2}";
    (own, any::<bool>(), 0_usize..4, spaces, "\\PC{0,20}").prop_map(|(own, escape, at, gap, text)| {
        let text = Value::from(text);
        let mut members = vec![
            format!("\"to\":{gap}\"+49\"{gap}"),
            format!("{gap}\"text\":{{\"body\":{text},\"{OPAQUE}\":1}}"),
            format!("\"type\"{gap}:\"text\""),
        ];
        if let Some(own) = &own {
            let value = if escape {
                escaped(own)
            } else {
                Value::from(own.as_str()).to_string()
            };
            members.insert(at, format!("\"{OPAQUE}\"{gap}:{gap}{value}{gap}"));
        }
        (format!("{gap}{{{gap}{}}}{gap}", members.join(",")), own)
    })
}

proptest! {
    #[test]
    fn a_stamped_send_is_the_same_but_for_its_marker((body, own) in sends()) {
        let stamped = stamped(&body).unwrap();
        let (mut before, mut after) = (object(&body), object(&stamped));
        let value = after.remove(OPAQUE).unwrap();
        before.remove(OPAQUE);
        prop_assert_eq!(before, after);
        let value = value.as_str().unwrap();
        prop_assert!(value.len() <= MOST);
        let rest = value.get(PREFIX.len() + TOKEN..).unwrap();
        prop_assert_eq!(rest.strip_prefix('.'), own.as_deref());
        // Nothing else moved: without what was put in, it is the body, byte for byte.
        let put_in = stamped.len() - body.len();
        let at = stamped.bytes().zip(body.bytes()).take_while(|(one, other)| one == other).count();
        let is_cut = |at: usize| stamped[..at] == body[..at] && stamped[at + put_in..] == body[at..];
        prop_assert!((0..=at).rev().take(8).any(|at| stamped.is_char_boundary(at) && is_cut(at)));
    }

    #[test]
    fn what_is_given_back_is_what_the_caller_sent((body, own) in sends(), escape: bool) {
        let stamped = object(&stamped(&body).unwrap());
        let value = stamped[OPAQUE].as_str().unwrap();
        // Meta writes it anew, in its own way; the marker has nothing that needs an escape.
        let written = if escape {
            let (marker, rest) = value.split_at(PREFIX.len() + TOKEN);
            let rest = rest.strip_prefix('.').map(|own| format!(".{}", escaped(own).trim_matches('"')));
            format!("\"{marker}{}\"", rest.unwrap_or_default())
        } else {
            Value::from(value).to_string()
        };
        let (told, rest, marker) = given_back(&written, NUMBER);
        prop_assert_eq!(marker, Some(MARKER));
        let (mut told, rest) = (object(&told), object(&rest.unwrap()));
        let status = told["entry"][0]["changes"][0]["value"]["statuses"][0].as_object_mut().unwrap();
        status.remove(OPAQUE);
        if let Some(own) = own {
            status.insert(OPAQUE.to_owned(), own.into());
        }
        prop_assert_eq!(told, rest);
    }

    #[test]
    fn nobody_else_can_mark_a_send(own in "\\PC{0,40}", flip in 0_usize..TOKEN) {
        let stamped = object(&stamped(&json!({ OPAQUE: own }).to_string()).unwrap());
        let value = stamped[OPAQUE].as_str().unwrap();
        // Of another number, by another key, or with one character changed.
        prop_assert_eq!(given_back(&Value::from(value).to_string(), 1002).1, None);
        let mut changed = value.to_owned().into_bytes();
        let at = PREFIX.len() + flip;
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        prop_assert_eq!(given_back(&Value::from(changed).to_string(), NUMBER).1, None);
        let other = MarkerKey::derived_from(b"another secret").unwrap();
        prop_assert_eq!(other.read(number(NUMBER), &Value::from(value).to_string()), None);
    }

    #[test]
    fn whatever_a_status_says_it_is_left_alone(value in "[a-zA-Z0-9._-]{0,50}", marked: bool) {
        let value = if marked { format!("{PREFIX}{value}") } else { value };
        prop_assert_eq!(given_back(&Value::from(value).to_string(), NUMBER).1, None);
    }
}

#[test]
fn a_value_that_leaves_no_room_goes_without_a_marker() {
    let most = MOST - PREFIX.len() - TOKEN - 1;
    for (own, fits) in [
        ("x".repeat(most), true),
        ("x".repeat(most + 1), false),
        ("é".repeat(most / 2 + 1), false),
    ] {
        assert_eq!(stamped(&json!({ OPAQUE: own }).to_string()).is_some(), fits);
    }
}

#[test]
fn what_may_be_read_otherwise_goes_without_a_marker() {
    for body in [
        r#"{"biz_opaque_callback_data":1}"#,
        r#"{"biz_opaque_callback_data":null}"#,
        r#"{"biz_opaque_callback_data":{"a":"b"}}"#,
        r#"{"Biz_Opaque_Callback_Data":"x"}"#,
        r#"{"biz_opaque_callback_data ":"x"}"#,
        r#"{"biz_opaque_callback_data[0]":"x"}"#,
        r#"{"biz_opaque_callback_data":"x","biz.opaque.callback.data":"y"}"#,
        "[]",
        "",
    ] {
        assert_eq!(stamped(body), None, "{body}");
    }
    // A key in escapes is the same key.
    let escaped = r#"{"biz_opaque_callback_dat\u0061":"x"}"#;
    assert!(
        object(&stamped(escaped).unwrap())[OPAQUE]
            .as_str()
            .unwrap()
            .ends_with(".x")
    );
    assert!(object(&stamped("{}").unwrap())[OPAQUE].is_string());
}

#[test]
fn markers_differ() {
    assert_ne!(Marker::random().unwrap(), Marker::random().unwrap());
}
