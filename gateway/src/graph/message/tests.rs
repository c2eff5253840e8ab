use curfew_policies::{IdValue, MediaId, MediaObject, MessageKind, StrayLink};

use super::*;
use crate::graph::json::GRAPH_CONTROL_KEYS;

mod oracle;
mod places;

fn sent(body: &str) -> (Message<'_>, Recipient<'_>) {
    match read(body.as_bytes()) {
        Ok(Body::Send(message, recipient, _)) => (message, recipient),
        other => panic!("{other:?} for {body}"),
    }
}

fn message(body: &str) -> Message<'_> {
    sent(body).0
}

fn slug(body: &str) -> &'static str {
    match read(body.as_bytes()) {
        Ok(Body::ReadReceipt) => "read_receipt",
        Ok(Body::Send(..)) => "send",
        Err(error) => {
            let known =
                MessageError::SLUGS.contains(&error.slug()) || JsonError::SLUGS.contains(&error.slug());
            assert!(known, "{error:?}");
            error.slug()
        }
    }
}

fn medium(id: u64) -> Option<IdValue<'static>> {
    let id: MediaId = id.to_string().parse().unwrap();
    Some(IdValue::Canonical(id))
}

fn other(text: &str) -> Option<IdValue<'_>> {
    Some(IdValue::Other(Cow::Borrowed(text)))
}

fn stringified(json: &str) -> String {
    serde_json::to_string(json).unwrap()
}

/// The one media object of a body.
fn only(body: &str) -> MediaObject<'_> {
    let mut media = message(body).media;
    assert_eq!(media.len(), 1, "{body}");
    media.remove(0)
}

#[test]
fn no_spelling_hides_a_medium() {
    for (object, id, unknown) in [
        (r#"{"\u0069d":"123"}"#, medium(123), vec![]),
        (r#"{"i\u0064":123}"#, medium(123), vec![]),
        (r#"{"ID":"123"}"#, medium(123), vec!["ID"]),
        (r#"{"id":"0123"}"#, other("0123"), vec![]),
        (r#"{"id":"+123"}"#, other("+123"), vec![]),
        (r#"{"id":" 123"}"#, other(" 123"), vec![]),
        (r#"{"id":"１２３"}"#, other("１２３"), vec![]),
        (r#"{"id":""}"#, other(""), vec![]),
        (r#"{"id":0}"#, other("0"), vec![]),
        (r#"{"id":-1}"#, other("-1"), vec![]),
        (r#"{"id":-0}"#, other("-0.0"), vec![]),
        (r#"{"id":123.0}"#, other("123.0"), vec![]),
        (r#"{"id":123e0}"#, other("123.0"), vec![]),
        (r#"{"id":1e400000000000000000000}"#, None, vec!["an error"]),
        (r#"{"id":18446744073709551615}"#, medium(u64::MAX), vec![]),
        (
            r#"{"id":18446744073709551616}"#,
            other("1.8446744073709552e19"),
            vec![],
        ),
        (r#"{"id":true}"#, other("true"), vec![]),
        (r#"{"id":["123"]}"#, other("[…]"), vec![]),
        (r#"{"id":{"id":"123"}}"#, other("{…}"), vec![]),
        (r#"{"id":"\"123\""}"#, other("\"123\""), vec![]),
        (r#"{"id":null}"#, None, vec![]),
        (r#"{"id[]":"123"}"#, other("id[]"), vec!["id[]"]),
        (r#"{"Id[0]":"123"}"#, other("Id[0]"), vec!["Id[0]"]),
        (
            r#"{"link[]":"https://a.example/"}"#,
            other("link[]"),
            vec!["link[]"],
        ),
        (r#"{"id[]":"5","id":"123"}"#, other("id[]"), vec!["id[]"]),
        (r#"{"id":"123","link[0]":"5"}"#, other("link[0]"), vec!["link[0]"]),
        (r#"{"id":"123","x[id]":"5"}"#, medium(123), vec!["x[id]"]),
        (r#"{"id":"123","url":"x"}"#, medium(123), vec!["url"]),
        (r#"{"id":"123","Caption":"x"}"#, medium(123), vec!["Caption"]),
        (
            r#"{"id":"123","link":["https://a.example/"]}"#,
            medium(123),
            vec!["link"],
        ),
        (r#"{"id":"123","link":7}"#, medium(123), vec!["link"]),
        (r#"{"id":"123","link":null,"filename":null}"#, medium(123), vec![]),
        (r#"{}"#, None, vec![]),
    ] {
        for key in ["image", "\\u0069mage", "im\\u0061ge"] {
            let body = format!(r#"{{"type":"image","{key}":{object}}}"#);
            if unknown == ["an error"] {
                assert_eq!(slug(&body), "json_syntax");
                continue;
            }
            let found = only(&body);
            assert_eq!(found.id, id, "{body}");
            assert_eq!(found.unknown_members, unknown, "{body}");
            assert_eq!(found.link, None, "{body}");
            assert!(found.documented, "{body}");
        }
    }
}

#[test]
fn a_link_in_another_letter_case_is_a_link() {
    let found = only(r#"{"type":"image","image":{"LINK":"https://a.example/"}}"#);
    assert_eq!(found.link.as_deref(), Some("https://a.example/"));
    assert_eq!(found.unknown_members, ["LINK"]);
}

#[test]
fn brackets_in_a_key_name_a_medium_that_nobody_owns() {
    for (body, at) in [
        (r#"{"type":"image","image[id]":"123"}"#, "image[id]"),
        (r#"{"type":"image","IMAGE[id]":"123"}"#, "IMAGE[id]"),
        (r#"{"type":"image","image[0]":{"id":"123"}}"#, "image[0]"),
        (r#"{"type":"image"," image [id]":"123"}"#, " image [id]"),
        (
            r#"{"type":"image","\u0069mage\u005bid\u005d":"123"}"#,
            "image[id]",
        ),
        (
            r#"{"type":"template","template[components][0][parameters][0][image][id]":"123"}"#,
            "template[components][0][parameters][0][image][id]",
        ),
        (
            r#"{"type":"interactive","interactive":{"header[video][id]":"123"}}"#,
            "interactive.header[video][id]",
        ),
        (
            r#"{"type":"interactive","interactive":"{\"header\":{\"video[id]\":\"123\"}}"}"#,
            "interactive.header.video[id]",
        ),
        (
            r#"{"interactive":{"action":{"parameters":{"flow_action_payload":{"data":{"gif[id]":1}}}}}}"#,
            "interactive.action.parameters.flow_action_payload.data.gif[id]",
        ),
        (
            r#"{"type":"image","image":{"image[id]":"123"}}"#,
            "image.image[id]",
        ),
    ] {
        let found = message(body).media;
        let found = found
            .iter()
            .find(|object| object.at == at)
            .unwrap_or_else(|| panic!("{body}: {found:?}"));
        assert!(!found.documented, "{body}");
        assert!(matches!(found.id, Some(IdValue::Other(_))), "{body}");
    }
}

#[test]
fn other_brackets_make_the_type_unknown() {
    for (body, unknown) in [
        (r#"{"type":"text","text[body]":"x"}"#, "text[body]"),
        (r#"{"type":"text","text":{"body[0]":"x"}}"#, "body[0]"),
        (
            r#"{"status":"read","message_id":"wamid.x","text[body]":"x"}"#,
            "text[body]",
        ),
    ] {
        assert_eq!(
            message(body).kind,
            MessageKind::Unknown(Cow::Borrowed(unknown)),
            "{body}"
        );
    }
    let flow_data = r#"{"type":"interactive","interactive":{"action":{"parameters":{"flow_action_payload":{"data":{"a[0]":"x"}}}}}}"#;
    assert_eq!(message(flow_data).kind, MessageKind::Known("interactive"));
    // In a media object they are unknown members, which says more.
    let in_medium = r#"{"type":"image","image":{"id":"1","crop[x]":1}}"#;
    assert_eq!(message(in_medium).kind, MessageKind::Known("image"));
}

#[test]
fn links_outside_media_are_strays() {
    let settings = |value: &str| {
        format!(r#""payment_settings":[{{"type":"upi_intent_link","upi_intent_link":{value}}}]"#)
    };
    let intent = settings(r#"{"link":"upi://pay?pa=a@b"}"#);
    for (body, at, documented) in [
        (format!(r#"{{"interactive":{{"action":{{"parameters":{{{intent}}}}}}}}}"#), "interactive.action.parameters.payment_settings[0].upi_intent_link.link", true),
        (
            format!(r#"{{"interactive":{{"action":{{"parameters":{}}}}}}}"#, stringified(&format!("{{{intent}}}"))),
            "interactive.action.parameters.payment_settings[0].upi_intent_link.link",
            true,
        ),
        (
            format!(r#"{{"template":{{"components":[{{"type":"button","sub_type":"order_details","parameters":[{{"action":{{"order_details":{{{intent}}}}}}}]}}]}}}}"#),
            "template.components[0].parameters[0].action.order_details.payment_settings[0].upi_intent_link.link",
            true,
        ),
        (r#"{"upi_intent_link":{"link":"upi://pay?pa=a@b"}}"#.to_owned(), "upi_intent_link.link", false),
        (r#"{"text":{"Link":"upi://pay?pa=a@b"}}"#.to_owned(), "text.Link", false),
        (r#"{"x":[["{\"l\\u0069nk\":\"upi://pay?pa=a@b\"}"]]}"#.to_owned(), "x[0][0].link", false),
        (r#"{"image":{"id":"1","provider":{"link":"upi://pay?pa=a@b"}}}"#.to_owned(), "image.provider.link", false),
        (r#"{"interactive":{"action":{"parameters":{"flow_action_payload":{"data":{"link":"upi://pay?pa=a@b"}}}}}}"#.to_owned(), "interactive.action.parameters.flow_action_payload.data.link", false),
        (r#"{"x":{"a[link]":"upi://pay?pa=a@b"}}"#.to_owned(), "x.a[link]", false),
        (r#"{"image":{"id":"1","a[link]":"upi://pay?pa=a@b"}}"#.to_owned(), "image.a[link]", false),
    ] {
        let expected = StrayLink { at: at.to_owned(), documented, link: Cow::Borrowed("upi://pay?pa=a@b") };
        assert_eq!(message(&body).stray_links, [expected], "{body}");
    }
    for (value, rendered) in [
        ("7", "7"),
        ("[\"https://a.example\"]", "[…]"),
        ("{\"a\":1}", "{…}"),
        ("false", "false"),
    ] {
        let body = format!(r#"{{"x":{{"link":{value}}}}}"#);
        assert_eq!(message(&body).stray_links[0].link, rendered);
    }
    assert_eq!(
        message(r#"{"x":{"link":null,"links":"a","hyperlink":"b"}}"#).stray_links,
        []
    );
}

#[test]
fn ids_and_urls_that_name_no_medium_are_left_alone() {
    let body = r#"{"messaging_product":"whatsapp","to":"1","type":"interactive","interactive":{"type":"list","body":{"text":"[pick] {one}"},
        "action":{"button":"x","sections":[{"title":"a","rows":[{"id":"1","title":"x"},{"id":"2","title":"image"}]}],
        "buttons":[{"type":"reply","reply":{"id":"123","title":"x"}}],"parameters":{"url":"https://a.example/"}}}}"#;
    let found = message(body);
    assert_eq!((found.media.len(), found.stray_links.len()), (0, 0));
    let flow = r#"{"interactive":{"action":{"parameters":{"flow_action_payload":{"data":{"image":"iVBORw0KGgo="}}}}}}"#;
    assert_eq!(message(flow).media, []);
}

#[test]
fn one_name_in_two_letter_cases_is_ambiguous() {
    for body in [
        r#"{"image":{"id":"1"},"Image":{"id":"2"}}"#,
        r#"{"image":{"id":"1","ID":"2"}}"#,
        r#"{"image":{"LINK":"a","b":1,"Link":"b"}}"#,
        r#"{"image":{"id":"1","Caption":"x","caption":"x"}}"#,
        r#"{"x":{"y":[{"VIDEO":{},"video":{}}]}}"#,
        r#"{"x":"{\"gif\":{},\"GIF\":{}}"}"#,
        r#"{"x":{"link":"a","linK":"b"}}"#,
        r#"{"x":{"id":"a","iD":"b"}}"#,
        r#"{"template":{"components":[{"type":"header","Type":"body"}]}}"#,
        r#"{"template":{"components":[],"Components":[]}}"#,
        r#"{"interactive":{"action":{"parameters":{"flow_action_payload":{"data":{"a":1,"image":{},"imagE":{}}}}}}}"#,
    ] {
        assert_eq!(slug(body), "json_keys_differ_in_case", "{body}");
    }
    let many: String = (0..40).map(|index| format!("\"k{index}\":0,")).collect();
    assert_eq!(
        slug(&format!(r#"{{"x":{{{many}"image":{{}},"iMAGE":{{}}}}}}"#)),
        "json_keys_differ_in_case"
    );
    // Where policy reads nothing, letter case is the caller's affair.
    for body in [
        r#"{"x":{"type":1,"Type":2,"a":1,"A":2}}"#,
        r#"{"interactive":{"action":{"parameters":{"flow_action_payload":{"data":{"name":1,"Name":2,"Type":1,"type":2}}}}}}"#,
    ] {
        assert_eq!(slug(body), "send", "{body}");
    }
}

#[test]
fn members_of_the_envelope_come_in_lower_case() {
    for (body, expected) in [
        (r#"{"Type":"text","text":{}}"#, "type"),
        (r#"{"type":"text","TO":"1"}"#, "to"),
        (r#"{"type":"text","Context":{}}"#, "context"),
        (r#"{"type":"text","Template":{}}"#, "template"),
        (r#"{"Status":"read","message_id":"wamid.x"}"#, "status"),
    ] {
        let Err(MessageError::LetterCase { expected: found, .. }) = read(body.as_bytes()) else {
            panic!("{body}");
        };
        assert_eq!(found, expected);
    }
}

#[test]
fn control_parameters_are_refused_at_the_top_only() {
    for key in GRAPH_CONTROL_KEYS {
        assert_eq!(
            slug(&format!(r#"{{"type":"text","text":{{}},"{key}":1}}"#)),
            "control_parameter",
            "{key}"
        );
        assert_eq!(
            slug(&format!(
                r#"{{"type":"text","text":{{}},"{}[0]":1}}"#,
                key.to_uppercase()
            )),
            "control_parameter",
            "{key}"
        );
        assert_eq!(
            slug(&format!(r#"{{"type":"text","text":{{"{key}":1}}}}"#)),
            "send",
            "{key}"
        );
    }
}

#[test]
fn the_kind_is_the_type_as_written() {
    for known in MessageKind::KNOWN {
        assert_eq!(
            message(&format!(r#"{{"type":"{known}"}}"#)).kind,
            MessageKind::Known(known)
        );
    }
    assert_eq!(
        message(r#"{"type":"t\u0065xt"}"#).kind,
        MessageKind::Known("text")
    );
    for unknown in ["Text", "poll", "", " text", "gif"] {
        assert_eq!(
            message(&format!(r#"{{"type":"{unknown}"}}"#)).kind,
            MessageKind::Unknown(Cow::Borrowed(unknown))
        );
    }
    for (body, kind) in [
        (
            r#"{"messaging_product":"whatsapp","recipient_type":"individual","to":"1","text":{"body":"x"},"context":{},"biz_opaque_callback_data":"x"}"#,
            MessageKind::ImpliedText,
        ),
        (r#"{"to":"1"}"#, MessageKind::Missing),
        (r#"{}"#, MessageKind::Missing),
        (
            r#"{"to":"1","text":{"body":"x"},"image":{"id":"1"}}"#,
            MessageKind::Missing,
        ),
        (
            r#"{"to":"1","text":{"body":"x"},"poll":{}}"#,
            MessageKind::Missing,
        ),
        (r#"{"to":"1","image":{"id":"1"}}"#, MessageKind::Missing),
    ] {
        assert_eq!(message(body).kind, kind, "{body}");
    }
    for bad in ["null", "1", "true", "[\"text\"]", "{}"] {
        assert_eq!(slug(&format!(r#"{{"type":{bad}}}"#)), "message_not_a_string");
    }
}

#[test]
fn the_recipient_is_kept_as_written() {
    let all = sent(r#"{"type":"text","to":"+1 (650) 555-1234","recipient":"US.13491208655302741918","recipient_type":"individual"}"#).1;
    assert_eq!(all.to.as_deref(), Some("+1 (650) 555-1234"));
    assert_eq!(all.recipient.as_deref(), Some("US.13491208655302741918"));
    assert_eq!(all.recipient_type.as_deref(), Some("individual"));
    assert_eq!(
        sent(r#"{"type":"text","to":16505551234}"#).1.to.as_deref(),
        Some("16505551234")
    );
    assert_eq!(
        sent(r#"{"type":"text","to":null,"recipient":null,"recipient_type":null}"#).1,
        Recipient::default()
    );
    for bad in ["1.5", "-1", "true", "[\"1\"]", "{}", "1e3"] {
        assert_eq!(
            slug(&format!(r#"{{"type":"text","to":{bad}}}"#)),
            "message_not_a_string",
            "{bad}"
        );
    }
    for member in ["recipient", "recipient_type"] {
        assert_eq!(
            slug(&format!(r#"{{"type":"text","{member}":1}}"#)),
            "message_not_a_string",
            "{member}"
        );
    }
    assert_eq!(
        sent(r#"{"type":"text","text":{"to":"2"}}"#).1,
        Recipient::default()
    );
}

#[test]
fn members_of_context_are_known_or_named() {
    for (context, unknown) in [
        (r#"{"message_id":"wamid.x"}"#, vec![]),
        (r#"{}"#, vec![]),
        ("null", vec![]),
        (
            r#"{"message_id":"wamid.x","id":"1","forwarded":true}"#,
            vec!["id", "forwarded"],
        ),
        (r#"{"Message_id":"wamid.x"}"#, vec!["Message_id"]),
        (r#"{"message_id[0]":"wamid.x"}"#, vec!["message_id[0]"]),
        (r#""wamid.x""#, vec!["a value that is no object"]),
        (r#"[{"x":1}]"#, vec!["a value that is no object"]),
        (r#""{\"x\":1}""#, vec!["x", "a value that is no object"]),
    ] {
        let body = format!(r#"{{"type":"text","text":{{"body":"x"}},"context":{context}}}"#);
        assert_eq!(message(&body).unknown_context, unknown, "{body}");
    }
}

#[test]
fn only_a_plain_read_receipt_is_one() {
    for body in [
        r#"{"messaging_product":"whatsapp","status":"read","message_id":"wamid.x"}"#,
        r#"{"message_id":"wamid.x","status":"re\u0061d"}"#,
        r#"{"messaging_product":"whatsapp","status":"read","message_id":"wamid.x","typing_indicator":{"type":"text"}}"#,
    ] {
        assert_eq!(slug(body), "read_receipt", "{body}");
    }
    for body in [
        r#"{"status":"read","message_id":"wamid.x","type":"text"}"#,
        r#"{"status":"read","message_id":"wamid.x","to":"1"}"#,
        r#"{"status":"read","message_id":"wamid.x","to":null}"#,
        r#"{"status":"read","message_id":"wamid.x","recipient":"US.1"}"#,
        r#"{"status":"read","message_id":"wamid.x","text":{"body":"x"}}"#,
        r#"{"status":"read","message_id":"wamid.x","interactive":null}"#,
        r#"{"status":"read","message_id":"wamid.x","Image":{"id":"1"}}"#,
        r#"{"status":"read","message_id":"wamid.x","image[id]":"1"}"#,
        r#"{"message_id":"wamid.x"}"#,
    ] {
        assert_eq!(slug(body), "send", "{body}");
    }
    for body in [
        r#"{"status":"delivered","message_id":"wamid.x"}"#,
        r#"{"status":"Read","message_id":"wamid.x"}"#,
        r#"{"status":true,"message_id":"wamid.x"}"#,
        r#"{"status":null,"message_id":"wamid.x"}"#,
        r#"{"status":["read"],"message_id":"wamid.x"}"#,
        r#"{"status":"read"}"#,
        r#"{"status":"read","message_id":7}"#,
        r#"{"status":"read","message_id":null}"#,
        r#"{"status":"read","message_id":"wamid.x","messaging_product":{}}"#,
        r#"{"status":"read","message_id":"wamid.x","poll":{}}"#,
        r#"{"status":"read","message_id":"wamid.x","context":{}}"#,
        r#"{"status":"read","message_id":"wamid.x","recipient_type":"individual"}"#,
        r#"{"status":"read","message_id":"wamid.x","typing_indicator":"text"}"#,
        r#"{"status":"read","message_id":"wamid.x","typing_indicator":{"type":"text","body":"x"}}"#,
        r#"{"status":"read","message_id":"wamid.x","typing_indicator":{"type":{"x":1}}}"#,
        r#"{"status":"read","message_id":"wamid.x","typing_indicator":{"type":"{\"image\":{\"id\":\"1\"}}"}}"#,
        r#"{"status":"read","message_id":"{\"image\":{\"id\":\"1\"}}"}"#,
        r#"{"status":"read","message_id":"{\"x\":{\"link\":\"1\"}}"}"#,
    ] {
        assert_eq!(slug(body), "message_not_a_read_receipt", "{body}");
    }
}

#[test]
fn references_are_counted() {
    let with = |media: usize, links: usize| {
        let media = vec![r#"{"image":{"id":"1"}}"#; media].join(",");
        let links = vec![r#"{"link":"x"}"#; links].join(",");
        format!(r#"{{"type":"text","a":[{media}],"b":[{links}]}}"#)
    };
    assert_eq!(message(&with(MOST_REFERENCES, 0)).media.len(), MOST_REFERENCES);
    assert_eq!(message(&with(400, 600)).stray_links.len(), 600);
    for (media, links) in [(MOST_REFERENCES + 1, 0), (400, 601)] {
        assert_eq!(slug(&with(media, links)), "message_too_many_references");
    }
}

#[test]
fn media_ids_come_in_the_order_of_the_media() {
    let body = r#"{"template":{"components":[{"type":"carousel","cards":[
        {"components":[{"type":"header","parameters":[{"image":{"id":"3"}}]}]},
        {"components":[{"type":"header","parameters":[{"image":{"link":"https://a.example/"}}]}]},
        {"components":[{"type":"header","parameters":[{"video":{"id":1}}]}]},
        {"components":[{"type":"header","parameters":[{"image":{"id":"03"}}]}]},
        {"components":[{"type":"header","parameters":[{"image":{"id":"2"}}]}]}]}]}}"#;
    let ids: Vec<String> = message(body).media_ids().map(|id| id.to_string()).collect();
    assert_eq!(ids, ["3", "1", "2"]);
}

#[test]
fn a_json_error_keeps_its_own_words() {
    let error = read(br#"{"type":"text","type":"image"}"#).unwrap_err();
    assert_eq!(error.slug(), "json_duplicate_key");
    assert!(error.to_string().contains("`type`"), "{error}");
}

#[test]
fn a_medium_that_is_no_object_is_nobodys() {
    let inside = |value: &str| format!(r#"{{"type":"image","image":{value}}}"#);
    for (value, at) in [
        (r#""999""#, "image"),
        ("999", "image"),
        ("true", "image"),
        (r#"["999"]"#, "image[0]"),
        (r#"[["999"]]"#, "image[0][0]"),
        (r#""[\"999\"]""#, "image[0]"),
        (r#""{'id':'999'}""#, "image"),
        (r#""{\"id\":\"999\",}""#, "image"),
        ("\"\u{feff}{\\\"id\\\":\\\"999\\\"}\"", "image"),
        (r#""\"id\"""#, "image"),
        (r#""id=999""#, "image"),
        (r#""""#, "image"),
    ] {
        let body = inside(value);
        let found = only(&body);
        assert_eq!((found.at.as_str(), found.documented), (at, false), "{body}");
        assert!(matches!(found.id, Some(IdValue::Other(_))), "{body}");
    }
    for (body, at) in [
        (
            r#"{"template":{"components":[{"type":"header","parameters":[{"type":"image","image":"999"}]}]}}"#,
            "template.components[0].parameters[0].image",
        ),
        (
            r#"{"interactive":{"header":{"type":"image","image":"999"}}}"#,
            "interactive.header.image",
        ),
        (
            r#"{"template":{"components":"[{'image':{'id':'999'}}"}}"#,
            "template.components",
        ),
        (
            r#"{"template":{"Components":"[{\"image\":1}"}}"#,
            "template.Components",
        ),
        (
            r#"{"template":{"components":["{'type':'header'}"]}}"#,
            "template.components[0]",
        ),
        (r#"{"template":"{'name':'x'}"}"#, "template"),
        (r#"{"interactive":{"action":"x"}}"#, "interactive.action"),
        (
            r#"{"interactive":{"action":{"parameters":{"flow_action_payload":{"data":"{image:1}"}}}}}"#,
            "interactive.action.parameters.flow_action_payload.data",
        ),
    ] {
        let found = only(body);
        assert_eq!((found.at.as_str(), found.documented), (at, false), "{body}");
        assert!(matches!(found.id, Some(IdValue::Other(_))), "{body}");
    }
    assert_eq!(message(&inside("null")).media, []);
    assert_eq!(message(&inside("[null]")).media, []);
    for data in [
        r#"{"image":"iVBORw0KGgo=","images":["x"],"a":{"video":["x",1]}}"#,
        r#"{"Image":"iVBORw0KGgo=","header":"x"}"#,
        r#"["x",{"image":"iVBORw0KGgo="}]"#,
    ] {
        let payload = format!(r#"{{"flow_action_payload":{{"data":{data}}}}}"#);
        let flow = format!(r#"{{"interactive":{{"action":{{"parameters":{payload}}}}}}}"#);
        assert_eq!(message(&flow).media, [], "{flow}");
    }
}

#[test]
fn a_key_with_blanks_dots_or_control_characters_is_the_key() {
    for key in [
        "image ",
        " image",
        "image\\u0000",
        "im\\u0000age",
        "image\\u0000x",
        "\\ufeffimage",
        "image\\u200b",
        "image.id",
        "[image]",
        "x.image.id",
        "IMAGE.id",
    ] {
        let body = format!(r#"{{"type":"image","{key}":{{"id":"999"}}}}"#);
        let found = message(&body).media;
        assert!(
            found
                .iter()
                .any(|object| !object.documented && matches!(object.id, Some(IdValue::Other(_)))),
            "{body}"
        );
    }
    for body in [
        r#"{"type":"template","template ":{}}"#,
        r#"{"type":"template","template":{"components\t":[]}}"#,
        r#"{"type":"template","template":{"Components":[]}}"#,
        r#"{"type":"text","text":{},"ty\u0000pe":"image"}"#,
        r#"{"type":"text","text":{},"to.x":"1"}"#,
    ] {
        assert!(
            matches!(message(&body.replace('\t', "\\t")).kind, MessageKind::Unknown(_)),
            "{body}"
        );
    }
    assert_eq!(
        slug(r#"{"type":"text","text":{},"ba\u0000tch ":1}"#),
        "control_parameter"
    );
    assert_eq!(
        slug(r#"{"status":"read","message_id":"wamid.x","typing_indicator":{"type":"text","é":1}}"#),
        "message_not_a_read_receipt"
    );
    // Other keys may be written as one likes.
    let plain = r#"{"type":"text","text":{"body":"x"},"é":1,"a b":{"c.d":1}}"#;
    assert_eq!(message(plain).kind, MessageKind::Known("text"));
    let link = message(r#"{"x":{"link ":"https://a.example/"}}"#).stray_links;
    assert_eq!(link.len(), 1);
    let id = only(r#"{"image":{"id":"1","id ":"2"}}"#);
    assert_eq!(id.id, other("id "));
}
