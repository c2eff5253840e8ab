//! Markers come back in statuses, and go no further.

use curfew::graph::marker::{Marker, MarkerKey};
use serde_json::{Value, json};

use super::*;
use common::DEFAULT;

/// A send with this value of its own, marked as the gateway marks it.
fn marked(key: &MarkerKey, own: Option<&str>) -> String {
    let mut send = json!({"messaging_product": "whatsapp", "to": "+15550100001", "type": "text", "text": {"body": "Hello"}});
    if let Some(own) = own {
        send["biz_opaque_callback_data"] = own.into();
    }
    let number = DEFAULT.to_string().parse().unwrap();
    let marker = Marker::random().unwrap();
    let stamped = key.stamped(number, &marker, send.to_string().as_bytes()).unwrap();
    String::from_utf8(stamped.to_vec()).unwrap()
}

#[tokio::test]
async fn every_status_has_the_callers_own_value_again() {
    let mut relayed = Relayed::of(common::PASS_THROUGH, Some(DELIVERY_SECRET)).await;
    let ours = MarkerKey::derived_from(APP_SECRET.as_bytes()).unwrap();
    let others = MarkerKey::derived_from(b"another app's").unwrap();
    let target = format!("/v23.0/{DEFAULT}/messages");
    let foreign = marked(&others, Some("x"));
    let looks_marked: Value = serde_json::from_str(&foreign).unwrap();
    let looks_marked = looks_marked["biz_opaque_callback_data"]
        .as_str()
        .unwrap()
        .to_owned();
    for (body, own) in [
        (marked(&ours, None), None),
        (marked(&ours, Some("")), Some("")),
        (
            marked(&ours, Some("order \"17\" \\ é 🙂\n")),
            Some("order \"17\" \\ é 🙂\n"),
        ),
        (marked(&ours, Some("cf1.")), Some("cf1.")),
        (foreign.clone(), Some(looks_marked.as_str())),
        (marked(&ours, Some(&looks_marked)), Some(looks_marked.as_str())),
    ] {
        let sent = relayed.world.client().post_text(&target, &body).await;
        assert_eq!(sent.status, 200, "{}", sent.text());
        for wanted in ["sent", "delivered", "read"] {
            let got = relayed.receiver.next().await;
            let status = got.value()["statuses"][0].clone();
            assert_eq!(status["status"], wanted);
            assert_eq!(
                status.get("biz_opaque_callback_data").and_then(Value::as_str),
                own
            );
            assert_eq!(
                got.headers["x-hub-signature-256"],
                signature(DELIVERY_SECRET, &got.body)
            );
        }
    }
    // What failed as well.
    let sent = relayed
        .world
        .client()
        .post_text(&target, &marked(&ours, Some("late")))
        .await;
    for _ in 0..3 {
        relayed.receiver.next().await;
    }
    let wamid = sent.json()["messages"][0]["id"].as_str().unwrap().to_owned();
    assert!(relayed.emulator().fail_message(&wamid, 131_026));
    let status = relayed.receiver.next().await.value()["statuses"][0].clone();
    assert_eq!(
        (&status["status"], &status["biz_opaque_callback_data"]),
        (&json!("failed"), &json!("late"))
    );
}

#[tokio::test]
async fn a_marker_that_cannot_be_taken_out_under_a_signature_goes_nowhere() {
    // Without a delivery secret the configuration lets nobody mark sends; should a marker come all the same, from another
    // instance of this app's, Meta keeps it.
    let relayed = Relayed::pass_through().await;
    let key = MarkerKey::derived_from(APP_SECRET.as_bytes()).unwrap();
    let target = format!("/v23.0/{DEFAULT}/messages");
    let sent = relayed
        .world
        .client()
        .post_text(&target, &marked(&key, None))
        .await;
    assert_eq!(sent.status, 200);
    assert_eq!(relayed.answered(1).await, [Some(503)]);
    assert!(relayed.receiver.is_idle());
}
