//! Webhooks as Meta documents them, and as nobody does.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn body(value: &serde_json::Value) -> Vec<u8> {
    json!({"object": "whatsapp_business_account", "entry": [{"id": "5001", "changes": [
        {"field": "account_update", "value": {"event": "x"}},
        {"field": "messages", "value": value},
    ]}]})
    .to_string()
    .into_bytes()
}

#[test]
fn an_inbound_message_is_read() {
    let body = body(&json!({
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": "106540352242922"},
        "contacts": [{"profile": {"name": "Sheena"}, "wa_id": "16505551234", "user_id": "US.13491208655302741918", "parent_user_id": "US.ENT.118"}],
        "messages": [{"from": "16505551234", "from_user_id": "US.13491208655302741918", "id": "wamid.HBgL", "timestamp": "1744344496",
            "type": "image", "image": {"caption": "x", "mime_type": "image/jpeg", "sha256": "SfInY0gGKTsJlUWbwxC1k+FAD0FZHvzwfpvO0zX0GUI=",
            "id": "1003383421387256", "url": "https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1003383421387256"}}],
    }));
    let changes = read(&body);
    let [change] = changes.as_slice() else {
        panic!("one change is of messages")
    };
    assert_eq!(change.number().to_string(), "106540352242922");
    assert_eq!(change.display_phone_number(), Some("15550783881"));
    let people: Vec<_> = change
        .people()
        .map(|person| (person.user_id, person.wa_id))
        .collect();
    let user = "US.13491208655302741918";
    assert_eq!(
        people,
        [
            (user, "16505551234"),
            ("US.ENT.118", "16505551234"),
            (user, "16505551234")
        ]
    );
    let message = &change.messages[0];
    assert_eq!(
        (message.id(), message.timestamp()),
        ("wamid.HBgL", Some(1_744_344_496))
    );
    assert_eq!(
        (message.from(), message.from_user_id()),
        (Some("16505551234"), Some(user))
    );
    assert!(message.opens_window());
    assert_eq!(
        message.media().map(MediaId::get).collect::<Vec<_>>(),
        [1_003_383_421_387_256]
    );
}

#[test]
fn a_status_is_read() {
    let body = body(&json!({
        "metadata": {"phone_number_id": "1"},
        "statuses": [
            {"id": "wamid.a", "status": "failed", "timestamp": "1", "recipient_id": "16505551234", "errors": [
                {"code": 131_056, "title": "x", "message": "x", "error_data": {"details": "x"}, "href": "x"}, {"code": "no number"}]},
            {"id": "wamid.b", "status": "played", "recipient_user_id": "US.1"},
            {"id": "wamid.c", "status": "read", "recipient_type": "group", "recipient_id": "g", "recipient_user_id": "US.1"},
            {"id": "wamid.d", "status": "new"},
            {"id": "wamid.e", "status": "failed"},
            {"status": "sent"},
            "odd",
        ],
        "errors": [{"code": 131_035, "title": "x"}],
    }));
    let changes = read(&body);
    let change = &changes[0];
    let fates: Vec<_> = change
        .statuses
        .iter()
        .map(|status| (status.message_id(), status.fate()))
        .collect();
    assert_eq!(
        fates,
        [
            ("wamid.a", Some(Fate::Failed(Some(131_056)))),
            ("wamid.b", Some(Fate::Accepted)),
            ("wamid.c", Some(Fate::Accepted)),
            ("wamid.d", None),
            ("wamid.e", Some(Fate::Failed(None))),
        ]
    );
    let codes = |failures: &[Failure]| failures.iter().map(|failure| failure.code).collect::<Vec<_>>();
    assert_eq!(codes(&change.statuses[0].errors()), [131_056]);
    assert_eq!(codes(&change.errors), [131_035]);
    assert_eq!(change.statuses[0].recipient_id(), Some("16505551234"));
    assert_eq!(change.statuses[1].recipient_user_id(), Some("US.1"));
    assert!(change.statuses[2].is_of_group() && change.people().next().is_none());
}

#[test]
fn what_is_not_a_persons_message_opens_no_window() {
    let opens = |kind: &str, more: &str| {
        let message = format!("{{\"id\":\"wamid.x\",\"type\":\"{kind}\"{more}}}");
        let shape = serde_json::from_str(&message).unwrap();
        Message { shape }.opens_window()
    };
    for kind in [
        "text",
        "image",
        "interactive",
        "button",
        "order",
        "unsupported",
        "contacts",
    ] {
        assert!(opens(kind, ""), "{kind}");
        assert!(!opens(kind, ",\"group_id\":\"g\""), "{kind}");
    }
    for kind in ["reaction", "system", "edit", "revoke", "media_placeholder", ""] {
        assert!(!opens(kind, ""), "{kind}");
    }
}

#[test]
fn one_odd_part_does_not_hide_the_others() {
    let odd = r#"{"entry":[{"changes":[{"field":"messages","value":{"metadata":{"phone_number_id":"x"}}},
        {"field":"messages","value":7},
        {"field":"messages","value":{"metadata":{"phone_number_id":"1"},"messages":[7,{"id":"wamid.x"}],"contacts":[{"wa_id":7}]}}]},
        {"id":"no changes"}]}"#;
    let changes = read(odd.as_bytes());
    let [change] = changes.as_slice() else {
        panic!("one can be read")
    };
    assert_eq!(change.messages.len(), 1);
    // A second key of the same name has two meanings: neither is taken.
    let twice = r#"{"entry":[{"changes":[{"field":"messages","value":{"metadata":{"phone_number_id":"1","phone_number_id":"2"}}}]}]}"#;
    assert!(read(twice.as_bytes()).is_empty());
}

proptest! {
    #[test]
    fn nothing_makes_the_reader_fail(noise: Vec<u8>, cut: prop::sample::Index) {
        prop_assert!(read(&noise).is_empty());
        let whole = body(&json!({"metadata": {"phone_number_id": "1"}, "messages": [{"id": "é"}]}));
        let cut = cut.index(whole.len());
        prop_assert!(read(&whole[..cut]).is_empty());
    }
}
